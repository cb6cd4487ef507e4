"""Weeks of a town under one policy, day by day, and what they cost. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stoep_gateway.assets.geometry import inside
from stoep_gateway.backtest.policies import Day, Policy
from stoep_gateway.backtest.sensor import Sensor
from stoep_gateway.backtest.waste import FULL_PCT, Perfect, Waste
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import HOUR_MS, Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.planning import planner, routes
from stoep_gateway.planning.days import round_at
from stoep_gateway.planning.routes import Answer, Question
from stoep_gateway.planning.selection import Known, Running

__all__ = ["Outcome", "replay"]

_READ_EVERY_MS = 4 * HOUR_MS


@dataclass
class Outcome:
    """What the days after the first ones cost. ``overflow_days``: of containers, if full at all."""

    policy: str
    days: int = 0
    km: float = 0.0
    hours: float = 0.0
    emptyings: int = 0
    needless: int = 0  # below half full
    overflow_days: int = 0
    fill_sum_pct: float = 0.0
    eur_of_overflows: float = 0.0
    eur_of_rounds: float = 0.0

    @property
    def eur(self) -> float:
        """Return what it all cost."""
        return self.eur_of_rounds + self.eur_of_overflows


def replay(
    config: Config,
    waste: Waste,
    policy: Policy,
    learning: Policy,
    learning_days: int,
    days: int,
    seed: int,
    *,
    answer: Callable[[Question, Callable[[], bool]], Answer] = routes.answer,
) -> Outcome:
    """Return what ``days`` under a policy cost, after ``learning_days`` under another.

    Days begin at ``planning.at``, and each has its rounds. While learning nothing is routed:
    containers are emptied an hour after that.
    """
    town = _Town(config, waste, seed)
    outcome = Outcome(policy.name, days)
    running = Running()
    begin_ms = round_at(config, waste.start_ms)
    for number in range(learning_days + days):
        next_ms = round_at(config, begin_ms)
        town.watch(begin_ms)
        is_learning = number < learning_days
        acting = learning if is_learning else policy
        day = Day(number, town.known(begin_ms, acting), town.believed(), next_ms)
        decisions = acting.decisions(day)
        if is_learning:
            names = decisions.included if decisions is not None else set[str]()
            town.spend(next_ms, dict.fromkeys(names, begin_ms + HOUR_MS))
        else:
            plan = planner.plan(
                day.known, config, begin_ms, decisions=decisions, running=running, answer=answer
            )
            stops = [it for of_truck in plan.rounds for it in of_truck.stops]
            emptied = {it.id: it.eta_ms for it in stops if it.action == "empty"}
            fills, overflows = town.spend(next_ms, emptied)
            outcome.overflow_days += overflows
            outcome.emptyings += len(fills)
            outcome.needless += sum(it < 50 for it in fills)
            outcome.fill_sum_pct += sum(min(it, FULL_PCT) for it in fills)
            outcome.km += sum(it.km for it in plan.rounds)
            outcome.hours += sum(it.hours for it in plan.rounds)
            eur = sum(it.eur for it in plan.rounds)
            outcome.eur_of_rounds += eur
            outcome.eur_of_overflows += overflows * config.planning.eur_per_overflow_day
            running = running.after(eur, [min(it, FULL_PCT) for it in fills])
        begin_ms = next_ms
    return outcome


class _Town:
    """The containers as they are, and what their sensors have told."""

    def __init__(self, config: Config, waste: Waste, seed: int) -> None:
        self._waste = waste
        self._forecasts = Forecasts(Calendar(config.timezone))
        self._pools = {it.id: it.pool for it in config.containers}
        self._sensors = {
            it.id: Sensor(it.id, it.pool, seed, inside(it), self._forecasts)
            for it in config.containers
        }
        # What had come when it was last emptied, and when that was.
        self._empty_at = dict.fromkeys(self._sensors, 0.0)
        self._emptied_ms = dict.fromkeys(self._sensors, waste.start_ms)
        self._past: dict[str, list[tuple[int, float]]] = {name: [] for name in self._sensors}
        self._read_ms = waste.start_ms

    def level(self, name: str, at_ms: int) -> float:
        """Return how full a container is, since it was last emptied."""
        return self._waste.until(name, at_ms) - self._empty_at[name]

    def watch(self, until_ms: int) -> None:
        """Let the sensors send what they have read until then."""
        while self._read_ms < until_ms:
            at_ms = self._read_ms
            for name, sensor in self._sensors.items():
                base = self._empty_at[name]
                for emptied_ms, before in self._past[name]:
                    if at_ms < emptied_ms:
                        base = before
                        break
                sensor.read(at_ms, self._waste.until(name, at_ms) - base)
            self._read_ms += _READ_EVERY_MS
        for past in self._past.values():
            past.clear()

    def believed(self) -> dict[str, float | None]:
        """Return the levels as the sensors tell."""
        return {name: sensor.believed_pct for name, sensor in self._sensors.items()}

    def known(self, now_ms: int, policy: Policy) -> dict[str, Known]:
        """Return what is known of containers, or all there is to know."""
        found = {}
        for name, sensor in self._sensors.items():
            if policy.is_perfect:
                outlook = Perfect(self._waste, name, now_ms, self.level(name, now_ms))
                found[name] = Known(outlook, now_ms, self._emptied_ms[name])
                continue
            learnt = self._forecasts.outlook(f"container/{name}", self._pools[name], now_ms)
            if learnt is not None and sensor.level.track is not None:
                track = sensor.level.track
                found[name] = Known(learnt, track.at_ms, track.emptied_ms, sensor.level.press)
        return found

    def spend(self, end_ms: int, emptied: dict[str, int]) -> tuple[list[float], int]:
        """Let a day pass; return how full containers were when emptied, and how many overflowed."""
        fills, overflows = [], 0
        for name in self._sensors:
            emptied_ms = emptied.get(name)
            is_full = False
            if emptied_ms is not None:
                fill = self.level(name, emptied_ms)
                fills.append(fill)
                is_full = fill >= FULL_PCT
                self._past[name].append((emptied_ms, self._empty_at[name]))
                self._empty_at[name] = self._waste.until(name, emptied_ms)
                self._emptied_ms[name] = emptied_ms
            overflows += is_full or self.level(name, end_ms) >= FULL_PCT
        return fills, overflows
