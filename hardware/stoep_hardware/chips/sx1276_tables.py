"""What the SX1276 data sheet says in tables: modes, registers, times, currents.

"DS" is Semtech's data sheet of the SX1276/77/78/79, revisions 4 to 7, by section; "errata" its
errata note 1.1 for the SX1276/77/78.
"""

import enum


class Mode(enum.StrEnum):
    """The chip's operating modes (DS 4.1.2), and no supply. FSK knows only the first two here."""

    OFF = "off"
    SLEEP = "sleep"
    STANDBY = "standby"
    FSTX = "fstx"
    TX = "tx"
    FSRX = "fsrx"
    RX_SINGLE = "rx"


# Bits 2:0 of RegOpMode; continuous reception and CAD are of no use to a Class A device.
MODES = {
    0: Mode.SLEEP,
    1: Mode.STANDBY,
    2: Mode.FSTX,
    3: Mode.TX,
    4: Mode.FSRX,
    6: Mode.RX_SINGLE,
}
LONG_RANGE = 0x80
SHARED = 0x40

# RegIrqFlags (DS 6.4).
IRQ_RX_TIMEOUT = 0x80
IRQ_RX_DONE = 0x40
IRQ_CRC_ERROR = 0x20
IRQ_VALID_HEADER = 0x10
IRQ_TX_DONE = 0x08
# Which flag a line shows, by its two bits of RegDioMapping1 (DS 4.1.2.2, table 18).
DIO0 = {0: IRQ_RX_DONE, 1: IRQ_TX_DONE, 2: 0x04}
DIO1 = {0: IRQ_RX_TIMEOUT, 1: 0x02, 2: 0x01}

FIFO = 0x00
OP_MODE = 0x01
FRF = 0x06
PA_CONFIG = 0x09
OCP = 0x0B
LNA = 0x0C
FIFO_POINTER = 0x0D
FIFO_TX_BASE = 0x0E
FIFO_RX_BASE = 0x0F
FIFO_RX_CURRENT = 0x10
IRQ_MASK = 0x11
IRQ_FLAGS = 0x12
RX_BYTES = 0x13
PACKET_SNR = 0x19
PACKET_RSSI = 0x1A
MODEM_CONFIG_1 = 0x1D
MODEM_CONFIG_2 = 0x1E
SYMBOL_TIMEOUT = 0x1F
PREAMBLE = 0x20
PAYLOAD_LENGTH = 0x22
FIFO_RX_BYTE = 0x25
MODEM_CONFIG_3 = 0x26
IF_FREQ_1 = 0x2F
IF_FREQ_2 = 0x30
DETECT_OPTIMIZE = 0x31
INVERT_IQ = 0x33
HIGH_BW_1 = 0x36
DETECTION_THRESHOLD = 0x37
SYNC_WORD = 0x39
HIGH_BW_2 = 0x3A
INVERT_IQ_2 = 0x3B
IMAGE_CAL = 0x3B  # of FSK
DIO_MAPPING = 0x40
TCXO = 0x4B
PA_DAC = 0x4D

# Values after reset (DS 6, table 41, and 6.4): of both modems, of LoRa, of FSK where it matters.
COMMON_AFTER_RESET = {
    OP_MODE: 0x09,
    FRF: 0x6C,
    FRF + 1: 0x80,
    FRF + 2: 0x00,
    PA_CONFIG: 0x4F,
    0x0A: 0x09,  # PA ramp
    OCP: 0x2B,
    LNA: 0x20,
    DIO_MAPPING: 0x00,
    0x41: 0x00,
    0x42: 0x12,  # version
    TCXO: 0x09,
    PA_DAC: 0x84,
    0x5B: 0x00,  # former temperature
    0x70: 0xD0,  # PLL bandwidth
}
LORA_AFTER_RESET = {
    FIFO_POINTER: 0x00,
    FIFO_TX_BASE: 0x80,
    FIFO_RX_BASE: 0x00,
    FIFO_RX_CURRENT: 0x00,
    IRQ_MASK: 0x00,
    IRQ_FLAGS: 0x00,
    RX_BYTES: 0x00,
    0x18: 0x10,  # modem status
    PACKET_SNR: 0x00,
    PACKET_RSSI: 0x00,
    0x1B: 0x00,  # RSSI
    0x1C: 0x00,  # hop channel
    MODEM_CONFIG_1: 0x72,
    MODEM_CONFIG_2: 0x70,
    SYMBOL_TIMEOUT: 0x64,
    PREAMBLE: 0x00,
    PREAMBLE + 1: 0x08,
    PAYLOAD_LENGTH: 0x01,
    0x23: 0xFF,  # longest payload
    0x24: 0x00,  # hop period
    FIFO_RX_BYTE: 0x00,
    MODEM_CONFIG_3: 0x00,
    IF_FREQ_1: 0x20,
    IF_FREQ_2: 0x00,
    DETECT_OPTIMIZE: 0xC3,
    INVERT_IQ: 0x27,
    HIGH_BW_1: 0x03,
    DETECTION_THRESHOLD: 0x0A,
    SYNC_WORD: 0x12,
    HIGH_BW_2: 0x20,
    INVERT_IQ_2: 0x1D,
}
FSK_AFTER_RESET = {IMAGE_CAL: 0x02}
READ_ONLY = frozenset({FIFO_RX_CURRENT, *range(0x13, 0x1D), FIFO_RX_BYTE, 0x42, 0x5B})
# Bits that have to keep their value: register to (mask, value).
RESERVED = {
    LNA: (0x04, 0x00),
    MODEM_CONFIG_3: (0xF3, 0x00),
    DETECT_OPTIMIZE: (0x78, 0x40),
    INVERT_IQ: (0xBE, 0x26),
    TCXO: (0xEF, 0x09),
    PA_DAC: (0xF8, 0x80),
}
# May be written while the modem works; all others only in sleep and standby (DS 4.1.2.1).
ANYTIME = frozenset({OP_MODE, FIFO_POINTER, IRQ_FLAGS, IRQ_MASK})

