"""The demo's picture is made of messages alone; what they do not say is not shown."""

import io
import json
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from stoep_hardware.demo.picture import Picture
from stoep_hardware.demo.view import Figures, draw, gateway_counts

AT = "2021-03-01T04:00:00.000Z"
FIGURES = Figures(
    site="blantyre",
    now=datetime(2021, 3, 1, 4, 30, tzinfo=UTC),
    speedup=1800,
    elapsed_s=2,
    micropython_devices=4,
    cpython_devices=20,
    sent=31,
)


def take(picture: Picture, topic: str, event_id: str, **body: Any) -> None:
    body = {"event_id": event_id, "time_utc": AT, **body}
    picture.take(f"stoep/v1/blantyre/{topic}", json.dumps(body).encode())


def container(picture: Picture, event_id: str, fill_pct: float | None, quality: int = 4) -> None:
    take(
        picture,
        "container/bangwe-1/state",
        event_id,
        fill_pct=fill_pct,
        quality=quality,
        measured_utc=AT,
    )


def shown(picture: Picture) -> str:
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=False)
    console.print(draw(picture, FIGURES, 40))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_message_that_comes_twice_counts_once() -> None:
    picture = Picture()
    container(picture, "a-1:state", 40)
    container(picture, "a-1:state", 40)
    assert picture.messages_by_kind == {"container/state": 1}
    assert picture.duplicates == 1


def test_messages_of_one_uplink_are_one_uplink() -> None:
    picture = Picture()
    container(picture, "a-1:state", 40)
    take(picture, "container/bangwe-1/event", "a-1:emptied:0", event="emptied", from_pct=90)
    container(picture, "a-2:state", 41)
    assert len(picture.uplinks) == 2


def test_a_join_and_a_round_are_no_uplinks() -> None:
    picture = Picture()
    take(picture, "device/01/event", "j:1", event="joined", asset="bay/kerb-1")
    take(picture, "gateway/kerb/state", "g:1", uplinks_accepted=7, rejected={"mic": 2})
    assert picture.uplinks == set()
    assert picture.joined == {"01": "bay/kerb-1"}
    assert gateway_counts(picture) == (7, {"mic": 2})


def test_the_screen_shows_containers_bays_round_and_news() -> None:
    picture = Picture()
    container(picture, "a-1:state", 83.4)
    take(
        picture,
        "bay/kerb-1/state",
        "b-1:state",
        state="occupied",
        since_utc=AT,
        change_count=5,
    )
    take(picture, "bay/kerb-1/event", "b-1:changed", event="occupied")
    stop = {
        "action": "empty",
        "id": "bangwe-1",
        "fill_pct": 83.4,
        "leg_km": 2.25,
        "eta_utc": AT,
        "reason": "overflow_risk",
    }
    take(
        picture,
        "round/2021-03-01/truck-1",
        "r:1",
        provisional=False,
        stops=[stop],
        totals={"containers": 1, "km": 12.0, "hours": 0.8},
        distance_source="matrix",
    )
    take(
        picture,
        "round/2021-03-01/summary",
        "r:2",
        provisional=False,
        deferred=[],
        skipped=[
            {"container": "bca-1", "reason": "no_data"},
            {"container": "bca-2", "reason": "too_empty"},
        ],
    )
    take(picture, "round/2021-03-02/truck-1", "r:3", provisional=True, stops=[])
    take(picture, "round/2021-03-01/outcome", "r:4", totals={"planned": 1}, stops=[], unplanned=[])
    text = shown(picture)
    assert "████" in text
    assert "83" in text
    assert "● occupied" in text
    assert "overflow risk" in text
    assert "round of 2021-03-01, truck-1: 1 containers, 12.0 km" in text
    assert "not on it: bca-1 (no data)" in text
    assert "bca-2" not in text
    assert "kerb-1 occupied" in text
    assert "4 on MicroPython, 20 on CPython" in text


def test_no_echo_is_shown_as_that_and_not_as_a_level() -> None:
    picture = Picture()
    container(picture, "a-1:state", None, quality=0)
    text = shown(picture)
    assert "no echo" in text
    assert "None" not in text


def test_an_empty_street_can_be_drawn() -> None:
    assert "no round yet" in shown(Picture())
