"""``stoep evaluate forecast``: columns, options, figures; stoep_tools.evaluate.kinds has the terms.

Distances and levels go through `stoep_gateway.insight` and `stoep_gateway.forecast` as live ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stoep_gateway.assets.occasions import calendar
from stoep_gateway.evaluation import insides
from stoep_gateway.evaluation.baselines import NAMES
from stoep_gateway.evaluation.forecasting import (
    OURS,
    THRESHOLD_PCT,
    CollectionUnit,
    DistanceUnit,
    ForecastScore,
    LevelUnit,
    Mean,
)
from stoep_gateway.evaluation.insides import Insides
from stoep_gateway.evaluation.scores import rounded
from stoep_gateway.forecast.calendar import DAY_MS, Calendar
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.kind import Kind
from stoep_gateway.forecast.occasions import Event, Occasions
from stoep_gateway.forecast.outlook import Outlook

__all__ = ["Forecast"]

_LEVEL_PCT = (-50.0, 200.0)
_TITLES = {
    OURS: OURS,
    "persistence": "as now",
    "linear_24h": "last 24 h",
    "ewma_14d": "mean, 14 d",
    "theil_sen_168h": "Theil–Sen",
    "seasonal_8w": "by hour",
    "mean": "mean",
    "rate_x_gap": "rate × gap",
}
_WHEN = {"24h": "after 24 h", "72h": "after 72 h", "collection": "at the next collection"}


class Forecast:
    """The kind of series that forecasts are judged by."""

    description = (
        "Forecast somebody's containers as the gateway does, from what came before, and compare"
        " with what came then, and with what simpler means would have said."
    )
    columns = insides.COLUMNS | {"level_pct": "number", "collected": "flag"}
    sides = {"geometry": insides.SIDE}  # noqa: RUF012 (a constant)
    out = (
        "fill_pct",
        "pct_24h",
        "pct_24h_low",
        "pct_24h_high",
        "p_80_24h",
        "hours_to_80",
        "hours_to_80_low",
        "hours_to_80_high",
        "doubt",
    )
    course = "fill_pct"
    course_top = 100.0

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add what tells how deep containers are, and where."""
        insides.add_options(parser)
        parser.add_argument(
            "--timezone",
            metavar="NAME",
            help="whose days and weekdays count (default: the configuration's, Europe/Amsterdam)",
        )

    def open(
        self,
        options: argparse.Namespace,
        columns: Sequence[str],
        sides: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]],
    ) -> _Run:
        """Begin. Raises ValueError."""
        given = {"level_pct", "distance_mm", "distance_cm"} & set(columns)
        if not given:
            raise ValueError("has no column level_pct, distance_cm or distance_mm")
        if "level_pct" in given and len(given) > 1:
            raise ValueError("has both distances and level_pct; leave one")
        if "collected" in columns and "level_pct" not in given:
            raise ValueError("has collected, so it needs level_pct: how full it was then")
        config = None if options.config is None else insides.load(options.config)
        local = Calendar() if config is None else calendar(config)
        if options.timezone is not None:
            try:
                local = Calendar(ZoneInfo(options.timezone), local.about)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f'there is no time zone "{options.timezone}"') from None
        occasions: dict[str, Occasions | None] = {}
        if config is not None and local.about:
            occasions = insides.by_name(config, lambda it: local.about.get(f"container/{it.id}"))
        known = None
        if "level_pct" not in given:
            known = Insides(options, columns, sides.get("geometry", ()))
        return _Run(Kind(local), known, occasions, collections="collected" in columns)


class _Run:
    def __init__(
        self,
        kind: Kind,
        known: Insides | None,
        occasions: Mapping[str, Occasions | None],
        *,
        collections: bool,
    ) -> None:
        self._kind = kind
        self._known = known
        self._occasions = occasions
        self._collections = collections
        self._units: list[_Judged] = []

    def unit(self, device: str) -> _Levels | _Distances | _Collections:
        unit: _Levels | _Distances | _Collections
        history = History(self._kind, self._occasions.get(device))
        if self._known is not None:
            unit = _Distances(self._known, device, history)
        elif self._collections:
            unit = _Collections(history)
        else:
            unit = _Levels(history)
        self._units.append(unit)
        return unit

    def total(self) -> dict[str, Any]:
        score = ForecastScore()
        for it in self._units:
            score.add(it.score)
        if not self._occasions:
            return {"scores": _scores(score)}
        events = {
            name: {
                "factor": rounded(effect.factor),
                "deviation": rounded(effect.factor * effect.vary**0.5),
                "times": round(times),
            }
            for name, times in self._kind.times().items()
            for effect in (self._kind.effect(Event(name)),)
        }
        return {"scores": _scores(score), "events": events}

    def lines(self, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
        events = [
            ("event", f"{name}: × {it['factor']:.2f} ± {it['deviation']:.2f}, {it['times']} times")
            for name, it in summary.get("events", {}).items()
        ]
        return _lines(summary["scores"]) + events


class _Judged:
    _unit: LevelUnit | CollectionUnit

    @property
    def score(self) -> ForecastScore:
        return self._unit.score

    def summary(self) -> dict[str, Any]:
        return {"scores": _scores(self.score)}


class _Levels(_Judged):
    def __init__(self, history: History) -> None:
        self._unit: LevelUnit = LevelUnit(history)

    def take(self, at_ms: int, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], float | None]:
        true_pct = insides.true_pct(values, None)
        level_pct = values.get("level_pct")
        if level_pct is not None:
            self._unit.take_level(at_ms, _checked(level_pct), true_pct)
        return _cells(self._unit.history, at_ms, level_pct), level_pct