BANDWIDTH_HZ = {7: 125_000, 8: 250_000, 9: 500_000}  # those of LoRaWAN
FREQ_STEP_HZ = 32_000_000 / (1 << 19)
# What the variants are made for (DS 1, table 1), and where low port and high port part.
RANGE_HZ = {"sx1276": (137_000_000, 1_020_000_000), "sx1278": (137_000_000, 525_000_000)}
LOW_PORT_BELOW_HZ = 525_000_000
SYMBOL_TIMEOUT_LEAST = 4  # DS 4.1.5

RESET_PULSE_LEAST_US = 100  # DS 7.2.2
AFTER_RESET_US = 5_000
AFTER_POWER_ON_US = 10_000  # DS 7.2.1
OSCILLATOR_US = 250  # DS 2.5.2, TS_OSC
SYNTHESIZER_US = 60  # DS 2.5.2, TS_FS
TX_RAMP_US = 55  # DS 4.2.5.1 with a ramp of 40 us
RX_START_US = 100  # an estimate: the data sheet gives TS_RE for FSK alone
IMAGE_CAL_US = 10_000  # DS 4.2.3.8

# DS 2.5.1, table 6, in uA.
_MODE_UA = {Mode.SLEEP: 0.2, Mode.STANDBY: 1_600.0, Mode.FSTX: 5_800.0, Mode.FSRX: 5_800.0}
RX_LOW_UA, RX_UA, RX_BOOSTED_UA = 12_000.0, 10_800.0, 11_500.0
SYNTHESIZER_UA = 5_800.0
# Power at the pin and the current of the whole chip, the first two by RFO, the others by PA_BOOST.
_RFO_UA = ((7, 20_000.0), (13, 29_000.0))
_BOOST_UA = ((17, 87_000.0), (20, 120_000.0))


def current_ua(mode: Mode, *, is_low_port: bool, is_boosted: bool) -> float:
    """Return what the chip takes in a mode, transmitting apart."""
    if mode is Mode.RX_SINGLE:
        return RX_LOW_UA if is_low_port else RX_BOOSTED_UA if is_boosted else RX_UA
    return _MODE_UA.get(mode, 0.0)


def tx_current_ua(power_dbm: float, *, boost: bool) -> float:
    """Return what sending takes: exponential between the data sheet's points and beyond them.

    Below 17 dBm PA_BOOST is an estimate: it then follows RFO's slope.
    """
    (low, low_ua), (high, high_ua) = _BOOST_UA if boost and power_dbm > 17 else _RFO_UA
    ratio: float = (high_ua / low_ua) ** (1 / (high - low))
    at, at_ua = _BOOST_UA[0] if boost else _RFO_UA[0]
    current_ua: float = at_ua * ratio ** (power_dbm - at)
    return current_ua


def pa_output_dbm(pa_config: int, pa_dac: int) -> tuple[float, bool] | None:
    """Return `(power, by PA_BOOST)` (DS 5.4.2, 5.4.3), None for what is not defined."""
    output = pa_config & 0xF
    is_high = pa_dac & 7 == 7
    if pa_config & 0x80:
        return 17 + (3 if is_high else 0) - (15 - output), True
    if is_high:
        return None
    return 10.8 + 0.6 * (pa_config >> 4 & 7) - (15 - output), False


def ocp_ua(ocp: int) -> float | None:
    """Return where the over-current protection limits the amplifier (DS 5.4.4), None for never."""
    if not ocp & 0x20:
        return None
    trim = ocp & 0x1F
    return 1_000.0 * (45 + 5 * trim if trim <= 15 else min(-30 + 10 * trim, 240))
