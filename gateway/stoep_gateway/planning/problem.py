"""A day's rounds as one routing problem in money, and what a tour of it costs. Pure.

Money is an integer of hundred-thousandths of a euro. Time is in seconds after the moment from
which rounds may begin. A tour is a tuple of numbers: a visit's, or ``~d`` for unloading at disposal
site ``d``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "EVER_S",
    "MONEY_PER_EUR",
    "Course",
    "Disposal",
    "Leg",
    "Problem",
    "Tour",
    "Truck",
    "Visit",
]

MONEY_PER_EUR = 100_000
EVER_S = 10**8  # later than any round

Tour = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Visit:
    """A container that may be emptied: at ``place`` (a row of the matrices), for its ``prize``.

    ``load_l`` is in litres of loose waste. Service begins within one of the ``windows``, if there
    are any, and is done by one of the ``trucks``, or by any (None). A ``required`` visit is left
    out only if the trucks cannot do it.
    """

    place: int
    service_s: int
    load_l: int
    load_kg: int = 0
    prize: int = 0
    required: bool = False
    windows: tuple[tuple[int, int], ...] = ()
    trucks: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Disposal:
    """A place to unload at; unloading begins between opening and closing."""

    place: int
    opens_s: int = 0
    closes_s: int = EVER_S


@dataclass(frozen=True, slots=True)
class Truck:
    """A truck: from ``start`` to ``home`` (rows), by one of its ``disposals`` (numbers) if loaded.

    It leaves no earlier than ``earliest_s``, is home by ``latest_s`` and away for ``shift_s`` at
    most. ``load_l`` and ``load_kg`` are in it already. Costs are money, per metre and per second;
    ``fixed`` is for leaving the yard at all.
    """

    start: int
    home: int
    disposals: tuple[int, ...]
    capacity_l: int
    unload_s: int
    shift_s: int
    per_m: int
    per_s: int
    fixed: int = 0
    capacity_kg: int | None = None
    longest_m: int | None = None
    earliest_s: int = 0
    latest_s: int = EVER_S
    load_l: int = 0
    load_kg: int = 0


@dataclass(frozen=True, slots=True)
class Leg:
    """The way to the next stop, what is done there, and what is in the truck after it."""

    metres: int
    seconds: int
    arrives_s: int
    begins_s: int
    leaves_s: int
    load_l: int
    load_kg: int


@dataclass(frozen=True, slots=True)
class Course:
    """A truck's tour worked out: a leg per stop and the one home, totals, its cost.

    ``faults`` names the rules that it breaks: capacity, weight, window, truck, shift, late, range,
    loaded (it comes home with waste).
    """

    legs: tuple[Leg, ...]
    leaves_s: int
    metres: int
    seconds: int
    cost: int
    faults: frozenset[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Metres and seconds from every place to every other, the visits, the sites, the trucks."""

    metres: Sequence[Sequence[int]]
    seconds: Sequence[Sequence[int]]
    visits: Sequence[Visit]
    disposals: Sequence[Disposal]
    trucks: Sequence[Truck]

    def course(self, number: int, tour: Tour, *, early: bool = False) -> Course:
        """Return what truck ``number`` does in its tour, leaving as late as costs no time.

        ``early``: it leaves as early as it may, and waits.
        """
        earliest_s = self.trucks[number].earliest_s
        course = self._drive(number, tour, earliest_s)
        if early:
            return course
        waited_s, late_by_s = 0, EVER_S
        for stop, leg in zip(tour, course.legs, strict=False):
            waited_s += leg.begins_s - leg.arrives_s
            closes_s = self._window(stop, leg.arrives_s)[1]
            late_by_s = min(late_by_s, waited_s + max(0, closes_s - leg.begins_s))
        delay_s = min(waited_s, late_by_s)
        return self._drive(number, tour, earliest_s + delay_s) if delay_s else course

    def place(self, stop: int) -> int:
        """Return the row of the matrices at which a tour's stop is."""
        return self.disposals[~stop].place if stop < 0 else self.visits[stop].place

    def closes_s(self, stop: int) -> int:
        """Return the last moment at which somebody may begin at a stop."""
        if stop < 0:
            return self.disposals[~stop].closes_s
        return max((late_s for _, late_s in self.visits[stop].windows), default=EVER_S)

    def cost(self, tours: Sequence[Tour]) -> int:
        """Return the money that the tours cost, with the prizes of all visits left out."""
        visited = {stop for tour in tours for stop in tour}
        left = sum(it.prize for number, it in enumerate(self.visits) if number not in visited)
        return left + sum(self.course(*it).cost for it in enumerate(tours))

    def _window(self, stop: int, arrives_s: int) -> tuple[int, int]:
        """Return the window of a stop in which somebody who arrives then begins."""
        if stop < 0:
            site = self.disposals[~stop]
            return site.opens_s, site.closes_s
        windows = self.visits[stop].windows
        if not windows:
            return 0, EVER_S
        return next((it for it in windows if arrives_s <= it[1]), windows[-1])

    def _drive(self, number: int, tour: Tour, leaves_s: int) -> Course:
        truck = self.trucks[number]
        capacity_kg = truck.capacity_kg
        at, now_s, metres = truck.start, leaves_s, 0
        load_l, load_kg = truck.load_l, truck.load_kg
        legs, faults = [], set()
        for stop in (*tour, None):
            if stop is None:
                to, service_s, opens_s, closes_s = truck.home, 0, 0, EVER_S
            else:
                to = self.place(stop)
                opens_s, closes_s = self._window(stop, now_s + self.seconds[at][to])
                service_s = truck.unload_s if stop < 0 else self.visits[stop].service_s
            leg_m, leg_s = int(self.metres[at][to]), int(self.seconds[at][to])
            metres += leg_m
            arrives_s = now_s + leg_s
            begins_s = max(arrives_s, opens_s)
            if begins_s > closes_s:
                faults.add("window")
            now_s = begins_s + service_s
            if stop is None:
                if load_l or load_kg:
                    faults.add("loaded")
            elif stop < 0:
                load_l = load_kg = 0
                if ~stop not in truck.disposals:
                    faults.add("truck")
            else:
                visit = self.visits[stop]
                load_l += visit.load_l
                load_kg += visit.load_kg
                if visit.trucks is not None and number not in visit.trucks:
                    faults.add("truck")
            if load_l > truck.capacity_l:
                faults.add("capacity")
            if capacity_kg is not None and load_kg > capacity_kg:
                faults.add("weight")
            legs.append(Leg(leg_m, leg_s, arrives_s, begins_s, now_s, load_l, load_kg))
            at = to
        seconds = now_s - leaves_s
        if seconds > truck.shift_s:
            faults.add("shift")
        if now_s > truck.latest_s:
            faults.add("late")
        if truck.longest_m is not None and metres > truck.longest_m:
            faults.add("range")
        cost = metres * truck.per_m + seconds * truck.per_s + (truck.fixed if tour else 0)
        return Course(
            tuple(legs), leaves_s, metres, seconds, cost if tour else 0, frozenset(faults)
        )
