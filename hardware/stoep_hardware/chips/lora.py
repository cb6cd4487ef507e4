"""LoRa's timing as the data sheets give it: DS.SX1261-2.W.APP 6.1.4, SX1276/77/78/79 4.1.1.7."""

import math


def needs_low_data_rate(sf: int, bw_hz: int) -> bool:
    """Tell whether a symbol lasts 16.38 ms or longer, where LoRaWAN demands the optimisation."""
    return (1 << sf) * 1_000 / bw_hz >= 16.38


def payload_symbols(
    length: int, sf: int, coding_rate: int, *, crc: bool, implicit: bool, low_data_rate: bool
) -> int:
    """Return the symbols after preamble and sync; coding_rate 5 to 8 for 4/5 to 4/8."""
    bits = 8 * length + (16 if crc else 0) - 4 * sf + (0 if implicit else 20)
    if sf >= 7:
        bits += 8
    per_block = 4 * (sf - 2 if low_data_rate else sf)
    return 8 + math.ceil(max(bits, 0) / per_block) * coding_rate


def preamble_us(preamble: int, sf: int, bw_hz: int) -> float:
    """Return the time of preamble and sync word: 4.25 symbols more, 6.25 at SF5 and SF6."""
    return (preamble + (4.25 if sf >= 7 else 6.25)) * (1 << sf) * 1e6 / bw_hz


def packet_us(
    length: int,
    sf: int,
    bw_hz: int,
    coding_rate: int,
    preamble: int,
    *,
    crc: bool,
    implicit: bool,
    low_data_rate: bool,
) -> int:
    """Return the duration of a packet."""
    symbols = payload_symbols(
        length, sf, coding_rate, crc=crc, implicit=implicit, low_data_rate=low_data_rate
    )
    return round(preamble_us(preamble, sf, bw_hz) + symbols * (1 << sf) * 1e6 / bw_hz)
