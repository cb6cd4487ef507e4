"""What became of a plan: emptyings told of, levels that deny them, and what nobody can know."""

import datetime
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned import DATE, HOUR_MS, NEXT_DATE, START_MS, plan, stop
from stoep_gateway.collections import outcome
from stoep_gateway.collections.merging import Collection
from stoep_gateway.collections.outcome import Outcome, follow, outcomes
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.planning import knowing, planner
from stoep_gateway.publish import topics
from stoep_protocol.messages import BinReport
from street import START_MS as STREET_MS
from street import checked, device, example, meta


def at(hours):
    return START_MS + round(hours * HOUR_MS)


def date_of(utc_ms):
    moment = datetime.datetime.fromtimestamp(utc_ms / 1000, datetime.UTC)
    return moment.date().isoformat()


def told(hours, *sources, container="a", **values):
    return Collection(container, at(hours), sources or ("sensor",), **values)


def watched(*levels, hours=2.0, container="a"):
    """Return a stop after levels, each so many hours after the start."""
    it = follow({}, plan(stops=[stop(container, hours)]))[container]
    for hour, fill_pct in levels:
        it = it.seen(at(hour), fill_pct)
    return it


def judged(it, *collections):
    found = outcomes({DATE: {it.container: it}}, collections, date_of)[DATE]
    return [(one.status, one.reason) for one in found.stops]


FULL = ((1, 82.0), (4.5, 83.0), (5.5, 83.0), (6.5, 81.0))


def test_what_the_sensor_saw_emptied_is_confirmed():
    assert judged(watched((1, 82.0)), told(2.6)) == [("confirmed", None)]
    assert judged(watched((1, 82.0)), told(9)) == [("confirmed", None)]  # hours late


def test_levels_as_high_as_before_contradict_the_plan_and_whoever_says_it_was_done():
    assert judged(watched(*FULL)) == [("contradicted", None)]
    assert judged(watched(*FULL), told(2, "driver")) == [("contradicted", None)]
    assert judged(watched(*FULL), told(2, "log", date_only=True)) == [("contradicted", None)]
    assert judged(watched(*FULL), told(2, "sensor", "driver")) == [("confirmed", None)]


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ((), "no_readings"),
        (FULL[:1], "no_readings"),
        (FULL[:3], "no_readings"),
        (((1, 82.0), (2.5, 83.0), (3, 83.0), (3.5, 83.0)), "no_readings"),  # it may be late
        (((1, 18.0), *FULL[1:]), "too_empty"),
        (FULL[1:], "too_empty"),  # nobody knows how full it was
        (((1, 82.0), (4.5, 70.0), (5.5, 70.0), (6.5, 70.0)), "unclear"),
        (((1, 82.0), (4.5, 3.0), (5.5, 3.0), (6.5, 3.0)), "unclear"),
    ],
)
def test_what_nobody_can_know_is_unknown_and_says_why(levels, reason):
    assert judged(watched(*levels)) == [("unknown", reason)]
    assert judged(watched(*levels), told(2, "driver")) == [("confirmed", None)]


def test_of_a_driver_who_comes_late_only_what_is_later_counts():
    late = told(6, "driver")
    found = outcomes({DATE: {"a": watched(*FULL)}}, [late], date_of)[DATE].stops
    assert [it.status for it in found] == ["confirmed"]
    again = found[0].stop  # as it is watched on
    for hour in (7, 8, 9):
        again = again.seen(at(hour), 84.0)
    assert judged(again, late) == [("contradicted", None)]


def test_an_emptying_that_a_silent_sensor_tells_of_the_next_day_is_of_the_plan():
    assert judged(watched((1, 82.0)), told(22)) == [("unknown", "no_readings")]
    assert judged(watched((1, 82.0)), told(22, after_ms=at(1))) == [("confirmed", None)]


def test_an_emptying_of_the_night_before_is_none_of_the_plan():
    found = outcomes({DATE: {"a": watched()}}, [told(-3)], date_of)[DATE]
    assert [it.status for it in found.stops] == ["unknown"]
    assert [it.at_ms for it in found.unplanned] == [at(-3)]


def test_what_no_plan_had_is_unplanned_on_its_date():
    others = [told(3, container="b", truck="t9"), told(30, container="b")]
    found = outcomes({DATE: {"a": watched()}}, others, date_of)[DATE]
    assert found.unplanned == (others[0],)


def test_an_emptying_that_two_dates_could_have_is_of_the_nearer_stop():
    """After a day of silence: seen between two readings, after the one stop and at the other."""
    days = {
        DATE: follow({}, plan(stops=[stop("a", 2)])),
        NEXT_DATE: follow({}, plan(stops=[stop("a", 26)], starts_h=24, planned_h=24)),
    }
    found = outcomes(days, [told(26, after_ms=at(2.5))], date_of)
    assert [it.status for it in found[DATE].stops] == ["unknown"]
    assert [it.status for it in found[NEXT_DATE].stops] == ["confirmed"]


def test_each_emptying_is_of_one_stop():
    days = {
        DATE: follow({}, plan(stops=[stop("a", 16)])),
        NEXT_DATE: follow({}, plan(stops=[stop("a", 24)], starts_h=24, planned_h=19)),
    }
    found = outcomes(days, [told(20)], date_of)
    assert [it.status for day in found.values() for it in day.stops] == ["confirmed", "unknown"]
    assert found[NEXT_DATE].unplanned == ()


