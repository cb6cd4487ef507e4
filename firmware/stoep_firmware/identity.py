"""Who this device is, by config.json: its MAC, and its session as memory has it."""

from binascii import crc32, unhexlify

from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.crypto import Key

from stoep_firmware.mac import Mac
from stoep_firmware.session import Session

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Config
    from stoep_firmware.board import Board
    from stoep_firmware.clock import Clock
    from stoep_firmware.store import Store

# Of config.json: a record that was made under others is another device's.
_NAMES = ("kind", "region", "dev_eui", "join_eui", "app_key")


def mark(config: "Config") -> bytes:
    """Return the four octets by which a record is known as this device's."""
    crc: int = crc32(" ".join([config[name] for name in _NAMES]).encode())
    return crc.to_bytes(4, "little")


def new_mac(board: "Board", session: Session) -> Mac:
    """Return this device's MAC on that session."""
    config = board.config
    mac = Mac(
        regions.by_name(config["region"]),
        session,
        lambda octets: Key(board.new_aes(octets)),
        board.random,
        unhexlify(config["join_eui"]),
        unhexlify(config["dev_eui"]),
        unhexlify(config["app_key"]),
        bool(config.get("adr", True)),
        config.get("lorawan", "1.0.4"),
    )
    mac.error_ppm = board.clock.error_ppm()
    if "dev_addr" in config:
        from stoep_firmware.joining import personalise  # noqa: PLC0415

        personalise(mac, config)
    elif session.joined > 1:
        session.joined = 0  # it was, on the bench
    return mac


def recall(store: "Store", ours: bytes, clock: "Clock") -> "tuple[Session, list[bytes] | None]":
    """Return the session as memory has it, and what else RTC memory holds of `ours`.

    RTC memory goes before; after a power loss storage has the counters' upper bounds. A record of
    another device (only the keys may have changed) or layout gives its DevNonce alone.

    The clock goes on from where it was. If it has begun anew though RTC memory has not, it is as if
    no time had passed, and its offset is no longer the session's.
    """
    session = Session()
    rtc = store.load_rtc()
    if rtc is not None and rtc[1] == ours:
        count = 2 + len(session.pack_volatile())
        session.unpack(rtc[0])
        session.unpack_volatile(rtc[2:count])
        clock.offset_ms = session.clock_offset_ms
        clock.offset_ms += max(0, session.saved_ms - clock.now_ms())
        return session, rtc[count:] or None
    sections = store.load_storage()
    if sections is None or sections[1] != ours:
        session.dev_nonce = store.dev_nonce()
    else:
        session.unpack(sections[0])
        session.skip_ahead()
    return session, None


def stored(store: "Store", ours: bytes) -> "list[bytes]":
    """Return what storage holds of `ours` beside the session."""
    sections = store.load_storage()
    return sections[2:] if sections is not None and sections[1] == ours else []
