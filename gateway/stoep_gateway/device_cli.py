"""The command ``stoep device``: the gateway's devices, over its control socket or an export file.

Exit codes: 0 done, 1 refused, 2 mistakes in a file or on the command line, 3 no gateway answers.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stoep_gateway import control_client
from stoep_gateway.assets import device_files, device_places, device_specs
from stoep_gateway.assets.device_files import Entry, Format
from stoep_gateway.config_model import DeviceConfig
from stoep_gateway.control_client import Client, GatewayAway
from stoep_gateway.device_options import FACTORY, OF_A_CONFIGURATION, OF_A_DEVICE, parser
from stoep_gateway.errors import ConfigError, FatalError, Mistake

__all__ = ["main"]

_STDIN = "-"
_DONE = {
    "enable": "enabled",
    "disable": "disabled: neither heard nor answered",
    "remove": "removed",
}
_ASKED = {
    "empty_bay": "will take its field for that of the empty bay. A magnet held to it for ten"
    " seconds has it report; then go away from it.",
    "car": "will say whether the car on it changes the field enough.",
    "echoes": "will say where its echoes come from. Close the lid.",
}
_Raw = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep device``; return the exit code."""
    options = parser(__doc__).parse_args(arguments)
    try:
        _RUN[options.action](options)
        sys.stdout.flush()
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except GatewayAway as error:
        print(
            f"{error}\nIs it running (systemctl status stoep-gateway)? Another gateway than the"
            " service's is named by --config or --socket.",
            file=sys.stderr,
        )
        return GatewayAway.exit_code
    except BrokenPipeError:  # "stoep device list | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


# What changes.


def _add(options: argparse.Namespace) -> None:
    device: _Raw = {"dev_eui": options.dev_eui, "adr": not options.no_adr}
    for key, _, _ in OF_A_DEVICE:
        if (value := getattr(options, key)) is not None:
            device[key] = value
    makes_key = not {"app_key", "dev_addr", "nwk_s_key", "app_s_key", "source"} & device.keys()
    if makes_key:
        device["app_key"] = os.urandom(16).hex()
    elif device.get("app_key") == _STDIN:
        device["app_key"] = sys.stdin.readline().strip()
    _ask(options, "add", device=device)
    done = "registered"
    if makes_key:
        done += f" with a new AppKey: {_show_key(options)}"
    _say(options, {"dev_eui": options.dev_eui}, f"{options.dev_eui}: {done}")


def _import(options: argparse.Namespace) -> None:
    data, name, kind = _file(options.file, options.format)
    entries, mistakes = device_files.read(data, name, kind)
    answer: _Raw = {}
    if entries:
        try:
            answer = _ask(
                options,
                "import",
                devices=[entry.values for entry in entries],
                dry_run=options.dry_run or bool(mistakes),  # then only for the other mistakes
            )
        except GatewayAway as error:
            if not mistakes:
                raise
            print(error, file=sys.stderr)
    mistakes += _mistakes(name, entries, answer.get("mistakes", ()))
    if mistakes:
        raise ConfigError(sorted(mistakes, key=lambda mistake: mistake.line))
    would = "would be " if options.dry_run else ""
    counts = ", ".join(f"{answer[key]} {key}" for key in ("added", "changed", "unchanged"))
    _say(options, answer, f"{name}: {would}{counts}")


