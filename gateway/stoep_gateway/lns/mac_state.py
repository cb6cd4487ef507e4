"""What a session's device has accepted by MAC command, and how its answers change that.

The device's settings change when it *answers* a request, not when one is sent: a downlink may get
lost, and so may the answer. ::

    want ──requests──> sent ──(on the air)──> heard: accepted → settings
      ^                  │                          refused  → not asked again in this session
      └── no answer ─────┘  asked again; after three times more and more seldom

An ordinary uplink, without an answer and at the data rate that is known, leaves the very same
``MacState``, so that it need not be written. Sections are those of LoRaWAN 1.0.3.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan.crypto import DOWN
from stoep_protocol.lorawan.regions import Region

from stoep_gateway.lns.adr import Setting
from stoep_gateway.lns.channel_plan import Plan

__all__ = [
    "DR",
    "MASK",
    "POWER",
    "STICKY",
    "Asked",
    "Block",
    "Command",
    "MacEvent",
    "MacState",
    "Target",
    "answered",
    "asked_of",
    "defined",
    "fresh",
    "moved",
    "uses",
]

Command = tuple[int, ...]
Block = tuple[Command, ...]  # requests that must not be torn apart: of LinkADRReq several, else one

# 5.4, 5.6, 5.7; 5.8 since 1.0.4.
STICKY = frozenset({mc.RX_PARAM_SETUP, mc.RX_TIMING, mc.TX_PARAM, mc.DL_CHANNEL})
_REQUESTS = frozenset({mc.LINK_ADR, mc.DUTY_CYCLE, mc.DEV_STATUS, mc.NEW_CHANNEL, *STICKY})
_DAY_MS = 24 * 3_600_000
MASK, DR, POWER = range(3)  # the three verdicts in LinkADRAns


@dataclass(frozen=True, slots=True)
class Target:
    """What the network wants of all its devices; made once. Raises ``ValueError`` for what no MAC
    command can say.

    ``tx_param`` (downlink dwell, uplink dwell, EIRP in dBm) is None where a region has no
    TxParamSetup. ``down_hz`` gives (channel, Hz) for channels whose RX1 is on another frequency.
    ``status_every_ms`` 0: devices are not asked for their battery.
    """

    plan: Plan
    rx1_delay_s: int
    rx1_dr_offset: int
    rx2_dr: int
    rx2_hz: int
    max_duty_cycle: int = 0
    tx_param: tuple[bool, bool, int] | None = None
    down_hz: tuple[tuple[int, int], ...] = ()
    status_every_ms: int = _DAY_MS
    mask: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", self.plan.mask)
        requests: list[Command] = [
            (mc.RX_PARAM_SETUP, self.rx1_dr_offset, self.rx2_dr, self.rx2_hz),
            (mc.RX_TIMING, self.rx1_delay_s),
            (mc.DUTY_CYCLE, self.max_duty_cycle),
            *((mc.DL_CHANNEL, index, freq_hz) for index, freq_hz in self.down_hz),
        ]
        if self.tx_param is not None:
            requests.append((mc.TX_PARAM, *self.tx_param))
        mc.encode(DOWN, tuple(requests))


@dataclass(frozen=True, slots=True)
class Asked:
    """A block that went out ``attempts`` times without an answer, and rests until a UTC time."""

    block: Block
    attempts: int
    not_before_ms: int


@dataclass(frozen=True, slots=True)
class MacState:
    """One session's device.

    ``channels`` is the bitmap of channels in use, ``channels_hz`` those that it knows, by number,
    0 for none. ``status_ms``: UTC of the last DevStatusAns, which said ``battery`` (0 mains,
    1..254, 255 unknown) and ``margin_db``. ``pending`` holds at most one block per command.
    ``refused`` has requests that are not to be made again; of LinkADRReq (command, which part,
    its value).
    """

    dr: int
    tx_power: int
    nb_trans: int
    channels: int
    channels_hz: tuple[int, ...]
    rx1_delay_s: int
    rx1_dr_offset: int
    rx2_dr: int
    rx2_hz: int
    max_duty_cycle: int = 0
    tx_param: tuple[bool, bool, int] | None = None
    down_hz: tuple[tuple[int, int], ...] = ()
    battery: int | None = None
    margin_db: int | None = None
    status_ms: int = 0
    pending: tuple[Asked, ...] = ()
    refused: tuple[Command, ...] = ()

    @property
    def setting(self) -> Setting:
        """What ADR steers."""
        return Setting(self.dr, self.tx_power, self.nb_trans)

    def fits(self, region: Region) -> bool:
        """Whether such a device can be in this region; one stored under another may not."""
        own_hz = region.default_channels_hz
        return (
            region.has_data_rate(self.dr)
            and region.has_data_rate(self.rx2_dr)
            and 0 <= self.rx1_dr_offset <= region.max_rx1_dr_offset
            and 0 <= self.tx_power <= region.max_tx_power
            and len(self.channels_hz) <= region.channels
            and self.channels_hz[: len(own_hz)] == own_hz
            and 0 < self.channels < 1 << len(self.channels_hz)
        )

    def dwell(self, region: Region) -> tuple[bool, bool]:
        """Return whether downlinks to it, and its uplinks, are held to 400 ms."""
        if self.tx_param is None:
            return False, region.starts_dwelling
        return self.tx_param[:2]

    def rx1_hz(self, up_hz: int, rx1_hz: int) -> int:
        """Return where RX1 is after an uplink on ``up_hz``, ``rx1_hz`` being the region's rule."""
        for index, down_hz in self.down_hz:
            if self.channels_hz[index] == up_hz:
                return down_hz
        return rx1_hz

    def dumps(self) -> str:
        """Return the state as JSON."""
        return _ENCODE(_members(self))

    @classmethod
    def loads(cls, text: str) -> MacState:
        """Return what ``dumps`` wrote. Raises ``ValueError`` for anything else.

        Devices in the same state, as nearly all of a site are, share one.
        """
        return _loads(text)

    @classmethod
    def _loads(cls, text: str) -> MacState:
        try:
            fields = json.loads(text)
            fields["channels_hz"] = _shared(_integers(fields["channels_hz"]))
            fields["down_hz"] = _blocks(fields["down_hz"])
            fields["refused"] = _blocks(fields["refused"])
            if fields["tx_param"] is not None:
                down, up, eirp_dbm = fields["tx_param"]
                fields["tx_param"] = (bool(down), bool(up), int(eirp_dbm))
            fields["pending"] = tuple(_asked_from(asked) for asked in fields["pending"])
            for name in fields.keys() - _COMPOUND:
                _integer(fields[name], optional=name in _OPTIONAL)
            if any(index >= len(fields["channels_hz"]) for index, _ in fields["down_hz"]):
                raise ValueError("not a MAC state: RX1 of a channel that there is not")
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a MAC state: {error}") from error


