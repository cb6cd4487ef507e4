"""Levels by openings of a lid: what is learned, by hand and over made-up containers."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.assets.registry import Container
from stoep_gateway.assets.states import AssetState, ContainerState, dumps, loads
from stoep_gateway.config_makes import MakeConfig
from stoep_gateway.insight import flaps
from stoep_gateway.insight.flaps import FlapCount
from stoep_gateway.integrations.codecs.mapping import Mapping
from stoep_gateway.publish import topics
from stoep_gateway.publish.containers import emptied_by_log
from stoep_gateway.store.records import CollectionRow
from stoep_protocol.messages import BinReport
from street import HOUR_MS, START_MS, checked, device, meta

LITRES = 1000


def test_until_something_is_learned_an_opening_is_what_is_configured() -> None:
    count = flaps.counted(FlapCount(), 30, 1, 1)
    assert flaps.estimate(count, LITRES, 12.0) == (36.0, 2)
    assert flaps.estimate(FlapCount(), LITRES, 12.0) == (0.0, 2)


def test_what_is_learned_is_all_points_by_all_openings() -> None:
    count = FlapCount()
    for openings, points in ((100, 50.0), (60, 24.0), (140, 76.0)):
        count = flaps.learned(count, openings, points)
    # Older cycles count 0.9 and 0.81: 138.1 points by 275 openings.
    own = (0.81 * 50 + 0.9 * 24 + 76) / (0.81 * 100 + 0.9 * 60 + 140)
    level, _ = flaps.estimate(dataclasses.replace(count, total=40.0), LITRES, 1000 * own / 100)
    assert level == pytest.approx(40 * own, abs=0.05)
    # A guess that is ten times too high weighs 0.15 cycles beside 2.71.
    level, _ = flaps.estimate(dataclasses.replace(count, total=40.0), LITRES, 1000 * own / 10)
    assert level == pytest.approx(40 * own * 10 ** (0.15 / 2.86), abs=0.05)


def test_a_cycle_is_learned_at_its_end_and_begins_anew() -> None:
    count = flaps.counted(FlapCount(base_pct=5.0), 80, 1, 1)
    count = flaps.emptied(count, 3.0, 85.0)
    assert (count.openings, count.points, count.cycles) == (80, 80.0, 1)
    assert (count.total, count.base_pct) == (0, 3.0)


@pytest.mark.parametrize(
    ("count", "from_pct"),
    [
        (FlapCount(80), None),  # nobody said how full it was
        (FlapCount(80), 100.0),  # nor how much lay beside it
        (FlapCount(4), 50.0),
        (FlapCount(80), 9.0),
        (FlapCount(80, -1.0), 50.0),  # counted from later on
    ],
)
def test_what_says_nothing_is_not_learned(count: FlapCount, from_pct: float | None) -> None:
    after = flaps.emptied(count, 0.0, from_pct)
    assert (after.cycles, after.total, after.base_pct) == (0, 0, 0)


def test_lost_reports_are_taken_to_have_been_alike() -> None:
    count = flaps.counted(FlapCount(), 10, 100, 1)
    assert flaps.counted(count, 6, 103, 3).total == 10 + 6 * 3
    assert flaps.counted(count, 6, 103, 1).total == 16  # other messages, no report
    assert flaps.counted(count, 6, 101, 5).total == 16  # readings that were not sent
    assert flaps.counted(count, 6, 2, 5).total == 16  # a new session
    assert flaps.counted(count, 6, 5000, 5000).total == 10 + 6 * 49


def test_a_level_is_accepted_once_cycles_agree() -> None:
    even = wild = FlapCount()
    for n in range(6):
        even = flaps.learned(even, 100, 60.0 + n)
        wild = flaps.learned(wild, 100, 20.0 + 60 * (n % 2))
    at = dataclasses.replace
    assert flaps.estimate(at(even, total=100.0), LITRES, 5.0)[1] == 3
    assert flaps.estimate(at(wild, total=100.0), LITRES, 5.0)[1] == 2
    assert flaps.estimate(at(wild, total=5.0), LITRES, 5.0)[1] == 3


def test_others_of_the_kind_teach_in_litres() -> None:
    small, large = FlapCount(openings=100, points=50.0), FlapCount(openings=300, points=50.0)
    litres = flaps.pooled(
        [("bin/paper", 200, small), ("bin/paper", 1000, large), ("bin/glass", 5, FlapCount())]
    )
    assert litres == {"bin/paper": (100 + 500) / 400}


@given(
    st.lists(
        st.tuples(st.sampled_from(["flap", "empty"]), st.integers(0, 255), st.floats(0, 120)),
        max_size=60,
    )
)
def test_any_course(steps: list[tuple[str, int, float]]) -> None:
    count = FlapCount()
    level = 0.0
    for number, (what, flapped, pct) in enumerate(steps):
        if what == "flap":
            count = flaps.counted(count, flapped, number, 1)
            higher, quality = flaps.estimate(count, LITRES, 4.0)
            assert level <= higher <= 120
            assert quality in (2, 3)
        else:
            count = flaps.emptied(count, 0.0, pct)
        level, _ = flaps.estimate(count, LITRES, 4.0)
        kept = ContainerState(0, number, flaps=count)
        assert loads("container/x", dumps(kept)) == kept


def cycles(seed: int, count: int) -> list[tuple[list[int], float]]:
    """Make up cycles: openings by the hour, and the level when it is emptied.

    An opening brings 0 to 30 litres, 6 in the mean, some nothing at all.
    """
    source = random.Random(seed)
    made = []
    for _ in range(count):
        hours = [source.randrange(4) for _ in range(source.randint(40, 110))]
        litres = sum(
            source.choice((0.0, 2.0, 4.0, 6.0, 18.0)) for opened in hours for _ in range(opened)
        )
        made.append((hours, litres / LITRES * 100))
    return made


def send(
    distances: bool, course: list[tuple[list[int], float]]
) -> tuple[list[dict[str, Any]], AssetState | None]:
    """Run such a container through the gateway; without distances its emptyings are logged."""
    board = device(1)
    assert isinstance(board.asset, Container)
    container = dataclasses.replace(board.asset, capacity_l=LITRES, by_flaps=not distances)
    board = dataclasses.replace(board, asset=container)
    state: AssetState | None = None
    told, number, level = [], 0, 0.0

    def report(distance_mm: int | None, opened: int) -> None:
        nonlocal state, number
        message = BinReport(number, distance_mm, 4 if distances else 0, 0, None, opened)
        at_ms = START_MS + number * HOUR_MS
        heard = dataclasses.replace(meta(at_ms), f_cnt_up=number)
        outputs = topics.uplink_outputs(board, message, heard, state, 15.0)
        state, number = outputs.state, number + 1
        told.extend(checked(it) for it in outputs.messages)

    def mm() -> int | None:
        return 1800 - round(15 * level) + number % 3 if distances else None

    for hours, from_pct in course:
        for hour, opened in enumerate(hours, 1):
            level = from_pct * hour / len(hours)
            report(mm(), opened)
        if distances:
            level = 0.0
            report(mm(), 0)
            report(mm(), 0)
        else:
            assert isinstance(state, ContainerState)
            at_ms = START_MS + number * HOUR_MS
            message, row, state = emptied_by_log(
                board, container, state, at_ms, at_ms, from_pct, 0.0, 15.0
            )
            assert row == CollectionRow(container.id, at_ms, "log", from_pct, 0.0)
            told.append(checked(message))
    return told, state


def test_a_container_with_a_level_sensor_learns_what_its_lid_brings() -> None:
    _, state = send(True, cycles(1, 12))
    assert isinstance(state, ContainerState)
    assert state.flaps is not None
    assert state.flaps.cycles > 5
    assert state.flaps.points / state.flaps.openings == pytest.approx(0.6, rel=0.1)
    assert len(dumps(state)) < 440


def test_a_container_without_one_learns_from_logged_collections() -> None:
    course = cycles(2, 14)
    told, state = send(False, course)
    states = [it for it in told if "fill_pct" in it]
    assert {it["reason"] for it in states} == {"from_flaps"}
    assert {it["distance_mm"] for it in states} == {None}
    assert states[0]["quality"] == 2
    assert states[-1]["quality"] == 3
    ends, at = [], 0
    for it in told:
        if it.get("event") == "emptied":
            ends.append((at, it["from_pct"], it["hours_since_emptied"]))
        else:
            at = it["fill_pct"]
    first, last = ends[:1], ends[6:]
    assert abs(first[0][0] - first[0][1]) > 20  # 15 litres were a bad guess
    errors = [abs(estimated - true) for estimated, true, _ in last]
    assert sum(errors) / len(errors) < 6
    assert states[-1]["rate_pct_per_day"] is not None
    assert states[-1]["emptied_utc"] is not None
    assert isinstance(state, ContainerState)
    assert state.track is not None
    assert all(hours is None or hours >= 40 for *_, hours in ends)


REPORTS = st.builds(
    BinReport,
    st.integers(0, 40),
    st.none() | st.integers(0, 4000),
    st.integers(0, 4),
    st.integers(0, 255),
    flaps=st.none() | st.integers(0, 255),
    age_min=st.sampled_from([0, 0, 0, 90]),
)


@given(st.lists(st.tuples(REPORTS, st.integers(-3, 400)), max_size=12))
def test_any_reports_of_a_counter(reports: list[tuple[BinReport, int]]) -> None:
    board = device(1)
    assert isinstance(board.asset, Container)
    board = dataclasses.replace(board, asset=dataclasses.replace(board.asset, by_flaps=True))
    state: AssetState | None = ContainerState(-1, 0, flaps=FlapCount(12.0))
    at_ms = START_MS
    for report, hours in reports:
        at_ms += hours * HOUR_MS
        outputs = topics.uplink_outputs(board, report, meta(at_ms), state, 10.0)
        for message in outputs.messages:
            values = checked(message)
            if message.kind == "container_state":
                assert (values["quality"], values["reason"]) in (
                    (2, "from_flaps"),
                    (3, "from_flaps"),
                )
                assert values["fill_pct"] is not None
            else:
                assert message.kind == "container_alarm"
        state = outputs.state or state
        assert isinstance(state, ContainerState)
        assert loads("container/x", dumps(state)) == state


def test_a_flap_counter_that_comes_later_learns_from_the_next_cycle_on() -> None:
    outputs = topics.uplink_outputs(device(1), BinReport(0, 900, 4), meta(), None)
    assert isinstance(outputs.state, ContainerState)
    assert outputs.state.flaps is None
    later = topics.uplink_outputs(
        device(1), BinReport(1, 890, 4, flaps=3), meta(START_MS + HOUR_MS), outputs.state
    )
    assert isinstance(later.state, ContainerState)
    assert later.state.flaps == FlapCount(3.0, -1.0, 7)


def test_a_counter_of_another_make_needs_no_distance() -> None:
    values = {"id": "counter", "codec": "x.js", "kind": "bin", "flaps": "data.count"}
    make = MakeConfig.model_validate(values)
    mapping = Mapping(make)
    report, _ = mapping.messages({"data": {"count": 7}}, 1030, None)
    assert report == BinReport(6, None, 0, 0, None, 7)
    assert mapping.messages({"data": {}}, 1031, None) == (None, None)


def test_a_level_sensor_that_comes_later_has_not_emptied_the_container() -> None:
    board = device(1)
    assert isinstance(board.asset, Container)
    counting = dataclasses.replace(board, asset=dataclasses.replace(board.asset, by_flaps=True))
    kinds, state = [], None
    for hour in range(24):
        by_flaps = hour < 20
        report = BinReport(hour, None if by_flaps else 1500, 0 if by_flaps else 4, flaps=30)
        outputs = topics.uplink_outputs(
            counting if by_flaps else board, report, meta(START_MS + hour * HOUR_MS), state
        )
        state = outputs.state
        kinds += [it.kind for it in outputs.messages]
    assert set(kinds) == {"container_state"}
    assert isinstance(state, ContainerState)
    assert state.track is not None
    assert state.track.fill_pct == 20.0
