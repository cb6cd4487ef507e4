"""Levels become emptyings, rates and forecasts, by numbers that can be checked by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.insight import filling
from stoep_gateway.insight.filling import Emptying, FillTrack

HOUR = 3_600_000


def run(*levels: float) -> tuple[FillTrack, list[tuple[int, Emptying]]]:
    """Feed one level an hour; return the track and (hour, emptying) of each one told."""
    track = filling.start(0, levels[0])
    told = []
    for hour, level in enumerate(levels[1:], 1):
        track, emptying = filling.advance(track, hour * HOUR, level)
        if emptying is not None:
            told.append((hour, emptying))
    return track, told


def test_an_emptying_is_told_with_the_reading_that_confirms_it() -> None:
    track, told = run(70, 72, 4, 5)
    assert told == [(3, Emptying(2 * HOUR, 72, 4, None, HOUR))]
    assert track.emptied_ms == track.since_ms == 2 * HOUR
    assert (track.since_pct, track.fill_pct) == (4, 5)


def test_the_second_emptying_knows_the_length_of_its_cycle() -> None:
    _, told = run(70, 4, 5, 30, 60, 3, 3)
    assert [it.cycle_ms for _, it in told] == [None, 4 * HOUR]


def test_one_low_reading_is_a_stray_echo() -> None:
    track, told = run(70, 71, 10, 72, 73)
    assert told == []
    assert (track.since_ms, track.since_pct, track.drop_ms) == (0, 70, None)


def test_a_fall_of_less_than_the_drop_is_settling() -> None:
    assert run(70, 51.6, 51.6)[1] == []
    assert len(run(70, 51.5, 51.5)[1]) == 1


def test_a_container_emptied_below_half_and_filling_quickly() -> None:
    assert len(run(32, 2, 11, 20)[1]) == 1
    assert len(run(100, 100, 0, 40, 80)[1]) == 1


def test_an_old_level_changes_nothing() -> None:
    track = filling.start(HOUR, 50)
    assert filling.advance(track, HOUR, 10) == (track, None)
    assert filling.advance(track, 0, 10) == (track, None)


def test_the_rate_is_the_mean_since_the_emptying() -> None:
    track, _ = run(10, *(10 + hour for hour in range(1, 13)))
    assert filling.rate_pct_per_h(track) == pytest.approx(1.0)
    assert filling.hours_to(track, 80) == pytest.approx(58)
    assert filling.hours_to(track, 22) == 0


def test_no_rate_from_a_few_hours() -> None:
    track, _ = run(10, 30, 60)
    assert filling.rate_pct_per_h(track) is None
    assert filling.hours_to(track, 80) is None


def test_a_fresh_cycle_begins_with_the_rate_of_the_one_before() -> None:
    levels = [*range(49), 0, 0]
    track, told = run(*levels)
    assert len(told) == 1
    # 48 points in 48 hours, then one hour without a rise: (0 + 1 * 24) / (1 + 24).
    assert filling.rate_pct_per_h(track) == pytest.approx(24 / 25)


def test_a_drop_not_yet_confirmed_leaves_the_rate_alone() -> None:
    track, _ = run(*range(49), 0)
    assert filling.rate_pct_per_h(track) == pytest.approx(1.0)


def test_a_level_that_falls_slowly_has_no_negative_rate() -> None:
    track, _ = run(*range(50, 30, -1))
    assert filling.rate_pct_per_h(track) == 0
    assert filling.hours_to(track, 80) is None


@given(st.lists(st.floats(0, 120), min_size=1, max_size=60))
def test_any_levels(levels: list[float]) -> None:
    track, told = run(*levels)
    rate = filling.rate_pct_per_h(track)
    assert rate is None or 0 <= rate <= 120
    for hour, emptying in told:
        assert emptying.at_ms == (hour - 1) * HOUR
        assert emptying.from_pct - emptying.to_pct >= filling.DROP_PCT
    assert all(later[0] - earlier[0] >= 2 for earlier, later in itertools.pairwise(told))
