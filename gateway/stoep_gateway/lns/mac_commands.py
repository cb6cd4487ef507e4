"""Answers to what a device may ask by MAC command (LoRaWAN 1.0.3, 5.1; 1.0.4, 5.11). Pure."""

from __future__ import annotations

from stoep_protocol.lorawan import mac_commands
from stoep_protocol.lorawan.crypto import DOWN, UP

from stoep_gateway.lns.frames import UplinkFrameSet

__all__ = ["answer", "link_margin_db"]

# Signal to noise at which a spreading factor is just demodulated: SX1301 data sheet, table 2.
_SNR_FLOOR_DB = {5: -2.5, 6: -5.0, 7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}
_GPS_EPOCH_UTC_S = 315_964_800  # 1980-01-06
_LEAP_S = 18  # GPS ahead of UTC since 2017, no further leap second announced
_MAX_F_OPTS = 15
_MAX_MARGIN_DB = 254


def link_margin_db(frame_set: UplinkFrameSet) -> int:
    """Return by how many dB the best reception exceeds what its spreading factor needs, from 0."""
    best = frame_set.receptions[0]
    return min(_MAX_MARGIN_DB, max(0, int(best.snr_db - _SNR_FLOOR_DB[best.sf])))


def answer(commands: bytes, frame_set: UplinkFrameSet, received_utc_ms: int) -> bytes:
    """Return the FOpts that answer LinkCheckReq and DeviceTimeReq among ``commands``, or nothing.

    Answers to requests of ours are not expected yet, and unknown commands end the reading.
    """
    answers: list[tuple[int, ...]] = []
    for cid, *_ in mac_commands.decode(UP, commands)[0]:
        if cid == mac_commands.LINK_CHECK:
            gateways = {frame.gateway_eui for frame in frame_set.receptions}
            answers.append((cid, link_margin_db(frame_set), min(255, len(gateways))))
        elif cid == mac_commands.DEVICE_TIME:
            gps_ms = received_utc_ms - 1000 * (_GPS_EPOCH_UTC_S - _LEAP_S)
            answers.append((cid, gps_ms // 1000 & 0xFFFF_FFFF, gps_ms % 1000 * 256 // 1000))
    f_opts = b""
    for command in answers:
        encoded = mac_commands.encode(DOWN, (command,))
        if len(f_opts) + len(encoded) <= _MAX_F_OPTS:
            f_opts += encoded
    return f_opts
