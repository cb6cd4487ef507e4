"""The command ``stoep flash``: boards that are plugged in become sensors of a street.

Without a subcommand it flashes; the others look, print again, place, and rescue. Exit codes: 0
done, 2 usage, 3 no board, 4 a board failed, 5 the gateway refused, 130 interrupted. Of several
boards it is that of the first that failed. Nothing that is printed holds a key.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stoep_hardware import board_data

from . import (
    answers,
    board_commands,
    images,
    ledger,
    ledger_commands,
    ports,
    scanned,
    sensors,
    steps,
)
from .errors import INTERRUPTED, NO_BOARD, USAGE, FlashError
from .identity import EuiRange, eui_of
from .ledger_commands import Result, stoep_at
from .options import MEASURES, REGIONS, parser, words_of
from .screen import Line, Screen
from .together import at_once

_PAGES = {"esp32": "ESP32_GENERIC", "esp32s3": "ESP32_GENERIC_S3"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``stoep flash``; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        options, more = parser().parse_known_args(words_of(words))
        if more:
            hint = f"stoep flash {options.command} --help shows what there is"
            raise FlashError(f"what is {' '.join(more)}?", hint, USAGE)
        options.words = words
        code, answer = _COMMANDS[options.command](options)
        if as_json:
            print(json.dumps(answer, indent=1, ensure_ascii=False))
        sys.stdout.flush()
    except FlashError as problem:
        _tell(problem, as_json)
        return problem.exit_code
    except KeyboardInterrupt as problem:
        hint = "run the same command again: it goes on where it was"
        more = problem.args[0] if problem.args else {}
        _tell(FlashError("interrupted", hint, INTERRUPTED), as_json, more)
        return INTERRUPTED
    except BrokenPipeError:
        # Who reads has read enough (head); what Python would still write goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _tell(
    problem: FlashError, as_json: bool, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    if as_json:
        answer = {"error": problem.message, "hint": problem.remedy, "exit_code": problem.exit_code}
        print(json.dumps({**answer, **more}, ensure_ascii=False))
        return
    texts = [f"stoep flash: {problem.message}"]
    if problem.remedy:
        texts.append(f"  → {problem.remedy}")
    for text in texts:
        for line in text.splitlines():
            print(_wrapped(line), file=sys.stderr)


def _wrapped(line: str) -> str:
    """Return a line for a person, broken between words; for a program as it is."""
    if not sys.stderr.isatty():
        return line
    indent = line[: len(line) - len(line.lstrip())]
    width = shutil.get_terminal_size().columns - 1
    return textwrap.fill(
        line,
        width,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _boards(options: argparse.Namespace) -> Result:
    ask = sys.stdin.isatty() and sys.stdout.isatty() and not options.yes and not options.json
    said = answers.Answers(ask=ask)
    _check(options)
    order = _order(options, said)
    if options.dry_run:
        chosen = options.port or [
            port.device for port in ports.list_ports() if port.problem is None and port.likely
        ]
        return 0, _plan(chosen, order, as_json=options.json)
    said.remember()
    screen = Screen(quiet=options.json)
    one_only = bool(options.asset or options.name or options.serial)
    failed: dict[str, int] = {}
    outcomes: list[steps.Outcome] = []
    with ledger.Ledger(options.ledger or ledger.default_path()) as book:
        while True:
            outcomes = _one_round(options, said, order, book, screen)
            for outcome in outcomes:
                _note(outcome, failed)
            if one_only or not said.asks:
                break
            if not said.goes_on("\nPlug in the next board, then Enter (q ends): "):
                break
    code = next(iter(failed.values()), 0)
    return code, {"boards": [_answer(one) for one in outcomes], "exit_code": code}


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is asked."""
    one_only = [name for name in ("asset", "name", "serial") if getattr(options, name)]
    if one_only and (options.all or len(options.port or ()) > 1):
        raise FlashError(
            f"several boards cannot have one {one_only[0]}",
            "one at a time, or --csv FILE with a line for each",
            USAGE,
        )
    if one_only and options.csv:
        raise FlashError(f"--{one_only[0]} and --csv are one too many", "leave one out", USAGE)
    if options.asset:
        options.asset = scanned.check_asset(options.asset)
    if options.all and options.port:
        raise FlashError("--all and --port are one too many", "leave one out", USAGE)
    if options.gateway and options.no_gateway:
        raise FlashError("--gateway and --no-gateway are one too many", "leave one out", USAGE)


