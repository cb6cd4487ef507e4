"""``stoep gateway emptied``: say that a container without a level sensor was emptied.

Exit codes: 0 taken, 1 refused, 3 no gateway answers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from stoep_gateway import control_client
from stoep_gateway.control_client import GatewayAway
from stoep_gateway.errors import FatalError

__all__ = ["add_parser", "run"]


def add_parser(actions: Any, time: Callable[[str], int]) -> None:
    """Add ``emptied`` to the actions of ``stoep gateway``; ``time`` reads one in UTC ms."""
    parser = actions.add_parser(
        "emptied",
        help="say that a container was emptied whose lid is counted",
        description="Say that a container was emptied whose level is by openings of its lid. They"
        " are counted anew from now on; with --from-pct the gateway learns what one brings.",
    )
    parser.add_argument("container", metavar="CONTAINER", help="its id")
    parser.add_argument("--at", type=time, metavar="TIME", help="default: now")
    parser.add_argument("--from-pct", type=float, metavar="PCT", help="how full it was")
    parser.add_argument("--to-pct", type=float, metavar="PCT", help="what was left; default: 0")
    control_client.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Ask, say what came of it, and return the exit code. Raises `FatalError`."""
    said = {"from_pct": options.from_pct, "to_pct": options.to_pct, "at_utc_ms": options.at}
    try:
        with control_client.connect(options) as client:
            answer = client.ask("container.emptied", container=options.container, **said)
    except GatewayAway as away:
        print(away, file=sys.stderr)
        return GatewayAway.exit_code
    if "error" in answer:
        raise FatalError(answer["error"])
    print(f"{answer['container']}: emptied at {answer['emptied_utc']}")
    return 0
