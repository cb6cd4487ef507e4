"""Policies side by side, over towns of several seeds, and what their means tell. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stoep_gateway.backtest import policies
from stoep_gateway.backtest.policies import Policy
from stoep_gateway.backtest.replay import Outcome, learned, replay
from stoep_gateway.backtest.waste import Waste
from stoep_gateway.config import Config

__all__ = ["NAMES", "SCHEDULE", "Figures", "compare", "figures", "table"]

SCHEDULE = "schedule"
NAMES = (SCHEDULE, "biweekly", "weekly", "tuned", "80", "70", "must-go", "ours", "perfect")
MUST_GO_PCT = 10.0


def compare(
    config: Config,
    waste: Waste,
    names: Iterable[str],
    learning_days: int,
    days: int,
    seed: int,
    risk: float,
) -> Iterable[Outcome]:
    """Yield what each policy comes to in one town; ``risk`` is that of the tuned schedule.

    Where no container has a schedule of its own, that policy is left out.
    """
    past = {it.id: waste.of_days(it.id, learning_days) for it in config.containers}
    # The schedule goes on as it was, the others take over from it.
    schedule = policies.tuned(config, past, risk)
    town = learned(config, waste, schedule, learning_days, seed)
    for name in names:
        policy = _policy(name, config, past, risk)
        if policy is None:
            continue
        yield replay(town, policy, days)


def _policy(name: str, config: Config, past: dict[str, list[float]], risk: float) -> Policy | None:
    if name == SCHEDULE:
        return policies.of_schedule(config)
    if name == "biweekly":
        return policies.fixed(config, 14)
    if name == "weekly":
        return policies.fixed(config, 7)
    if name == "tuned":
        return policies.tuned(config, past, risk)
    if name == "must-go":
        return policies.MustGo(MUST_GO_PCT)
    if name in ("ours", "perfect"):
        return policies.Ours(is_perfect=name == "perfect")
    return policies.Threshold(float(name))


@dataclass(frozen=True, slots=True)
class Figures:
    """Means of a policy over towns; ``spread`` is the standard error of ``eur``, None of one."""

    policy: str
    km: float
    hours: float
    emptyings: float
    needless_pct: float
    overflow_days: float
    fill_pct: float
    eur: float
    spread: float | None


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """Return the means of one policy's outcomes in several towns."""
    count = len(outcomes)
    emptyings = sum(it.emptyings for it in outcomes)
    eur = [it.eur for it in outcomes]
    mean = sum(eur) / count
    spread = None
    if count > 1:
        spread = math.sqrt(sum((it - mean) ** 2 for it in eur) / (count - 1) / count)
    return Figures(
        outcomes[0].policy,
        sum(it.km for it in outcomes) / count,
        sum(it.hours for it in outcomes) / count,
        emptyings / count,
        100 * sum(it.needless for it in outcomes) / max(1, emptyings),
        sum(it.overflow_days for it in outcomes) / count,
        sum(it.fill_sum_pct for it in outcomes) / max(1, emptyings),
        mean,
        spread,
    )


def table(rows: Sequence[Figures]) -> list[str]:
    """Return lines for people; the last column is the cost by that of the tuned schedule."""
    base = next((it.eur for it in rows if it.policy.startswith("tuned")), None)
    head = f"{'':24}{'km':>7}{'hours':>7}{'emptied':>9}{'needless':>10}{'overflow':>10}{'fill':>7}"
    lines = [head + f"{'euros':>16}{'of tuned':>10}"]
    for it in rows:
        euros = f"{it.eur:.0f}" + ("" if it.spread is None else f" ± {it.spread:.0f}")
        share = "" if not base else f"{it.eur / base:.2f}"
        lines.append(
            f"{it.policy:24}{it.km:>7.0f}{it.hours:>7.0f}{it.emptyings:>9.0f}"
            f"{it.needless_pct:>8.0f} %{it.overflow_days:>10.0f}{it.fill_pct:>5.0f} %"
            f"{euros:>16}{share:>10}"
        )
    return lines
