"""The simulated air: who hears which LoRa frame, how strongly, and what collisions do to it.

Knows modulation parameters, positions and powers; it never looks into a payload. A frame reaches
a radio only when everything a real demodulator depends on agrees: frequency, bandwidth, spreading
factor, sync word, IQ polarity and header mode. The CRC is told by the explicit header, so it is
left to the receiver.

    transmit ──► preamble heard? ──► locked ──► end of frame ──► on_frame(intact?)
                    │ no match, too weak, started listening too late,
                    │ drowned, every demodulator busy, transmitting itself
                    └──► nothing
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from .engine import Engine

SYNC_WORD_PUBLIC = 0x34
SYNC_WORD_PRIVATE = 0x12

# A demodulator needs about five symbols of preamble to lock (SX1261/2 data sheet, 6.1.1.1, asks
# for a preamble of at least six where detection time matters).
DETECT_SYMBOLS = 5
# SX1261/2 data sheet, 6.1.1: a receiver follows an offset of up to a quarter of the bandwidth.
MAX_OFFSET_BANDWIDTHS = 0.25
# A frame survives frames of its own spreading factor that are this much weaker.
CAPTURE_DB = 6.0
NOISE_FIGURE_DB = 6.0
THERMAL_NOISE_DBM_PER_HZ = -174.0
# Demodulation limits, SX1276 data sheet table 13 and SX1261/2 data sheet table 6-1.
SNR_LIMIT_DB = {5: -2.5, 6: -5.0, 7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}
# What a chip reports saturates well below the true ratio of a strong signal.
MAX_REPORTED_SNR_DB = 13.5

# Signal-to-interference ratio, in dB, from which a frame (row) survives one of another spreading
# factor (column), SF7 to SF12 each; D. Croce et al., "Impact of LoRa Imperfect Orthogonality",
# IEEE Communications Letters 22 (4), 2018, table I.
_REJECTION_DB = (
    (CAPTURE_DB, -8.0, -9.0, -9.0, -9.0, -9.0),
    (-11.0, CAPTURE_DB, -11.0, -12.0, -13.0, -13.0),
    (-15.0, -13.0, CAPTURE_DB, -13.0, -14.0, -15.0),
    (-19.0, -18.0, -17.0, CAPTURE_DB, -17.0, -18.0),
    (-22.0, -22.0, -21.0, -20.0, CAPTURE_DB, -20.0),
    (-25.0, -25.0, -25.0, -24.0, -23.0, CAPTURE_DB),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One LoRa frame on the air. `sync_word` is 0x34 (public) or 0x12; power is radiated."""

    freq_hz: int
    sf: int
    bw_hz: int
    coding_rate: int  # 5 … 8 for 4/5 … 4/8
    sync_word: int
    iq_inverted: bool
    crc_on: bool
    preamble: int  # symbols, without the sync word's
    implicit: bool
    power_dbm: float
    payload: bytes
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Listen:
    """What one demodulator is set to hear."""

    freq_hz: int
    sf: int
    bw_hz: int
    sync_word: int
    iq_inverted: bool
    implicit: bool = False


class Radio(Protocol):
    """A thing with an antenna: a device's chip, or a concentrator."""

    @property
    def position_m(self) -> tuple[float, float]:
        """Where it stands: metres east and north of the scenario's origin."""
        ...

    def on_preamble(self, frame: Frame, t_us: int) -> None:
        """Take notice that a demodulator has locked on `frame`; more than its length is unknown."""
        ...

    def on_frame(
        self, frame: Frame, intact: bool, rssi_dbm: float, snr_db: float, t_us: int
    ) -> None:
        """Take a frame a demodulator had locked on, at its end.

        Unless `intact`, its payload is damaged: a CRC error where the frame carries a CRC, wrong
        bytes where it does not.
        """
        ...


def symbol_us(sf: int, bw_hz: int) -> float:
    """Return the duration of one LoRa symbol."""
    return (1 << sf) * 1e6 / bw_hz