class _Distances(_Judged):
    def __init__(self, known: Insides, device: str, history: History) -> None:
        self._inside = known.of(device)
        self._unit: DistanceUnit = DistanceUnit(self._inside, history)

    def take(self, at_ms: int, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], float | None]:
        unit = self._unit
        unit.take(at_ms, insides.distance_mm(values), insides.true_pct(values, self._inside))
        return _cells(unit.history, at_ms, unit.level_pct), unit.level_pct


class _Collections(_Judged):
    def __init__(self, history: History) -> None:
        self._unit: CollectionUnit = CollectionUnit(history)

    def take(self, at_ms: int, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], float | None]:
        level_pct = values.get("level_pct")
        if level_pct is not None and values.get("collected"):
            self._unit.take(at_ms, _checked(level_pct))
        elif level_pct is not None:
            self._unit.history.take(at_ms, _checked(level_pct))
        return _cells(self._unit.history, at_ms, level_pct), level_pct


def _checked(level_pct: float) -> float:
    low, high = _LEVEL_PCT
    if not low <= level_pct <= high:
        raise ValueError(f"no container is {level_pct:.0f} % full")
    return level_pct


def _cells(history: History, at_ms: int, level_pct: float | None) -> tuple[Any, ...]:
    if history.at_ms is None:
        return (level_pct, *(None,) * (len(Forecast.out) - 1))
    outlook = Outlook(history, at_ms)
    level, hours = outlook.level(at_ms + DAY_MS), outlook.hours_to(THRESHOLD_PCT)
    return (
        level_pct,
        *(round(it, 1) for it in level),
        round(outlook.p_over(THRESHOLD_PCT, at_ms + DAY_MS), 3),
        *(None if it is None else round(it, 1) for it in hours),
        outlook.doubt,
    )


def _scores(score: ForecastScore) -> dict[str, Any] | None:
    if not (score.level or score.found or score.called):
        return None
    rule, forecast = score.rule(), score.forecast()
    at_recall = None if rule[1] is None else score.precision_at(rule[1])
    return {
        "level_24h_mae_pp": _values(score.level),
        "hours_to_80_mae_h": _values(score.hours),
        "collection_mae_pp": _values(score.found),
        "interval_90_pct": {
            name: {"inside": rounded(100 * it.sum / it.count), "width_pp": rounded(width)}
            for name, it in score.inside.items()
            if (width := score.width[name].value()) is not None
        },
        "at_80_within_24h": {
            "asked": score.called.total(),
            "was": sum(count for (_, was), count in score.called.items() if was),
            "rule_65_precision": rounded(rule[0], 3),
            "rule_65_recall": rounded(rule[1], 3),
            "forecast_precision": rounded(forecast[0], 3),
            "forecast_recall": rounded(forecast[1], 3),
            "forecast_precision_at_rules_recall": rounded(at_recall, 3),
        },
    }


def _values(means: Mapping[str, Mean]) -> dict[str, float | None]:
    return {name: rounded(mean.value()) for name, mean in means.items()}


def _lines(scores: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if scores is None:
        return [("forecast", "nothing to compare with yet")]
    lines = []
    levels, hours = scores["level_24h_mae_pp"], scores["hours_to_80_mae_h"]
    for name in (OURS, *NAMES):
        if name in levels:
            later = f"; {hours[name]:.1f} h off when it reached 80 %" if name in hours else ""
            lines.append((_TITLES[name], f"{levels[name]:.2f} points off after 24 h{later}"))
    for name, points in scores["collection_mae_pp"].items():
        lines.append((_TITLES[name], f"{points:.2f} points off at the next collection"))
    for horizon, it in scores["interval_90_pct"].items():
        when = _WHEN[horizon]
        text = f"{it['inside']:.1f} % inside {when}, {it['width_pp']:.1f} points wide"
        lines.append(("interval", text))
    return lines + _calls(scores["at_80_within_24h"])


def _calls(calls: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not calls["was"]:
        return []
    lines = [("at 80 %", f"{calls['was']} of {calls['asked']} times within 24 h")]
    for name, title in (("rule_65", "65 % now"), ("forecast", "P ≥ 50 %")):
        precision, recall = calls[f"{name}_precision"], calls[f"{name}_recall"]
        if precision is not None:
            lines.append(
                (title, f"right {100 * precision:.0f} % of its calls, found {100 * recall:.0f} %")
            )
    if (precision := calls["forecast_precision_at_rules_recall"]) is not None:
        lines.append(
            ("as many", f"right {100 * precision:.0f} %, called so that it finds as the rule does")
        )
    return lines
