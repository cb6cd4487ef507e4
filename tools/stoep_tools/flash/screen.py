"""What a technician sees: a line a board while it works, then a table of what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from .identity import grouped
from .selftest import Check, passed, table
from .steps import Outcome


class Screen:
    """Shows all boards at once; ``quiet``: nothing, for programs."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(quiet=quiet, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(30),
            TextColumn("{task.fields[percent]}"),
            TextColumn("{task.fields[what]}"),
            console=self._console,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def line(self, port: str) -> Line:
        """Begin the line of a board."""
        bar = self._bars.add_task(port, total=None, percent="", what="")
        return Line(self._bars, bar, port)

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Say what became of each board."""
        for outcome in outcomes:
            entry, problem = outcome.entry, outcome.problem
            mark = "[green]✓[/]" if problem is None else "[red]✗[/]"
            who = "" if entry is None else f"  {grouped(entry.identity.dev_eui)}  {entry.board}"
            self._console.print(f"{mark} {outcome.port}{who}")
            if not passed(list(outcome.checks)):
                self.checks(outcome.checks)
            if problem is not None:
                self._console.print(f"  {problem.message}", markup=False)
                if problem.remedy:
                    self._console.print(f"  {problem.remedy}", markup=False, style="bold")
                self._console.print(f"  {outcome.left}", markup=False)
        done = sum(outcome.problem is None for outcome in outcomes)
        if len(outcomes) > 1:
            self._console.print(f"{done} of {len(outcomes)} boards are done")

    def ask(self, what: str) -> None:
        """Tell a person what to do now."""
        self._console.print(what, markup=False, style="bold")

    def checks(self, checks: Sequence[Check]) -> None:
        """Show a self-test."""
        self._console.print(table(list(checks)), markup=False, end="")


class Line:
    """One board's line; any thread may use it."""

    def __init__(self, bars: Progress, bar: TaskID, port: str) -> None:
        self._bars = bars
        self._bar = bar
        self._port = port

    def tell(self, step: str, what: str) -> None:
        """Say what a step has found or is doing."""
        self._bars.update(self._bar, what=step, total=None, percent="")
        self._bars.console.print(f"  {self._port}  {step:11}{what}", markup=False)

    def progress(self, done: int, total: int) -> None:
        """Show how far the writing is."""
        share = 100 * done // total if total else 100
        self._bars.update(self._bar, completed=done, total=total, percent=f"{share} %")