def noise_floor_dbm(bw_hz: int) -> float:
    """Return the receiver's noise in this bandwidth."""
    return THERMAL_NOISE_DBM_PER_HZ + 10 * math.log10(bw_hz) + NOISE_FIGURE_DB


def sensitivity_dbm(sf: int, bw_hz: int) -> float:
    """Return the weakest power at which a frame is heard: −124.5 dBm at SF7, −137 at SF12."""
    return noise_floor_dbm(bw_hz) + SNR_LIMIT_DB[sf]


def matches(frame: Frame, listen: Listen) -> bool:
    """Tell whether a demodulator set to `listen` can hear `frame` at all."""
    return (
        frame.sf == listen.sf
        and frame.bw_hz == listen.bw_hz
        and frame.sync_word == listen.sync_word
        and frame.iq_inverted == listen.iq_inverted
        and frame.implicit == listen.implicit
        and abs(frame.freq_hz - listen.freq_hz) <= listen.bw_hz * MAX_OFFSET_BANDWIDTHS
    )


def required_sir_db(wanted: Frame, other: Frame) -> float:
    """Return how much stronger than `other` the `wanted` frame has to be to survive it."""
    if wanted.sf < 7 or other.sf < 7:  # not measured in the source; LoRaWAN does not use them
        return CAPTURE_DB if wanted.sf == other.sf else _REJECTION_DB[0][1]
    return _REJECTION_DB[wanted.sf - 7][other.sf - 7]


@dataclass(slots=True, eq=False)
class _Sending:
    """A frame while it matters: under way, or ended but overlapping one that is."""

    sender: int
    frame: Frame


class _Station:
    """A radio as the air sees it."""

    __slots__ = ("demodulators", "generation", "listens", "locked", "number", "radio", "since_us")

    def __init__(self, radio: Radio, number: int, demodulators: int) -> None:
        self.radio = radio
        self.number = number
        self.demodulators = demodulators
        self.listens: tuple[Listen, ...] = ()
        self.since_us = 0
        self.generation = 0  # another one whenever listening is interrupted: locks are then void
        self.locked = 0


