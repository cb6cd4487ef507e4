"""What people decide while trucks drive, and rounds of which a part is done."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_road import NOW, levels, town
from stoep_gateway.config import Config
from stoep_gateway.planning import driving, planner
from stoep_gateway.planning.dispatch import Answer, Day, Dispatch, Word, dumps, loads
from stoep_gateway.planning.plan import Plan, Round
from stoep_gateway.planning.selection import Decisions, Known, Running
from stoep_gateway.publish.messages import utc
from street import HOUR_MS, checked

MIN_MS = 60_000
NUMBERS = itertools.count()


def word(action: str, **more: Any) -> Word:
    return Word.read({"id": f"n{next(NUMBERS)}", "action": action} | more)


def said(machine: Dispatch, config: Config, action: str, minutes: float = 0, **more: Any) -> Answer:
    """Say something some minutes after the rounds began; it has to be taken."""
    in_force = more.pop("in_force", None)
    now_ms = NOW + round(minutes * MIN_MS)
    answer = machine.decide(word(action, **more), "user/a", config, now_ms, in_force)
    assert answer.result == "accepted", answer.reason
    return answer


@pytest.fixture(scope="module")
def two_trucks(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return town(
        tmp_path_factory.mktemp("town"),
        {n: n for n in range(1, 9)},
        trucks=2,
        shift_h=4,
        iterations=30,
    )


REFUSED = [
    ({"action": "include", "container": "c11"}, r'no container c11 \(did you mean "c1"\?\)'),
    ({"action": "include", "container": "c\n1"}, "no container that"),
    ({"action": "lock", "container": "c1", "truck": "t11"}, r'no truck t11 \(did you mean "t1"'),
    ({"action": "done", "place": "yard", "truck": "t1"}, "no place to unload yard"),
    ({"action": "include"}, "include is about container$"),
    ({"action": "include", "container": "c1", "truck": "t1"}, "include is about container$"),
    ({"action": "lock", "container": "c1"}, "lock is about container and truck$"),
    ({"action": "done", "place": "dump"}, "done is about container or .* place and truck$"),
    ({"action": "skip", "container": "c1", "fill_pct": 3.0}, "fill_pct is said of a container"),
    ({"action": "include", "container": "c1", "date": "2026-10-19"}, "2026-10-19 is past"),
    ({"action": "include", "container": "c1", "date": "20.10.2026"}, "date is written"),
    ({"action": "include", "container": "c1", "date": "20261020"}, "date is written"),
    ({"action": "include", "container": "c1", "date": "2027-10-20"}, "more than 60 days ahead"),
    ({"action": "done", "container": "c1", "date": "2026-10-21"}, "2026-10-21 has not come yet"),
    ({"action": "done", "container": "c1", "time_utc": "2026-10-20T04:02:00Z"}, "not come yet"),
    ({"action": "done", "container": "c1", "time_utc": "2026-10-19T04:02:00Z"}, "was before"),
    ({"action": "done", "container": "c1", "time_utc": "2026-10-20T04:00:00"}, "is written"),
    ({"action": "done", "container": "c1", "time_utc": "0001-01-01T00:00:00+23:59"}, "is written"),
    ({"action": "done", "container": "c1", "time_utc": "9999-12-31T23:59:59-23:59"}, "is written"),
    ({"action": "done", "container": "c1", "time_utc": "2000-01-01T00:00:00Z"}, "was before"),
]


@pytest.mark.parametrize(("what", "why"), REFUSED, ids=lambda it: str(it)[:40])
def test_what_cannot_be_is_refused(two_trucks: Config, what: dict[str, Any], why: str) -> None:
    machine = Dispatch()
    answer = machine.decide(word(**what), "user/a", two_trucks, NOW)
    assert (answer.result, answer.decision) == ("refused", None)
    assert re.search(why, answer.reason or "")
    assert machine.day("2026-10-20") == Day()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({}, "id must be|action must be"),
        ({"id": "a b", "action": "include"}, "id must be"),
        ({"id": "a\n", "action": "include"}, "id must be"),
        ({"id": "a", "action": "explode"}, "action must be one of include, "),
        ({"id": "a", "action": "include", "container": 7}, "container: "),
        ({"id": "a", "action": "done", "fill_pct": float("nan")}, "fill_pct: "),
        ({"id": "a", "action": "include", "s3cret": "s3cret"}, "a member that"),
        ("s3cret", "a decision: "),
    ],
)
def test_what_is_no_decision_is_told_without_its_words(what: object, why: str) -> None:
    with pytest.raises(ValueError, match=why) as told:
        Word.read(what)
    assert "s3cret" not in str(told.value)


def test_a_lock_to_a_truck_that_cannot_take_it_is_refused(tmp_path: Path) -> None:
    config = town(tmp_path, {1: 1}, trucks=2, of_container='trucks = ["t2"]')
    answer = Dispatch().decide(
        word("lock", container="c1", truck="t1"), "user/a", config, NOW, None
    )
    assert answer.reason == "t1 cannot take c1: only t2 may come there"


def test_a_day_without_rounds_is_refused_and_the_next_is_named(tmp_path: Path) -> None:
    config = town(tmp_path, {1: 1}, days='["tue", "fri"]')
    for date in ("2026-10-21", "2026-10-22"):
        answer = Dispatch().decide(
            word("include", container="c1", date=date), "user/a", config, NOW, None
        )
        assert answer.reason == f"there are no rounds on {date}; the next ones are on 2026-10-23"


def test_rounds_that_are_over_or_were_never_planned(road: Config, first: Plan) -> None:
    def answer(action: str, hours: float, in_force: Plan | None) -> str | None:
        now_ms = NOW + round(hours * HOUR_MS)
        what = word(action, container="c1", date=first.date)
        return Dispatch().decide(what, "user/a", road, now_ms, in_force).reason

    assert [answer("include", hours, first) for hours in (9.9, 10.1)] == [
        None,
        "the rounds of 2026-10-20 are over",
    ]
    assert [answer("include", hours, None) for hours in (-1, 3.9, 4.1)] == [
        None,
        None,
        "it is too late for rounds on 2026-10-20; name another date",
    ]
    assert [answer("done", 12, it) for it in (first, None)] == [None, None]
    # When that one was planned, somebody had set the clock years ahead.
    future = replace(first, date="2031-10-20", starts_ms=first.starts_ms + 43_824 * HOUR_MS)
    decided = Dispatch().decide(word("done", container="c1"), "user/a", road, NOW, future)
    assert decided.decision is not None
    assert decided.decision.date == first.date


def test_an_id_is_taken_once_from_each_sender(two_trucks: Config) -> None:
    machine = Dispatch()
    same = Word(id="1", action="include", container="c1")
    results = [
        machine.decide(it, sender, two_trucks, NOW).result
        for it, sender in (
            (same, "user/a"),
            (same, "user/a"),
            (same, "dispatcher/b"),
            (same.model_copy(update={"container": "c2"}), "user/a"),
        )
    ]
    assert results == ["accepted", "known", "accepted", "refused"]
    restarted = Dispatch(machine.of("2026-10-20"))
    later = machine.decide(same, "user/a", two_trucks, NOW + 48 * HOUR_MS)
    assert later == restarted.decide(same, "user/a", two_trucks, NOW + 48 * HOUR_MS)
    assert (later.result, later.holds) == ("known", "include")


def test_a_decision_is_the_same_again(two_trucks: Config) -> None:
    machine = Dispatch(last_number=6)
    answer = said(
        machine, two_trucks, "done", container="c1", truck="t2", fill_pct=80.5, weight_kg=100.0
    )
    it = answer.decision
    assert it is not None
    assert it.number == 7
    assert loads(it.number, it.date, it.sender, it.id, dumps(it)) == it
    for text in ("[]", "{}", '{"action": "fly"}', '{"action": "done", "wings": 2}', "{"):
        with pytest.raises(ValueError, match=r"."):
            loads(1, "2026-10-20", "user/a", "x", text)


def test_the_last_word_counts_and_undo_takes_it_back(two_trucks: Config) -> None:
    machine = Dispatch()
    held = [
        said(machine, two_trucks, action, minutes, container="c1", **more).holds
        for minutes, (action, more) in enumerate(
            [
                ("undo", {}),
                ("include", {}),
                ("lock", {"truck": "t2"}),
                ("exclude", {}),
                ("undo", {}),
                ("skip", {}),
                ("done", {}),
                ("include", {}),
                ("undo", {}),
                ("undo", {}),
            ]
        )
    ]
    assert held == [
        None,
        "include",
        "lock",
        "exclude",
        "lock",
        "skip",
        "done",
        "done",
        "done",
        "skip",
    ]
    assert [it.truck for it in machine.day("2026-10-20").facts] == ["t2"]  # to which it is locked
    said(machine, two_trucks, "truck_out", 20, truck="t1")
    assert machine.day("2026-10-20").decisions.trucks_out == {"t1"}
    said(machine, two_trucks, "undo", 21, truck="t1")
    assert machine.day("2026-10-20").decisions == Decisions(skipped={"c1"})


MOMENTS = st.integers(0, 30).map(lambda minutes: utc(NOW + minutes * MIN_MS))
CONTAINERS = st.sampled_from(["c1", "c2", "c3"])
TRUCKS = st.sampled_from(["t1", "t2"])
SAID = st.one_of(
    st.fixed_dictionaries(
        {
            "action": st.sampled_from(["include", "exclude", "done", "skip", "undo"]),
            "container": CONTAINERS,
            "time_utc": MOMENTS,
        }
    ),
    st.fixed_dictionaries(
        {
            "action": st.sampled_from(["lock", "done", "skip"]),
            "container": CONTAINERS,
            "truck": TRUCKS,
            "time_utc": MOMENTS,
        }
    ),
    st.fixed_dictionaries(
        {"action": st.sampled_from(["truck_out", "undo"]), "truck": TRUCKS, "time_utc": MOMENTS}
    ),
    st.fixed_dictionaries(
        {
            "action": st.sampled_from(["done", "undo"]),
            "place": st.just("dump"),
            "truck": TRUCKS,
            "time_utc": MOMENTS,
        }
    ),
)


def meant(day: Day) -> tuple[Decisions, list[tuple[object, ...]]]:
    """Return a day without the numbers of its decisions, which come in the order of arrival."""
    return day.decisions, [(it.order, it.action, it.about, it.truck) for it in day.facts]


@given(st.lists(SAID, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_it_does_not_matter_in_which_order_they_come_or_how_often(
    two_trucks: Config, decisions: list[dict[str, Any]], random: Any
) -> None:
    words = [Word.read({"id": f"d{n}"} | it) for n, it in enumerate(decisions)]
    one, other = Dispatch(), Dispatch()
    for it in words:
        assert one.decide(it, "user/a", two_trucks, NOW + HOUR_MS).result == "accepted"
    again = words + random.choices(words, k=5) if words else []
    random.shuffle(again)
    for it in again:
        assert other.decide(it, "user/a", two_trucks, NOW + HOUR_MS).result != "refused"
    day = one.day("2026-10-20")
    assert meant(other.day("2026-10-20")) == meant(day)
    assert meant(Dispatch(other.of("2026-10-20")).day("2026-10-20")) == meant(day)


# Rounds under way.


def known_full(config: Config) -> dict[str, Known]:
    return levels(0, **{it.id: 100.0 for it in config.containers})


def now_plan(
    config: Config, known: dict[str, Known], minutes: float, before: Plan | None, day: Day
):
    now_ms = NOW + round(minutes * MIN_MS)
    plan = driving.replanned(known, config, now_ms, before, day, Running())
    check(plan, config, day)
    return plan


def check(plan: Plan, config: Config, day: Day) -> None:
    """Check what holds of every plan with stops that are done."""
    seen = [stop.id for it in plan.rounds for stop in it.stops if stop.action == "empty"]
    seen += [it.container for it in (*plan.deferred, *plan.skipped)]
    assert sorted(seen) == sorted(it.id for it in config.containers)
    ahead = {stop.id for it in plan.rounds for stop in it.stops if stop.status == "planned"}
    assert not ahead & (day.decisions.done | day.decisions.skipped | day.decisions.excluded)
    for it in plan.rounds:
        statuses = [stop.status == "planned" for stop in it.stops]
        assert statuses == sorted(statuses)  # what is done comes first
        assert [stop.sequence for stop in it.stops] == list(range(1, len(it.stops) + 1))
        assert it.km == pytest.approx(
            sum(stop.leg_km for stop in it.stops) + it.return_km, abs=0.01
        )
        if it.truck in day.decisions.trucks_out:
            assert it.status == "out_of_service"
            assert not any(statuses)
        if any(statuses):
            assert it.stops[-1].action == "unload"
    for message in planner.outputs(plan):
        checked(message)


def stops(it: Round) -> list[tuple[str, str]]:
    return [(stop.id, stop.status) for stop in it.stops]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Yard at 0 km, c1 to c5 at 1 to 5, the dump at 10; a minute per kilometre, 6 to empty one.

    There is room for all in one truck.
    """
    folder = tmp_path_factory.mktemp("road")
    return town(folder, {n: n for n in range(1, 6)}, capacity_l=50_000, iterations=30)


