"""What is printed of a plan: a sheet for each truck's driver, and one for the office. Pure.

Plan, Config → sheets → Sheet → html.document, pdf.document
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stoep_gateway.config import Config
from stoep_gateway.config_planning import SUMMARY
from stoep_gateway.planning.files import sketch
from stoep_gateway.planning.files.lines import Lines, StopLine, full
from stoep_gateway.planning.files.sketch import Course, Kind, Sketch
from stoep_gateway.planning.files.words import Words
from stoep_gateway.planning.plan import LeftOut, Plan, Round
from stoep_gateway.publish.messages import utc

__all__ = ["Blanks", "Block", "Drawing", "Prose", "Sheet", "Stops", "Table", "sheets"]


@dataclass(frozen=True, slots=True)
class Stops:
    """The list of a round; ``head`` has the names of its seven columns."""

    head: tuple[str, ...]
    lines: tuple[StopLine, ...]
    block: Literal["stops"] = "stops"


@dataclass(frozen=True, slots=True)
class Table:
    """A table for the office; ``numbers`` are the columns that are aligned to the right."""

    title: str
    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[int, ...]  # how wide each column is
    numbers: tuple[int, ...] = ()
    block: Literal["table"] = "table"


@dataclass(frozen=True, slots=True)
class Drawing:
    """The map."""

    title: str
    about: str
    sketch: Sketch
    key: tuple[tuple[int, str], ...] = ()  # which dash is which truck
    block: Literal["drawing"] = "drawing"


@dataclass(frozen=True, slots=True)
class Blanks:
    """Lines to write on."""

    labels: tuple[str, ...]
    block: Literal["blanks"] = "blanks"


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    text: str
    large: bool = False
    block: Literal["prose"] = "prose"


_STATUS = {"planned": "to_drive", "done": "round_done"}

Block = Stops | Table | Drawing | Blanks | Prose


@dataclass(frozen=True, slots=True)
class Sheet:
    """What belongs together on paper; ``name`` is its file's, ``header`` stands on every page.

    ``page`` is a phrase with {page} and {pages}.
    """

    name: str
    language: str
    title: str
    badge: str
    header: str
    page: str
    facts: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]


def sheets(plan: Plan, config: Config, words: Words) -> tuple[Sheet, ...]:
    """Return one sheet for each truck, and the office's, called "summary"."""
    writer = _Writer(plan, config, words)
    return (*(writer.truck(it) for it in plan.rounds), writer.summary())


