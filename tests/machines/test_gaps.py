"""Which missing readings are asked for, and when; and that each reading is told exactly once."""

import itertools

import pytest
from delivery import BAD, STREET, Policy, year
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.insight.gaps import (
    KEPT,
    PACE_MS,
    TRIES,
    Asked,
    Request,
    after,
    next_request,
)
from stoep_gateway.insight.readings import WINDOW
from stoep_protocol.messages import BinReport
from stoep_protocol.schema import HISTORY_MAX

HOUR = 3_600_000


def report(history: int = 3) -> BinReport:
    return BinReport(0, 800, 4, history=((60, 800, 4),) * history)


def state(newest: int, missing: tuple[int, ...], interval_ms: int | None = HOUR) -> ContainerState:
    """What is known of a container at the hour of its newest reading."""
    return ContainerState(newest, newest * HOUR, interval_ms, missing)


def ask(known: ContainerState, history: int = 3, asked: Asked | None = None, **at: int):
    return next_request(known, report(history), asked, known.measured_ms, **at)


def test_nothing_is_asked_for_while_nothing_is_missing() -> None:
    assert ask(state(500, ())) is None


def test_a_gap_is_asked_for_at_the_report_that_reveals_it() -> None:
    wish = ask(state(500, (490, 491, 492)))
    assert wish is not None
    assert wish.request == Request(492, 3)
    assert wish.tries == {490: 1, 491: 1, 492: 1}


def test_what_the_next_report_brings_anyway_is_not_asked_for() -> None:
    assert ask(state(500, (498, 499))) is None
    wish = ask(state(500, (496, 497, 498)))
    assert wish is not None
    assert wish.request == Request(497, 2)


def test_a_device_that_has_more_to_tell_is_left_to_tell_it() -> None:
    missing = tuple(range(440, 476))
    assert ask(state(500, missing), history=HISTORY_MAX) is None
    wish = ask(state(500, missing), history=HISTORY_MAX - 1)
    assert wish is not None
    assert wish.request == Request(475, HISTORY_MAX)


def test_a_request_reaches_over_a_small_hole_and_not_over_a_large_one() -> None:
    wish = ask(state(500, (470, 480, 486, 490)))
    assert wish is not None
    assert wish.request == Request(490, 11)
    assert wish.tries == {480: 1, 486: 1, 490: 1}


def test_what_the_device_has_no_more_is_not_asked_for() -> None:
    assert ask(state(500, (500 - KEPT,))) is None
    wish = ask(state(500, (500 - KEPT, 501 - KEPT)))
    assert wish is not None
    assert wish.request == Request(501 - KEPT, 1)


def test_what_is_a_week_old_is_not_asked_for() -> None:
    four_hours = 4 * HOUR
    known = ContainerState(500, 500 * four_hours, four_hours, (458, 459))
    wish = ask(known)
    assert wish is not None
    assert wish.request == Request(459, 1)


def test_one_request_is_out_at_a_time_and_a_lost_one_is_repeated_with_patience() -> None:
    missing = (490, 491)
    wish = ask(state(500, missing))
    assert wish is not None
    asked: Asked | None = wish
    at = []
    for newest in range(501, 501 + 300):
        known = state(newest, missing)
        asked = after(asked, known, newer=True)
        wish = ask(known, asked=asked)
        if wish is not None:
            at.append(newest - 500)
            asked = wish
    # In vain ever more rarely; after TRIES requests, or once the device has no more, never again.
    assert at == [1, 3, 7, 14, 28, 52, 76]
    assert len(at) == TRIES - 1


def test_an_answer_that_comes_after_the_report_is_waited_for() -> None:
    missing = (440, 441)
    wish = ask(state(500, missing))
    assert wish is not None
    asked = after(wish, state(501, missing), newer=True)
    assert ask(state(501, missing), asked=asked) is None
    asked = after(asked, state(501, (440,)), newer=False)
    assert (asked.reports, asked.in_vain, asked.tries) == (1, 0, {440: 1})
    asked = after(asked, state(502, (440,)), newer=True)
    wish = ask(state(502, (440,)), asked=asked)
    assert wish is not None
    assert wish.request == Request(440, 1)
    assert after(wish, state(503, ()), newer=True).tries == {}


def test_a_device_whose_numbers_leap_is_asked_ever_more_rarely() -> None:
    """What is given up as too old has not been brought: eight numbers an hour, one of them told."""
    asked: Asked | None = None
    days: list[int] = []
    for hour in range(30 * 24):
        newest = 1000 + 8 * hour
        missing = tuple(it for it in range(newest - WINDOW + 1, newest) if it % 8)
        known = ContainerState(newest, hour * HOUR, HOUR // 8, missing)
        if asked is not None:
            asked = after(asked, known, newer=True)
        wish = ask(known, 0, asked)
        if wish is not None:
            asked = wish
            days.append(hour // 24)
    assert days.count(0) <= 6
    assert max(days.count(day) for day in range(5, 30)) == 1


def test_another_network_server_is_given_an_uplink_more() -> None:
    missing = (490, 491)
    wish = ask(state(500, missing), delay=1)
    assert wish is not None
    asked = after(wish, state(501, missing), newer=True)
    assert ask(state(501, missing), asked=asked, delay=1) is None
    asked = after(asked, state(502, missing), newer=True)
    assert ask(state(502, missing), asked=asked, delay=1) is not None


def test_requests_keep_their_pace_whatever_the_interval() -> None:
    minutes = 5 * 60_000
    asked: Asked | None = None
    at = []
    for newest in range(500, 560):
        known = ContainerState(newest, newest * minutes, minutes, (480, newest - 7))
        if asked is not None:
            asked = after(asked, known, newer=True)
        wish = next_request(known, report(), asked, known.measured_ms)
        if wish is not None:
            asked = wish
            at.append(known.measured_ms)
    assert len(at) > 2
    assert min(late - early for early, late in itertools.pairwise(at)) >= PACE_MS


@given(
    st.sets(st.integers(0, WINDOW - 1), max_size=60),
    st.integers(0, HISTORY_MAX),
    st.none() | st.integers(1, 10 * HOUR),
)
def test_every_request_is_one_that_a_device_can_answer(
    gaps: set[int], history: int, interval_ms: int | None
) -> None:
    newest = 5000
    missing = tuple(sorted(newest - 1 - gap for gap in gaps))
    known = ContainerState(newest, 10**12, interval_ms, missing)
    wish = next_request(known, report(history), None, 10**12)
    if wish is None:
        return
    request = wish.request
    assert 1 <= request.count <= HISTORY_MAX
    assert request.newest in missing
    assert request.newest - request.count + 1 in missing
    assert request.newest - request.count + 1 > newest - KEPT
    assert set(wish.tries) <= set(missing)


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.integers(0, 2**32), st.sampled_from((0, 3, 12)), st.booleans())
def test_no_reading_is_told_twice_or_wrongly(seed: int, history: int, requests: bool) -> None:
    # `year` itself asserts it of each reading.
    outcome = year((BAD,), Policy(history, requests=requests), seed, hours=150)
    assert outcome.in_time > 0


@pytest.mark.parametrize(
    ("airs", "hours", "least_pct"), [((BAD,), 4000, 99.0), (STREET, 1000, 99.9)]
)
def test_readings_are_there_within_three_days(airs: tuple, hours: int, least_pct: float) -> None:
    """A short form of bench/delivery.py."""
    outcome = year(airs, Policy(), 1, hours)
    assert outcome.delivered_pct >= least_pct
    assert outcome.per_day(outcome.uplinks) < 25
    assert outcome.per_day(outcome.requests) < 1.5
