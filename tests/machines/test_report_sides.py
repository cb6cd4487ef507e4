"""Two ways of emptying, side by side: by hand, and what may be said of their difference."""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from stoep_gateway import config as configuration
from stoep_gateway.assets.schedules import schedules
from stoep_gateway.backtest import town
from stoep_gateway.collections.merging import merged
from stoep_gateway.config import Config
from stoep_gateway.config_days import ScheduledConfig
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.report import drive as drives
from stoep_gateway.report import facts, making, periods, sides, table, verdict, waste
from stoep_gateway.report.drive import Drive, Driven
from stoep_gateway.report.facts import Heard
from stoep_gateway.report.figures import Figures, Trip
from stoep_gateway.report.page import page
from stoep_gateway.report.periods import Period
from stoep_gateway.report.sides import Past, Side
from stoep_gateway.report.verdict import Comparison
from stoep_gateway.report.waste import Came
from stoep_gateway.report.words import Words

ZONE = ZoneInfo("Europe/Amsterdam")
OCTOBER = periods.parse("2026-10", ZONE)
SEPTEMBER = periods.parse("2026-09", ZONE)
MONDAYS = ScheduledConfig(emptied_on=["mon"])


def configured(folder: Path, containers: int, more: str = "") -> Config:
    path = folder / "stoep.toml"
    text = town.config_text(1, containers).replace("[[container]]", f"[[container]]\n{more}")
    path.write_text(text, encoding="utf-8")
    return configuration.load(path)


def a_round(day: datetime.date, fills_pct: Mapping[str, float]) -> Driven:
    """Drive 10 km for 2 h and 100 € in all, and be everywhere at eight."""
    at_ms = OCTOBER.midnight_ms(day) + 8 * HOUR_MS
    trip = Trip(day, "truck-1", tuple(fills_pct), 10.0, 2.0, 100.0)
    return Driven((trip,), dict.fromkeys(fills_pct, at_ms))


