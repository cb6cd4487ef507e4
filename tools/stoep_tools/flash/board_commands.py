"""The commands of ``stoep flash`` that work on one board: look at ports, test it, rescue it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stoep_hardware import board_data
from stoep_protocol.advice import RESULTS, STEPS, advice
from stoep_protocol.calibration import STEP_CAR, STEP_ECHOES, STEP_EMPTY, Calibrate, Calibrated
from stoep_protocol.messages import decode, encode
from stoep_protocol.schema import F_PORT_CALIBRATED

from . import answers, backup, filesystem, ledger, ports, selftest, sensors
from .errors import BOARD_FAILED, USAGE, FlashError
from .identity import grouped
from .ledger_commands import Result
from .repl import Repl, helper
from .screen import Screen

_STEP_S = 90.0  # of silence
_STAND_BACK = {
    STEP_EMPTY: "the field of the empty bay: stand back for half a minute",
    STEP_CAR: "the car on the bay: stand back for half a minute",
    STEP_ECHOES: "30 pings into the container: close its lid",
}
_KINDS = {"bin": "container", "bay": "bay"}


def list_ports(options: argparse.Namespace) -> Result:
    """List serial ports and what is on them."""
    found = ports.list_ports()
    answer = []
    for port in found:
        usable = port.likely and port.problem is None
        answer.append({**asdict(port), "likely": port.likely, "usable": usable})
        if not options.json:
            what = port.problem or ("may be a board" if port.likely else "not one of our boards")
            print(f"{port.device:14} {port.description}: {what}")
    if not found:
        raise ports.no_board(found)
    return 0, {"ports": answer}


@contextmanager
def _held(options: argparse.Namespace, screen: Screen) -> Iterator[Repl]:
    """Hold a board at its prompt; it runs its own program again afterwards."""
    device = _port_of(options)
    with ports.lock(device), Repl(device, ask=_asking(options, screen)) as repl:
        yield repl
        repl.reset()


def _asking(options: argparse.Namespace, screen: Screen) -> Callable[[str], object]:
    if not options.json:
        return screen.ask
    return lambda what: print(what, file=sys.stderr)  # a finger has to, whoever reads the answer


def _port_of(options: argparse.Namespace) -> str:
    if options.port:
        return str(options.port)
    found = ports.list_ports()
    usable = [port.device for port in found if port.problem is None and port.likely]
    if not usable:
        raise ports.no_board(found)
    if len(usable) > 1:
        raise FlashError(
            f"there are {len(usable)} boards: {', '.join(usable)}", "--port PORT", USAGE
        )
    return usable[0]


def _which(options: argparse.Namespace, config: dict[str, Any]) -> board_data.BoardData:
    """Return which board it is: as was said, or as it was flashed. Raises `FlashError`."""
    if getattr(options, "board", None):
        return board_data.load(options.board)
    path = options.ledger or ledger.default_path()
    if path.exists():
        with ledger.Ledger(path) as book:
            for entry in book.entries():
                if entry.identity.dev_eui.hex() == config.get("dev_eui"):
                    return board_data.load(entry.board)
    # No ledger has it: its own file tells by its number.
    number = config.get("board", {}).get("id")
    for name in board_data.names():
        board = board_data.load(name)
        if board.id == number:
            return board
    raise FlashError("the board does not say which it is", "--board BOARD", USAGE)


def _finish(options: argparse.Namespace, *more: str) -> str:
    port = ("--port", options.port) if options.port else ()
    return " ".join(["stoep flash", options.command, *more, *port])


def _would(options: argparse.Namespace, what: str) -> Result:
    """Say what would be done; the board is not even opened, for that resets most."""
    port = _port_of(options)
    if not options.json:
        print(f"would {what} at {port}")
    return 0, {"dry_run": True, "port": port, "would": what}


def test(options: argparse.Namespace) -> Result:
    """Run the self-test on a board that is flashed."""
    if options.dry_run:
        join = "" if options.no_join else ", with a join, which uses up to three DevNonces,"
        return _would(options, f"test the board{join}")
    screen = Screen(quiet=options.json)
    with _held(options, screen) as repl:
        config = {} if options.board and options.kind else backup.read_config(repl)
        board = _which(options, config)
        kind = options.kind or str(config.get("kind"))
        if kind not in ("bin", "bay"):
            raise FlashError("the board does not say what it measures", "--kind bin", USAGE)
        with screen:
            line = screen.lines([repl.device])[repl.device]
            checks = selftest.run(
                repl,
                board,
                kind,
                join=not options.no_join,
                say=lambda check: line.at(f"{check.name}: {check.value}"),
            )
        device = repl.device
    if options.report is not None:
        about = {"board": board.name, "kind": kind, "port": device}
        if "dev_eui" in config:
            about["dev_eui"] = str(config["dev_eui"])
        _report(options.report, checks, about)
    screen.checks(checks)
    passed = selftest.passed(checks)
    failed = sum(check.passed is False for check in checks)
    screen.say("self-test passed" if passed else f"SELF-TEST FAILED: {failed} of {len(checks)}")
    code = 0 if passed else BOARD_FAILED
    said = [asdict(check) for check in checks]
    return code, {"port": device, "passed": passed, "checks": said, "exit_code": code}


def _report(path: Path, checks: list[selftest.Check], about: dict[str, str]) -> None:
    try:
        selftest.write_report(path, checks, about)
    except OSError as problem:
        raise FlashError(f"{path}: {problem.strerror}", "name another place", USAGE) from None


def calibrate(options: argparse.Namespace) -> Result:
    """Calibrate a bay's sensor where it lies, or find what echoes in a container."""
    if options.distance_cm is not None and not 1 <= options.distance_cm <= 1000:
        raise FlashError("a distance is 1 to 1000 cm", "--distance-cm 150", USAGE)
    if options.dry_run:
        return _would(options, "calibrate the board's sensor")
    screen = Screen(quiet=options.json)
    with _held(options, screen) as repl:
        kind = str(backup.read_config(repl).get("kind"))
        wrong = _not_for(kind, options)
        if not wrong:
            step = STEP_ECHOES if kind == "bin" else STEP_CAR if options.car else STEP_EMPTY
            screen.say(_STAND_BACK[step])
            order = encode(Calibrate(step, options.distance_cm))[1]
            repl.run(helper("check") + helper("calibrate") + "\n_t_board = _t_make()\n")
            octets = repl.value(f"_t_drive(_t_board, _t_step(_t_board, {order!r}))", _STEP_S)
        device = repl.device
    if wrong:  # by now the board runs again
        raise FlashError(f"{wrong} is not for a {_KINDS.get(kind, kind)}", "leave it out", USAGE)
    answer = decode(F_PORT_CALIBRATED, octets)
    assert isinstance(answer, Calibrated)
    found = advice(answer)
    screen.say("")
    for text, remedy in found:
        screen.say(f" {text}")
        if remedy:
            screen.say(f"   → {remedy}")
    code = BOARD_FAILED if answer.result else 0
    screen.say("\nCALIBRATION FAILED" if code else "\ndone; the board tells the gateway, too")
    return code, {
        "port": device,
        "step": STEPS[answer.step],
        "result": RESULTS[answer.result],
        "values": list(answer.values),
        "found": [{"text": text, "remedy": remedy or None} for text, remedy in found],
        "exit_code": code,
    }


