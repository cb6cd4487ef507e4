"""A plan as GeoJSON (RFC 7946), for maps of the office. Pure.

Fields and reasons are called as in the messages; beside the UTC of a stop is the site's own time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop
from stoep_gateway.publish.messages import encode, utc

__all__ = ["document"]


def document(plan: Plan, config: Config) -> bytes:
    """Return a FeatureCollection; ``feature`` of the properties says what each of them is.

    A "stop", a "left_out" container and a "place" are points, a "round" is the line of straight
    legs from yard to yard (``"line": "straight"``), null where nothing is driven.
    """
    return encode(
        {
            "type": "FeatureCollection",
            "site": plan.site,
            "date": plan.date,
            "provisional": plan.provisional,
            "planned_utc": utc(plan.planned_ms),
            "features": list(_Features(plan, config).all()),
        }
    )


class _Features:
    def __init__(self, plan: Plan, config: Config) -> None:
        self._plan = plan
        self._timezone = config.timezone
        self._containers = {it.id: it for it in config.containers}
        self._places = {it.id: it for it in config.places}
        self._depots = {it.id: it.depot for it in config.trucks}

    def all(self) -> Iterable[dict[str, Any]]:
        for it in self._plan.rounds:
            yield self._round(it)
            for stop in it.stops:
                yield self._stop(it, stop)
        for name, left_out in (("deferred", self._plan.deferred), ("skipped", self._plan.skipped)):
            for one in left_out:
                yield self._left_out(name, one)
        for place in self._places.values():
            said = {
                "name": place.name or place.id,
                "kind": place.kind,
                "open": _hours([place.open]),
            }
            at = _position(place.lat, place.lon)
            yield _feature(f"place/{place.id}", "place", _point(at), {"id": place.id} | said)

    def _round(self, it: Round) -> dict[str, Any]:
        line = [_position(stop.lat, stop.lon) for stop in it.stops]
        yard = self._places.get(self._depots.get(it.truck, ""))
        if yard is not None and line:
            at = _position(yard.lat, yard.lon)
            line = [at, *line, at]
        geometry = {"type": "LineString", "coordinates": line} if len(line) > 1 else None
        said = asdict(it)
        del said["stops"]
        said |= {"line": "straight", "distance_source": self._plan.distance_source}
        return _feature(f"round/{it.truck}", "round", geometry, said)

    def _stop(self, it: Round, stop: Stop) -> dict[str, Any]:
        said = {"truck": it.truck} | asdict(stop)
        del said["lat"], said["lon"]
        eta = datetime.datetime.fromisoformat(stop.eta_utc).astimezone(self._timezone)
        said["eta_local"] = eta.isoformat(timespec="minutes")
        said |= self._container(stop.id if stop.action == "empty" else "")
        name = f"round/{it.truck}/{stop.sequence}"
        return _feature(name, "stop", _point(_position(stop.lat, stop.lon)), said)

    def _left_out(self, name: str, it: LeftOut) -> dict[str, Any]:
        container = self._containers.get(it.container)
        geometry = None if container is None else _point(_position(container.lat, container.lon))
        said = {"list": name, "id": it.container} | asdict(it) | self._container(it.container)
        del said["container"]
        return _feature(f"{name}/{it.container}", "left_out", geometry, said)

    def _container(self, name: str) -> dict[str, Any]:
        """Return what a dispatcher wants to know of a container besides."""
        it: ContainerConfig | None = self._containers.get(name)
        if it is None:
            return {}
        said: dict[str, Any] = {"name": it.name or it.id, "windows": _hours(it.windows)}
        fields = ("kind", "fraction", "capacity_l", "side", "trucks")
        return said | {field: getattr(it, field) for field in fields}


def _feature(
    name: str, kind: str, geometry: dict[str, Any] | None, said: dict[str, Any]
) -> dict[str, Any]:
    properties = {"feature": kind} | said
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": properties}


def _point(at: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Point", "coordinates": at}


def _position(lat: float, lon: float) -> tuple[float, float]:
    return round(lon, 6), round(lat, 6)


def _hours(windows: Iterable[Any]) -> list[str]:
    return [f"{it[0]:%H:%M}-{it[1]:%H:%M}" for it in windows if it is not None]
