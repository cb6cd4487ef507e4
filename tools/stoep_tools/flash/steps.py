"""From a board that is plugged in to one that may be mounted, step by step.

::

    found ─ identity ─ written ─ registered ─ self-test ─ labelled
              │           └ ledger: written, verified
              └ ledger: issued, durable before anything is written

A run that was cut short goes on where it was: the ledger knows the chip by its MAC, and what is in
flash already is not written again. What a board lacks in the end is said with the commands that
finish it (`left`).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoep_hardware.board_data import BoardData

from . import filesystem, labels, ports, registration, scanned, selftest, sensors, together
from .errors import USAGE, FlashError
from .esptool import Esptool, boot_hint
from .esptool_output import Chip
from .identity import SESSION_NAMES, EuiRange, config_json, dev_nonce_of, grouped, session_record
from .images import Image
from .ledger import Entry, Ledger, default_path
from .repl import Repl, Unflashed
from .selftest import Check

Tell = Callable[[str, str], None]  # (step, what), as it comes
Progress = Callable[[int, int], None]

DEFAULT_LABELS = Path("labels")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to become of a board."""

    board: BoardData
    kind: str
    region: str
    image: Image
    lorawan: str = "1.0.4"
    behaviour: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)  # what is wired to it: sensors.NAMES
    join_eui: bytes | None = None
    euis: EuiRange | None = None
    new_key: bool = False
    asset: str | None = None
    name: str | None = None
    serial: str | None = None
    rows: Sequence[scanned.Row] = ()  # what a CSV says of boards, before what is said above
    self_test: bool = True
    gateway: Sequence[str] | None = None  # how `stoep` is run there; None: registered later
    gateway_name: str = "local"
    gateway_options: Sequence[str] = ()
    labels: Path | None = None  # the folder that labels go to
    baud: int = 921_600
    again: Sequence[str] = ()  # the words that ask for this once more, but for the port


@dataclass(slots=True)
class Outcome:
    """What became of a board; `left` says what it lacks, `finish` are the commands for that.

    `place` is what tells the gateway where it was mounted.
    """

    port: str
    entry: Entry | None = None
    again: bool = False
    checks: Sequence[Check] = ()
    is_begun: bool = False  # the port is ours, and its chip was asked who it is
    is_tested: bool = False  # to the end, and all is well
    label: Path | None = None
    problem: FlashError | None = None
    left: str = ""
    finish: Sequence[str] = ()
    place: str = ""


def flash(
    port: str,
    order: Order,
    ledger: Ledger,
    tell: Tell,
    progress: Progress,
    ask: Callable[[str], object] = lambda _what: None,
) -> Outcome:
    """Do all of it with one board; what fails is in the outcome, with what is left to do.

    `tell` and `progress` are told what it is at, `ask` what a person has to do.
    """
    outcome = Outcome(port)
    try:
        with ports.lock(port):
            outcome.is_begun = True
            files = _write(outcome, order, ledger, tell, progress)
            _register(outcome, order, ledger, tell)
            _test(outcome, order, files, tell, ask)
            _label(outcome, order, ledger, tell)
    except FlashError as problem:
        outcome.problem = problem
    except Exception as problem:  # noqa: BLE001 - what became of the board is told all the same
        outcome.problem = together.mistake(problem)
    if outcome.problem is None and outcome.entry is not None:
        outcome.place = _place(outcome.entry, order)
    elif outcome.problem is not None:
        outcome.left, outcome.finish = left(outcome, order, ledger.path)
    return outcome


def _write(
    outcome: Outcome, order: Order, ledger: Ledger, tell: Tell, progress: Progress
) -> Mapping[str, bytes]:
    """Flash a board; return the files that it has now."""
    board = order.board
    hint = boot_hint(board.buttons)
    # What runs on it must not go to sleep in between: a port without a USB chip goes with it.
    held = Esptool(outcome.port, order.baud, hint=hint, stay=True)
    chip = held.detect()
    _check(chip, board, outcome.port)
    offset, size = order.image.file_system(chip.flash_bytes)
    tell("found", f"{chip.name}, {chip.flash_bytes >> 20} MB flash, MAC {chip.mac.hex(':')}")
    known = ledger.find_mac(chip.mac)
    dev_nonce = None
    if known is not None:  # even if this is but the second try: it may have run in between
        tell("found", "it is known: its DevNonce is read back")
        dev_nonce = _dev_nonce(held, offset)
    texts = {"asset": order.asset, "name": order.name, "serial": order.serial}
    texts |= scanned.texts_of(order.rows, chip.mac, known)
    issued = ledger.issue(
        chip.mac,
        board.name,
        order.kind,
        order.region,
        lorawan=order.lorawan,
        join_eui=order.join_eui,
        euis=order.euis,
        dev_nonce=dev_nonce,
        new_key=order.new_key,
        **texts,
    )
    entry = outcome.entry = issued.entry
    outcome.again = issued.again
    together.check()
    age = "as before" if issued.again else "new"
    tell("identity", f"DevEUI {grouped(entry.identity.dev_eui)}, {age}")
    drivers = sensors.drivers(order.parts)
    files = filesystem.firmware_files(board, order.kind, order.region, drivers=drivers)
    files["config.json"] = config_json(
        entry.identity,
        board.name,
        order.kind,
        order.region,
        lorawan=order.lorawan,
        parts=order.parts,
        **order.behaviour,
    )
    if entry.dev_nonce:
        files[SESSION_NAMES[0]] = session_record(entry.dev_nonce)
    regions = [
        (board.flash["firmware_offset"], order.image.data),
        (offset, filesystem.build(files, size)),
    ]
    tell("writing", f"MicroPython {order.image.version} and {len(files)} files")
    skipped = Esptool(outcome.port, order.baud, hint=hint).write(regions, progress)
    dev_eui = entry.identity.dev_eui
    ledger.mark(dev_eui, "written")
    outcome.entry = ledger.mark(dev_eui, "verified")
    total = sum(len(data) for _, data in regions)
    there = f", {skipped >> 10} of them were there already" if skipped else ""
    tell("written", f"{total >> 10} KB, verified by hash{there}")
    return files