def _place(options: argparse.Namespace) -> None:
    said = {key: getattr(options, key) for key in ("asset", "lat", "lon")}
    said = {key: it for key, it in said.items() if it is not None}
    if (options.file is None) == (options.dev_eui is None) or (options.file is None) != bool(said):
        options.refuse("say DEV_EUI and where it is (--asset, --lat and --lon), or --file FILE")
    name = ""
    entries: list[Entry] = []
    mistakes: list[Mistake] = []
    if options.file is None:
        try:
            places = [{"dev_eui": device_places.scanned(options.dev_eui), **said}]
        except ValueError as error:
            raise FatalError(str(error)) from None
    else:
        data, name, kind = _file(options.file, None)
        entries, mistakes = device_files.read(data, name, kind)
        entries, places, more = device_places.read_entries(entries, name)
        mistakes += more
    answer: _Raw = {}
    if places:
        answer = _ask(options, "place", places=places, dry_run=options.dry_run or bool(mistakes))
    faults = answer.get("mistakes", ())
    if faults and not entries:
        raise FatalError("\n".join(text for _, _, text in faults))
    mistakes += _mistakes(name, entries, faults)
    if mistakes:
        raise ConfigError(sorted(mistakes, key=lambda mistake: mistake.line))
    for text in answer["warnings"]:
        print(f"warning: {text}", file=sys.stderr)
    would = "would be " if options.dry_run else ""
    counts = f"{would}{answer['changed']} placed, {answer['unchanged']} unchanged"
    _say(options, answer, counts)


def _mistakes(
    name: str, entries: Sequence[Entry], faults: Iterable[Sequence[Any]]
) -> list[Mistake]:
    return [Mistake(name, entries[index].line_of(key), text) for index, key, text in faults]


def _change(options: argparse.Namespace) -> None:
    answer = _ask(options, options.action, dev_eui=options.dev_eui)
    _say(options, answer, f"{options.dev_eui}: {_DONE[options.action]}")


def _rotate_key(options: argparse.Namespace) -> None:
    app_key = sys.stdin.readline().strip() if options.app_key == _STDIN else options.app_key
    answer = _ask(
        options,
        "rotate-key",
        dev_eui=options.dev_eui,
        app_key=app_key,
        show_keys=options.show_keys,
    )
    said = answer.get("app_key", _show_key(options))
    _say(options, answer, f"{options.dev_eui}: has to join again, with its new AppKey: {said}")


def _show_key(options: argparse.Namespace) -> str:
    """Return the command that prints a key, of this gateway."""
    command = ["stoep", "device", "show", options.dev_eui, "--show-keys"]
    for name in ("config", "socket"):
        if (value := getattr(options, name)) is not None:
            command += ["--" + name, str(value)]
    return shlex.join(command)


def _forgive_nonce(options: argparse.Namespace) -> None:
    answer = _ask(options, "forgive-nonce", dev_eui=options.dev_eui)
    what = f"DevNonces forgiven: {answer['forgiven']}"
    if answer.get("restarted") is True:
        what = "its frame counters begin at 0 again"
    _say(options, answer, f"{options.dev_eui}: {what}")


def _send(options: argparse.Namespace) -> None:
    answer = _ask(
        options,
        "send",
        dev_eui=options.dev_eui,
        f_port=options.f_port,
        payload=options.payload,
        confirmed=options.confirmed,
        priority=options.priority,
        expires_s=options.expires,
    )
    _say(options, answer, f"{options.dev_eui}: downlink {answer['downlink_id']} is queued")


def _configure(options: argparse.Namespace) -> None:
    fields = {
        key: None if value == FACTORY else value
        for _, key, _, _ in OF_A_CONFIGURATION
        if (value := getattr(options, key)) is not None
    }
    if bool(options.dev_euis) == (options.containers or options.bays):
        options.refuse("name devices, or --containers, or --bays")
    kind = "container/" if options.containers else "bay/"
    answers = []
    refused = []
    with control_client.connect(options) as client:
        dev_euis: list[str] = options.dev_euis or [
            it["dev_eui"]
            for it in _listed(client)
            if (it.get("asset") or "").startswith(kind) and not it.get("make")
        ]
        for dev_eui in dev_euis:
            try:
                answer = _asked(
                    client, "configure", dev_eui=dev_eui, fields=fields, anew=options.anew
                )
            except FatalError as error:
                refused.append(f"{dev_eui}: {error}")
            else:
                answers.append(answer)
                if not options.json:
                    print(f"{dev_eui}: will be told: {_wanted(answer['configuration'])}")
    if options.json:
        print(json.dumps(answers))
    if refused:
        raise FatalError("\n".join(refused))


