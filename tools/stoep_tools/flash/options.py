"""The options of ``stoep flash``: one parser, whose mistakes are told as all others are."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import NoReturn

from stoep_hardware import board_data

from .errors import USAGE, FlashError
from .identity import KINDS
from .images import OLDEST
from .sensors import OTHERS, SENSORS

REGIONS = {
    "EU868": "Europe, Africa, the Middle East",
    "US915": "North America",
    "AU915": "Australia, South America",
    "IN865": "India",
    "AS923": "Asia, group 1 (Japan and others)",
    "AS923-2": "Asia, group 2 (Vietnam, Indonesia)",
    "AS923-3": "Asia, group 3 (Philippines and others)",
    "AS923-4": "Israel",
}
MEASURES = {"bin": "how full a container is", "bay": "whether a parking bay is taken"}
WIRED = {
    "motion": "an accelerometer for falls and rides",
    "thermometer": "a thermometer for fire",
    "second": "what looks up from the bay, too",
}
EXPORTS = ("stoep", "stoep-yaml", "things-stack", "things-stack-csv", "chirpstack")
DEFAULT = "boards"
_CODES = """\
exit codes: 0 done, 2 wrong usage, 3 no board, 4 a board failed, 5 the gateway refused,
130 interrupted. With --json one object is printed, on errors too: error, hint, exit_code.
"""
_EPILOG = (
    """\
examples:
  stoep flash                                   asks what it does not know, board after board
  stoep flash --yes --all                       all boards that are plugged in, as last time
  stoep flash --board heltec_wifi_lora_32_v3 --kind bin --region EU868 \\
      --firmware ESP32_GENERIC_S3.bin --gateway pi --all --yes
  stoep flash list                              the boards so far
  stoep flash place --csv street.csv --gateway pi     where each belongs
  stoep flash label --sheet labels.html         print them again

Options without a command are those of "boards": stoep flash boards --help
"""
    + _CODES
)


class Parser(argparse.ArgumentParser):
    """Tells of wrong usage by `FlashError`."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the program."""
        raise FlashError(message, f"{self.prog} --help shows what there is", USAGE)


def words_of(words: list[str]) -> list[str]:
    """Put in the command that is meant where none is named. Raises `FlashError`."""
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        return [DEFAULT, *words]
    if words[0] not in (*COMMANDS, "-h", "--help"):
        like = difflib.get_close_matches(words[0], COMMANDS, 1)
        raise FlashError(
            f"there is no command {words[0]!r}",
            f"stoep flash {like[0]}" if like else f"one of: {', '.join(COMMANDS)}",
            USAGE,
        )
    return words