@pytest.fixture
def first(road: Config) -> Plan:
    """The plan of the morning: c5 is not full."""
    plan = now_plan(road, some_full(road), 0, None, Day())
    assert stops(plan.rounds[0]) == [(it, "planned") for it in ("c1", "c2", "c3", "c4", "dump")]
    assert [stop.eta_utc[11:16] for stop in plan.rounds[0].stops[:3]] == ["04:01", "04:08", "04:15"]
    return plan


def some_full(config: Config) -> dict[str, Known]:
    return known_full(config) | levels(0, c5=20.0)


def test_what_goes_as_planned_is_only_marked(road: Config, first: Plan) -> None:
    machine = Dispatch()
    said(machine, road, "done", 3, container="c1", in_force=first)
    said(machine, road, "done", 9, container="c2", in_force=first)
    day = machine.day(first.date)
    assert driving.goes_as_planned(first, machine.after(first.date, 0))
    plan = driving.marked(road, NOW + 10 * MIN_MS, first, day)
    check(plan, road, day)
    (it,), (before,) = plan.rounds, first.rounds
    assert stops(it)[:3] == [("c1", "done"), ("c2", "done"), ("c3", "planned")]
    assert [stop.done_utc for stop in it.stops[:3]] == [
        utc(NOW + 3 * MIN_MS),
        utc(NOW + 9 * MIN_MS),
        None,
    ]
    assert it.stops[2:] == before.stops[2:]
    assert (it.km, it.containers) == (before.km, 4)
    assert it.eur == pytest.approx(before.eur, abs=0.02)
    assert plan.planned_ms == NOW + 10 * MIN_MS
    assert driving.marked(road, plan.planned_ms, plan, day) == plan


