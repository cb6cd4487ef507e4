"""Weeks of a town under one policy, day by day, and what they cost. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stoep_gateway.assets.geometry import inside
from stoep_gateway.assets.occasions import calendar
from stoep_gateway.backtest.policies import Day, Policy
from stoep_gateway.backtest.sensor import Sensor
from stoep_gateway.backtest.waste import FULL_PCT, Perfect, Waste
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.planning import planner, routes
from stoep_gateway.planning.days import round_at
from stoep_gateway.planning.routes import Answer, Question
from stoep_gateway.planning.selection import Known, Running

__all__ = ["Outcome", "Town", "learned", "replay"]

_READ_EVERY_MS = HOUR_MS  # as boards do that nobody told otherwise


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


def learned(config: Config, waste: Waste, schedule: Policy, days: int, seed: int) -> Town:
    """Return a town after days under a schedule, in which its sensors were heard.

    Nothing is routed meanwhile: containers are emptied an hour after ``planning.at``.
    """
    town = Town(config, waste, seed)
    for _ in range(days):
        town.listen()
        decisions = schedule.decisions(town.day(schedule))
        names = decisions.included if decisions is not None else set[str]()
        town.spend(dict.fromkeys(names, town.begin_ms + HOUR_MS))
    return town


def replay(
    town: Town,
    policy: Policy,
    days: int,
    *,
    answer: Callable[[Question, Callable[[], bool]], Answer] = routes.answer,
) -> Outcome:
    """Return what days of a town under a policy cost; the town stays as it is.

    Days begin at ``planning.at``, and each has its rounds.
    """
    town = town.copy()
    config = town.config
    outcome = Outcome(policy.name, days)
    running = Running()
    for _ in range(days):
        if policy.listens:
            town.listen()
        day = town.day(policy)
        plan = planner.plan(
            day.known,
            config,
            town.begin_ms,
            decisions=policy.decisions(day),
            running=running,
            answer=answer,
        )
        stops = [it for of_truck in plan.rounds for it in of_truck.stops]
        fills, overflows = town.spend({it.id: it.eta_ms for it in stops if it.action == "empty"})
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
    return outcome


class Town:
    """Containers as they are on the morning of a day, and what their sensors have told."""

    def __init__(self, config: Config, waste: Waste, seed: int) -> None:
        self.config = config
        self.begin_ms = round_at(config, waste.start_ms)
        self._number = 0
        self._waste = waste
        self._forecasts = Forecasts(calendar(config))
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

    def copy(self) -> Town:
        """Return the same town, whose days to come are its own."""
        shared = (self.config, self._waste)
        return copy.deepcopy(self, {id(it): it for it in shared})

    def level(self, name: str, at_ms: int) -> float:
        """Return how full a container is, since it was last emptied."""
        return self._waste.until(name, at_ms) - self._empty_at[name]

    def listen(self) -> None:
        """Take in what the sensors have sent until this morning."""
        while self._read_ms < self.begin_ms:
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

    def day(self, policy: Policy) -> Day:
        """Return what a policy may know this morning."""
        believed = {name: sensor.believed_pct for name, sensor in self._sensors.items()}
        known = self._known(policy) if policy.listens or policy.is_perfect else {}
        next_ms = round_at(self.config, self.begin_ms)
        return Day(self._number, known, believed, self.begin_ms, next_ms)

    def _known(self, policy: Policy) -> dict[str, Known]:
        found = {}
        now_ms = self.begin_ms
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

    def spend(self, emptied: Mapping[str, int]) -> tuple[list[float], int]:
        """Let the day pass; return how full containers were when emptied, and how many overflowed.

        ``emptied`` says when (UTC ms), by container.
        """
        fills, overflows = [], 0
        end_ms = round_at(self.config, self.begin_ms)
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
        self._number += 1
        self.begin_ms = end_ms
        return fills, overflows
