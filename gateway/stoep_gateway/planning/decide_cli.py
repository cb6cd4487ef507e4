"""``stoep plan include``, ``done`` and so on: what people decide, and ``decisions``, all of it.

Exit codes: 0 taken, or known already; 1 refused; 3 no gateway answers.
"""

from __future__ import annotations

import argparse
import datetime
import json
import uuid
from typing import Any

from stoep_gateway import control_client
from stoep_gateway.errors import FatalError
from stoep_gateway.publish.messages import utc

__all__ = ["ACTIONS", "add", "run", "utc_ms"]

_YEARS = (2000, 2999)

_HELP = {
    "include": "have containers emptied",
    "exclude": "have containers left alone",
    "lock": "have containers emptied by one truck",
    "done": "say that containers are emptied, or that a truck has unloaded",
    "skip": "say that a driver was there in vain",
    "truck-out": "do without a truck",
    "undo": "take back what was said last of a container, a truck, or an unloading",
}
ACTIONS = (*_HELP, "decisions")


def add(actions: Any) -> None:
    """Add the commands' parsers to those of ``stoep plan``."""
    for name, words in _HELP.items():
        parser = actions.add_parser(name, help=words, description=f"{words.capitalize()}.")
        about_unloading = name in ("done", "undo")
        if name == "truck-out":
            parser.add_argument("truck", metavar="TRUCK", help="its id")
        else:
            parser.add_argument(
                "containers",
                metavar="CONTAINER",
                nargs="*" if about_unloading else "+",
                help="their ids",
            )
            if name not in ("include", "exclude"):
                parser.add_argument(
                    "--truck", metavar="TRUCK", required=name == "lock", help="by which truck"
                )
        if about_unloading:
            parser.add_argument(
                "--unloaded", metavar="PLACE", dest="place", help="the truck has unloaded there"
            )
        if name in ("done", "skip"):
            parser.add_argument("--at", metavar="TIME", type=utc_ms, help="when; default: now")
        if name == "done":
            parser.add_argument("--fill-pct", type=float, metavar="PCT", help="how full it was")
            parser.add_argument("--weight-kg", type=float, metavar="KG", help="what it weighed")
        parser.add_argument(
            "--date", metavar="DATE", help="of which rounds; default: those under way, or today's"
        )
        parser.add_argument("--id", help="a name for it: said twice, it is taken once")
        control_client.add_options(parser)
    listing = actions.add_parser("decisions", help="list what was decided")
    listing.add_argument("--date", metavar="DATE", help="of which rounds; default: of all")
    listing.add_argument("--json", action="store_true")
    control_client.add_options(listing)


def run(options: argparse.Namespace) -> int:
    """Ask the gateway and say what came of it. Raises `FatalError`, `GatewayAway`."""
    if options.action == "decisions":
        with control_client.connect(options) as client:
            answer = client.ask("plan.decisions", date=options.date)
        if options.json:
            print("\n".join(map(json.dumps, answer["decisions"])))
        else:
            print("\n".join(map(_line, answer["decisions"])) or "nothing is decided")
        return 0
    said = {
        name: getattr(options, name, None)
        for name in ("truck", "place", "date", "fill_pct", "weight_kg")
    }
    at_ms = getattr(options, "at", None)
    said["time_utc"] = None if at_ms is None else utc(at_ms)
    containers = getattr(options, "containers", None) or [None]
    if options.id is not None and len(containers) > 1:
        raise FatalError("--id names one decision: say it of one container")
    refused = []
    with control_client.connect(options) as client:
        for container in containers:
            answer = client.ask(
                "plan.decide",
                id=options.id or uuid.uuid4().hex,
                action=options.action.replace("-", "_"),
                container=container,
                **said,
            )
            if "error" in answer:
                refused.append(answer["error"])
                continue
            about = container or said["place"] or options.truck
            known = " (known already)" if answer["result"] == "known" else ""
            print(f"{answer['date']}, {about}: {answer['holds'] or 'nothing is decided'}{known}")
    if refused:
        raise FatalError("\n".join(refused))
    return 0


def _line(it: dict[str, Any]) -> str:
    about = " ".join(
        str(it[name]) for name in ("container", "place", "truck") if it[name] is not None
    )
    more = "".join(
        f", {it[name]:g} {unit}"
        for name, unit in (("fill_pct", "%"), ("weight_kg", "kg"))
        if it[name] is not None
    )
    return f"{it['date']}  {it['time_utc']}  {it['action']} {about}{more}  ({it['sender']})"


def utc_ms(text: str) -> int:
    """Return UTC milliseconds, for argparse; a time without an offset is UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a time is written 2026-01-31T06:00Z") from None
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise argparse.ArgumentTypeError("a time is of the years {} to {}".format(*_YEARS))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1000)
