"""``stoep demo``: builds a street, runs it against the real gateway, shows what MQTT says of it.

The street is stepped in this thread; the gateway and the broker are processes of their own; the
messages come in through a subscriber's thread. Real time is read here and nowhere below.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

USAGE_ERROR = 2
_FAILED = 1
_DEFAULT_SPEED = 1800.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stoep demo",
        description="A simulated street with real firmware, a real gateway and an MQTT broker.",
    )
    add = parser.add_argument
    add("--seconds", type=_positive, help="end after this many seconds (else: Ctrl-C)")
    add("--json", type=Path, metavar="FILE", help="write a summary when it ends")
    add("--broker", type=_address, metavar="HOST:PORT", help="use this broker, not our own")
    add(
        "--speed",
        type=_positive,
        default=_DEFAULT_SPEED,
        help="simulated seconds per second (default: %(default)g); less is easier to follow",
    )
    add("--seed", type=int, default=1, help="another seed is another street")
    add("--containers", type=_count, default=16)
    add("--bays", type=_count, default=8)
    add("--micropython", type=_count, default=4, help="boards on the real MicroPython")
    add("--keep", type=Path, metavar="DIR", help="keep configuration, database and log here")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of things")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def main(arguments: Sequence[str]) -> int:
    """Run the demo; return 0, or 1 with one line of why, or 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    try:
        import amqtt  # noqa: F401, PLC0415 - the extra is needed only here
        import rich  # noqa: F401, PLC0415
    except ImportError as missing:
        print(
            f"stoep demo: {missing.name} is missing; type: pip install 'stoep[demo]'",
            file=sys.stderr,
        )
        return USAGE_ERROR
    from stoep_hardware.clock_channel import GatewayGoneError  # noqa: PLC0415
    from stoep_hardware.demo.watcher import BrokerUnreachableError  # noqa: PLC0415

    try:
        _check(options)
        return _run(options)
    except ValueError as problem:
        print(f"stoep demo: {problem}", file=sys.stderr)
        return USAGE_ERROR
    except (BrokerUnreachableError, GatewayGoneError) as problem:
        print(f"stoep demo: {problem}", file=sys.stderr)
        return _FAILED


def _check(options: argparse.Namespace) -> None:
    """Refuse what could not be kept at the end; raises ValueError."""
    if options.json is not None and not options.json.resolve().parent.is_dir():
        raise ValueError(f"--json {options.json}: there is no folder {options.json.parent}")
    if options.keep is not None and options.keep.exists():
        if not options.keep.is_dir():
            raise ValueError(f"--keep {options.keep} is not a folder")
        if any(options.keep.iterdir()):
            # Its gateway remembers every DevNonce of a street whose boards are new again.
            raise ValueError(f"--keep {options.keep} holds something already; name an empty folder")


def _run(options: argparse.Namespace) -> int:
    from stoep_hardware import micropython_runtime  # noqa: PLC0415
    from stoep_hardware.demo.broker import EmbeddedBroker  # noqa: PLC0415
    from stoep_hardware.demo.show import Show  # noqa: PLC0415
    from stoep_hardware.demo.watcher import Watcher  # noqa: PLC0415
    from stoep_hardware.scenario import Street  # noqa: PLC0415
    from stoep_hardware.street_files import SITE  # noqa: PLC0415

    with ExitStack() as stack:
        if options.keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stoep-")))
        else:
            directory = options.keep.resolve()
            directory.mkdir(parents=True, exist_ok=True)
        if options.broker is None:
            broker = stack.enter_context(EmbeddedBroker())
            address = (broker.host, broker.port)
        else:
            address = options.broker
        watcher = stack.enter_context(Watcher(*address, SITE))
        street = stack.enter_context(
            Street(
                directory,
                broker=address,
                seed=options.seed,
                containers=options.containers,
                bays=options.bays,
                micropython=min(options.micropython, options.containers + options.bays),
            )
        )
        missing = micropython_runtime.why_unavailable()
        if options.micropython and missing:
            print(f"all boards run on CPython: {missing}", file=sys.stderr)
        show = Show(street, watcher, speed=options.speed)
        show.run(options.seconds)
        summary = show.finish()
    if options.json is not None:
        options.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return 0
