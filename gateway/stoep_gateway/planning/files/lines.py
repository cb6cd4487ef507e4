"""What is said of a stop, on paper and on a screen. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.config_planning import PlaceConfig
from stoep_gateway.planning.files.words import Words
from stoep_gateway.planning.plan import Round, Stop

__all__ = ["Lines", "StopLine", "full"]

Cell = tuple[str, str]  # what is large, and what is small below it


@dataclass(frozen=True, slots=True)
class StopLine:
    """One line of the list; a "yard" has no box to tick, and one that is ``done`` is ticked.

    ``heed`` is what must not be overlooked, ``remark`` begins the room for remarks.
    """

    kind: Literal["empty", "unload", "yard"]
    at: str
    title: str
    number: str = ""
    about: str = ""
    heed: str = ""
    why: str = ""
    full: Cell = ("", "")
    leg: Cell = ("", "")
    remark: str = ""
    done: bool = False


class Lines:
    """Says it of the stops of rounds, with what the configuration knows of the places."""

    def __init__(self, config: Config, words: Words) -> None:
        self._words = words
        self._containers = {it.id: it for it in config.containers}
        self._places = {it.id: it for it in config.places}
        self._trucks = {it.id: it for it in config.trucks}

    def yard(self, it: Round) -> PlaceConfig | None:
        """Return where a round begins and ends, if the truck is still in the configuration."""
        truck = self._trucks.get(it.truck)
        return None if truck is None else self._places.get(truck.depot)

    def all(self, it: Round) -> tuple[StopLine, ...]:
        """Return a round's stops between leaving the yard and being back."""
        words, yard = self._words, self.yard(it)
        place = words("the_yard") if yard is None else yard.name or yard.id
        return (
            StopLine("yard", words.clock(it.leaves_utc), words("leaving", place=place)),
            *(self._stop(it, stop) for stop in it.stops),
            StopLine(
                "yard",
                words.clock(it.return_utc),
                words("home", place=place),
                leg=(words.km(it.return_km), ""),
            ),
        )

    def _stop(self, it: Round, stop: Stop) -> StopLine:
        words = self._words
        leg = words.km(stop.leg_km), f"{words.number(stop.leg_min)}\u00a0min"
        at, number = words.clock(stop.eta_utc), str(stop.sequence)
        if stop.action != "empty":
            site = self._places.get(stop.id)
            hours = self._hours([site.open]) if site is not None and site.open else ""
            return StopLine(
                "unload",
                at,
                words("unload_at", place=stop.name),
                number,
                heed=_joined(self._so_far(stop), words("open_at", hours=hours) if hours else ""),
                why=words(stop.reason),
                leg=leg,
                remark=words("weight"),
                done=stop.status == "done",
            )
        why = words(stop.reason)
        if stop.reason == "overflow_risk" and stop.p_overflow is not None:
            why = words("overflow_chance", chance=words.percent(stop.p_overflow))
        if stop.doubt == "bad_data":  # that an outlook is young says nothing of the level
            why += f"; {words(stop.doubt)}"
        level = full(stop.arrival_pct), self._load(it, stop)
        about, heed = self._about(stop)
        heed = _joined(self._so_far(stop), heed)
        done = stop.status == "done"
        return StopLine("empty", at, stop.name, number, about, heed, why, level, leg, done=done)

    def _so_far(self, stop: Stop) -> str:
        """Return what has become of a stop of a round that has begun."""
        if stop.status == "planned":
            return ""
        at = "" if stop.done_utc is None else " " + self._words.clock(stop.done_utc)
        return self._words(f"stop_{stop.status}") + at

    def _about(self, stop: Stop) -> tuple[str, str]:
        """Return which container it is and where; its hours and side."""
        words = self._words
        container = self._containers.get(stop.id)
        which = [stop.id] if stop.id != stop.name else []
        heed = []
        if container is not None:
            plain = ContainerConfig.model_fields
            which += [
                said
                for field in ("kind", "fraction")
                if (said := getattr(container, field)) != plain[field].default
            ]
            if container.windows:
                heed.append(words("only_at", hours=self._hours(container.windows)))
            if container.side == "near":
                heed.append(words("near_side"))
        return " · ".join([*which, f"{stop.lat:.5f},\u00a0{stop.lon:.5f}"]), _joined(*heed)

    def _hours(self, windows: Iterable[tuple[object, object]]) -> str:
        return f" {self._words('and')} ".join(f"{a:%H:%M}–{b:%H:%M}" for a, b in windows)

    def _load(self, it: Round, stop: Stop) -> str:
        truck = self._trucks.get(it.truck)
        if truck is None:
            return ""
        share = stop.load_after_l / truck.capacity_l
        if truck.capacity_kg is not None and stop.load_after_kg is not None:
            share = max(share, stop.load_after_kg / truck.capacity_kg)
        return self._words("truck_load", load=full(100 * share))


def full(pct: float | None) -> str:
    """Return a level."""
    return "" if pct is None else f"{pct:.0f}\u00a0%"


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