def _not_for(kind: str, options: argparse.Namespace) -> str:
    if options.car and kind != "bay":
        return "--car"
    return "--distance-cm" if options.distance_cm is not None and kind != "bin" else ""


def show(options: argparse.Namespace) -> Result:
    """Read back how a board is configured."""
    screen = Screen(quiet=options.json)
    with _held(options, screen) as repl:
        config = backup.read_config(repl)
        firmware = backup.installed(repl)
        free, size = repl.free()
        if options.save is not None:
            backup.save_config(repl, options.save)
        device = repl.device
    board = _which(options, config)
    answer = {
        "port": device,
        "board": board.name,
        "config": config,
        "firmware": {"files": len(firmware.hashes), "unfinished_update": bool(firmware.leftovers)},
        "flash": {"free": free, "size": size},
    }
    if not options.json:
        print(f"  board        {board.title}")
        for name, value in config.items():
            if name != "board":
                shown = grouped(bytes.fromhex(value)) if name.endswith("_eui") else value
                print(f"  {name:12} {shown}")
        rest = ", and an update that has not ended" if firmware.leftovers else ""
        print(f"  firmware     {len(firmware.hashes)} files{rest}")
        print(f"  flash        {free >> 10} of {size >> 10} KiB free")
        if options.save is not None:
            print(f"its config.json WITH ITS KEY is in {options.save}: delete it when done")
    return 0, answer


