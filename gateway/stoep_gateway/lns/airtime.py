"""What one gateway has on the air, and what it may still put there. Pure.

::

    every gateway    ──[####]── guard ──[####]──▶    one transmission at a time
    a sub-band       Σ airtime of any hour ≤ an hour / duty_cycle
    a Basics Station [#]──── airtime · divisor ────▶ then its class may send again (EU868)

Two transmissions are compared on the concentrator's counter where both have one, which is exact.
Class C frames have none, and a counter starts anew with its gateway: then the comparison is by our
clock, which hears of an uplink after the backhaul's delay, and the guard is wide.

Sub-bands and their duty cycles are the region's. The station's classes are those of Basics Station
(``freq2band`` and ``update_DC`` in its ``s2e.c``), which know less of EU868 than ERC 70-03 does.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.regions import Region, SubBand

__all__ = ["Airtime", "GatewayAir", "Obstacle", "SubBandUse", "Transmission", "downlink_us"]

_HOUR_MS = 3_600_000
_WINDOW_MS = _HOUR_MS + 2_000  # our clock may be off by the backhaul's delay
_COUNTER = 1 << 32
_COUNTER_DOUBT_US = 5_000_000  # no backhaul's jitter: the counter has started anew
_GUARD_US = 43_000  # the reference forwarder refuses what starts 42.5 ms after another's end
_WIDE_GUARD_US = 250_000
_KEPT_US = 2_000_000  # after its end, as the backhaul's delay may reorder the two on our clock
_RESERVED_PARTS = 10
_DECI_HZ = ((869_400_000, 869_650_000),)
_CENTI_HZ = ((868_000_000, 868_600_000), (869_700_000, 870_000_000))


@dataclass(frozen=True, slots=True)
class Transmission:
    """One frame of one gateway, planned or sent.

    It starts at ``at_us`` of our clock or up to ``slack_us`` later, which is ``counter_us`` of the
    concentrator's, if that is known.
    """

    at_us: int
    airtime_us: int
    freq_hz: int
    counter_us: int | None = None
    slack_us: int = 0

    @property
    def ends_us(self) -> int:
        """When it has ended at the latest."""
        return self.at_us + self.slack_us + self.airtime_us


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a transmission cannot be, and from when on it could; None: never."""

    reason: str
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class SubBandUse:
    """The last hour's airtime in a sub-band, in thousandths of the hour; no limit is None."""

    low_hz: int
    high_hz: int
    used_permille: float
    limit_permille: float | None


class Airtime:
    """The transmissions of a rolling hour in one sub-band, planned ones too."""

    __slots__ = ("_entries", "_sum_us")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int]] = []  # (ends_ms, airtime_us), by time
        self._sum_us = 0

    def add(self, ends_ms: int, airtime_us: int) -> None:
        """Count a transmission."""
        insort(self._entries, (ends_ms, airtime_us))
        self._sum_us += airtime_us

    def remove(self, ends_ms: int, airtime_us: int) -> None:
        """Take back one that was added and will not be."""
        entries = self._entries
        at = bisect_left(entries, (ends_ms, airtime_us))
        if at < len(entries) and entries[at] == (ends_ms, airtime_us):
            del entries[at]
            self._sum_us -= airtime_us

    def used_us(self, now_ms: int) -> int:
        """Return the airtime of the hour up to now and of all that is planned."""
        past = bisect_left(self._entries, (now_ms - _WINDOW_MS + 1,))
        if past:
            self._sum_us -= sum(airtime_us for _, airtime_us in self._entries[:past])
            del self._entries[:past]
        return self._sum_us

    def earliest_ms(self, start_ms: int, airtime_us: int, budget_us: int) -> int | None:
        """Return from when on, at or after ``start_ms``, an hour holds one more; None: never.

        Everything that ends less than an hour before it counts, and everything after it: a
        transmission is in no hour that holds more than that.
        """
        excess_us = self._sum_us + airtime_us - budget_us
        at_ms = start_ms
        for ends_ms, length_us in self._entries:
            if excess_us <= 0:
                break
            excess_us -= length_us
            at_ms = max(at_ms, ends_ms + _WINDOW_MS)
        return at_ms if excess_us <= 0 else None


