"""A publisher over an outbox in memory, against whatever broker a test starts."""

from __future__ import annotations

import asyncio
import json
from weakref import WeakSet

import pytest
from stoep_gateway.metrics import Metrics
from stoep_gateway.publish import mqtt_socket
from stoep_gateway.publish.mqtt import Broker, Publisher
from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.store.records import OutboxRow
from waiting import PATIENCE_S

__all__ = ["Running", "alive_clients", "rows"]


def rows(first: int, last: int, retain: int = 0) -> list[OutboxRow]:
    return [
        OutboxRow(n, "kind", f"street/{n % 7}", json.dumps({"event_id": n}).encode(), retain, 0)
        for n in range(first, last + 1)
    ]


def alive_clients(monkeypatch: pytest.MonkeyPatch) -> WeakSet[mqtt_socket.Client]:
    """Return those of the clients that are made from now on that are still there."""
    alive: WeakSet[mqtt_socket.Client] = WeakSet()

    class Client(mqtt_socket.Client):
        def __init__(self, *arguments, **options):
            alive.add(self)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(mqtt_socket, "Client", Client)
    return alive


class Running:
    """A publisher with its outbox, and what it had deleted."""

    def __init__(self, port: int, *, availability=None, **fields):
        self.outbox = Outbox((), 0)
        self.metrics = Metrics()
        self.deleted: list[int] = []
        self.publisher = Publisher(
            Broker("127.0.0.1", port, "stoep-test", **fields),
            self.outbox,
            self.metrics,
            read_page=lambda: None,
            delete=self._delete,
            thin=lambda thinner, done: None,
            availability=availability,
        )
        self._attempts = 0
        self._converse = self.publisher._converse
        self.publisher._converse = self._counted
        self._task = asyncio.create_task(self.publisher.run())

    def _delete(self, ranges):
        for first, last in ranges:
            self.deleted += range(first, last + 1)

    async def _counted(self):
        try:
            await self._converse()
        finally:
            self._attempts += 1

    def attempts(self) -> int:
        """Return how many connections have ended, or were never made."""
        return self._attempts

    def add(self, some):
        self.outbox.add(some)
        self.publisher.wake()

    async def drained(self):
        async with asyncio.timeout(PATIENCE_S):
            await self.publisher.drained()

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
