"""Downlinks that wait for their devices, from the request to the end of each. Pure.

::

    add ──▶ waiting ── take ──▶ sending ── transmitted("") ──▶ Ended("sent")
               ▲                   │            └─ confirmed ──▶ sent
               │                   │ refused                      │ heard(ack)
               └───────────────────┴──────────────────────────────┤      └──▶ Ended("acknowledged")
                                                                  └ heard without
    expired, flushed, tried ``MAX_ATTEMPTS`` times: Ended as well

Every attempt is a new frame with a counter of its own. A device has at most one downlink on its
way, so an acknowledgement is never taken for another's. The caller makes durable what changes
before it acts on it; what was on its way when the power failed is tried again, so that a downlink
arrives at least once, or its end says that it may not have.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stoep_gateway.lns.frames import MAY_HAVE_SENT, Rejected

__all__ = ["MAX_ATTEMPTS", "MAX_QUEUED", "DownlinkQueue", "Ended", "Queued"]

MAX_ATTEMPTS = 8
MAX_QUEUED = 64  # per device; an hourly device takes days to fetch so many


@dataclass(frozen=True, slots=True)
class Queued:
    """An application's downlink; the larger ``priority`` goes first, then the older.

    ``downlink_id`` names it for ever. ``attempts`` counts the frames that were made of it.
    """

    downlink_id: int
    dev_eui: bytes
    f_port: int
    frm_payload: bytes
    confirmed: bool = False
    priority: int = 0
    created_utc_ms: int = 0
    expires_utc_ms: int | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a downlink, or with ``again`` of one attempt.

    ``outcome``: ``sent``, ``acknowledged``, ``refused``, ``unacknowledged``, ``expired``,
    ``flushed``; ``unknown``: a gateway took it and never said more. ``reason`` is what the last
    gateway said.
    """

    queued: Queued
    outcome: str
    reason: str = ""
    again: bool = False


@dataclass(slots=True)
class _OnItsWay:
    queued: Queued
    transmitted: bool = False