def test_a_new_plan_keeps_what_was_done_and_lets_go_of_what_was_withdrawn():
    first = follow({}, plan(stops=[stop("a", 1), stop("b", 2), stop("c", 3)]))
    rest = plan(stops=[stop("c", 5), stop("d", 6)], starts_h=3, planned_h=3, truck="truck-2")
    now = follow(first, rest)
    found = outcomes({DATE: now}, [told(1.2)], date_of)[DATE]
    assert [(it.stop.container, it.stop.truck, it.status) for it in found.stops] == [
        ("a", "truck-1", "confirmed"),
        ("c", "truck-2", "unknown"),
        ("d", "truck-2", "unknown"),
    ]
    assert now["c"].planned_ms == START_MS
    assert now["c"].eta_ms == at(5)
    late = outcomes({DATE: now}, [told(1.2), told(6, container="b")], date_of)[DATE]
    assert [it.stop.container for it in late.stops] == ["a", "b", "c", "d"]


def test_where_a_driver_was_in_vain_nothing_is_planned_any_more():
    first = follow({}, plan(stops=[stop("a", 1), stop("b", 2)]))
    done = replace(stop("a", 1), status="done"), replace(stop("b", 2), status="skipped")
    now = follow(first, plan(stops=done, planned_h=3))
    found = outcomes({DATE: now}, [told(1.1, "driver")], date_of)[DATE]
    assert [(it.stop.container, it.status) for it in found.stops] == [("a", "confirmed")]


def test_what_was_seen_before_a_truck_was_put_off_counts_no_more():
    it = follow({"a": watched(*FULL)}, plan(stops=[stop("a", 7)], planned_h=6.6))["a"]
    assert (it.after, it.due_ms) == (0, at(9))
    assert judged(it) == [("unknown", "no_readings")]


def test_the_message_fits_its_schema_and_adds_up():
    days = {DATE: {"a": watched(*FULL), "b": watched(container="b"), "c": watched(container="c")}}
    emptied = [
        told(2, "driver"),
        told(3, container="b", from_pct=80.0, to_pct=1.5),
        told(4, "log", container="z"),
    ]
    values = checked(outcome.output("street", outcomes(days, emptied, date_of)[DATE], at(9)))
    assert values["totals"] == {
        "planned": 3,
        "confirmed": 1,
        "contradicted": 1,
        "unknown": 1,
        "unplanned": 1,
    }
    by_name = {it["container"]: it for it in values["stops"]}
    assert by_name["a"] == {
        "container": "a",
        "truck": "truck-1",
        "eta_utc": "2026-10-20T06:00:00.000Z",
        "status": "contradicted",
        "reason": None,
        "before_pct": 82.0,
        "after_pct": 81.0,
        "readings": 3,
        "emptied_utc": "2026-10-20T06:00:00.000Z",
        "sources": ["driver"],
        "from_pct": None,
        "to_pct": None,
    }
    assert by_name["b"]["from_pct"] == 80.0
    assert by_name["c"]["reason"] == "no_readings"
    assert [(it["container"], it["sources"]) for it in values["unplanned"]] == [("z", ["log"])]
    nothing = outcome.output("street", Outcome(DATE, (), ()), at(9))
    assert checked(nothing)["stops"] == []


def test_what_is_watched_is_kept():
    it = {"a": watched(*FULL), "b": watched(container="b")}
    assert outcome.loads(outcome.dumps(it)) == it
    for wrong in ("[{}]", "[1]", "{", '[{"container": "a"}]'):
        with pytest.raises(ValueError, match=r"."):
            outcome.loads(wrong)


COLLECTIONS = st.lists(
    st.builds(
        told,
        st.integers(-12, 40),
        st.sampled_from(["sensor", "driver", "log"]),
        container=st.sampled_from("abcd"),
    ),
    max_size=8,
)


@given(COLLECTIONS, st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc")))
def test_every_emptying_of_a_date_is_told_once(collections, today, tomorrow):
    days = {
        DATE: follow({}, plan(stops=[stop(it, 2) for it in sorted(today)])),
        NEXT_DATE: follow({}, plan(stops=[stop(it, 26) for it in sorted(tomorrow)], starts_h=24)),
    }
    found = outcomes(days, collections, date_of).values()
    told_of = [id(it.collection) for day in found for it in day.stops if it.collection is not None]
    told_of += [id(it) for day in found for it in day.unplanned]
    assert len(told_of) == len(set(told_of))
    assert set(told_of) >= {id(it) for it in collections if date_of(it.at_ms) in days}
    assert [len(day.stops) for day in found] == [len(today), len(tomorrow)]


def test_what_a_sensor_saw_emptied_gets_no_truck_again():
    config, forecasts = example(), Forecasts(Calendar(example().timezone))
    board = device(1)
    states = {}

    def report(hour, distance_mm):
        now_ms = STREET_MS + 6 * hour * HOUR_MS
        key = board.asset.key
        message = BinReport(hour, distance_mm, 4)
        outputs = topics.uplink_outputs(
            board, message, meta(now_ms), states.get(key), forecasts=forecasts
        )
        states[key] = outputs.state
        known = knowing.known(states, config, now_ms, forecasts)
        it = planner.plan(known, config, now_ms)
        stops = {one.id for of in it.rounds for one in of.stops if one.action == "empty"}
        return board.asset.id in stops, {one.container: one.reason for one in it.skipped}

    for hour in range(20):
        planned, _ = report(hour, 1000 - 45 * hour)
    assert planned
    report(20, 1780)  # may be a stray echo: the next one tells
    planned, skipped = report(21, 1775)
    assert not planned
    assert skipped[board.asset.id] == "too_empty"
