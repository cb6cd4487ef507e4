"""Makes a network know the boards in the ledger: by our gateway's command, or by a file to import.

What each network server reads is its own documentation's:

- ours: CSV and YAML of ``stoep device import`` (docs/operator.md);
- The Things Stack v3: its CSV ("CSV File Reference": semicolons) and its stream of JSON objects
  ("JSON File Reference"), which its console imports;
- ChirpStack v4 imports no file of devices: a line of JSON for each request of its API,
  ``CreateDeviceRequest`` and then ``CreateDeviceKeysRequest``, as its REST proxy takes them. Of
  LoRaWAN 1.0 its ``nwkKey`` is the AppKey.

All of them hold keys: they are written with `write_secret`, or fed to a process.
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoep_tools.flash import sealing, together
from stoep_tools.flash.errors import GATEWAY_REFUSED, FlashError
from stoep_tools.flash.ledger import Entry

__all__ = [
    "Registered",
    "chirpstack",
    "forgive_nonce",
    "register",
    "stoep_csv",
    "stoep_yaml",
    "things_stack_csv",
    "things_stack_json",
    "write_secret",
]

# The plans that The Things Stack's documentation recommends; of AS923's groups the bare ones.
_FREQUENCY_PLANS = {
    "EU868": "EU_863_870_TTN",
    "US915": "US_902_928_FSB_2",
    "AU915": "AU_915_928_FSB_2",
    "IN865": "IN_865_867",
    "AS923": "AS_923",
    "AS923-2": "AS_923_2",
    "AS923-3": "AS_923_3",
    "AS923-4": "AS_923_4",
}
_VERSIONS = {  # of LoRaWAN and of its regional parameters, as The Things Stack calls them
    "1.0.3": ("MAC_V1_0_3", "PHY_V1_0_3_REV_A"),
    "1.0.4": ("MAC_V1_0_4", "RP002_V1_0_3"),
}
_MOST_NAME = 50  # characters, in The Things Stack
_PATIENCE_S = 120.0
_LOOK_S = 0.2
_CTRL_C_S = 0.3
_SAID_LINE = re.compile(r"standard input:(\d+): ")


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration did, in numbers of devices."""

    added: int
    changed: int
    unchanged: int


# Ours.


def _ours(entry: Entry) -> dict[str, str]:
    identity = entry.identity
    said = {
        "dev_eui": identity.dev_eui.hex(),
        "join_eui": identity.join_eui.hex(),
        "app_key": identity.app_key.hex(),
        "lorawan": entry.lorawan,
    }
    if entry.asset is not None:  # "" takes it away
        said["asset"] = entry.asset
    if entry.name:
        said["name"] = entry.name
    return said


def stoep_csv(entries: Sequence[Entry]) -> str:
    """Return boards as CSV for ``stoep device import``, a line each below the heading.

    In a file with assets or names, who has none is told to have none.
    """
    rows = [_ours(entry) for entry in entries]
    columns = ["dev_eui", "join_eui", "app_key", "lorawan"]
    columns += [key for key in ("asset", "name") if any(key in row for row in rows)]
    return _csv(columns, [[row.get(key, "") for key in columns] for row in rows], ",")


def stoep_yaml(entries: Sequence[Entry]) -> str:
    """Return boards as YAML for ``stoep device import``; what is not said stays as it is there."""
    return "".join(map(_yaml, entries)) or "[]\n"


def _yaml(entry: Entry) -> str:
    # JSON's strings are YAML's, and its null.
    lines = (f"{key}: {json.dumps(value or None)}" for key, value in _ours(entry).items())
    return "- " + "\n  ".join(lines) + "\n"


# The Things Stack.


def things_stack_csv(entries: Sequence[Entry]) -> str:
    """Return boards as The Things Stack's CSV."""
    columns = ["id", "dev_eui", "join_eui", "name", "lorawan_version", "lorawan_phy_version"]
    columns += ["frequency_plan_id", "app_key"]
    rows = []
    for entry in entries:
        identity = entry.identity
        rows.append(
            [
                _id(entry),
                identity.dev_eui.hex().upper(),
                identity.join_eui.hex().upper(),
                _name(entry),
                *_VERSIONS[entry.lorawan],
                _FREQUENCY_PLANS[entry.region],
                identity.app_key.hex().upper(),
            ]
        )
    return _csv(columns, rows, ";")


def things_stack_json(entries: Sequence[Entry]) -> str:
    """Return boards as The Things Stack's stream of JSON objects, one a line."""
    lines = []
    for entry in entries:
        identity = entry.identity
        version, phy_version = _VERSIONS[entry.lorawan]
        device = {
            "ids": {
                "device_id": _id(entry),
                "dev_eui": identity.dev_eui.hex().upper(),
                "join_eui": identity.join_eui.hex().upper(),
            },
            "name": _name(entry),
            "lorawan_version": version,
            "lorawan_phy_version": phy_version,
            "frequency_plan_id": _FREQUENCY_PLANS[entry.region],
            "supports_join": True,
            "root_keys": {"app_key": {"key": identity.app_key.hex().upper()}},
        }
        lines.append(json.dumps(device, ensure_ascii=False) + "\n")
    return "".join(lines)


def _id(entry: Entry) -> str:
    return f"eui-{entry.identity.dev_eui.hex()}"


def _name(entry: Entry) -> str:
    """Return what people call a board: as it was named, by its asset, or by its DevEUI."""
    asset = (entry.asset or "").partition("/")[2]
    return (entry.name or asset or entry.identity.dev_eui.hex())[:_MOST_NAME]


# ChirpStack.


