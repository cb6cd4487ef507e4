"""The plan of the street, Blantyre's data, and the files that tell the gateway."""

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from stoep_gateway import config
from stoep_hardware import blantyre, street_files
from stoep_hardware.engine import Engine
from stoep_hardware.street_plan import GATEWAY_REACH_M, plan
from stoep_hardware.world import HOUR_US


def test_thirteen_skips_have_a_log_and_a_site_of_their_area():
    skips = blantyre.skips()
    assert len(skips) == 13
    assert len({skip.id for skip in skips}) == 13
    for skip in skips:
        area = skip.id.split("-")[0]
        assert skip.site.name.lower().startswith(area)
        assert skip.site.capacity_l == 7000
        assert len(skip.visits) > 30
        assert {level for _, level in skip.visits} <= {0, 0.25, 0.5, 0.75, 1, 8 / 7}
        days = [day for day, _ in skip.visits]
        assert days == sorted(days)


def test_the_level_is_what_was_noted_at_noon():
    (skip,) = [one for one in blantyre.skips() if one.id == "bangwe-organic-1"]
    curve = blantyre.fill_curve(skip, blantyre.DEMO_START)
    noted = dict(skip.visits)
    for day in range(-20, 20):
        noon = blantyre.DEMO_START.replace(hour=12, minute=0) + timedelta(days=day)
        t_us = (noon - blantyre.DEMO_START) // timedelta(microseconds=1)
        assert curve.level(t_us) == pytest.approx(noted[noon.date()])


def test_between_visits_it_rises_evenly_and_a_fall_is_an_emptying_at_nine():
    (skip,) = [one for one in blantyre.skips() if one.id == "bangwe-organic-1"]
    start = datetime(2021, 6, 3, 5, 30, tzinfo=ZoneInfo(blantyre.TIMEZONE))
    curve = blantyre.fill_curve(skip, start)
    # 2021-06-02 0.25, -03 1.0, -04 0: half past five is 17.5 of 24 hours on the way.
    assert curve.level(0) == pytest.approx(0.25 + 0.75 * 17.5 / 24)
    nine_us = round((24 + 3.5) * HOUR_US)
    assert nine_us in curve.emptyings_us
    assert curve.level(nine_us - 1) == 1.0
    assert curve.level(nine_us) == 0.0


def test_the_plan_is_the_same_for_a_seed_and_has_the_real_things_first():
    street = plan(Engine(1))
    assert street == plan(Engine(1))
    assert street.containers[0].board.app_key != plan(Engine(2)).containers[0].board.app_key
    assert [one.skip is not None for one in street.containers] == [True] * 13 + [False] * 3
    assert all(one.id.startswith("generated-") for one in street.containers[13:])
    assert len(street.bays) == 8
    boards = [one.board for one in (*street.containers, *street.bays)]
    assert len({board.dev_eui for board in boards}) == 24
    assert len({board.app_key for board in boards}) == 24
    assert [one.board.is_micropython for one in street.containers].count(True) == 2
    assert [one.board.is_micropython for one in street.bays].count(True) == 2


def test_every_board_has_a_gateway_within_reach():
    street = plan(Engine(1))
    for one in (*street.containers, *street.bays):
        nearest = min(math.dist(one.position_m, pole.position_m) for pole in street.gateways)
        assert 10 < nearest < GATEWAY_REACH_M + 50


def test_the_day_begins_at_half_past_five():
    street = plan(Engine(1))
    assert street.local_start_s == 5.5 * 3600
    assert street.start.utcoffset() == timedelta(hours=2)
    assert datetime.fromtimestamp(street.utc_start_ms / 1000, street.start.tzinfo) == street.start


@pytest.mark.parametrize(
    ("containers", "bays", "micropython", "on_bins", "on_bays"),
    [(1, 0, 1, 1, 0), (0, 1, 1, 0, 1), (2, 2, 4, 2, 2), (1, 5, 4, 1, 3), (5, 1, 4, 3, 1)],
)
def test_micropython_boards_are_of_both_kinds(containers, bays, micropython, on_bins, on_bays):
    street = plan(Engine(1), containers=containers, bays=bays, micropython=micropython)
    assert sum(one.board.is_micropython for one in street.containers) == on_bins
    assert sum(one.board.is_micropython for one in street.bays) == on_bays


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (0, -1, 0), (1, 1, 3), (60, 0, 0), (1, 1, -1)])
def test_what_cannot_be_had_is_refused(numbers):
    containers, bays, micropython = numbers
    with pytest.raises(ValueError, match="there can be up to"):
        plan(Engine(1), containers=containers, bays=bays, micropython=micropython)


@pytest.mark.parametrize(("containers", "bays"), [(16, 8), (1, 0), (0, 1), (40, 20)])
def test_the_gateway_understands_the_files(tmp_path, containers, bays):
    street = plan(Engine(1), containers=containers, bays=bays, micropython=0)
    path = street_files.write(street, tmp_path, broker=("127.0.0.1", 1883))
    read = config.load(path)
    assert read.site == "blantyre"
    assert [one.eui for one in read.gateways] == [one.eui for one in street.gateways]
    boards = {one.board.dev_eui: one for one in (*street.containers, *street.bays)}
    assert {one.dev_eui: one.app_key for one in read.devices} == {
        eui: one.board.app_key for eui, one in boards.items()
    }
    for device in read.devices:
        kind, _, name = device.asset.partition("/")
        assert boards[device.dev_eui].id == name
        assert (kind == "bay") == (boards[device.dev_eui] in street.bays)
    assert read.planning.enabled is (containers > 0)
    if containers:
        assert len(read.distances) == 56
        assert {one.distance_index for one in read.places} == {54, 56}
        assert read.trucks[0].depot in {one.id for one in read.places}
    assert "CC BY 4.0" in path.read_text()


def test_planning_can_be_switched_off(tmp_path):
    path = street_files.write(
        plan(Engine(1)), tmp_path, broker=("127.0.0.1", 1883), planning_at=None
    )
    assert not config.load(path).planning.enabled
