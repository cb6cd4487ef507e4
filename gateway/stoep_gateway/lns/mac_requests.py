"""What a device is to be asked for by MAC command: where it differs from what the network wants.

Nothing is asked twice at a time, what was refused is not asked again, and what finds no answer is
asked more and more seldom. Sections are those of LoRaWAN 1.0.3.
"""

from __future__ import annotations

from dataclasses import replace

from stoep_protocol.lorawan import mac_commands as mc

from stoep_gateway.lns.adr import Setting
from stoep_gateway.lns.channel_plan import link_adr_masks
from stoep_gateway.lns.mac_state import (
    DR,
    MASK,
    POWER,
    Asked,
    Block,
    MacState,
    Target,
    asked_of,
    defined,
    uses,
)

__all__ = ["sent", "unanswered", "want"]

_EAGER_ATTEMPTS = 3
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


def want(
    state: MacState,
    target: Target,
    setting: Setting | None,
    now_utc_ms: int,
    *,
    dr: int,
    withheld: frozenset[int] = frozenset(),
) -> tuple[Block, ...]:
    """Return the requests that are due, in the order in which they should go.

    ``setting`` is ADR's, None for a device that steers itself: that one is told only which channels
    to use, with ``dr``, the uplink's. ``withheld`` are commands not to be sent now, among them
    those whose answer in this uplink the device repeats until it hears something: the answer to a
    new one could not be told from it.

    Those that any device knows come first, since one that it does not know hides the rest; and
    DevStatusReq before LinkADRReq, behind which some devices do not see it.
    """
    blocks: list[Block] = []
    if target.status_every_ms and not 0 <= now_utc_ms - state.status_ms < target.status_every_ms:
        blocks.append(((mc.DEV_STATUS,),))
    if state.max_duty_cycle != target.max_duty_cycle:
        blocks.append(((mc.DUTY_CYCLE, target.max_duty_cycle),))
    receive = target.rx1_dr_offset, target.rx2_dr, target.rx2_hz
    if (state.rx1_dr_offset, state.rx2_dr, state.rx2_hz) != receive:
        blocks.append(((mc.RX_PARAM_SETUP, *receive),))
    if state.rx1_delay_s != target.rx1_delay_s:
        blocks.append(((mc.RX_TIMING, target.rx1_delay_s),))
    has_own_channels = not target.plan.region.has_fixed_channels
    if has_own_channels:
        blocks += _new_channel(state, target)
    blocks += _link_adr(state, target, setting, dr)
    if has_own_channels and state.down_hz != target.down_hz:
        blocks += _dl_channel(state, target)
    if target.tx_param is not None and state.tx_param != target.tx_param:
        blocks.append((tuple(map(int, (mc.TX_PARAM, *target.tx_param))),))
    if not blocks:
        return ()
    resting = {asked.block[0][0] for asked in state.pending if _rests(asked, now_utc_ms)}
    return tuple(
        block
        for block in blocks
        if block[0] not in state.refused
        and block[0][0] not in resting
        and block[0][0] not in withheld
    )


def sent(state: MacState, blocks: tuple[Block, ...], now_utc_ms: int) -> MacState:
    """Return the state in which these requests are on their way to the device."""
    pending = {asked.block[0][0]: asked for asked in state.pending}
    for block in blocks:
        before = pending.get(block[0][0])
        attempts = 1 if before is None else before.attempts + 1
        rest_ms = 0
        if attempts >= _EAGER_ATTEMPTS:
            rest_ms = min(_HOUR_MS << min(attempts - _EAGER_ATTEMPTS, 5), _DAY_MS)
        pending[block[0][0]] = Asked(block, attempts, now_utc_ms + rest_ms)
    return replace(state, pending=tuple(pending.values())) if blocks else state


def unanswered(state: MacState, now_utc_ms: int) -> tuple[Block, ...]:
    """Return what a device that repeats its uplink has probably not heard."""
    return tuple(asked.block for asked in state.pending if not _rests(asked, now_utc_ms))


def _rests(asked: Asked, now_utc_ms: int) -> bool:
    """Whether it is not to be asked again yet; a clock that was set back must not matter."""
    return 0 < asked.not_before_ms - now_utc_ms <= _DAY_MS


def _new_channel(state: MacState, target: Target) -> list[Block]:
    """Return a request for the next channel that the device lacks; one at a time."""
    known = state.channels_hz
    if known == target.plan.channels_hz and len(known) == len(target.plan.channels):
        return []
    first = len(target.plan.region.default_channels_hz)
    for channel in target.plan.channels:
        index = channel.index
        if index >= first and (index >= len(known) or known[index] != channel.freq_hz):
            request = mc.NEW_CHANNEL, index, channel.freq_hz, channel.min_dr, channel.max_dr
            if request not in state.refused:
                return [(request,)]
    return []


def _dl_channel(state: MacState, target: Target) -> list[Block]:
    now, wanted = dict(state.down_hz), dict(target.down_hz)
    for index, up_hz in enumerate(state.channels_hz):
        down_hz = wanted.get(index, up_hz)
        request = mc.DL_CHANNEL, index, down_hz
        if up_hz and now.get(index, up_hz) != down_hz and request not in state.refused:
            return [(request,)]
    return []


def _link_adr(state: MacState, target: Target, setting: Setting | None, dr: int) -> list[Block]:
    """Return a block of LinkADRReq if anything in it would change, or may not have arrived."""
    plan, channels = target.plan, state.channels
    if channels != target.mask:
        wanted = target.mask if plan.region.has_fixed_channels else target.mask & defined(state)
        if (mc.LINK_ADR, MASK, wanted) not in state.refused:
            channels = wanted or channels
    elif not state.pending and (setting is None or uses(state, setting)):
        return []
    asked = asked_of(state, mc.LINK_ADR) if state.pending else None
    now = state.setting
    if setting is None:
        setting = Setting(dr, now.tx_power, now.nb_trans)
        if channels == state.channels and asked is None:
            return []
    else:
        if state.refused:
            setting = _possible(state, setting)
        if setting == now and asked is not None:
            _, dr, tx_power, _, _, nb_trans = asked.block[-1]
            setting = Setting(dr, tx_power, nb_trans)
        elif setting == now and channels == state.channels:
            return []
    return [
        tuple(
            (mc.LINK_ADR, setting.dr, setting.tx_power, mask, control, setting.nb_trans)
            for mask, control in link_adr_masks(plan, state.channels, channels)
        )
    ]


def _possible(state: MacState, setting: Setting) -> Setting:
    """Return the nearest setting, on the way from the device's own, that it has not refused."""
    dr, tx_power = setting.dr, setting.tx_power
    while dr != state.dr and (mc.LINK_ADR, DR, dr) in state.refused:
        dr += 1 if dr < state.dr else -1
    while tx_power != state.tx_power and (mc.LINK_ADR, POWER, tx_power) in state.refused:
        tx_power += 1 if tx_power < state.tx_power else -1
    return Setting(dr, tx_power, setting.nb_trans)
