"""Months by hand: what is counted of levels, emptyings, trips and plans, and that it adds up."""

import datetime
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stoep_gateway import config as configuration
from stoep_gateway.backtest import town
from stoep_gateway.collections.merging import merged
from stoep_gateway.collections.outcome import Watched
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.report import facts, figures, periods
from stoep_gateway.report.courses import Course, Told
from stoep_gateway.report.facts import Heard
from stoep_gateway.report.figures import Emptying, Facts, Figures, Kept, Trip
from stoep_gateway.report.periods import Period
from stoep_gateway.store.records import CollectionRow

ZONE = ZoneInfo("Europe/Amsterdam")
OCTOBER = periods.parse("2026-10", ZONE)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("town") / "stoep.toml"
    path.write_text(town.config_text(1, 2), encoding="utf-8")
    return configuration.load(path)


def at(day: int, hour: float = 0) -> int:
    """Return a local time of October 2026 in UTC ms."""
    return OCTOBER.midnight_ms(datetime.date(2026, 10, day)) + round(hour * HOUR_MS)


def hourly(first_ms: int, levels: list[float]) -> list[tuple[int, float]]:
    return [(first_ms + number * HOUR_MS, level) for number, level in enumerate(levels)]


def by(container: str, at_ms: int, source: str, **more: object) -> CollectionRow:
    nothing = dict.fromkeys(("from_pct", "to_pct", "truck", "weight_kg"))
    return CollectionRow(container, at_ms, source, **{**nothing, **more})


def test_a_month_is_local_and_has_weeks() -> None:
    # Clocks go back on the 25th: the month has an hour more.
    assert OCTOBER.to_ms - OCTOBER.from_ms == 31 * DAY_MS + HOUR_MS
    assert [it.days for it in OCTOBER.weeks()] == [7, 7, 7, 10]
    assert datetime.date(2026, 10, 31) in OCTOBER.weeks()[3]
    assert [it.days for it in periods.parse("2027-02", ZONE).weeks()] == [7] * 4
    summer = periods.parse("2026-06..2026-08", ZONE)
    assert (summer.days, len(summer.weeks())) == (92, 13)
    march = periods.parse("2026-03", ZONE)
    assert march.to_ms - march.from_ms == 31 * DAY_MS - HOUR_MS


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-10..", "2026-10..2026-09", "x..y"])
def test_what_is_no_month_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"2026|x\.\.y"):
        periods.parse(text, ZONE)


def test_a_month_that_has_not_ended_is_cut_after_yesterday() -> None:
    cut = OCTOBER.until(at(13, 9))
    assert cut is not None
    assert (cut.days, cut.whole, [it.days for it in cut.weeks()]) == (12, False, [7, 5])
    assert OCTOBER.until(at(1, 23)) is None
    assert OCTOBER.until(at(31) + 2 * DAY_MS) is OCTOBER
    assert periods.month_before(at(1), ZONE).name == "2026-09"


def test_three_hours_of_overflow_one_needless_emptying_and_a_silent_sensor(
    config: Config,
) -> None:
    levels = hourly(at(5), [90.0] * 9 + [100.0] * 3 + [0.0] * 12)  # full from 9 to 12
    levels += hourly(at(6), [30.0] * 10 + [0.0] * 14)  # emptied at 10 for 30 %
    heard = Heard({"c1": levels}, merged(facts.shown({"c1": levels})))
    seen = facts.seen(config, heard, OCTOBER)
    cells = figures.cells(
        config, Facts(OCTOBER, seen.courses, emptyings=seen.emptyings, heard_ms={"c1": [at(5)]})
    )
    first, second = (figures.total(cells[name, n] for n in range(4)) for name in ("c1", "c2"))
    assert (first.full_ms, first.overflow_days) == (3 * HOUR_MS, 1)
    assert (first.emptyings, first.needless, first.fills_pct) == (2, 1, (100.0, 30.0))
    assert first.known_ms == 50 * HOUR_MS  # the last level holds for three intervals
    assert first.readings == 1
    capacity = next(it.capacity_l for it in config.containers if it.id == "c1")
    assert first.litres == pytest.approx(1.3 * capacity)
    assert first.eur_overflow == config.planning.eur_per_overflow_day
    assert (second.known_pct, second.emptyings, second.full_ms) == (0, 0, 0)
    everything = figures.total(cells.values())
    assert everything.span_ms == 2 * (31 * DAY_MS + HOUR_MS)
    assert everything.known_pct == pytest.approx(100 * 50 / (2 * 745))


