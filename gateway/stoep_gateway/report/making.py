"""A report put together: what was recorded in, figures and the comparison out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

from stoep_gateway.config import Config
from stoep_gateway.config_days import ScheduledConfig
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.forecast.calendar import DAY_MS
from stoep_gateway.planning.plan import Plan
from stoep_gateway.report import facts, figures, sides, verdict
from stoep_gateway.report.drive import Drive
from stoep_gateway.report.facts import Heard, Seen
from stoep_gateway.report.figures import Cells, Facts, Figures
from stoep_gateway.report.periods import Period
from stoep_gateway.report.sides import Past, Side
from stoep_gateway.report.verdict import Comparison

__all__ = ["WARM_UP_DAYS", "Planned", "Report", "make"]

WARM_UP_DAYS = 28
_MONTH_DAYS = 365.25 / 12


class Planned(NamedTuple):
    """What the plans in force foresaw, on how many days."""

    days: int
    km: float
    hours: float
    eur: float


@dataclass(frozen=True, slots=True)
class Report:
    """All that is told of a period. ``is_costed``: there was a truck to drive the rounds with."""

    site: str
    period: Period
    containers: Sequence[ContainerConfig]
    cells: Cells
    trucks: dict[str, Figures]
    planned: Planned | None
    is_costed: bool
    overflow_day_eur: float
    distances: str
    comparison: Comparison | None


def make(
    config: Config,
    heard: Heard,
    period: Period,
    drive: Drive | None,
    *,
    before: Period | None = None,
    schedule: Mapping[str, ScheduledConfig] | None = None,
    running_eur_per_month: float = 0.0,
    seed: int = 0,
) -> Report:
    """Return the report of a period, compared with one before, or with a schedule.

    Without something to ``drive`` with there are no costs, and so no comparison.
    """
    kept = facts.kept(heard, period)
    heard = facts.believed(heard, period)
    seen = facts.seen(config, heard, period)
    trips = () if drive is None else sides.driven(seen.emptyings, period, drive)[0]
    told = Facts(
        period,
        seen.courses,
        heard.heard_ms,
        heard.false_ms,
        seen.emptyings,
        trips,
        kept,
    )
    comparison = None
    if drive is not None and (before is not None or schedule is not None):
        running_eur = running_eur_per_month * period.days / _MONTH_DAYS
        comparison = _compared(
            config, heard, seen, period, drive, before, schedule, running_eur, seed
        )
    planning = config.planning
    return Report(
        config.site,
        period,
        config.containers,
        figures.cells(config, told),
        figures.of_trucks(told),
        _planned(heard.plans, period),
        drive is not None,
        planning.eur_per_overflow_day,
        "roads" if planning.roads or planning.osrm else "table" if planning.distances else "lines",
        comparison,
    )


def _planned(plans: Sequence[Plan], period: Period) -> Planned | None:
    its = [
        plan
        for plan in plans
        if not plan.provisional and period.first.isoformat() <= plan.date <= period.last.isoformat()
    ]
    rounds = [it for plan in its for it in plan.rounds]
    if not its:
        return None
    return Planned(
        len(its),
        sum(it.km for it in rounds),
        sum(it.hours for it in rounds),
        sum(it.eur for it in rounds),
    )


def _compared(
    config: Config,
    heard: Heard,
    seen: Seen,
    period: Period,
    drive: Drive,
    before: Period | None,
    schedule: Mapping[str, ScheduledConfig] | None,
    running_eur: float,
    seed: int,
) -> Comparison:
    at_ms = [at_ms for of in heard.levels.values() for at_ms, _ in of[:1]]
    settled_days = (
        max(0, min(WARM_UP_DAYS, (period.from_ms - min(at_ms)) // DAY_MS)) if at_ms else 0
    )
    past = facts.past(heard, seen, period, period.from_ms - settled_days * DAY_MS)
    if before is not None:
        earlier = facts.past(heard, seen, before, before.from_ms)
        both = past.came.keys() & earlier.came.keys()
        past, earlier = _only(past, both), _only(earlier, both)
        other = _done(config, seen, before, earlier, drive)
        ours = _done(config, seen, period, past, drive)
        spans = [before, period]
    else:
        assert schedule is not None
        past = _only(past, schedule.keys())
        other = sides.scheduled(config, period, past, schedule, drive)
        ours = _done(config, seen, period, past, drive)
        spans = [period]
    known = (
        min(
            (100 * _known_ms(seen, past, it) / (len(past.came) * (it.to_ms - it.from_ms)))
            for it in spans
        )
        if past.came
        else 0.0
    )
    return verdict.compare(
        "before" if before is not None else "schedule",
        ours,
        other,
        containers=len(config.containers),
        known_pct=known,
        running_eur=running_eur,
        settled_days=settled_days,
        seed=seed,
    )


def _known_ms(seen: Seen, past: Past, period: Period) -> int:
    return sum(seen.courses[it].known_ms(period.from_ms, period.to_ms) for it in past.came)


def _only(past: Past, names: Set[str]) -> Past:
    return replace(past, came={name: past.came[name] for name in past.came if name in names})


def _done(config: Config, seen: Seen, period: Period, past: Past, drive: Drive) -> Side:
    of_them = [it for it in seen.emptyings if it.container in past.came]
    trips, unfit = sides.driven(of_them, period, drive)
    return sides.done(config, period, past, seen.emptied_ms, trips, unfit)
