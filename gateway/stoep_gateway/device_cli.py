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
from stoep_gateway.errors import ConfigError, FatalError, Mistake

__all__ = ["main"]

_STDIN = "-"
_OPTIONS_OF_A_DEVICE = (  # key, metavar, help
    ("join_eui", "EUI", "JoinEUI (AppEUI); default: zeros"),
    ("app_key", "KEY", 'AppKey, "-" to read it from standard input; default: a new random one'),
    ("dev_addr", "ADDR", "DevAddr of a device that was personalised (ABP)"),
    ("nwk_s_key", "KEY", "its NwkSKey"),
    ("app_s_key", "KEY", "its AppSKey"),
    ("source", "ID", "the [[source]] of a device of another network server"),
    ("lorawan", "VERSION", "1.0.2, 1.0.3 (default) or 1.0.4"),
    ("device_class", "A|C", "default: A"),
    ("name", "TEXT", ""),
    ("asset", "ASSET", "container/ID or bay/ID"),
)
_FIELDS = (  # of a configuration: option, key, metavar, help
    ("interval", "interval_min", "MIN", "minutes between reports"),
    ("mode", "mode", "MODE", "regular, on-change or both"),
    ("confirmed-every", "confirmed_every", "N", "each N-th report is confirmed; 0: none"),
    ("history", "history", "N", "earlier readings in each report"),
    ("change", "change_cm", "CM", "a container's change that is reported"),
    ("alarm-distance", "alarm_distance_cm", "CM", "this near a container is in alarm; 0: never"),
    ("alarm-temperature", "alarm_temperature_c", "C", "this warm a container is in alarm"),
    ("bay-threshold", "bay_threshold_nt", "NT", "the change of field that is a car"),
    ("settle", "settle_s", "S", "how long a changing field is left alone"),
)
_FACTORY = "factory"
_DONE = {
    "enable": "enabled",
    "disable": "disabled: neither heard nor answered",
    "remove": "removed",
}
_Raw = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep device``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep device", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)

    def action(name: str, run: Any, explanation: str, *, one: bool = True) -> Any:
        it = actions.add_parser(name, help=explanation, description=explanation)
        it.set_defaults(run=run)
        if one:
            it.add_argument("dev_eui", metavar="DEV_EUI", type=_eui)
        control_client.add_options(it)
        it.add_argument("--json", action="store_true", help="print JSON")
        return it

    add = action("add", _add, "Register a device.")
    for key, metavar, explanation in _OPTIONS_OF_A_DEVICE:
        add.add_argument("--" + key.replace("_", "-"), metavar=metavar, help=explanation)
    add.add_argument("--no-adr", action="store_true", help="leave its data rate alone")
    for name, run, explanation in (
        ("list", _list, "List all devices."),
        ("show", _show, "Show one device with its session."),
        ("export", _export, "Write all devices as a file that import reads."),
    ):
        it = action(name, run, explanation, one=name == "show")
        it.add_argument(
            "--file", metavar="EXPORT", help='look into an export instead ("-": standard input)'
        )
        it.add_argument("--show-keys", action="store_true", help="with their keys")
        if name == "export":
            it.add_argument("--output", type=Path, metavar="FILE", help="else to standard output")
            it.add_argument("--format", choices=("csv", "yaml"), help="default: csv")
    it = action(
        "import",
        _import,
        "Register and change all devices of a file, or none if there is a mistake.",
        one=False,
    )
    it.add_argument("file", metavar="FILE", help='CSV or YAML; "-" reads standard input')
    it.add_argument("--format", choices=("csv", "yaml"), help="default: by name, or by content")
    it.add_argument("--dry-run", action="store_true", help="say what would be done")
    it = action(
        "place",
        _place,
        "Say of which container or bay devices are, and where they are mounted; of a file all or,"
        " if there is a mistake, none.",
        one=False,
    )
    it.set_defaults(refuse=it.error)
    it.add_argument("dev_eui", metavar="DEV_EUI", nargs="?", help="or a label's code, scanned")
    it.add_argument("--asset", metavar="ASSET", help='container/ID or bay/ID; "none" for none')
    it.add_argument("--lat", type=float, metavar="DEG", help="degrees north, WGS 84")
    it.add_argument("--lon", type=float, metavar="DEG", help="degrees east")
    it.add_argument(
        "--file", metavar="FILE", help='CSV with dev_eui, asset, lat, lon; "-": standard input'
    )
    it.add_argument("--dry-run", action="store_true", help="say what would be done")
    action("disable", _change, "Neither hear nor answer a device until it is enabled again.")
    action("enable", _change, "Hear and answer a device again.")
    action("remove", _change, "Forget a device and its keys; its readings stay.")
    it = action("rotate-key", _rotate_key, "Give a device a new AppKey: it has to join again.")
    it.add_argument("--app-key", metavar="KEY", help='"-": standard input; default: a random one')
    it.add_argument("--show-keys", action="store_true", help="print the new key")
    action(
        "forgive-nonce",
        _forgive_nonce,
        "Let a device that was flashed anew use its DevNonces again.",
    )
    it = action("send", _send, "Queue a downlink.")
    it.add_argument("f_port", metavar="FPORT", type=int)
    it.add_argument("payload", metavar="HEX", help='the payload in hexadecimal; "" for none')
    it.add_argument("--confirmed", action="store_true", help="repeat it until it is acknowledged")
    it.add_argument("--priority", type=int, default=0, help="the larger goes first; default: 0")
    it.add_argument("--expires", type=int, default=0, metavar="S", help="give up after S seconds")
    it = action(
        "configure",
        _configure,
        "Tell devices how to behave until they say that they do. What no option names stays as it"
        f' was last configured; "{_FACTORY}" as a value leaves it to what the device was flashed'
        " with. Without options it is told once more.",
        one=False,
    )
    it.set_defaults(refuse=it.error)
    it.add_argument("dev_euis", metavar="DEV_EUI", type=_eui, nargs="*")
    which = it.add_mutually_exclusive_group()
    which.add_argument("--containers", action="store_true", help="all devices of containers")
    which.add_argument("--bays", action="store_true", help="all devices of bays")
    for option, key, metavar, explanation in _FIELDS:
        it.add_argument(f"--{option}", dest=key, metavar=metavar, type=_value, help=explanation)
    it.add_argument(
        "--anew", action="store_true", help="forget what was configured before these options"
    )
    action("flush", _flush, "Forget the downlinks that wait for a device.")
    return parser


