"""Emptyings that sensor, driver and log tell of: which of them are one."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from planned import START_MS, plan, stop
from stoep_gateway.collections.coming import coming, next_of
from stoep_gateway.collections.merging import WITHIN_MS, Collection, merged
from stoep_gateway.publish import topics
from stoep_gateway.store.records import CollectionRow
from stoep_protocol.messages import BinReport
from street import checked, device, meta

HOUR = 3_600_000
DAY = 24 * HOUR
SEVEN = 20_000 * DAY + 7 * HOUR


def row(hours=0.0, source="sensor", container="a", **values):
    return CollectionRow(container, SEVEN + round(hours * HOUR), source, **values)


def test_what_sensor_driver_and_log_tell_of_one_emptying_is_one():
    (it,) = merged(
        [
            row(5, "log", truck="t1", weight_kg=80.0, from_pct=50.0),
            row(0.7, "sensor", from_pct=78.2, to_pct=3.0),
            row(0, "driver", truck="t2"),
        ]
    )
    assert it == Collection(
        "a", SEVEN, ("sensor", "driver", "log"), 78.2, 3.0, truck="t2", weight_kg=80.0
    )


def test_a_driver_who_says_it_at_the_end_of_the_round_is_later_than_the_sensor():
    (it,) = merged([row(0, "sensor"), row(6, "driver")])
    assert it.at_ms == SEVEN


def test_a_log_is_believed_of_the_time_only_where_nobody_else_tells():
    assert merged([row(0, "log"), row(3, "sensor")])[0].at_ms == SEVEN + 3 * HOUR
    assert merged([row(0, "log")])[0].at_ms == SEVEN


def test_a_bin_that_is_emptied_twice_a_day_is_told_of_twice():
    found = merged([row(0), row(0.5, "log"), row(7), row(7.5, "log")])
    assert [(it.at_ms, it.sources) for it in found] == [
        (SEVEN, ("sensor", "log")),
        (SEVEN + 7 * HOUR, ("sensor", "log")),
    ]


def test_the_nearest_are_joined_first():
    found = merged([row(0, "log"), row(5), row(6, "log")])
    assert [it.sources for it in found] == [("log",), ("sensor", "log")]


def test_a_sensor_that_is_heard_once_a_day_tells_of_the_same_emptying():
    seen = row(22, after_utc_ms=SEVEN - 2 * HOUR)
    (it,) = merged([seen, row(1, "driver")])
    assert (it.at_ms, it.sources, it.after_ms) == (SEVEN + HOUR, ("sensor", "driver"), None)
    (it,) = merged([seen, row(1, "log")])
    assert it.at_ms == SEVEN + HOUR
    (it,) = merged([seen])
    assert (it.at_ms, it.after_ms) == (SEVEN + 22 * HOUR, SEVEN - 2 * HOUR)
    found = merged([seen, row(1, "log"), row(21, "log")])
    assert [it.sources for it in found] == [("log",), ("sensor", "log")]


def test_days_and_containers_stay_apart():
    assert len(merged([row(0), row(9, "log"), row(24, "driver"), row(0, "log", "b")])) == 4


def test_a_date_without_a_time_is_any_time_of_that_day():
    noon = row(5, "log", date_only=1)
    assert len(merged([noon, row(14)])) == 1  # 21:00
    assert len(merged([noon, row(20)])) == 2  # 03:00 of the next day
    assert merged([noon])[0].date_only
    assert not merged([noon, row(14)])[0].date_only


def test_the_next_collection_is_todays_until_it_is_made_or_missed_then_the_next_ones() -> None:
    today = plan(stops=[stop("a", 1), stop("b", 2)])
    tomorrow = plan(stops=[stop("a", 24)], starts_h=24, provisional=True)
    stops = coming(today, tomorrow)
    assert next_of(stops, "a", START_MS - 9 * HOUR, START_MS) == {
        "date": "2026-10-20",
        "truck": "truck-1",
        "eta_utc": "2026-10-20T05:00:00.000Z",
        "sequence": 1,
        "provisional": False,
    }
    assert next_of(stops, "a", None, START_MS) == next_of(stops, "a", None, START_MS + 9 * HOUR)
    early, missed = START_MS + HOUR // 2, START_MS + 10 * HOUR
    for then in (next_of(stops, "a", early, early), next_of(stops, "a", None, missed)):
        assert then is not None
        assert (then["date"], then["provisional"]) == ("2026-10-21", True)
    assert next_of(stops, "a", START_MS + 24 * HOUR, START_MS + 25 * HOUR) is None
    assert next_of(stops, "b", START_MS + HOUR, START_MS + HOUR) is None
    assert next_of(stops, "c", None, START_MS) is None
    assert coming(None, None) == {}
    assert coming(plan(stops=[replace(stop("a", 1), status="done")])) == {}


def test_a_state_says_when_its_container_is_emptied_next() -> None:
    stops = coming(plan(stops=[stop("market-organic-1", 1, sequence=3)]))
    report, board = BinReport(0, 900, 4), device(1)
    outputs = topics.uplink_outputs(board, report, meta(), None, coming=stops)
    state = checked(outputs.messages[-1])["next_collection"]
    assert (state["truck"], state["sequence"]) == ("truck-1", 3)
    assert state["eta_utc"] == "2026-10-20T05:00:00.000Z"
    outputs = topics.uplink_outputs(board, report, meta(), None, coming={})
    assert checked(outputs.messages[-1])["next_collection"] is None


ROWS = st.lists(
    st.builds(
        CollectionRow,
        st.sampled_from("ab"),
        st.integers(0, 72).map(lambda it: SEVEN + it * HOUR),
        st.sampled_from(["sensor", "log", "driver"]),
        date_only=st.integers(0, 1),
        after_utc_ms=st.none(),
    ),
    max_size=12,
    unique_by=lambda it: it[:3],
)


@settings(max_examples=40)
@given(ROWS, st.randoms(use_true_random=False))
def test_nothing_is_lost_or_counted_twice(rows, random):
    rows = [
        it._replace(after_utc_ms=it.at_utc_ms - random.randrange(30) * HOUR)
        if it.source == "sensor"
        else it
        for it in rows
    ]
    found = merged(rows)
    assert sum(len(it.sources) for it in found) == len(rows)
    assert {it.container for it in found} == {it.container for it in rows}
    assert found == sorted(found, key=lambda it: (it.at_ms, it.container))
    for source in ("sensor", "log", "driver"):
        told = sum(row.source == source for row in rows)
        assert sum(source in it.sources for it in found) == told
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert merged(shuffled) == found


@settings(max_examples=40)
@given(ROWS)
def test_what_is_joined_is_near(rows):
    starts = {(row.container, row.at_utc_ms) for row in rows}
    for it in merged(rows):
        assert (it.container, it.at_ms) in starts
        if not any(row.date_only for row in rows):
            near = {row.source for row in rows if abs(row.at_utc_ms - it.at_ms) <= WITHIN_MS}
            assert set(it.sources) <= near
