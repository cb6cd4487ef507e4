"""Plans as files: read by foreign parsers, told in both languages, whatever names there are."""

import json
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import gpxpy
import pytest
from geojson_pydantic import FeatureCollection
from plan_files import (
    CONFIG,
    NASTY,
    NASTY_PLAN,
    PLAN,
    left_out,
    plan_of,
    round_of,
    stop,
    town_at,
)
from stoep_gateway.config import Config
from stoep_gateway.planning.files import geojson, gpx, html, sketch, words
from stoep_gateway.planning.files.sheet import Sheet, sheets
from stoep_gateway.planning.files.sketch import Course
from stoep_gateway.planning.files.words import Words
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return town_at(tmp_path_factory.mktemp("town"))


def features(plan: Plan, town: Config) -> dict[str, Any]:
    document = geojson.document(plan, town)
    FeatureCollection.model_validate_json(document)
    return {it["id"]: it for it in json.loads(document)["features"]}


def test_geojson_has_stops_lines_places_and_what_is_left_out(town: Config) -> None:
    found = features(PLAN, town)
    assert found["round/truck-1"]["geometry"] == {
        "type": "LineString",
        "coordinates": [[5.0, 52.0], [5.01, 52.011], [5.0, 52.4], [5.0, 52.0]],
    }
    assert found["round/truck-1"]["properties"]["line"] == "straight"
    assert found["round/truck-2"]["geometry"] is None
    assert found["round/truck-2"]["properties"]["status"] == "not_needed"
    said = found["round/truck-1/1"]["properties"]
    assert (said["truck"], said["sequence"], said["reason"]) == ("truck-1", 1, "overflow_risk")
    assert said["eta_local"] == "2026-10-20T06:23+02:00"
    assert (said["fraction"], said["windows"]) == ("paper", ["06:00-07:30", "19:00-21:00"])
    assert found["deferred/c2"]["geometry"] == {"type": "Point", "coordinates": [5.02, 52.011]}
    assert found["deferred/c2"]["properties"]["reason"] == "shift_too_short"
    assert found["skipped/gone"]["geometry"] is None  # of a container that nobody knows any more
    assert found["place/dump"]["properties"]["open"] == ["07:00-16:30"]


def test_geojson_of_any_names(town: Config) -> None:
    found = features(NASTY_PLAN, town)
    names = [found[f"round/truck-1/{number}"]["properties"]["id"] for number in range(1, 8)]
    assert names == [f"c{number}" for number in range(1, 8)]
    assert found["round/truck-1/5"]["properties"]["name"] == NASTY[4]


# In which order a point's and a route's children come, by GPX 1.1.
GPX_ORDER = ["name", "cmt", "desc", "src", "link", "sym", "number", "type", "rtept"]


@pytest.mark.parametrize("plan", [PLAN, NASTY_PLAN, plan_of()])
def test_gpx_is_in_the_order_of_its_schema(plan: Plan, town: Config) -> None:
    root = Xml.fromstring(gpx.document(plan, town, Words("nl", town.timezone), plan.rounds))
    tags = [it.tag.rpartition("}")[2] for it in root]
    assert tags == sorted(tags, key=["metadata", "wpt", "rte"].index)
    for element in root[1:]:
        inner = [it.tag.rpartition("}")[2] for it in element]
        assert inner == sorted(inner, key=GPX_ORDER.index)


def test_gpx_leads_from_the_yard_by_numbered_stops_and_back(town: Config) -> None:
    parsed = gpxpy.parse(gpx.document(PLAN, town, Words("nl", town.timezone), PLAN.rounds).decode())
    (route,) = parsed.routes
    assert [it.name for it in route.points] == [
        "The yard",
        "1 Market",
        "2 LOSSEN: dump",
        "The yard",
    ]
    assert (route.points[1].latitude, route.points[1].longitude) == (52.011, 5.01)
    assert route.points[1].description == (
        "06:23; 85\u00a0% vol; kans op overlopen 34\u00a0%;"
        " alleen 06:00–07:30 en 19:00–21:00; stop aan de kant van de container"
    )
    assert [it.name for it in parsed.waypoints] == ["The yard", "1 Market", "2 LOSSEN: dump"]
    assert {it.type for it in parsed.waypoints} == {"truck-1"}


