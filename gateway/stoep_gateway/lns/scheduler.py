"""Gets one downlink at a time onto the air: the first gateway that accepts the first window.

::

    Downlink ──▶ Transmit (RX1, best signal) ──▶ Transmitted ─ accepted ──▶ DownlinkEnded("sent")
                     ▲                               │ refused
                     └── next: RX1 by the next best gateway, then RX2 ──┤
                                                     │ none left in time
                                                     └──▶ DownlinkEnded(reason)

A window counts from the end of the uplink on the concentrator's counter, so sending the order early
is right: the forwarder holds it until its time. A window nearer than ``LEAD_MS`` is skipped, for a
forwarder refuses what comes too late, or worse, sends it late.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stoep_gateway.lns.frames import Downlink, Transmit, Transmitted, UplinkFrame, Window

__all__ = ["LEAD_MS", "DownlinkEnded", "Scheduler"]

LEAD_MS = 60
_GATEWAYS_TO_ASK = 3
_COUNTER_MASK = 0xFFFF_FFFF
_UNANSWERED = "NO_TX_ACK"


@dataclass(frozen=True, slots=True)
class DownlinkEnded:
    """``outcome`` is ``sent`` or why not: the forwarder's last error, or ``late``."""

    downlink: Downlink
    outcome: str


class Scheduler:
    """The downlinks that no gateway has accepted yet. It waits for nothing: the forwarders do."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Downlink, Iterator[tuple[Window, UplinkFrame]]]] = {}

    def handle(self, event: Downlink | Transmitted, now: int) -> list[Transmit | DownlinkEnded]:
        """Take a new downlink, or what a gateway said; ``now`` in milliseconds."""
        if isinstance(event, Downlink):
            return self._attempt(event, _attempts(event), "late", now)
        if event.downlink_id not in self._open:
            return []
        downlink, attempts = self._open.pop(event.downlink_id)
        if not event.error:
            return [DownlinkEnded(downlink, "sent")]
        if event.error == _UNANSWERED:  # it may be on the air: never send twice
            return [DownlinkEnded(downlink, event.error)]
        return self._attempt(downlink, attempts, event.error, now)

    def _attempt(
        self,
        downlink: Downlink,
        attempts: Iterator[tuple[Window, UplinkFrame]],
        why_not: str,
        now: int,
    ) -> list[Transmit | DownlinkEnded]:
        for window, reception in attempts:
            opens_ms = reception.received_ms + window.delay_us // 1000
            if now + LEAD_MS > opens_ms:
                continue
            self._open[downlink.downlink_id] = (downlink, attempts)
            return [
                Transmit(
                    downlink.downlink_id,
                    reception.gateway_eui,
                    reception.tmst_us + window.delay_us & _COUNTER_MASK,
                    window.freq_hz,
                    window.sf,
                    window.bw_hz,
                    window.power_dbm,
                    downlink.phy_payload,
                )
            ]
        return [DownlinkEnded(downlink, why_not)]


def _attempts(downlink: Downlink) -> Iterator[tuple[Window, UplinkFrame]]:
    asked: dict[bytes, UplinkFrame] = {}
    for reception in downlink.receptions:
        asked.setdefault(reception.gateway_eui, reception)
    gateways = list(asked.values())[:_GATEWAYS_TO_ASK]
    return iter([(window, gateway) for window in downlink.windows for gateway in gateways])
