"""Waste, cars and weather: the figures of the field, and a function of the seed alone."""

import math
import statistics
from itertools import pairwise

import pytest
from stoep_hardware.engine import US_PER_S, Engine
from stoep_hardware.world import (
    DAY_US,
    HOUR_US,
    Bay,
    Container,
    FillCurve,
    ParkingHabits,
    Weather,
    generated_fill,
)

MIDNIGHT = Weather(0)
EMPTY = FillCurve([(0, 0.0)])


def container(engine=None, curve=EMPTY, name="bin"):
    return Container(engine or Engine(1), name, curve, depth_mm=1900, full_mm=400)


class Plain(Container):
    """A container whose sensor is perfect."""

    SPIKE_SHARE = SILENT_SHARE = FALSE_UNIT_SHARE = NOISE_MM = 0.0


def plain(curve):
    return Plain(Engine(1), "bin", curve, depth_mm=1900, full_mm=400)


def test_a_curve_is_straight_between_its_points_and_stays_beyond_them():
    curve = FillCurve([(10, 0.2), (20, 0.4), (20, 0.0), (30, 0.1)])
    assert curve.level(0) == 0.2
    assert curve.level(15) == pytest.approx(0.3)
    assert curve.level(19) == pytest.approx(0.38)
    assert curve.level(20) == 0.0
    assert curve.level(99) == 0.1
    assert curve.emptyings_us == [20]


def test_a_curve_has_points_in_order():
    with pytest.raises(ValueError, match="order of time"):
        FillCurve([(10, 0.0), (5, 0.1)])
    with pytest.raises(ValueError, match="at least one"):
        FillCurve([])