def _value(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text.replace("-", "_")


def _eui(text: str) -> str:
    dev_eui = device_specs.dev_eui_of(text)
    if dev_eui is None:
        raise argparse.ArgumentTypeError("a DevEUI is 16 hexadecimal digits")
    return dev_eui.hex()


# What changes.


def _add(options: argparse.Namespace) -> None:
    device: _Raw = {"dev_eui": options.dev_eui, "adr": not options.no_adr}
    for key, _, _ in _OPTIONS_OF_A_DEVICE:
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
        key: None if value == _FACTORY else value
        for _, key, _, _ in _FIELDS
        if (value := getattr(options, key)) is not None
    }
    if bool(options.dev_euis) == (options.containers or options.bays):
        options.refuse("name devices, or --containers, or --bays")
    kind = "container/" if options.containers else "bay/"
    answers = []
    refused = []
    with control_client.connect(options) as client:
        dev_euis: list[str] = options.dev_euis or [
            it["dev_eui"] for it in _listed(client) if (it.get("asset") or "").startswith(kind)
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
    said = {
        **device,
        **{f"session {key}": it for key, it in session.items()},
        **{f"configuration {key}": it for key, it in configured.items()},
    }
    for key, value in said.items():
        print(f"{key.replace('_', ' '):20}  {_printable(value) or '-'}")
    if device.get("managed") == "file":
        print("It is in the gateway's configuration, and is changed there.")


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