def chirpstack(entries: Sequence[Entry], application_id: str, device_profile_id: str) -> str:
    """Return boards as requests to ChirpStack's API: lines of JSON, two for a board.

    The first is the body for ``POST /api/devices``, the second that for ``POST
    /api/devices/DEV_EUI/keys``. The identifiers are UUIDs of ChirpStack's.
    """
    requests: list[dict[str, Any]] = []
    for entry in entries:
        identity = entry.identity
        dev_eui = identity.dev_eui.hex()
        device = {
            "devEui": dev_eui,
            "name": _name(entry),
            "applicationId": application_id,
            "deviceProfileId": device_profile_id,
            "joinEui": identity.join_eui.hex(),
        }
        keys = {"devEui": dev_eui, "nwkKey": identity.app_key.hex()}
        requests += ({"device": device}, {"deviceKeys": keys})
    return "".join(json.dumps(request, ensure_ascii=False) + "\n" for request in requests)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]], separator: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


# To a gateway, and into files.


def register(
    command: Sequence[str],
    entries: Sequence[Entry],
    *,
    options: Sequence[str] = (),
    dry_run: bool = False,
) -> Registered:
    """Register boards at our gateway; what is there already as it should be stays so.

    ``command`` is how ``stoep`` is run where the gateway is: ``["stoep"]`` or ``["ssh", "PI",
    "stoep"]``; ``options`` name a gateway that is not the service's (``--socket``, ``--config``).
    Keys go to its standard input. Raises `FlashError` with what the gateway said; then none of
    them is registered. With ``dry_run`` it says what would be done.
    """
    if not entries:
        return Registered(0, 0, 0)
    arguments = ["import", "-", "--format", "yaml", "--json", *options]
    said = _run(command, [*arguments, *(["--dry-run"] if dry_run else [])], entries)
    return Registered(said["added"], said["changed"], said["unchanged"])


def forgive_nonce(command: Sequence[str], dev_eui: bytes, *, options: Sequence[str] = ()) -> int:
    """Have our gateway forget which DevNonces a device has used; return how many.

    Only for a board that lost them otherwise than by `ledger.Ledger.issue`, which counts on.
    """
    arguments = ["forgive-nonce", dev_eui.hex(), "--json", *options]
    return int(_run(command, arguments, ())["forgiven"])


def _run(
    command: Sequence[str], arguments: Sequence[str], entries: Sequence[Entry]
) -> dict[str, Any]:
    """Run ``stoep device`` and return its answer."""
    try:
        code, out, err = _talk(
            [*command, "device", *arguments], stoep_yaml(entries) if entries else ""
        )
    except OSError as error:
        raise FlashError(
            f"{command[0]} cannot be run: {error.strerror}", "is it installed?", GATEWAY_REFUSED
        ) from None
    except subprocess.TimeoutExpired:
        raise FlashError(
            f"{_spelt(command)} does not end", "is the gateway's machine awake?", GATEWAY_REFUSED
        ) from None
    said = _without_keys(err.strip(), entries)
    if code:
        together.rest(_CTRL_C_S)  # which may have ended it, for a terminal tells us both
        raise _failure(command, code, _by_name(said, entries))
    try:
        answer = json.loads(out.strip().rpartition("\n")[2])
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise FlashError(
            f"{_spelt(command)} gave no answer that is understood {said}".strip(),
            "is it the same version of stoep?",
            GATEWAY_REFUSED,
        )
    return answer


def _talk(command: Sequence[str], said: str) -> tuple[int, str, str]:
    """Run a program; return its exit code and what it has said, as output and as errors."""
    until_s = time.monotonic() + _PATIENCE_S
    with together.program(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        text: str | None = said
        while True:
            try:
                out, err = child.communicate(text, _LOOK_S)
                return child.returncode, out, err
            except subprocess.TimeoutExpired:
                together.check()
                if time.monotonic() > until_s:
                    raise
            text = None  # it has it


def _spelt(command: Sequence[str]) -> str:
    return " ".join([*command, "device"])


def _failure(command: Sequence[str], code: int, said: str) -> FlashError:
    """Return what an exit code of ``stoep device``, ssh or the shell means."""
    what, remedy = {
        1: ("the gateway refused", "it says why; nothing was registered"),
        2: ("the gateway does not take this", "nothing was registered; correct it and repeat"),
        3: ("no gateway answers", "start it, or name its --socket or --config"),
        126: (f"{_spelt(command)} may not be run", "is stoep installed there?"),
        127: (f"{_spelt(command)} was not found", "is stoep installed there?"),
        255: (f"{command[0]} failed", "try the same command by hand"),
    }.get(code, (f"{_spelt(command)} ended with {code}", "try the same command by hand"))
    return FlashError(f"{what}: {said}" if said else what, remedy, GATEWAY_REFUSED)


def _by_name(said: str, entries: Sequence[Entry]) -> str:
    """Return what was said with each line of our input named by the board that it is of."""
    whose = [entry for entry in entries for _ in range(_yaml(entry).count("\n"))]

    def name(found: re.Match[str]) -> str:
        line = int(found[1])
        if not 1 <= line <= len(whose):
            return ""
        return f"{whose[line - 1].identity.dev_eui.hex()}: "

    return _SAID_LINE.sub(name, said)


def _without_keys(said: str, entries: Sequence[Entry]) -> str:
    for entry in entries:
        said = re.sub(entry.identity.app_key.hex(), "(key)", said, flags=re.IGNORECASE)
    return said


def write_secret(path: Path, text: str) -> None:
    """Write a file that holds keys, whole or not at all, for its owner alone (mode 0600)."""
    sealing.new_file(path, text.encode())
