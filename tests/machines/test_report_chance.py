"""What chance makes of a sum, by other people's statistics and over weeks whose truth is known."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import optimize, stats
from stoep_gateway.backtest import town
from stoep_gateway.backtest.waste import Waste
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.report import chance, waste
from stoep_gateway.report.chance import Interval, Table

CONTAINERS = 12


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12, 51, 300])
@pytest.mark.parametrize("share", [0.75, 0.95, 0.995])
def test_student_s_t_is_scipy_s(freedom: int, share: float) -> None:
    assert chance.t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom))


@pytest.mark.parametrize("seed", range(5))
def test_levels_that_never_fall_are_scipy_s(seed: int) -> None:
    source = random.Random(seed)
    levels = [source.gauss(number / 3, 4) for number in range(40)]
    expected = optimize.isotonic_regression(levels).x
    assert waste.never_falling(levels) == pytest.approx(list(expected))


def _mean(table: Table) -> Interval:
    (found,) = chance.intervals([table], [lambda sums: sums[:, 0]], paired=True)
    return found


def test_the_interval_of_many_weeks_is_that_of_student() -> None:
    weeks = np.random.default_rng(1).normal(100, 20, 26)
    found = _mean(weeks.reshape(1, 26, 1))
    half = stats.t.ppf(0.95, 25) * weeks.std(ddof=1) * math.sqrt(26)
    assert found.value == pytest.approx(weeks.sum())
    assert found.high is not None
    assert found.low is not None
    assert found.high - found.value == pytest.approx(half, rel=0.08)
    assert found.value - found.low == pytest.approx(half, rel=0.08)


def test_the_same_seed_gives_the_same_interval_and_one_week_none() -> None:
    table = np.random.default_rng(2).normal(5, 1, (3, 6, 1))
    assert _mean(table) == _mean(table)
    assert _mean(table[:, :1]) == Interval(pytest.approx(table[:, :1].sum()))


def test_weeks_that_are_alike_by_luck_leave_the_doubt_of_their_containers() -> None:
    # What one container has more in a week the other has less: the sum never differs.
    table = np.array([[12.0, 8.0, 12.0, 8.0], [8.0, 12.0, 8.0, 12.0]]).reshape(2, 4, 1)
    found = _mean(table)
    assert found.value == 80
    assert found.low is not None
    assert 55 < found.low < 75
    # That containers differ is no doubt of what all of them come to.
    table = np.array([[50.0] * 4, [2.0] * 4]).reshape(2, 4, 1)
    assert _mean(table) == pytest.approx((208, 208, 208))


def test_paired_weeks_that_are_alike_leave_no_doubt_and_others_do() -> None:
    weeks = np.random.default_rng(3).normal(100, 30, (1, 8, 1))
    both = [weeks + 7, weeks]

    def difference(one: Table, other: Table) -> Table:
        return one[:, 0] - other[:, 0]

    (paired,) = chance.intervals(both, [difference], paired=True)
    assert paired == pytest.approx((56, 56, 56))
    (apart,) = chance.intervals(both, [difference], paired=False)
    assert apart.value == pytest.approx(56)
    assert apart.low is not None
    assert apart.low < 0


def _costs(came: Waste, names: Sequence[str], days: int, *, limit_pct: float | None) -> Table:
    """Return euros by container and week: of emptying weekly, or whenever it is so full."""
    costs = np.zeros((len(names), days // 7, 1))
    for row, name in enumerate(names):
        base = 0.0
        for day in range(days):
            now = came.until(name, came.start_ms + day * DAY_MS)
            full = now - base >= 100
            if day % 7 == row % 7 if limit_pct is None else now - base >= limit_pct:
                costs[row, day // 7, 0] += 30
                base = now
            costs[row, day // 7, 0] += 30 * full
    return costs


@pytest.mark.parametrize("weeks", [4, 8])
def test_the_interval_holds_the_known_truth_as_often_as_it_says(weeks: int) -> None:
    held, told_wrong, count = 0, 0, 0
    names = [f"c{number}" for number in range(CONTAINERS)]
    for seed in (1, 2):
        days = 7 * 100
        came = town.waste(seed, names, days)
        fixed = _costs(came, names, days, limit_pct=None)
        ours = _costs(came, names, days, limit_pct=80)
        saved = (fixed - ours)[:, 2:]
        truth = saved.sum() / saved.shape[1] * weeks
        for first in range(0, saved.shape[1] - weeks + 1, weeks):
            found = _mean(saved[:, first : first + weeks])
            assert found.low is not None
            assert found.high is not None
            held += found.low <= truth <= found.high
            told_wrong += found.low > 0 > truth or found.high < 0 < truth
            count += 1
    # Nine in ten, and rather more: the wider of two is taken.
    assert 0.88 <= held / count <= 1
    assert told_wrong <= 0.05 * count


def _measured(seed: int) -> tuple[list[tuple[int, float]], list[int], float]:
    """Return levels with noise by the hour, when it was emptied, and what really came."""
    source = random.Random(seed)
    came = town.waste(seed, ["a"], 28)
    base, levels, emptied = 0.0, [], []
    for hour in range(28 * 24):
        at_ms = came.start_ms + hour * HOUR_MS
        if hour % 24 == 8 and came.until("a", at_ms) - base > 60:
            base = came.until("a", at_ms)
            emptied.append(at_ms)
        if source.random() < 0.85:
            level = came.until("a", at_ms) - base + source.gauss(0, 0.6)
            levels.append((at_ms, max(level, 0.0)))
    return levels, emptied, came.until("a", came.start_ms + 28 * DAY_MS)


@pytest.mark.parametrize("seed", range(4))
def test_noise_and_silence_are_not_taken_for_waste(seed: int) -> None:
    levels, emptied, truth = _measured(seed)
    found = waste.came(levels, emptied, town.START_MS, town.START_MS + 28 * DAY_MS)
    assert found is not None
    assert found.until(town.START_MS + 28 * DAY_MS) == pytest.approx(truth, rel=0.04)
    # Two days of silence: their waste is told by the level afterwards, or by the usual rate.
    gap = town.START_MS + 10 * DAY_MS
    rest = [it for it in levels if not gap <= it[0] < gap + 2 * DAY_MS]
    found = waste.came(rest, emptied, town.START_MS, town.START_MS + 28 * DAY_MS)
    assert found is not None
    assert found.until(town.START_MS + 28 * DAY_MS) == pytest.approx(truth, rel=0.12)


def test_what_comes_while_it_is_full_comes_at_the_usual_rate() -> None:
    # One point an hour; full after 100 hours, emptied after 150, 50 hours more.
    levels = [(hour * HOUR_MS, min(hour, 100) - (100 if hour >= 150 else 0)) for hour in range(150)]
    levels += [(hour * HOUR_MS, float(hour - 150)) for hour in range(150, 201)]
    found = waste.came(levels, [150 * HOUR_MS], 0, 200 * HOUR_MS)
    assert found is not None
    assert found.until(200 * HOUR_MS) == pytest.approx(200)
    assert waste.came(levels[:20], [], 0, 200 * HOUR_MS) is None  # less than a day


def test_what_nobody_sees_at_night_is_no_waste() -> None:
    # Three points an hour from six to eighteen; full every third day, emptied the morning after.
    levels, level, emptied = [], 0.0, []
    for hour in range(30 * 24):
        if hour % 24 == 7 and level >= 100:
            level = 0.0
            emptied.append(hour * HOUR_MS)
        levels.append((hour * HOUR_MS, min(level, 100.0)))
        level += 3.0 * (6 <= hour % 24 < 18)
    found = waste.came(levels, emptied, 0, 30 * DAY_MS)
    assert found is not None
    assert len(emptied) == 9
    assert found.until(30 * DAY_MS) == pytest.approx(30 * 36, rel=0.03)
