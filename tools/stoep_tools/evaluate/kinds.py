"""What ``stoep evaluate`` needs to know of a kind of series: bins, bays.

Each package registers its kind in the entry-point group ``stoep.evaluations`` as a class without
arguments: the gateway judges bins, the firmware bays, and neither can import the other, nor us.
So what passes between is plain: text, numbers, tuples and dicts. Every `ValueError` is text for
people.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

GROUP = "stoep.evaluations"

Type = Literal["text", "number", "flag", "time"]
Cell = str | int | float | None
Values = Mapping[str, Any]  # of a row, by column: str, float, bool, int (UTC ms); None where empty
SideRow = tuple[int, Values]  # with its line


class Unit(Protocol):
    """One device's series so far."""

    def take(self, at_ms: int, values: Values) -> tuple[Sequence[Cell], float | None]:
        """Judge a row, later than all before; return cells for ``--out``, and the course's value.

        Raises ValueError for a row that cannot be used; it is then as if it had not come.
        """

    def summary(self) -> dict[str, Any]:
        """Return what came of the rows, for JSON."""


class Run(Protocol):
    """One evaluation."""

    def unit(self, device: str) -> Unit:
        """Begin with a device. Raises ValueError where something of it is not known."""

    def total(self) -> dict[str, Any]:
        """Return the sums over all devices, for JSON."""

    def lines(self, summary: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Return a summary, or the total, for people: a label and what there is to say."""


@runtime_checkable
class Storing(Protocol):
    """A run that does something with what it has learned."""

    def finish(self) -> None:
        """Do it, once all rows were taken. Raises ValueError."""


class Kind(Protocol):
    """A kind of series. One that has ``same_time`` takes rows of one time.

    Every row has a "device", unless no column says so, and a "time_utc"; ``columns`` are what else
    it may have. ``sides`` are files beside it, each with its columns besides "device", and a help
    text; one that has "time_utc" has it in every row.

    ``course`` names what goes up and down in it, from 0 to ``course_top``.
    """

    description: str
    columns: Mapping[str, Type]
    sides: Mapping[str, tuple[Mapping[str, Type], str]]
    out: Sequence[str]
    course: str
    course_top: float

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the kind's own options."""

    def open(
        self,
        options: argparse.Namespace,
        columns: Sequence[str],
        sides: Mapping[str, Sequence[SideRow]],
    ) -> Run:
        """Begin with a file that has these ``columns``. Raises ValueError."""