@functools.lru_cache(maxsize=1024)
def _loads(text: str) -> MacState:
    return MacState._loads(text)


_COMPOUND = {"channels_hz", "down_hz", "refused", "tx_param", "pending"}
_OPTIONAL = {"battery", "margin_db"}


@dataclass(frozen=True, slots=True)
class MacEvent:
    """What became of a request: ``accepted``, ``refused``; or ``unasked``, an answer to none."""

    what: str
    request: Command
    answer: Command


def _members(value: object) -> dict[str, object]:
    """Return a dataclass as ``asdict`` does, without the copies, which cost 0.2 ms an uplink."""
    return {name: getattr(value, name) for name in value.__slots__}  # type: ignore[attr-defined]


_ENCODE: Callable[[object], str] = json.JSONEncoder(separators=(",", ":"), default=_members).encode


def fresh(target: Target, *, abp: bool, dr: int = 0) -> MacState:
    """Return the state of a session in which nothing was asked yet.

    One that began with our join-accept has its channels and receive windows. ``dr`` is taken from
    the first uplink anyway.
    """
    region = target.plan.region
    channels_hz = region.default_channels_hz if abp else target.plan.channels_hz
    channels = sum(1 << index for index, freq_hz in enumerate(channels_hz) if freq_hz)
    state = MacState(dr, 0, 1, channels, channels_hz, 1, 0, region.rx2_dr, region.rx2_hz)
    if abp:
        return state
    return replace(
        state,
        rx1_delay_s=target.rx1_delay_s,
        rx1_dr_offset=target.rx1_dr_offset,
        rx2_dr=target.rx2_dr,
    )


def moved(state: MacState, target: Target, dr: int) -> MacState:
    """Return the state of a device that changed its data rate by itself.

    It has gone back to full power before that; at the lowest rate it uses all its channels soon
    (1.0.4, 4.3.1.1). A device that has not is told so once more.
    """
    region = target.plan.region
    channels = state.channels
    if dr < state.dr and dr == region.min_dr(state.dwell(region)[1]):
        channels |= (1 << len(region.default_channels_hz)) - 1
    return replace(state, dr=dr, tx_power=0, channels=channels)


def answered(
    state: MacState, target: Target, commands: Block, now_utc_ms: int
) -> tuple[MacState, tuple[MacEvent, ...]]:
    """Take the MAC commands of one new uplink; return the state after it, and what they mean.

    What a device asks is skipped. Receive windows that change here apply to this very uplink: a
    device that has answered has changed them. Repeated answers to RXParamSetupReq, RXTimingSetupReq
    and DlChannelReq, due until a downlink comes, mean nothing.
    """
    events: list[MacEvent] = []
    by_cid: dict[int, list[Command]] = {}
    for command in commands:
        if command[0] in _REQUESTS:
            by_cid.setdefault(command[0], []).append(command)
    for cid, answers in by_cid.items():
        asked = asked_of(state, cid)
        if asked is None:
            if cid not in STICKY:
                events += [MacEvent("unasked", (), answer) for answer in answers]
            continue
        state = replace(state, pending=tuple(other for other in state.pending if other != asked))
        count = len(asked.block)
        if all(all(answer[1:]) for answer in answers[:count]) or cid == mc.DEV_STATUS:
            state = _accept(state, target, asked.block, answers[0], now_utc_ms)
            events.append(MacEvent("accepted", asked.block[-1], answers[0]))
        else:
            refusal = next(answer for answer in answers if not all(answer[1:]))
            state = _refuse(state, target, asked.block, refusal)
            events.append(MacEvent("refused", asked.block[-1], refusal))
        if cid not in STICKY:
            events += [MacEvent("unasked", (), answer) for answer in answers[count:]]
    return state, tuple(events)


