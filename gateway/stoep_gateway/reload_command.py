"""``stoep gateway reload``: have the running gateway read its configuration anew, and hear of it.

Exit codes: 0 taken, 2 mistakes in the configuration, 3 no gateway answers, 4 taken, but some of it
needs a restart.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from stoep_gateway import control_client
from stoep_gateway.control_client import GatewayAway
from stoep_gateway.errors import ConfigError, FatalError
from stoep_gateway.reloading import COMMAND

__all__ = ["add_parser", "run"]

_NEEDS_RESTART = 4


def add_parser(actions: Any) -> None:
    """Add ``reload`` to the actions of ``stoep gateway``."""
    parser = actions.add_parser(
        "reload", help="have the running gateway read its configuration anew, as SIGHUP does"
    )
    control_client.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Ask, print what came of it, and return the exit code. Raises `FatalError`."""
    try:
        with control_client.connect(options) as client:
            answer = client.ask(COMMAND)
    except GatewayAway as away:
        print(away, file=sys.stderr)
        return GatewayAway.exit_code
    if "error" in answer:
        raise FatalError(f"{answer['error']} ({answer.get('hint', '')})")
    for line in (*answer["mistakes"], *answer["warnings"]):
        print(line, file=sys.stderr)
    if answer["mistakes"]:
        print("nothing was changed", file=sys.stderr)
        return ConfigError.exit_code
    print(f"reloaded: {', '.join(answer['applied']) or 'nothing has changed'}")
    if answer["needs_restart"]:
        print(f"needs a restart: {', '.join(answer['needs_restart'])}")
        return _NEEDS_RESTART
    return 0
