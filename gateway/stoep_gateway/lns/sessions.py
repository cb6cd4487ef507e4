"""Which device a data frame comes from: sessions by DevAddr, proven by MIC, with 32-bit counters.

After a join a device has two sessions: the confirmed one, on which it was heard before, and the new
one, which counts only once an uplink has come on it, because a join-accept may get lost.

Counters here run ahead of the disk between a claim and its commit. Only ``claim`` and
``take_f_cnt_down`` move them, and what they return has to be written: a commit that fails ends the
process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from stoep_protocol.lorawan.crypto import Key
from stoep_protocol.lorawan.frames import DataFrame, full_f_cnt, verify

from stoep_gateway.lns.adr import History
from stoep_gateway.lns.crypto import new_session_key
from stoep_gateway.lns.frames import Rejected, UplinkFrameSet
from stoep_gateway.lns.mac_state import MacState
from stoep_gateway.values import value

__all__ = ["Claim", "Match", "Session", "Sessions"]

_ROLLOVER = 0x1_0000
# A device repeats an uplink up to 15 times (NbTrans), and at SF12 it may need half an hour.
_MAX_REPETITIONS = 15
_REPEATS_FOR_MS = 1_800_000
_BEFORE_RX2_MS = 500  # what comes earlier than that is no repetition

_FIRST_ABP = 0x100_0000  # AppNonces have 24 bits


class Session:
    """One activation: ``f_cnt_up`` is the last accepted (-1: none), ``f_cnt_down`` the next.

    ``app_nonce`` tells the activations of a device apart; one without a join (ABP) has a number
    beyond all AppNonces. ``mac`` is what the device has accepted, None before its first uplink;
    ``history`` and ``heard``, its last uplink at ``heard_utc_ms``, are lost with the process.
    """

    __slots__ = (
        "_app_s_key",
        "_history",
        "_nwk_s_key",
        "app_nonce",
        "confirmed",
        "created_utc_ms",
        "dev_addr",
        "dev_eui",
        "f_cnt_down",
        "f_cnt_up",
        "heard",
        "heard_utc_ms",
        "mac",
        "repetitions",
        "session_id",
    )

    def __init__(
        self,
        session_id: int,
        dev_eui: bytes,
        dev_addr: int,
        nwk_s_key: bytes,
        app_s_key: bytes,
        app_nonce: int,
        *,
        confirmed: bool = False,
        f_cnt_up: int = -1,
        f_cnt_down: int = 0,
        created_utc_ms: int = 0,
        mac: MacState | None = None,
    ) -> None:
        self.session_id = session_id
        self.dev_eui = dev_eui
        self.dev_addr = dev_addr
        self._nwk_s_key: Key | bytes = nwk_s_key
        self._app_s_key: Key | bytes = app_s_key
        self.app_nonce = app_nonce
        self.confirmed = confirmed
        self.f_cnt_up = f_cnt_up
        self.f_cnt_down = f_cnt_down
        self.created_utc_ms = created_utc_ms
        self.mac = mac
        self._history: History | None = None
        self.heard: UplinkFrameSet | None = None
        self.heard_utc_ms: int | None = None
        self.repetitions = 0  # of the last uplink, answered since

    @classmethod
    def personalised(
        cls,
        session_id: int,
        dev_eui: bytes,
        dev_addr: int,
        nwk_s_key: bytes,
        app_s_key: bytes,
        created_utc_ms: int,
    ) -> Session:
        """Return the session of a device that does not join (ABP), with its counters at 0."""
        return cls(
            session_id,
            dev_eui,
            dev_addr,
            nwk_s_key,
            app_s_key,
            _FIRST_ABP + session_id,
            confirmed=True,
            created_utc_ms=created_utc_ms,
        )

    @property
    def history(self) -> History:
        """How its last frames were heard; begun at first use."""
        history = self._history
        if history is None:
            history = self._history = History()
        return history

    @property
    def is_personalised(self) -> bool:
        """Whether it began without a join."""
        return self.app_nonce >= _FIRST_ABP

    @property
    def nwk_s_key(self) -> Key:
        """The network session key; its cipher context is made at first use."""
        key = self._nwk_s_key
        if type(key) is bytes:
            key = self._nwk_s_key = new_session_key(key)
        return key  # type: ignore[return-value]

    @property
    def app_s_key(self) -> Key:
        """The application session key; its cipher context is made at first use."""
        key = self._app_s_key
        if type(key) is bytes:
            key = self._app_s_key = new_session_key(key)
        return key  # type: ignore[return-value]

    def answers(self, repeated: UplinkFrameSet, rx1_delay_s: int) -> str | None:
        """Return why the last uplink, heard once more, is not answered again; None: it is.

        ``late_copy``: the device still waited for RX2, so a gateway was slow; a second answer would
        meet the first. ``f_cnt_replayed``: too late or too often for a device; whoever has recorded
        a frame could use up counters, airtime and what waits for the device.
        """
        if self.heard is not None:
            after_ms = repeated.received_ms - self.heard.received_ms
            if after_ms < 1000 * rx1_delay_s + _BEFORE_RX2_MS:
                return "late_copy"
            if after_ms > _REPEATS_FOR_MS:
                return "f_cnt_replayed"
        if self.repetitions >= _MAX_REPETITIONS:
            return "f_cnt_replayed"
        self.repetitions += 1
        return None

    def event_id(self, f_cnt_up: int) -> str:
        """Return what names an uplink for ever: DevEUI, activation, counter."""
        return f"{self.dev_eui.hex()}-{self.app_nonce}-{f_cnt_up}"


@value
class Match:
    """A frame whose MIC fits ``session`` at ``f_cnt_up``; ``repeated``: accepted before."""

    session: Session
    f_cnt_up: int
    repeated: bool


@value
class Claim:
    """What accepting an uplink changes: the counters to write, and sessions that end with it."""

    counters: tuple[int, int, int]
    confirmed_session: int | None
    ended_sessions: tuple[int, ...]


class Sessions:
    """All sessions of a network server."""

    def __init__(self, sessions: Iterable[Session]) -> None:
        self._by_dev_addr: dict[int, list[Session]] = {}
        self._by_dev_eui: dict[bytes, list[Session]] = {}
        for session in sessions:
            self.add(session)

    def of_device(self, dev_eui: bytes) -> tuple[Session, ...]:
        """Return the sessions of a device, oldest first."""
        return tuple(self._by_dev_eui.get(dev_eui, ()))

    def add(self, session: Session) -> None:
        """Take a session that was stored."""
        self._by_dev_addr.setdefault(session.dev_addr, []).append(session)
        self._by_dev_eui.setdefault(session.dev_eui, []).append(session)

    def begin(self, session: Session) -> tuple[Session, ...]:
        """Take the session of a join beside the confirmed one; return those that it replaces.

        What was not confirmed is forgotten: a device that joins again has not got that accept.
        """
        replaced = tuple(old for old in self.of_device(session.dev_eui) if not old.confirmed)
        for old in replaced:
            self.remove(old)
        self.add(session)
        return replaced

    def all(self) -> list[Session]:
        """Return every session."""
        return [session for sessions in self._by_dev_eui.values() for session in sessions]

    def current(self, dev_eui: bytes) -> Session | None:
        """Return the session on which a device was heard last, or else its newest, if any."""
        sessions = self._by_dev_eui.get(dev_eui)
        if not sessions:
            return None
        return next((one for one in sessions if one.confirmed), sessions[-1])

    def remove(self, session: Session) -> None:
        """Forget a session."""
        _remove(self._by_dev_addr, session.dev_addr, session)
        _remove(self._by_dev_eui, session.dev_eui, session)

    def match(self, frame: DataFrame) -> Match | Rejected:
        """Find the session whose MIC fits.

        Rejected: ``unknown_dev_addr``, ``mic``, ``f_cnt_replayed`` (a frame of this session that
        is older than the last one), ``f_cnt_exhausted``.
        """
        sessions = self._by_dev_addr.get(frame.dev_addr)
        if sessions is None:
            return Rejected("unknown_dev_addr", f"{frame.dev_addr:08x}")
        for session in sessions:
            f_cnt_up = full_f_cnt(session.f_cnt_up + 1, frame.f_cnt)
            if verify(frame, session.nwk_s_key, f_cnt_up):
                if f_cnt_up < session.f_cnt_up:  # the counter's 32 bits are used up
                    return Rejected("f_cnt_exhausted", session.dev_eui.hex())
                return Match(session, f_cnt_up, f_cnt_up == session.f_cnt_up)
        for session in sessions:
            older = full_f_cnt(session.f_cnt_up + 1, frame.f_cnt) - _ROLLOVER
            if older >= 0 and verify(frame, session.nwk_s_key, older):
                return Rejected("f_cnt_replayed", session.dev_eui.hex())
        return Rejected("mic", f"{frame.dev_addr:08x}")

    def claim(self, match: Match, *, downlink: bool) -> Claim:
        """Advance the counters for a new uplink and, if ``downlink``, one answer to it.

        The first uplink on a new session confirms it and ends the device's other sessions. The
        answer's counter is the one that ``session.f_cnt_down`` had before.
        """
        session = match.session
        session.f_cnt_up = match.f_cnt_up
        session.f_cnt_down += downlink
        session.repetitions = 0
        counters = (session.session_id, session.f_cnt_up, session.f_cnt_down)
        if session.confirmed:
            return Claim(counters, None, ())
        session.confirmed = True
        ended = [other for other in self._by_dev_eui[session.dev_eui] if other is not session]
        for other in ended:
            self.remove(other)
        return Claim(counters, session.session_id, tuple(other.session_id for other in ended))

    def take_f_cnt_down(self, session: Session) -> tuple[int, int, int]:
        """Advance the downlink counter alone, to answer a repeated uplink."""
        session.f_cnt_down += 1
        return session.session_id, session.f_cnt_up, session.f_cnt_down


_Key = TypeVar("_Key")


def _remove(table: dict[_Key, list[Session]], key: _Key, session: Session) -> None:
    sessions = table[key]
    sessions.remove(session)
    if not sessions:
        del table[key]
