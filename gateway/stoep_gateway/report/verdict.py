"""Did it pay: two sides of one question, the difference, and how sure that is. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.report import chance
from stoep_gateway.report.chance import Interval, OfSums, Table
from stoep_gateway.report.figures import Figures, total
from stoep_gateway.report.sides import Side

__all__ = ["KNOWN_WELL_PCT", "METRICS", "Comparison", "Doubt", "compare"]

Kind = Literal["before", "schedule"]
Answer = Literal["paid", "cost", "unknown"]

Metric = Callable[[Figures], float]
METRICS: dict[str, Metric] = {
    "eur": lambda it: it.eur,
    "eur_rounds": lambda it: it.eur_rounds,
    "eur_overflow": lambda it: it.eur_overflow,
    "overflow_days": lambda it: it.overflow_days,
    "overflow_h": lambda it: it.full_ms / HOUR_MS,
    "emptyings": lambda it: it.emptyings,
    "needless": lambda it: it.needless,
    "km": lambda it: it.km,
    "hours": lambda it: it.hours,
}
_LEAST_SHARE = 2 / 3  # of the containers, whose levels have to be known
_OTHER_WASTE = (0.85, 1.18)  # beyond, two periods are told to differ
_FAR_OTHER_WASTE = (0.67, 1.5)  # beyond, they are not compared
_MOST_UNFIT = 0.1  # of the emptyings, beyond the trucks' days; what more would cost nobody knows
_FEW_WEEKS = 4
_YEAR = 52
KNOWN_WELL_PCT = 90.0
_LEVELS_SETTLE_DAYS = 14


class Doubt(NamedTuple):
    """Why to be careful: a code, and the numbers that its sentence has."""

    code: str
    one: float = 0
    two: float = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was done against what was before, or would have been by the ``kind``.

    ``other`` is scaled to the waste of the period. Differences are what was saved: other less ours.
    ``reasons`` say why nothing can be told, ``doubts`` why to be careful all the same.
    """

    kind: Kind
    ours: Side
    other: Side
    scale: float
    differences: dict[str, Interval]
    answer: Answer
    reasons: tuple[Doubt, ...]
    doubts: tuple[Doubt, ...]
    running_eur: float = 0.0
    more_weeks: int | None = None

    @property
    def saved(self) -> Interval:
        """Return the euros that were saved."""
        return self.differences["eur"]


def compare(
    kind: Kind,
    ours: Side,
    other: Side,
    *,
    containers: int,
    known_pct: float,
    running_eur: float = 0.0,
    settled_days: int = _LEVELS_SETTLE_DAYS,
    seed: int = 0,
) -> Comparison:
    """Return the comparison of two sides with the same containers, of ``containers`` there are.

    ``known_pct`` is for how much of the time their levels were known, ``settled_days`` for how long
    the schedule was followed before its days counted, ``running_eur`` what the sensors and the
    gateway cost in the period.
    """
    paired = kind == "schedule"
    compared = len({name for name, _ in ours.cells})
    ours_waste, other_waste = sum(ours.waste.values()), sum(other.waste.values())
    scale = ours_waste / other_waste if other_waste > 0 else math.nan
    a_day = scale * other.period.days / ours.period.days
    differences = _differences(ours, other, paired, running_eur, seed)
    weeks = min(len(ours.period.weeks()), len(other.period.weeks()))
    reasons = []
    if compared < _LEAST_SHARE * containers or not compared:
        reasons.append(Doubt("levels", compared, containers))
    if ours.period.days < 7 * chance.LEAST_WEEKS or weeks < chance.LEAST_WEEKS:
        reasons.append(Doubt("weeks", weeks))
    elif not paired and not math.isfinite(a_day):
        reasons.append(Doubt("no_waste"))
    elif not paired and not _FAR_OTHER_WASTE[0] <= a_day <= _FAR_OTHER_WASTE[1]:
        reasons.append(Doubt("waste", 100 * (a_day - 1)))
    unfit, emptyings = ours.unfit + other.unfit, figures(ours).emptyings + figures(other).emptyings
    if unfit > _MOST_UNFIT * emptyings:
        reasons.append(Doubt("too_unfit", unfit, emptyings))
    doubts = _doubts(ours, other, paired, a_day, known_pct, settled_days, weeks)
    if containers - compared > 0 and not any(it.code == "levels" for it in reasons):
        doubts.append(Doubt("left_out", containers - compared, containers))
    answer, more = ("unknown", None) if reasons else _answer(differences["eur"], weeks)
    return Comparison(
        kind,
        ours,
        other,
        1.0 if paired else scale,
        differences,
        answer,
        tuple(reasons),
        tuple(doubts),
        running_eur,
        more,
    )


