"""What a technician sees: what each board is at, and in the end what became of it.

Words say what colours say: a capture, a pipe and a colour-blind reader lose nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from .errors import FlashError
from .identity import grouped
from .selftest import MARKS, Check, table
from .steps import Outcome

_STEP = 11


class Screen:
    """Shows all boards at once; ``quiet``: nothing, for programs."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(quiet=quiet, highlight=False)
        self._bars: Progress | None = None
        self._width = 0

    def __enter__(self) -> Self:
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[percent]}{task.fields[what]}", markup=False),
            console=self.console,
            transient=True,
        )
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def lines(self, ports: Sequence[str]) -> dict[str, Line]:
        """Begin a line a board, within ``with``; lines of several say which board they are of."""
        assert self._bars is not None
        names = [_short(port) for port in ports]
        width = max(map(len, names))
        made = {}
        for port, name in zip(ports, names, strict=True):
            whose = f"{name:{width}}  " if len(ports) > 1 else ""
            bar = self._bars.add_task(name, total=None, percent="", what="looking at it")
            made[port] = Line(self._bars, bar, whose)
        return made

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Say what became of each board."""
        self._print("")
        names = [_short(outcome.port) for outcome in outcomes]
        width = max(map(len, names), default=0)
        for name, outcome in zip(names, outcomes, strict=True):
            entry, problem = outcome.entry, outcome.problem
            line = Text(" ")
            line.append(
                f"{'done' if problem is None else 'FAILED':7}",
                "bold green" if problem is None else "bold red",
            )
            line.append(f"{name:{width}}")
            who = None if entry is None else grouped(entry.identity.dev_eui)
            where = None if entry is None else entry.asset or entry.name
            label = outcome.label if problem is None else None
            for text in (who, where, label):
                if text:
                    line.append(f"  {text}")
            line.rstrip()
            self._print(line)
            failed = [check for check in outcome.checks if check.passed is False]
            for check in failed:
                self._print(f"{check.name}: {check.value}, not {check.expected}", indent=8)
                self._print(f"→ {check.hint}", indent=8, style="bold")
            if problem is not None:
                if not failed:
                    self.problem(problem)
                self._left(outcome)
        places = [outcome.place for outcome in outcomes if outcome.place]
        for place in places[:1]:
            more = ", each of them, or stoep device place --file CSV" if len(places) > 1 else ""
            self._print(f"once it is mounted: {place}{more}", indent=8)
        done = sum(outcome.problem is None for outcome in outcomes)
        if len(outcomes) > 1:
            self._print(f"\n{done} of {len(outcomes)} boards are done.")

    def _left(self, outcome: Outcome) -> None:
        """Say what is left to do; of several commands each on a line of its own, to be copied."""
        if len(outcome.finish) < 2:
            self._print(outcome.left, indent=8)
            return
        self._print(outcome.left.partition(outcome.finish[0])[0].rstrip(), indent=8)
        for command in outcome.finish:
            self._print(command, indent=10)

    def problem(self, problem: FlashError) -> None:
        """Say what is wrong, and what to do about it."""
        self._print(problem.message, indent=8)
        if problem.remedy:
            self._print(f"→ {problem.remedy}", indent=8, style="bold")

    def say(self, what: str) -> None:
        """Say something."""
        self._print(what)

    def ask(self, what: str) -> None:
        """Tell a person what to do now."""
        self._print(f"→ {what}", style="bold")

    def checks(self, checks: Sequence[Check]) -> None:
        """Show a self-test."""
        self._print("")
        self._print(table(list(checks)).rstrip("\n"), indent=1)
        self._print("")

    def _print(self, what: str | Text, *, indent: int = 0, style: str = "") -> None:
        text = Text(what, style) if isinstance(what, str) else what
        self.console.print(Padding(text, (0, 0, 0, indent), expand=False))


class Line:
    """One board's line; any thread may use it."""

    def __init__(self, bars: Progress, bar: TaskID, whose: str) -> None:
        self._bars = bars
        self._bar = bar
        self._whose = whose

    def tell(self, step: str, what: str) -> None:
        """Say what a step has found or is doing; of several boards' tests only what failed."""
        self.at(f"{step} {what}" if step == "self-test" else step)
        if self._whose and step == "self-test" and what.startswith((MARKS[True], MARKS[None])):
            return
        self._bars.console.print(f"  {self._whose}{step:{_STEP}} {what}", markup=False)

    def at(self, what: str) -> None:
        """Show what it is at, until it is at something else."""
        self._bars.update(self._bar, what=what, total=None, percent="")

    def progress(self, done: int, total: int) -> None:
        """Show how far the writing is."""
        share = 100 * done // total if total else 100
        self._bars.update(
            self._bar,
            completed=done,
            total=total,
            percent=f"{share:3} %  ",
            what=f"{done >> 10} of {total >> 10} KB",
        )

    def end(self) -> None:
        """Say no more of this board."""
        self._bars.update(self._bar, visible=False)


def _short(port: str) -> str:
    return port.removeprefix("/dev/")
