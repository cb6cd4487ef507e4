"""The command ``stoep flash``: boards that are plugged in become sensors of a street.

Without a subcommand it flashes; the others look, print again, and finish what was begun. Exit
codes: 0 done, 2 usage, 3 no board, 4 a board failed, 5 the gateway refused. With several boards it
is that of the first that failed. Nothing that is printed holds a key.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stoep_hardware import board_data

from . import answers, images, labels, ledger, ports, registration, selftest, steps
from .errors import BOARD_FAILED, USAGE, FlashError
from .esptool import at_once
from .identity import KINDS, EuiRange, eui_of, grouped
from .repl import Repl
from .screen import Screen

_REGIONS = ("EU868", "US915", "AU915", "IN865", "AS923", "AS923-2", "AS923-3", "AS923-4")
_EXPORTS = ("stoep", "stoep-yaml", "things-stack", "things-stack-csv", "chirpstack")
_EPILOG = """\
examples:
  stoep flash                                        asks what it does not know
  stoep flash --board heltec_wifi_lora_32_v3 --kind bin --region EU868 \\
      --firmware ESP32_GENERIC_S3.bin --gateway pi --all --yes
  stoep flash list                                   the boards so far
  stoep flash label --sheet labels.html              print them again
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``stoep flash``; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in (*_COMMANDS, "-h", "--help"):
        words.insert(0, "boards")
    options = _parser().parse_args(words)
    try:
        return int(_COMMANDS[options.command](options))
    except FlashError as problem:
        if getattr(options, "json", False):
            print(json.dumps({"error": problem.message, "hint": problem.remedy}))
        else:
            print(f"stoep flash: {problem.message}", file=sys.stderr)
            if problem.remedy:
                print(f"  {problem.remedy}", file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        print("stoep flash: interrupted; run it again, it goes on where it was", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stoep flash",
        description=__doc__.partition("\n")[0],
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="command", metavar="COMMAND")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text)
        made.add_argument("--ledger", type=Path, metavar="FILE", help="the ledger of boards")
        made.add_argument("--json", action="store_true", help="say it for programs")
        return made

    boards = action("boards", "flash boards (what happens without a command)")
    boards.add_argument("--port", action="append", metavar="PORT", help="again for several")
    boards.add_argument("--all", action="store_true", help="all boards that are plugged in")
    boards.add_argument("--board", choices=board_data.names())
    boards.add_argument("--kind", choices=KINDS, help="what it will measure")
    boards.add_argument("--region", choices=_REGIONS)
    boards.add_argument("--firmware", type=Path, metavar="FILE", help="MicroPython for the chip")
    boards.add_argument("--trust", action="store_true", help="enter this firmware as known")
    boards.add_argument("--interval-min", type=int, metavar="N", help="between reports; 60")
    boards.add_argument("--lorawan", choices=("1.0.3", "1.0.4"), default="1.0.4")
    boards.add_argument("--join-eui", metavar="EUI")
    boards.add_argument("--dev-euis", metavar="FIRST-LAST", help="assigned ones; else by MAC")
    boards.add_argument("--new-key", action="store_true", help="for a board whose key was seen")
    boards.add_argument("--asset", metavar="ASSET", help="container/ID or bay/ID it is for")
    boards.add_argument("--name", help="what people call it")
    boards.add_argument("--serial", help="what is printed on it")
    boards.add_argument("--gateway", metavar="HOST", help='to register at, by ssh; "local": here')
    boards.add_argument("--no-gateway", action="store_true", help="register later")
    boards.add_argument("--labels", type=Path, metavar="FOLDER", help="where labels go; labels")
    boards.add_argument("--no-labels", action="store_true")
    boards.add_argument("--no-self-test", action="store_true")
    boards.add_argument("--baud", type=int, default=921_600)
    boards.add_argument("--yes", action="store_true", help="ask nothing")
    boards.add_argument("--dry-run", action="store_true", help="say what would be done")

    action("ports", "list serial ports and what is on them")
    listing = action("list", "list the boards in the ledger")
    listing.add_argument("--unfinished", action="store_true", help="those that are half done")
    label = action("label", "print labels again")
    label.add_argument("dev_eui", nargs="*", metavar="DEV_EUI", help="none: all")
    label.add_argument("--folder", type=Path, default=Path("labels"), help="for PNGs and SVGs")
    label.add_argument("--format", choices=("png", "svg"), default="png")
    label.add_argument("--sheet", type=Path, metavar="FILE", help="one HTML page to print")
    label.add_argument("--skip", type=int, default=0, metavar="N", help="places already used")
    label.add_argument("--outline", action="store_true", help="lines to cut along")
    export = action("export", "write a file, with keys, for a network server to import")
    export.add_argument("--to", choices=_EXPORTS, default="stoep")
    export.add_argument("--application", metavar="ID", help="ChirpStack's")
    export.add_argument("--device-profile", metavar="ID", help="ChirpStack's")
    export.add_argument("file", type=Path)
    export.add_argument("dev_eui", nargs="*", metavar="DEV_EUI", help="none: all")
    register = action("register", "register boards at the gateway")
    register.add_argument("dev_eui", nargs="*", metavar="DEV_EUI", help="none: all that are not")
    register.add_argument("--gateway", metavar="HOST", default="local")
    place = action("place", "note where a board belongs")
    place.add_argument("dev_eui", metavar="DEV_EUI")
    place.add_argument("--asset", metavar="ASSET")
    place.add_argument("--name")
    test = action("test", "run the self-test on a board that is flashed")
    test.add_argument("--port", required=True)
    test.add_argument("--board", choices=board_data.names(), required=True)
    test.add_argument("--kind", choices=KINDS, required=True)
    test.add_argument("--no-join", action="store_true", help="send nothing")
    test.add_argument("--report", type=Path, metavar="FILE", help="FILE.json and FILE.txt")
    return parser


