"""The command ``stoep gateway``: run the gateway, check its configuration, diagnose."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from stoep_gateway import log, reload_command
from stoep_gateway.app import run as run_gateway
from stoep_gateway.config import load
from stoep_gateway.doctor import command as doctor
from stoep_gateway.errors import FatalError

__all__ = ["main"]


_DESCRIPTION = "Run the gateway, check its configuration, or find out what is wrong."


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep gateway run``, ``check`` or ``doctor``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.action == "check":
            return _check(options.config)
        if options.action == "doctor":
            return doctor.run(options)
        if options.action == "reload":
            return reload_command.run(options)
        return _run(options)
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # before the gateway listens to signals, or after
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep gateway", description=_DESCRIPTION)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="run until told to stop by SIGTERM or Ctrl-C")
    run.add_argument(
        "--simulated-clock", action="store_true", help="let a simulator drive the time"
    )
    run.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write ports and process id here when ready"
    )
    run.add_argument("--verbose", action="store_true", help="log every uplink, and what is small")
    run.add_argument("--quiet", action="store_true", help="no line for each uplink in the journal")
    check = actions.add_parser("check", help="read the configuration and report every mistake")
    for parser_of_action in (run, check):
        parser_of_action.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="stoep.toml"
        )
    doctor.add_parser(actions)
    reload_command.add_parser(actions)
    return parser


def _check(path: Path) -> int:
    read = load(path)
    print(
        f"{path}: right; site {read.site} with gateways: {len(read.gateways)},"
        f" devices: {len(read.devices)}, containers: {len(read.containers)},"
        f" bays: {len(read.bays)}, trucks: {len(read.trucks)}"
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    log.set_up(verbose=options.verbose, quiet=options.quiet)
    gc.disable()  # what is read now stays; the gateway turns it on when it has started
    code = asyncio.run(
        run_gateway(
            load(options.config),
            simulated=options.simulated_clock,
            ready_file=options.ready_file,
        )
    )
    # Python's own end would answer one more Ctrl-C with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code