def _order(options: argparse.Namespace, said: answers.Answers) -> steps.Order:
    """Ask for what was not said."""
    boards = {name: board_data.load(name) for name in board_data.names()}
    titles = {
        name: board.title + (" (bench only: no battery lasts)" if board.bench_only else "")
        for name, board in boards.items()
    }
    board = boards[said.choose("board", "Which board is it?", options.board, titles)]
    kind = said.choose("kind", "What will it measure?", options.kind, MEASURES)
    possible = {name: where for name, where in REGIONS.items() if _has_band(board, name)}
    parts = _wired(kind, options, said)
    region = said.choose(
        "region", "Where will it be? The region of LoRaWAN", options.region, possible
    )
    try:
        board.check_region(region)
    except ValueError as problem:
        raise FlashError(str(problem), "take a board for this band", USAGE) from None
    image = _image(options, said, board)
    gateway = None
    if not options.no_gateway:
        question = "Register at which gateway? A host that ssh knows, local (this computer) or none"
        gateway = said.text("gateway", question, options.gateway, "none")
    return steps.Order(
        board,
        kind,
        region,
        image,
        lorawan=options.lorawan,
        parts=parts,
        behaviour={} if options.interval_min is None else {"interval_s": 60 * options.interval_min},
        join_eui=None if options.join_eui is None else eui_of(options.join_eui, "a JoinEUI"),
        euis=None if options.dev_euis is None else EuiRange.parse(options.dev_euis),
        new_key=options.new_key,
        asset=options.asset,
        name=options.name,
        serial=options.serial,
        rows=() if options.csv is None else scanned.read_csv(options.csv),
        self_test=not options.no_self_test,
        gateway=stoep_at(gateway),
        gateway_name=gateway or "none",
        labels=None if options.no_labels else options.labels or steps.DEFAULT_LABELS,
        baud=options.baud,
        again=_without_ports(options.words),
    )


def _wired(kind: str, options: argparse.Namespace, said: answers.Answers) -> dict[str, Any]:
    """Return what is wired to the boards, as is said or was the last time of such boards."""
    parts: dict[str, Any] = {}
    sensors.check(kind, {name: getattr(options, name) for name in sensors.NAMES})
    for name in sensors.NAMES:
        value = getattr(options, name)
        word = None if value is None else str(value).lower()
        kept = said.kept(f"{kind}-{name}", word)
        parts[name] = kept == "true" if name == sensors.LID else kept
    return sensors.check(kind, parts)


def _without_ports(words: Sequence[str]) -> list[str]:
    """Return what was typed, but for which boards it was about."""
    kept = []
    rest = iter(words)
    for word in rest:
        if word == "--port":
            next(rest, None)
        elif word != "--all" and not word.startswith("--port="):
            kept.append(word)
    return kept


def _has_band(board: board_data.BoardData, region: str) -> bool:
    try:
        board.check_region(region)
    except ValueError:
        return False
    return True


def _image(
    options: argparse.Namespace, said: answers.Answers, board: board_data.BoardData
) -> images.Image:
    """Return the MicroPython that is to be flashed, of which somebody has said that it may be."""
    page = f"https://micropython.org/download/{_PAGES.get(board.chip, '')}"
    path = said.path("firmware", f"MicroPython, the .bin of {page}", options.firmware)
    if options.trust:
        return images.load(path, board) if options.dry_run else images.trust(path, board)
    try:
        return images.check(path, board, images.manifests())
    except FlashError as problem:
        # Only of an image that is sound but unknown a person may say that it is the right one.
        if not said.asks or options.dry_run or "--trust" not in problem.remedy:
            raise
        print(f"\n{problem.message}", flush=True)
        if not said.agrees("You have it from micropython.org, and it may be used from now on?"):
            raise
        return images.trust(path, board)


def _one_round(
    options: argparse.Namespace,
    said: answers.Answers,
    order: steps.Order,
    book: ledger.Ledger,
    screen: Screen,
) -> list[steps.Outcome]:
    """Flash the boards that are plugged in now."""
    while True:
        try:
            chosen = _chosen_ports(options, said)
            break
        except FlashError as problem:
            if not said.asks or problem.exit_code != NO_BOARD:
                raise
            screen.say("")
            screen.problem(problem)
            if not said.goes_on("\nEnter looks again (q ends): "):
                raise
    wired = "".join(f", {name if it is True else it}" for name, it in order.parts.items())
    screen.say(
        f"\n{order.board.title}, {order.kind}{wired}, {order.region},"
        f" MicroPython {order.image.version}"
    )
    return _flash(chosen, order, book, screen)