class Air:
    """Carries frames between radios.

    Path loss is log-distance with a shadowing drawn once per pair and a small fading per frame.
    The default figures are those measured for 868 MHz in a city (J. Petäjäjärvi et al., "On the
    coverage of LPWANs", ITST 2015: 128.95 dB at 1 km, exponent 2.32, sigma 7.8 dB).
    """

    def __init__(
        self,
        engine: Engine,
        *,
        loss_at_1km_db: float = 128.95,
        loss_exponent: float = 2.32,
        shadowing_db: float = 7.8,
        fading_db: float = 1.0,
    ) -> None:
        self._engine = engine
        self._loss_at_1km_db = loss_at_1km_db
        self._loss_exponent = loss_exponent
        self._shadowing_db = shadowing_db
        self._fading_db = fading_db
        self._stations: dict[int, _Station] = {}  # by the radio's identity
        self._by_number: list[_Station] = []
        self._listening: dict[int, _Station] = {}
        self._sendings: list[_Sending] = []
        self._loss_db: dict[tuple[int, int], float] = {}
        self._observers: list[Callable[[Radio, Frame], None]] = []
        self.counts = {"sent": 0, "heard": 0, "damaged": 0, "drowned": 0, "busy": 0}

    def add(self, radio: Radio, *, demodulators: int = 1) -> None:
        """Put a radio on the air; a concentrator has more than one demodulator."""
        station = _Station(radio, len(self._by_number), demodulators)
        self._stations[id(radio)] = station
        self._by_number.append(station)

    def observe(self, callback: Callable[[Radio, Frame], None]) -> None:
        """Have `callback(radio, frame)` called for every frame that is sent: a spectrum's log."""
        self._observers.append(callback)

    def listen(self, radio: Radio, listens: tuple[Listen, ...]) -> None:
        """Make a radio listen from now on; what it listened to before, it loses."""
        station = self._stations[id(radio)]
        station.listens = listens
        self._listening[station.number] = station
        self._start_listening(station)

    def stop(self, radio: Radio) -> None:
        """Make a radio stop listening; a frame it was receiving is lost without a word."""
        station = self._stations[id(radio)]
        station.generation += 1
        station.locked = 0
        self._listening.pop(station.number, None)

    def transmit(self, radio: Radio, frame: Frame) -> None:
        """Send a frame, now. A radio that listens is deaf meanwhile and listens again after it."""
        engine = self._engine
        if frame.start_us != engine.now_us or frame.end_us <= frame.start_us:
            raise ValueError(f"a frame starts now ({engine.now_us} us) and lasts: {frame}")
        sender = self._stations[id(radio)]
        self.counts["sent"] += 1
        for observer in self._observers:
            observer(radio, frame)
        self._forget_ended()
        sending = _Sending(sender.number, frame)
        self._sendings.append(sending)
        if sender.number in self._listening:
            del self._listening[sender.number]
            sender.generation += 1
            sender.locked = 0
            generation = sender.generation
            engine.at(frame.end_us, lambda: self._listen_again(sender, generation))
        for station in self._listening.values():
            self._offer(station, sending)

    def cut_off(self, radio: Radio) -> None:
        """End what a radio sends before its time, as a lost supply does: nobody gets it whole."""
        sender, now_us = self._stations[id(radio)].number, self._engine.now_us
        for sending in self._sendings:
            if sending.sender == sender and sending.frame.end_us > now_us:
                sending.frame = replace(sending.frame, end_us=now_us)

    def path_loss_db(self, one: Radio, other: Radio) -> float:
        """Return the mean loss between two radios, the same in both directions."""
        return self._loss(self._stations[id(one)], self._stations[id(other)])

    def _start_listening(self, station: _Station) -> None:
        station.generation += 1
        station.locked = 0
        station.since_us = self._engine.now_us
        for sending in self._sendings:
            if sending.frame.end_us > self._engine.now_us and sending.sender != station.number:
                self._offer(station, sending)

    def _listen_again(self, station: _Station, generation: int) -> None:
        if station.generation == generation:
            self._listening[station.number] = station
            self._start_listening(station)

    def _offer(self, station: _Station, sending: _Sending) -> None:
        """Let a listening station find the preamble of a frame that is under way."""
        frame = sending.frame
        if not any(matches(frame, listen) for listen in station.listens):
            return
        symbol = symbol_us(frame.sf, frame.bw_hz)
        latest_us = frame.start_us + int((frame.preamble - DETECT_SYMBOLS) * symbol)
        begin_us = max(station.since_us, frame.start_us)
        if begin_us > max(latest_us, frame.start_us):
            return
        rssi_dbm = frame.power_dbm - self._loss(self._by_number[sending.sender], station)
        if self._fading_db:
            rssi_dbm += self._engine.random("air/fading").gauss(0, self._fading_db)
        if rssi_dbm < sensitivity_dbm(frame.sf, frame.bw_hz):
            return
        generation = station.generation
        detected_us = min(begin_us + round(DETECT_SYMBOLS * symbol), frame.end_us)
        self._engine.at(detected_us, lambda: self._detect(station, generation, sending, rssi_dbm))

    def _detect(
        self, station: _Station, generation: int, sending: _Sending, rssi_dbm: float
    ) -> None:
        if station.generation != generation or sending.frame.end_us < self._engine.now_us:
            return
        if self._is_drowned(station, sending, rssi_dbm):
            self.counts["drowned"] += 1
            return
        if station.locked >= station.demodulators:
            self.counts["busy"] += 1
            return
        station.locked += 1
        frame = sending.frame
        self._engine.at(frame.end_us, lambda: self._end(station, generation, sending, rssi_dbm))
        station.radio.on_preamble(frame, self._engine.now_us)

    def _end(self, station: _Station, generation: int, sending: _Sending, rssi_dbm: float) -> None:
        if station.generation != generation:
            return
        station.locked -= 1
        frame = sending.frame
        is_whole = frame.end_us == self._engine.now_us
        intact = is_whole and self._is_intact(station, sending, rssi_dbm)
        self.counts["heard" if intact else "damaged"] += 1
        if not intact:
            frame = replace(frame, payload=self._damage(frame.payload))
        snr_db = min(rssi_dbm - noise_floor_dbm(frame.bw_hz), MAX_REPORTED_SNR_DB)
        station.radio.on_frame(frame, intact, rssi_dbm, snr_db, self._engine.now_us)

    def _is_drowned(self, station: _Station, sending: _Sending, rssi_dbm: float) -> bool:
        """Tell whether a stronger frame of the same kind hides this one's preamble."""
        now_us = self._engine.now_us
        return any(
            other.frame.sf == sending.frame.sf
            and other.frame.bw_hz == sending.frame.bw_hz
            and other.frame.iq_inverted == sending.frame.iq_inverted
            and other.frame.end_us > sending.frame.start_us
            and other.frame.start_us < now_us
            and _overlaps(other.frame, sending.frame)
            and other.frame.power_dbm - self._loss(self._by_number[other.sender], station)
            > rssi_dbm
            for other in self._others(station, sending)
        )

    def _is_intact(self, station: _Station, sending: _Sending, rssi_dbm: float) -> bool:
        """Weigh the frame against the sum of what overlapped it, per spreading factor."""
        wanted = sending.frame
        interference_mw: dict[float, float] = {}
        for other in self._others(station, sending):
            frame = other.frame
            if (
                frame.end_us <= wanted.start_us
                or frame.start_us >= wanted.end_us
                or not _overlaps(frame, wanted)
            ):
                continue
            power_dbm = frame.power_dbm - self._loss(self._by_number[other.sender], station)
            required_db = required_sir_db(wanted, frame)
            if frame.iq_inverted != wanted.iq_inverted:
                # A chirp down is as good as orthogonal to a chirp up of the same length.
                required_db = min(required_db, _REJECTION_DB[0][1])
            interference_mw[required_db] = interference_mw.get(required_db, 0.0) + 10 ** (
                power_dbm / 10
            )
        return all(
            rssi_dbm - 10 * math.log10(mw) >= required_db
            for required_db, mw in interference_mw.items()
        )

    def _others(self, station: _Station, sending: _Sending) -> list[_Sending]:
        """List the frames that may disturb: not the one itself, nor the station's own."""
        return [
            other
            for other in self._sendings
            if other is not sending and other.sender != station.number
        ]

    def _damage(self, payload: bytes) -> bytes:
        damaged = bytearray(payload or b"\0")
        source = self._engine.random("air/damage")
        for _ in range(1 + len(damaged) // 8):
            damaged[source.randrange(len(damaged))] ^= source.randrange(1, 256)
        return bytes(damaged) if bytes(damaged) != payload else b"\xff" * len(payload)

    def _loss(self, one: _Station, other: _Station) -> float:
        pair = (min(one.number, other.number), max(one.number, other.number))
        loss_db = self._loss_db.get(pair)
        if loss_db is None:
            distance_m = max(math.dist(one.radio.position_m, other.radio.position_m), 1.0)
            loss_db = self._loss_at_1km_db + 10 * self._loss_exponent * math.log10(
                distance_m / 1000
            )
            source = self._engine.random(f"air/shadowing/{pair[0]}/{pair[1]}")
            loss_db += source.gauss(0, self._shadowing_db)
            self._loss_db[pair] = loss_db
        return loss_db

    def _forget_ended(self) -> None:
        """Drop what can no longer disturb a frame that is under way."""
        now_us = self._engine.now_us
        first_us = min(
            (s.frame.start_us for s in self._sendings if s.frame.end_us >= now_us), default=now_us
        )
        self._sendings = [s for s in self._sendings if s.frame.end_us > first_us]


def _overlaps(one: Frame, other: Frame) -> bool:
    """Tell whether two frames share any part of the band."""
    return abs(one.freq_hz - other.freq_hz) < (one.bw_hz + other.bw_hz) / 2
