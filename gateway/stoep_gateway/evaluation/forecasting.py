"""How well a container's levels were forecast, by the gateway and by simpler means. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.evaluation.baselines import HOURS, Baselines
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.forecast.feeding import feed
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.outlook import Outlook
from stoep_gateway.insight import filling
from stoep_gateway.insight.filling import DROP_PCT, FillTrack
from stoep_gateway.insight.levels import Level, likely_pct
from stoep_gateway.insight.readings import ACCEPTED, Reading, judge

__all__ = [
    "OURS",
    "THRESHOLD_PCT",
    "CollectionUnit",
    "DistanceUnit",
    "ForecastScore",
    "ForecastUnit",
    "LevelUnit",
    "Mean",
]

OURS = "forecast"
THRESHOLD_PCT = 80.0
_RULE_PCT = 65.0  # "at 65 % now, so at 80 % tomorrow"
_FULL_PCT = 100.0  # by how much it is beyond is not asked
_HORIZONS_MS = (DAY_MS, 3 * DAY_MS)
_EVERY_MS = 3 * HOUR_MS
_LATE_MS = 2 * HOUR_MS  # a reading that much after its time still tells the level then
FIRST_MS = 28 * DAY_MS  # nothing is asked before
FIRST_COLLECTIONS = 3  # that end a known gap; likewise


@dataclass
class Mean:
    """A mean of numbers as they come."""

    count: int = 0
    sum: float = 0.0

    def add(self, number: float) -> None:
        """Take in a number."""
        self.count += 1
        self.sum += number

    def merge(self, other: Mean) -> None:
        """Take in another's numbers."""
        self.count += other.count
        self.sum += other.sum

    def value(self) -> float | None:
        """Return the mean, None of nothing."""
        return self.sum / self.count if self.count else None


def _means() -> defaultdict[str, Mean]:
    return defaultdict(Mean)


@dataclass
class ForecastScore:
    """Means by method, errors in points and hours.

    ``level``: the absolute error of the level 24 h ahead; ``hours``: that of the hours to 80 %,
    where that was reached within 24 h; ``found``: that of how full it was at a collection.
    ``inside``: the share of levels, as they were told, in the interval, by horizon, and ``width``
    its width.
    ``chances`` counts (percent that it would be at 80 % within 24 h, was it), ``called`` (as the
    rule says, was it).
    """

    level: defaultdict[str, Mean] = field(default_factory=_means)
    hours: defaultdict[str, Mean] = field(default_factory=_means)
    found: defaultdict[str, Mean] = field(default_factory=_means)
    inside: defaultdict[str, Mean] = field(default_factory=_means)
    width: defaultdict[str, Mean] = field(default_factory=_means)
    chances: Counter[tuple[int, bool]] = field(default_factory=Counter)
    called: Counter[tuple[bool, bool]] = field(default_factory=Counter)

    def add(self, other: ForecastScore) -> None:
        """Add another unit's."""
        for name in ("level", "hours", "found", "inside", "width"):
            mine = getattr(self, name)
            for key, mean in getattr(other, name).items():
                mine[key].merge(mean)
        self.chances.update(other.chances)
        self.called.update(other.called)

    def rule(self) -> tuple[float | None, float | None]:
        """Return the precision and recall of the rule."""
        return _precision_recall(self.called)

    def forecast(self, percent: int = 50) -> tuple[float | None, float | None]:
        """Return those of the forecast, if it is called at that probability."""
        called: Counter[tuple[bool, bool]] = Counter()
        for (chance, was), count in self.chances.items():
            called[chance >= percent, was] += count
        return _precision_recall(called)

    def honesty(self) -> tuple[float, float] | None:
        """Return what chances of 10 to 90 % were in the mean, and how often they came, in percent.

        None if there were none.
        """
        unsure = [(it, count) for it, count in self.chances.items() if 10 <= it[0] <= 90]
        total = sum(count for _, count in unsure)
        if not total:
            return None
        said = sum(chance * count for (chance, _), count in unsure) / total
        return said, 100 * sum(count for (_, was), count in unsure if was) / total

    def precision_at(self, recall: float) -> float | None:
        """Return the forecast's precision if it is called so often that it reaches a recall."""
        for percent in range(100, -1, -1):
            precision, reached = self.forecast(percent)
            if reached is not None and reached >= recall:
                return precision
        return None


