"""The command ``stoep evaluate``: recorded series through the production filters, and scores.

A series is read as it comes and nothing of it is kept but what the filters keep, so that a file
may be larger than the memory.
"""

import argparse
import csv
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, TextIO

from stoep_tools.evaluate.course import Course, Spacing, sparkline
from stoep_tools.evaluate.kinds import GROUP, Cell, Kind, Run, SideRow, Storing, Type, Unit
from stoep_tools.evaluate.series import BadRow, Heading, Unusable, heading, rows, utc

__all__ = ["main"]

ERROR = 2
DEVICES_MAX = 10_000
_DEVICE: dict[str, Type] = {"device": "text"}
_TIME: dict[str, Type] = {"time_utc": "time"}
_UNNAMED = "all"  # the device of a file that names none
_TOLD = 20  # bad rows that are told one by one
_STDIN = "-"
_OF_THE_WHEEL = ("bays",)  # not in the gateway's Debian package
_USAGE = """usage: stoep evaluate KIND FILE.csv ...

Run recorded series through the production filters, and score them.
'stoep evaluate KIND --help' tells more of each; docs/sensing.md what the figures mean.

kinds: """
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

_Write = Callable[[str, int, Sequence[Cell]], object]


class _FailedError(Exception):
    """The command ends here; the text says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep evaluate``; return the exit code."""
    kinds = {entry.name: entry for entry in entry_points(group=GROUP)}
    name = arguments[0] if arguments else None
    if name is None or name in ("-h", "--help"):
        print(_USAGE + ", ".join(sorted(kinds)))
        return ERROR if name is None else 0
    if name not in kinds:
        hint = ": this package has no detector; pipx install stoep" if name in _OF_THE_WHEEL else ""
        there = ", ".join(sorted(kinds))
        print(f"stoep evaluate: no kind {name!r}{hint}; there are: {there}", file=sys.stderr)
        return ERROR
    try:
        kind: Kind = kinds[name].load()()
        return _evaluate(name, kind, arguments[1:])
    except _FailedError as error:
        print(error, file=sys.stderr)
        return ERROR
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a disk that is full, or fails amid the file
        print(f"stoep evaluate: {error.filename or name}: {error.strerror}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        return 130


def _parser(name: str, kind: Kind) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"stoep evaluate {name}",
        description=kind.description,
        epilog="columns: " + ", ".join((*_DEVICE, *_TIME, *kind.columns)) + "; see docs/sensing.md",
    )
    parser.add_argument("file", metavar="FILE.csv", help="the series; - reads standard input")
    kind.add_options(parser)
    for side, (_, told) in kind.sides.items():
        parser.add_argument(f"--{side}", type=Path, metavar="FILE.csv", help=told)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.csv", help="write every reading as it was judged"
    )
    parser.add_argument("--force", action="store_true", help="let --out replace a file")
    return parser


def _evaluate(name: str, kind: Kind, arguments: Sequence[str]) -> int:
    options = _parser(name, kind).parse_args(arguments)
    out: Path | None = options.out
    if out is not None and out.exists() and not options.force:
        raise _FailedError(f"{out}: is there already; --force replaces it")
    sides = {
        side: list(_side(getattr(options, side), columns))
        for side, (columns, _) in kind.sides.items()
        if getattr(options, side) is not None
    }
    with _opened(options.file) as text, _written(out, kind) as write:
        try:
            head = heading(text, {**_DEVICE, **_TIME, **kind.columns}, tuple(_TIME))
        except Unusable as error:
            raise _FailedError(f"{options.file}: {error}") from None
        try:
            run = kind.open(options, head.names(), sides)
        except ValueError as error:
            raise _FailedError(f"{options.file}: {error}") from None
        evaluation = _Evaluation(options.file, kind, run, head)
        evaluation.read(text, write)
        if not evaluation.count:
            raise _FailedError(evaluation.nothing())
        if isinstance(run, Storing):
            try:
                run.finish()
            except ValueError as error:
                raise _FailedError(str(error)) from None
    summary = evaluation.summary()
    if options.json:
        print(json.dumps(summary, ensure_ascii=False, indent=2))
    else:
        _print(evaluation.text(summary))
    return 0


class _Device:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.course = Course()
        self.spacing = Spacing()
        self.count = 0
        self.first_ms = self.last_ms = -1

    def took(self, at_ms: int) -> None:
        """Note the time of a row that has been taken."""
        if self.count:
            if at_ms > self.last_ms:
                self.spacing.add(at_ms - self.last_ms)
        else:
            self.first_ms = at_ms
        self.count += 1
        self.last_ms = at_ms

    def summary(self, kind: Kind) -> dict[str, Any]:
        usual_ms = self.spacing.usual_ms()
        return {
            "from_utc": utc(self.first_ms),
            "to_utc": utc(self.last_ms),
            "readings": self.count,
            "missing": self.spacing.missing(),
            "interval_s": None if usual_ms is None else round(usual_ms / 1000, 1),
            **self.unit.summary(),
            kind.course: self.course.summary(),
        }