def test_gpx_of_any_names_and_numbers_that_sort(town: Config) -> None:
    many = [stop(number, NASTY[number % 7]) for number in range(1, 81)]
    plan = plan_of(round_of("truck-1", *many))
    document = gpx.document(plan, town, Words("en", town.timezone), plan.rounds)
    points = gpxpy.parse(document.decode()).routes[0].points[1:-1]
    assert points[6].name == f"07 {NASTY[0]}"
    assert points[2].name == "03 a b\tc "
    assert sorted(it.name for it in points) == [it.name for it in points]


class Page(HTMLParser):
    """What a page says and has, and that what it opens it closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "col"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def written(plan: Plan, town: Config, language: Any = "nl") -> tuple[Sheet, ...]:
    return sheets(plan, town, Words(language, town.timezone))


def test_a_driver_s_sheet(town: Config) -> None:
    of_truck, idle, _ = written(PLAN, town)
    page = Page(html.document([of_truck]))
    assert ("lang", "nl") in page.attributes
    said = " ".join(page.said).replace("\u00a0", " ")
    for part in (
        "Ronde van truck-1, dinsdag 20 oktober 2026",
        "truck-1 · dinsdag 20 oktober 2026 · town · gepland 20 oktober 06:00",
        "06:23 Market",
        "c1 · paper · 52.01100, 5.01000",
        "kans op overlopen 34 %",
        "alleen 06:00–07:30 en 19:00–21:00; stop aan de kant van de container",
        "85 % wagen 25 %",
        "1,2 km 3 min",
        "LOSSEN: dump",
        "open 07:00–16:30",
        "Terug: The yard",
        "2:05 u",
        "Chauffeur",
        "dump (buiten de kaart)",
    ):
        assert part in said, part
    assert page.attributes.count(("class", "box")) == 2
    idle_page = "".join(Page(html.document([idle])).said)
    assert "niet nodig: andere wagens doen alles" in idle_page
    assert "Klaar" not in idle_page


def test_the_office_s_sheet(town: Config) -> None:
    summary = written(PLAN, town, "en")[-1]
    said = " ".join(Page(html.document([summary])).said).replace("\u00a0", " ")
    for part in (
        "Rounds, Tuesday 20 October 2026",
        "truck-2 not needed: other trucks do it all",
        "Deferred: should be emptied, and is not: 1",
        "the shift is too short",
        "gone 61 %",
        "worth 5.82 €, the way costs 11.69 €",
        "Too empty, 1: c3 20 %.",
        "1 without a place in the configuration are not drawn.",
        "Oldest level: 3.0 h. Estimated distances.",
    ):
        assert part in said, part


def test_a_page_fetches_nothing_and_runs_nothing(town: Config) -> None:
    text = html.document(written(NASTY_PLAN, town))
    page = Page(text)
    assert not {"script", "link", "img", "a", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "style.src"} & {name for name, _ in page.attributes}
    assert not re.search(r"url\(|@import|https?:", text)
    said = " ".join(page.said)
    assert NASTY[0] in said
    assert NASTY[1] in said
    assert "\u0001" not in text
    assert "VOORLOPIG" in said


def test_nothing_planned_at_all(town: Config) -> None:
    nothing = plan_of(deferred=(), skipped=(), data_age_h=None)
    (summary,) = written(nothing, town)
    assert "Er is niets overgeslagen." in "".join(Page(html.document([summary])).said)


def test_both_languages_say_the_same_things() -> None:
    english, dutch = words._PHRASES["en"], words._PHRASES["nl"]
    assert english.keys() == dutch.keys()

    def fields(phrase: str) -> set[str | None]:
        return {it[1] for it in string.Formatter().parse(phrase)}

    for key, phrase in english.items():
        assert fields(phrase) == fields(dutch[key]), key


def of_docstrings() -> Iterator[str]:
    for it in (Stop, LeftOut, Round):
        reasons = re.findall(r"\b[a-z]+_[a-z_]+\b", it.__doc__ or "")
        yield from (word for word in reasons if not re.search(r"_(l|pct|eur|utc|overflow)$", word))


@pytest.mark.parametrize("word", sorted(set(of_docstrings())))
def test_every_reason_has_words(word: str) -> None:
    assert word in words._PHRASES["en"], "say it in both languages"


def test_the_map_is_of_containers_and_what_is_far_stands_at_its_edge() -> None:
    near = [("stop", (52.0 + n / 100, 5.0 + n / 50), str(n)) for n in range(5)]
    drawn = sketch.draw([Course((*near, ("unload", (53.0, 5.0), "dump")))], off_the_map="{place}!")  # type: ignore[arg-type]
    assert drawn is not None
    (dump,) = [it for it in drawn.marks if it.kind == "unload"]
    assert dump.y == pytest.approx(3.5, abs=0.1)
    assert [it.text for it in drawn.labels] == ["0", "1", "2", "3", "4", "dump!"]
    xs = [it.x for it in drawn.marks if it.kind == "stop"]
    assert xs[-1] - xs[0] > 90
    assert all(0 < it.x < drawn.width and 0 < it.y < drawn.height for it in drawn.marks)


def test_neighbours_share_a_label_and_labels_hide_no_other() -> None:
    spots = [(0.0, 0.0)] * 3 + [(0.001 * n, 0.002 * (n % 3)) for n in range(20)] + [(0.0, 0.0)]
    stops = [("stop", spot, str(n)) for n, spot in enumerate(spots, start=1)]
    drawn = sketch.draw([Course(tuple(stops))])  # type: ignore[arg-type]
    assert drawn is not None
    assert "1–4, 24" in [it.text for it in drawn.labels]
    for one in drawn.labels:
        for other in drawn.labels:
            assert one is other or sketch._overlap(one, other) == 0


def test_the_map_across_the_date_line_and_of_one_container() -> None:
    drawn = sketch.draw([Course((("stop", (-18, 179.99), "1"), ("stop", (-18, -179.99), "2")))])
    assert drawn is not None
    assert drawn.bar == "500 m"
    assert sketch.draw([Course((("stop", (0, 0), "1"),))]) is not None
    assert sketch.draw([]) is None


def test_numbers_and_dates(town: Config) -> None:
    dutch, english = Words("nl", town.timezone), Words("en", town.timezone)
    assert (dutch.km(1.26), english.km(1.26)) == ("1,3\u00a0km", "1.3\u00a0km")
    assert english.duration(7.999) == "8:00\u00a0h"
    assert dutch.percent(0.004) == "<\u00a01\u00a0%"
    assert dutch.clock("2026-01-20T23:30:00.000Z") == "00:30"
    assert dutch.date("2026-03-01") == "zondag 1 maart 2026"
    assert dutch("a_new_reason") == "a new reason"


def test_a_truck_with_a_limit_in_weight(tmp_path: Path) -> None:
    heavy = CONFIG.replace("capacity_l = 20000", "capacity_l = 20000\ncapacity_kg = 1000")
    it = round_of("truck-1", stop(1, "Market", load_after_kg=600))
    of_truck = written(plan_of(it), town_at(tmp_path, heavy), "en")[0]
    assert "truck\u00a060\u00a0%" in html.document([of_truck])


def test_levels_that_are_doubted_say_so(town: Config) -> None:
    it = round_of("truck-1", replace(stop(1, "Market"), doubt="bad_data", p_overflow=None))
    doubted = left_out("c2", "shift_too_short", doubt="bad_data")
    text = html.document(written(plan_of(it, deferred=(doubted,)), town, "en"))
    assert "risk of overflow; level doubtful: bad data" in text
    assert "the shift is too short; level doubtful: bad data" in text


def test_a_truck_that_has_broken_down(town: Config) -> None:
    done = replace(stop(1, "Market"), status="done")
    out = replace(round_of("truck-1", done), status="out_of_service")
    said = " ".join(Page(html.document([written(plan_of(out), town, "en")[0]])).said)
    assert "out of service" in said
    assert "DONE" in said


def test_what_is_done_is_ticked_and_not_driven_to_again(town: Config) -> None:
    done = replace(stop(1, "Market"), status="done", done_utc="2026-10-20T04:31:00.000Z")
    skipped = replace(stop(2, "Church"), status="skipped")
    plan = plan_of(round_of("truck-1", done, skipped, stop(3, "School")))
    text = html.document([written(plan, town, "en")[0]])
    said = " ".join(Page(text).said)
    assert "DONE 06:31; only 06:00–07:30" in said
    assert "SKIPPED" in said
    assert text.count('<span class="box"><svg') == 1
    document = gpx.document(plan, town, Words("en", town.timezone), plan.rounds)
    (route,) = gpxpy.parse(document.decode()).routes
    assert [it.name for it in route.points] == ["3 School", "The yard"]
    all_done = plan_of(replace(round_of("truck-1", done), status="done"))
    assert "truck-1 done 06:00" in " ".join(Page(html.document(written(all_done, town, "en"))).said)
    assert b"<rte>" not in gpx.document(all_done, town, Words("en", town.timezone), all_done.rounds)