@pytest.mark.parametrize(
    ("minutes", "what"),
    [
        (20, {"container": "c1"}),  # late
        (8, {"container": "c2"}),  # c1 is left out
        (1, {"container": "c5"}),
        (1, {"place": "dump", "truck": "t1"}),
    ],
)
def test_what_does_not_go_as_planned_needs_another_plan(
    road: Config, first: Plan, minutes: int, what: dict[str, Any]
) -> None:
    machine = Dispatch()
    said(machine, road, "done", minutes, in_force=first, **what)
    assert not driving.goes_as_planned(first, machine.after(first.date, 0))


def test_a_truck_goes_on_from_its_last_stop_with_its_load(road: Config, first: Plan) -> None:
    machine = Dispatch()
    said(machine, road, "done", 14, container="c2", in_force=first)
    said(machine, road, "include", 16, container="c5")
    day = machine.day(first.date)
    plan = now_plan(road, some_full(road), 20, first, day)
    (it,) = plan.rounds
    # c1 is behind, and on the way home nothing may be in the truck: first back, then on.
    assert stops(it) == [
        ("c2", "done"),
        *((name, "planned") for name in ("c1", "c3", "c4", "c5", "dump")),
    ]
    assert [stop.leg_km for stop in it.stops] == [2, 1, 2, 1, 1, 5]
    assert [stop.load_after_l for stop in it.stops] == [7000, 14000, 21000, 28000, 29400, 0]
    assert it.stops[0].eta_utc == first.rounds[0].stops[1].eta_utc
    assert it.stops[1].eta_utc == utc(NOW + 21 * MIN_MS)
    assert (it.leaves_utc, it.return_utc) == (
        utc(NOW),
        utc(NOW + (20 + 10 + 24 + 12 + 10) * MIN_MS),
    )
    assert it.hours == pytest.approx(76 / 60, abs=0.01)
    assert it.eur == pytest.approx(0.1 * 22 + 1 * 76 / 60, abs=0.01)
    assert (plan.starts_ms, plan.date) == (first.starts_ms, first.date)


