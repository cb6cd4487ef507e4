"""How far what is thrown in may be from what was expected. Pure.

Of an expected m points the variance is v(m) = noise² + unit·m + vary·m²: what a level is wrong
by, deposits that come one by one, and a rate that is not known or not the same. T(x) = ∫ dx/√v(x)
makes that 1 everywhere, so that errors of any size and horizon are alike, and

    z = T(what came) - T(m)

is about normal. Its quantiles are counted, not assumed. T is monotone, so that whatever grows with
m grows with it in every quantile.
"""

from __future__ import annotations

from bisect import bisect_left
from math import erfc, exp, log, sqrt

from stoep_gateway.values import value

__all__ = ["NORMAL", "SHARES", "Spread"]

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
NORMAL = (-1.6448536, -0.6744898, 0.0, 0.6744898, 1.6448536)  # a normal z has these quantiles
_LEAST_VARY = 1e-3


@value
class Spread:
    """The law of errors; ``quantiles`` are those of z at `SHARES`, rising.

    noise in points, over 0; unit in points; vary without unit.
    """

    noise: float
    unit: float
    vary: float
    quantiles: tuple[float, float, float, float, float] = NORMAL

    def wider(self, doubt: float) -> Spread:
        """Return the same with a variance besides, in points²."""
        noise = sqrt(self.noise * self.noise + doubt)
        return Spread(noise, self.unit, self.vary, self.quantiles)

    def scaled(self, points: float) -> float:
        """Return T of an intake, linear below 0."""
        vary = max(self.vary, _LEAST_VARY)
        root = sqrt(vary)
        noise = self.noise
        if points < 0:
            return points / noise + log(2 * root * noise + self.unit) / root
        deviation = sqrt(noise * noise + (self.unit + vary * points) * points)
        return log(2 * root * deviation + 2 * vary * points + self.unit) / root

    def points(self, scaled: float) -> float:
        """Return the intake of which T is given."""
        vary = max(self.vary, _LEAST_VARY)
        root = sqrt(vary)
        noise, unit = self.noise, self.unit
        at_zero = log(2 * root * noise + unit) / root
        if scaled < at_zero:
            return (scaled - at_zero) * noise
        y = exp(min(root * scaled, 50.0))
        return ((y - unit) ** 2 - 4 * vary * noise * noise) / (4 * vary * y)

    def interval(self, mean: float) -> tuple[float, float, float]:
        """Return the 5, 50 and 95 % quantiles of what comes where ``mean`` is expected."""
        scaled = self.scaled(mean)
        low, _, middle, _, high = self.quantiles
        return (
            self.points(scaled + low),
            max(self.points(scaled + middle), 0.0),
            self.points(scaled + high),
        )

    def p_at_least(self, points: float, mean: float) -> float:
        """Return the probability that as much comes where ``mean`` is expected.

        Between the quantiles and beyond them z is that of a normal one, drawn out or together.
        """
        z = self.scaled(points) - self.scaled(mean)
        quantiles = self.quantiles
        at = min(max(bisect_left(quantiles, z), 1), len(quantiles) - 1)
        below, above = quantiles[at - 1], quantiles[at]
        slope = (NORMAL[at] - NORMAL[at - 1]) / (above - below)
        return 0.5 * erfc((NORMAL[at] + (z - above) * slope) / sqrt(2))
