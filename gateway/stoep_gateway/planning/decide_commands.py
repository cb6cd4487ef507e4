"""The commands ``plan.decide`` and ``plan.decisions`` of the control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from stoep_gateway.clock import Clock
from stoep_gateway.control import CommandRefused, ControlServer
from stoep_gateway.planning.dispatch import Decision, Word
from stoep_gateway.publish.messages import utc
from stoep_gateway.rounds import DailyRounds

__all__ = ["DecideCommands"]

_COMMON = ("command", "user")


class DecideCommands:
    """Takes decisions of whoever may open the socket, in the name of his user."""

    def __init__(self, rounds: DailyRounds, clock: Clock) -> None:
        self._rounds = rounds
        self._clock = clock

    def register(self, control: ControlServer) -> None:
        """Let the control socket know the commands."""
        control.register("plan.decide", self._decide, changes=True, by_user=True)
        control.register("plan.decisions", self._decisions)

    async def _decide(self, request: Mapping[str, Any]) -> dict[str, Any]:
        said = {name: it for name, it in request.items() if name not in _COMMON and it is not None}
        try:
            word = Word.read(said)
        except ValueError as error:
            raise CommandRefused(str(error)) from None
        durable = asyncio.Event()
        answer = self._rounds.decide(word, f"user/{request['user']}", durable.set)
        await durable.wait()
        if answer.decision is None:
            raise CommandRefused(str(answer.reason))
        return {
            "result": answer.result,
            "id": answer.id,
            "date": answer.decision.date,
            "holds": answer.holds,
        }

    def _decisions(self, request: Mapping[str, Any]) -> dict[str, Any]:
        dispatch = self._rounds.in_force.dispatch
        date = request.get("date")
        found = dispatch.everything() if date is None else dispatch.of(str(date))
        return {"decisions": [_told(it) for it in found]}


def _told(it: Decision) -> dict[str, Any]:
    return {
        "date": it.date,
        "time_utc": utc(it.at_ms),
        "sender": it.sender,
        "id": it.id,
        "action": it.action,
        "container": it.container,
        "truck": it.truck,
        "place": it.place,
        "fill_pct": it.fill_pct,
        "weight_kg": it.weight_kg,
    }