def steadily(per_day: float, period: Period, days_before: int = 0) -> Came:
    from_ms = period.from_ms - days_before * DAY_MS
    return Came(from_ms, [per_day / 24] * ((period.to_ms - from_ms) // HOUR_MS))


def test_a_month_of_mondays_by_hand(tmp_path: Path) -> None:
    config = configured(tmp_path, 1)
    # 20 points a day since a Thursday, from empty: four days to Monday at eight, then sevens.
    past = Past(OCTOBER.from_ms, {"c1": steadily(20, OCTOBER)}, {"c1": 0.0})
    side = sides.scheduled(config, OCTOBER, past, {"c1": MONDAYS}, a_round)
    weeks = [side.cells["c1", number] for number in range(4)]
    # The 5th, 12th, 19th and 26th; full from five days after each: Saturday at eight.
    assert [it.emptyings for it in weeks] == [1, 1, 1, 1]
    assert weeks[0].fills_pct == (pytest.approx(20 * (4 + 8 / 24)),)
    assert weeks[1].fills_pct == (100.0,)
    whole = verdict.figures(side)
    assert (whole.km, whole.eur_rounds, whole.needless) == (40.0, 400.0, 0)
    # Saturdays to Mondays: the 10th to 12th, 17th to 19th, 24th to 26th; and the 31st, until its
    # end. Clocks went back in one of them.
    assert whole.overflow_days == 3 + 3 + 3 + 1
    full = (3 * 48 + 16) * HOUR_MS
    assert whole.full_ms == pytest.approx(full, abs=HOUR_MS)
    assert whole.eur_overflow == 10 * config.planning.eur_per_overflow_day
    assert sum(side.waste.values()) == pytest.approx(20 * 31, rel=0.01)


def test_the_schedule_s_levels_are_its_own_when_its_days_count(tmp_path: Path) -> None:
    config = configured(tmp_path, 1)
    # It was full when the schedule took over, ten days before the month.
    past = Past(OCTOBER.from_ms - 10 * DAY_MS, {"c1": steadily(5, OCTOBER, 10)}, {"c1": 100.0})
    side = sides.scheduled(config, OCTOBER, past, {"c1": MONDAYS}, a_round)
    assert verdict.figures(side).full_ms == 0
    assert verdict.figures(side).fills_pct == (pytest.approx(35, abs=1),) * 4
    assert verdict.figures(side).needless == 4


def test_what_is_full_when_a_month_begins_is_full_from_then_on(tmp_path: Path) -> None:
    came = steadily(3, OCTOBER, 3)
    emptied = [OCTOBER.from_ms + 5 * HOUR_MS]
    life = waste.lived(came, 99.0, emptied, OCTOBER, OCTOBER.from_ms - 3 * DAY_MS)
    assert life.full == ((OCTOBER.from_ms, emptied[0]),)
    assert life.full_days == {datetime.date(2026, 10, 1)}
    assert [fill for _, fill in life.fills] == [pytest.approx(99 + 3 * (3 + 5 / 24))]


def test_the_router_drives_what_it_is_told_and_nothing_else(tmp_path: Path) -> None:
    config = configured(tmp_path, 4)
    drive = drives.router(config)
    assert drive is not None
    day = datetime.date(2026, 10, 6)
    found = drive(day, {"c1": 80.0, "c3": 10.0})
    assert sorted(name for it in found.trips for name in it.containers) == ["c1", "c3"]
    assert found.unfit == 0
    assert all(OCTOBER.day_of(it) == day for it in found.at_ms.values())
    assert sum(it.eur for it in found.trips) > 0
    assert found == drive(day, {"c1": 80.0, "c3": 10.0})
    assert drives.router(config.model_copy(update={"trucks": ()})) is None


def test_what_does_not_fit_into_the_day_of_the_trucks_costs_as_the_rest(tmp_path: Path) -> None:
    config = configured(tmp_path, 6)
    trucks = tuple(it.model_copy(update={"shift_h": 1.0}) for it in config.trucks[:1])
    drive = drives.router(config.model_copy(update={"trucks": trucks}))
    assert drive is not None
    found = drive(datetime.date(2026, 10, 6), {it.id: 90.0 for it in config.containers})
    done = sum(len(it.containers) for it in found.trips)
    assert 0 < done < 6
    assert found.unfit == 6 - done
    assert found.at_ms.keys() == {it.id for it in config.containers}
    (trip,) = found.trips
    assert trip.hours == pytest.approx(6 / done, rel=0.2)
    # Its own part alone is what those cost who did fit in.
    alone = drive(datetime.date(2026, 10, 6), dict.fromkeys(trip.containers, 90.0))
    assert trip.eur == pytest.approx(alone.trips[0].eur * 6 / done, rel=0.01)
    assert trip.km == pytest.approx(alone.trips[0].km * 6 / done, rel=0.01)


def levels_of(period: Period, per_day: float, every_days: float) -> list[tuple[int, float]]:
    """Return hourly levels, emptied every so many days at eight."""
    found, level = [], 0.0
    start_ms, count = period.from_ms, (period.to_ms - period.from_ms) // HOUR_MS
    for hour in range(count):
        if hour and (hour - 8) % round(24 * every_days) == 0:
            level = 0.0
        found.append((start_ms + hour * HOUR_MS, min(level, 100.0)))
        level += per_day / 24
    return found


def compared(
    config: Config, levels: dict[str, list[tuple[int, float]]], **more: object
) -> Comparison:
    heard = Heard(levels, merged(facts.shown(levels)))
    report = making.make(config, heard, OCTOBER, a_round, **more)
    assert report.comparison is not None
    return report.comparison


def test_against_the_own_schedule_a_month_is_counted_on_the_same_waste(tmp_path: Path) -> None:
    config = configured(tmp_path, 2, 'emptied_on = ["mon", "tue", "wed", "thu", "fri"]')
    # Ten points a day, emptied every six days; the schedule comes for every ten points.
    levels = {it.id: levels_of(OCTOBER, 10, 6) for it in config.containers}
    found = compared(config, levels, schedule=schedules(config))
    assert found.answer == "paid"
    assert found.differences["emptyings"].value == pytest.approx(2 * 22 - 2 * 5)
    assert found.differences["eur_rounds"].value == pytest.approx(100 * 22 - 100 * 5)
    assert found.differences["overflow_days"].value == 0
    assert found.differences["needless"].value == pytest.approx(2 * 22)
    assert {it.code for it in found.doubts} == {"settling"}
    # What the sensors cost is taken off.
    dear = compared(config, levels, schedule=schedules(config), running_eur_per_month=5000.0)
    assert dear.answer == "cost"
    assert dear.saved.value == pytest.approx(found.saved.value - 5000 * 31 / (365.25 / 12))


def test_a_container_without_a_schedule_or_levels_is_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "stoep.toml"
    text = town.config_text(1, 4).replace("[[container]]", '[[container]]\nemptied_on = ["mon"]', 3)
    path.write_text(text, encoding="utf-8")
    config = configuration.load(path)
    levels = {it: levels_of(OCTOBER, 10, 6) for it in ("c1", "c2", "c4")}
    found = compared(config, levels, schedule=schedules(config))
    assert {name for name, _ in found.ours.cells} == {"c1", "c2"}
    assert found.answer == "unknown"
    assert [it.code for it in found.reasons] == ["levels"]
    assert found.more_weeks is None


def test_months_before_are_scaled_to_the_waste_that_came(tmp_path: Path) -> None:
    config = configured(tmp_path, 2)
    levels = {}
    for it in config.containers:
        levels[it.id] = levels_of(SEPTEMBER, 10, 2) + levels_of(OCTOBER, 11, 6)
    found = compared(config, levels, before=SEPTEMBER)
    before = verdict.figures(found.other)
    assert before.emptyings == 2 * 14  # the first of them is too small to be seen
    assert found.scale == pytest.approx(1.1 * 31 / 30, rel=0.02)
    expected = 1400 * found.scale - 500
    assert found.differences["eur_rounds"].value == pytest.approx(expected)
    assert found.answer == "paid"
    assert [it.code for it in found.doubts] == ["months"]
    # Three times the waste is another town.
    for it in config.containers:
        levels[it.id] = levels_of(SEPTEMBER, 10, 2) + levels_of(OCTOBER, 30, 3)
    found = compared(config, levels, before=SEPTEMBER)
    assert [it.code for it in found.reasons] == ["waste"]
    assert found.answer == "unknown"


def side(period: Period, eur: list[float], containers: int = 3) -> Side:
    """Return a side whose weeks cost so much."""
    cells, came = {}, {}
    for name in range(containers):
        for number, value in enumerate(eur):
            cells[str(name), number] = Figures(
                frozenset(str(name)), DAY_MS, emptyings=4, eur_rounds=value / containers
            )
            came[str(name), number] = 70.0
    return Side(period, cells, came)


def judged(kind: verdict.Kind, ours: Side, other: Side) -> Comparison:
    return verdict.compare(kind, ours, other, containers=3, known_pct=95)


@pytest.mark.parametrize(
    ("saved", "answer"),
    [([100, 110, 90, 140], "paid"), ([-100, -110, -90, -140], "cost"), ([60, -50, 40, -30], None)],
)
def test_what_a_month_says(saved: list[float], answer: str | None) -> None:
    other = side(OCTOBER, [500 + it for it in saved])
    found = verdict.compare(
        "schedule", side(OCTOBER, [500.0] * 4), other, containers=3, known_pct=95
    )
    assert found.answer == (answer or "unknown")
    assert found.saved.value == pytest.approx(sum(saved))
    assert found.saved.low is not None
    assert found.saved.high is not None
    assert found.saved.low < found.saved.value < found.saved.high
    if answer is None:
        assert found.saved.low < 0 < found.saved.high
        assert found.more_weeks == 52  # 20 € in four weeks, and weeks differ by 60
    else:
        assert found.more_weeks is None


def test_a_few_more_weeks_may_tell() -> None:
    other = side(OCTOBER, [500 + it for it in (60, 10, 90, -40)])
    found = verdict.compare(
        "schedule", side(OCTOBER, [500.0] * 4), other, containers=3, known_pct=95
    )
    assert found.answer == "unknown"
    assert found.more_weeks is not None
    assert 1 <= found.more_weeks < 30


@pytest.mark.parametrize(
    ("day", "codes"), [(8, ["weeks"]), (13, ["weeks"]), (14, ["weeks"]), (15, []), (31, [])]
)
def test_a_month_that_has_just_begun_says_nothing(day: int, codes: list[str]) -> None:
    cut = OCTOBER.until(OCTOBER.midnight_ms(datetime.date(2026, 10, 1)) + day * DAY_MS)
    assert cut is not None
    cut = replace(cut, last=datetime.date(2026, 10, day - 1)) if day < 31 else cut
    its = [500.0 + number for number in range(len(cut.weeks()))]
    found = verdict.compare(
        "schedule", side(cut, its), side(cut, [2 * it for it in its]), containers=3, known_pct=95
    )
    assert [it.code for it in found.reasons] == codes
    assert found.answer == ("unknown" if codes else "paid")


def test_what_makes_careful_is_said() -> None:
    cut = OCTOBER.until(OCTOBER.midnight_ms(datetime.date(2026, 10, 22)))
    assert cut is not None
    ours, other = side(cut, [400.0, 410.0, 420.0]), side(cut, [500.0, 510.0, 520.0])
    found = verdict.compare(
        "schedule", ours, replace(other, unfit=2), containers=4, known_pct=80, settled_days=3
    )
    codes = [it.code for it in found.doubts]
    assert codes == ["not_over", "few_weeks", "known", "settling", "unfit", "left_out"]
    assert found.answer == "paid"
    before = side(SEPTEMBER, [500.0] * 4)
    more = replace(before, waste={key: 0.8 * it for key, it in before.waste.items()})
    found = judged("before", side(OCTOBER, [400.0] * 4), more)
    assert [it.code for it in found.doubts] == ["season"]


def test_what_does_not_fit_in_the_trucks_days_has_no_price() -> None:
    ours, other = side(OCTOBER, [400.0] * 4), side(OCTOBER, [500.0] * 4)
    count = verdict.figures(ours).emptyings + verdict.figures(other).emptyings
    few, many = (
        verdict.compare("schedule", replace(ours, unfit=unfit), other, containers=3, known_pct=95)
        for unfit in (count // 10, count // 10 + 1)
    )
    assert (few.answer, few.reasons) == ("paid", ())
    assert (many.answer, [it.code for it in many.reasons]) == ("unknown", ["too_unfit"])
    assert f"of {count} emptyings did not fit" in Words("en").verdict(many)


def test_no_waste_is_no_comparison() -> None:
    nothing = side(SEPTEMBER, [500.0] * 4)
    nothing = replace(nothing, waste=dict.fromkeys(nothing.waste, 0.0))
    found = verdict.compare(
        "before", side(OCTOBER, [400.0] * 4), nothing, containers=3, known_pct=95
    )
    assert found.answer == "unknown"
    assert [it.code for it in found.reasons] == ["no_waste"]
    assert "No waste is known" in Words("en").verdict(found)


def test_months_before_that_nobody_measured_are_a_page_all_the_same(tmp_path: Path) -> None:
    config = configured(tmp_path, 2)
    levels = {
        it.id: levels_of(SEPTEMBER, 0, 2) + levels_of(OCTOBER, 11, 6) for it in config.containers
    }
    heard = Heard(levels, merged(facts.shown(levels)))
    report = making.make(config, heard, OCTOBER, a_round, before=SEPTEMBER)
    assert report.comparison is not None
    assert [it.code for it in report.comparison.reasons] == ["no_waste"]
    assert "No waste is known" in page(report, Words("en"))
    assert "nan" not in page(report, Words("nl")) + table.csv_text(report)


def test_without_levels_there_is_a_report_that_says_so(tmp_path: Path) -> None:
    config = configured(tmp_path, 2, 'emptied_on = ["mon"]')
    drive: Drive = a_round
    report = making.make(config, Heard({}, ()), OCTOBER, drive, schedule=schedules(config))
    assert report.comparison is not None
    assert [it.code for it in report.comparison.reasons] == ["levels"]
    assert report.comparison.answer == "unknown"
