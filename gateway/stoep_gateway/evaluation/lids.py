"""``stoep evaluate flaps``: recorded openings of lids through the model of live ones.

stoep_tools.evaluate.kinds has the terms. What is learned can be handed to the running gateway.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stoep_protocol.schema import SEQUENCE_MODULUS

from stoep_gateway import control_client
from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.control_client import GatewayAway
from stoep_gateway.errors import FatalError
from stoep_gateway.evaluation import insides
from stoep_gateway.evaluation.scores import rounded
from stoep_gateway.insight import flaps
from stoep_gateway.insight.flaps import FlapCount
from stoep_gateway.publish.messages import utc

__all__ = ["Flaps", "LidUnit", "Logged"]

_NEAR_MS = 24 * 3_600_000  # an emptying so long before the first row began the first cycle
_OPENINGS_MAX = 100_000  # of one row
_CAPACITY_L = 100_000
_COLUMNS = {"count": "number", "flaps": "number", "f_cnt": "number", "sequence": "number"}
_SIDES = {
    "emptyings": (
        {"time_utc": "time", "from_pct": "number", "to_pct": "number", "volume_l": "number"},
        "a CSV of device, time_utc, and if known from_pct or volume_l, and to_pct",
    ),
}


class Logged(NamedTuple):
    """An emptying: UTC ms, and the level before and after, None: not known."""

    at_ms: int
    from_pct: float | None
    to_pct: float


class _Lid(NamedTuple):
    id: str
    pool: str
    capacity_l: int
    litres_per_flap: float


class LidUnit:
    """One container's openings so far, with the emptyings that there were, oldest first. Pure."""

    def __init__(
        self, capacity_l: int, litres_per_flap: float, emptyings: Sequence[Logged]
    ) -> None:
        self.count = FlapCount(base_pct=-1.0)
        self.openings = self.emptied = self.compared = 0
        self.error_pct = 0.0
        self.emptied_ms: int | None = None
        self.last_ms = 0
        self._capacity_l = capacity_l
        self._litres = litres_per_flap
        self._left = list(reversed(emptyings))
        self._has_begun = False

    def take(self, at_ms: int, openings: int, f_cnt: int = -1, steps: int = 1) -> float | None:
        """Take in openings up to a time; return the level by them, None before an emptying.

        ``f_cnt`` and ``steps`` are as of a report that comes live, where they are known.
        """
        while self._left and self._left[-1].at_ms <= at_ms:
            self._empty(self._left.pop(), at_ms)
        self._has_begun = True
        self.last_ms = at_ms
        self.openings += openings
        self.count = flaps.counted(self.count, openings, f_cnt, steps)
        return None if self.count.base_pct < 0 else self.level_pct()

    def level_pct(self) -> float:
        """Return the level by what was learned so far."""
        return flaps.estimate(self.count, self._capacity_l, self._litres)[0]

    def litres_per_flap(self) -> float | None:
        """Return what one opening brings by what was learned alone."""
        count = self.count
        return count.points / count.openings * self._capacity_l / 100 if count.openings else None

    def _empty(self, it: Logged, at_ms: int) -> None:
        if not self._has_begun and at_ms - it.at_ms > _NEAR_MS:
            return  # what was opened between is not in the series
        known = it.from_pct is not None and it.from_pct < flaps.FULL_PCT
        if self.count.cycles and known and self.count.base_pct >= 0:
            assert it.from_pct is not None
            self.compared += 1
            self.error_pct += abs(self.level_pct() - it.from_pct)
        self.count = flaps.emptied(self.count, it.to_pct, it.from_pct)
        self.emptied += 1
        self.emptied_ms = it.at_ms