def asked_of(state: MacState, cid: int) -> Asked | None:
    """Return what is pending of a command."""
    for asked in state.pending:
        if asked.block[0][0] == cid:
            return asked
    return None


def defined(state: MacState) -> int:
    """Return the bitmap of the channels that a device knows."""
    return sum(1 << index for index, freq_hz in enumerate(state.channels_hz) if freq_hz)


def uses(state: MacState, setting: Setting) -> bool:
    """Whether a device sends with this setting."""
    return (
        state.dr == setting.dr
        and state.tx_power == setting.tx_power
        and state.nb_trans == setting.nb_trans
    )


def _accept(
    state: MacState, target: Target, block: Block, answer: Command, now_utc_ms: int
) -> MacState:
    cid, *fields = block[-1]
    if cid == mc.LINK_ADR:
        dr, tx_power, _, _, nb_trans = fields
        return replace(
            state,
            dr=dr,
            tx_power=tx_power,
            nb_trans=nb_trans,
            channels=_masked(state, target, block),
        )
    if cid == mc.DUTY_CYCLE:
        return replace(state, max_duty_cycle=fields[0])
    if cid == mc.RX_PARAM_SETUP:
        offset, rx2_dr, rx2_hz = fields
        return replace(state, rx1_dr_offset=offset, rx2_dr=rx2_dr, rx2_hz=rx2_hz)
    if cid == mc.DEV_STATUS:
        _, battery, margin_db = answer
        return replace(state, battery=battery, margin_db=margin_db, status_ms=now_utc_ms)
    if cid == mc.NEW_CHANNEL:
        index, freq_hz, _, _ = fields
        known = [*state.channels_hz, *[0] * (index + 1 - len(state.channels_hz))]
        known[index] = freq_hz
        return replace(
            state, channels_hz=_shared(tuple(known)), channels=state.channels | 1 << index
        )
    if cid == mc.RX_TIMING:
        return replace(state, rx1_delay_s=fields[0])
    if cid == mc.TX_PARAM:
        return replace(state, tx_param=(bool(fields[0]), bool(fields[1]), fields[2]))
    index, down_hz = fields
    others = dict(state.down_hz)
    others.pop(index, None)
    if state.channels_hz[index] != down_hz:
        others[index] = down_hz
    return replace(state, down_hz=tuple(sorted(others.items())))


def _refuse(state: MacState, target: Target, block: Block, answer: Command) -> MacState:
    """Return the state that remembers a refusal: the request, and of LinkADRReq its parts too.

    A part may be refused that says what the device does already, so the parts alone would let the
    same request come again.
    """
    refused = [block[0]]
    if block[0][0] == mc.LINK_ADR:
        _, dr, tx_power, *_ = block[-1]
        values = _masked(state, target, block), dr, tx_power
        refused += [
            (mc.LINK_ADR, part, value) for part, value in enumerate(values) if not answer[1 + part]
        ]
    return replace(state, refused=tuple(dict.fromkeys((*state.refused, *refused))))


def _masked(state: MacState, target: Target, block: Block) -> int:
    """Return the channels in use after a block of LinkADRReq."""
    channels = state.channels
    for _, _, _, mask, control, _ in block:
        try:
            channels = target.plan.region.apply_ch_mask(channels, defined(state), control, mask)
        except DecodeError:
            return state.channels  # stored under another plan
    return channels


@functools.lru_cache(maxsize=64)
def _shared(channels_hz: tuple[int, ...]) -> tuple[int, ...]:
    """Return the one tuple that all devices with these channels share."""
    return channels_hz


def _asked_from(fields: Any) -> Asked:
    block = _blocks(fields["block"])
    mc.encode(DOWN, block)
    if not block or ({command[0] for command in block} - {mc.LINK_ADR} and len(block) != 1):
        raise ValueError(f"not a MAC state: {block} are not one block")
    return Asked(block, _integer(fields["attempts"]), _integer(fields["not_before_ms"]))


def _integer(value: Any, *, optional: bool = False) -> int:
    if optional and value is None:
        return 0
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def _integers(values: Any) -> tuple[int, ...]:
    return tuple(_integer(value) for value in values)


def _blocks(values: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(_integers(value) for value in values)
