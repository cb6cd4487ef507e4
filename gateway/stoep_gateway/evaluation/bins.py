"""``stoep evaluate bins``: columns, options and figures; stoep_tools.evaluate.kinds has the terms.

Distances go through `stoep_gateway.insight` as a live device's do.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.evaluation import insides
from stoep_gateway.evaluation.insides import Insides
from stoep_gateway.evaluation.judging import BinUnit
from stoep_gateway.evaluation.scores import BinScore, Emptied, rounded
from stoep_gateway.publish.messages import utc

__all__ = ["Bins"]

_TEMPERATURES_C = (-60.0, 125.0)
_SHOWN = 8

_COLUMNS = insides.COLUMNS | {
    "temperature_c": "number",
    "emptied": "flag",
    "good": "flag",
}
_SIDES = {
    "geometry": insides.SIDE,
    "emptyings": (
        {"time_utc": "time", "from_pct": "number", "to_pct": "number"},
        "a CSV of device and time_utc: when each was emptied; from_pct and to_pct if known",
    ),
}


class Bins:
    """The kind of series that containers make."""

    description = (
        "Run recorded distances of containers through the gateway's own filter: what it makes of"
        " each reading, which emptyings it finds, and how well that is where the truth is known."
    )
    columns = _COLUMNS
    sides = _SIDES
    out = ("distance_mm", "raw_fill_pct", "fill_pct", "quality", "reason", "emptied_utc")
    course = "fill_pct"
    course_top = 100.0

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add what tells how deep containers are."""
        insides.add_options(parser)

    def open(
        self,
        options: argparse.Namespace,
        columns: Sequence[str],
        sides: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]],
    ) -> _Run:
        """Begin. Raises ValueError."""
        if not {"distance_mm", "distance_cm"} & set(columns):
            raise ValueError("has no column distance_cm or distance_mm")
        known = Insides(options, columns, sides.get("geometry", ()))
        emptied: dict[str, list[Emptied]] | None = None
        if "emptyings" in sides:
            emptied = {}
            for _, row in sides["emptyings"]:
                it = Emptied(row["time_utc"], row.get("from_pct"), row.get("to_pct"))
                emptied.setdefault(row["device"], []).append(it)
        return _Run(known, emptied)


class _Run:
    def __init__(
        self,
        known: Insides,
        emptied: Mapping[str, Sequence[Emptied]] | None,
    ) -> None:
        self._known = known
        self._emptied = emptied
        self._units: list[_Unit] = []

    def unit(self, device: str) -> _Unit:
        geometry = self._known.of(device)
        unit = _Unit(geometry, None if self._emptied is None else self._emptied.get(device, ()))
        self._units.append(unit)
        return unit

    def total(self) -> dict[str, Any]:
        qualities: Counter[int] = Counter()
        reasons: Counter[str] = Counter()
        score = BinScore()
        for it in self._units:
            qualities.update(it.unit.qualities)
            reasons.update(it.unit.reasons)
            score.add(it.unit.score())
        return {
            "quality": _by_quality(qualities),
            "reasons": dict(reasons.most_common()),
            "emptyings_told": sum(len(it.unit.emptyings) for it in self._units),
            "scores": _scores(score),
        }

    def lines(self, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
        lines = [("quality", _counted(summary["quality"]))]
        if summary["reasons"]:
            lines.append(("reasons", _counted(summary["reasons"])))
        if false := summary.get("false_distances_mm"):
            lines.append(("false at", ", ".join(f"{it / 10:.0f} cm" for it in false)))
        if "emptyings" in summary:
            told = summary["emptyings"]
            shown = [
                f"{it['time_utc'][:16]}Z {it['from_pct']:.0f}→{it['to_pct']:.0f} %" for it in told
            ]
            more = [f"{len(told) - _SHOWN} more (--json)"] if len(told) > _SHOWN else []
            listed = "".join(f"; {it}" for it in shown[:_SHOWN] + more)
            lines.append(("emptied", f"{len(told)} x{listed}"))
        else:
            lines.append(("emptied", f"{summary['emptyings_told']} x"))
        return lines + _score_lines(summary["scores"])


class _Unit:
    def __init__(self, geometry: Inside, emptied: Sequence[Emptied] | None) -> None:
        self.unit = BinUnit(geometry, emptied)

    def take(self, at_ms: int, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], float | None]:
        distance_mm = insides.distance_mm(values)
        true_pct = insides.true_pct(values, self.unit.geometry)
        temperature_c = values.get("temperature_c")
        low, high = _TEMPERATURES_C
        if temperature_c is not None and not low <= temperature_c <= high:
            raise ValueError(f"no container is at {temperature_c:.0f} °C")
        judged = self.unit.take(
            at_ms,
            distance_mm,
            true_pct,
            good=values.get("good"),
            emptied=values.get("emptied"),
        )
        reading, emptying = judged.reading, judged.emptying
        cells = (
            reading.distance_mm,
            judged.raw_pct,
            judged.fill_pct,
            reading.quality,
            reading.reason,
            None if emptying is None else utc(emptying.at_ms),
        )
        return cells, judged.fill_pct

    def summary(self) -> dict[str, Any]:
        unit = self.unit
        return {
            "depth_mm": unit.geometry.depth_mm,
            "full_mm": unit.geometry.full_mm,
            "quality": _by_quality(unit.qualities),
            "reasons": dict(unit.reasons.most_common()),
            "false_distances_mm": [it.distance_mm for it in unit.false_distances()],
            "emptyings": [
                {"time_utc": utc(it.at_ms), "from_pct": it.from_pct, "to_pct": it.to_pct}
                for it in unit.emptyings
            ],
            "scores": _scores(unit.score()),
        }


def _by_quality(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(quality): counts.get(quality, 0) for quality in (4, 3, 2, 1)}


def _scores(score: BinScore) -> dict[str, Any] | None:
    if not (score.readings or score.good or score.emptyings or score.false):
        return None
    return {
        "compared": score.readings,
        "mae_pp": rounded(score.mae(), 3),
        "raw_mae_pp": rounded(score.raw_mae(), 3),
        "good": score.good,
        "false_reject_pct": rounded(score.false_reject_pct(), 3),
        "emptyings": score.emptyings,
        "emptyings_found": score.found,
        "emptyings_false": score.false,
        "emptyings_missed_utc": [utc(it) for it in sorted(score.missed)],
        "emptying_recall": rounded(score.recall(), 4),
        "emptying_precision": rounded(score.precision(), 4),
    }


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def _score_lines(scores: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if scores is None:
        return []
    lines = []
    if scores["compared"]:
        error = f"{scores['mae_pp']:.2f} points (as it came: {scores['raw_mae_pp']:.2f})"
        lines.append(("mean error", error))
    if scores["good"]:
        share = f"{scores['false_reject_pct']:.2f} % of {scores['good']} good readings"
        lines.append(("rejected", share))
    if scores["emptyings"] or scores["emptyings_false"]:
        found = f"{scores['emptyings_found']} of {scores['emptyings']} emptyings"
        lines.append(("found", f"{found}, and {scores['emptyings_false']} that were none"))
    return lines
