"""What the device does on MAC commands of the network server, and what it answers.

Sections are those of LoRaWAN 1.0.3, 5, with what 1.0.4 made stricter. A request is obeyed whole
or refused whole; reading and writing octets is stoep_protocol.lorawan.mac_commands'.
"""

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan.crypto import DOWN, UP
from stoep_protocol.lorawan.frames import MAX_F_OPTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoep_protocol.lorawan.regions import Region

    from stoep_firmware.session import Session

_KEEP = 15  # DR or TXPower of a LinkADRReq that says: as it is


def reset_channels(session: "Session", region: "Region") -> None:
    """Go back to the region's own channels."""
    hz = region.default_channels_hz
    session.ch_mask = (1 << len(hz)) - 1
    session.channels = []
    if not region.has_fixed_channels:
        session.channels = [(freq_hz, freq_hz, _dr_range(region, 0)) for freq_hz in hz]


def apply_cf_list(session: "Session", region: "Region", cf_list: bytes) -> None:
    """Take the channels of a join-accept. Raises `DecodeError` for a malformed list."""
    values = region.decode_cf_list(cf_list)
    if not region.has_fixed_channels:
        for freq_hz in values:
            usable = freq_hz if region.in_band(freq_hz) else 0
            if usable:
                session.ch_mask |= 1 << len(session.channels)
            session.channels.append((usable, usable, _dr_range(region, 0)))
    elif values:
        mask = 0
        for at in range(len(values)):
            mask |= values[at] << 16 * at
        session.ch_mask = mask & (1 << region.channels) - 1 or session.ch_mask


def channel(session: "Session", region: "Region", index: int) -> "tuple[int, int, int]":
    """Return (uplink Hz, downlink Hz, DR range) of a channel; 0 Hz if there is none."""
    if region.has_fixed_channels:
        freq_hz = region.default_channels_hz[index]
        return freq_hz, freq_hz, _dr_range(region, index)
    if index < len(session.channels):
        return session.channels[index]
    return 0, 0, 0


def usable_channels(session: "Session", region: "Region", dr: int) -> "list[tuple[int, int]]":
    """Return (uplink Hz, downlink Hz) of the channels in use that carry this data rate."""
    return _carrying(session, region, session.ch_mask, dr)


def stay_heard(session: "Session", region: "Region") -> None:
    """Go back to the region's own channels where commands have left none for the data rate."""
    if not usable_channels(session, region, session.dr):
        session.ch_mask |= (1 << len(region.default_channels_hz)) - 1
        session.dr = min(session.dr, region.dr_of(7, 125000))


def min_dr(session: "Session", region: "Region") -> int:
    """Return the slowest data rate that the limit of 400 ms leaves to uplinks."""
    return region.min_dr(session.dwell & 1 != 0)


def whole(answers: bytes, limit: int) -> bytes:
    """Return the answers from the first on that fit into `limit` octets, none of them cut."""
    head = answers[:limit]
    return head[: len(head) - len(mc.decode(UP, head)[1])]


def _dr_range(region: "Region", index: int) -> int:
    low, high = region.dr_range(index)
    return high << 4 | low


def _carrying(
    session: "Session", region: "Region", ch_mask: int, dr: int
) -> "list[tuple[int, int]]":
    found = []
    for index in range(region.channels):
        if ch_mask >> index & 1:
            freq_hz, down_hz, dr_range = channel(session, region, index)
            if freq_hz and dr_range & 15 <= dr <= dr_range >> 4:
                found.append((freq_hz, down_hz))
    return found


