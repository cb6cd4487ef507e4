"""What time it is, by a system's clock that is wrong, is set, jumps, or is right all along."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.timekeeping import (
    SETTLED_AFTER_MS,
    UNCERTAIN_MS,
    Known,
    Reading,
    Stepped,
    Timekeeper,
)

TRUE = 1_800_000_000_000  # the UTC of now 0, January 2027
WAIT = 600_000
HOUR = 3_600_000
YEAR = 366 * 24 * HOUR


def reading(now: int, off: int = 0, **flags: bool) -> Reading:
    return Reading(TRUE + now + off, **flags)


AT_THE_START = [
    # flags and error of the system's clock, newest time recorded -> why it is known
    ({"synchronised": True}, 0, 0, "synchronised"),
    ({"synchronised": True}, -10, TRUE, "synchronised"),  # whatever was recorded
    ({"kept": True}, 0, TRUE - HOUR, "kept"),
    ({"kept": True}, -YEAR, TRUE - HOUR, None),  # a flat battery
    ({"kept": True}, -YEAR, 0, None),  # before this program was written
    ({"kept": True}, 11 * YEAR, 0, None),
    ({}, 0, TRUE - HOUR, None),
    ({"agreed": True}, 0, TRUE - HOUR, "agreed"),
    ({"agreed": True}, -2 * HOUR, TRUE - HOUR, None),
]


@pytest.mark.parametrize(("flags", "off", "floor", "why"), AT_THE_START)
def test_what_is_believed_at_the_start(flags, off, floor, why):
    keeper = Timekeeper(0, reading(0, off, **flags), floor_utc_ms=floor, wait_ms=WAIT)
    assert keeper.why == why
    assert keeper.is_known == (why is not None)
    if why is not None:
        assert keeper.utc_ms(5) == TRUE + off + 5
        assert keeper.provisional_from_ms is None
    else:
        assert keeper.utc_ms(0) == max(TRUE + off, floor + 1) == keeper.provisional_from_ms
    trusting = Timekeeper(0, reading(0, off, **flags), floor_utc_ms=floor, trust=True)
    assert trusting.utc_ms(0) == TRUE + off


@pytest.mark.parametrize("off", [-40 * YEAR, -YEAR, -12 * HOUR, 12 * HOUR, YEAR])
def test_provisional_time_is_corrected_once_it_is_known(off):
    keeper = Timekeeper(0, reading(0, off), floor_utc_ms=TRUE - 13 * HOUR, wait_ms=WAIT)
    began = keeper.utc_ms(0)
    assert began > TRUE - 13 * HOUR
    assert keeper.read(1000, reading(1000, off)) is None
    heard_utc_ms = keeper.utc_ms(1500)  # really TRUE + 1500
    known = keeper.read(2000, reading(2000, synchronised=True))
    assert known == Known("synchronised", began, TRUE - began)
    assert heard_utc_ms + known.by_ms == TRUE + 1500
    assert keeper.utc_ms(2000) == TRUE + 2000
    assert not keeper.is_settled(2000)
    assert keeper.is_settled(2000 + SETTLED_AFTER_MS)
    assert keeper.read(3000, reading(3000, synchronised=True)) is None


def test_somebody_sets_the_clock_by_hand():
    keeper = Timekeeper(0, reading(0, -HOUR), wait_ms=WAIT, floor_utc_ms=TRUE - 2 * HOUR)
    assert keeper.read(1000, reading(1000, -HOUR + 900)) is None  # chrony is at it, gently
    known = keeper.read(2000, reading(2000))
    assert known == Known("set", TRUE - HOUR, HOUR)


def test_it_is_not_set_to_before_what_was_recorded():
    keeper = Timekeeper(0, reading(0), wait_ms=WAIT, floor_utc_ms=TRUE - 2 * HOUR)
    assert keeper.read(2000, reading(2000, -YEAR)) is None
    assert keeper.utc_ms(2000) == TRUE + 2000


def test_nobody_sets_it():
    keeper = Timekeeper(0, reading(0), wait_ms=WAIT, floor_utc_ms=TRUE - HOUR)
    assert keeper.read(WAIT - 1, reading(WAIT - 1)) is None
    assert keeper.read(WAIT, reading(WAIT)) == Known("waited", TRUE, 0)
    assert keeper.is_known
    assert not keeper.is_settled(WAIT + YEAR)  # nothing is forgotten by such a time
    late = WAIT + 1000
    assert keeper.read(late, reading(late, HOUR, synchronised=True)) == Stepped(HOUR)
    assert keeper.is_settled(late + SETTLED_AFTER_MS)


def test_a_clock_behind_what_was_recorded_that_nobody_sets():
    keeper = Timekeeper(0, reading(0, -YEAR), wait_ms=WAIT, floor_utc_ms=TRUE)
    assert keeper.read(WAIT, reading(WAIT, -YEAR)) == Known("waited", TRUE + 1, 0)
    assert keeper.read(WAIT + 1000, reading(WAIT + 1000, -YEAR)) is None
    assert keeper.utc_ms(WAIT + 1000) == TRUE + 1 + WAIT + 1000


def test_a_process_that_goes_on_in_provisional_time():
    keeper = Timekeeper(
        0,
        reading(0, synchronised=True),
        began_utc_ms=1_790_000_000_000,
        resumed_utc_ms=1_790_000_060_000,
    )
    assert not keeper.is_known
    assert keeper.utc_ms(0) == 1_790_000_060_000
    known = keeper.read(10, reading(10, synchronised=True))
    assert known == Known("synchronised", 1_790_000_000_000, TRUE - 1_790_000_060_000)


def test_a_kept_clock_is_not_trusted_with_forgetting_at_once():
    keeper = Timekeeper(0, reading(0, kept=True))
    assert not keeper.is_settled(UNCERTAIN_MS - 1)
    assert keeper.is_settled(UNCERTAIN_MS)


@pytest.mark.parametrize("step", [YEAR, -YEAR, HOUR, -HOUR, 6_000, -6_000])
def test_a_step_is_followed_and_told_once(step):
    keeper = Timekeeper(0, reading(0, synchronised=True))
    assert keeper.is_settled(0)
    assert keeper.read(1000, reading(1000, step, synchronised=True)) == Stepped(step)
    assert keeper.utc_ms(1000) == TRUE + 1000 + step
    assert keeper.read(2000, reading(2000, step, synchronised=True)) is None
    assert not keeper.is_settled(2000)
    assert keeper.is_settled(1000 + SETTLED_AFTER_MS)


def test_a_leap_second_makes_time_go_slower():
    keeper = Timekeeper(0, reading(0, synchronised=True))
    assert keeper.read(1000, reading(1000, -1000, synchronised=True)) == Stepped(-1000)
    assert keeper.utc_ms(1000) == TRUE + 1000  # not back
    assert keeper.utc_ms(2000) == TRUE + 1900
    assert keeper.utc_ms(11_000) == TRUE + 10_000  # and right after ten seconds
    assert keeper.is_settled(1000)


def test_a_smeared_leap_second_is_none():
    keeper = Timekeeper(0, reading(0, synchronised=True))
    for second in range(1, 86_400, 60):
        assert keeper.read(1000 * second, reading(1000 * second, synchronised=True)) is None


jumps = st.lists(
    st.tuples(
        st.integers(1_000, HOUR), st.integers(-2 * YEAR, 2 * YEAR) | st.integers(-5000, 5000)
    ),
    max_size=8,
)


@given(st.integers(-2 * YEAR, 2 * YEAR), jumps)
def test_whatever_the_clock_does_before_it_is_synchronised(off, before):
    """Times are in order while they are provisional, and right to the second afterwards."""
    floor = TRUE - 3 * YEAR
    keeper = Timekeeper(0, reading(0, off), floor_utc_ms=floor, wait_ms=10 * YEAR)
    now, told = 0, []
    for wait, jump in before:
        now += wait
        off += jump
        known = keeper.read(now, reading(now, off))
        if known is not None:  # somebody set it, to what may be true
            assert known.why == "set"
            return
        told.append((now, keeper.utc_ms(now)))
    now += 1000
    known = keeper.read(now, reading(now, synchronised=True))
    assert isinstance(known, Known)
    assert [utc for _, utc in told] == sorted(utc for _, utc in told)
    assert all(utc >= known.from_utc_ms > floor for _, utc in told)
    assert all(abs(utc + known.by_ms - (TRUE + at)) < 1000 for at, utc in told)


@given(jumps)
def test_small_steps_never_make_a_time_come_twice(steps):
    keeper = Timekeeper(0, reading(0, synchronised=True))
    now, off, last = 0, 0, 0
    for wait, jump in steps:
        if abs(jump) > 5000:
            continue
        for _ in range(5):
            now += wait // 5
            assert keeper.utc_ms(now) >= last
            last = keeper.utc_ms(now)
        off += jump
        keeper.read(now, reading(now, off, synchronised=True))
        assert keeper.utc_ms(now) >= last
    now += HOUR
    keeper.read(now, reading(now, off, synchronised=True))
    assert abs(keeper.utc_ms(now) - (TRUE + now + off)) < 1000
