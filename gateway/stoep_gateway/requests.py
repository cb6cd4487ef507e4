"""Devices are asked for readings that never arrived; which and when, `insight.gaps` decides.

A request is queued at the report that reveals the gap, behind everything else, so that it goes in
that report's own receive window; it does not wait for long. Runs on the event loop.
"""

from __future__ import annotations

from stoep_protocol.messages import BinReport, encode
from stoep_protocol.requests import ReadingsRequest
from stoep_protocol.schema import F_PORT_READINGS_REQUEST, SEQUENCE_MODULUS

from stoep_gateway.assets.registry import Device
from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.clock import Clock
from stoep_gateway.decode import Uplink
from stoep_gateway.downlinks import Downlinks
from stoep_gateway.insight import gaps
from stoep_gateway.insight.gaps import Asked
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.memory import Memory
from stoep_gateway.metrics import Metrics

__all__ = ["Requests"]

_PRIORITY = -1  # behind what applications send
_WAITS_MS = 10_000  # for the windows of the uplink at hand; the next one is looked at anew
_WAITS_AT_SOURCE_MS = 6 * 3_600_000  # another network server sends at an uplink to come


class Requests:
    """All devices' missing readings."""

    def __init__(
        self,
        memory: Memory,
        downlinks: Downlinks,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._memory = memory
        self._downlinks = downlinks
        self._clock = clock
        self._metrics = metrics
        self._asked: dict[bytes, Asked] = {}

    def heard(self, device: Device, message: Uplink | str | None, state: AssetState | None) -> None:
        """Take the ``state`` that a report will make of its container's, and ask for what misses.

        What the report is answered with may carry the request.
        """
        if (
            not isinstance(message, BinReport)
            or not isinstance(state, ContainerState)
            or device.asset is None
            or device.make is not None  # it knows nothing of requests
        ):
            return
        dev_eui = device.dev_eui
        before = self._memory.states.get(device.asset.key)
        newer = not isinstance(before, ContainerState) or state.sequence > before.sequence
        asked = self._asked.get(dev_eui)
        if asked is not None:
            asked = gaps.after(asked, state, newer=newer)
        utc_ms = self._clock.utc_ms()
        delay = 0 if device.source is None else 1
        if newer and not self._is_waiting(dev_eui):
            wish = gaps.next_request(state, message, asked, utc_ms, delay=delay)
            if wish is not None and self._send(device, wish.request, utc_ms):
                asked = wish
        if asked is not None:
            self._asked[dev_eui] = asked

    def _is_waiting(self, dev_eui: bytes) -> bool:
        return any(
            queued.f_port == F_PORT_READINGS_REQUEST
            for queued in self._memory.queue.of_device(dev_eui)
        )

    def _send(self, device: Device, request: gaps.Request, utc_ms: int) -> bool:
        f_port, payload = encode(ReadingsRequest(request.newest % SEQUENCE_MODULUS, request.count))
        waits_ms = _WAITS_MS if device.source is None else _WAITS_AT_SOURCE_MS
        queued = self._downlinks.send(
            device.dev_eui,
            f_port,
            payload,
            priority=_PRIORITY,
            expires_utc_ms=utc_ms + waits_ms,
        )
        if isinstance(queued, Rejected):
            return False
        self._metrics.count("readings_requests")
        self._metrics.count("readings_asked_for", request.count)
        return True
