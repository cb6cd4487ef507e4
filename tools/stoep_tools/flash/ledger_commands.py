"""The commands of ``stoep flash`` that need no board: the ledger, labels, and the gateway."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import labels, ledger, registration, scanned
from .errors import USAGE, FlashError
from .identity import grouped

Result = tuple[int, dict[str, Any]]  # the exit code, and what --json says


def stoep_at(gateway: str | None) -> list[str] | None:
    """Return how ``stoep`` is run at a gateway, None for none. Raises `FlashError`."""
    if gateway in (None, "", "none"):
        return None
    assert gateway is not None
    if gateway.startswith("-"):  # ssh would take it for an option
        raise FlashError(f"{gateway!r} is no host", "--gateway HOST, or local", USAGE)
    return ["stoep"] if gateway == "local" else ["ssh", gateway, "stoep"]


def open_book(options: argparse.Namespace) -> ledger.Ledger:
    """Open the ledger, which has to be there: none is made. Raises `FlashError`."""
    path = options.ledger or ledger.default_path()
    if not path.exists():
        raise FlashError(
            f"there is no ledger {path}", "it begins with the first board: stoep flash", USAGE
        )
    return ledger.Ledger(path)


def _say(options: argparse.Namespace, what: str) -> None:
    if not options.json:
        print(what)


def _some(book: ledger.Ledger, dev_euis: Sequence[str]) -> list[ledger.Entry]:
    """Return the boards that are named, or all that are flashed. Raises `FlashError`."""
    wanted = [scanned.read_dev_eui(one) for one in dev_euis]
    if wanted:
        return [book.of(dev_eui) for dev_eui in dict.fromkeys(wanted)]
    found = [entry for entry in book.entries() if "verified" in entry.times]
    if not found:
        raise FlashError("no board is flashed yet", "stoep flash", USAGE)
    return found


def _about(entry: ledger.Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "dev_eui": entry.identity.dev_eui.hex(),
        "join_eui": entry.identity.join_eui.hex(),
        "mac": entry.mac.hex(":"),
        "board": entry.board,
        "kind": entry.kind,
        "region": entry.region,
        "state": entry.state,
        "unfinished": "verified" not in entry.times,
        "registered": "registered" in entry.times,
        "asset": entry.asset or None,
        "name": entry.name,
        "serial": entry.serial,
    }


def list_boards(options: argparse.Namespace) -> Result:
    """List the boards in the ledger."""
    entries: list[ledger.Entry] = []
    if (options.ledger or ledger.default_path()).exists():
        with open_book(options) as book:
            entries = book.unfinished() if options.unfinished else book.entries()
    answer = {"boards": [_about(entry) for entry in entries]}
    if options.json:
        return 0, answer
    if options.csv:
        print(ledger.listing(entries), end="")
    elif not entries:
        print("nothing is half done" if options.unfinished else "no board yet")
    else:
        _print_table(
            [("no.", "DevEUI", "kind", "region", "board", "state", "belongs to")]
            + [
                (
                    str(entry.number),
                    grouped(entry.identity.dev_eui),
                    entry.kind,
                    entry.region,
                    entry.board,
                    entry.state if "verified" in entry.times else "HALF DONE",
                    " ".join(filter(None, (entry.asset, entry.name))),
                )
                for entry in entries
            ]
        )
        if any(board["unfinished"] for board in answer["boards"]):
            print("what is half done is finished by plugging it in and: stoep flash")
    return 0, answer


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        )


def print_labels(options: argparse.Namespace) -> Result:
    """Print labels again."""
    with open_book(options) as book:
        entries = _some(book, options.dev_eui)
        made = [labels.label_of(entry) for entry in entries]
        files: dict[Path, bytes] = {}
        if options.sheet is not None:
            sheet = labels.sheet(made, skip=options.skip, outline=options.outline)
            files[options.sheet] = sheet.encode()
        else:
            for entry, label in zip(entries, made, strict=True):
                path = options.folder / f"{entry.identity.dev_eui.hex()}.{options.format}"
                files[path] = (
                    labels.label_svg(label).encode()
                    if options.format == "svg"
                    else labels.label_png(label)
                )
        if not options.dry_run:
            _write(files)
            for entry in entries:
                book.mark(entry.identity.dev_eui, "labelled")
    would = "would write " if options.dry_run else ""
    for path in files:
        _say(options, f"{would}{path}")
    if options.sheet is not None:
        _say(options, "open it in a browser and print it at 100 %, without margins")
    return 0, {"dry_run": options.dry_run, "labels": [str(path) for path in files]}


def _write(files: dict[Path, bytes]) -> None:
    for path, data in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as problem:
            raise FlashError(f"{path}: {problem.strerror}", "name another place", USAGE) from None


def export(options: argparse.Namespace) -> Result:
    """Write a file, with keys, for a network server to import."""
    with open_book(options) as book:
        entries = _some(book, options.dev_eui)
    if options.to == "chirpstack":
        if not (options.application and options.device_profile):
            raise FlashError(
                "ChirpStack has to be told where they belong",
                "--application ID --device-profile ID, as its own pages show them",
                USAGE,
            )
        text = registration.chirpstack(entries, options.application, options.device_profile)
    else:
        text = {
            "stoep": registration.stoep_csv,
            "stoep-yaml": registration.stoep_yaml,
            "things-stack": registration.things_stack_json,
            "things-stack-csv": registration.things_stack_csv,
        }[options.to](entries)
    if options.dry_run:
        _say(options, f"would write {len(entries)} boards with their keys into {options.file}")
    else:
        registration.write_secret(options.file, text)
        _say(options, f"{len(entries)} boards WITH THEIR KEYS are in {options.file}")
        _say(options, "delete it once it is imported")
    return 0, {"dry_run": options.dry_run, "file": str(options.file), "boards": len(entries)}


def register(options: argparse.Namespace) -> Result:
    """Register boards at the gateway."""
    command = stoep_at(options.gateway)
    if command is None:
        raise FlashError("no gateway is named", "--gateway HOST or local", USAGE)
    with open_book(options) as book:
        if options.dev_eui:
            entries = _some(book, options.dev_eui)
        else:
            entries = [
                entry
                for entry in book.entries()
                if "verified" in entry.times and "registered" not in entry.times
            ]
        done = _tell_gateway(options, book, command, entries)
    if not entries:
        _say(options, "every board that is flashed is registered already")
    return 0, {"dry_run": options.dry_run, "boards": len(entries), **done}


def _tell_gateway(
    options: argparse.Namespace,
    book: ledger.Ledger,
    command: Sequence[str],
    entries: Sequence[ledger.Entry],
) -> dict[str, int]:
    done = registration.register(command, entries, dry_run=options.dry_run)
    if not options.dry_run:
        for entry in entries:
            if "verified" in entry.times:
                book.mark(entry.identity.dev_eui, "registered")
    counts = {"added": done.added, "changed": done.changed, "unchanged": done.unchanged}
    if entries:
        said = ", ".join(f"{count} {word}" for word, count in counts.items())
        would = "would be " if options.dry_run else ""
        _say(options, f"at the gateway {would}{said}")
    return counts


def place(options: argparse.Namespace) -> Result:
    """Note where boards belong, and tell the gateway."""
    texts = {
        key: getattr(options, key)
        for key in ("asset", "name", "serial")
        if getattr(options, key) is not None
    }
    if (options.csv is None) == (options.dev_eui is None):
        raise FlashError(
            "it has to be said which board", "a DEV_EUI (or a scanned code), or --csv FILE", USAGE
        )
    if (options.csv is None) == (not texts):
        raise FlashError(
            "--csv says it all" if texts else "it has to be said where the board belongs",
            "leave --asset, --name and --serial out" if texts else "--asset container/ID",
            USAGE,
        )
    command = stoep_at(options.gateway)
    with open_book(options) as book:
        if options.csv is None:
            if "asset" in texts:
                texts["asset"] = scanned.check_asset(texts["asset"])
            placed = [(book.of(scanned.read_dev_eui(options.dev_eui)), texts)]
        else:
            entries = book.entries()
            rows = scanned.read_csv(options.csv)
            placed = [
                (scanned.entry_of(row, entries, options.csv), dict(row.texts)) for row in rows
            ]
        changed = [replace(entry, **said) for entry, said in placed]
        also = _also(book, changed)
        # The gateway first: what it refuses is not noted either.
        done = {} if command is None else _tell_gateway(options, book, command, changed)
        if not options.dry_run:
            for entry, said in placed:
                book.place(entry.identity.dev_eui, **said)
    would = "would be" if options.dry_run else "is"
    for entry in changed:
        where = " ".join(filter(None, (entry.asset or "nowhere yet", entry.name, entry.serial)))
        _say(options, f"{grouped(entry.identity.dev_eui)} {would} {where}")
    for line in also:
        _say(options, line)
    if command is None:
        _say(options, "the gateway is not told: --gateway HOST, or stoep flash register DEV_EUI")
    return 0, {
        "dry_run": options.dry_run,
        "boards": [_about(one) for one in changed],
        "also": also,
        **done,
    }


def _also(book: ledger.Ledger, changed: Sequence[ledger.Entry]) -> list[str]:
    """Return who else was noted for the same assets: a board that was replaced, or a mistake."""
    moved = {entry.number for entry in changed}
    assets = {entry.asset for entry in changed if entry.asset}
    return [
        f"{entry.asset} is noted for {grouped(entry.identity.dev_eui)} too: was that one replaced?"
        for entry in book.entries()
        if entry.asset in assets and entry.number not in moved
    ]


COMMANDS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "list": list_boards,
    "label": print_labels,
    "place": place,
    "register": register,
    "export": export,
}
