"""Ways as a server of routes tells them: a small one over HTTP, and all that one may do instead."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from stoep_gateway.planning import finding, osrm
from stoep_gateway.planning.distances import Point, straight_line_km
from stoep_gateway.planning.roads_model import Spot
from stoep_gateway.planning.ways import RoadsError, Ways, matrices

Answer = Callable[[str], tuple[int, bytes]]
POINTS = [Point(52 + 0.01 * it, 5 + 0.02 * (it % 7), name=f"p{it}") for it in range(4)]


def _crow(path: str) -> dict[str, object]:
    """Answer as OSRM does: here a crow drives, twice as far as it flies, at 36 km/h."""
    parts = urlsplit(path)
    head, _, coordinates = parts.path.rpartition("/")
    assert head == "/table/v1/driving"
    asked = {key: value[0] for key, value in parse_qs(parts.query).items()}
    assert set(asked["annotations"].split(",")) == {"duration", "distance"}
    places = [tuple(map(float, it.split(",")))[::-1] for it in coordinates.split(";")]
    rows, columns = (
        [places[int(it)] for it in asked[key].split(";")] if key in asked else places
        for key in ("sources", "destinations")
    )
    assert len(rows) * len(columns) <= 100 * 100
    metres = [[round(2000 * straight_line_km(*a, *b), 1) for b in columns] for a in rows]
    snapped = [{"distance": 3.5, "name": "", "location": list(it[::-1])} for it in rows]
    return {
        "code": "Ok",
        "distances": metres,
        "durations": [[it / 10 for it in row] for row in metres],
        "sources": snapped,
        "destinations": [{"distance": 3.5, "name": ""} for _ in columns],
    }


def _ok(**other: object) -> Answer:
    return lambda path: (200, json.dumps(_crow(path) | other).encode())


@contextmanager
def _serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a server, and what it is asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _twice_m(a: Point, b: Point) -> float:
    return 2000 * straight_line_km(a.lat, a.lon, b.lat, b.lon)


def test_a_table() -> None:
    with _serving(_ok()) as (url, asked):
        found = matrices(POINTS, None, 1.35, 30, Ways(osrm=url), finding.find)
    assert (found.source, found.notes, len(asked)) == ("osrm", (), 1)
    for a, start in enumerate(POINTS):
        for b, end in enumerate(POINTS):
            metres = _twice_m(start, end)
            assert found.metres[a][b] == pytest.approx(metres, abs=1)
            assert found.seconds[a][b] == pytest.approx(metres / 10, abs=1)


def test_many_places_in_pieces() -> None:
    points = [Point(52 + it / 1000, 5 + it**2 % 100 / 1000, name=str(it)) for it in range(230)]
    with _serving(_ok()) as (url, asked):
        found = matrices(points, None, 1.35, 30, Ways(osrm=url), finding.find)
    assert (found.source, len(asked)) == ("osrm", 9)
    assert max(map(len, asked)) < 8000  # what goes through any proxy
    assert all(
        found.metres[a][b] == pytest.approx(_twice_m(points[a], points[b]), abs=1)
        for a in range(0, 230, 7)
        for b in range(0, 230, 11)
    )


def test_the_side_of_the_street() -> None:
    with _serving(_ok()) as (url, asked):
        osrm.matrix(url, [Spot(52, 5), Spot(52.01, 5, near=True)])
        osrm.matrix(url, [Spot(52, 5), Spot(52.01, 5)])
    assert parse_qs(urlsplit(asked[0]).query, separator="&")["approaches"] == ["unrestricted;curb"]
    assert "approaches" not in asked[1]


def test_far_from_any_road_and_no_way_there() -> None:
    def answer(path: str) -> tuple[int, bytes]:
        table = _crow(path)
        table["sources"] = [{"distance": it} for it in (3, 251, 120, 0)]
        for key in ("distances", "durations"):
            table[key][0][3] = None  # type: ignore[index]
        return 200, json.dumps(table).encode()

    with _serving(answer) as (url, _):
        found = matrices(POINTS, None, 1.5, 30, Ways(osrm=url), finding.find)
    assert found.source == "mixed"
    assert found.metres[0][2] == pytest.approx(_twice_m(POINTS[0], POINTS[2]), abs=1)
    for a, b in ((0, 1), (1, 3), (0, 3)):
        assert found.metres[a][b] == pytest.approx(0.75 * _twice_m(POINTS[a], POINTS[b]), abs=1)
    assert found.notes == (
        "estimated, since no road for a truck is within 250 m: p1",
        "far from the nearest road for a truck: p2 (120 m)",
        "no road leads there: 1 ways between places are estimated",
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda _: (400, b'{"code": "TooBig", "message": "Too many\\n table coordinates"}'),
            "TooBig: Too many table coordinates",
        ),
        (lambda _: (502, b"<html>Bad gateway"), "what it answers (502) is no table"),
        (lambda _: (302, b""), "what it answers (302) is no table"),
        (lambda _: (200, b"[1, 2"), "what it answers (200) is no table"),
        (lambda _: (200, b'{"code": "Ok"}'), "a table of other places"),
        (_ok(distances=[[0, 1]]), "a table of another size"),
        (_ok(durations=[]), "a table of another size"),
        (_ok(distances=[[0, -1, 0, 0]] * 4), "distances that are none"),
        (_ok(durations=[[0, math.nan, 0, 0]] * 4), "distances that are none"),
        (_ok(distances=[[0, 1e300, 0, 0]] * 4), "distances that are none"),
        (_ok(distances=[[0, "far", 0, 0]] * 4), "is no table"),
        (_ok(sources=[{"distance": math.inf}] * 4), "is no table"),
        (lambda _: (200, b" " * 9_000_000), "it answers without an end"),
    ],
)
def test_what_is_no_table(answer: Answer, said: str) -> None:
    with _serving(answer) as (url, _):
        found = matrices(POINTS, None, 1.35, 30, Ways(osrm=url), finding.find)
    (note,) = found.notes
    assert note.startswith(f"distances are estimated: {url}: ")
    assert note.endswith(said)
    assert found.source == "estimate"
    assert found.metres == matrices(POINTS, None, 1.35, 30).metres


def test_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osrm, "_READ_S", 0.2)
    ended = threading.Event()

    def silent(_: str) -> tuple[int, bytes]:
        ended.wait(60)
        return 200, b""

    with _serving(silent) as (url, _):
        try:
            with pytest.raises(RoadsError, match="no answer: ReadTimeout"):
                osrm.matrix(url, [Spot(52, 5), Spot(52.01, 5)])
        finally:
            ended.set()


def test_a_slow_server() -> None:
    with _serving(_ok()) as (url, _), pytest.raises(RoadsError, match="it takes too long"):
        osrm.matrix(url, [Spot(52, 5), Spot(52.01, 5)], total_s=0)


def test_nobody_there() -> None:
    with _serving(_ok()) as (url, _):
        pass
    with pytest.raises(RoadsError, match="no answer: ConnectError"):
        osrm.matrix(url, [Spot(52, 5), Spot(52.01, 5)])
