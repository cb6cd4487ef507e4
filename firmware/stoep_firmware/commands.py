"""What the device does on MAC commands of the network server, and what it answers.

Sections are those of LoRaWAN 1.0.4, 5. A request is obeyed whole or refused whole; reading and
writing octets is stoep_protocol.lorawan.mac_commands'. Loaded only when a downlink carries some,
or when silence undoes what they did.
"""

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan.crypto import DOWN, UP
from stoep_protocol.lorawan.frames import MAX_F_OPTS

from stoep_firmware import mac as m
from stoep_firmware.channels import carrying, channel, stay_heard

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_protocol.lorawan.regions import Region

    from stoep_firmware.mac import Mac
    from stoep_firmware.session import Session

_KEEP = const(15)  # DR or TXPower of a LinkADRReq that says: as it is
# Answers that every uplink carries until a downlink comes: the network has to know at once.
_STICKY = (mc.RX_PARAM_SETUP, mc.RX_TIMING, mc.TX_PARAM, mc.DL_CHANNEL)


def min_dr(session: "Session", region: "Region") -> int:
    """Return the slowest data rate that the limit of 400 ms leaves to uplinks."""
    return region.min_dr(session.dwell & 1 != 0)


def whole(answers: bytes, limit: int) -> bytes:
    """Return the answers from the first on that fit into `limit` octets, none of them cut."""
    head = answers[:limit]
    return head[: len(head) - len(mc.decode(UP, head)[1])]


def back_off(session: "Session", region: "Region") -> bool:
    """Take the next step towards being heard; whether there was one (4.3.1.1, table 9).

    Full power, then one data rate down with each step, then the region's own channels and each
    frame once.
    """
    own = (1 << len(region.default_channels_hz)) - 1
    if session.tx_power:
        session.tx_power = 0
    elif session.dr > min_dr(session, region):
        session.dr -= 1
    elif session.ch_mask & own != own or session.nb_trans > 1:
        session.ch_mask |= own
        session.nb_trans = 1
    else:
        return False
    stay_heard(session, region)
    return True


def obey(mac: "Mac", data: bytes, snr_db: int) -> "tuple[bytes, bytes, int]":
    """Carry out the commands in `data`; return the answers, those to repeat and the GPS time in ms.

    `snr_db` is for DevStatusAns; the time is 0 if nothing was said of it. What one uplink does
    not hold of the answers is dropped (5): it would only fill RTC memory.
    """
    session = mac.session
    region = mac.region
    commands, _ = mc.decode(DOWN, data)
    answers: list[tuple[int, ...]] = []
    gps_ms = 0
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
            answers.append((cid, mac.battery, min(31, max(-32, snr_db))))
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
            answers.append((cid,) + verdict)
        elif cid == mc.RX_TIMING:
            session.rx_delay_s = command[1] or 1
            answers.append((cid,))
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
            answers.append((cid, int(fits), int(up_hz != 0)))
        elif cid == mc.LINK_CHECK:
            session.asked &= ~m.LINK_CHECK
            _, session.link_margin_db, session.link_gateways = command
        elif cid == mc.DEVICE_TIME and session.asked & m.DEVICE_TIME:
            session.asked &= ~m.DEVICE_TIME
            gps_ms = command[1] * 1000 + (command[2] * 125 + 16) // 32
    stay_heard(session, region)
    sticky = tuple([answer for answer in answers if answer[0] in _STICKY])
    return (
        whole(mc.encode(UP, tuple(answers)), MAX_F_OPTS),
        whole(mc.encode(UP, sticky), MAX_F_OPTS),
        gps_ms,
    )


def _link_adr(
    session: "Session", region: "Region", block: "list[tuple[int, ...]]"
) -> "tuple[int, int, int]":
    """Obey a block of LinkADRReq as one (5.3); the last one's rate and power count."""
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
    if not ch_mask:
        mask_ok = 0
    _, dr, power, _, _, nb_trans = block[-1]
    if dr == _KEEP:
        dr = session.dr
    if power == _KEEP:
        power = session.tx_power
    dr_ok = int(
        region.has_data_rate(dr)
        and dr >= min_dr(session, region)
        and len(carrying(session, region, ch_mask, dr)) > 0
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
