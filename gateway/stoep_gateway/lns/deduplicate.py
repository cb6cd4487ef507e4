"""Gathers the receptions of one transmission into an ``UplinkFrameSet``.

::

    UplinkFrame ──▶ new payload?  ── yes ─▶ open for window_ms ── Tick ─▶ UplinkFrameSet
                     │ no: open              then remembered for memory_ms
                     │                        (Rejected "late_copy": a slow backhaul)
                     └─▶ one more reception of it

A payload is told by its octets alone: a device close to a gateway is heard on two channels at
once, and one join-request must give one join-accept. A device repeats itself (a confirmed uplink,
NbTrans) only after its receive windows, so what comes within ``memory_ms`` is a copy and no
repetition.
"""

from __future__ import annotations

from collections import deque

from stoep_gateway.lns.frames import Rejected, Tick, UplinkFrame, UplinkFrameSet

__all__ = ["Deduplicator"]


class Deduplicator:
    """One per network server; ``window_ms`` counts from the first reception."""

    def __init__(self, window_ms: int, memory_ms: int = 1000) -> None:
        self._window_ms = window_ms
        self._memory_ms = memory_ms
        self._open: dict[bytes, list[UplinkFrame]] = {}
        self._closing: deque[tuple[int, bytes]] = deque()
        self._closed: set[bytes] = set()
        self._forgetting: deque[tuple[int, bytes]] = deque()

    def handle(self, event: UplinkFrame | Tick, now: int) -> list[UplinkFrameSet | Rejected]:
        """Take a reception, or the deadline; ``now`` in milliseconds.

        Sets come in the order of their first receptions.
        """
        if type(event) is UplinkFrame:
            return self._receive(event, now)
        self._forget(now)
        due: list[UplinkFrameSet | Rejected] = []
        closing = self._closing
        while closing and closing[0][0] <= now:
            due.append(self._close(closing.popleft()[1], now))
        return due

    def next_deadline(self) -> int | None:
        """Return when the oldest open window closes, in milliseconds."""
        return self._closing[0][0] if self._closing else None

    def _receive(self, frame: UplinkFrame, now: int) -> list[UplinkFrameSet | Rejected]:
        phy_payload = frame.phy_payload
        receptions = self._open.get(phy_payload)
        if receptions is not None:
            receptions.append(frame)
            return []
        self._forget(now)
        if phy_payload in self._closed:
            return [Rejected("late_copy")]
        self._open[phy_payload] = [frame]
        self._closing.append((now + self._window_ms, phy_payload))
        return []

    def close_all(self, now: int) -> list[UplinkFrameSet]:
        """Return all open sets at once, for a gateway that is about to stop."""
        sets = [self._close(phy_payload, now) for _, phy_payload in self._closing]
        self._closing.clear()
        return sets

    def _close(self, phy_payload: bytes, now: int) -> UplinkFrameSet:
        receptions = self._open.pop(phy_payload)
        self._closed.add(phy_payload)
        self._forgetting.append((now + self._memory_ms, phy_payload))
        first_ms = receptions[0].received_ms
        if len(receptions) > 1:
            receptions.sort(key=_signal, reverse=True)
        return UplinkFrameSet(phy_payload, tuple(receptions), first_ms)

    def _forget(self, now: int) -> None:
        forgetting = self._forgetting
        while forgetting and forgetting[0][0] <= now:
            self._closed.remove(forgetting.popleft()[1])


def _signal(frame: UplinkFrame) -> tuple[float, float]:
    return frame.snr_db, frame.rssi_dbm