def test_an_unloading_on_the_way_need_not_be_told(tmp_path: Path) -> None:
    """There is room for two; c1 and c2 are done, and so is c3: the truck came by the dump."""
    config = town(tmp_path, {1: 1, 2: 2, 3: 13}, capacity_l=14_000, iterations=30)
    before = now_plan(config, known_full(config), 0, None, Day())
    names = [stop.id for stop in before.rounds[0].stops]
    assert names == ["c1", "c2", "dump", "c3", "dump"]
    machine = Dispatch()
    for minutes, name in enumerate(names[:2]):
        said(machine, config, "done", minutes, container=name, in_force=before)
    two = driving.marked(config, NOW + HOUR_MS, before, machine.day(before.date))
    assert [it.status for it in two.rounds[0].stops] == ["done"] * 2 + ["planned"] * 3
    said(machine, config, "done", 50, container="c3", in_force=before)
    day = machine.day(before.date)
    for before in (two, now_plan(config, known_full(config), 60, two, day)):
        plan = driving.marked(config, NOW + HOUR_MS, before, day)
        (it,) = plan.rounds
        assert [(stop.id, stop.status) for stop in it.stops] == [
            *((name, "done") for name in names[:4]),
            ("dump", "planned"),
        ]
        assert [stop.load_after_l for stop in it.stops] == [7000, 14000, 0, 7000, 0]
        assert it.stops[2].done_utc is None
    said(machine, config, "done", 61, place="dump", truck="t1", in_force=plan)
    plan = now_plan(config, known_full(config), 62, plan, machine.day(before.date))
    assert plan.rounds[0].status == "done"
    assert plan.rounds[0].km == two.rounds[0].km
    assert plan.rounds[0].unloads == 2


