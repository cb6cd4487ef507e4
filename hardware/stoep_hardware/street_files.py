"""The gateway's configuration for a simulated street, written as TOML files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import blantyre
from .street_plan import DEPTH_MM, FULL_MM, STREET, Board, StreetPlan

SITE = "blantyre"
CONFIG = "stoep.toml"
_STREET_FILE = "street.toml"
_DISTANCES = "distances.csv"
_DEPOT, _DISPOSAL = "yard", "mzedi"

Value = str | int | float | bool


def write(
    plan: StreetPlan,
    directory: Path,
    *,
    broker: tuple[str, int],
    gwmp_port: int = 0,
    planning_at: str | None = "06:00",
    region: str = "EU868",
    sub_band: int = 2,
) -> Path:
    """Write configuration, assets and road distances; return the configuration's path.

    `broker` is host and port; `planning_at` None plans no rounds; `sub_band` 1 to 8 is that of
    US915 and AU915.
    """
    (directory / _DISTANCES).write_text(blantyre.distances_csv(), encoding="utf-8")
    (directory / _STREET_FILE).write_text(_street(plan), encoding="utf-8")
    has_round = planning_at is not None and bool(plan.containers)
    lorawan: dict[str, Value] = {"region": region}
    if region in ("US915", "AU915"):
        lorawan["sub_band"] = sub_band
    sections: dict[str, Mapping[str, Value]] = {
        "store": {"path": "stoep.db"},
        "mqtt": {"host": broker[0], "port": broker[1]},
        "gwmp": {"bind": "127.0.0.1", "port": gwmp_port},
        "lorawan": lorawan,
        "planning": {
            "enabled": has_round,
            "at": planning_at or "06:00",
            "threshold_pct": 80,
            "distances": _DISTANCES,
        },
    }
    head = f"# {blantyre.ATTRIBUTION}\n"
    head += f'site = "{SITE}"\ntimezone = "{blantyre.TIMEZONE}"\nassets = ["{_STREET_FILE}"]\n'
    body = "".join(_table(f"[{name}]", values) for name, values in sections.items())
    path = directory / CONFIG
    path.write_text(head + body, encoding="utf-8")
    return path


def _street(plan: StreetPlan) -> str:
    tables = [f"# {blantyre.ATTRIBUTION}\n"]
    tables += _tables(
        "gateway",
        (
            {"id": gateway.id, "eui": gateway.eui.hex(), "lat": gateway.lat, "lon": gateway.lon}
            for gateway in plan.gateways
        ),
    )
    tables += _tables(
        "container",
        (
            {
                "id": container.id,
                "name": container.name,
                "lat": container.site.lat,
                "lon": container.site.lon,
                "kind": "skip",
                "fraction": container.fraction,
                "capacity_l": container.site.capacity_l,
                "depth_mm": DEPTH_MM,
                "full_mm": FULL_MM,
                "distance_index": container.site.id,
            }
            for container in plan.containers
        ),
    )
    tables += _tables(
        "bay",
        (
            {"id": bay.id, "name": bay.name, "street": STREET, "lat": bay.lat, "lon": bay.lon}
            for bay in plan.bays
        ),
    )
    tables += _tables(
        "device",
        [
            *(
                _device(container.board, f"container/{container.id}")
                for container in plan.containers
            ),
            *(_device(bay.board, f"bay/{bay.id}") for bay in plan.bays),
        ],
    )
    if plan.containers:
        ids = {"depot": _DEPOT, "disposal": _DISPOSAL}
        tables += _tables(
            "place",
            (
                {
                    "id": ids[place.kind],
                    "name": place.name,
                    "kind": place.kind,
                    "lat": place.lat,
                    "lon": place.lon,
                    "distance_index": place.id,
                }
                for place in blantyre.places()
                if place.kind in ids
            ),
        )
        truck: dict[str, Value] = {
            "id": "truck-1",
            "capacity_l": 14_000,
            "compaction": 2,
            "depot": _DEPOT,
            "disposal": _DISPOSAL,
        }
        tables += _tables("truck", (truck,))
    return "".join(tables)


def _device(board: Board, asset: str) -> dict[str, Value]:
    return {
        "dev_eui": board.dev_eui.hex(),
        "join_eui": board.join_eui.hex(),
        "app_key": board.app_key.hex(),
        "asset": asset,
    }


def _tables(name: str, entries: Iterable[Mapping[str, Value]]) -> list[str]:
    return [_table(f"[[{name}]]", entry) for entry in entries]


def _table(head: str, values: Mapping[str, Value]) -> str:
    # JSON's strings, numbers and booleans are TOML's too.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["", head, *lines, ""])