# Flashing.


def _boards(options: argparse.Namespace) -> int:
    said = answers.Answers(ask=sys.stdin.isatty() and not options.yes and not options.json)
    board = board_data.load(
        said.choose("board", "Which board is it?", options.board, board_data.names())
    )
    kind = said.choose("kind", "What will it measure?", options.kind, KINDS)
    region = said.choose("region", "Where will it be? The region", options.region, _REGIONS)
    try:
        board.check_region(region)
    except ValueError as problem:
        raise FlashError(str(problem), "take a board for this band", USAGE) from None
    path = said.path("firmware", "MicroPython for its chip, a .bin", options.firmware)
    image = (
        images.trust(path, board)
        if options.trust
        else images.check(path, board, images.manifests())
    )
    gateway = None
    if not options.no_gateway:
        gateway = said.text(
            "gateway", "Register at (a host for ssh, local, or none)", options.gateway
        )
    order = steps.Order(
        board,
        kind,
        region,
        image,
        lorawan=options.lorawan,
        behaviour={} if options.interval_min is None else {"interval_s": 60 * options.interval_min},
        join_eui=None if options.join_eui is None else eui_of(options.join_eui, "a JoinEUI"),
        euis=None if options.dev_euis is None else EuiRange.parse(options.dev_euis),
        new_key=options.new_key,
        asset=options.asset,
        name=options.name,
        serial=options.serial,
        self_test=not options.no_self_test,
        gateway=_stoep_at(gateway),
        labels=None if options.no_labels else options.labels or Path("labels"),
        baud=options.baud,
    )
    chosen = _chosen_ports(options, said)
    if len(chosen) > 1 and (order.asset or order.name or order.serial):
        raise FlashError("several boards cannot share an asset, a name or a serial", "", USAGE)
    if options.dry_run:
        return _say_plan(chosen, order, options)
    screen = Screen(quiet=options.json)
    with ledger.Ledger(options.ledger or ledger.default_path()) as book, screen:

        def one(port: str) -> Callable[[], steps.Outcome]:
            line = screen.line(port)
            return lambda: steps.flash(port, order, book, line.tell, line.progress)

        results = at_once({port: one(port) for port in chosen})
    outcomes = [
        result if isinstance(result, steps.Outcome) else steps.Outcome(port, problem=result)
        for port, result in results.items()
    ]
    said.remember()
    if options.json:
        print(json.dumps([_outcome(outcome) for outcome in outcomes], indent=1))
    else:
        screen.report(outcomes)
    return next((one.problem.exit_code for one in outcomes if one.problem is not None), 0)


