"""What systemd is told of the gateway: sd_notify(3), and the watchdog of sd_watchdog_enabled(3).

The watchdog is fed by the event loop, and only when an empty record has passed the store's queue
and its writer since: whatever hangs there, the service is started anew. A night without an uplink,
or a broker that is away, feeds it as well as a busy day.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping

from stoep_gateway.services import Parts
from stoep_gateway.store.records import Record

__all__ = ["Notifier", "Supervision", "build", "reloading", "status", "watchdog_us"]

_STATUS_US = 30_000_000
_PATIENCE_S = 1.0  # a socket's queue is full while all services start at once


class Notifier:
    """Sends to the socket that ``$NOTIFY_SOCKET`` names: a path, or ``@`` and an abstract name.

    Nothing is said where there is none. Nothing is raised: a service manager that does not listen
    is no reason to end a network server.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name

    @property
    def listens(self) -> bool:
        """Whether there is a service manager to be told."""
        return self._address.startswith(("/", "\0"))

    def send(self, *assignments: str, patience_s: float = 0) -> None:
        """Send assignments such as ``READY=1``, waiting up to ``patience_s`` for room."""
        if not self.listens:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.settimeout(patience_s)
            sender.sendto("\n".join(assignments).encode(), self._address)


def watchdog_us(environ: Mapping[str, str], pid: int) -> int | None:
    """Return within how many µs the process ``pid`` has to be heard of; None: it need not be."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None


def status(uplinks: int, waiting: int, *, connected: bool) -> str:
    """Return what ``systemctl status`` shows."""
    broker = "connected" if connected else "away"
    return f"uplinks {uplinks}, messages waiting {waiting}, broker {broker}"


@contextlib.contextmanager
def reloading(notifier: Notifier) -> Iterator[None]:
    """Tell that the configuration is being read anew, and then that it has been."""
    now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.send("RELOADING=1", f"MONOTONIC_USEC={now_us}", patience_s=_PATIENCE_S)
    try:
        yield
    finally:
        notifier.send("READY=1", patience_s=_PATIENCE_S)


class Supervision:
    """Says that the gateway is ready, how it is, and that it stops.

    ``pass_through`` calls back once an empty record has gone the way of all others.
    """

    name = "supervision"

    def __init__(
        self,
        notifier: Notifier,
        watchdog_us: int | None,
        pass_through: Callable[[Callable[[], None]], None],
        status: Callable[[], str],
    ) -> None:
        self._notifier = notifier
        self._pause_s = min(_STATUS_US, (watchdog_us or 2 * _STATUS_US) // 2) / 1e6
        self._pass_through = pass_through
        self._status = status

    async def open(self) -> None:
        """Take nothing: a datagram needs no port."""

    async def run(self) -> None:
        """Tell, until cancelled."""
        said = f"STATUS={self._status()}"
        self._notifier.send("READY=1", said, patience_s=_PATIENCE_S)
        try:
            while True:
                passed = asyncio.Event()
                self._pass_through(passed.set)
                await passed.wait()
                self._notifier.send("WATCHDOG=1", f"STATUS={self._status()}")
                await asyncio.sleep(self._pause_s)
        finally:
            self._notifier.send("STOPPING=1", patience_s=_PATIENCE_S)

    async def close(self) -> None:
        """Let go of nothing."""


def build(parts: Parts) -> Supervision | None:
    """Return the service, where systemd has started this process."""
    notifier = Notifier(os.environ)
    if not notifier.listens:
        return None
    return Supervision(
        notifier,
        watchdog_us(os.environ, os.getpid()),
        lambda done: parts.store.submit(Record(), done),
        lambda: status(
            parts.metrics.counts["uplinks_accepted"]
            + parts.metrics.counts["source_uplinks_accepted"],
            len(parts.outbox),
            connected=parts.publisher.connected,
        ),
    )