class DownlinkQueue:
    """All downlinks of a network server that have not ended; times are UTC in milliseconds."""

    def __init__(self, stored: Iterable[Queued] = ()) -> None:
        self._waiting: dict[bytes, list[Queued]] = {}
        self._on_its_way: dict[bytes, _OnItsWay] = {}
        self._expiries: list[tuple[int, int, bytes]] = []
        for queued in stored:
            self._enter(queued)

    def add(self, queued: Queued) -> Rejected | None:
        """Take a new downlink. Rejected: ``queue_full``."""
        if len(self.of_device(queued.dev_eui)) >= MAX_QUEUED:
            return Rejected("queue_full", queued.dev_eui.hex())
        self._enter(queued)
        return None

    def of_device(self, dev_eui: bytes) -> tuple[Queued, ...]:
        """Return a device's downlinks in the order in which they will be sent."""
        way = self._on_its_way.get(dev_eui)
        waiting = tuple(self._waiting.get(dev_eui, ()))
        return waiting if way is None else (way.queued, *waiting)

    def ready(self, dev_eui: bytes, utc_ms: int) -> tuple[Queued, ...]:
        """Return what ``take`` may send, the next one first; nothing while one is on its way."""
        waiting = self._waiting.get(dev_eui)
        if not waiting or dev_eui in self._on_its_way:
            return ()
        return tuple(
            one for one in waiting if one.expires_utc_ms is None or one.expires_utc_ms > utc_ms
        )

    def take(self, queued: Queued) -> Queued:
        """Send one of what is ``ready``: it is on its way from now on, one attempt older."""
        waiting = self._waiting[queued.dev_eui]
        waiting.remove(queued)
        if not waiting:
            del self._waiting[queued.dev_eui]
        tried = replace(queued, attempts=queued.attempts + 1)
        self._on_its_way[queued.dev_eui] = _OnItsWay(tried)
        return tried

    def on_its_way(self, dev_eui: bytes) -> Queued | None:
        """Return the downlink of a device that is on its way, or waits for its acknowledgement."""
        way = self._on_its_way.get(dev_eui)
        return None if way is None else way.queued

    def dev_euis(self) -> list[bytes]:
        """Return the devices for which something waits."""
        return list(self._waiting)

    def transmitted(self, dev_eui: bytes, downlink_id: int, error: str) -> Ended | None:
        """Take what became of an attempt's frame; ``error`` is empty when a gateway sent it."""
        way = self._on_its_way.get(dev_eui)
        if way is None or way.queued.downlink_id != downlink_id:
            return None
        if error and error not in MAY_HAVE_SENT:
            return self._again_or_end(way.queued, "refused", error)
        if way.queued.confirmed:  # the device will say whether it has it
            way.transmitted = True
            return None
        del self._on_its_way[dev_eui]
        return Ended(way.queued, "unknown" if error else "sent", error)

    def put_back(self, tried: Queued) -> None:
        """Undo a ``take`` of what never left: that was no attempt."""
        if self.on_its_way(tried.dev_eui) == tried:
            del self._on_its_way[tried.dev_eui]
            self._enter(replace(tried, attempts=tried.attempts - 1))

    def heard(self, dev_eui: bytes, *, ack: bool) -> Ended | None:
        """Take a new uplink of the device, which may acknowledge a confirmed downlink."""
        way = self._on_its_way.get(dev_eui)
        if way is None:
            return None
        settle = self.acknowledged if ack else self.unacknowledged
        return settle(dev_eui, way.queued.downlink_id)

    def acknowledged(self, dev_eui: bytes, downlink_id: int) -> Ended | None:
        """Take an acknowledgement."""
        way = self._on_its_way.get(dev_eui)
        if way is None or way.queued.downlink_id != downlink_id or not way.queued.confirmed:
            return None
        del self._on_its_way[dev_eui]
        return Ended(way.queued, "acknowledged")

    def unacknowledged(self, dev_eui: bytes, downlink_id: int) -> Ended | None:
        """Give up the wait for an acknowledgement: the device was heard without, or not at all."""
        way = self._on_its_way.get(dev_eui)
        if way is None or way.queued.downlink_id != downlink_id or not way.transmitted:
            return None
        return self._again_or_end(way.queued, "unacknowledged", "")

    def withdraw(self, dev_eui: bytes, f_port: int) -> list[Ended]:
        """Forget the downlinks of a device that wait to be sent to a port."""
        waiting = self._waiting.get(dev_eui, [])
        withdrawn = [queued for queued in waiting if queued.f_port == f_port]
        waiting[:] = [queued for queued in waiting if queued.f_port != f_port]
        if not waiting:
            self._waiting.pop(dev_eui, None)
        return [Ended(queued, "flushed") for queued in withdrawn]

    def flush(self, dev_eui: bytes) -> list[Ended]:
        """Forget all downlinks of a device; one that is with a gateway may still be sent."""
        flushed = self.of_device(dev_eui)
        self._waiting.pop(dev_eui, None)
        self._on_its_way.pop(dev_eui, None)
        return [Ended(queued, "flushed") for queued in flushed]

    def expire(self, utc_ms: int) -> list[Ended]:
        """Return what ended because its time is over; what is on its way is left alone."""
        ended = []
        while self._expiries and self._expiries[0][0] <= utc_ms:
            _, downlink_id, dev_eui = heapq.heappop(self._expiries)
            waiting = self._waiting.get(dev_eui, [])
            for queued in waiting:
                if queued.downlink_id == downlink_id:
                    waiting.remove(queued)
                    ended.append(Ended(queued, "expired"))
                    break
            if not waiting:
                self._waiting.pop(dev_eui, None)
        return ended

    def next_expiry(self) -> int | None:
        """Return when ``expire`` may have something to tell."""
        return self._expiries[0][0] if self._expiries else None

    def move_times(self, from_utc_ms: int, by_ms: int) -> None:
        """Correct times from ``from_utc_ms`` on, which were provisional."""
        self._expiries.clear()
        for dev_eui, waiting in self._waiting.items():
            self._waiting[dev_eui] = []
            for queued in waiting:
                expires_utc_ms = queued.expires_utc_ms
                if expires_utc_ms is not None and expires_utc_ms >= from_utc_ms:
                    expires_utc_ms += by_ms
                self._enter(replace(queued, expires_utc_ms=expires_utc_ms))

    def _enter(self, queued: Queued) -> None:
        waiting = self._waiting.setdefault(queued.dev_eui, [])
        waiting.append(queued)
        waiting.sort(key=lambda one: (-one.priority, one.downlink_id))
        if queued.expires_utc_ms is not None:
            heapq.heappush(
                self._expiries, (queued.expires_utc_ms, queued.downlink_id, queued.dev_eui)
            )

    def _again_or_end(self, queued: Queued, outcome: str, reason: str) -> Ended:
        del self._on_its_way[queued.dev_eui]
        if queued.attempts >= MAX_ATTEMPTS:
            return Ended(queued, outcome, reason)
        self._enter(queued)
        return Ended(queued, outcome, reason, again=True)
