"""``stoep makes``: which other makes there are, and what one makes of an uplink."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from stoep_protocol.messages import Message

from stoep_gateway import config as configuration
from stoep_gateway import config_path
from stoep_gateway.assets import registry as registries
from stoep_gateway.assets.registry import Device
from stoep_gateway.config import Config
from stoep_gateway.config_makes import MakeConfig
from stoep_gateway.config_model import BayConfig, ContainerConfig, DeviceConfig
from stoep_gateway.config_reader import did_you_mean
from stoep_gateway.errors import FatalError
from stoep_gateway.integrations.codecs import makes
from stoep_gateway.integrations.codecs.errors import CodecError
from stoep_gateway.publish import topics
from stoep_gateway.publish.topics import UplinkMeta

__all__ = ["main"]

_DEPTH_MM = 2000
_EXAMPLE = "example"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``stoep makes``; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except CodecError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="stoep makes", description=__doc__)
    actions = made.add_subparsers(dest="action", required=True)
    for name, explanation in (
        ("list", "List the makes that a device may be of."),
        ("show", "Show how a make is mapped, as it would stand in a configuration."),
        ("try", "Say what an uplink would become. Nothing is recorded or published."),
    ):
        it = actions.add_parser(name, help=explanation, description=explanation)
        if name != "list":
            it.add_argument("make", metavar="MAKE")
        if name == "try":
            it.add_argument("payload", metavar="HEX", type=_octets)
            it.add_argument("--f-port", type=int, required=True, metavar="N")
            it.add_argument(
                "--depth-mm",
                type=int,
                default=_DEPTH_MM,
                metavar="MM",
                help=f"of the container, from the sensor to its floor; default: {_DEPTH_MM}",
            )
        it.add_argument("--config", type=Path, metavar="FILE", help=config_path.HELP)
    return made


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a payload is hexadecimal digits, two an octet") from None


def _run(options: argparse.Namespace) -> int:
    path = options.config or config_path.find()
    configured = () if path is None else configuration.load(path).makes
    known = makes.known(configured)
    if options.action == "list":
        width = max(map(len, known))
        for name, make in known.items():
            print(f"{name:{width}}  {make.kind}  {make.maker or make.codec}")
        return 0
    if options.make not in known:
        hint = did_you_mean(options.make, known)
        raise FatalError(f'there is no make "{options.make}"{hint}')
    make = known[options.make]
    if options.action == "show":
        print(f"[[make]]\n{_toml(make)}")
        return 0
    return _try(make, options)


def _toml(make: MakeConfig) -> str:
    said = make.model_dump(exclude_defaults=True)
    said["codec"] = str(make.codec)
    return "\n".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key in MakeConfig.model_fields
        if (value := said.get(key)) is not None
    )


def _try(make: MakeConfig, options: argparse.Namespace) -> int:
    others = makes.Makes((make,))
    now_ms = time.time_ns() // 1_000_000
    try:
        result = others.result(make.id, options.f_port, options.payload, now_ms, 0)
        _print("decoded", result)
        found = others.messages(make.id, result, 0, None)
    finally:
        others.stop()
    said = [message for message in found if message is not None]
    _print("mapped", {type(message).__name__: _members(message) for message in said})
    meta = UplinkMeta("try", now_ms, 0, None, None, None, 0)
    device = _device(make, options.depth_mm)
    published = {
        message.topic: json.loads(message.payload)
        for one in said
        for message in topics.uplink_outputs(device, one, meta, None).messages
    }
    _print("published", published)
    return 0


def _members(message: Message) -> dict[str, object]:
    values = {name: getattr(message, name) for name in message.__slots__}
    return {name: value for name, value in values.items() if value not in (None, (), 0)}


def _print(what: str, value: object) -> None:
    print(f"{what}: {json.dumps(value, indent=2, ensure_ascii=False)}")


def _device(make: MakeConfig, depth_mm: int) -> Device:
    """Return a device of this make with an asset that is its kind's."""
    container = ContainerConfig(
        id=_EXAMPLE, lat=0.0, lon=0.0, capacity_l=1000, depth_mm=max(1, depth_mm)
    )
    bay = BayConfig(id=_EXAMPLE, street=_EXAMPLE, lat=0.0, lon=0.0)
    asset = f"{'container' if make.kind == 'bin' else 'bay'}/{_EXAMPLE}"
    spec = DeviceConfig(dev_eui=bytes(8), source=_EXAMPLE, asset=asset, make=make.id)
    site = SimpleNamespace(
        site=_EXAMPLE,
        gateways=(),
        sources=(),
        makes=(make,),
        containers=(container,),
        bays=(bay,),
        devices=(spec,),
        planning=SimpleNamespace(threshold_pct=80.0),
    )
    return registries.build(cast(Config, site)).devices[bytes(8)]
