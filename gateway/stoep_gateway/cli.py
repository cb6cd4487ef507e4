"""The command ``stoep gateway``: run the gateway, and what else is done to it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from stoep_gateway import check_command, config_path, emptied_command, log, reload_command
from stoep_gateway.app import run as run_gateway
from stoep_gateway.config import load
from stoep_gateway.doctor import command as doctor
from stoep_gateway.errors import FatalError
from stoep_gateway.keeping import command_line
from stoep_gateway.secrecy import keep_memory_private

__all__ = ["main"]

_log = logging.getLogger(__name__)

_DESCRIPTION = "Run the gateway and look after it."
_EPILOG = "'stoep gateway ACTION --help' tells more of each."


def main(arguments: Sequence[str]) -> int:
    """Run an action of ``stoep gateway``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # "stoep gateway export - | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:  # before the gateway listens to signals, or after
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep gateway", description=_DESCRIPTION, epilog=_EPILOG)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    run = actions.add_parser(
        "run",
        help="run until told to stop by SIGTERM or Ctrl-C",
        description="Run until told to stop by SIGTERM or Ctrl-C; SIGHUP reloads.",
    )
    run.set_defaults(run=_run)
    run.add_argument(
        "--simulated-clock", action="store_true", help="let a simulator drive the time"
    )
    run.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write ports and process id here when ready"
    )
    run.add_argument("--verbose", action="store_true", help="log every uplink, and what is small")
    run.add_argument("--quiet", action="store_true", help="no line for each uplink in the journal")
    run.add_argument("--config", type=Path, metavar="FILE", help=config_path.HELP)
    check_command.add_parser(actions)
    doctor.add_parser(actions)
    reload_command.add_parser(actions)
    emptied_command.add_parser(actions, command_line.utc_time)
    command_line.add_parsers(actions)
    for name, act in (
        ("doctor", doctor.run),
        ("reload", reload_command.run),
        ("emptied", emptied_command.run),
    ):
        actions.choices[name].set_defaults(run=act)
    return parser


def _run(options: argparse.Namespace) -> int:
    log.set_up(verbose=options.verbose, quiet=options.quiet)
    keep_memory_private()
    gc.disable()  # what is read now stays; the gateway turns it on when it has started
    config = load(config_path.named(options.config))
    for warning in config.warnings:
        _log.warning("%s", warning)
    code = asyncio.run(
        run_gateway(
            config,
            simulated=options.simulated_clock,
            ready_file=options.ready_file,
        )
    )
    # Python's own end would answer one more Ctrl-C with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code