def test_who_was_there_in_vain_is_where_he_was_and_has_taken_nothing(
    road: Config, first: Plan
) -> None:
    machine = Dispatch()
    said(machine, road, "skip", 20, container="c3", in_force=first)
    said(machine, road, "skip", 21, container="c5", in_force=first)
    plan = now_plan(road, some_full(road), 21, first, machine.day(first.date))
    (it,) = plan.rounds
    assert stops(it)[:2] == [("c3", "skipped"), ("c5", "skipped")]
    assert [stop.load_after_l for stop in it.stops[:2]] == [0, 0]
    assert it.containers == 3
    assert it.stops[2].leg_km == {"c4": 1, "c2": 3, "c1": 4}[it.stops[2].id]


def test_a_truck_that_fails_keeps_what_it_did_and_another_goes_on(two_trucks: Config) -> None:
    before = now_plan(two_trucks, known_full(two_trucks), 0, None, Day())
    failing = max(before.rounds, key=lambda it: it.containers)
    machine = Dispatch()
    said(machine, two_trucks, "done", 5, container=failing.stops[0].id, in_force=before)
    said(machine, two_trucks, "truck_out", 6, truck=failing.truck)
    day = machine.day(before.date)
    plan = now_plan(two_trucks, known_full(two_trucks), 8, before, day)
    rounds = {it.truck: it for it in plan.rounds}
    assert stops(rounds.pop(failing.truck)) == [(failing.stops[0].id, "done")]
    (other,) = rounds.values()
    assert (
        other.containers > next(it.containers for it in before.rounds if it.truck == other.truck)
        or plan.deferred
    )
    assert {it.container for it in plan.skipped} == set()


def test_a_truck_with_a_load_and_nothing_else_to_do_unloads(road: Config, first: Plan) -> None:
    machine = Dispatch()
    said(machine, road, "done", 2, container="c1", in_force=first)
    for name in ("c2", "c3", "c4"):
        said(machine, road, "exclude", 2, container=name)
    plan = now_plan(road, some_full(road), 3, first, machine.day(first.date))
    assert stops(plan.rounds[0]) == [("c1", "done"), ("dump", "planned")]
    assert plan.rounds[0].km == 20


