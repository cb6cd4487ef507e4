"""The packet forwarder's just-in-time queue: what it takes, and with which word it refuses.

Unsigned 32-bit arithmetic as in Semtech's `lora_pkt_fwd` 2.1.0 (`jitqueue.c`), where a downlink in
the past wraps to far ahead and is therefore refused as too *early*.
"""

from dataclasses import dataclass

from stoep_protocol.lorawan.airtime import time_on_air_us

WRAP = 1 << 32
JIT_US = 40_000  # how long before its time a downlink leaves the queue for the concentrator

_START_US = 1_500
_MARGIN_US = 1_000
_LEAD_US = _START_US + _MARGIN_US + JIT_US
_ADVANCE_US = 512_000_000
_IMMEDIATE_US = 1_000_000
_LENGTH = 32


@dataclass(slots=True)
class Downlink:
    """A transmission that was asked for; `count_us` in the concentrator's 32-bit time."""

    count_us: int
    freq_hz: int
    sf: int
    bw_hz: int
    coding_rate: int
    power_dbm: int
    iq_inverted: bool
    crc_on: bool
    implicit: bool
    preamble: int
    payload: bytes

    @property
    def time_on_air_us(self) -> int:
        """Return how long the frame takes."""
        return time_on_air_us(
            len(self.payload),
            self.sf,
            self.bw_hz,
            coding_rate=self.coding_rate,
            preamble=self.preamble,
            crc=self.crc_on,
            implicit=self.implicit,
        )


class TxQueue:
    """Downlinks that wait for their time, in its order."""

    def __init__(self) -> None:
        self.downlinks: list[Downlink] = []

    def enqueue(self, downlink: Downlink, now_count_us: int, *, immediate: bool = False) -> str:
        """Take a downlink, or return the word with which it is refused; "" when it is taken.

        An immediate one gets its time here: a second ahead, or behind what is in the queue.
        """
        if len(self.downlinks) >= _LENGTH:
            return "COLLISION_PACKET"  # what the reference answers when its queue is full
        if immediate:
            downlink.count_us = self._earliest(downlink, now_count_us)
        lead_us = (downlink.count_us - now_count_us) % WRAP
        if lead_us <= _LEAD_US:
            return "TOO_LATE"
        if not immediate and lead_us > _ADVANCE_US:
            return "TOO_EARLY"
        if any(_collide(downlink, other) for other in self.downlinks):
            return "COLLISION_PACKET"
        self.downlinks.append(downlink)
        self.downlinks.sort(key=lambda other: (other.count_us - now_count_us) % WRAP)
        return ""

    def remove(self, downlink: Downlink) -> None:
        """Take a downlink out, to transmit it."""
        self.downlinks.remove(downlink)

    def _earliest(self, downlink: Downlink, now_count_us: int) -> int:
        downlink.count_us = (now_count_us + _IMMEDIATE_US) % WRAP
        if any(_collide(downlink, other) for other in self.downlinks):
            for index, other in enumerate(self.downlinks):
                gap_us = _post_us(other) + _START_US + JIT_US + JIT_US + _MARGIN_US
                downlink.count_us = (other.count_us + gap_us) % WRAP
                following = self.downlinks[index + 1 : index + 2]
                if not following or not _collide(downlink, following[0]):
                    break
        return downlink.count_us


def _post_us(downlink: Downlink) -> int:
    return downlink.time_on_air_us // 1000 * 1000  # the reference reckons in whole milliseconds


def _collide(one: Downlink, other: Downlink) -> bool:
    before_us = _START_US + JIT_US
    return (one.count_us - other.count_us) % WRAP <= before_us + _post_us(other) + _MARGIN_US or (
        other.count_us - one.count_us
    ) % WRAP <= before_us + _post_us(one) + _MARGIN_US