class GatewayAir:
    """One gateway's transmissions; without ``region`` or ``duty_cycle`` only their overlaps.

    ``blocking``: a Basics Station, which blocks a class of frequencies after each transmission.
    """

    def __init__(self, region: Region | None, *, duty_cycle: bool) -> None:
        self.blocking = False
        self._region = region
        self._duty_cycle = duty_cycle
        self._blocks = duty_cycle and region is not None and region.name == "EU868"
        self._transmissions: list[Transmission] = []
        self._airtime: dict[int, tuple[SubBand | None, Airtime]] = {}

    def obstacle(self, wanted: Transmission, *, urgent: bool) -> Obstacle | None:
        """Return what stands against a transmission; None: it may be.

        What is not ``urgent`` leaves a tenth of each sub-band's budget for what is.
        """
        length_us = wanted.slack_us + wanted.airtime_us
        wait_us = _first_gap_us(
            [_span(wanted, other, other.airtime_us) for other in self._transmissions], length_us
        )
        if wait_us:
            return Obstacle("busy", wanted.at_us + wait_us)
        if not self._duty_cycle:
            return None
        if self.blocking and self._blocks:
            divisor = _station_divisor(wanted.freq_hz)
            wait_us = _first_gap_us(
                [
                    _span(wanted, other, other.airtime_us * divisor)
                    for other in self._transmissions
                    if _station_divisor(other.freq_hz) == divisor
                ],
                wanted.slack_us + wanted.airtime_us * divisor,
            )
            if wait_us:
                return Obstacle("duty_cycle", wanted.at_us + wait_us)
        band, airtime = self._of(wanted.freq_hz)
        if band is None or band.duty_cycle == 1:
            return None
        budget_us = _HOUR_MS * 1000 // band.duty_cycle
        if not urgent:
            budget_us -= budget_us // _RESERVED_PARTS
        start_ms = wanted.at_us // 1000
        earliest_ms = airtime.earliest_ms(start_ms, wanted.airtime_us, budget_us)
        if earliest_ms is None:
            return Obstacle("duty_cycle")
        return Obstacle("duty_cycle", earliest_ms * 1000) if earliest_ms > start_ms else None

    def plan(self, transmission: Transmission, now: int) -> None:
        """Count a transmission from now on; those that matter no more are forgotten."""
        self._transmissions = [
            other for other in self._transmissions if self._matters_until_us(other) > now * 1000
        ]
        self._transmissions.append(transmission)
        _, airtime = self._of(transmission.freq_hz)
        airtime.used_us(now)
        airtime.add(-(-transmission.ends_us // 1000), transmission.airtime_us)

    def restore(self, freq_hz: int, ends_ms: int, airtime_us: int) -> None:
        """Count a transmission of before the start, which stands in no other's way any more."""
        self._of(freq_hz)[1].add(ends_ms, airtime_us)

    def cancel(self, transmission: Transmission) -> None:
        """Take back a planned transmission that will not be."""
        if transmission in self._transmissions:
            self._transmissions.remove(transmission)
            _, airtime = self._of(transmission.freq_hz)
            airtime.remove(-(-transmission.ends_us // 1000), transmission.airtime_us)

    def used_us(self, freq_hz: int, now: int) -> int:
        """Return the last hour's airtime in a frequency's sub-band, with what is planned."""
        return self._of(freq_hz)[1].used_us(now)

    def account(self, now: int) -> tuple[SubBandUse, ...]:
        """Return how much of each sub-band that was ever used is used now."""
        uses = []
        for band, airtime in self._airtime.values():
            if band is not None:
                limited = self._duty_cycle and band.duty_cycle > 1
                limit_permille = 1000 / band.duty_cycle if limited else None
                used_permille = airtime.used_us(now) / _HOUR_MS
                uses.append(SubBandUse(band.low_hz, band.high_hz, used_permille, limit_permille))
        return tuple(uses)

    def _of(self, freq_hz: int) -> tuple[SubBand | None, Airtime]:
        band = None if self._region is None else self._region.sub_band(freq_hz)
        low_hz = 0 if band is None else band.low_hz
        return self._airtime.setdefault(low_hz, (band, Airtime()))

    def _matters_until_us(self, transmission: Transmission) -> int:
        rest_us = 0
        if self.blocking and self._blocks:
            rest_us = transmission.airtime_us * _station_divisor(transmission.freq_hz)
        return transmission.ends_us + rest_us + _KEPT_US


def downlink_us(phy_len: int, sf: int, bw_hz: int) -> int:
    """Return the time on air of a downlink, which carries no CRC, in µs."""
    return time_on_air_us(phy_len, sf, bw_hz, crc=False)


def _span(wanted: Transmission, other: Transmission, length_us: int) -> tuple[int, int]:
    """Return when ``other`` keeps the gateway, in µs from the start of ``wanted``."""
    starts_us, guard_us = other.at_us - wanted.at_us, _WIDE_GUARD_US
    if wanted.counter_us is not None and other.counter_us is not None:
        exact_us = (other.counter_us - wanted.counter_us + _COUNTER // 2) % _COUNTER
        exact_us -= _COUNTER // 2
        if abs(exact_us - starts_us) < _COUNTER_DOUBT_US:
            starts_us, guard_us = exact_us, _GUARD_US
    return starts_us - guard_us, starts_us + other.slack_us + length_us + guard_us


def _first_gap_us(spans: Iterable[tuple[int, int]], length_us: int) -> int:
    at_us = 0
    for begins_us, ends_us in sorted(spans):
        if at_us + length_us <= begins_us:
            break
        at_us = max(at_us, ends_us)
    return at_us


def _station_divisor(freq_hz: int) -> int:
    for divisor, bands_hz in ((10, _DECI_HZ), (100, _CENTI_HZ)):
        if any(low_hz <= freq_hz <= high_hz for low_hz, high_hz in bands_hz):
            return divisor
    return 1000