class _Writer:
    def __init__(self, plan: Plan, config: Config, words: Words) -> None:
        self._plan = plan
        self._words = words
        self._containers = {it.id: it for it in config.containers}
        self._lines = Lines(config, words)

    def truck(self, it: Round) -> Sheet:
        """Return what a driver takes along."""
        words = self._words
        title = words("round_of", truck=it.truck)
        if not it.stops:
            return self._sheet(it.truck, title, (), (Prose(words(it.status), large=True),))
        facts = (
            (words("leaves"), words.clock(it.leaves_utc)),
            (words("back"), words.clock(it.return_utc)),
            (words("containers"), str(it.containers)),
            (words("unloads"), f"{it.unloads}\u00a0×"),
            (words("way"), words.km(it.km)),
            (words("time"), words.duration(it.hours)),
            (words("waste"), words.m3(it.volume_l)),
        )
        head = ("done_column", "number", "at", "container", "full", "leg", "remarks")
        blanks = Blanks(tuple(words(key) for key in ("driver", "km_begin", "km_end")))
        blocks: list[Block] = [blanks]
        if it.status not in _STATUS:  # a truck that has broken down, say
            blocks.insert(0, Prose(words(it.status), large=True))
        drawn = sketch.draw([self._course(it, 0)], off_the_map=words("off_the_map"))
        if drawn is not None:
            blocks.append(Drawing(words("map"), words("map_about"), drawn))
        blocks.append(Stops(tuple(words(key) for key in head), self._lines.all(it)))
        return self._sheet(it.truck, title, facts, blocks)

    def summary(self) -> Sheet:
        """Return what the office wants to know."""
        plan, words = self._plan, self._words
        driven = [it for it in plan.rounds if it.stops]
        facts = (
            (words("containers"), str(sum(it.containers for it in driven))),
            (words("unloads"), f"{sum(it.unloads for it in driven)} ×"),
            (words("way"), words.km(sum(it.km for it in driven))),
            (words("time"), words.duration(sum(it.hours for it in driven))),
            (words("cost"), f"{words.number(sum(it.eur for it in driven), 2)}\u00a0€"),
        )
        blocks: list[Block] = [self._rounds(), *self._map(driven)]
        if plan.deferred:
            blocks.append(self._left_out(words("deferred"), plan.deferred))
        if plan.skipped:
            blocks += self._not_today(plan.skipped)
        if not plan.deferred and not plan.skipped:
            blocks.append(Prose(words("nothing_left")))
        distances = words(plan.distance_source)
        if plan.data_age_h is None:
            text = words("rests_on_none", distances=distances, solver=plan.solver)
        else:
            text = words(
                "rests_on",
                age=words.number(plan.data_age_h, 1),
                distances=distances,
                solver=plan.solver,
                iterations=plan.iterations,
                seed=plan.seed,
            )
        blocks.append(Prose(text))
        blocks += [Prose(words("of_distances", note=note)) for note in plan.notes]
        return self._sheet(SUMMARY, words("rounds"), facts, blocks)

    def _sheet(
        self, name: str, title: str, facts: Sequence[tuple[str, str]], blocks: Sequence[Block]
    ) -> Sheet:
        plan, words = self._plan, self._words
        badge = ""
        if plan.provisional:
            badge = words("provisional")
            blocks = (Prose(words("provisional_rounds")), *blocks)
        day = words.date(plan.date)
        whose = words("rounds") if name == SUMMARY else name
        planned = words("planned", at=words.instant(utc(plan.planned_ms)))
        header = " · ".join(filter(None, (badge, whose, day, plan.site, planned)))
        return Sheet(
            name,
            words.language,
            f"{title}, {day}",
            badge,
            header,
            words("page"),
            tuple(facts),
            tuple(blocks),
        )

    def _rounds(self) -> Table:
        words = self._words
        keys = ("truck", "status", "leaves", "back", "containers", "unloads", "way", "time")
        rows = []
        for it in self._plan.rounds:
            status = words(_STATUS.get(it.status, it.status))
            if not it.stops:
                rows.append((it.truck, status, *[""] * 8))
                continue
            rows.append(
                (
                    it.truck,
                    status,
                    words.clock(it.leaves_utc),
                    words.clock(it.return_utc),
                    str(it.containers),
                    f"{it.unloads}\u00a0×",
                    words.km(it.km),
                    words.duration(it.hours),
                    words.m3(it.volume_l),
                    f"{words.number(it.eur, 2)}\u00a0€",
                )
            )
        head = (*(words(key) for key in keys), words("waste"), words("cost"))
        shares = (22, 24, 17, 15, 24, 22, 19, 16, 18, 21)
        return Table("", "", head, tuple(rows), shares, tuple(range(2, 10)))

    def _not_today(self, skipped: Sequence[LeftOut]) -> Iterable[Block]:
        """Return a table of what somebody may ask for, and a list of what nobody will."""
        empty = [it for it in skipped if it.reason == "too_empty"]
        others = [it for it in skipped if it.reason != "too_empty"]
        if others:
            yield self._left_out(self._words("left_out"), others)
        if empty:
            named = "; ".join(
                f"{self._name(it)}\u00a0{full(it.fill_pct)}" for it in _by_fill(empty)
            )
            yield Prose(self._words("those_too_empty", count=len(empty), names=named))

    def _left_out(self, title: str, left_out: Sequence[LeftOut]) -> Table:
        words = self._words
        rows = []
        for it in _by_fill(left_out):
            why = words(it.reason)
            if it.reason == "not_worth_the_way" and it.prize_eur and it.detour_eur:
                prize, detour = (words.number(euros, 2) for euros in (it.prize_eur, it.detour_eur))
                why = words("worth_less", prize=prize, detour=detour)
            if it.doubt == "bad_data":
                why += f"; {words(it.doubt)}"
            chance = "" if it.p_overflow is None else words.percent(it.p_overflow)
            rows.append((self._name(it), full(it.fill_pct), full(it.expected_pct), chance, why))
        head = tuple(words(key) for key in ("container", "full", "then", "overflow", "reason"))
        shares = (64, 13, 21, 22, 66)
        title = f"{title}: {len(rows)}"
        return Table(title, words("about_left"), head, tuple(rows), shares, (1, 2, 3))

    def _name(self, it: LeftOut) -> str:
        container = self._containers.get(it.container)
        if container is None or container.name is None:
            return it.container
        return f"{container.name} ({it.container})"

    def _map(self, driven: Sequence[Round]) -> Iterable[Drawing]:
        words, plan = self._words, self._plan
        left: list[tuple[Kind, tuple[float, float]]] = []
        unknown = 0
        kinds: tuple[Kind, ...] = ("left", "deferred")
        for kind, left_out in zip(kinds, (plan.skipped, plan.deferred), strict=True):
            for it in left_out:
                container = self._containers.get(it.container)
                if container is None:
                    unknown += 1
                else:
                    left.append((kind, (container.lat, container.lon)))
        courses = [self._course(it, dash, numbers=False) for dash, it in enumerate(driven)]
        drawn = sketch.draw(courses, left, off_the_map=words("off_the_map"))
        if drawn is not None:
            about = words("map_all")
            if unknown:
                about += " " + words("not_drawn", count=unknown)
            key = tuple((number, it.truck) for number, it in enumerate(driven))
            yield Drawing(words("map"), about, drawn, key)

    def _course(self, it: Round, dash: int, *, numbers: bool = True) -> Course:
        """Return a round to draw: for a driver by its stops' numbers, or by the truck's name."""
        stops: list[tuple[Kind, tuple[float, float], str]] = []
        for stop in it.stops:
            kind: Kind = "stop" if stop.action == "empty" else "unload"
            label = str(stop.sequence) if kind == "stop" else stop.name
            if kind == "stop" and not numbers:
                label = "" if stops else it.truck
            stops.append((kind, (stop.lat, stop.lon), label))
        yard = self._lines.yard(it)
        if yard is not None:
            at = yard.lat, yard.lon
            stops = [("yard", at, yard.name or yard.id), *stops, ("yard", at, "")]
        return Course(tuple(stops), dash)


def _by_fill(left_out: Iterable[LeftOut]) -> list[LeftOut]:
    """Return the fullest first, those that nobody knows before all."""
    return sorted(left_out, key=lambda it: -200.0 if it.fill_pct is None else -it.fill_pct)