def _precision_recall(
    called: Counter[tuple[bool, bool]],
) -> tuple[float | None, float | None]:
    right, all_called = called[True, True], called[True, True] + called[True, False]
    all_were = called[True, True] + called[False, True]
    return right / all_called if all_called else None, right / all_were if all_were else None


@dataclass(slots=True)
class _Asked:
    """A forecast that waits for what comes."""

    at_ms: int
    level_pct: float
    highest_pct: float  # since then
    levels: dict[str, float]
    hours: dict[str, float]
    intervals: tuple[tuple[float, float], ...]
    chance: float
    reached_ms: int | None = None
    checked: int = 0  # horizons


class ForecastUnit:
    """One container: its forecasts, each three hours after the one before, and what came.

    What is forecast is compared with later levels, up to the first emptying.
    """

    def __init__(self, history: History) -> None:
        self.score = ForecastScore()
        self._history = history
        self._baselines = Baselines()
        self._asked: deque[_Asked] = deque()
        self._first_ms: int | None = None
        self._next_ms = 0

    def take(
        self, at_ms: int, level_pct: float, true_pct: float | None = None, *, emptied: bool
    ) -> None:
        """Take in a level after the history has, and the true one if it is known.

        ``emptied`` tells whether it was since the level before.
        """
        self._baselines.take(at_ms, level_pct, emptied=emptied)
        true = level_pct if true_pct is None else true_pct
        self._check(at_ms, true, level_pct, emptied=emptied)
        if self._first_ms is None:
            self._first_ms = at_ms
            self._next_ms = at_ms + FIRST_MS
        if at_ms >= self._next_ms and self._history.at_ms == at_ms:
            self._next_ms = at_ms - at_ms % _EVERY_MS + _EVERY_MS
            self._ask(at_ms, level_pct)

    def _ask(self, at_ms: int, level_pct: float) -> None:
        outlook = Outlook(self._history, at_ms)
        forecasts = [outlook.level(at_ms + horizon_ms) for horizon_ms in _HORIZONS_MS]
        hours = outlook.hours_to(THRESHOLD_PCT).expected
        asked = _Asked(
            at_ms,
            level_pct,
            level_pct,
            {OURS: forecasts[0].middle},
            {OURS: min(HOURS if hours is None else hours, HOURS)},
            tuple((it.low, it.high) for it in forecasts),
            outlook.p_over(THRESHOLD_PCT, at_ms + DAY_MS),
        )
        for name, ahead in self._baselines.ahead().items():
            asked.levels[name] = level_pct + float(ahead[23])
            reached = (ahead >= THRESHOLD_PCT - level_pct).argmax()
            never = ahead[reached] < THRESHOLD_PCT - level_pct
            asked.hours[name] = HOURS if never else float(reached) + 1
        self._asked.append(asked)

    def _check(self, at_ms: int, level_pct: float, told_pct: float, *, emptied: bool) -> None:
        for asked in self._asked:
            if emptied or level_pct < asked.highest_pct - DROP_PCT:
                if asked.checked == 0 and asked.reached_ms is not None:
                    self._judge_day(asked)
                asked.checked = len(_HORIZONS_MS)
                continue
            asked.highest_pct = max(asked.highest_pct, level_pct)
            if asked.reached_ms is None and level_pct >= THRESHOLD_PCT:
                asked.reached_ms = at_ms
            while asked.checked < len(_HORIZONS_MS):
                due_ms = asked.at_ms + _HORIZONS_MS[asked.checked]
                if at_ms < due_ms:
                    break
                if at_ms <= due_ms + _LATE_MS:
                    self._judge_level(asked, min(level_pct, _FULL_PCT), min(told_pct, _FULL_PCT))
                if asked.checked == 0:
                    self._judge_day(asked)
                asked.checked += 1
        while self._asked and self._asked[0].checked == len(_HORIZONS_MS):
            self._asked.popleft()

    def _judge_level(self, asked: _Asked, level_pct: float, told_pct: float) -> None:
        score = self.score
        if asked.checked == 0:
            for name, forecast in asked.levels.items():
                score.level[name].add(abs(min(forecast, _FULL_PCT) - level_pct))
        low, high = (min(it, _FULL_PCT) for it in asked.intervals[asked.checked])
        hours = f"{_HORIZONS_MS[asked.checked] // HOUR_MS}h"
        score.inside[hours].add(low <= told_pct <= high)
        score.width[hours].add(high - low)

    def _judge_day(self, asked: _Asked) -> None:
        """Judge whether 80 % was reached in a day, unless it was before or nobody knows."""
        if asked.level_pct >= THRESHOLD_PCT:
            return
        reached_ms = asked.reached_ms
        was = reached_ms is not None and reached_ms <= asked.at_ms + DAY_MS
        if not was and reached_ms is not None and reached_ms > asked.at_ms + DAY_MS + _LATE_MS:
            return  # somewhere in a gap
        score = self.score
        score.chances[round(100 * asked.chance), was] += 1
        score.called[asked.level_pct >= _RULE_PCT, was] += 1
        if was:
            assert reached_ms is not None
            for name, hours in asked.hours.items():
                score.hours[name].add(abs(hours - (reached_ms - asked.at_ms) / HOUR_MS))


