"""Takes what was received in a window; loaded only when something was."""

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan.frames import (
    CONFIRMED_DOWN,
    UNCONFIRMED_DOWN,
    DataFrame,
    decrypt_payload,
    full_f_cnt,
    parse,
    verify,
)

from stoep_firmware import mac as m
from stoep_firmware import unload

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware.mac import Actions, Mac


def take(mac: "Mac", phy_payload: bytes, snr_db: int, now_ms: int) -> "Actions":
    """Take a data downlink; return the actions it calls for, none if it is not for us.

    It ends the uplink before it, whether or not it acknowledges it (1.0.4, 4.3.1.3).
    """
    frame = _genuine(mac, phy_payload)
    if frame is None:
        return ()
    session = mac.session
    heard(mac, snr_db)
    session.adr_ack_cnt = session.lost = 0
    session.answers = session.sticky = b""
    actions: Actions = ()
    mac_data = frame.f_opts
    payload = b""
    if frame.f_port is not None:
        key = mac.session_keys()[1 if frame.f_port else 0]
        payload = decrypt_payload(frame, key, session.f_cnt_down - 1)
        if frame.f_port:
            actions = ((m.DELIVER, frame.f_port, payload),)
        else:
            mac_data = payload
    if mac_data:
        from stoep_firmware.commands import obey  # noqa: PLC0415

        session.answers, session.sticky, gps_ms = obey(mac, mac_data, snr_db)
        unload("stoep_firmware.commands", "stoep_protocol.lorawan.mac_commands")
        if gps_ms:
            actions += ((m.TIME, mac.sent_ms, gps_ms),)
    if frame.confirmed:
        session.ack_due = session.answer_due = 1
    if frame.f_pending:
        session.answer_due = 1
    if mac.certification is not None:
        mac.certification.heard(frame.f_port, payload, frame.ack)
    session.kept = b""
    result = m.SENT
    if session.retry_confirmed and not frame.ack:
        result = m.NO_ANSWER
        session.duty_until_ms = max(session.duty_until_ms, mac.rest_until_ms(now_ms))
    return ((m.SAVE, True),) + actions + ((m.DONE, result, 0),)


def _genuine(mac: "Mac", phy_payload: bytes) -> "DataFrame | None":
    """Return the downlink if it is for us, new and sound; claim its counter."""
    session = mac.session
    try:
        frame = parse(phy_payload)
    except DecodeError:
        return None
    if not isinstance(frame, DataFrame) or frame.m_type not in (UNCONFIRMED_DOWN, CONFIRMED_DOWN):
        return None
    f_cnt = full_f_cnt(session.f_cnt_down, frame.f_cnt)
    if (
        frame.dev_addr != session.dev_addr
        or f_cnt < session.f_cnt_down
        or not verify(frame, mac.session_keys()[0], f_cnt)
    ):
        return None
    session.f_cnt_down = f_cnt + 1
    return frame


def heard(mac: "Mac", snr_db: int) -> None:
    """Note how far a downlink was above what its data rate needs (SX126x: -7.5 dB at SF7)."""
    region = mac.region
    rx2_dr = region.rx2_dr if mac.joining else mac.session.rx2_dr
    dr = mac.rx1[1] if mac.state == m.RX1 else rx2_dr
    sf, _ = region.data_rate(dr)
    margin_db = snr_db + 7 + 5 * (sf - 7) // 2
    mac.session.margin_db = min(127, max(-127, margin_db))
