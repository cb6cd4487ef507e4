"""Days that are unlike others: when events are, and by what they multiply waste. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stoep_gateway.forecast.calendar import weekday

__all__ = ["Effect", "Event", "Factors", "Occasion", "Occasions", "Timed"]

Timed = tuple[tuple[float, int, int], ...]


class Event(NamedTuple):
    """What makes a day another: its name, and by what it multiplies waste, None: to be learned.

    It does from one time of the day to the other, ``hours_ms``; None: all day.
    """

    name: str
    factor: float | None = None
    hours_ms: tuple[int, int] | None = None


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
        self._varies: dict[int, float] = {}
        self._timed: dict[int, Timed] = {}

    def clear(self) -> None:
        """Ask anew what events do."""
        super().clear()
        self._varies.clear()
        self._timed.clear()

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
        vary = self._varies.get(day)
        if vary is None:
            vary = sum(self._effect(event).vary for event in self.occasions.on(day))
            self._varies[day] = vary
        return vary

    def timed(self, day: int) -> Timed:
        """Return the factors of a day's events that have hours, and those, in ms of the day."""
        timed = self._timed.get(day)
        if timed is None:
            events = self.occasions.on(day)
            timed = tuple(
                (self._effect(event).factor, *event.hours_ms)
                for event in events
                if event.hours_ms is not None
            )
            self._timed[day] = timed
        return timed
