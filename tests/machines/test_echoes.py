"""Which echoes are believed: a table of what sensors do, and made-up units with their truth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.assets.states import ContainerState, dumps, loads
from stoep_gateway.insight import echoes
from stoep_gateway.insight.echoes import EchoState, Verdict
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.insight.flaps import FlapCount
from stoep_gateway.insight.soundness import Soundness
from stoep_hardware.labelled import BinRanges, bin_series

HOUR = 3_600_000
DEPTH = 1500
BENCH = Path(__file__).parents[2] / "bench" / "bins.py"


def run(*distances: int, state: EchoState | None = None) -> tuple[EchoState, list[Verdict]]:
    verdicts = []
    begin_ms = 0 if state is None else state.at_ms + HOUR
    for hour, distance in enumerate(distances):
        state, verdict = echoes.advance(state, begin_ms + hour * HOUR, distance, DEPTH)
        verdicts.append(verdict)
    assert state is not None
    return state, verdicts


def rising(begin: int = 1400, count: int = 40) -> list[int]:
    return [begin - 8 * hour for hour in range(count)]


def learned() -> EchoState:
    """Return a sensor that has answered from 620 mm in two runs."""
    return run(*rising(), 620, 621, 619, 1090, 1082, 620, 620, 1065, 1058)[0]


def judged(verdicts: list[Verdict]) -> list[tuple[int, str | None]]:
    return [(it.quality, it.reason) for it in verdicts]


def test_waste_that_rises_is_believed() -> None:
    _, verdicts = run(*rising())
    assert judged(verdicts) == [(4, None)] * 40
    assert all(it.believed and not it.undone for it in verdicts)


def test_a_false_distance_is_learned_and_then_rejected() -> None:
    state = learned()
    assert [round(it.distance_mm, -1) for it in state.false_distances] == [620]
    state, verdicts = run(622, 618, 1020, state=state)
    assert judged(verdicts) == [(1, "false_echo"), (1, "false_echo"), (4, None)]
    for verdict in verdicts[:2]:
        assert not verdict.believed
        assert 1000 < verdict.distance_mm < 1058  # where the waste goes on to be


def test_a_first_false_run_is_doubted() -> None:
    _, verdicts = run(*rising(), 620, 621, 619, 1090)
    assert judged(verdicts[40:]) == [(2, "sudden_rise")] * 3 + [(4, None)]


def test_waste_that_reaches_a_false_distance_goes_on() -> None:
    state, _ = run(*range(1058, 660, -12), state=learned())
    _, verdicts = run(640, 632, 622, 611, 598, 585, state=state)
    assert all(it.quality >= 3 for it in verdicts)
    for verdict, distance in zip(verdicts, (640, 632, 622, 611, 598, 585), strict=True):
        assert abs(verdict.distance_mm - distance) <= 25


def test_waste_in_place_of_a_false_echo_is_believed_in_the_end() -> None:
    _, verdicts = run(*[620] * 45, state=learned())
    assert not any(it.believed for it in verdicts[:30])
    assert any(it.believed for it in verdicts)
    assert verdicts[-1].distance_mm == 620


def test_a_stray_echo_changes_nothing() -> None:
    for stray in (300, 1450):
        _, verdicts = run(*rising(1000, 30), stray, 755, 748)
        assert verdicts[-1].believed
        assert verdicts[-1].quality == 4
        assert verdicts[30].quality == 3 or not verdicts[30].believed


def test_an_emptying_is_told_by_its_first_reading_and_confirmed_by_the_next() -> None:
    _, verdicts = run(*rising(), 1480, 1475)
    assert judged(verdicts[40:]) == [(3, "sudden_fall"), (4, None)]
    assert [it.believed for it in verdicts[40:]] == [True, True]


def test_an_emptied_container_is_known_by_where_its_floor_was_before() -> None:
    state, _ = run(*rising(), 1480, 1475, *rising(1470))
    for fall, at_once in ((1480, True), (1390, False)):
        _, (verdict,) = run(fall, state=state)
        assert (verdict.reason, verdict.believed) == ("sudden_fall", at_once)


def test_a_container_emptied_half_needs_a_second_reading() -> None:
    _, verdicts = run(*rising(900, 60), 800, 795)
    assert judged(verdicts[60:]) == [(3, "sudden_fall"), (3, "sudden_fall")]
    assert [it.believed for it in verdicts[60:]] == [False, True]


def test_a_bag_that_hung_was_no_waste() -> None:
    state, _ = run(*[1400 - hour for hour in range(220)])
    _, verdicts = run(*[780] * 10, 1175, 1174, state=state)
    assert verdicts[9].believed
    assert (verdicts[10].believed, verdicts[10].undone) == (True, True)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(30, 4500)), max_size=60))
def test_any_readings(steps: list[tuple[int, int]]) -> None:
    state, at_ms = None, 0
    for hours, distance in steps:
        at_ms += hours * HOUR
        state, verdict = echoes.advance(state, at_ms, distance, DEPTH)
        assert 1 <= verdict.quality <= 4
        assert (verdict.reason is None) == (verdict.quality == 4)
        assert 0 <= verdict.distance_mm <= 4500
        if verdict.believed:
            assert verdict.distance_mm == distance
        kept = ContainerState(0, at_ms, echo=state)
        assert loads("container/x", dumps(kept)) == kept


def test_series_come_again_and_have_their_labels() -> None:
    ranges = BinRanges(false_unit_share=1.0)
    series = bin_series(7, 30, ranges)
    assert series == bin_series(7, 30, ranges)
    assert series != bin_series(8, 30, ranges)
    labels = {it.label for it in series.samples}
    assert {"good", "false", "spike"} <= labels
    for sample in series.samples:
        assert (sample.distance_mm is None) == (sample.label == "silent")


@pytest.mark.slow
def test_units_of_the_field_are_judged_well() -> None:
    """A short form of bench/bins.py on its own seeds; the bench has the figures."""
    spec = importlib.util.spec_from_file_location("bench_bins", BENCH)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules["bench_bins"] = bench
    spec.loader.exec_module(bench)
    total = bench.run(12, 60, 5000, bench.FIELD)
    assert total.raw_mae() > 7  # the filter has something to do
    assert total.mae() < 1.5
    assert total.false_reject_pct() < 1
    assert total.recall() > 0.95
    assert total.precision() > 0.95


def test_what_is_stored_of_a_container_is_short_and_old_states_are_read() -> None:
    track = FillTrack(1_769_814_000_000, 55.5, 1_767_225_600_000, 2.0, 1_767_225_600_000, 0.321)
    floors = (2926, 1482, *(1, -12) * 7)
    sensor = Soundness(1200, 29_496_900, 120, 100, 20, 123.4, floors, -26.1, True)
    echo, press = learned(), (1_769_814_000_000, 33.3)
    state = ContainerState(
        *(700, 1_769_814_000_000, 3_600_000, (), 1200, 3, "sensor_drifting"),
        *(track, echo, 1200.1, 120, press, sensor),
        FlapCount(1234.5, 12.3, 65_535, 9.999, 12_345.6, 6543.21, 43_210.98),
    )
    text = dumps(state)
    assert len(text) < 440  # an SQLite cell of a 2 kB page holds 488 octets, the key included
    assert loads("container/x", text) == state
    track_as_object = '{"at_ms":5,"fill_pct":3.5,"since_ms":1,"since_pct":0}'
    old = f'{{"sequence":7,"measured_ms":5,"track":{track_as_object}}}'
    assert loads("container/x", old) == ContainerState(7, 5, track=FillTrack(5, 3.5, 1, 0))
