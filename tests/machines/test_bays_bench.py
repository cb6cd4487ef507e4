"""The bay detector on labelled series, a short form of bench/bays.py; and the series themselves."""

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

from stoep_hardware.engine import US_PER_S, Engine
from stoep_hardware.labelled_bays import bay_series
from stoep_hardware.troubles import BayTroubles, Seasons
from stoep_hardware.world import DAY_US, HOUR_US, Bay, Weather

BENCH = Path(__file__).parents[2] / "bench" / "bays.py"


def loaded():
    spec = importlib.util.spec_from_file_location("bench_bays", BENCH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bays = loaded()


def test_a_year_of_a_sensor_goes_from_eight_below_to_thirty_nine():
    year = Seasons(0)
    temperatures_c = [year.temperature_c(hour * HOUR_US) for hour in range(365 * 24)]
    assert -9 < min(temperatures_c) < -4
    assert 36 < max(temperatures_c) < 40


def test_series_are_the_same_for_the_same_seed():
    assert bay_series(5, 2) == bay_series(5, 2)
    assert bay_series(5, 2) != bay_series(6, 2)


def test_series_have_a_look_in_every_hour_and_alternating_truth():
    series = bay_series(3, 3)
    times = [look.at_ms for look in series.looks]
    assert times == sorted(times)
    assert max(after - before for before, after in pairwise(times)) < 3_620_000
    states = [occupied for _, occupied in series.changes]
    assert len(states) > 5
    assert all(one is not other for one, other in pairwise(states))


def test_car_beside_is_felt_sideways_and_against_its_own_field():
    engine = Engine(1)
    bay, other = (Bay(engine, name, Weather(0), None, BayTroubles()) for name in ("one", "two"))
    bay.neighbours = [other]
    before = bay.field_ut(0)
    other.arrive()
    engine.run_until(60 * US_PER_S)
    after = bay.field_ut(engine.now_us)
    felt = [now - then for now, then in zip(after, before, strict=True)]
    car = other._car_ut
    assert felt[2] * car[2] < 0 or abs(felt[2]) < 2
    assert max(abs(part) for part in felt) < 0.15 * 70


def test_what_passes_is_over_after_a_while():
    engine = Engine(1)
    bay = Bay(engine, "one", Weather(0))
    seen = []
    bay.on_change(lambda: seen.append(engine.now_us))
    bay.disturb((10.0, 0.0, 0.0), 3.0)
    assert bay.field_ut(0)[0] - bay._earth_ut[0] > 5
    engine.run_until(10 * US_PER_S)
    assert seen == [0, 3 * US_PER_S]
    assert abs(bay.field_ut(engine.now_us)[0] - bay._earth_ut[0]) < 5
    assert bay.changes == [(0, False)]
    engine.run_until(DAY_US)


def test_scores_of_a_detector_that_is_always_right_late_or_wrong():
    series = bays.BaySeries(
        looks=[bays.Look(at_ms, (0, 0, 0), 0, False) for at_ms in (0, 100, 200, 300)],
        changes=[(0, False), (90, True), (190, False)],
        end_ms=400,
    )

    class Says:
        def __init__(self, *states):
            self.states = list(states)

        def look(self, look):
            return self.states.pop(0)

    right = bays.score(series, Says(0, 1, 0, 0))
    assert right.right_ms == {0: 290, 1: 90}
    assert right.whole_ms == {0: 300, 1: 100}
    assert right.latencies_ms == [10, 10]
    assert right.told == right.changes == 2
    assert bays.score(series, Says(1, 0, 1, 1)).right_ms == {0: 10, 1: 10}
    uncertain = bays.score(series, Says(2, 2, 2, 2))
    assert uncertain.balanced() == 0
    assert uncertain.latencies_ms == []
