"""Small plans whose every figure is reckoned by hand, in the comment beside it.

All towns lie on one road: the yard at kilometre 0, the dump at 10. A kilometre takes a minute, an
emptying 6 and an unloading 12, unless something else is said.
"""

import datetime
from pathlib import Path

from one_road import NOW, Sure, checked_plan, levels, route, town
from stoep_gateway.planning.selection import Known
from stoep_gateway.planning.text import for_people
from street import HOUR_MS

SKIP = '[[kind]]\nid = "container"\nexchanged = true'


def test_a_skip_lorry_unloads_after_each_skip_however_empty(tmp_path: Path) -> None:
    """Two half full skips would go into one trip of 20 km; a lorry takes them one by one.

    The farther one second: 0-4-10, 10-5-10, 10-0 are 30 km; the other way round they are 32.
    """
    known = levels(0, c1=50, c2=50)
    said = {"prize_from_pct": 40}
    poured = checked_plan(known, town(tmp_path, {1: 4, 2: 5}, capacity_l=7000, **said))
    assert (poured.rounds[0].km, poured.rounds[0].unloads) == (20.0, 1)
    carried = checked_plan(known, town(tmp_path, {1: 4, 2: 5}, capacity_l=7000, more=SKIP, **said))
    (it,) = carried.rounds
    assert route(carried) == ["c1", "dump", "c2", "dump"]
    assert (it.km, it.unloads, it.volume_l) == (30.0, 2, 7000)
    assert [stop.load_after_l for stop in it.stops] == [7000, 0, 7000, 0]
    assert [stop.volume_l for stop in it.stops] == [3500, None, 3500, None]


def test_a_skip_that_overflows_still_goes_on_its_lorry(tmp_path: Path) -> None:
    """114 % of 7000 l are 7980 l, for which a truck of 7000 l that is poured into has no room."""
    known = levels(0, c1=114)
    poured = checked_plan(known, town(tmp_path, {1: 4}, capacity_l=7000))
    assert [it.reason for it in poured.deferred] == ["larger_than_truck"]
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