class Flaps:
    """The kind of series that counters on lids make."""

    description = (
        "Learn from recorded openings of lids, and a log of emptyings, what one opening brings, as"
        " the gateway learns it; say how right levels by it would have been."
    )
    columns = _COLUMNS
    sides = _SIDES
    out = ("openings", "fill_pct")
    course = "fill_pct"
    course_top = 100.0
    same_time = True  # two may be opened in one second

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add what tells how large containers are."""
        parser.add_argument("--capacity-l", type=int, metavar="L", help="of all containers")
        parser.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="a gateway's stoep.toml; the series name its containers or their devices",
        )
        parser.add_argument(
            "--store",
            action="store_true",
            help="hand what is learned to the running gateway of --config, in place of what it"
            " knows of these lids",
        )

    def open(
        self,
        options: argparse.Namespace,
        columns: Sequence[str],
        sides: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]],
    ) -> _Run:
        """Begin. Raises ValueError."""
        if {"count", "flaps"} <= set(columns):
            raise ValueError("has both count and flaps; leave one")
        if options.capacity_l is not None and not 0 < options.capacity_l <= _CAPACITY_L:
            raise ValueError(f"--capacity-l is from 1 to {_CAPACITY_L}")
        if options.store and options.config is None:
            raise ValueError("--store needs --config")
        config = None if options.config is None else insides.load(options.config)
        lids = {} if config is None else insides.by_name(config, _lid)
        log: dict[str, list[Logged]] = {}
        for line, row in sides.get("emptyings", ()):
            name, lid = row["device"], lids.get(row["device"])
            capacity_l = options.capacity_l if lid is None else lid.capacity_l
            try:
                logged = _logged(row, capacity_l)
            except ValueError as error:
                raise ValueError(f"{options.emptyings}:{line}: {error}") from None
            log.setdefault(name if lid is None else lid.id, []).append(logged)
        for emptyings in log.values():
            emptyings.sort(key=lambda it: it.at_ms)
        per_row = next((name for name in ("count", "flaps") if name in columns), None)
        return _Run(lids, options.capacity_l, log, per_row, config if options.store else None)


class _Run:
    def __init__(
        self,
        lids: Mapping[str, _Lid],
        capacity_l: int | None,
        log: Mapping[str, Sequence[Logged]],
        per_row: str | None,
        store_in: Config | None,
    ) -> None:
        self._lids = lids
        self._capacity_l = capacity_l
        self._log = log
        self._per_row = per_row
        self._store_in = store_in
        self._units: dict[str, _Unit] = {}

    def unit(self, device: str) -> _Unit:
        lid = self._lids.get(device)
        if lid is None:
            if self._capacity_l is None or self._store_in is not None:
                raise ValueError(
                    f'how large "{device}" is is not known: say --capacity-l, or name its'
                    " container or device in --config"
                )
            lid = _Lid(device, "all", self._capacity_l, flaps.GUESSED_L)
        if lid.id in self._units:
            raise ValueError(f"is of {lid.id} under another name")
        unit = self._units[lid.id] = _Unit(lid, self._log.get(lid.id, ()), self._per_row)
        return unit

    def total(self) -> dict[str, Any]:
        units = self._units.values()
        compared = sum(it.unit.compared for it in units)
        error_pct = sum(it.unit.error_pct for it in units)
        return {
            "openings": sum(it.unit.openings for it in units),
            "emptied": sum(it.unit.emptied for it in units),
            "compared": compared,
            "mae_pp": round(error_pct / compared, 2) if compared else None,
            "litres_per_flap_by_kind": {
                pool: round(litres, 2)
                for pool, litres in flaps.pooled(
                    (it.lid.pool, it.lid.capacity_l, it.unit.count) for it in units
                ).items()
            },
        }

    def lines(self, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
        lines = [("openings", f"{summary['openings']}, emptied {summary['emptied']} x")]
        if (litres := summary.get("litres_per_flap")) is not None:
            points = summary["points_per_flap"]
            lines.append(("learned", f"{litres:g} l or {points:g} points an opening"))
        for pool, litres in summary.get("litres_per_flap_by_kind", {}).items():
            lines.append(("learned", f"{litres:g} l an opening of {pool}"))
        if summary["compared"]:
            error = f"{summary['mae_pp']:g} points at {summary['compared']} emptyings"
            lines.append(("mean error", f"{error}, each by what was learned before"))
        return lines

    def finish(self) -> None:
        """Hand what was learned to the gateway, if that is wanted. Raises ValueError."""
        if self._store_in is None:
            return
        learned = {
            lid_id: {
                "cycles": it.unit.count.cycles,
                "openings": it.unit.count.openings,
                "points": it.unit.count.points,
                "squares": it.unit.count.squares,
                "total": it.unit.count.total,
                "base_pct": max(it.unit.count.base_pct, 0.0),
                "emptied_utc_ms": it.unit.emptied_ms,
                "last_utc_ms": it.unit.last_ms,
            }
            for lid_id, it in self._units.items()
        }
        try:
            with control_client.connect_to(self._store_in) as client:
                answer = client.ask("container.learned", containers=learned)
        except (GatewayAway, FatalError) as error:
            raise ValueError(f"nothing is stored: {error}") from None
        if "error" in answer:
            raise ValueError(f"nothing is stored: {answer['error']}")


class _Unit:
    def __init__(self, lid: _Lid, emptyings: Sequence[Logged], per_row: str | None) -> None:
        self.lid = lid
        self.unit = LidUnit(lid.capacity_l, lid.litres_per_flap, emptyings)
        self._per_row = per_row
        self._sequence: float | None = None

    def take(
        self, at_ms: int, values: Mapping[str, Any]
    ) -> tuple[tuple[int, float | None], float | None]:
        openings = 1.0 if self._per_row is None else values.get(self._per_row)
        f_cnt, steps = -1, 1
        if openings is None:  # an earlier reading of our own exports
            openings, f_cnt = 0.0, self.unit.count.f_cnt
        elif not 0 <= openings <= _OPENINGS_MAX or openings % 1:
            raise ValueError(f"no lid was opened {openings:g} times")
        elif (sequence := values.get("sequence")) is not None and values.get("f_cnt") is not None:
            before = sequence - 1 if self._sequence is None else self._sequence
            f_cnt, steps = int(values["f_cnt"]), int(sequence - before) % SEQUENCE_MODULUS
            self._sequence = sequence
        level_pct = self.unit.take(at_ms, int(openings), f_cnt, steps)
        return (int(openings), level_pct), level_pct

    def summary(self) -> dict[str, Any]:
        unit = self.unit
        litres = unit.litres_per_flap()
        return {
            "capacity_l": self.lid.capacity_l,
            "openings": unit.openings,
            "emptied": unit.emptied,
            "emptied_utc": None if unit.emptied_ms is None else utc(unit.emptied_ms),
            "openings_since": unit.count.total,
            "litres_per_flap": rounded(litres),
            "points_per_flap": None
            if litres is None
            else round(100 * litres / self.lid.capacity_l, 3),
            "compared": unit.compared,
            "mae_pp": round(unit.error_pct / unit.compared, 2) if unit.compared else None,
        }


def _logged(row: Mapping[str, Any], capacity_l: int | None) -> Logged:
    from_pct, volume_l = row.get("from_pct"), row.get("volume_l")
    if from_pct is None and volume_l is not None and capacity_l is not None:
        from_pct = 100 * volume_l / capacity_l
    to_pct = row.get("to_pct") or 0.0
    for level_pct in (from_pct, to_pct):
        if level_pct is not None and not 0 <= level_pct <= 200:
            raise ValueError(f"no container is {level_pct:g} % full")
    if from_pct is not None and to_pct > from_pct:
        raise ValueError(f"from {from_pct:g} to {to_pct:g} % is no emptying")
    return Logged(row["time_utc"], from_pct, to_pct)


def _lid(it: ContainerConfig) -> _Lid:
    return _Lid(it.id, it.pool, it.capacity_l, it.litres_per_flap or flaps.GUESSED_L)