def _answer(saved: Interval, weeks: int) -> tuple[Answer, int | None]:
    """Return what the interval says, and how many more weeks may tell; more than a year: 52."""
    if saved.low is None or saved.high is None:
        return "unknown", None
    if saved.low > 0:
        return "paid", None
    if saved.high < 0:
        return "cost", None
    half = (saved.high - saved.low) / 2
    if half >= abs(saved.value) * math.sqrt(_YEAR / weeks + 1):
        return "unknown", _YEAR
    return "unknown", max(1, math.ceil(weeks * ((half / saved.value) ** 2 - 1)))


def _differences(
    ours: Side, other: Side, paired: bool, running_eur: float, seed: int
) -> dict[str, Interval]:
    tables = [_table(side, paired) for side in (other, ours)]
    weight = float(tables[1][:, :, -1].sum())

    def saved(number: int, off: float) -> OfSums:
        def of_sums(of_other: Table, of_ours: Table) -> Table:
            with np.errstate(divide="ignore", invalid="ignore"):
                each = of_other[:, number] / of_other[:, -1] - of_ours[:, number] / of_ours[:, -1]
            return each * weight - off

        return of_sums

    of_sums = [
        saved(*it) for it in enumerate(running_eur if it == "eur" else 0.0 for it in METRICS)
    ]
    found = chance.intervals(tables, of_sums, paired=paired, seed=seed)
    return dict(zip(METRICS, found, strict=True))


def _table(side: Side, paired: bool) -> Table:
    """Return metrics, and last what they are divided by: days of the same weeks, or waste."""
    names = sorted({name for name, _ in side.cells})
    weeks = side.period.weeks()
    rows = [
        [
            [
                *(metric_of(side.cells[name, number]) for metric_of in METRICS.values()),
                week.days / len(names) if paired else side.waste[name, number],
            ]
            for number, week in enumerate(weeks)
        ]
        for name in names
    ]
    return np.array(rows, dtype=np.float64).reshape(len(names), len(weeks), len(METRICS) + 1)


def _doubts(
    ours: Side,
    other: Side,
    paired: bool,
    a_day: float,
    known_pct: float,
    settled_days: int,
    weeks: int,
) -> list[Doubt]:
    doubts = []
    if not ours.period.whole:
        doubts.append(Doubt("not_over", ours.period.days))
    if chance.LEAST_WEEKS <= weeks < _FEW_WEEKS:
        doubts.append(Doubt("few_weeks", weeks))
    if known_pct < KNOWN_WELL_PCT:
        doubts.append(Doubt("known", known_pct))
    if paired and settled_days < _LEVELS_SETTLE_DAYS:
        doubts.append(Doubt("settling", settled_days))
    if not paired and math.isfinite(a_day) and not _OTHER_WASTE[0] <= a_day <= _OTHER_WASTE[1]:
        doubts.append(Doubt("season", 100 * (a_day - 1)))
    elif not paired and _months(ours) != _months(other):
        doubts.append(Doubt("months"))
    if unfit := ours.unfit + other.unfit:
        doubts.append(Doubt("unfit", ours.unfit, unfit))
    return doubts


def _months(side: Side) -> set[int]:
    return {day.month for day in side.period.dates()}


def figures(side: Side) -> Figures:
    """Return the sum of a side."""
    return total(side.cells.values())


def scaled(amount: float, comparison: Comparison, *, other: bool) -> float:
    """Return an amount of a side as it is compared: the other's by the waste of the period."""
    return amount * comparison.scale if other else amount


def by_week(side: Side, metric: str) -> Sequence[float]:
    """Return a metric of each week."""
    sums = [0.0] * len(side.period.weeks())
    for (_, number), it in side.cells.items():
        sums[number] += METRICS[metric](it)
    return sums
