"""``stoep evaluate bays``: recorded magnetic fields through the detector that runs on the boards.

A row is a look, as a device takes one in a wake; or, with ``--fields``, so many rows are, as the
device takes that many single measurements and decides when they are alike.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stoep_firmware.drivers.lis3mdl import SATURATED
from stoep_firmware.sensing.bay import Bay, settled
from stoep_firmware.settings import Settings
from stoep_protocol.schema import (
    BASELINE_DRIFTED,
    FREE,
    NEIGHBOUR_SUSPECTED,
    OCCUPIED,
    UNCERTAIN,
)

from stoep_tools.evaluate.kinds import Cell, SideRow, Type, Values
from stoep_tools.evaluate.series import utc

__all__ = ["BayScore", "Bays", "Change", "match"]

COUNTS_PER_UT = 68.42  # of a LIS3MDL at 4 gauss, as the boards set it; the detector's unit
_COUNTS_PER_MT = 68_420
_UT = {"counts": 1 / COUNTS_PER_UT, "ut": 1.0, "nt": 0.001, "mgauss": 0.1}
_STRONGEST_COUNTS = 1 << 17  # the detector's arithmetic goes no farther
_BURST_MS = 1_000  # measurements that are farther apart are not of one look
_TEMPERATURES_C = (-60.0, 125.0)
_STATES = {FREE: "free", OCCUPIED: "occupied", UNCERTAIN: "uncertain"}
_FLAGS = {NEIGHBOUR_SUSPECTED: "neighbour_suspected", BASELINE_DRIFTED: "baseline_drifted"}
_COURSE = {FREE: 0.0, OCCUPIED: 1.0, UNCERTAIN: 0.5}
_SHOWN = 4
_HELD_MS = 3_600_000  # a row says no more of what came after
EARLY_MS = 120_000  # who notes the truth may be late
LATE_MS = 900_000

Field = tuple[int, int, int]


class Change(NamedTuple):
    """From ``at_ms`` on the bay is occupied, or free."""

    at_ms: int
    occupied: bool


@dataclass
class BayScore:
    """How long, in ms, was true and said what, and changes; what is uncertain is not right."""

    occupied_ms: int = 0
    occupied_right_ms: int = 0
    free_ms: int = 0
    free_right_ms: int = 0
    uncertain_ms: int = 0
    changes: int = 0
    found: int = 0
    false: int = 0
    latencies_ms: list[int] = field(default_factory=list)

    def add(self, other: "BayScore") -> None:
        """Add another bay's."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def held(self, occupied: bool, state: int, for_ms: int) -> None:
        """Take in how long a truth held, and what was said then."""
        self.uncertain_ms += for_ms * (state == UNCERTAIN)
        if occupied:
            self.occupied_ms += for_ms
            self.occupied_right_ms += for_ms * (state == OCCUPIED)
        else:
            self.free_ms += for_ms
            self.free_right_ms += for_ms * (state == FREE)

    def balanced_accuracy(self) -> float | None:
        """Return the mean of both shares of right time; None unless there was time of both."""
        if not self.occupied_ms or not self.free_ms:
            return None
        occupied = self.occupied_right_ms / self.occupied_ms
        return (occupied + self.free_right_ms / self.free_ms) / 2

    def summary(self) -> dict[str, Any] | None:
        """Return the figures, for JSON."""
        if not self.occupied_ms + self.free_ms:
            return None
        accuracy = self.balanced_accuracy()
        latencies_s = [it / 1000 for it in self.latencies_ms]
        return {
            "balanced_accuracy": None if accuracy is None else round(accuracy, 4),
            "occupied_h": _hours(self.occupied_ms),
            "occupied_right_h": _hours(self.occupied_right_ms),
            "free_h": _hours(self.free_ms),
            "free_right_h": _hours(self.free_right_ms),
            "uncertain_h": _hours(self.uncertain_ms),
            "changes": self.changes,
            "changes_found": self.found,
            "changes_false": self.false,
            "latency_median_s": statistics.median(latencies_s) if latencies_s else None,
            "latency_max_s": max(latencies_s, default=None),
        }