def _chosen_ports(options: argparse.Namespace, said: answers.Answers) -> list[str]:
    if options.port:
        return list(dict.fromkeys(options.port))
    found = ports.list_ports()
    usable = [port for port in found if port.problem is None and port.likely]
    if not usable:
        raise ports.no_board(found)
    if options.all or len(usable) == 1:
        return [port.device for port in usable]
    names = [port.device for port in usable]
    if not said.asks:
        raise FlashError(
            f"there are {len(names)} boards: {', '.join(names)}", "--port PORT or --all", USAGE
        )
    one = said.choose("port", "Which one?", None, [*names, "all"])
    return names if one == "all" else [one]


def _say_plan(chosen: list[str], order: steps.Order, options: argparse.Namespace) -> int:
    board = order.board
    plan = {
        "ports": chosen,
        "board": board.name,
        "kind": order.kind,
        "region": order.region,
        "firmware": f"{order.image.path.name}, MicroPython {order.image.version}",
        "writes": [
            f"MicroPython at {board.flash['firmware_offset']:#x}",
            f"our files at {board.flash['vfs_offset']:#x}",
        ],
        "self_test": order.self_test,
        "registers": None if order.gateway is None else shlex.join(order.gateway),
        "labels": None if order.labels is None else str(order.labels),
    }
    if options.json:
        print(json.dumps(plan, indent=1))
    else:
        print("It would, without touching a board now:")
        for key, value in plan.items():
            text = ", ".join(value) if isinstance(value, list) else str(value)
            print(f"  {key.replace('_', '-'):10} {text}")
    return 0


def _stoep_at(gateway: str | None) -> list[str] | None:
    if gateway in (None, "", "none"):
        return None
    assert gateway is not None
    return ["stoep"] if gateway == "local" else ["ssh", gateway, "stoep"]


def _outcome(outcome: steps.Outcome) -> dict[str, Any]:
    entry, problem = outcome.entry, outcome.problem
    return {
        "port": outcome.port,
        "done": problem is None,
        "dev_eui": None if entry is None else entry.identity.dev_eui.hex(),
        "join_eui": None if entry is None else entry.identity.join_eui.hex(),
        "state": None if entry is None else entry.state,
        "again": outcome.again,
        "checks": [asdict(check) for check in outcome.checks],
        "label": None if outcome.label is None else str(outcome.label),
        "error": None if problem is None else problem.message,
        "hint": None if problem is None else problem.remedy,
        "left": outcome.left or None,
    }


# The other commands.


def _ports(options: argparse.Namespace) -> int:
    found = ports.list_ports()
    if options.json:
        fields = ("device", "description", "serial", "likely", "problem")
        print(json.dumps([{key: getattr(port, key) for key in fields} for port in found], indent=1))
    for port in () if options.json else found:
        print(f"{port.device:14} {port.description}" + ("" if port.likely else "  (not a board?)"))
        if port.problem:
            print(f"{'':14} {port.problem}")
    if not found:
        raise ports.no_board(found)
    return 0


def _book(options: argparse.Namespace) -> ledger.Ledger:
    return ledger.Ledger(options.ledger or ledger.default_path())


def _some(book: ledger.Ledger, dev_euis: Sequence[str]) -> list[ledger.Entry]:
    return [book.of(eui_of(one, "a DevEUI")) for one in dev_euis] or book.entries()