class LevelUnit:
    """One container by its levels in percent, as they are: emptyings are found, nothing else."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.level_pct: float | None = None
        self._unit = ForecastUnit(history)
        self._track: FillTrack | None = None
        self._emptied_ms: int | None = None

    @property
    def score(self) -> ForecastScore:
        """Return how good the forecasts were so far."""
        return self._unit.score

    def take_level(self, at_ms: int, level_pct: float, true_pct: float | None = None) -> None:
        """Take in a level, later than all before."""
        if self._track is None:
            self._track = filling.start(at_ms, level_pct)
        else:
            self._track, _ = filling.advance(self._track, at_ms, level_pct)
        self._learn(at_ms, self._track, level_pct, ACCEPTED, true_pct)

    def _learn(
        self,
        at_ms: int,
        track: FillTrack | None,
        level_pct: float | None,
        quality: int,
        true_pct: float | None,
    ) -> None:
        self.level_pct = level_pct
        feed(self.history, track, level_pct, quality)
        if track is not None and level_pct is not None and self.history.at_ms == at_ms:
            emptied = track.emptied_ms != self._emptied_ms
            self._emptied_ms = track.emptied_ms
            self._unit.take(at_ms, level_pct, true_pct, emptied=emptied)


class DistanceUnit(LevelUnit):
    """One by its sensor's distances, which go the way of live ones."""

    def __init__(self, inside: Inside, history: History) -> None:
        super().__init__(history)
        self._inside = inside
        self._level = Level(inside)
        self._count = 0

    def take(self, at_ms: int, distance_mm: int | None, true_pct: float | None = None) -> None:
        """Take in a reading, later than all before; ``distance_mm`` None: no echo."""
        quality, reason = judge(distance_mm, ACCEPTED, 0, self._inside.depth_mm)
        reading, _ = self._level.take(
            Reading(self._count, at_ms, distance_mm, quality, reason, True)
        )
        self._count += 1
        track = self._level.track
        level_pct = likely_pct(self._inside, track, self._level.likely_mm)
        self._learn(at_ms, track, level_pct, reading.quality, true_pct)


class CollectionUnit:
    """One container by a log of its collections: how full it was found, and emptied.

    How full it is the next time is forecast at the time before.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.score = ForecastScore()
        self._fills = Mean()
        self._gaps = Mean()  # of which the levels are known

    def take(self, at_ms: int, found_pct: float) -> None:
        """Take in a collection, later than all before."""
        history, score = self.history, self.score
        before_ms = history.at_ms
        if before_ms is not None:
            gap_h = (at_ms - before_ms) / HOUR_MS
            if self._gaps.count >= FIRST_COLLECTIONS:
                found = min(found_pct, _FULL_PCT)
                level = Outlook(history, before_ms).level(at_ms)
                low, middle, high = (
                    min(it, _FULL_PCT) for it in (level.low, level.middle, level.high)
                )
                rate = self._fills.sum / self._gaps.sum
                score.found[OURS].add(abs(middle - found))
                score.found["mean"].add(abs(self._fills.sum / self._fills.count - found))
                score.found["rate_x_gap"].add(abs(min(rate * gap_h, _FULL_PCT) - found))
                score.inside["collection"].add(low <= found <= high)
                score.width["collection"].add(high - low)
            self._gaps.add(gap_h)
            self._fills.add(found_pct)
        history.emptied(at_ms, None if before_ms is None else found_pct)