class _Evaluation:
    def __init__(self, file: str, kind: Kind, run: Run, head: Heading) -> None:
        self.count = 0
        self._file = "standard input" if file == _STDIN else file
        self._kind = kind
        self._run = run
        self._head = head
        self._devices: dict[str, _Device] = {}
        self._refused: set[str] = set()
        self._skipped: Counter[str] = Counter()
        self._told: list[str] = []
        self._apart_ms = 0 if getattr(kind, "same_time", False) else 1

    def read(self, text: IO[str], write: _Write) -> None:
        """Take every row in."""
        if self._head.unused:
            self._say(self._head.line, "not used: " + ", ".join(self._head.unused))
        required = tuple(name for name in (*_DEVICE, *_TIME) if name in self._head.names())
        for row in rows(text, self._head, required):
            if isinstance(row, BadRow):
                self._skip(*row)
                continue
            line, values = row
            name, at_ms = values.get("device", _UNNAMED), values["time_utc"]
            device = self._devices.get(name) or self._begin(line, name)
            if device is None:
                continue
            if at_ms < device.last_ms + self._apart_ms:
                before = utc(device.last_ms)
                self._skip(line, "time backwards", f"is not later than the row before, of {before}")
                continue
            try:
                cells, level = device.unit.take(at_ms, values)
            except ValueError as error:
                self._skip(line, "impossible", str(error))
                continue
            device.took(at_ms)
            self.count += 1
            if level is not None:
                device.course.add(at_ms, level)
            write(name, at_ms, cells)

    def nothing(self) -> str:
        """Return why there is nothing to say."""
        if not self._skipped:
            return f"{self._file}: has no rows below its heading"
        return (
            f"{self._file}: no row can be used, for what is said above ({_counted(self._skipped)})"
        )

    def summary(self) -> dict[str, Any]:
        """Return all figures."""
        devices = {name: it.summary(self._kind) for name, it in self._devices.items() if it.count}
        return {
            "file": self._file,
            "devices": devices,
            "all": {
                "devices": len(devices),
                "readings": self.count,
                "missing": sum(it["missing"] or 0 for it in devices.values()),
                "skipped": dict(self._skipped.most_common()),
                **self._run.total(),
            },
            "skipped": self._told,
        }

    def text(self, summary: dict[str, Any]) -> Iterator[str]:
        """Return the figures for people."""
        for name, device in summary["devices"].items():
            yield f"{name}: {device['from_utc'][:16]}Z to {device['to_utc'][:16]}Z"
            yield from _lines([("readings", _readings(device))])
            yield from _lines(self._run.lines(device))
            if course := device[self._kind.course]:
                spark = sparkline(course["means"], self._kind.course_top)
                about = f"{course['min']:g} to {course['max']:g}, mean {course['mean']:g}"
                yield from _lines([(self._kind.course, f"{spark} {about}")])
            yield ""
        total = summary["all"]
        count = total["devices"]
        yield f"all: {count} device{'s' if count != 1 else ''}"
        yield from _lines([("readings", _readings(total))])
        yield from _lines(self._run.lines(total))
        if total["skipped"]:
            yield from _lines([("skipped", _counted(total["skipped"]))])

    def _begin(self, line: int, name: str) -> _Device | None:
        if name in self._refused:
            self._skipped["not known"] += 1
            return None
        if len(self._devices) >= DEVICES_MAX:
            self._skip(line, "too many devices", f"is of more than {DEVICES_MAX} devices")
            return None
        try:
            device = self._devices[name] = _Device(self._run.unit(name))
        except ValueError as error:
            if len(self._refused) < DEVICES_MAX:
                self._refused.add(name)
            self._skip(line, "not known", str(error))
            return None
        return device

    def _skip(self, line: int, kind: str, message: str) -> None:
        self._skipped[kind] += 1
        if len(self._told) < _TOLD:
            self._told.append(f"{self._file}:{line}: {message}")
            print(self._told[-1], file=sys.stderr)
            if len(self._told) == _TOLD:
                print("further ones are counted only", file=sys.stderr)

    def _say(self, line: int, message: str) -> None:
        print(f"{self._file}:{line}: {message}", file=sys.stderr)


def _side(path: Path, columns: Any) -> Iterator[SideRow]:
    """Read a file beside the series; there, everything has to be right."""
    known: dict[str, Type] = {**_DEVICE, **columns}
    required = tuple(name for name in (*_DEVICE, *_TIME) if name in known)
    with _opened(str(path)) as text:
        try:
            head = heading(text, known, required)
        except Unusable as error:
            raise _FailedError(f"{path}: {error}") from None
        for row in rows(text, head, required):
            if isinstance(row, BadRow):
                raise _FailedError(f"{path}:{row.line}: {row.message}")
            yield row


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    """Open a file as text: UTF-8 with or without its mark, or UTF-16 with it."""
    try:
        stdin = name == _STDIN
        file = open(0 if stdin else name, "rb", closefd=not stdin)  # noqa: SIM115
        mark = file.peek(2)[:2]
    except OSError as error:
        raise _FailedError(f"{name}: cannot be read: {error.strerror}") from None
    encoding = "utf-16" if mark in _UTF_16 else "utf-8-sig"
    with io.TextIOWrapper(file, encoding=encoding, errors="replace") as text:
        yield text


@contextmanager
def _written(out: Path | None, kind: Kind) -> Iterator[_Write]:
    """Give what writes a judged row; the file appears when all is written."""
    if out is None:
        yield lambda name, at_ms, cells: None
        return
    partial = out.with_name(out.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow((*_DEVICE, *_TIME, *kind.out))
            yield lambda name, at_ms, cells: writer.writerow((name, utc(at_ms), *cells))
        partial.replace(out)
    except FileNotFoundError:
        raise _FailedError(f"{out}: cannot be written: there is no such folder") from None
    finally:
        partial.unlink(missing_ok=True)


def _print(lines: Iterable[str]) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(encoding, "replace").decode(encoding))


def _lines(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for label, text in pairs:
        yield f"  {label:<11} {text}"


def _readings(summary: Mapping[str, Any]) -> str:
    count, missing = summary["readings"], summary["missing"]
    share = f", {missing} missing ({100 * missing / (count + missing):.0f} %)" if missing else ""
    every = ""
    if "interval_s" in summary and count > 1:
        interval_s = summary["interval_s"]
        every = (
            ", at no fixed interval" if interval_s is None else f", one every {_span(interval_s)}"
        )
    return f"{count}{share}{every}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())