def _list(options: argparse.Namespace) -> int:
    with _book(options) as book:
        entries = book.unfinished() if options.unfinished else book.entries()
    rows = [
        {
            "number": entry.number,
            "dev_eui": entry.identity.dev_eui.hex(),
            "mac": entry.mac.hex(":"),
            "board": entry.board,
            "kind": entry.kind,
            "region": entry.region,
            "state": entry.state,
            "asset": entry.asset or "",
            "name": entry.name or "",
        }
        for entry in entries
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
    elif rows:
        out = io.StringIO()
        writer = csv.DictWriter(out, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(out.getvalue(), end="")
    else:
        print("no board yet" if not options.unfinished else "nothing is half done", file=sys.stderr)
    return 0


def _label(options: argparse.Namespace) -> int:
    with _book(options) as book:
        entries = _some(book, options.dev_eui)
        made = [labels.label_of(entry) for entry in entries]
        if options.sheet is not None:
            options.sheet.write_text(
                labels.sheet(made, skip=options.skip, outline=options.outline), "utf-8"
            )
            written = [str(options.sheet)]
        else:
            options.folder.mkdir(parents=True, exist_ok=True)
            written = []
            for entry, label in zip(entries, made, strict=True):
                path = options.folder / f"{entry.identity.dev_eui.hex()}.{options.format}"
                if options.format == "svg":
                    path.write_text(labels.label_svg(label), "utf-8")
                else:
                    path.write_bytes(labels.label_png(label))
                written.append(str(path))
        for entry in entries:
            book.mark(entry.identity.dev_eui, "labelled")
    print(json.dumps(written) if options.json else "\n".join(written))
    return 0


def _export(options: argparse.Namespace) -> int:
    with _book(options) as book:
        entries = _some(book, options.dev_eui)
    if options.to == "chirpstack":
        if not (options.application and options.device_profile):
            raise FlashError(
                "ChirpStack needs to know where", "--application ID --device-profile ID", USAGE
            )
        text = registration.chirpstack(entries, options.application, options.device_profile)
    else:
        text = {
            "stoep": registration.stoep_csv,
            "stoep-yaml": registration.stoep_yaml,
            "things-stack": registration.things_stack_json,
            "things-stack-csv": registration.things_stack_csv,
        }[options.to](entries)
    registration.write_secret(options.file, text)
    what = f"{len(entries)} boards with their keys are in {options.file}: delete it when it is read"
    print(
        json.dumps({"written": str(options.file), "boards": len(entries)}) if options.json else what
    )
    return 0


def _register(options: argparse.Namespace) -> int:
    command = _stoep_at(options.gateway)
    if command is None:
        raise FlashError("no gateway is named", "--gateway HOST or local", USAGE)
    with _book(options) as book:
        if options.dev_eui:
            entries = _some(book, options.dev_eui)
        else:
            entries = [
                entry
                for entry in book.entries()
                if "verified" in entry.times and "registered" not in entry.times
            ]
        if not entries:
            raise FlashError("every board is registered already", "", USAGE)
        done = registration.register(command, entries)
        for entry in entries:
            book.mark(entry.identity.dev_eui, "registered")
    counts = {"added": done.added, "changed": done.changed, "unchanged": done.unchanged}
    print(
        json.dumps(counts)
        if options.json
        else ", ".join(f"{count} {word}" for word, count in counts.items())
    )
    return 0


def _place(options: argparse.Namespace) -> int:
    with _book(options) as book:
        dev_eui = eui_of(options.dev_eui, "a DevEUI")
        entry = book.place(dev_eui, asset=options.asset, name=options.name)
    if options.json:
        print(json.dumps({"dev_eui": dev_eui.hex(), "asset": entry.asset, "name": entry.name}))
    else:
        print(
            f"{grouped(dev_eui)} is {entry.asset or 'nowhere yet'}; register it to tell the gateway"
        )
    return 0


def _test(options: argparse.Namespace) -> int:
    screen = Screen(quiet=options.json)
    board = board_data.load(options.board)
    with ports.lock(options.port), Repl(options.port, ask=screen.ask) as repl:
        checks = selftest.run(repl, board, options.kind, join=not options.no_join)
        repl.reset()
    if options.report is not None:
        selftest.write_report(options.report, checks, {"board": board.name, "port": options.port})
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        screen.checks(checks)
    return 0 if selftest.passed(checks) else BOARD_FAILED


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "boards": _boards,
    "ports": _ports,
    "list": _list,
    "label": _label,
    "export": _export,
    "register": _register,
    "place": _place,
    "test": _test,
}