def match(told: Sequence[Change], truth: Sequence[Change], score: BayScore) -> None:
    """Compare changes that were told with those that were; both in order of time.

    One is found if it is told, to the same state, from `EARLY_MS` before to `LATE_MS` after and
    before the next one; whatever else was told is false.
    """
    first = found = 0
    for n, due in enumerate(truth):
        until_ms = due.at_ms + LATE_MS
        if n + 1 < len(truth):
            until_ms = min(until_ms, truth[n + 1].at_ms)
        while first < len(told) and told[first].at_ms < due.at_ms - EARLY_MS:
            first += 1
        at = first
        while at < len(told) and told[at].at_ms < until_ms:
            if told[at].occupied == due.occupied:
                found += 1
                score.latencies_ms.append(max(told[at].at_ms - due.at_ms, 0))
                first = at + 1
                break
            at += 1
    score.changes += len(truth)
    score.found += found
    score.false += len(told) - found


class Bays:
    """The kind of series that bays make."""

    description = (
        "Run recorded magnetic fields of parking bays through the detector that runs on the"
        " boards: the states, the changes, and how well that is where the truth is known."
    )
    columns: Mapping[str, Type] = {
        "x": "number",
        "y": "number",
        "z": "number",
        "temperature_c": "number",
        "occupied": "flag",
    }
    sides: Mapping[str, tuple[Mapping[str, Type], str]] = {}
    out: Sequence[str] = ("x_counts", "y_counts", "z_counts", "state", "change_count", "reason")
    course = "occupied"
    course_top = 1.0

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add what tells the field's unit and the detector's threshold."""
        parser.add_argument(
            "--unit", choices=_UT, default="ut", help="of x, y and z (default: ut, microtesla)"
        )
        parser.add_argument(
            "--counts-per-ut",
            type=float,
            default=COUNTS_PER_UT,
            metavar="N",
            help="with --unit counts (default: %(default)s, a LIS3MDL at 4 gauss)",
        )
        threshold_ut = _default_threshold_nt() / 1000
        parser.add_argument(
            "--threshold-ut",
            type=float,
            default=threshold_ut,
            metavar="UT",
            help="the change of the field that is a car (default: %(default)s)",
        )
        parser.add_argument(
            "--fields",
            type=int,
            default=1,
            metavar="N",
            help="so many rows, less than a second apart, are one look; 6 on a device (default: 1)",
        )

    def open(
        self,
        options: argparse.Namespace,
        columns: Sequence[str],
        sides: Mapping[str, Sequence[SideRow]],
    ) -> "_Run":
        """Begin. Raises ValueError."""
        for name in ("x", "y", "z"):
            if name not in columns:
                raise ValueError(f'has no column "{name}"')
        if not 0 < options.counts_per_ut < 1e6:
            raise ValueError("--counts-per-ut is more than 0")
        if not 0.1 <= options.threshold_ut <= 1000:
            raise ValueError("--threshold-ut is from 0.1 to 1000")
        if not 1 <= options.fields <= 1000:
            raise ValueError("--fields is from 1 to 1000")
        ut = 1 / options.counts_per_ut if options.unit == "counts" else _UT[options.unit]
        threshold = round(options.threshold_ut * 1000) * _COUNTS_PER_MT // 1_000_000
        return _Run(ut * COUNTS_PER_UT, threshold, options.fields)


class _Run:
    def __init__(self, factor: float, threshold: int, fields: int) -> None:
        self._arguments = factor, threshold, fields
        self._units: list[_Unit] = []

    def unit(self, device: str) -> "_Unit":
        self._units.append(_Unit(*self._arguments))
        return self._units[-1]

    def total(self) -> dict[str, Any]:
        states: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        score = BayScore()
        for unit in self._units:
            states.update(unit.states)
            reasons.update(unit.reasons)
            score.add(unit.score())
        return {
            "states": dict(states),
            "reasons": dict(reasons.most_common()),
            "changes_told": sum(len(unit.told) for unit in self._units),
            "scores": score.summary(),
        }

    def lines(self, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
        lines = [("states", _counted(summary["states"]))]
        if summary["reasons"]:
            lines.append(("reasons", _counted(summary["reasons"])))
        if "changes" in summary:
            told = summary["changes"]
            shown = [f"{it['time_utc'][:19]}Z {it['state']}" for it in told[:_SHOWN]]
            more = [f"{len(told) - _SHOWN} more (--json)"] if len(told) > _SHOWN else []
            lines.append(("changes", "; ".join([str(len(told)), *shown, *more])))
        else:
            lines.append(("changes", str(summary["changes_told"])))
        return lines + _score_lines(summary["scores"])


class _Unit:
    def __init__(self, factor: float, threshold: int, fields: int) -> None:
        self.states: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.told: list[Change] = []
        self._factor = factor
        self._threshold = threshold
        self._count = fields
        self._bay = Bay()
        self._eighths = 0  # of a degree: the sensor's temperature
        self._fields: list[Field] = []
        self._last_ms = 0
        self._is_occupied = False  # as last said with certainty
        self._truth: list[Change] = []
        self._truly_occupied: bool | None = None
        self._score = BayScore()

    def take(self, at_ms: int, values: Values) -> tuple[Sequence[Cell], float | None]:
        now = self._field(values)
        temperature_c = values.get("temperature_c")
        low, high = _TEMPERATURES_C
        if temperature_c is not None and not low <= temperature_c <= high:
            raise ValueError(f"no sensor measures at {temperature_c:.0f} °C")
        if self._truly_occupied is not None:
            for_ms = min(at_ms - self._last_ms, _HELD_MS)
            self._score.held(self._truly_occupied, self._bay.told(), for_ms)
        if temperature_c is not None:
            self._eighths = round(8 * temperature_c)
        reason = self._look(now, at_ms)
        if reason is not None:
            self.reasons[reason] += 1
        state = self._bay.told()
        self.states[_STATES[state]] += 1
        if state != UNCERTAIN and (state == OCCUPIED) != self._is_occupied:
            self._is_occupied = not self._is_occupied
            self.told.append(Change(at_ms, self._is_occupied))
        self._compare(at_ms, values.get("occupied"))
        return (*now, _STATES[state], self._bay.change_count, reason), _COURSE[state]

    def summary(self) -> dict[str, Any]:
        return {
            "states": dict(self.states),
            "reasons": dict(self.reasons.most_common()),
            "changes": [
                {
                    "time_utc": utc(it.at_ms),
                    "state": _STATES[OCCUPIED if it.occupied else FREE],
                }
                for it in self.told
            ],
            "scores": self.score().summary(),
        }

    def score(self) -> BayScore:
        score = BayScore()
        score.add(self._score)
        if self._truly_occupied is not None:
            match(self.told, self._truth, score)
        return score

    def _look(self, now: Field, at_ms: int) -> str | None:
        """Give the detector what a device would; return what is to be said of the row."""
        if at_ms - self._last_ms > _BURST_MS:
            self._fields = []
        self._last_ms = at_ms
        self._fields.append(now)
        if len(self._fields) < self._count:
            return "gathering"
        still = settled(self._fields, self._threshold)
        if still is None:
            self._fields = self._fields[1:]
            return "moving"
        self._fields = []
        self._bay.update(still, at_ms, self._threshold, self._eighths)
        if max(map(abs, now)) >= SATURATED:
            return "field_saturated"
        return next((name for flag, name in _FLAGS.items() if self._bay.flags & flag), None)

    def _field(self, values: Values) -> Field:
        """Return a row's field in the detector's unit. Raises ValueError."""
        axes = []
        for name in ("x", "y", "z"):
            value = values[name]
            if value is None:
                raise ValueError(f"has no {name}")
            counts = value * self._factor
            if not -_STRONGEST_COUNTS <= counts <= _STRONGEST_COUNTS:
                raise ValueError(f"no magnet is as strong as {name} = {value:g}; see --unit")
            axes.append(round(counts))
        return axes[0], axes[1], axes[2]

    def _compare(self, at_ms: int, occupied: bool | None) -> None:
        before = self._truly_occupied
        if occupied is not None and before is not None and occupied != before:
            self._truth.append(Change(at_ms, occupied))
        self._truly_occupied = before if occupied is None else occupied


def _default_threshold_nt() -> int:
    config: Any = {"kind": "bay"}
    return Settings(config).bay_threshold_nt()


def _hours(ms: int) -> float:
    return round(ms / 3_600_000, 2)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def _score_lines(scores: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if scores is None:
        return []
    right = (
        f"{scores['occupied_right_h']:.1f} of {scores['occupied_h']:.1f} h occupied,"
        f" {scores['free_right_h']:.1f} of {scores['free_h']:.1f} h free;"
        f" {scores['uncertain_h']:.1f} h uncertain"
    )
    lines = [("right", right)]
    if scores["balanced_accuracy"] is not None:
        lines.insert(0, ("accuracy", f"{scores['balanced_accuracy']:.3f} balanced"))
    latency = ""
    if scores["latency_median_s"] is not None:
        median, most = scores["latency_median_s"], scores["latency_max_s"]
        latency = f"; {median:g} s late in the median, {most:g} s at most"
    found = f"{scores['changes_found']} of {scores['changes']} changes"
    lines.append(("found", f"{found}, and {scores['changes_false']} that were none{latency}"))
    return lines
