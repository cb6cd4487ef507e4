"""Joins a network (LoRaWAN 1.0.4, 6.2); loaded only to join.

A session that there is stays in force until an accept comes, so that asking costs nothing but air.
"""

from binascii import unhexlify

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan.crypto import derive_session_keys
from stoep_protocol.lorawan.join_frames import decode_join_accept, encode_join_request

from stoep_firmware import mac as m
from stoep_firmware.channels import dr_range_of, stay_heard
from stoep_firmware.downlink import heard

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_protocol.lorawan.regions import Region

    from stoep_firmware._types import Config
    from stoep_firmware.mac import Actions, Mac
    from stoep_firmware.session import Session

_PERSONALISED = const(2)  # Session.joined of a device that cannot join
_HOUR_MS = const(3_600_000)


def possible(session: "Session") -> bool:
    """Whether a device may ask for a new session."""
    return session.joined != _PERSONALISED and session.dev_nonce <= 0xFFFF


def request(mac: "Mac", now_ms: int, why: int) -> "Actions":
    """Send a join-request, if the back-off and the duty cycle allow one now.

    On the air for less than 36 s in the first hour, 36 s in the next ten, then 8.7 s a day (7): a
    bit less than 1 %, 0.1 % and 0.01 %, for one frame more than fits begins in each of these times.
    """
    session = mac.session
    region = mac.region
    dev_nonce = session.dev_nonce
    if dev_nonce > 0xFFFF:
        return ((m.DONE, m.EXHAUSTED, 0),)
    freq_hz, dr = region.join_place(session.join_attempts, mac.random)
    until_ms = max(session.join_until_ms, mac.free_ms(freq_hz))
    if now_ms < until_ms:
        return ((m.DONE, m.BUSY, until_ms),)
    session.dev_nonce = dev_nonce + 1
    if not session.join_attempts:
        session.join_since_ms = now_ms
    session.join_attempts = min(session.join_attempts + 1, 0xFFFF)
    session.kept = b""
    phy_payload = encode_join_request(
        mac.new_key(mac.app_key), mac.join_eui, mac.dev_eui, dev_nonce
    )
    mac.joining = why
    transmit = mac.transmit(freq_hz, dr, region.max_eirp_dbm, -1, phy_payload, now_ms)
    hours = (now_ms - session.join_since_ms) // _HOUR_MS
    rest_ms = transmit[6] * (105 if hours < 1 else 1050 if hours < 11 else 12500)
    session.join_until_ms = now_ms + rest_ms + mac.random(rest_ms // 2)
    mac.rx1 = region.rx1(freq_hz, dr, 0)
    return (m.SAVE, True), transmit


def accept(mac: "Mac", phy_payload: bytes, snr_db: int, now_ms: int) -> "Actions":
    """Begin the session of a join-accept; return no actions if it is not for us."""
    session = mac.session
    region = mac.region
    app_key = mac.new_key(mac.app_key)
    try:
        found = decode_join_accept(phy_payload, app_key)
        region.data_rate(found.rx2_dr)
        region.decode_cf_list(found.cf_list)
    except DecodeError:
        return ()
    # A JoinNonce counts up (6.2.6); before 1.0.4 it only was another than the last.
    last = session.join_nonce - 1
    nonce = found.app_nonce
    if nonce == last if mac.lorawan == "1.0.3" else nonce <= last:
        return ()
    if found.rx1_dr_offset > region.max_rx1_dr_offset:
        return ()
    keys = derive_session_keys(app_key, nonce, found.net_id, session.dev_nonce - 1)
    mac.keys = None
    heard(mac, snr_db)
    session.begin(found, keys, region.rx2_hz, mac.dr)
    session.dwell = int(region.starts_dwelling)
    reset_channels(session, region)
    apply_cf_list(session, region, found.cf_list)
    stay_heard(session, region)
    if mac.joining == m.REJOINING:
        return (m.SAVE, True), (m.DONE, m.BUSY, now_ms)  # the frame is to be made anew
    return (m.SAVE, True), (m.DONE, m.JOINED, 0)


def personalise(mac: "Mac", config: "Config") -> None:
    """Take `dev_addr`, `nwk_s_key` and `app_s_key` of config.json in place of a join (6.3).

    For the bench only. The counters of the same session go on.
    """
    session = mac.session
    dev_addr = int(config["dev_addr"], 16)
    keys = unhexlify(config["nwk_s_key"]), unhexlify(config["app_s_key"])
    if session.joined == _PERSONALISED and (
        (session.dev_addr, session.nwk_s_key, session.app_s_key) == (dev_addr,) + keys
    ):
        return
    region = mac.region
    mac.keys = None
    session.start(keys, dev_addr, region.rx2_hz, region.min_dr(region.starts_dwelling))
    session.joined = _PERSONALISED
    session.rx2_dr = region.rx2_dr
    session.f_cnt_limit = 0  # to be claimed in storage before the first uplink
    session.dwell = int(region.starts_dwelling)
    reset_channels(session, region)


def reset_channels(session: "Session", region: "Region") -> None:
    """Go back to the region's own channels."""
    hz = region.default_channels_hz
    session.ch_mask = (1 << len(hz)) - 1
    session.channels = []
    if not region.has_fixed_channels:
        session.channels = [(freq_hz, freq_hz, dr_range_of(region, 0)) for freq_hz in hz]


def apply_cf_list(session: "Session", region: "Region", cf_list: bytes) -> None:
    """Take the channels of a join-accept. Raises `DecodeError` for a malformed list."""
    values = region.decode_cf_list(cf_list)
    if not region.has_fixed_channels:
        for freq_hz in values:
            usable = freq_hz if region.in_band(freq_hz) else 0
            if usable:
                session.ch_mask |= 1 << len(session.channels)
            session.channels.append((usable, usable, dr_range_of(region, 0)))
    elif values:
        mask = 0
        for at in range(len(values)):
            mask |= values[at] << 16 * at
        session.ch_mask = mask & (1 << region.channels) - 1 or session.ch_mask
