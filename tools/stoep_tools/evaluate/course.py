"""What a long series looked like, remembered in little room. Pure."""

import math
from typing import Any

__all__ = ["Course", "Spacing", "sparkline"]

_CELLS = 48
_BLOCKS = "▁▂▃▄▅▆▇█"
_FINEST_MS = 60_000
_PER_OCTAVE = 35  # intervals are told apart by two percent


class Course:
    """The means of a value over equal spans of time, at most `_CELLS` of them."""

    def __init__(self) -> None:
        self.step_ms = _FINEST_MS
        self._begin_ms = 0
        self._sums: list[float] = []
        self._counts: list[int] = []
        self._least = math.inf
        self._most = -math.inf

    def add(self, at_ms: int, value: float) -> None:
        """Take in a value; times do not go back."""
        if not self._sums:
            self._begin_ms = at_ms
        cell = (at_ms - self._begin_ms) // self.step_ms
        while cell >= _CELLS:
            self._sums = [sum(self._sums[n : n + 2]) for n in range(0, len(self._sums), 2)]
            self._counts = [sum(self._counts[n : n + 2]) for n in range(0, len(self._counts), 2)]
            self.step_ms *= 2
            cell = (at_ms - self._begin_ms) // self.step_ms
        more = cell + 1 - len(self._sums)
        if more > 0:
            self._sums += [0.0] * more
            self._counts += [0] * more
        self._sums[cell] += value
        self._counts[cell] += 1
        self._least, self._most = min(self._least, value), max(self._most, value)

    def summary(self) -> dict[str, Any] | None:
        """Return least, mean, most, and the means with the step between them; None if empty."""
        if not self._sums:
            return None
        return {
            "min": round(self._least, 2),
            "mean": round(sum(self._sums) / sum(self._counts), 2),
            "max": round(self._most, 2),
            "step_s": self.step_ms // 1000,
            "means": [
                round(value / count, 2) if count else None
                for value, count in zip(self._sums, self._counts, strict=True)
            ],
        }


def sparkline(means: list[float | None], top: float) -> str:
    """Return a line of blocks; a gap is a space."""
    last = len(_BLOCKS) - 1
    return "".join(
        " " if mean is None else _BLOCKS[round(min(max(mean / top, 0.0), 1.0) * last)]
        for mean in means
    )


class Spacing:
    """How far apart rows are, and so how many are missing.

    The usual interval is the one that occurs most often, within two percent, if half of all are
    like it; an interval that is as long as several has rows missing. Else rows come as they come.
    """

    def __init__(self) -> None:
        self._cells: dict[int, list[int]] = {}  # by the interval's logarithm: count, sum in ms
        self._count = 0

    def add(self, interval_ms: int) -> None:
        """Take in the time between two rows, over 0."""
        cell = self._cells.setdefault(round(_PER_OCTAVE * math.log2(interval_ms)), [0, 0])
        cell[0] += 1
        cell[1] += interval_ms
        self._count += 1

    def usual_ms(self) -> int | None:
        """Return the usual interval, None if there is none."""
        if not self._cells:
            return None
        most = max(self._cells, key=lambda it: self._cells[it][0])
        alike = [self._cells[it] for it in range(most - 1, most + 2) if it in self._cells]
        count = sum(it[0] for it in alike)
        return sum(it[1] for it in alike) // count if 2 * count >= self._count else None

    def missing(self) -> int | None:
        """Return how many rows are missing, None without a usual interval."""
        usual_ms = self.usual_ms()
        if not usual_ms:
            return None
        return sum(
            count * max(round(total_ms / count / usual_ms) - 1, 0)
            for count, total_ms in self._cells.values()
        )