def update(options: argparse.Namespace) -> Result:
    """Write our newest files; identity, configuration and session stay."""
    if options.dry_run:
        return _would(options, "update our files (identity, configuration and session stay)")
    screen = Screen(quiet=options.json)
    with _held(options, screen) as repl:
        config = backup.read_config(repl)
        board = _which(options, config)
        kind, region = str(config["kind"]), str(config["region"])
        parts = {name: config[name] for name in sensors.NAMES if name in config}
        drivers = sensors.drivers(sensors.check(kind, parts))
        files = filesystem.firmware_files(board, kind, region, drivers=drivers)
        with screen:
            line = screen.lines([repl.device])[repl.device]
            done = backup.update(repl, files, line.progress, finish=_finish(options))
        device = repl.device
    screen.say(
        f"{len(done.written)} files written, {len(done.kept)} taken over,"
        f" {len(done.removed)} old ones removed"
        if done.written or done.removed
        else "it has our newest files already"
    )
    return 0, {"port": device, **asdict(done)}


def reset(options: argparse.Namespace) -> Result:
    """Make a board forget its configuration and session; it keeps its identity."""
    what = "make the board forget its configuration and session (it keeps its identity)"
    if options.dry_run:
        return _would(options, what)
    _confirm(options, f"This will {what}. Do it?")
    with _held(options, Screen(quiet=options.json)) as repl:
        dev_nonce = backup.factory_reset(repl, finish=_finish(options, "--yes"))
        device = repl.device
    if not options.json:
        print(f"done: it joins anew, with DevNonce {dev_nonce}")
    return 0, {"port": device, "dev_nonce": dev_nonce}


def back_up(options: argparse.Namespace) -> Result:
    """Copy all files of a board, with its key, into an archive."""
    if options.dry_run:
        return _would(options, f"copy all files into {options.file or 'a new archive'}")
    screen = Screen(quiet=options.json)
    with _held(options, screen) as repl:
        path = options.file
        if path is None:
            dev_eui = backup.read_config(repl).get("dev_eui", "board")
            path = Path(f"{dev_eui}-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar")
        names = backup.back_up(repl, path)
        device = repl.device
    if not options.json:
        print(f"{len(names)} files, WITH THE BOARD'S KEY, are in {path}")
    return 0, {"port": device, "file": str(path), "files": names}


def restore(options: argparse.Namespace) -> Result:
    """Bring back what a backup holds, but for the session."""
    files = backup.read_archive(options.file)
    what = f"write {len(files)} files of {options.file} over those of the board"
    if options.dry_run:
        return _would(options, what)
    _confirm(options, f"This will {what}. Do it?")
    screen = Screen(quiet=options.json)
    replace = ("--replace",) if options.replace else ()
    finish = _finish(options, str(options.file), *replace, "--yes")
    with _held(options, screen) as repl, screen:
        line = screen.lines([repl.device])[repl.device]
        dev_nonce = backup.restore(
            repl, options.file, line.progress, onto_another=options.replace, finish=finish
        )
        if options.replace:
            _note_replaced(options, repl, dev_nonce)
        device = repl.device
    screen.say(f"done: it joins anew, with DevNonce {dev_nonce}")
    return 0, {"port": device, "dev_nonce": dev_nonce}


def _note_replaced(options: argparse.Namespace, repl: Repl, dev_nonce: int) -> None:
    """Have the ledger know that the identity is this chip's now, if it knows the identity."""
    path = options.ledger or ledger.default_path()
    dev_eui = bytes.fromhex(str(backup.read_config(repl).get("dev_eui", "")))
    if not path.exists():
        return
    mac = bytes(repl.value("__import__('machine').unique_id()"))
    with ledger.Ledger(path) as book:
        if any(entry.identity.dev_eui == dev_eui for entry in book.entries()):
            book.move(dev_eui, mac, dev_nonce)


def _confirm(options: argparse.Namespace, question: str) -> None:
    """Go on if a person says so; a program says --yes. Raises `FlashError`."""
    if options.yes:
        return
    asks = sys.stdin.isatty() and not options.json
    if not answers.Answers(ask=asks).agrees(question):
        raise FlashError("nothing was done", "--yes does it without asking", USAGE)


COMMANDS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "ports": list_ports,
    "test": test,
    "calibrate": calibrate,
    "show": show,
    "update": update,
    "reset": reset,
    "backup": back_up,
    "restore": restore,
}
