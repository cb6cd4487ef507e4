"""What emptying each container is worth on a day, in money, and why. Pure.

The prize of a container is what an overflow costs for every day on which it is expected before the
next rounds, and, from some level on, what an emptying has cost of late, the more the fuller it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.config_planning import PlanningConfig, TruckConfig
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.insight.levels import loose_l
from stoep_gateway.planning.problem import MONEY_PER_EUR

__all__ = ["Case", "Decisions", "Known", "Level", "Outlook", "Running", "cases", "obstacle"]

_LEAST_PRIZE = MONEY_PER_EUR // 2
_MEMORY = 200  # emptyings


class Outlook(Protocol):
    """What is to come of a container: see `stoep_gateway.forecast.outlook`."""

    doubt: str | None

    def level(self, at_ms: int, emptyings: Sequence[int] = ...) -> tuple[float, float, float]:
        """Return the level in percent, and its 5 % limits."""

    def p_overflow_before(self, until_ms: int, emptyings: Sequence[int] = ...) -> float:
        """Return the probability that it is full before a time."""


@dataclass(frozen=True, slots=True)
class Known:
    """A container: its last level's time, when it was last emptied, what its press left.

    ``outlook`` is None if no level is known.
    """

    outlook: Outlook | None = None
    at_ms: int = 0
    emptied_ms: int | None = None
    press: tuple[int, float] | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """What an emptying has cost of late, and how full containers were then."""

    emptying_eur: float = 12.0
    fill_pct: float = 70.0

    def after(self, eur: float, fills_pct: Sequence[float]) -> Running:
        """Return the same after rounds that cost so much and emptied containers that full."""
        count = len(fills_pct)
        if not count:
            return self
        weight = min(count / _MEMORY, 0.5)
        return Running(
            self.emptying_eur + weight * (eur / count - self.emptying_eur),
            self.fill_pct + weight * (sum(fills_pct) / count - self.fill_pct),
        )


@dataclass(frozen=True, slots=True)
class Decisions:
    """What people have said of a day: containers by id, trucks by id.

    ``locked`` says which truck has to empty a container. ``skipped`` are those where a driver was
    in vain, ``done`` those that are emptied already.
    """

    included: Set[str] = frozenset()
    excluded: Set[str] = frozenset()
    skipped: Set[str] = frozenset()
    done: Set[str] = frozenset()
    locked: Mapping[str, str] = field(default_factory=dict)
    trucks_out: Set[str] = frozenset()


class Level(NamedTuple):
    """A container when the rounds start: its fill, and what is expected until the next ones.

    ``days_over`` are the days on which it is expected to be full before those.
    """

    outlook: Outlook
    emptyings: Sequence[int]
    fill_pct: float
    expected_pct: float
    p_overflow: float
    days_over: float
    data_age_h: float

    @property
    def doubt(self) -> str | None:
        """Why not to rely on it."""
        return self.outlook.doubt

    def at(self, at_ms: int) -> float:
        """Return the level expected at a time."""
        return self.outlook.level(at_ms, self.emptyings)[0]


@dataclass(frozen=True, slots=True)
class Case:
    """A container on a day; ``level`` None: nothing is known.

    ``reason`` is why it is worth a visit (manual, age, overflow_risk, on_the_way) or is not
    (no_data, too_empty, excluded, skipped, done), which is then not ``wanted``. ``prize`` is money.
    """

    container: ContainerConfig
    reason: str
    level: Level | None
    wanted: bool = False
    required: bool = False
    prize: int = 0
    volume_l: int = 0
    weight_kg: int = 0


def obstacle(truck: TruckConfig, container: ContainerConfig) -> str | None:
    """Return why a truck cannot empty a container, None if it can."""
    if container.trucks and truck.id not in container.trucks:
        return f"only {', '.join(container.trucks)} may come there"
    if truck.kinds and container.kind not in truck.kinds:
        return f"it takes containers of kind {', '.join(truck.kinds)}"
    if truck.fractions and container.fraction not in truck.fractions:
        return f"it takes {', '.join(truck.fractions)}"
    return None


def cases(
    config: Config,
    known: Mapping[str, Known],
    starts_ms: int,
    next_ms: int,
    decisions: Decisions,
    running: Running,
    emptied: Mapping[str, int],
) -> list[Case]:
    """Return every container's case for rounds that start then, the next ones at ``next_ms``.

    ``known`` is by container id, and so is ``emptied``: what an earlier plan empties, and when.
    """
    max_days = {kind.id: kind.max_days for kind in config.kinds}
    kg_per_m3 = {fraction.id: fraction.kg_per_m3 for fraction in config.fractions}
    found = []
    for container in config.containers:
        name = container.id
        facts = known.get(name, Known())
        emptied_ms = emptied.get(name)
        level = None
        if facts.outlook is not None:
            level = _level(facts.outlook, facts.at_ms, starts_ms, next_ms, emptied_ms)
        last_ms = facts.emptied_ms if emptied_ms is None else emptied_ms
        days = container.max_days or max_days.get(container.kind) or config.planning.max_days
        case = _case(
            container,
            config.planning,
            level,
            decisions,
            running,
            is_old=bool(days and last_ms is not None and next_ms - last_ms > days * DAY_MS),
        )
        found.append(_loaded(case, facts, kg_per_m3.get(container.fraction, 0.0)))
    return found


def _level(
    outlook: Outlook, at_ms: int, starts_ms: int, next_ms: int, emptied_ms: int | None
) -> Level:
    emptyings = () if emptied_ms is None else (emptied_ms,)
    # Counted as a city counts: a container that is full at some time of a day, on that day.
    ends = [*range(starts_ms + DAY_MS, next_ms, DAY_MS), next_ms]
    of_days = [outlook.p_overflow_before(end_ms, emptyings) for end_ms in ends]
    return Level(
        outlook,
        emptyings,
        outlook.level(starts_ms, emptyings)[0],
        outlook.level(next_ms, emptyings)[0],
        of_days[-1],
        sum(of_days),
        max(0, starts_ms - at_ms) / HOUR_MS,
    )


def _case(
    container: ContainerConfig,
    planning: PlanningConfig,
    level: Level | None,
    decisions: Decisions,
    running: Running,
    *,
    is_old: bool,
) -> Case:
    name = container.id
    for reason, names in (
        ("done", decisions.done),
        ("skipped", decisions.skipped),
        ("excluded", decisions.excluded),
    ):
        if name in names:
            return Case(container, reason, level)
    overflow_eur = worth_eur = 0.0
    is_risky = False
    if level is not None:
        overflow_eur = planning.eur_per_overflow_day * level.days_over
        is_risky = 100 * level.p_overflow >= planning.must_go_pct
        if level.fill_pct >= planning.prize_from_pct:
            share = level.fill_pct / max(running.fill_pct, 1.0)
            worth_eur = planning.prize_weight * running.emptying_eur * share**planning.prize_power
    prize = round(MONEY_PER_EUR * (overflow_eur + worth_eur))
    if name in decisions.included or name in decisions.locked:
        reason = "manual"
    elif is_old:
        reason = "age"
    elif level is None:
        return Case(container, "no_data", None)
    elif is_risky or overflow_eur > worth_eur:
        reason = "overflow_risk"
    else:
        reason = "on_the_way"
    required = is_risky or reason in ("manual", "age")
    if not required and prize < _LEAST_PRIZE:
        return Case(container, "too_empty", level)
    return Case(container, reason, level, True, required, prize)


def _loaded(case: Case, facts: Known, kg_per_m3: float) -> Case:
    """Return the case with what is in the container; room for a full one if nobody knows."""
    container = case.container
    fill_pct = 100.0 if case.level is None else case.level.fill_pct
    volume_l = max(1, loose_l(container.capacity_l, container.compaction, fill_pct, facts.press))
    weight_kg = round(volume_l * kg_per_m3 / 1000)
    return replace(case, volume_l=volume_l, weight_kg=weight_kg)