def _check(chip: Chip, board: BoardData, port: str) -> None:
    if chip.name != board.chip:
        raise FlashError(
            f"{port} has an {chip.name}, a {board.title} has an {board.chip}",
            "name the board that it is: --board",
        )
    if chip.flash_bytes < board.flash["size"]:
        raise FlashError(
            f"{port} has {chip.flash_bytes >> 20} MB of flash, a {board.title} has"
            f" {board.flash['size'] >> 20}",
            "name the board that it is: --board",
        )


def _dev_nonce(tool: Esptool, offset: int) -> int | None:
    """Return the next DevNonce by the board's own records, None if they cannot be read."""
    try:
        files = filesystem.read_from(lambda at, n: tool.fetch(offset + at, n), SESSION_NAMES)
    except FlashError:
        return None  # the ledger then leaves room for those that it may have used
    return dev_nonce_of(files)


def _register(outcome: Outcome, order: Order, ledger: Ledger, tell: Tell) -> None:
    entry = outcome.entry
    if order.gateway is None or entry is None:
        return
    together.check()
    done = registration.register(order.gateway, [entry], options=order.gateway_options)
    outcome.entry = ledger.mark(entry.identity.dev_eui, "registered")
    tell("registered", "known to the gateway already" if done.unchanged else "at the gateway")


def _test(
    outcome: Outcome,
    order: Order,
    files: Mapping[str, bytes],
    tell: Tell,
    ask: Callable[[str], object],
) -> None:
    """Test a board, with a join if a gateway knows it, and start its program."""
    if not order.self_test:
        return
    together.check()
    fixed = {path: data for path, data in files.items() if path not in SESSION_NAMES}
    with Repl(outcome.port, ask=ask) as repl:
        outcome.checks = selftest.run(
            repl,
            order.board,
            order.kind,
            files=fixed,
            join=order.gateway is not None,
            say=lambda check: tell(
                "self-test", f"{selftest.MARKS[check.passed]:6} {check.name}: {check.value}"
            ),
        )
        repl.reset()
    failed = [check for check in outcome.checks if check.passed is False]
    if failed:
        names = ", ".join(check.name for check in failed)
        raise FlashError(f"the self-test failed: {names}", failed[0].hint)
    outcome.is_tested = True


def _label(outcome: Outcome, order: Order, ledger: Ledger, tell: Tell) -> None:
    entry = outcome.entry
    if order.labels is None or entry is None:
        return
    together.check()
    dev_eui = entry.identity.dev_eui
    path = order.labels / f"{dev_eui.hex()}.png"
    try:
        order.labels.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_bytes(labels.label_png(labels.label_of(entry)))
        beside.replace(path)
    except OSError as problem:
        raise FlashError(
            f"{path}: {problem.strerror}", "--labels FOLDER names another place", USAGE
        ) from None
    outcome.label = path
    outcome.entry = ledger.mark(dev_eui, "labelled")
    tell("labelled", str(path))


def left(outcome: Outcome, order: Order, book: Path) -> tuple[str, Sequence[str]]:
    """Return what a board that is not done lacks, and the commands that give it that, in order."""
    port = ["--port", outcome.port]
    entry = outcome.entry
    if not outcome.is_begun:
        return "this run did not touch the board", ()
    if entry is None:
        return "the board was not touched; press its reset button to start it", ()
    failed = [check.name for check in outcome.checks if check.passed is False]
    if "verified" not in entry.times or isinstance(outcome.problem, Unflashed) or "files" in failed:
        # The key is new by now.
        again = [word for word in order.again if word != "--new-key"]
        (command,) = _commands([[*again, *port]])
        return f"the board is half done: {command} writes the rest", (command,)
    dev_eui = entry.identity.dev_eui.hex()
    needed = []
    if order.gateway is not None and "registered" not in entry.times:
        needed.append(["register", dev_eui, "--gateway", order.gateway_name])
    if order.self_test and not outcome.is_tested:
        needed.append(["test", *port, *([] if order.gateway else ["--no-join"])])
    if order.labels is not None and "labelled" not in entry.times:
        folder = [] if order.labels == DEFAULT_LABELS else ["--folder", str(order.labels)]
        needed.append(["label", dev_eui, *folder])
    own = [] if book == default_path() else ["--ledger", str(book)]
    commands = _commands([*words, *own] for words in needed)
    said = " but failed" if failed else ""
    return f"the board is flashed{said}; left to do: {', then '.join(commands)}", commands


def _place(entry: Entry, order: Order) -> str:
    words = [*(order.gateway or ["stoep"]), "device", "place", entry.identity.dev_eui.hex()]
    words += ["--asset", entry.asset or f"{'bay' if order.kind == 'bay' else 'container'}/ID"]
    return f"{shlex.join(words)} --lat … --lon …"


def _commands(words: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(shlex.join(["stoep", "flash", *one]) for one in words)
