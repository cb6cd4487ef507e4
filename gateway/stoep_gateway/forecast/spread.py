"""How far what is thrown in may be from what was expected. Pure.

Of an expected m points the variance is v(m) = noise² + unit·m + vary·m²: what a level is wrong
by, deposits that come one by one, and a rate that is not known or not the same. T(x) = ∫ dx/√v(x)
makes that 1 everywhere, so that errors of any size and horizon are alike, and

    z = T(what came) - T(m)

is about normal. Its quantiles are counted, not assumed. T is monotone, so that whatever grows with
m grows with it in every quantile.
"""

from __future__ import annotations

from math import erfc, exp, log, sqrt

from stoep_gateway.values import value

__all__ = ["NORMAL_95", "Spread"]

NORMAL_95 = 1.6448536269514722
_LEAST_VARY = 1e-3


@value
class Spread:
    """The law of errors; ``low``, ``middle`` and ``high`` are 5, 50 and 95 % quantiles of z.

    noise in points, over 0; unit in points; vary without unit.
    """

    noise: float
    unit: float
    vary: float
    low: float = -NORMAL_95
    middle: float = 0.0
    high: float = NORMAL_95

    def scaled(self, points: float) -> float:
        """Return T of an intake, linear below 0."""
        root = sqrt(self._vary)
        noise = self.noise
        if points < 0:
            return points / noise + log(2 * root * noise + self.unit) / root
        deviation = sqrt(noise * noise + (self.unit + self._vary * points) * points)
        return log(2 * root * deviation + 2 * self._vary * points + self.unit) / root

    def points(self, scaled: float) -> float:
        """Return the intake of which T is given."""
        vary = self._vary
        root = sqrt(vary)
        noise, unit = self.noise, self.unit
        at_zero = log(2 * root * noise + unit) / root
        if scaled < at_zero:
            return (scaled - at_zero) * noise
        y = exp(min(root * scaled, 50.0))
        return ((y - unit) ** 2 - 4 * vary * noise * noise) / (4 * vary * y)

    def quantiles(self, mean: float) -> tuple[float, float, float]:
        """Return the 5, 50 and 95 % quantiles of what comes where ``mean`` is expected."""
        scaled = self.scaled(mean)
        low, middle, high = scaled + self.low, scaled + self.middle, scaled + self.high
        return self.points(low), max(self.points(middle), 0.0), self.points(high)

    def p_at_least(self, points: float, mean: float) -> float:
        """Return the probability that as much comes where ``mean`` is expected.

        Between and beyond the quantiles z is taken as normal, on either side of the middle.
        """
        z = self.scaled(points) - self.scaled(mean) - self.middle
        side = self.high - self.middle if z > 0 else self.middle - self.low
        return 0.5 * erfc(z / side * (NORMAL_95 / sqrt(2)))

    @property
    def _vary(self) -> float:
        return max(self.vary, _LEAST_VARY)
