"""Small plans whose every figure is reckoned by hand, in the comment beside it.

All towns lie on one road: the yard at kilometre 0, the dump at 10. A kilometre takes a minute and
costs 0.10 €, a minute costs 0.06 €; an emptying takes 6 and an unloading 12 of them.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from one_road import NOW, Sure, checked_plan, levels, route, town
from stoep_gateway.planning import planner
from stoep_gateway.planning.planner import Progress
from stoep_gateway.planning.selection import Decisions, Known, Running
from stoep_gateway.planning.text import for_people
from street import HOUR_MS

MINUTE = {"eur_per_h": 3.6}
SKIP = '[[kind]]\nid = "container"\nexchanged = true'


def test_one_truck(tmp_path: Path) -> None:
    """0-4-6-10-0: 20 km at 0.10 € and, with 6 + 6 + 12 minutes, 44 of 0.06 €: 4.64 €."""
    plan = checked_plan(levels(0, c1=90, c2=95), town(tmp_path, {1: 4, 2: 6}, **MINUTE))
    (it,) = plan.rounds
    assert [(stop.id, stop.eta_utc[11:16], stop.load_after_l) for stop in it.stops] == [
        ("c1", "04:04", 6300),
        ("c2", "04:12", 12_950),
        ("dump", "04:22", 0),
    ]
    assert [stop.leg_km for stop in it.stops] == [4, 2, 4]
    assert (it.return_km, it.return_utc[11:16]) == (10, "04:44")
    assert (it.km, it.hours, it.eur, it.volume_l) == (20, 0.73, 4.64, 12_950)
    # Each is worth 12 € x (fill / 70 %)³; without it there is a stop of 6 minutes less.
    assert [stop.prize_eur for stop in it.stops[:2]] == [25.5, 30.0]
    assert [stop.detour_eur for stop in it.stops[:2]] == [0.36, 0.36]


def test_one_forced(tmp_path: Path) -> None:
    """It is worth nothing, and costs all: 20 km and 38 minutes."""
    here = town(tmp_path, {1: 4, 2: 5}, **MINUTE)
    plan = checked_plan(levels(0, c1=10, c2=30), here, decisions=Decisions(included={"c1"}))
    (stop, _) = plan.rounds[0].stops
    assert (stop.id, stop.reason, stop.volume_l, stop.prize_eur) == ("c1", "manual", 700, 0)
    assert stop.detour_eur == plan.rounds[0].eur == 4.28
    assert [(it.container, it.reason) for it in plan.skipped] == [("c2", "too_empty")]


def test_one_excluded(tmp_path: Path) -> None:
    """It overflows for sure, and stays: without it the round is that of the other alone."""
    here = town(tmp_path, {1: 4, 2: 6}, **MINUTE)
    plan = checked_plan(levels(20, c1=100, c2=90), here, decisions=Decisions(excluded={"c1"}))
    assert route(plan) == ["c2", "dump"]
    assert (plan.rounds[0].km, plan.rounds[0].eur) == (20, 4.28)
    (left,) = plan.skipped
    assert (left.container, left.reason, left.fill_pct, left.p_overflow) == (
        "c1",
        "excluded",
        100,
        1,
    )


def test_everything_overflows_and_the_least_is_left_for_later(tmp_path: Path) -> None:
    """Behind the dump at 12, 14, 16 and 18 km, two to a trip of 16 800 l.

    All four: 0-16-18-10-12-14-10-0 are 44 km, with four stops and two unloadings 92 minutes. Three
    of them, the one at 18 km is the least full: 0-14-16-10-12-10-0, 36 km, 78 minutes. The two that
    are fullest: 0-12-14-10-0, 28 km, 52 minutes.
    """
    known = levels(20, c1=120, c2=120, c3=110, c4=105)
    positions = {1: 12.0, 2: 14.0, 3: 16.0, 4: 18.0}
    for minutes, km, eur, later in (
        (92, 44, 9.92, []),
        (91, 36, 8.28, ["c4"]),
        (78, 36, 8.28, ["c4"]),
        (77, 28, 5.92, ["c3", "c4"]),
        (52, 28, 5.92, ["c3", "c4"]),
    ):
        here = town(
            tmp_path, positions, capacity_l=16_800, shift_h=minutes / 60, iterations=1000, **MINUTE
        )
        plan = checked_plan(known, here)
        assert (plan.rounds[0].km, plan.rounds[0].eur) == (km, eur), minutes
        assert [it.container for it in plan.deferred] == later
        assert {it.reason for it in plan.deferred} <= {"shift_too_short"}
        assert {it.reason for it in plan.rounds[0].stops if it.action == "empty"} == {
            "overflow_risk"
        }


@pytest.mark.parametrize(
    ("hours", "leaves", "arrives"),
    [
        ('"06:00-06:04"', "04:00", "04:04"),
        ('"05:00-06:03"', None, None),
        ('"06:00-06:03", "09:00-10:00"', "06:56", "07:00"),
        ('"05:30-06:30", "09:00-10:00"', "04:00", "04:04"),
    ],
)
def test_a_window_that_is_missed(
    tmp_path: Path, hours: str, leaves: str | None, arrives: str | None
) -> None:
    """At 4 km nobody can be before 06:04."""
    plan = checked_plan(
        levels(20, c1=90), town(tmp_path, {1: 4}, of_container=f"windows = [{hours}]")
    )
    if leaves is None:
        assert [(it.container, it.reason) for it in plan.deferred] == [("c1", "window_missed")]
        assert plan.rounds[0].status == "all_deferred"
        return
    (it,) = plan.rounds
    assert (it.leaves_utc[11:16], it.stops[0].eta_utc[11:16]) == (leaves, arrives)


def test_a_window_that_has_to_be_waited_for(tmp_path: Path) -> None:
    """At 6 km from 06:00 to 06:30, at 4 km from 07:00 on: first the farther one, then 22 minutes.

    06:24 yard, 06:30 c2, 06:38 c1, where it waits until 07:00, 07:12 dump, 07:34 yard: 24 km and 70
    minutes. Nobody can be at both the other way round.
    """
    here = town(tmp_path, {1: 4, 2: 6})
    windows = {"c1": (7, 8, 0), "c2": (6, 6, 30)}
    containers = tuple(
        it.model_copy(update={"windows": [(datetime.time(early), datetime.time(late, minute))]})
        for it in here.containers
        for early, late, minute in (windows[it.id],)
    )
    here = here.model_copy(update={"containers": containers})
    plan = checked_plan(levels(20, c1=90, c2=90), here)
    (it,) = plan.rounds
    assert route(plan) == ["c2", "c1", "dump"]
    assert it.leaves_utc[11:16] == "04:24"
    assert [stop.eta_utc[11:16] for stop in it.stops] == ["04:30", "04:38", "05:12"]
    assert (it.km, it.hours, it.return_utc[11:16]) == (24, 1.17, "05:34")


def test_a_skip_lorry_unloads_after_each_skip_however_empty(tmp_path: Path) -> None:
    """Two half full skips would go into one trip of 20 km; a lorry takes them one by one.

    The farther one second: 0-4-10, 10-5-10, 10-0 are 30 km; the other way round they are 32.
    """
    known = levels(0, c1=50, c2=50)
    said = {"prize_from_pct": 40, **MINUTE}
    poured = checked_plan(known, town(tmp_path, {1: 4, 2: 5}, capacity_l=7000, **said))
    assert (poured.rounds[0].km, poured.rounds[0].unloads) == (20.0, 1)
    carried = checked_plan(known, town(tmp_path, {1: 4, 2: 5}, capacity_l=7000, more=SKIP, **said))
    (it,) = carried.rounds
    assert route(carried) == ["c1", "dump", "c2", "dump"]
    assert (it.km, it.unloads, it.volume_l) == (30.0, 2, 7000)
    assert [stop.load_after_l for stop in it.stops] == [7000, 0, 7000, 0]
    assert [stop.volume_l for stop in it.stops] == [3500, None, 3500, None]
    # Without either there would be 10 km and an unloading less: 1 € and 28 minutes.
    assert [stop.detour_eur for stop in it.stops] == [2.68, None, 2.68, None]


def test_a_skip_that_overflows_still_goes_on_its_lorry(tmp_path: Path) -> None:
    """114 % of 7000 l are 7980 l; a truck that is poured into takes what it has room for."""
    known = levels(0, c1=114)
    poured = checked_plan(known, town(tmp_path, {1: 4}, capacity_l=7000))
    assert (route(poured), poured.rounds[0].volume_l) == (["c1", "dump"], 7000)
    carried = checked_plan(known, town(tmp_path, {1: 4}, capacity_l=7000, more=SKIP))
    assert route(carried) == ["c1", "dump"]
    assert carried.rounds[0].volume_l == 7980


def test_who_reads_a_plan_is_told_how_old_a_level_is(tmp_path: Path) -> None:
    here = town(tmp_path, {1: 4, 2: 5, 3: 6})
    known = {
        name: Known(Sure(fill_pct, doubt=doubt), NOW - hours * HOUR_MS)
        for name, fill_pct, doubt, hours in (
            ("c1", 100, "no_data", 90 * 24),
            ("c2", 10, "no_data", 30),
            ("c3", 20, "bad_data", 1),
        )
    }
    text = for_people(checked_plan(known, here), here)
    assert "c1: would overflow (100 % by the next round; no level for 90 days)" in text
    assert "c2: too empty (10 %, overflows by the next round: < 1 %; no level for over a" in text
    assert "c3: too empty (20 %, overflows by the next round: < 1 %; hardly a reading" in text


def test_a_truck_that_starts_when_its_site_has_closed_hinders_nobody(tmp_path: Path) -> None:
    here = town(tmp_path, {1: 4}, trucks=2)
    early, late = here.trucks
    late = late.model_copy(update={"starts": datetime.time(15), "disposal": ["tip"]})
    tip = here.places[1].model_copy(
        update={"id": "tip", "open": (datetime.time(7), datetime.time(13))}
    )
    update = {"trucks": (early, late), "places": (*here.places, tip)}
    plan = checked_plan(levels(20, c1=90), here.model_copy(update=update))
    assert (route(plan), route(plan, 1)) == (["c1", "dump"], [])
    assert plan.rounds[1].status == "not_needed"


@dataclass(frozen=True)
class Unsure(Sure):
    """Overflows by the next rounds with a probability."""

    chance: float = 0.0

    def p_overflow_before(self, until_ms: int, emptyings: Sequence[int] = ()) -> float:
        return self.chance


def test_what_may_overflow_is_worth_its_share_and_is_not_a_must(tmp_path: Path) -> None:
    """30 % of 30 € are 9 €, and the round costs 4.28 €; 14 % are 4.20 €, which it does not."""
    here = town(tmp_path, {1: 4}, **MINUTE)
    (stop, _) = checked_plan({"c1": Known(Unsure(70, chance=0.3), NOW)}, here).rounds[0].stops
    assert (stop.reason, stop.prize_eur, stop.p_overflow) == ("overflow_risk", 9, 0.3)
    plan = checked_plan({"c1": Known(Unsure(70, chance=0.14), NOW)}, here)
    (left,) = plan.skipped
    assert (left.reason, left.prize_eur, left.detour_eur) == ("not_worth_the_way", 4.2, 4.28)
    # From 50 % on it is a must, whatever the way costs.
    far = town(tmp_path, {1: 400}, shift_h=24, **MINUTE)
    assert checked_plan({"c1": Known(Unsure(70, chance=0.49), NOW)}, far).deferred == ()
    assert checked_plan({"c1": Known(Unsure(70, chance=0.5), NOW)}, far).rounds[0].km == 800


def test_a_container_s_own_days_go_before_its_kind_s_and_those_before_all(tmp_path: Path) -> None:
    """Emptied 9.5 days ago, and the next rounds are in one: more than 10 days, less than 11."""
    known = {"c1": Known(Sure(10), NOW, NOW - 228 * HOUR_MS)}
    for of_container, of_kind, of_all, reason in (
        ("max_days = 11", "max_days = 10", 10, "too_empty"),
        ("max_days = 10", "max_days = 11", 11, "age"),
        ("", "max_days = 11", 10, "too_empty"),
        ("", "max_days = 10", 11, "age"),
        ("", "", 11, "too_empty"),
        ("", "", 10, "age"),
    ):
        kind = f'[[kind]]\nid = "container"\n{of_kind}'
        here = town(tmp_path, {1: 4}, more=kind, of_container=of_container, max_days=of_all)
        plan = checked_plan(known, here)
        found = [it.reason for of in plan.rounds for it in of.stops if it.action == "empty"]
        assert [*found, *(it.reason for it in plan.skipped)] == [reason]


def test_what_is_emptied_today_for_its_age_is_not_old_tomorrow(tmp_path: Path) -> None:
    here = town(tmp_path, {1: 4}, max_days=5)
    known = {"c1": Known(Sure(10), NOW, NOW - 120 * HOUR_MS)}
    today = checked_plan(known, here)
    (stop, _) = today.rounds[0].stops
    assert stop.reason == "age"
    tomorrow = planner.plan(
        known, here, NOW, starts_ms=today.next_round_ms, emptied={"c1": stop.eta_ms}
    )
    assert [(it.container, it.reason) for it in tomorrow.skipped] == [("c1", "too_empty")]


def test_however_many_emptyings_there_are_what_was_before_counts_half() -> None:
    assert Running(10, 50).after(600.0, [80.0] * 300) == Running(6, 65)


def test_what_is_locked_to_a_truck_is_emptied_by_it(tmp_path: Path) -> None:
    here = town(tmp_path, {1: 4}, trucks=2)
    plan = checked_plan(levels(0, c1=10), here, decisions=Decisions(locked={"c1": "t2"}))
    assert (route(plan), route(plan, 1)) == ([], ["c1", "dump"])
    assert plan.rounds[1].stops[0].reason == "manual"


def test_what_nobody_knows_takes_the_room_of_a_full_one(tmp_path: Path) -> None:
    here = town(tmp_path, {1: 4})
    plan = checked_plan({}, here, decisions=Decisions(included={"c1"}))
    (stop, _) = plan.rounds[0].stops
    assert (stop.reason, stop.volume_l, stop.fill_pct) == ("manual", 7000, None)


def test_what_would_not_pay_with_all_the_time_there_is_is_not_deferred(tmp_path: Path) -> None:
    """In 50 minutes there is time for c1, which takes 38, or for one of the others.

    To go on from c1 to 14 km would be 8 km, 8 minutes and 6: 1.64 €, which 6 % of 30 € are worth
    and 5 % are not.
    """
    here = town(tmp_path, {1: 4, 2: 14, 3: 14}, shift_h=50 / 60, **MINUTE)
    maybe = {
        name: Known(Unsure(70, chance=chance), NOW) for name, chance in (("c2", 0.06), ("c3", 0.05))
    }
    plan = checked_plan(levels(20, c1=90) | maybe, here)
    assert route(plan) == ["c1", "dump"]
    assert [(it.container, it.reason) for it in plan.deferred] == [("c2", "shift_too_short")]
    (left,) = plan.skipped
    assert (left.container, left.reason, left.prize_eur) == ("c3", "not_worth_the_way", 1.5)
    assert left.detour_eur == 1.64


def test_less_than_half_a_euro_is_nothing(tmp_path: Path) -> None:
    """To stop on the way is 0.36 €: 1.4 % of 30 € are 0.42 €, and 2 % are 0.60 €."""
    here = town(tmp_path, {1: 4, 2: 6}, **MINUTE)
    for chance, stops in ((0.014, ["c1", "dump"]), (0.02, ["c1", "c2", "dump"])):
        known = levels(20, c1=90) | {"c2": Known(Unsure(70, chance=chance), NOW)}
        assert route(checked_plan(known, here)) == stops


def test_a_round_that_is_planned_before_its_time_leaves_at_once(tmp_path: Path) -> None:
    """Unless the truck has a time of its own."""
    known = {"c1": Known(Sure(100), NOW - 2 * HOUR_MS)}
    for of_truck, leaves in (("", "03:00"), ('starts = "06:30"', "04:30")):
        here = town(tmp_path, {1: 4}, of_truck=of_truck)
        (it,) = planner.plan(known, here, NOW - HOUR_MS).rounds
        assert it.leaves_utc[11:16] == leaves


def test_what_is_left_out_stands_in_the_order_of_the_configuration(tmp_path: Path) -> None:
    """Whatever the reason; and the age of the data is that of the oldest level."""
    here = town(tmp_path, {1: 4, 2: 40, 3: 5, 4: 4})
    known = levels(0, c1=10, c3=10) | {"c2": Known(Unsure(70, chance=0.1), NOW - 30 * HOUR_MS)}
    plan = checked_plan(known, here)
    assert [(it.container, it.reason) for it in plan.skipped] == [
        ("c1", "too_empty"),
        ("c2", "not_worth_the_way"),
        ("c3", "too_empty"),
        ("c4", "no_data"),
    ]
    assert plan.data_age_h == 30


def test_a_container_fills_until_the_truck_is_there(tmp_path: Path) -> None:
    """Ten points an hour, and half an hour away."""
    (stop, _) = checked_plan(levels(240, c1=80), town(tmp_path, {1: 30})).rounds[0].stops
    assert (stop.fill_pct, stop.arrival_pct) == (80, 85)
    # It is worth what it is when the rounds start: 12 € x (85 / 70)³, not what 90 % would be.
    (stop, _) = checked_plan(levels(5, c1=85), town(tmp_path, {1: 4})).rounds[0].stops
    assert stop.prize_eur == 21.49


def test_a_truck_on_its_way_has_what_it_weighs_already(tmp_path: Path) -> None:
    """6300 l of 300 kg/m³ twice are 3780 kg, more than it carries: it unloads in between."""
    glass = '[[fraction]]\nid = "residual"\nkg_per_m3 = 300'
    here = town(tmp_path, {1: 4, 2: 6}, more=glass, of_truck="capacity_kg = 2000", **MINUTE)
    plan = planner.plan(
        levels(0, c1=90, c2=90),
        here,
        NOW,
        decisions=Decisions(done={"c1"}),
        progress={"t1": Progress("c1", 6300, 1890)},
    )
    assert [(it.id, it.load_after_kg) for it in plan.rounds[0].stops] == [
        ("dump", 0),
        ("c2", 1890),
        ("dump", 0),
    ]
    # Without c2 it would still unload what it has: 8 km and 26 minutes less.
    assert plan.rounds[0].stops[1].detour_eur == 2.36


def test_a_truck_on_its_way_unloads_though_another_does_the_rest(tmp_path: Path) -> None:
    here = town(tmp_path, {1: 4, 2: 6}, trucks=2)
    plan = planner.plan(
        levels(0, c1=90, c2=90),
        here,
        NOW,
        decisions=Decisions(done={"c1"}, locked={"c2": "t2"}),
        progress={"t1": Progress("c1", 6300)},
    )
    assert (route(plan), route(plan, 1)) == (["dump"], ["c2", "dump"])
    assert [it.km for it in plan.rounds] == [6 + 10, 6 + 4 + 10]
