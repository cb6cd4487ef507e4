"""How long a LoRa frame is on the air, in integers."""

from stoep_protocol.errors import EncodeError


def time_on_air_us(
    phy_len: int,
    sf: int,
    bw_hz: int,
    *,
    coding_rate: int = 5,
    preamble: int = 8,
    crc: bool = True,
    implicit: bool = False,
) -> int:
    """Return the time on air in µs of `phy_len` octets (Semtech SX1276 data sheet, 4.1.1.7).

    `sf` is 7..12, `coding_rate` 5..8 for 4/5..4/8, `preamble` the programmed symbols (4.25 follow).
    The low data rate optimisation is on for symbols over 16 ms, as LoRaWAN has it at SF11 and
    SF12 on 125 kHz. Downlinks carry no CRC. Raises `EncodeError` outside those ranges.
    """
    if not 7 <= sf <= 12 or not 5 <= coding_rate <= 8 or bw_hz <= 0 or not 0 <= phy_len <= 255:
        raise EncodeError("time on air is defined for SF7..12, CR 4/5..4/8, 0..255 octets")
    optimised = (1 << sf) * 1000 > 16 * bw_hz
    bits = 8 * phy_len - 4 * sf + 28
    if crc:
        bits += 16
    if implicit:
        bits -= 20
    per_block = 4 * (sf - 2 if optimised else sf)
    blocks = (bits + per_block - 1) // per_block if bits > 0 else 0
    quarter_symbols = 4 * (preamble + 8 + blocks * coding_rate) + 17
    return quarter_symbols * (1 << sf) * 250000 // bw_hz
