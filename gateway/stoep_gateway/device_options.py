"""The options of ``stoep device``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stoep_gateway import control_client
from stoep_gateway.assets import device_specs

__all__ = ["FACTORY", "OF_A_CONFIGURATION", "OF_A_DEVICE", "parser"]

OF_A_DEVICE = (  # key, metavar, help
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
    ("make", "ID", "the [[make]] of one that is not ours; see stoep makes list"),
)
OF_A_CONFIGURATION = (  # of a configuration: option, key, metavar, help
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
FACTORY = "factory"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of all commands; ``action`` names the one that was said."""
    made = argparse.ArgumentParser(prog="stoep device", description=description)
    actions = made.add_subparsers(dest="action", required=True)

    def action(name: str, explanation: str, *, one: bool = True) -> Any:
        it = actions.add_parser(name, help=explanation, description=explanation)
        if one:
            it.add_argument("dev_eui", metavar="DEV_EUI", type=_eui)
        control_client.add_options(it)
        it.add_argument("--json", action="store_true", help="print JSON")
        return it

    add = action("add", "Register a device.")
    for key, metavar, explanation in OF_A_DEVICE:
        add.add_argument("--" + key.replace("_", "-"), metavar=metavar, help=explanation)
    add.add_argument("--no-adr", action="store_true", help="leave its data rate alone")
    for name, explanation in (
        ("list", "List all devices."),
        ("show", "Show one device with its session."),
        ("export", "Write all devices as a file that import reads."),
    ):
        it = action(name, explanation, one=name == "show")
        it.add_argument(
            "--file", metavar="EXPORT", help='look into an export instead ("-": standard input)'
        )
        it.add_argument("--show-keys", action="store_true", help="with their keys")
        if name == "export":
            it.add_argument("--output", type=Path, metavar="FILE", help="else to standard output")
            it.add_argument("--format", choices=("csv", "yaml"), help="default: csv")
    it = action(
        "import",
        "Register and change all devices of a file, or none if there is a mistake.",
        one=False,
    )
    it.add_argument("file", metavar="FILE", help='CSV or YAML; "-" reads standard input')
    it.add_argument("--format", choices=("csv", "yaml"), help="default: by name, or by content")
    it.add_argument("--dry-run", action="store_true", help="say what would be done")
    it = action(
        "place",
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
    action("disable", "Neither hear nor answer a device until it is enabled again.")
    action("enable", "Hear and answer a device again.")
    action("remove", "Forget a device and its keys; its readings stay.")
    it = action("rotate-key", "Give a device a new AppKey: it has to join again.")
    it.add_argument("--app-key", metavar="KEY", help='"-": standard input; default: a random one')
    it.add_argument("--show-keys", action="store_true", help="print the new key")
    action(
        "forgive-nonce",
        "Let a device that was flashed anew use its DevNonces again.",
    )
    it = action("send", "Queue a downlink.")
    it.add_argument("f_port", metavar="FPORT", type=int)
    it.add_argument("payload", metavar="HEX", help='the payload in hexadecimal; "" for none')
    it.add_argument("--confirmed", action="store_true", help="repeat it until it is acknowledged")
    it.add_argument("--priority", type=int, default=0, help="the larger goes first; default: 0")
    it.add_argument("--expires", type=int, default=0, metavar="S", help="give up after S seconds")
    it = action(
        "configure",
        "Tell devices how to behave until they say that they do. What no option names stays as it"
        f' was last configured; "{FACTORY}" as a value leaves it to what the device was flashed'
        " with. Without options it is told once more.",
        one=False,
    )
    it.set_defaults(refuse=it.error)
    it.add_argument("dev_euis", metavar="DEV_EUI", type=_eui, nargs="*")
    which = it.add_mutually_exclusive_group()
    which.add_argument("--containers", action="store_true", help="all devices of containers")
    which.add_argument("--bays", action="store_true", help="all devices of bays")
    for option, key, metavar, explanation in OF_A_CONFIGURATION:
        it.add_argument(f"--{option}", dest=key, metavar=metavar, type=_value, help=explanation)
    it.add_argument(
        "--anew", action="store_true", help="forget what was configured before these options"
    )
    it = action(
        "calibrate",
        "Have the sensor of a bay take its field for that of the empty bay, or that of a container"
        " say where its echoes come from. It is told with its next uplink, and begins a minute"
        " later; what came of it: stoep device show.",
    )
    it.add_argument("--car", action="store_true", help="a car stands on the bay: is it seen?")
    it.add_argument(
        "--distance-cm",
        metavar="CM",
        type=int,
        help="a container's: where the waste is now; default: it is empty",
    )
    it.add_argument(
        "--expires",
        type=int,
        metavar="S",
        help="give up after S seconds; default: 900, a container 7200",
    )
    action("flush", "Forget the downlinks that wait for a device.")
    return made


def _value(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text.replace("-", "_")


def _eui(text: str) -> str:
    dev_eui = device_specs.dev_eui_of(text)
    if dev_eui is None:
        raise argparse.ArgumentTypeError("a DevEUI is 16 hexadecimal digits")
    return dev_eui.hex()
