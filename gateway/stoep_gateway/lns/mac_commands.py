"""MAC commands of one uplink: what the device asked, what it answered, what to ask it. Pure.

Sections are those of LoRaWAN 1.0.3, 5.
"""

from __future__ import annotations

from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan.crypto import DOWN, UP

from stoep_gateway.lns import adr, mac_requests, mac_state
from stoep_gateway.lns.adr import SNR_FLOOR_DB, AdrSettings, History
from stoep_gateway.lns.frames import UplinkFrameSet
from stoep_gateway.lns.gps_time import gps_ms
from stoep_gateway.lns.mac_state import Block, MacEvent, MacState, Target
from stoep_gateway.values import value

__all__ = ["MAX_F_OPTS", "Heard", "Turn", "hear", "hear_again", "link_margin_db", "pack"]

MAX_F_OPTS = 15
_MAX_MARGIN_DB = 254


@value
class Heard:
    """A new data uplink. ``commands``: its FOpts, or its plain payload on port 0.

    A device that asks for the time gets no answer unless ``time_is_known``.
    """

    frame_set: UplinkFrameSet
    f_cnt_up: int
    dr: int
    adr: bool
    confirmed: bool
    commands: bytes
    received_utc_ms: int
    time_is_known: bool = True


@value
class Turn:
    """What an uplink calls for.

    ``state`` is the very same object as before when nothing has changed; its receive windows are
    those that the device now has. ``answers`` are octets, one item a command; ``requests`` are due
    as ``pack`` has room. ``due``: worth a downlink of its own.
    """

    state: MacState
    answers: tuple[bytes, ...]
    requests: tuple[Block, ...]
    events: tuple[MacEvent, ...]
    due: bool


def hear(
    state: MacState,
    history: History,
    target: Target,
    settings: AdrSettings | None,
    heard: Heard,
) -> Turn:
    """Take a new uplink (not a repeated one): ``history`` is changed, all else is returned.

    ``settings`` None: this device is not steered, whatever it asks for.
    """
    commands: Block = ()
    answers: tuple[bytes, ...] = ()
    events: tuple[MacEvent, ...] = ()
    repeated: frozenset[int] = frozenset()
    confirms = False
    now = heard.received_utc_ms
    if heard.commands:
        commands = mc.decode(UP, heard.commands)[0]
        answers = _answers(commands, heard)
        before = {asked.block[0][0] for asked in state.pending}
        state, events = mac_state.answered(state, target, commands, now)
        repeated = mac_state.STICKY & {cid for cid, *_ in commands}
        confirms = bool(repeated & before)
    setting = None
    withheld = repeated
    if heard.adr:
        setting = history.setting
        if setting is None or not mac_state.uses(state, setting):
            setting = state.setting
        if heard.dr != setting.dr and history.strays(
            heard.f_cnt_up, confirmed=heard.confirmed, lower=heard.dr < setting.dr
        ):
            state = mac_state.moved(state, target, heard.dr)
            setting = state.setting
        if heard.dr == setting.dr:
            snr_db = max(frame.snr_db for frame in heard.frame_set.receptions)
            history.add(heard.f_cnt_up, snr_db, setting)
        else:
            withheld |= {mc.LINK_ADR}  # not before it is clear what the device sends with
        if settings is None:
            setting = None
        else:
            region = target.plan.region
            _, dwell = state.dwell(region)
            setting = adr.decide(history, setting, region, settings, dwell=dwell)
    requests = mac_requests.want(state, target, setting, now, dr=heard.dr, withheld=withheld)
    # An answer that the device repeats until it hears something is worth one empty frame.
    return Turn(state, answers, requests, events, bool(answers or requests or confirms))


def hear_again(state: MacState, heard: Heard) -> Turn:
    """Take a repeated uplink: its sender has heard neither our answers nor our requests."""
    now = heard.received_utc_ms
    answers: tuple[bytes, ...] = ()
    if heard.commands:
        answers = _answers(mc.decode(UP, heard.commands)[0], heard)
    return Turn(state, answers, mac_requests.unanswered(state, now), (), bool(answers))


def pack(turn: Turn, room: int, now_utc_ms: int) -> tuple[bytes, MacState]:
    """Return FOpts for a downlink with ``room`` for them, and the state once it is sent.

    Answers go first, blocks stay whole, and what does not fit waits for the next uplink.
    """
    room = min(room, MAX_F_OPTS)
    f_opts = b""
    for octets in turn.answers:
        if len(f_opts) + len(octets) <= room:
            f_opts += octets
    taken = []
    for block in turn.requests:
        octets = mc.encode(DOWN, block)
        if len(f_opts) + len(octets) <= room:
            f_opts += octets
            taken.append(block)
    return f_opts, mac_requests.sent(turn.state, tuple(taken), now_utc_ms)


def link_margin_db(frame_set: UplinkFrameSet) -> int:
    """Return by how many dB the best reception exceeds what its spreading factor needs, from 0."""
    best = frame_set.receptions[0]
    return min(_MAX_MARGIN_DB, max(0, int(best.snr_db - SNR_FLOOR_DB[best.sf])))


def _answers(commands: Block, heard: Heard) -> tuple[bytes, ...]:
    answers = []
    frame_set = heard.frame_set
    for cid, *_ in commands:
        if cid == mc.LINK_CHECK:
            gateways = {frame.gateway_eui for frame in frame_set.receptions}
            margin_db = link_margin_db(frame_set)
            answers.append(mc.encode(DOWN, ((cid, margin_db, min(255, len(gateways))),)))
        elif cid == mc.DEVICE_TIME and heard.time_is_known:
            gps_s, rest_ms = divmod(gps_ms(heard.received_utc_ms), 1000)
            seconds = gps_s & 0xFFFF_FFFF
            answers.append(mc.encode(DOWN, ((cid, seconds, rest_ms * 256 // 1000),)))
    return tuple(answers)
