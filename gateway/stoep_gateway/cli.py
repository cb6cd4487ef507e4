"""The command ``stoep gateway``: run the gateway, or check its configuration."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from stoep_gateway import log
from stoep_gateway.app import run as run_gateway
from stoep_gateway.config import load
from stoep_gateway.errors import FatalError

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep gateway run`` or ``stoep gateway check``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.action == "check":
            return _check(options.config)
        return _run(options)
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep gateway", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="run the gateway until SIGTERM")
    run.add_argument("--simulated-clock", action="store_true", help="time comes over a channel")
    run.add_argument("--ready-file", type=Path, help="write ports and process id here when ready")
    run.add_argument("--verbose", action="store_true", help="log every uplink")
    check = actions.add_parser("check", help="read the configuration and report every mistake")
    for parser_of_action in (run, check):
        parser_of_action.add_argument("--config", type=Path, required=True, help="stoep.toml")
    return parser


def _check(path: Path) -> int:
    read = load(path)
    print(
        f"{path}: site {read.site}, {len(read.gateways)} gateways, {len(read.devices)} devices,"
        f" {len(read.containers)} containers, {len(read.bays)} bays"
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    log.set_up(verbose=options.verbose)
    read = load(options.config)
    return asyncio.run(
        run_gateway(read, simulated=options.simulated_clock, ready_file=options.ready_file)
    )
