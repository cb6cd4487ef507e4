"""The bay detector on labelled series, a short form of bench/bays.py; and the series themselves."""

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from stoep_firmware.sensing.bay import Bay
from stoep_hardware.engine import US_PER_S, Engine
from stoep_hardware.labelled_bays import bay_series
from stoep_hardware.troubles import BayTroubles, Seasons
from stoep_hardware.world import DAY_US, HOUR_US, Weather
from stoep_hardware.world import Bay as Ground
from stoep_protocol.schema import FREE, OCCUPIED, UNCERTAIN

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
    bay, other = (Ground(engine, name, Weather(0), None, BayTroubles()) for name in ("one", "two"))
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
    bay = Ground(engine, "one", Weather(0))
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


def test_detector_is_right_with_every_trouble_on_by_the_held_out_seeds():
    totals = [bays.score(bay_series(seed, 12), bays.Production()) for seed in range(1000, 1006)]
    whole = bays.Score()
    for total in totals:
        whole.add(total)
    assert whole.balanced() > 0.95
    assert whole.latency_s(0.5) < 10
    assert whole.told < 1.3 * whole.changes


COUNTS = st.integers(-65536, 65534)
LOOKS = st.lists(
    st.tuples(st.tuples(COUNTS, COUNTS, COUNTS), st.integers(1, 10**8), st.integers(-320, 480)),
    max_size=40,
)


@given(LOOKS, st.integers(0, 4448))
def test_whatever_the_fields_the_state_goes_round_in_turns_and_survives_sleep(fields, threshold):
    bay = Bay()
    now_ms = 0
    for field, later_ms, temperature in fields:
        now_ms += later_ms
        before, count = bay.state, bay.change_count
        asleep = Bay()
        asleep.unpack(bay.pack())
        changed = bay.update(field, now_ms, threshold, temperature)
        assert asleep.update(field, now_ms, threshold, temperature) == changed
        assert asleep.state == bay.state
        assert asleep.kept == bay.kept
        assert changed == (bay.state != before)
        merged = changed and bay.state == OCCUPIED and bay.since_ms < now_ms
        assert bay.change_count == count + changed - 2 * merged
        assert bay.state in (FREE, OCCUPIED)
        assert bay.told() in (bay.state, UNCERTAIN)
        assert 0 <= bay.since_ms <= now_ms


@given(st.tuples(COUNTS, COUNTS, COUNTS), st.lists(st.integers(-100, 100), max_size=60))
def test_field_that_only_trembles_is_no_car(field, noise):
    bay = Bay()
    for hour, part in enumerate(noise):
        trembling = (field[0] + part, field[1] - part, field[2] + part // 2)
        assert not bay.update(trembling, hour * 3_600_000, 444, part)


def test_a_sensor_that_is_looked_at_by_the_clock_is_late_and_hardly_worse():
    quick = bays.score(bay_series(1000, 6), bays.Production())
    polled = bays.score(bay_series(1000, 6, poll_s=60), bays.Production())
    assert polled.changes == quick.changes
    assert quick.latency_s(0.5) < 8
    assert 20 < polled.latency_s(0.5) < 50
    assert polled.latency_s(0.95) < 75
    assert polled.balanced() > quick.balanced() - 0.03
    assert {look.temperature for look in bay_series(1000, 2, poll_s=60).looks} == {0}
