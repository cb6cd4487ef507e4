"""Days that are unlike others: when events are, and by what they multiply waste. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stoep_gateway.forecast.calendar import weekday

__all__ = ["Effect", "Event", "Factors", "Occasion", "Occasions"]

_LEAST = 1e-6


class Event(NamedTuple):
    """What makes a day another: its name, and by what it multiplies waste, None: to be learned.

    ``hours``, the first and the one after the last of the day, are when it does.
    """

    name: str
    factor: float | None = None
    hours: tuple[float, float] | None = None


class Effect(NamedTuple):
    """By what waste is multiplied, and the variance of that, relative to its square."""

    factor: float
    vary: float


class Occasion(NamedTuple):
    """An event and its days: their numbers, and weekdays from 0 for Monday."""

    event: Event
    days: frozenset[int]
    weekdays: frozenset[int] = frozenset()
    not_on: frozenset[int] = frozenset()

    def falls_on(self, day: int) -> bool:
        """Tell whether it is on a day."""
        return (day in self.days or weekday(day) in self.weekdays) and day not in self.not_on


class Occasions:
    """All ``events`` of some containers, by day."""

    def __init__(self, occasions: Iterable[Occasion]) -> None:
        self._all = tuple(occasions)
        self.events = frozenset(it.event for it in self._all)
        self._found: dict[int, tuple[Event, ...]] = {}

    def on(self, day: int) -> tuple[Event, ...]:
        """Return the events of a day."""
        found = self._found.get(day)
        if found is None:
            found = tuple(it.event for it in self._all if it.falls_on(day))
            self._found[day] = found
        return found


class Factors(dict[int, float]):
    """The factor of any day by its number, as ``effect`` tells of each event; 1 without any."""

    def __init__(self, occasions: Occasions, effect: Callable[[Event], Effect]) -> None:
        super().__init__()
        self.occasions = occasions
        self._effect = effect

    def __missing__(self, day: int) -> float:
        factor = 1.0
        for event in self.occasions.on(day):
            factor *= self._effect(event).factor
        self[day] = factor
        return factor

    def copied(self) -> Factors:
        """Return them as they are now, for good."""
        effects = {event: self._effect(event) for event in self.occasions.events}
        return Factors(self.occasions, effects.__getitem__)

    def vary(self, day: int) -> float:
        """Return by how much a day's factor may be another: its variance, by its square."""
        return sum(self._effect(event).vary for event in self.occasions.on(day))

    def shaped(self, day: int, before: Sequence[float]) -> list[float] | None:
        """Return which share of a day's waste comes before each hour, 25 of them, 24 being 1.

        ``before`` are those of a usual day. None if that day's are the same.
        """
        events = [it for it in self.occasions.on(day) if it.hours is not None]
        if not events:
            return None
        shares = [before[hour + 1] - before[hour] for hour in range(24)]
        for event in events:
            assert event.hours is not None
            first, last = event.hours
            parts = [max(0.0, min(hour + 1, last) - max(hour, first)) for hour in range(24)]
            inside = sum(share * part for share, part in zip(shares, parts, strict=True))
            more = (self._effect(event).factor - 1) * sum(shares) / max(inside, _LEAST)
            shares = [
                share * (1 + max(more, -1.0) * part)
                for share, part in zip(shares, parts, strict=True)
            ]
        total, so_far, shaped = sum(shares) or 1.0, 0.0, [0.0]
        for share in shares:
            so_far += share / total
            shaped.append(min(so_far, 1.0))
        shaped[24] = 1.0
        return shaped