def test_what_is_full_over_midnight_is_full_on_two_local_days() -> None:
    course = Course(hourly(at(7, 22), [100.0] * 4 + [0.0]))
    assert course.full_days(OCTOBER) == {datetime.date(2026, 10, 7), datetime.date(2026, 10, 8)}
    # It was emptied at midnight: no second day.
    course = Course(hourly(at(7, 22), [100.0, 100.0, 0.0]))
    assert course.full_days(OCTOBER) == {datetime.date(2026, 10, 7)}


def test_the_night_in_which_clocks_are_set_back_has_an_hour_more() -> None:
    course = Course(hourly(at(25), [100.0] * 25 + [0.0]))
    assert course.full_ms(at(25), at(26)) == 25 * HOUR_MS
    assert course.full_days(OCTOBER) == {datetime.date(2026, 10, 25)}


def test_a_level_holds_until_the_next_but_not_for_days() -> None:
    course = Course([*hourly(at(1), [100.0] * 5), (at(9), 20.0)])
    assert course.known_ms(at(1), at(9)) == 7 * HOUR_MS  # four hours, and three intervals
    assert (course.before(at(1, 6)), course.before(at(1, 8))) == (100.0, None)
    # Who is heard once a day is known all day.
    daily = Course([(at(day), 50.0) for day in range(1, 8)])
    assert daily.known_ms(at(1), at(7)) == 6 * DAY_MS


def test_an_emptying_that_a_driver_tells_ends_the_overflow() -> None:
    course = Course(hourly(at(3), [100.0, 100.0, 5.0]), [Told(at(3, 1.5), None)])
    assert course.full_ms(at(3), at(4)) == 1.5 * HOUR_MS
    assert course.before(at(3, 1.75)) == 0.0


def test_the_fill_at_an_emptying_that_only_a_log_tells_is_the_last_level(config: Config) -> None:
    heard = Heard(
        {"c1": hourly(at(3), [70.0] * 9)},
        merged([by("c1", at(3, 6.5), "log", truck="truck-1", weight_kg=120.0)]),
    )
    (emptying,) = facts.seen(config, heard, OCTOBER).emptyings
    assert emptying[1:3] == (datetime.date(2026, 10, 3), 70.0)
    assert (emptying.weight_kg, emptying.truck) == (120.0, "truck-1")


def test_a_silence_over_midnight_leaves_an_emptying_on_the_day_of_the_round(
    config: Config,
) -> None:
    # Rounds begin at six. The sensor was heard at noon of the 5th, then at three in the night.
    levels = [*hourly(at(5), [80.0] * 13), (at(6, 3), 2.0), (at(6, 4), 3.0)]
    heard = Heard({"c1": levels}, merged(facts.shown({"c1": levels})))
    (emptying,) = facts.seen(config, heard, OCTOBER).emptyings
    assert emptying.day == datetime.date(2026, 10, 5)


def test_an_emptying_after_days_of_silence_was_when_the_container_was_empty(
    config: Config,
) -> None:
    # 24 points a day, emptied on the 4th; silent from the 7th on, and on the 9th there are 38.
    levels = [(at(4) + hour * HOUR_MS, hour * 1.0) for hour in range(72)]
    levels += [(at(9, 21) + hour * HOUR_MS, 37.0 + hour) for hour in range(9)]
    rows = [
        by("c1", at(4), "sensor", from_pct=60.0, to_pct=0.0),
        by("c1", at(9, 21), "sensor", from_pct=71.0, to_pct=37.0),
    ]
    seen = facts.seen(config, Heard({"c1": levels}, merged(rows)), OCTOBER)
    assert [it.day.day for it in seen.emptyings] == [4, 8]
    assert seen.emptied_ms["c1"][1] == pytest.approx(at(8, 8), abs=HOUR_MS)


def test_what_a_driver_told_and_levels_deny_is_no_emptying(config: Config) -> None:
    levels = {"c1": hourly(at(5), [90.0] * 24), "c2": hourly(at(5), [90.0] * 7 + [1.0] * 17)}
    rows = [by(it, at(5, 6.5), "driver") for it in levels]
    stop = Watched("", "truck-1", at(5, 6.25), at(5, 6), at(5, 8.25))
    stops = {it: replace(stop, container=it) for it in levels}
    for it, of in levels.items():
        for level in of:
            stops[it] = stops[it].seen(*level)
    heard = Heard(levels, merged(rows), watched={"2026-10-05": stops})
    assert [it[1:] for it in facts.kept(heard, OCTOBER)] == [
        ("c1", "truck-1", "contradicted"),
        ("c2", "truck-1", "confirmed"),
    ]
    seen = facts.seen(config, facts.believed(heard, OCTOBER), OCTOBER)
    assert [it.container for it in seen.emptyings] == ["c2"]


