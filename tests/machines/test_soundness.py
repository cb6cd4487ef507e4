"""Sensors that are stuck or drift, and those that are not though it looks so."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.assets.geometry import Inside
from stoep_gateway.assets.states import ContainerState, dumps, loads
from stoep_gateway.insight import soundness
from stoep_gateway.insight.levels import Level
from stoep_gateway.insight.readings import Reading
from stoep_gateway.insight.soundness import Soundness

HOUR = 3_600_000
DAY = 24 * HOUR
FORTNIGHT = 14 * DAY
DEPTH = 1500


def run(
    distances: list[int], state: Soundness | None = None, flaps: int = 0, at_ms: int = 0
) -> tuple[Soundness, list[bool]]:
    """Give one reading an hour; return whether the sensor was stuck at each."""
    stuck = []
    for hour, distance_mm in enumerate(distances):
        state = soundness.seen(state, at_ms + hour * HOUR, distance_mm, flaps)
        stuck.append(soundness.is_stuck(state))
    assert state is not None
    return state, stuck


def flickering(hours: int) -> list[int]:
    return [1203 - hour // 4 + hour % 3 for hour in range(hours)]


def test_what_moved_and_is_the_very_same_for_three_days_is_stuck() -> None:
    moving, stuck = run(flickering(100))
    assert not any(stuck)
    _, stuck = run([987] * 100, moving, at_ms=100 * HOUR)
    assert stuck == [False] * 72 + [True] * 28


def test_a_sensor_that_measures_in_centimetres_may_stay_for_longer() -> None:
    days = [1200 - 10 * (hour // 40) for hour in range(40 * 25)]
    slow, stuck = run(days)
    assert not any(stuck)
    assert slow.longest_h == pytest.approx(40, abs=2)
    _, stuck = run([600] * 140, slow, at_ms=1000 * HOUR)
    assert 115 <= stuck.index(True) <= 121


def test_a_lid_that_is_opened_over_a_level_that_stays_tells_at_once() -> None:
    _, stuck = run([987] * 40, flaps=3)
    assert stuck.index(True) == 34  # a hundred openings
    _, stuck = run([987] * 40, flaps=50)
    assert stuck.index(True) == 24  # but a day at least
    assert not any(run([987] * 400)[1])  # who knows that it ever moves?


def test_a_holiday_is_learned_in_part() -> None:
    state, _ = run(flickering(100))
    state, stuck = run([987] * 200, state, at_ms=100 * HOUR)
    assert stuck[-1]
    state, stuck = run(flickering(100), state, at_ms=300 * HOUR)
    assert not any(stuck)
    assert 20 < state.longest_h <= 24


def test_a_reading_of_the_history_is_rounded_and_no_move() -> None:
    moving, _ = run(flickering(100))
    _, stuck = run([987, 990, 990] * 30, moving, at_ms=100 * HOUR)
    assert stuck[-1]


def emptied(floors: list[tuple[float, int]]) -> Soundness:
    """Return a sensor that saw these floors, each with its fortnight."""
    state = Soundness(1, 0)
    for fortnight, floor_mm in floors:
        state = soundness.emptied(state, round(fortnight * FORTNIGHT), floor_mm, DEPTH)
    return state


def test_a_floor_that_moves_month_by_month_drifts() -> None:
    # 10 mm nearer in every fortnight, of 30.4 / 14 a month.
    state = emptied([(n, 1490 - 10 * n) for n in range(8)])
    assert (state.drift_mm, state.drifting) == (-21.7, True)
    assert soundness.faults(state) == ["sensor_drifting"]
    assert emptied([(n, 1490 + 10 * n) for n in range(8)]).drift_mm == 21.7


def test_what_is_left_in_a_container_is_no_drift() -> None:
    rests = [0, 60, 20, 90, 0, 40, 10, 70, 0, 30, 50, 5, 80, 0, 60, 20]
    state = emptied([(n / 2, 1490 - rest) for n, rest in enumerate(rests)])
    assert abs(state.drift_mm or 0) < 5
    assert not state.drifting


def test_drift_is_not_known_before_ten_weeks() -> None:
    assert emptied([(n / 4, 1400 - 30 * n) for n in range(20)]).drift_mm is None
    assert emptied([(0, 1400), (5, 1300), (9, 1200), (11, 1150), (12, 1100)]).drift_mm is None


def test_floors_by_chance_are_seldom_a_drift() -> None:
    source = random.Random(3)
    units = [
        emptied([(n / 2, 1490 - round(source.expovariate(1 / 40))) for n in range(16)])
        for _ in range(300)
    ]
    assert sum(it.drifting for it in units) <= 6


def test_old_floors_are_forgotten() -> None:
    state = emptied([(n, 1490 - 15 * min(n, 8)) for n in range(17)])
    assert (state.drift_mm, state.drifting) == (0.0, False)


@given(st.lists(st.tuples(st.integers(-2, 900), st.integers(0, 10_000)), max_size=30))
def test_any_floors(steps: list[tuple[int, int]]) -> None:
    state, at_ms = Soundness(1, 0), 10**12
    for hours, floor_mm in steps:
        at_ms += hours * HOUR
        state = soundness.emptied(state, at_ms, floor_mm, DEPTH)
        kept = ContainerState(0, at_ms, sensor=state)
        assert loads("container/x", dumps(kept)) == kept
        assert len(dumps(kept)) < 180
        assert not state.drifting or state.drift_mm


def test_readings_of_such_sensors_are_doubted() -> None:
    level = Level(Inside(DEPTH, 300))
    number = 0

    def take(distance_mm: int, flaps: int = 0) -> Reading:
        nonlocal number
        number += 1
        reading = Reading(number, number * HOUR, distance_mm, 4, None, True)
        return level.take(reading, flaps=flaps)[0]

    for distance_mm in flickering(100):
        take(distance_mm)
    judged = [take(1183, flaps=9) for _ in range(40)]
    assert [it.quality for it in judged] == [4] * 24 + [2] * 16
    assert {it.reason for it in judged[24:]} == {"sensor_stuck"}
    assert take(1170).reason is None

    # A floor that comes nearer by 6 mm a cycle of ten days.
    reasons = set()
    for cycle in range(12):
        for hour in range(240):
            reading = take(1490 - 6 * cycle - 4 * hour)
            reasons.add((reading.quality, reading.reason) if cycle > 10 else None)
    assert level.sensor is not None
    assert level.sensor.drift_mm == pytest.approx(-6 * 3.04, abs=4)
    assert (3, "sensor_drifting") in reasons
    assert (4, None) not in reasons


def test_in_the_dead_zone_nothing_is_stuck() -> None:
    level = Level(Inside(DEPTH, 300, 250))
    for hour in range(400):
        distance_mm = 1203 - hour % 3 if hour < 100 else 250
        level.take(Reading(hour, hour * HOUR, distance_mm, 4, None, True), flaps=9)
    assert soundness.faults(level.sensor) == []


def test_who_is_not_looked_at_is_not_stuck() -> None:
    # Most of a day at one distance, then overfull, or without an echo, for days.
    for distance_mm in (310, None):
        level = Level(Inside(DEPTH, 300))
        for hour in range(220):
            near_mm = flickering(100)[hour] if hour < 100 else 987
            read_mm = near_mm if hour < 120 else distance_mm
            level.take(Reading(hour, hour * HOUR, read_mm, 4 if read_mm else 1, None, True))
        assert soundness.faults(level.sensor) == []