def _wanted(configured: Mapping[str, Any]) -> str:
    said = ", ".join(f"{key} {value}" for key, value in configured["wanted"].items())
    return said or "what it was flashed with"


def _calibrate(options: argparse.Namespace) -> None:
    said = {"distance_cm": options.distance_cm, "expires_s": options.expires}
    answer = _ask(
        options,
        "calibrate",
        dev_eui=options.dev_eui,
        car=options.car,
        **{key: value for key, value in said.items() if value is not None},
    )
    minutes = -(-answer["expires_s"] // 60)
    _say(
        options,
        answer,
        f"{options.dev_eui}: {_ASKED[answer['step']]}\n"
        f"It is told with its next uplink, in {minutes} min or never, and begins a minute later.\n"
        f"What comes of it: stoep device show {options.dev_eui}",
    )


def _flush(options: argparse.Namespace) -> None:
    answer = _ask(options, "flush", dev_eui=options.dev_eui)
    _say(options, answer, f"{options.dev_eui}: downlinks forgotten: {answer['flushed']}")


# What only looks.


def _list(options: argparse.Namespace) -> None:
    devices = list(_devices(options))
    if options.json:
        print(json.dumps(devices, indent=1, ensure_ascii=False))
        return
    heading = ["DevEUI", "by", "state", "asset", "name", "last heard"]
    if options.show_keys:
        heading += ["AppKey", "NwkSKey", "AppSKey"]
    rows = [heading]
    for device in devices:
        state = "enabled" if device.get("enabled", True) else "disabled"
        row = [
            device["dev_eui"],
            device.get("activation"),
            state + (", file" if device.get("managed") == "file" else ""),
            device.get("asset"),
            device.get("name"),
            device.get("last_heard_utc"),
        ]
        if options.show_keys:
            row += [device.get(key) for key in device_specs.SECRETS]
        rows.append([_printable(cell) for cell in row])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


def _show(options: argparse.Namespace) -> None:
    if options.file is None:
        answer = _ask(options, "show", dev_eui=options.dev_eui, show_keys=options.show_keys)
        device: _Raw = answer["device"]
    else:
        found = [it for it in _devices(options) if it["dev_eui"] == options.dev_eui]
        if not found:
            raise FatalError(f"{options.file}: has no device {options.dev_eui}")
        (device,) = found
    if options.json:
        print(json.dumps(device, indent=1, ensure_ascii=False))
        return
    session = device.pop("session", None) or {}
    configured = device.pop("configuration", None) or {}
    if configured:
        configured["wanted"] = _wanted(configured)
    calibrated = device.pop("calibration", None) or {}
    said = {
        **device,
        **{f"session {key}": it for key, it in session.items()},
        **{f"configuration {key}": it for key, it in configured.items()},
        **_found(calibrated),
    }
    for key, value in said.items():
        print(f"{key.replace('_', ' '):20}  {_printable(value) or '-'}")
    if device.get("managed") == "file":
        print("It is in the gateway's configuration, and is changed there.")


def _found(calibrated: _Raw) -> _Raw:
    """Return what is known of a calibration, a line each."""
    said: _Raw = {"calibration": calibrated["state"]} if calibrated else {}
    for answer in calibrated.get("answers", ()):
        step = answer["step"].replace("_", " ")
        said[step] = f"{answer['result'].replace('_', ' ')}, {answer['utc']}"
        for number, found in enumerate(answer["found"], 1):
            remedy = f": {found['remedy']}" if found["remedy"] else ""
            said[f"{step} {number}"] = found["text"] + remedy
    return said


def _export(options: argparse.Namespace) -> None:
    kind: Format = options.format or _kind_of(options.output) or "csv"
    raws = [{key: it[key] for key in device_files.FIELDS if key in it} for it in _devices(options)]
    if options.json:
        text = json.dumps(raws, indent=1, ensure_ascii=False) + "\n"
    else:
        text = device_files.write(raws, kind)
    if options.output is None:
        sys.stdout.write(text)
        return
    partial = options.output.with_name(options.output.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        mode = 0o600 if options.show_keys else 0o666
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(options.output)
    except OSError as error:
        raise FatalError(f"{options.output}: cannot be written: {error.strerror}") from error


def _devices(options: argparse.Namespace) -> Iterator[_Raw]:
    """Give all devices, of the gateway or of the export file."""
    if options.file is not None:
        yield from _exported(options)
        return
    with control_client.connect(options) as client:
        yield from _listed(client, show_keys=options.show_keys)


def _listed(client: Client, *, show_keys: bool = False) -> Iterator[_Raw]:
    """Give all devices of the gateway, page by page."""
    after = ""
    while True:
        page = _asked(client, "list", after=after, show_keys=show_keys)
        yield from page["devices"]
        if not page["more"]:
            return
        after = page["devices"][-1]["dev_eui"]


def _exported(options: argparse.Namespace) -> Iterator[_Raw]:
    data, name, kind = _file(options.file, None)
    entries, mistakes = device_files.read(data, name, kind)
    devices = []
    for entry in entries:
        values = {key: value for key, value in entry.values.items() if value is not None}
        ways = {"app_key", "dev_addr", "nwk_s_key", "app_s_key", "source"}
        has_way = bool(ways & values.keys())
        # An export without keys is right without; any source stands in for them meanwhile.
        spec = device_specs.validate(values if has_way else {**values, "source": "unsaid"})
        if isinstance(spec, DeviceConfig):
            raw = device_specs.as_raw(spec, show_keys=options.show_keys)
            if has_way:
                raw["activation"] = device_specs.activation(spec)
            else:
                del raw["source"]
            devices.append(raw)
        else:
            mistakes += [Mistake(name, entry.line_of(key), text) for key, text in spec]
    if mistakes:
        raise ConfigError(mistakes)
    yield from devices


# The gateway and files.


def _ask(options: argparse.Namespace, command: str, **members: Any) -> _Raw:
    with control_client.connect(options) as client:
        return _asked(client, command, **members)


def _asked(client: Client, command: str, **members: Any) -> _Raw:
    answer = client.ask(f"device.{command}", **members)
    if "error" in answer and "mistakes" not in answer:
        hint = answer.get("hint")
        raise FatalError(answer["error"] + (f"; {hint}" if hint else ""))
    return answer


def _file(name: str, kind: Format | None) -> tuple[bytes, str, Format | None]:
    """Return a file's octets, its name for messages, and its format if that is known."""
    try:
        if name == _STDIN:
            return sys.stdin.buffer.read(device_files.MAX_OCTETS + 1), "standard input", kind
        with Path(name).open("rb") as file:
            return file.read(device_files.MAX_OCTETS + 1), name, kind or _kind_of(Path(name))
    except OSError as error:
        raise ConfigError([Mistake(name, 0, f"cannot be read: {error.strerror}")]) from None


def _kind_of(path: Path | None) -> Format | None:
    suffix = "" if path is None else path.suffix.casefold()
    if suffix == ".csv":
        return "csv"
    return "yaml" if suffix in (".yaml", ".yml") else None


def _say(options: argparse.Namespace, answer: Mapping[str, Any], text: str) -> None:
    print(json.dumps(answer) if options.json else text)


def _printable(value: object) -> str:
    """Return a value for a terminal: a name must not steer it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if text.isprintable() else ascii(text)


_RUN = {
    "add": _add,
    "list": _list,
    "show": _show,
    "export": _export,
    "import": _import,
    "place": _place,
    "disable": _change,
    "enable": _change,
    "remove": _change,
    "rotate-key": _rotate_key,
    "forgive-nonce": _forgive_nonce,
    "send": _send,
    "configure": _configure,
    "calibrate": _calibrate,
    "flush": _flush,
}