def test_distance_follows_the_level():
    bin_ = plain(FillCurve([(0, 0.0), (HOUR_US, 1.0), (2 * HOUR_US, 8 / 7)]))
    assert bin_.distance_mm(0) == 1900
    assert bin_.distance_mm(HOUR_US // 2) == 1150
    assert bin_.distance_mm(HOUR_US) == 400
    assert bin_.distance_mm(2 * HOUR_US) == 186


def test_nothing_is_nearer_than_the_sensor_sees():
    assert plain(FillCurve([(0, 1.5)])).distance_mm(0) == Container.NEAREST_MM


def test_after_a_collection_the_level_is_what_was_gained_since():
    curve = FillCurve([(0, 0.5), (100, 0.9), (200, 1.0), (200, 0.0), (300, 0.3)])
    bin_ = container(curve=curve)
    assert bin_.level(100) == pytest.approx(0.9)
    bin_.collect(100)
    assert bin_.level(100) == 0.0
    assert bin_.level(150) == pytest.approx(0.05)
    assert bin_.level(199) == pytest.approx(0.099)
    assert bin_.level(250) == pytest.approx(0.15)  # the log's own emptying came in between
    assert bin_.level(300) == pytest.approx(0.3)
    bin_.collect(300)
    assert bin_.level(10_000) == 0.0
    with pytest.raises(ValueError, match="already been emptied"):
        bin_.collect(200)


def test_false_echoes_spikes_and_silence_are_as_frequent_as_in_the_field():
    engine = Engine(3)
    units = [container(engine, name=f"bin-{number}") for number in range(300)]
    with_false = [unit for unit in units if unit.false_mm is not None]
    assert len(with_false) / len(units) == pytest.approx(39 / 77, abs=0.08)
    false_mm = [unit.false_mm for unit in with_false]
    assert statistics.median(false_mm) == pytest.approx(620, abs=15)
    assert sum(450 <= mm <= 650 for mm in false_mm) / len(false_mm) == pytest.approx(
        34 / 39, abs=0.1
    )

    readings = {unit.name: [unit.distance_mm(h * HOUR_US) for h in range(1000)] for unit in units}
    shares, runs = [], []
    for unit in with_false:
        is_false = [mm == unit.false_mm for mm in readings[unit.name]]
        shares.append(sum(is_false) / len(is_false))
        starts = sum(now and not before for before, now in pairwise([False, *is_false]))
        runs.append(sum(is_false) / max(starts, 1))
    assert statistics.mean(shares) == pytest.approx(0.25, abs=0.03)
    # Silence interrupts a run now and then.
    assert statistics.mean(runs) == pytest.approx(4.3, abs=0.5)

    others = [mm for unit in units if unit.false_mm is None for mm in readings[unit.name]]
    silent = sum(mm is None for mm in others) / len(others)
    spikes = sum(mm is not None and abs(mm - 1900) >= 150 for mm in others) / len(others)
    assert silent == pytest.approx(Container.SILENT_SHARE, rel=0.2)
    assert spikes == pytest.approx(0.029, rel=0.1)


def test_waste_nearer_than_the_false_distance_is_seen():
    bin_ = container(Engine(1), FillCurve([(0, 0.99)]))
    bin_.false_mm = 620
    readings = {bin_.distance_mm(h * HOUR_US) for h in range(200)}
    assert 620 not in readings


def test_values_of_one_wake_have_one_error():
    """Four sonar values per uplink did not help in the field: all four were always equal."""
    bin_ = container()
    assert len({bin_.distance_mm(5 * HOUR_US + k * 100_000) for k in range(10)}) == 1


def test_generated_containers_fill_and_are_emptied():
    engine = Engine(5)
    curves = [generated_fill(engine, f"g{number}", 60, MIDNIGHT) for number in range(40)]
    emptied_at = [curve.level(t_us - 1) for curve in curves for t_us in curve.emptyings_us]
    assert len(emptied_at) > 200
    below_half = sum(level < 0.5 for level in emptied_at) / len(emptied_at)
    assert 0.3 < below_half < 0.7
    at_night = [
        curve.level(d * DAY_US + 4 * HOUR_US) - curve.level(d * DAY_US)
        for curve in curves
        for d in range(60)
    ]
    assert set(at_night) == {0.0}


def test_the_day_is_coldest_before_dawn_and_warmest_in_the_afternoon():
    by_hour = {hour: MIDNIGHT.temperature_c(hour * HOUR_US) for hour in range(24)}
    assert min(by_hour, key=by_hour.get) in (5, 6)
    assert max(by_hour, key=by_hour.get) in (15, 16)
    assert min(by_hour.values()) == pytest.approx(15, abs=0.3)
    assert max(by_hour.values()) == pytest.approx(27, abs=0.3)
    assert Weather(5 * 3600).local_hour(HOUR_US) == 6.0
    steps = [
        abs(a - b) for a, b in pairwise(MIDNIGHT.temperature_c(h * HOUR_US) for h in range(48))
    ]
    assert max(steps) < 2.1


def length(vector):
    return math.sqrt(sum(part * part for part in vector))


def difference(one, other):
    return length([a - b for a, b in zip(one, other, strict=True)])


def test_a_car_changes_the_field_and_leaving_restores_it():
    engine = Engine(1)
    bay = Bay(engine, "bay", MIDNIGHT)
    changed = []
    bay.on_change(lambda: changed.append(engine.now_us))
    before = bay.field_ut(0)
    assert length(before) == pytest.approx(33, abs=4)
    engine.run_until(US_PER_S)
    bay.arrive()
    engine.run_until(10 * US_PER_S)
    assert changed == [1_000_000, 3_000_000, 5_000_000]
    assert bay.is_occupied
    assert difference(bay.field_ut(engine.now_us), before) > 7
    bay.leave()
    engine.run_until(20 * US_PER_S)
    assert difference(bay.field_ut(engine.now_us), before) < 3
    assert bay.changes == [(0, False), (1_000_000, True), (10_000_000, False)]
    with pytest.raises(ValueError, match="is free"):
        bay.leave()
    bay.arrive()
    with pytest.raises(ValueError, match="is taken"):
        bay.arrive()


def test_the_neighbours_car_is_felt_a_little():
    engine = Engine(1)
    bay, neighbour = Bay(engine, "bay", MIDNIGHT), Bay(engine, "next", MIDNIGHT)
    bay.neighbours = [neighbour]
    neighbour.neighbours = [bay]
    changed = []
    bay.on_change(lambda: changed.append(engine.now_us))
    before = statistics.mean(length(bay.field_ut(0)) for _ in range(50))
    neighbour.arrive()
    engine.run_until(10 * US_PER_S)
    assert len(changed) == 3
    after = statistics.mean(length(bay.field_ut(0)) for _ in range(50))
    assert abs(after - before) < 5


def test_the_field_drifts_with_temperature():
    engine = Engine(2)
    drifts = []
    for number in range(50):
        bay = Bay(engine, f"bay-{number}", MIDNIGHT)
        means = []
        for hour in (5, 15):
            fields = [bay.field_ut(hour * HOUR_US) for _ in range(20)]
            means.append([statistics.mean(axis) for axis in zip(*fields, strict=True)])
        drifts += [abs(warm - cold) / 12 for cold, warm in zip(*means, strict=True)]
    # 1 to 26 counts of 1/68.42 uT per degree and axis.
    assert 0.05 < statistics.median(drifts) < 0.12
    assert max(drifts) < 0.45


def test_bays_are_used_as_bays_are():
    engine = Engine(4)
    bays = [Bay(engine, f"bay-{number}", MIDNIGHT, ParkingHabits()) for number in range(8)]
    days = 20
    engine.run_until(days * DAY_US)
    for bay in bays:
        occupied_us = sum(
            until_us - t_us for (t_us, occupied), (until_us, _) in pairwise(bay.changes) if occupied
        )
        assert 0.05 < occupied_us / (days * DAY_US) < 0.40
    arrivals = [t_us % DAY_US // HOUR_US for bay in bays for t_us, there in bay.changes if there]
    by_night = sum(hour < 5 for hour in arrivals)
    by_day = sum(8 <= hour < 13 for hour in arrivals)
    assert by_day > 15 * by_night


def test_the_world_is_the_same_for_the_same_seed():
    def world(seed):
        engine = Engine(seed)
        bay = Bay(engine, "bay", MIDNIGHT, ParkingHabits())
        bin_ = container(engine)
        engine.run_until(DAY_US)
        return bay.changes, bay.field_ut(DAY_US), [bin_.distance_mm(h * HOUR_US) for h in range(99)]

    assert world(1) == world(1) != world(2)