def test_what_somebody_else_emptied_is_in_no_round(two_trucks: Config) -> None:
    machine = Dispatch()
    said(machine, two_trucks, "done", 1, container="c1")  # with no plan, of two trucks
    day = machine.day("2026-10-20")
    assert day.facts[0].truck is None
    plan = now_plan(two_trucks, known_full(two_trucks), 2, None, day)
    assert [(it.container, it.reason) for it in plan.skipped] == [("c1", "done")]


def test_a_shift_goes_on_from_when_it_began(road: Config, first: Plan) -> None:
    """Of 8 h, 7 h 50 min later, there are 10 min, which is time for nothing."""
    plan = now_plan(road, some_full(road), 470, first, Day())
    assert {it.reason for it in plan.deferred} == {"shift_too_short"}
    late = driving.replanned(some_full(road), road, NOW + 3 * HOUR_MS, None, Day(), Running())
    again = now_plan(road, some_full(road), 181, late, Day())
    assert stops(again.rounds[0]) == stops(late.rounds[0])


def test_a_round_through_midnight_keeps_its_date(tmp_path: Path) -> None:
    config = town(tmp_path, {1: 1, 2: 2}, capacity_l=50_000, at='"23:30"', iterations=30)
    begin_ms = NOW + 17 * HOUR_MS + 30 * MIN_MS
    known = known_full(config)
    before = driving.replanned(known, config, begin_ms, None, Day(), Running())
    machine = Dispatch()
    now_ms = begin_ms + 40 * MIN_MS
    answer = machine.decide(word("done", container="c1"), "user/a", config, now_ms, before)
    assert answer.decision is not None
    assert answer.decision.date == before.date == "2026-10-20"
    plan = driving.replanned(known, config, now_ms, before, machine.day(before.date), Running())
    assert plan.date == "2026-10-20"
    assert stops(plan.rounds[0])[:2] == [("c1", "done"), ("c2", "planned")]
    tomorrow = machine.decide(
        word("done", container="c2"), "user/a", config, now_ms + 12 * HOUR_MS, before
    )
    assert tomorrow.decision is not None
    assert tomorrow.decision.date == "2026-10-21"


def test_tomorrow_rests_on_what_was_done_today(road: Config, first: Plan) -> None:
    known = levels(60, **{f"c{n}": 100.0 for n in range(1, 6)})
    machine = Dispatch()
    said(machine, road, "skip", 10, container="c1", in_force=first)
    said(machine, road, "exclude", container="c2", date="2026-10-21")
    today = now_plan(road, known, 10, first, machine.day(first.date))
    day = machine.day("2026-10-21")
    plan = driving.following(known, road, today.planned_ms, today, day, Running())
    assert (plan.date, plan.provisional) == ("2026-10-21", True)
    assert next(it for it in plan.skipped if it.container == "c2").reason == "excluded"
    (it,) = plan.rounds
    assert {stop.id: stop.fill_pct for stop in it.stops}["c1"] > 150
    other = driving.spent(today, Running())
    assert other.emptying_eur < Running().emptying_eur  # next to nothing, on this road
    assert other.fill_pct > Running().fill_pct


@given(st.lists(SAID, max_size=8), st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_whatever_is_said_nothing_done_is_planned_again(
    two_trucks: Config, decisions: list[dict[str, Any]], parts: int
) -> None:
    known = known_full(two_trucks)
    plan = driving.replanned(known, two_trucks, NOW, None, Day(), Running())
    machine = Dispatch()
    words = [Word.read({"id": f"d{n}"} | it) for n, it in enumerate(decisions)]
    size = parts + 1
    for begin in range(0, len(words), size):
        for it in words[begin : begin + size]:
            machine.decide(it, "user/a", two_trucks, NOW + HOUR_MS, plan)
        day = machine.day(plan.date)
        plan = now_plan(two_trucks, known, 61 + begin, plan, day)
        check(driving.marked(two_trucks, plan.planned_ms, plan, day), two_trucks, day)
        done = {stop.id for it in plan.rounds for stop in it.stops if stop.status != "planned"}
        told = {it.container for it in day.facts if it.truck is not None and it.container}
        assert told <= done
