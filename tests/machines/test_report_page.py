"""The report as a table and as a page: what programs, printers and people make of them."""

import csv
import io
import re
import string
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from stoep_gateway import config as configuration
from stoep_gateway.assets.schedules import schedules
from stoep_gateway.backtest import town
from stoep_gateway.collections import outcome
from stoep_gateway.collections.merging import merged
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.planning.plan import Plan, Round, Stop
from stoep_gateway.publish.messages import utc
from stoep_gateway.report import (
    charts,
    drive,
    facts,
    making,
    periods,
    table,
    text,
    texts,
    words,
)
from stoep_gateway.report.chance import Interval
from stoep_gateway.report.charts import Frame, Series
from stoep_gateway.report.facts import Heard
from stoep_gateway.report.making import Report
from stoep_gateway.report.page import page
from stoep_gateway.report.verdict import Doubt
from stoep_gateway.report.words import Words
from stoep_gateway.store.records import CollectionRow

DOCS = Path(__file__).parents[2] / "docs"
ZONE = ZoneInfo("Europe/Amsterdam")
OCTOBER = periods.parse("2026-10", ZONE)
EVIL = "=1+1</td><script>alert('&amp;')</script>\""
HOURS = (OCTOBER.to_ms - OCTOBER.from_ms) // HOUR_MS
VOID = {"meta"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("town") / "stoep.toml"
    more = "[[container]]\nemptied_on = ['mon', 'thu']\n"
    path.write_text(town.config_text(3, 3).replace("[[container]]", more), encoding="utf-8")
    config = configuration.load(path)
    first, *others = config.containers
    named = first.model_copy(update={"name": EVIL, "fraction": "glass"})
    return config.model_copy(update={"containers": (named, *others)})


def a_plan(config: Config) -> Plan:
    """Return a plan of the 5th with three stops: c1 is done, c2 is not, nobody hears of c9."""
    begin_ms = OCTOBER.from_ms + (4 * 24 + 6) * HOUR_MS
    nowhere = {"name": "", "lat": 0.0, "lon": 0.0, "leg_km": 1.0, "leg_min": 2.0}
    stops = tuple(
        Stop(
            sequence=number,
            action="empty",
            id=name,
            reason="manual",
            eta_utc=utc(begin_ms + HOUR_MS),
            load_after_l=0,
            **nowhere,
        )
        for number, name in enumerate(("c1", "c2", "c9"), 1)
    )
    start, end = utc(begin_ms), utc(begin_ms + 8 * HOUR_MS)
    done = Round("truck-1", "planned", stops, 3, 1, 0, 12.5, 2.5, 99.0, start, 1.0, end)
    next_ms = begin_ms + 24 * HOUR_MS
    return Plan(
        "s", "2026-10-05", begin_ms, begin_ms, next_ms, False, (done,), (), (), 1.0, "e", "s", 1, 0
    )


@pytest.fixture(scope="module")
def report(config: Config) -> Report:
    levels = {}
    for number, container in enumerate(config.containers[:2]):
        every = 102 + 24 * number  # c1 is full now and then, c2 never is
        of = [(OCTOBER.from_ms + hour * HOUR_MS, hour % every * 1.0) for hour in range(HOURS)]
        levels[container.id] = [(at_ms, min(level, 100.0 - 20 * number)) for at_ms, level in of]
    levels["c3"] = levels["c1"]
    rows = facts.shown(levels)
    rows.append(CollectionRow("c1", rows[0].at_utc_ms, "driver", truck="truck-1", weight_kg=80.0))
    plan = a_plan(config)
    heard = Heard(
        levels,
        merged(rows),
        (plan,),
        {plan.date: facts.watched(plan, levels)},
        {name: [at_ms for at_ms, _ in of] for name, of in levels.items()},
        {"c2": [OCTOBER.from_ms]},
    )
    found = making.make(config, heard, OCTOBER, drive.router(config), schedule=schedules(config))
    assert found.comparison is not None
    return found


def rows_of(report: Report) -> list[dict[str, str]]:
    file = io.StringIO(table.csv_text(report).removeprefix("\ufeff"), newline="")
    return list(csv.DictReader(file))


def test_the_table_has_the_columns_that_are_documented(report: Report) -> None:
    said = (DOCS / "report.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \|", said.partition("## The table")[2], re.MULTILINE)
    assert re.findall(r"`([a-z_0-9]+)`", " ".join(cells)) == list(table.COLUMNS)
    text_ = table.csv_text(report)
    assert text_.splitlines()[0] == "\ufeff" + ",".join(table.COLUMNS)
    assert {len(row) for row in csv.reader(io.StringIO(text_, newline=""))} == {len(table.COLUMNS)}
    for scope in {row["scope"] for row in rows_of(report)}:
        assert f"`{scope}`" in said


def test_the_rows_of_a_scope_add_up_to_all(report: Report) -> None:
    rows = rows_of(report)
    whole = next(it for it in rows if it["scope"] == "all")
    for scope in ("week", "fraction", "container"):
        its = [it for it in rows if it["scope"] == scope]
        for name in ("emptyings", "overflow_days", "km", "eur", "collected_l", "readings"):
            total = sum(float(it[name]) for it in its)
            assert total == pytest.approx(float(whole[name]), abs=0.03), (scope, name)
    assert whole["false_readings"] == "1"
    assert (whole["weighed"], whole["weight_kg"]) == ("1", "80.00")
    planned = next(it for it in rows if it["scope"] == "planned")
    assert (planned["km"], planned["eur_rounds"]) == ("12.50", "99.00")
    saved = next(it for it in rows if it["scope"] == "saved")
    ours, other = (
        next(it for it in rows if it["scope"] == f"compared_{one}") for one in ("ours", "other")
    )
    for name in ("eur", "km", "overflow_h", "needless"):
        difference = float(other[name]) - float(ours[name])
        assert float(saved[name]) == pytest.approx(difference, abs=0.02)


def test_a_spreadsheet_takes_no_name_for_a_formula(report: Report) -> None:
    (row,) = (it for it in rows_of(report) if it["id"] == "c1")
    assert row["name"] == f"'{EVIL}"
    assert "\r\n" in table.csv_text(report)


def test_what_became_of_planned_stops(report: Report, config: Config) -> None:
    rows = {it["id"]: it for it in rows_of(report) if it["scope"] == "container"}
    kept = [(rows[it][k]) for it in ("c1", "c2") for k in ("planned", "confirmed", "contradicted")]
    levels = report.cells
    assert kept == ["1", "1", "0", "1", "0", "1"], levels
    assert outcome.READINGS == 3


class _Page(HTMLParser):
    """Holds that tags are closed in order; gathers what is named and asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.ids: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("src", "href", "xlink:href", "action"):
                self.asked.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_the_page_is_whole_and_asks_nothing_of_anybody(
    report: Report, language: words.Language
) -> None:
    html = page(report, Words(language))
    parser = _Page()
    parser.feed(html)
    assert parser.open == []
    assert f'<html lang="{language}">' in html
    assert not parser.seen["script"]
    assert not parser.asked
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {f"#{it}" for it in parser.ids}
    assert len(set(parser.ids)) == len(parser.ids)
    assert "{" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    assert parser.seen["h1"] == 1
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        names = [it.tag.rpartition("}")[2] for it in root]
        assert names[:2] == ["title", "desc"]
        assert root[0].text
        assert root[1].text
        labels = [it.get("id") for it in root[:2]]
        assert root.get("aria-labelledby", "").split() == labels
    assert html.count("<svg") == 6


def test_names_are_only_text(report: Report) -> None:
    html = page(report, Words("en"))
    assert "<script>" not in html
    assert "=1+1&lt;/td&gt;&lt;script&gt;" in html


def test_a_report_with_nothing_in_it_is_a_page_and_a_table(config: Config) -> None:
    for trucks in (config.trucks, ()):
        without = config.model_copy(update={"trucks": trucks})
        empty = making.make(without, Heard({}, ()), OCTOBER, drive.router(without))
        assert "<svg" in page(empty, Words("nl"))
        rows = rows_of(empty)
        assert rows[0]["known_pct"] == "0.00"
        assert rows[0]["overflow_h"] == ""
        assert rows[0]["eur"] == ("0.00" if trucks else "")
        said = text.for_people(empty, Words("en"))
        assert ("[[truck]]" in said) is not bool(trucks)


def test_a_month_of_silent_sensors_says_so(report: Report) -> None:
    said = text.for_people(report, Words("en"))
    assert "Levels are known for only" not in said
    silent = {key: replace(it, known_ms=it.known_ms // 2) for key, it in report.cells.items()}
    cut = replace(report, cells=silent, period=replace(report.period, whole=False))
    for said in (text.for_people(cut, Words("en")), page(cut, Words("en"))):
        assert "Levels are known for only 50 % of the time" in said
        assert "not over: 31 days" in said


def test_every_text_is_there_in_both_languages_with_the_same_values() -> None:
    for name, (english, dutch) in texts.TEXTS.items():
        fields = [
            sorted((it[1], it[2]) for it in string.Formatter().parse(one) if it[1])
            for one in (english, dutch)
        ]
        assert fields[0] == fields[1], name
        assert english.strip() == english
        assert dutch.strip() == dutch


@pytest.mark.parametrize(
    ("value", "english", "dutch"),
    [
        (0.0, "€0", "€\u00a00"),
        (1234.4, "€1,234", "€\u00a01.234"),
        (-9.5, "−€9.50", "−€\u00a09,50"),
        (-0.001, "€0.00", "€\u00a00,00"),
        (9.999, "€10", "€\u00a010"),
        (None, "–", "–"),
        (float("inf"), "–", "–"),
    ],
)
def test_euros_are_written_as_the_language_does(value, english: str, dutch: str) -> None:
    assert (Words("en").euros(value), Words("nl").euros(value)) == (english, dutch)


def said(report: Report, value: float, low: float, high: float, **more: object) -> str:
    assert report.comparison is not None
    differences = report.comparison.differences | {"eur": Interval(value, low, high)}
    changed = replace(report.comparison, differences=differences, reasons=(), **more)
    return Words("en").verdict(changed)


def test_what_a_councillor_is_told(report: Report) -> None:
    assert said(report, 310.0, 120.0, 480.0, answer="paid") == (
        "Saved €310 in October 2026 (90 %: €120 to €480): yes, it paid."
    )
    assert said(report, -90.0, -150.0, -30.0, answer="cost") == (
        "Cost €90 more in October 2026 (90 %: €30 to €150 more): no, it did not pay."
    )
    assert said(report, 40.0, -60.0, 140.0, answer="unknown", more_weeks=2) == (
        "Cannot be told from October 2026: €40 saved, but it may be anything from €60 more spent to"
        " €140 saved. About 2 more weeks of data would tell."
    )
    assert said(report, 1.0, -60.0, 62.0, answer="unknown", more_weeks=52).endswith("hardly tell.")


def test_doubts_and_periods_in_words() -> None:
    assert "−12 %" not in Words("en").doubt(Doubt("season", 12.4))
    assert Words("en").doubt(Doubt("season", 12.4)).startswith("+12 % waste")
    summer = periods.parse("2026-06..2026-08", ZONE)
    assert Words("nl").period(summer) == "juni tot en met augustus 2026"
    winter = periods.parse("2026-12..2027-01", ZONE)
    assert Words("en").period(winter) == "December 2026 to January 2027"


def test_a_plot_says_its_figures_and_what_is_not_known() -> None:
    frame = Frame("it", "A <title>", lambda it: f"{it:.0f}")
    svg = charts.bars(frame, ["1", "2"], [Series("a", [3.0, None]), Series("b", [-1.0, 2.0])])
    root = ElementTree.fromstring(svg)
    assert root[0].text == "A <title>"
    assert root[1].text == "a: 1: 3, 2: –; b: 1: -1, 2: 2."
    texts = [it.text for it in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "?" in texts
    # What is hatched is so without colour, and nothing leaves the picture.
    assert svg.count("url(#it-hatch)") == 3
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        y, height = float(rect.get("y", 0)), float(rect.get("height", 0))
        assert 0 <= y <= y + height <= 250
    weeks = [f"wk {number}" for number in range(52)]
    many = charts.bars(frame, weeks, [Series("", [1.0] * 52)])
    assert many.partition("</desc>")[2].count("wk ") == 9
    only = charts.points(frame, ["1"], [5.0], Interval(5.0), "")
    assert only.count("<circle") == 1
    assert "<rect" in charts.beside(frame, [("a" * 60, 2.0), ("b", 0.0)])