def test_a_trip_is_shared_by_the_containers_that_it_emptied(config: Config) -> None:
    trip = Trip(datetime.date(2026, 10, 9), "truck-1", ("c1", "c2"), 30.0, 2.0, 100.0)
    other = trip._replace(day=datetime.date(2026, 11, 1))  # not in this month
    kept = [Kept(trip.day, "c1", "truck-1", "confirmed"), Kept(trip.day, "c2", None, "unplanned")]
    emptying = Emptying("c2", trip.day, None, None, 80.0, "truck-1")
    facts_ = Facts(OCTOBER, {}, emptyings=[emptying], trips=[trip, other], kept=kept)
    cells = figures.cells(config, facts_)
    second = cells["c2", 1]
    assert (second.km, second.hours, second.eur_rounds) == (15.0, 1.0, 50.0)
    assert (second.planned, second.unplanned, cells["c1", 1].confirmed) == (0, 1, 1)
    assert (second.unknown_fill, second.weighed, second.weight_kg) == (1, 1, 80.0)
    truck = figures.of_trucks(facts_)["truck-1"]
    assert (truck.km, truck.emptyings, truck.containers) == (30.0, 1, {"c1", "c2"})
    assert figures.total(cells.values()).quartiles_pct is None


def test_half_full_is_not_needless_and_a_little_less_is(config: Config) -> None:
    day = datetime.date(2026, 10, 9)
    its = [Emptying("c1", day, fill) for fill in (50.0, 49.9, None)]
    found = figures.cells(config, Facts(OCTOBER, {}, emptyings=its))["c1", 1]
    assert (found.emptyings, found.needless, found.unknown_fill) == (3, 1, 1)


def test_a_month_of_which_nothing_is_known(config: Config) -> None:
    cells = figures.cells(config, Facts(OCTOBER, {}))
    assert figures.total(cells.values()) == Figures(
        frozenset(("c1", "c2")), 2 * (OCTOBER.to_ms - OCTOBER.from_ms)
    )


LEVELS = st.lists(
    st.tuples(st.integers(-48, 800), st.floats(0, 120)), max_size=60, unique_by=lambda it: it[0]
)


@settings(max_examples=60, deadline=None)
@given(LEVELS, st.lists(st.integers(-10, 760), max_size=8, unique=True), st.integers(1, 744))
def test_hours_are_within_the_month_and_add_up_over_any_cut(levels, told, cut) -> None:
    rows = sorted((OCTOBER.from_ms + hour * HOUR_MS, level) for hour, level in levels)
    course = Course(rows, [Told(OCTOBER.from_ms + hour * HOUR_MS, None) for hour in told])
    whole = OCTOBER.from_ms, OCTOBER.to_ms
    cut_ms = OCTOBER.from_ms + cut * HOUR_MS
    assert 0 <= course.full_ms(*whole) <= course.known_ms(*whole) <= whole[1] - whole[0]
    for count in (course.full_ms, course.known_ms):
        assert count(*whole) == count(whole[0], cut_ms) + count(cut_ms, whole[1])
    assert len(course.full_days(OCTOBER)) <= 31
    assert bool(course.full_days(OCTOBER)) == bool(course.full_ms(*whole))


EMPTYINGS = st.builds(
    Emptying,
    st.sampled_from(["c1", "c2"]),
    st.integers(0, 30).map(lambda days: OCTOBER.first + days * DAY),
    st.none() | st.floats(0, 120),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(EMPTYINGS, max_size=20), LEVELS)
def test_what_containers_add_up_to_is_what_weeks_do(config, emptyings, levels) -> None:
    rows = sorted((OCTOBER.from_ms + hour * HOUR_MS, level) for hour, level in levels)
    courses = {"c1": Course(rows), "c2": Course(rows[::2])}
    cells = figures.cells(config, Facts(OCTOBER, courses, emptyings=emptyings))
    both = figures.total(cells.values())
    of_names = [
        figures.total(it for key, it in cells.items() if key[0] == name) for name in ("c1", "c2")
    ]
    of_weeks = [figures.total(it for key, it in cells.items() if key[1] == n) for n in range(4)]
    for parts in (of_names, of_weeks):
        again = figures.total(parts)
        assert sorted(again.fills_pct) == sorted(both.fills_pct)
        assert (again.known_ms, again.full_ms, again.overflow_days) == (
            both.known_ms,
            both.full_ms,
            both.overflow_days,
        )
    assert both.emptyings == len(emptyings) == both.unknown_fill + len(both.fills_pct)
    assert both.needless <= both.emptyings
    assert both.overflow_days == sum(len(it.full_days(OCTOBER)) for it in courses.values())


def test_the_period_of_another_zone_has_its_own_days() -> None:
    tokyo = periods.parse("2026-10", ZoneInfo("Asia/Tokyo"))
    assert tokyo.from_ms == OCTOBER.from_ms - 7 * HOUR_MS
    assert isinstance(tokyo, Period)