def obey(
    session: "Session", region: "Region", data: bytes, battery: int, margin_db: int
) -> "tuple[bytes, bytes]":
    """Carry out the commands in `data`; return the answers to give once and those to repeat.

    `battery` and `margin_db` are for DevStatusAns. Answers to RXParamSetup, RXTimingSetup and
    DlChannel are repeated in every uplink until a downlink arrives (5.4, 5.7). What one uplink
    does not hold of either is dropped (1.0.4, 5): it would only fill RTC memory.
    """
    commands, _ = mc.decode(DOWN, data)
    answers: list[tuple[int, ...]] = []
    sticky: list[tuple[int, ...]] = []
    at = 0
    while at < len(commands):
        command = commands[at]
        cid = command[0]
        at += 1
        if cid == mc.LINK_ADR:
            block = [command]
            while at < len(commands) and commands[at][0] == mc.LINK_ADR:
                block.append(commands[at])
                at += 1
            answers += [(cid,) + _link_adr(session, region, block)] * len(block)
        elif cid == mc.DUTY_CYCLE:
            session.max_duty_cycle = command[1] & 15
            answers.append((cid,))
        elif cid == mc.DEV_STATUS:
            answers.append((cid, battery, min(31, max(-32, margin_db))))
        elif cid == mc.NEW_CHANNEL and not region.has_fixed_channels:
            answers.append((cid,) + _new_channel(session, region, command))
        elif cid == mc.RX_PARAM_SETUP:
            _, offset, rx2_dr, rx2_hz = command
            verdict = (
                int(region.in_band(rx2_hz)),
                int(region.has_data_rate(rx2_dr)),
                int(offset <= region.max_rx1_dr_offset),
            )
            if verdict == (1, 1, 1):
                session.rx1_dr_offset, session.rx2_dr, session.rx2_hz = offset, rx2_dr, rx2_hz
            sticky.append((cid,) + verdict)
        elif cid == mc.RX_TIMING:
            session.rx_delay_s = command[1] or 1
            sticky.append((cid,))
        elif cid == mc.TX_PARAM and region.starts_dwelling:
            _, down, up, session.max_eirp_dbm = command
            session.dwell = (2 if down else 0) | (1 if up else 0)
            session.dr = max(session.dr, min_dr(session, region))
            answers.append((cid,))
        elif cid == mc.DL_CHANNEL and not region.has_fixed_channels:
            _, index, freq_hz = command
            up_hz, _, dr_range = channel(session, region, index)
            fits = region.in_band(freq_hz)
            if up_hz and fits:
                session.channels[index] = (up_hz, freq_hz, dr_range)
            sticky.append((cid, int(fits), int(up_hz != 0)))
    return (
        whole(mc.encode(UP, tuple(answers)), MAX_F_OPTS),
        whole(mc.encode(UP, tuple(sticky)), MAX_F_OPTS),
    )


def _link_adr(
    session: "Session", region: "Region", block: "list[tuple[int, ...]]"
) -> "tuple[int, int, int]":
    """Obey a block of LinkADRReq as one (1.0.4, 5.3); the last one's rate and power count."""
    defined = 0
    for index in range(region.channels):
        if channel(session, region, index)[0]:
            defined |= 1 << index
    ch_mask = session.ch_mask
    mask_ok = 1
    for _, _, _, mask, control, _ in block:
        try:
            ch_mask = region.apply_ch_mask(ch_mask, defined, control, mask)
        except DecodeError:
            mask_ok = 0
    _, dr, power, _, _, nb_trans = block[-1]
    if dr == _KEEP:
        dr = session.dr
    if power == _KEEP:
        power = session.tx_power
    dr_ok = int(
        region.has_data_rate(dr)
        and dr >= min_dr(session, region)
        and len(_carrying(session, region, ch_mask, dr)) > 0
    )
    power_ok = int(power <= region.max_tx_power)
    if mask_ok and dr_ok and power_ok:
        session.ch_mask = ch_mask
        session.dr = dr
        session.tx_power = power
        session.nb_trans = nb_trans or 1
    return mask_ok, dr_ok, power_ok


def _new_channel(
    session: "Session", region: "Region", command: "tuple[int, ...]"
) -> "tuple[int, int]":
    _, index, freq_hz, min_dr, max_dr = command
    if not len(region.default_channels_hz) <= index < region.channels:
        return 0, 0  # the region's own channels stay (5.6)
    freq_ok = int(freq_hz == 0 or region.in_band(freq_hz))
    dr_ok = int(min_dr <= max_dr and region.has_data_rate(min_dr) and region.has_data_rate(max_dr))
    if freq_ok and dr_ok:
        while len(session.channels) <= index:
            session.channels.append((0, 0, 0))
        session.channels[index] = (freq_hz, freq_hz, max_dr << 4 | min_dr)
        session.ch_mask &= ~(1 << index)
        if freq_hz:
            session.ch_mask |= 1 << index
    return freq_ok, dr_ok