def parser() -> Parser:
    """Return the parser of all commands."""
    made = Parser(
        prog="stoep flash",
        description="Makes boards that are plugged in sensors of a street.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (text, more) in COMMANDS.items():
        action = actions.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        more(action)
        if name != "ports":
            action.add_argument("--ledger", type=Path, metavar="FILE", help="the ledger of boards")
        if name not in ("ports", "list", "show"):
            action.add_argument("--dry-run", action="store_true", help="change nothing, say what")
        action.add_argument("--json", action="store_true", help="answer in JSON, ask nothing")
    return made


def _board(it: argparse._ActionsContainer, text: str) -> None:
    it.add_argument("--board", choices=board_data.names(), metavar="BOARD", help=text)


def _boards(it: argparse.ArgumentParser) -> None:
    oldest = ".".join(map(str, OLDEST))
    which = it.add_argument_group("which boards (else: the one that is plugged in)")
    which.add_argument("--port", action="append", metavar="PORT", help="this one; again for more")
    which.add_argument("--all", action="store_true", help="all that are plugged in, at once")
    what = it.add_argument_group("what they become (else asked; with --yes as last time)")
    _board(what, ", ".join(board_data.names()))
    what.add_argument("--kind", choices=KINDS, help="bin: container, bay: parking bay")
    what.add_argument("--region", choices=tuple(REGIONS), metavar="REGION", help=", ".join(REGIONS))
    what.add_argument(
        "--firmware", type=Path, metavar="FILE", help=f"MicroPython {oldest} or newer, a .bin"
    )
    what.add_argument("--trust", action="store_true", help="note this .bin as one to be used")
    what.add_argument("--gateway", metavar="HOST", help='register there by ssh; "local": here')
    what.add_argument("--no-gateway", action="store_true", help="register later")
    wired = it.add_argument_group("what is wired to them (else as last time, or the usual sensor)")
    usual = "; ".join(f"a {kind}'s: {', '.join(names)}" for kind, names in SENSORS.items())
    wired.add_argument("--sensor", metavar="NAME", help=usual)
    for name, (kind, names) in OTHERS.items():
        text = f"of a {kind}: {WIRED[name]}: {', '.join(names)} or none"
        wired.add_argument(f"--{name}", metavar="NAME", help=text)
    wired.add_argument(
        "--lid",
        action=argparse.BooleanOptionalAction,
        help="of a bin: a switch that counts its lid",
    )
    where = it.add_argument_group("where they belong (else noted later: stoep flash place)")
    where.add_argument("--csv", type=Path, metavar="FILE", help="dev_eui or mac, asset, name, …")
    where.add_argument("--asset", metavar="ASSET", help="of one board: container/ID or bay/ID")
    where.add_argument("--name", help="of one board: what people call it")
    where.add_argument("--serial", help="of one board: what is printed on it")
    more = it.add_argument_group("seldom needed")
    more.add_argument("--interval-min", type=int, metavar="N", help="minutes between reports; 60")
    more.add_argument("--lorawan", choices=("1.0.3", "1.0.4"), default="1.0.4")
    more.add_argument("--join-eui", metavar="EUI", help="of new boards; zeros")
    more.add_argument("--dev-euis", metavar="FIRST-LAST", help="assigned to you; else by the MAC")
    more.add_argument("--new-key", action="store_true", help="for a board whose key was seen")
    more.add_argument("--labels", type=Path, metavar="FOLDER", help="for the labels; labels")
    more.add_argument("--no-labels", action="store_true")
    more.add_argument("--no-self-test", action="store_true")
    more.add_argument("--baud", type=int, default=921_600, help="slower for a bad cable; 921600")
    it.add_argument("--yes", action="store_true", help="ask nothing")


def _euis(it: argparse.ArgumentParser, otherwise: str) -> None:
    it.add_argument(
        "dev_eui", nargs="*", metavar="DEV_EUI", help=f"or a scanned QR code; none: {otherwise}"
    )


def _list(it: argparse.ArgumentParser) -> None:
    it.add_argument("--unfinished", action="store_true", help="those that are half done")
    it.add_argument("--csv", action="store_true", help="all columns, for a spreadsheet")


def _label(it: argparse.ArgumentParser) -> None:
    _euis(it, "all that are flashed")
    it.add_argument("--folder", type=Path, default=Path("labels"), help="default: labels")
    it.add_argument("--format", choices=("png", "svg"), default="png", help="default: png")
    it.add_argument("--sheet", type=Path, metavar="FILE", help="one HTML page instead, A4, 3 x 7")
    it.add_argument("--skip", type=int, default=0, metavar="N", help="places already used")
    it.add_argument("--outline", action="store_true", help="lines to cut along")


def _export(it: argparse.ArgumentParser) -> None:
    it.add_argument("file", type=Path, metavar="FILE", help="new; only you may read it")
    _euis(it, "all that are flashed")
    it.add_argument("--to", choices=EXPORTS, default="stoep", help="default: stoep")
    it.add_argument("--application", metavar="ID", help="ChirpStack's")
    it.add_argument("--device-profile", metavar="ID", help="ChirpStack's")


def _gateway(it: argparse.ArgumentParser, default: str | None, text: str) -> None:
    it.add_argument("--gateway", metavar="HOST", default=default, help=text)


def _register(it: argparse.ArgumentParser) -> None:
    _euis(it, "all that are flashed and not registered")
    _gateway(it, "local", 'by ssh; default: "local", on this computer')


def _place(it: argparse.ArgumentParser) -> None:
    it.add_argument("dev_eui", nargs="?", metavar="DEV_EUI", help="or a scanned QR code")
    it.add_argument("--asset", metavar="ASSET", help="container/ID or bay/ID; none: of none")
    it.add_argument("--name", help="what people call it")
    it.add_argument("--serial", help="what is printed on it")
    it.add_argument("--csv", type=Path, metavar="FILE", help="of many: dev_eui or mac, asset, …")
    _gateway(it, None, 'tell it at once, by ssh; "local": on this computer')


def _port(it: argparse.ArgumentParser) -> None:
    it.add_argument("--port", metavar="PORT", help="default: the only board")


def _kind_of_board(it: argparse.ArgumentParser) -> None:
    _port(it)
    _board(it, "default: as in the ledger")
    it.add_argument("--kind", choices=KINDS, help="default: as the board says")


def _test(it: argparse.ArgumentParser) -> None:
    _kind_of_board(it)
    it.add_argument("--no-join", action="store_true", help="send nothing")
    it.add_argument("--report", type=Path, metavar="FILE", help="FILE.json and FILE.txt")


def _calibrate(it: argparse.ArgumentParser) -> None:
    _port(it)
    it.add_argument("--car", action="store_true", help="a car stands on the bay: is it seen?")
    it.add_argument(
        "--distance-cm",
        type=int,
        metavar="CM",
        help="a container's: where the floor or the waste is; default: the farthest echo",
    )


def _show(it: argparse.ArgumentParser) -> None:
    _port(it)
    it.add_argument("--save", type=Path, metavar="FILE", help="its config.json with its key")


def _yes(it: argparse.ArgumentParser) -> None:
    it.add_argument("--yes", action="store_true", help="ask nothing")


def _update(it: argparse.ArgumentParser) -> None:
    _port(it)
    _board(it, "default: as in the ledger")


def _reset(it: argparse.ArgumentParser) -> None:
    _port(it)
    _yes(it)


def _backup(it: argparse.ArgumentParser) -> None:
    _port(it)
    it.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: DEV_EUI-TIME.tar")


def _restore(it: argparse.ArgumentParser) -> None:
    _port(it)
    it.add_argument("file", type=Path, metavar="FILE", help="what stoep flash backup wrote")
    it.add_argument("--replace", action="store_true", help="this board replaces that of the backup")
    _yes(it)


COMMANDS = {
    DEFAULT: ("flash boards (what happens without a command)", _boards),
    "ports": ("list serial ports and what is on them", lambda _: None),
    "list": ("list the boards in the ledger", _list),
    "label": ("print labels again", _label),
    "place": ("note where boards belong, and tell the gateway", _place),
    "register": ("register boards at the gateway", _register),
    "export": ("write a file, with keys, for a network server to import", _export),
    "test": ("run the self-test on a board that is flashed", _test),
    "calibrate": ("calibrate a bay's sensor, or find what echoes in a container", _calibrate),
    "show": ("read back how a board is configured", _show),
    "update": ("write our newest files; identity, configuration and session stay", _update),
    "reset": ("make a board forget its configuration and session, not its identity", _reset),
    "backup": ("copy all files of a board, with its key, into an archive", _backup),
    "restore": ("bring back what a backup holds, but for the session", _restore),
}
