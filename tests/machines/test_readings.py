"""No reading is told twice, none is lost, whatever the air does to the reports."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.insight.readings import WINDOW, News, judge, news
from stoep_protocol.messages import BinReport
from stoep_protocol.schema import ECHO_BLOCKED, ECHO_UNSTABLE, ECHO_WEAK

HOUR = 3_600_000
MINUTE = 60_000


def report(number: int, history: int = 0, first: int = 0) -> BinReport:
    """Return the hourly report of a reading and up to so many before it, as decoded."""
    past = tuple((60 * k, 1000, 4) for k in range(1, min(history, number - first) + 1))
    return BinReport(number % 1024, 1000, 4, history=past)


def keep(added: News) -> ContainerState:
    return ContainerState(added.sequence, added.measured_ms, added.interval_ms, added.missing)


def feed(
    reports: list[tuple[int, BinReport]], state: ContainerState | None = None
) -> tuple[ContainerState | None, list[int], list[int]]:
    """Take reports in; return the state, the numbers and the times of the readings told."""
    numbers, times = [], []
    for at_ms, it in reports:
        added = news(it, at_ms, 1800, state)
        if added is not None:
            state = keep(added)
            numbers += [reading.number for reading in added.readings]
            times += [reading.at_ms for reading in added.readings]
    return state, numbers, times


def test_every_report_in_order() -> None:
    state, numbers, times = feed([(n * HOUR, report(n, 3)) for n in range(5)])
    assert numbers == [0, 1, 2, 3, 4]
    assert times == [n * HOUR for n in numbers]
    assert state == ContainerState(4, 4 * HOUR, HOUR, ())


def test_the_first_report_tells_its_history_too() -> None:
    _, numbers, times = feed([(9 * HOUR, report(9, 3))])
    assert numbers == [6, 7, 8, 9]
    assert times == [6 * HOUR, 7 * HOUR, 8 * HOUR, 9 * HOUR]


def test_the_first_report_may_come_just_after_the_counter_went_round() -> None:
    report_ = BinReport(1, 900, 4, history=((60, 800, 4), (120, 700, 4)))
    added = news(report_, 9 * HOUR, 1800, None)
    assert added is not None
    assert [it.number for it in added.readings] == [1023, 1024, 1025]


def test_lost_reports_are_told_by_the_next_one() -> None:
    state, numbers, times = feed([(n * HOUR, report(n, 3)) for n in (0, 3)])
    assert numbers == [0, 1, 2, 3]
    assert times == [0, HOUR, 2 * HOUR, 3 * HOUR]
    assert state is not None
    assert state.missing == ()


def test_what_history_does_not_reach_is_missing() -> None:
    state, numbers, _ = feed([(n * HOUR, report(n, 1)) for n in (0, 4)])
    assert numbers == [0, 3, 4]
    assert state is not None
    assert state.missing == (1, 2)
    assert state.interval_ms == HOUR


def test_a_missing_reading_that_comes_after_all_is_told_once() -> None:
    state, _, _ = feed([(n * HOUR, report(n)) for n in (0, 4)])
    assert state is not None
    later = 4 * HOUR + 10 * MINUTE
    past = BinReport(3, 900, 4, history=((130, 800, 4), (190, 700, 4)), age_min=70)
    added = news(past, later, 1800, state)
    assert added is not None
    told = [(it.number, it.at_ms, it.newer) for it in added.readings]
    assert told == [
        (1, later - 190 * MINUTE, False),
        (2, later - 130 * MINUTE, False),
        (3, later - 70 * MINUTE, False),
    ]
    assert keep(added) == ContainerState(4, 4 * HOUR, HOUR, ())
    assert news(past, later + MINUTE, 1800, keep(added)) is None


@pytest.mark.parametrize("age_min", [0, 3])
def test_a_device_that_was_silent_for_a_month_goes_on_with_its_numbers(age_min: int) -> None:
    state, _, _ = feed([(n * HOUR, report(n, 3)) for n in range(5)])
    number = 5 + 30 * 24
    it = BinReport(number % 1024, 900, 4, age_min=age_min)
    added = news(it, number * HOUR + age_min * MINUTE, 1800, state)
    assert added is not None
    assert [(it.number, it.at_ms) for it in added.readings] == [(number, number * HOUR)]


def test_a_repeated_report_tells_nothing() -> None:
    state, _, _ = feed([(HOUR, report(1, 1))])
    assert news(report(1, 1), HOUR + 5000, 1800, state) is None


@pytest.mark.parametrize("restart_at", [0, 1, 500, 990])
def test_a_device_that_counts_anew_is_heard_at_once(restart_at: int) -> None:
    state, _, _ = feed([(n * HOUR, report(n, 3)) for n in range(990, 1001)])
    again = [
        (1001 * HOUR + k * HOUR, report(restart_at + k, 3, first=restart_at)) for k in range(4)
    ]
    final, numbers, times = feed(again, state)
    assert times == [1001 * HOUR, 1002 * HOUR, 1003 * HOUR, 1004 * HOUR]
    assert len(set(numbers)) == 4
    assert min(numbers) > 1000
    assert final is not None
    assert final.measured_ms == 1004 * HOUR


def test_after_a_restart_with_its_memory_known_readings_are_not_told_again() -> None:
    state, _, _ = feed([(n * HOUR, report(n, 3)) for n in range(990, 1001)])
    added = news(report(5, 3), 1001 * HOUR, 1800, state)
    assert added is not None
    assert [it.at_ms for it in added.readings] == [1001 * HOUR]
    assert added.missing == ()
    assert added.interval_ms == HOUR


def test_a_long_silence_is_not_a_restart() -> None:
    state, _, _ = feed([(n * HOUR, report(n)) for n in range(3)])
    added = news(report(2 + 700), 702 * HOUR, 1800, state)
    assert added is not None
    assert added.sequence == 702
    assert added.missing == tuple(range(702 - WINDOW + 1, 702))


def test_the_interval_is_not_fooled_by_an_alarm_in_between() -> None:
    state, _, _ = feed([(0, report(0)), (HOUR, report(1)), (HOUR + MINUTE, report(2))])
    assert state is not None
    assert state.interval_ms == HOUR * 9 // 10


@pytest.mark.parametrize("history", [0, 3, 12])
def test_any_loss_and_repetition(history: int) -> None:
    """Every reading whose report or a later history got through is told exactly once."""
    chance = random.Random(history)
    arrived: list[tuple[int, BinReport]] = []
    covered: set[int] = set()
    for n in range(3000):
        if chance.random() < 0.4:
            continue
        arrived += [(n * HOUR + k * 3000, report(n, history)) for k in range(chance.choice((1, 2)))]
        covered.update(range(max(0, n - history), n + 1))
    _, numbers, times = feed(arrived)
    assert sorted(numbers) == sorted(covered)
    assert all(at == n * HOUR for n, at in zip(numbers, times, strict=True))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10_000_000),
            st.builds(
                BinReport,
                st.integers(0, 1023),
                st.none() | st.integers(0, 10_000),
                st.integers(0, 4),
                st.integers(0, 7),
                age_min=st.integers(0, 65_535),
                history=st.lists(
                    st.tuples(st.integers(0, 65_535), st.none(), st.integers(0, 4)), max_size=24
                ).map(lambda past: tuple(sorted(past))),
            ),
        ),
        max_size=12,
    )
)
def test_any_reports(reports: list[tuple[int, BinReport]]) -> None:
    state: ContainerState | None = None
    at_ms = 10**12
    for later_ms, it in reports:
        at_ms += later_ms
        added = news(it, at_ms, 1800, state)
        if added is None:
            continue
        numbers = [reading.number for reading in added.readings]
        assert numbers == sorted(set(numbers))
        assert state is None or added.sequence >= state.sequence
        assert len(added.missing) <= WINDOW
        assert not set(added.missing) & set(numbers)
        state = keep(added)


@pytest.mark.parametrize(
    ("distance_mm", "quality", "flags", "expected"),
    [
        (1000, 4, 0, (4, None)),
        (1000, 2, 0, (2, "unspecified")),
        (1000, 0, 0, (0, "unchecked")),
        (None, 4, 0, (1, "no_echo")),
        (None, 0, ECHO_WEAK, (1, "out_of_range")),
        (None, 0, ECHO_BLOCKED, (1, "echo_blocked")),
        (1000, 4, ECHO_WEAK, (3, "echo_weak")),
        (1000, 4, ECHO_WEAK | ECHO_UNSTABLE, (3, "echo_unstable")),
        (1000, 2, ECHO_BLOCKED | ECHO_WEAK, (2, "echo_blocked")),
        (1980, 4, 0, (4, None)),
        (1981, 4, 0, (2, "beyond_floor")),
        (1981, 1, 0, (1, "beyond_floor")),
        (1981, 0, 0, (2, "beyond_floor")),
    ],
)
def test_quality_and_its_reason(
    distance_mm: int | None, quality: int, flags: int, expected: tuple[int, str | None]
) -> None:
    assert judge(distance_mm, quality, flags, 1800) == expected
