"""A bay's changes, those whose reports were lost included."""

import pytest
from stoep_gateway.assets.states import BayState
from stoep_gateway.insight.occupancy import Change, judge, take
from stoep_protocol.messages import BayReport
from stoep_protocol.schema import (
    BASELINE_DRIFTED,
    FIELD_SATURATED,
    FREE,
    NEIGHBOUR_SUSPECTED,
    NOT_CALIBRATED,
    OCCUPIED,
    UNCERTAIN,
)

NOW = 1_000_000_000
KNOWN = BayState(FREE, NOW - 3_000_000, 41, NOW - 600_000)


def test_the_first_report_is_no_change() -> None:
    state, change = take(BayReport(OCCUPIED, 7, 120), NOW, None)
    assert state == BayState(OCCUPIED, NOW - 120_000, 7, NOW)
    assert change is None


def test_a_change_is_dated_by_the_age_of_the_state() -> None:
    state, change = take(BayReport(OCCUPIED, 42, 8, 3000), NOW, KNOWN)
    assert change == Change(NOW - 8000, FREE, 0)
    assert state == BayState(OCCUPIED, NOW - 8000, 42, NOW)


def test_a_heartbeat_keeps_the_first_date() -> None:
    state, change = take(BayReport(FREE, 41, 3100), NOW, KNOWN)
    assert change is None
    assert state == BayState(FREE, KNOWN.since_ms, 41, NOW)


@pytest.mark.parametrize(("count", "missed"), [(43, 1), (44, 2), (16_384 + 41 - 8000, None)])
def test_missed_changes_are_counted(count: int, missed: int | None) -> None:
    _, change = take(BayReport(OCCUPIED, count % 16_384, 8), NOW, KNOWN)
    assert change is not None
    if missed is None:  # a counter set anew: one change shows
        assert change == Change(NOW - 8000, FREE, 0)
    else:
        assert change == Change(NOW - 8000, None, missed)


def test_a_bay_that_changed_and_changed_back() -> None:
    _, change = take(BayReport(FREE, 43, 20), NOW, KNOWN)
    assert change == Change(NOW - 20_000, None, 1)


def test_a_car_that_was_but_moved_is_no_turnover_whatever_is_lost() -> None:
    """Occupied, free for a minute, occupied again: the sensor takes both changes back."""
    stay = BayReport(OCCUPIED, 41, 600, 300)
    gap = BayReport(FREE, 42, 8, 610)
    again = BayReport(OCCUPIED, 41, 680, None)
    left = BayReport(FREE, 42, 8, 7200)
    for lost, expected in (
        ((), [FREE, OCCUPIED, FREE]),
        ((gap,), [FREE]),
        ((gap, again), [FREE]),
        ((again,), [FREE, FREE]),
    ):
        state = BayState(OCCUPIED, NOW - 600_000, 41, NOW - 1000)
        told = []
        for report, at_ms in ((stay, NOW), (gap, NOW + 20_000), (again, NOW + 80_000)):
            if report not in lost:
                state, change = take(report, at_ms, state)
                told += [report.state] if change else []
        state, change = take(left, NOW + 6_600_000, state)
        assert change is not None
        assert (change.at_ms, change.missed) == (NOW + 6_592_000, int(lost == (again,)))
        assert [*told, state.state] == expected
        assert state.change_count == 42


def test_a_sensor_that_had_no_power_has_not_changed() -> None:
    _, change = take(BayReport(FREE, 41, 8), NOW, KNOWN)
    assert change is None


def test_the_counter_comes_round() -> None:
    full = BayState(FREE, 0, 16_383, NOW - 1000)
    _, change = take(BayReport(OCCUPIED, 0, 0), NOW, full)
    assert change == Change(NOW, FREE, 0)


def test_a_restarted_sensor_changes_nothing() -> None:
    """The state has held since before the last report, so the counter alone is new."""
    state, change = take(BayReport(FREE, 0, 1200), NOW, KNOWN)
    assert change is None
    assert state == BayState(FREE, KNOWN.since_ms, 0, NOW)


def test_a_coarse_age_does_not_turn_time_back() -> None:
    _, change = take(BayReport(OCCUPIED, 42, 4000), NOW, KNOWN)
    assert change is not None
    assert change.at_ms == KNOWN.since_ms + 1


@pytest.mark.parametrize(
    ("state", "flags", "expected"),
    [
        (FREE, 0, (4, None)),
        (OCCUPIED, BASELINE_DRIFTED, (3, "baseline_drifted")),
        (OCCUPIED, NEIGHBOUR_SUSPECTED | BASELINE_DRIFTED, (3, "neighbour_suspected")),
        (UNCERTAIN, 0, (2, "uncertain")),
        (UNCERTAIN, NEIGHBOUR_SUSPECTED, (2, "neighbour_suspected")),
        (FREE, FIELD_SATURATED, (1, "field_saturated")),
        (FREE, NOT_CALIBRATED | FIELD_SATURATED, (0, "not_calibrated")),
    ],
)
def test_quality_and_its_reason(state: int, flags: int, expected: tuple[int, str | None]) -> None:
    assert judge(BayReport(state, 0, flags=flags)) == expected


def test_a_clock_that_was_set_back_leaves_no_date_in_the_future() -> None:
    ahead = BayState(FREE, NOW + 5_000_000, 41, NOW + 9_000_000)
    state, change = take(BayReport(FREE, 41, 3100), NOW, ahead)
    assert change is None
    assert state == BayState(FREE, NOW - 3_100_000, 41, NOW)
    state, change = take(BayReport(OCCUPIED, 42, 8), NOW, ahead)
    assert change is not None
    assert state == BayState(OCCUPIED, NOW - 7999, 42, NOW)