def _flash(
    chosen: Sequence[str], order: steps.Order, book: ledger.Ledger, screen: Screen
) -> list[steps.Outcome]:
    outcomes = {port: _untouched(port) for port in chosen}

    def job(port: str, line: Line) -> Callable[[], None]:
        def run() -> None:
            ask = screen.ask if not screen.console.quiet else _ask_beside
            outcomes[port] = steps.flash(port, order, book, line.tell, line.progress, ask)
            line.end()

        return run

    try:
        with screen:
            lines = screen.lines(chosen)
            results = at_once({port: job(port, lines[port]) for port in chosen})
            for port, result in results.items():
                if isinstance(result, FlashError):
                    outcomes[port] = steps.Outcome(port, problem=result)
    except KeyboardInterrupt:
        answers = [_answer(outcome) for outcome in outcomes.values()]
        raise KeyboardInterrupt({"boards": answers}) from None
    finally:  # after Ctrl-C as well: what became of each board is said
        screen.report(list(outcomes.values()))
    return list(outcomes.values())


def _untouched(port: str) -> steps.Outcome:
    problem = FlashError("interrupted", "run it again: it goes on where it was", INTERRUPTED)
    return steps.Outcome(port, problem=problem, left="the board was not touched")


def _ask_beside(what: str) -> None:
    """Tell a person what to do, whoever reads the answer."""
    print(what, file=sys.stderr, flush=True)


def _note(outcome: steps.Outcome, failed: dict[str, int]) -> None:
    """Keep what failed, until it is done by a later round."""
    whose = [outcome.port]
    if outcome.entry is not None:
        whose.append(outcome.entry.identity.dev_eui.hex())
    for one in whose:
        failed.pop(one, None)
    if outcome.problem is not None:
        failed[whose[-1]] = outcome.problem.exit_code


def _chosen_ports(options: argparse.Namespace, said: answers.Answers) -> list[str]:
    if options.port:
        # esptool runs in a folder of its own: a port that is a path is named from the root.
        here = [str(Path(one).absolute()) if Path(one).exists() else one for one in options.port]
        return list(dict.fromkeys(here))
    found = ports.list_ports()
    usable = [port for port in found if port.problem is None and port.likely]
    if not usable:
        raise ports.no_board(found)
    names = [port.device for port in usable]
    if options.all or len(names) == 1:
        return names
    if not said.asks:
        raise FlashError(
            f"there are {len(names)} boards: {', '.join(names)}", "--port PORT or --all", USAGE
        )
    choices = {"all": f"these {len(names)} at once"}
    choices |= {port.device: port.description for port in usable}
    one = said.choose("port", "Which one?", None, choices)
    return names if one == "all" else [one]


def _plan(chosen: Sequence[str], order: steps.Order, *, as_json: bool) -> dict[str, Any]:
    """Say what would be done."""
    board = order.board
    registers = None if order.gateway is None else shlex.join([*order.gateway, "device", "import"])
    labels = None if order.labels is None else str(order.labels)
    plan = {
        "dry_run": True,
        "ports": list(chosen),
        "board": board.name,
        "kind": order.kind,
        "region": order.region,
        "firmware": str(order.image.path),
        "micropython": order.image.version,
        "wired": dict(order.parts),
        "self_test": order.self_test,
        "registers": registers,
        "labels": labels,
    }
    if not as_json:
        test = ", with a join" if order.gateway else ""
        for key, value in {
            "would flash": ", ".join(chosen) or "no board: none is plugged in",
            "as": f"{board.title}, {order.kind}, {order.region}",
            "wired": ", ".join(f"{name} {it}" for name, it in order.parts.items()) or "as usual",
            "with": f"MicroPython {order.image.version} ({order.image.path.name}) and our files",
            "register": f"by {registers}" if registers else "later: stoep flash register",
            "test": f"yes{test}" if order.self_test else "no",
            "label": f"into {labels}" if labels else "no",
        }.items():
            print(f"  {key:12} {value}")
    return plan


def _answer(outcome: steps.Outcome) -> dict[str, Any]:
    entry, problem = outcome.entry, outcome.problem
    return {
        "port": outcome.port,
        "done": problem is None,
        "dev_eui": None if entry is None else entry.identity.dev_eui.hex(),
        "join_eui": None if entry is None else entry.identity.join_eui.hex(),
        "asset": None if entry is None else entry.asset,
        "state": None if entry is None else entry.state,
        "again": outcome.again,
        "checks": [asdict(check) for check in outcome.checks],
        "label": None if outcome.label is None else str(outcome.label),
        "error": None if problem is None else problem.message,
        "hint": None if problem is None else problem.remedy,
        "left": outcome.left or None,
        "finish": list(outcome.finish),
        "place": outcome.place or None,
        "exit_code": 0 if problem is None else problem.exit_code,
    }


_COMMANDS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "boards": _boards,
    **ledger_commands.COMMANDS,
    **board_commands.COMMANDS,
}
