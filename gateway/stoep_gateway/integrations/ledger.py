"""What is known of each device of another network server: which uplinks were taken. Pure.

MQTT delivers at least once, so an event may come again after a crash; a device may begin a new
session; and with QoS 0 events get lost. ``Ledger`` tells the three apart by session, frame counter,
event key and the other server's time. It runs ahead of the disk from ``claim`` to the commit of the
``Claim``'s state, which has to be in the same transaction as the uplink.

==============================================  =======================================
an uplink of the device's session with          is
==============================================  =======================================
a larger counter                                new; what lies between was lost
a counter that we have, and the same event key  repeated
the last counter again within a minute          repeated (a retransmission, NbTrans)
a smaller counter, heard later                  new: the device began again (ABP)
a smaller counter that we lack, heard earlier   new, and late: it closes a gap
a smaller counter older than we remember        repeated
==============================================  =======================================

An uplink of an unknown session begins one. Two sessions are kept, for events of the old one may be
delivered again after the first of the new one. Where nothing is certain an uplink is taken: being
published twice does less harm than being lost.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from stoep_gateway.integrations.events import SourceEvent, SourceUplink
from stoep_gateway.lns.frames import Rejected

__all__ = ["Claim", "Ledger", "Standing", "loads"]

_REMEMBERED = 16  # uplinks of a session by counter and key
_SESSIONS = 2
_RETRANSMISSION_MS = 60_000
_FIRST = 1  # some device stacks count from 1


@dataclass(frozen=True, slots=True)
class _Session:
    """One activation. ``number`` counts the device's sessions, ``f_cnt_up`` -1: no uplink yet.

    ``begun`` is the mark of its join event, 0 without; ``recent`` holds (counter, mark of the
    event's key), the latest last.
    """

    name: str
    number: int
    begun: int = 0
    f_cnt_up: int = -1
    heard_utc_ms: int = 0
    recent: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is kept of one device; ``device_id`` is the other server's name of it."""

    device_id: str = ""
    sessions: tuple[_Session, ...] = field(default=())  # the newest first

    def dumps(self) -> str:
        """Return JSON, for ``loads``."""
        sessions = [
            [one.name, one.number, one.begun, one.f_cnt_up, one.heard_utc_ms, one.recent]
            for one in self.sessions
        ]
        return json.dumps([self.device_id, sessions], separators=(",", ":"))


def loads(state: str) -> Standing:
    """Read what ``Standing.dumps`` wrote. Raises ``ValueError``."""
    try:
        device_id, sessions = json.loads(state)
        return Standing(
            str(device_id),
            tuple(
                _Session(
                    str(name),
                    int(number),
                    int(begun),
                    int(f_cnt_up),
                    int(heard_utc_ms),
                    tuple((int(f_cnt), int(mark)) for f_cnt, mark in recent),
                )
                for name, number, begun, f_cnt_up, heard_utc_ms, recent in sessions
            ),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a device's standing: {error}") from error


@dataclass(frozen=True, slots=True)
class Claim:
    """An uplink or a join that is taken. ``state`` is to be stored with it.

    ``session_number`` counts the device's sessions from 1. ``lost`` uplinks are missing before this
    one; ``late``: it is one of those that were told as lost. ``restarted``: it is the first of a
    session whose join we did not see.
    """

    source_id: str
    dev_eui: bytes
    state: str
    session_number: int
    lost: int = 0
    late: bool = False
    restarted: bool = False


class Ledger:
    """Every device of every source."""

    def __init__(self, standings: Iterable[tuple[str, bytes, Standing]] = ()) -> None:
        self._standings = {
            (source_id, dev_eui): standing for source_id, dev_eui, standing in standings
        }
        self._dev_euis = {
            (source_id, standing.device_id): dev_eui
            for (source_id, dev_eui), standing in self._standings.items()
        }

    def device_id(self, source_id: str, dev_eui: bytes) -> str:
        """Return the other server's name of a device, empty before its first uplink."""
        standing = self._standings.get((source_id, dev_eui))
        return "" if standing is None else standing.device_id

    def dev_eui(self, source_id: str, device_id: str) -> bytes:
        """Return the device of that name, empty when none of its uplinks came yet."""
        return self._dev_euis.get((source_id, device_id), b"") if device_id else b""

    def claim(self, uplink: SourceUplink) -> Claim | Rejected:
        """Take an uplink. Rejected: ``repeated_uplink``."""
        key = uplink.source_id, uplink.dev_eui
        standing = self._standings.get(key, Standing())
        mark = _mark(uplink.event_key)
        namesakes = [one for one in standing.sessions if one.name == uplink.session]
        if any((uplink.f_cnt_up, mark) in one.recent for one in namesakes):
            return Rejected("repeated_uplink", uplink.dev_eui.hex())
        for session in namesakes:
            what = _place(session, uplink)
            if what == "repeated":
                return Rejected("repeated_uplink", uplink.dev_eui.hex())
            overtaken = uplink.heard_utc_ms <= session.heard_utc_ms
            if what == "next" and overtaken and session is not namesakes[-1]:
                continue  # of the session before
            newest = standing.sessions[0]
            if what == "restart" or (
                what == "next"
                and session is not newest
                and uplink.heard_utc_ms > newest.heard_utc_ms
            ):
                break
            taken = _taken(session, uplink, mark)
            return self._claimed(
                key,
                _with(standing, session, taken),
                uplink.device_id,
                taken,
                lost=0 if what == "late" else _lost(session.f_cnt_up, uplink.f_cnt_up),
                late=what == "late",
            )
        known = bool(standing.sessions)
        number = standing.sessions[0].number + 1 if known else 1
        begun = _taken(_Session(uplink.session, number), uplink, mark)
        # Of a device that is new to us nobody knows how many came before.
        lost = _lost(-1, uplink.f_cnt_up) if known else 0
        return self._claimed(
            key, _begin(standing, begun), uplink.device_id, begun, lost=lost, restarted=known
        )

    def joined(self, event: SourceEvent) -> Claim | Rejected:
        """Begin the session of a ``join``. Rejected: ``repeated_join``."""
        key = event.source_id, event.dev_eui
        standing = self._standings.get(key, Standing())
        mark = _mark(event.event_key)
        if any(session.begun == mark for session in standing.sessions):
            return Rejected("repeated_join", event.dev_eui.hex())
        newest = standing.sessions[0] if standing.sessions else None
        if newest is not None and newest.name == event.session and not newest.begun:
            # Its first uplink was faster: the server publishes both at about the same time.
            session = replace(newest, begun=mark)
            return self._claimed(key, _with(standing, newest, session), event.device_id, session)
        number = 1 if newest is None else newest.number + 1
        session = _Session(event.session, number, mark, heard_utc_ms=event.heard_utc_ms)
        return self._claimed(key, _begin(standing, session), event.device_id, session)

    def _claimed(
        self,
        key: tuple[str, bytes],
        standing: Standing,
        device_id: str,
        session: _Session,
        *,
        lost: int = 0,
        late: bool = False,
        restarted: bool = False,
    ) -> Claim:
        if device_id:
            standing = replace(standing, device_id=device_id)
            self._dev_euis[key[0], device_id] = key[1]
        self._standings[key] = standing
        return Claim(*key, standing.dumps(), session.number, lost, late, restarted)


def _mark(event_key: str) -> int:
    """Return a short stand-in for an event's key, never 0."""
    return zlib.crc32(event_key.encode()) or 1


def _place(session: _Session, uplink: SourceUplink) -> str:
    """Return what an event that we do not know is to the session whose name it bears."""
    f_cnt = uplink.f_cnt_up
    if f_cnt > session.f_cnt_up:
        return "next"
    later_ms = uplink.heard_utc_ms - session.heard_utc_ms
    if any(seen == f_cnt for seen, _ in session.recent):
        again = f_cnt == session.f_cnt_up and later_ms < _RETRANSMISSION_MS
        return "repeated" if again else "restart"
    if later_ms > 0:
        return "restart"
    oldest = min((seen for seen, _ in session.recent), default=0)
    return "late" if f_cnt > oldest or len(session.recent) < _REMEMBERED else "repeated"


def _taken(session: _Session, uplink: SourceUplink, mark: int) -> _Session:
    return replace(
        session,
        f_cnt_up=max(session.f_cnt_up, uplink.f_cnt_up),
        heard_utc_ms=max(session.heard_utc_ms, uplink.heard_utc_ms),
        recent=(*session.recent, (uplink.f_cnt_up, mark))[-_REMEMBERED:],
    )


def _lost(f_cnt_before: int, f_cnt_up: int) -> int:
    if f_cnt_before < 0 and f_cnt_up <= _FIRST:
        return 0
    return f_cnt_up - f_cnt_before - 1


def _with(standing: Standing, old: _Session, new: _Session) -> Standing:
    sessions = tuple(new if one is old else one for one in standing.sessions)
    return replace(standing, sessions=sessions)


def _begin(standing: Standing, session: _Session) -> Standing:
    return replace(standing, sessions=(session, *standing.sessions)[:_SESSIONS])
