"""What the SX1262 data sheet says in tables: commands, times, currents, registers.

"DS" is Semtech DS.SX1261-2.W.APP, revisions 1.2 to 2.2, by section; the SX1268's is numbered alike.
"""

import enum
import itertools
import math
from dataclasses import dataclass


class Mode(enum.StrEnum):
    """The chip's operating modes (DS 9), and no supply."""

    OFF = "off"
    SLEEP_COLD = "sleep_cold"
    SLEEP_WARM = "sleep_warm"
    STBY_RC = "stby_rc"
    STBY_XOSC = "stby_xosc"
    FS = "fs"
    TX = "tx"
    RX = "rx"


# Bits 6:4 of the status byte (DS 13.5.1).
MODE_BITS = {Mode.STBY_RC: 2, Mode.STBY_XOSC: 3, Mode.FS: 4, Mode.RX: 5, Mode.TX: 6}
# Bits 3:1 of it.
STATUS_OK = 1
STATUS_DATA_AVAILABLE = 2
STATUS_TIMEOUT = 3
STATUS_NOT_UNDERSTOOD = 4
STATUS_NOT_EXECUTED = 5
STATUS_TX_DONE = 6

# DS 13.3.1, table 13-29.
IRQ_TX_DONE = 0x001
IRQ_RX_DONE = 0x002
IRQ_PREAMBLE = 0x004
IRQ_HEADER_VALID = 0x010
IRQ_CRC_ERROR = 0x040
IRQ_TIMEOUT = 0x200

# DS 13.6.1, table 13-86.
ERROR_PLL_CALIBRATION = 0x004
ERROR_IMAGE_CALIBRATION = 0x010
ERROR_XOSC_START = 0x020
ERROR_PLL_LOCK = 0x040

# Blocks of Calibrate (DS 13.1.12); those that need the crystal, those a packet needs, the image.
CALIBRATE_ALL = 0x7F
CALIBRATE_WITH_XOSC = 0x7C
CALIBRATE_FOR_PACKETS = 0x3C
CALIBRATE_IMAGE = 0x40

AWAKE = frozenset({Mode.STBY_RC, Mode.STBY_XOSC, Mode.FS, Mode.TX, Mode.RX})
STANDBY = frozenset({Mode.STBY_RC, Mode.STBY_XOSC})
SETTINGS = frozenset({Mode.STBY_RC, Mode.STBY_XOSC, Mode.FS})
RC_ONLY = frozenset({Mode.STBY_RC})


@dataclass(frozen=True, slots=True)
class Command:
    """One opcode: how many bytes follow it, in which modes it is taken, how long BUSY stays up."""

    name: str
    least: int
    most: int
    modes: frozenset[Mode] = AWAKE
    busy_us: int = 3


# DS 11.1 to 11.5 and 13; a Get… command counts the status byte. BUSY times of commands that change
# no mode are not in the data sheet: a few microseconds, as a logic analyser shows.
COMMANDS = {
    0x84: Command("SetSleep", 1, 1, STANDBY),
    0x80: Command("SetStandby", 1, 1),
    0xC1: Command("SetFs", 0, 0),
    0x83: Command("SetTx", 3, 3),
    0x82: Command("SetRx", 3, 3),
    0x9F: Command("StopTimerOnPreamble", 1, 1, SETTINGS),
    0x96: Command("SetRegulatorMode", 1, 1, RC_ONLY),
    0x89: Command("Calibrate", 1, 1, RC_ONLY),
    0x98: Command("CalibrateImage", 2, 2, STANDBY),
    0x95: Command("SetPaConfig", 4, 4, SETTINGS),
    0x93: Command("SetRxTxFallbackMode", 1, 1, SETTINGS),
    0x0D: Command("WriteRegister", 3, 258),
    0x1D: Command("ReadRegister", 4, 259),
    0x0E: Command("WriteBuffer", 2, 257),
    0x1E: Command("ReadBuffer", 3, 258),
    0x08: Command("SetDioIrqParams", 8, 8, SETTINGS),
    0x12: Command("GetIrqStatus", 3, 3),
    0x02: Command("ClearIrqStatus", 2, 2),
    0x9D: Command("SetDIO2AsRfSwitchCtrl", 1, 1, SETTINGS),
    0x97: Command("SetDIO3AsTcxoCtrl", 4, 4, RC_ONLY),
    0x86: Command("SetRfFrequency", 4, 4, SETTINGS),
    0x8A: Command("SetPacketType", 1, 1, RC_ONLY, 30),
    0x11: Command("GetPacketType", 2, 2),
    0x8E: Command("SetTxParams", 2, 2, SETTINGS),
    0x8B: Command("SetModulationParams", 4, 8, SETTINGS, 15),
    0x8C: Command("SetPacketParams", 6, 9, SETTINGS, 15),
    0x8F: Command("SetBufferBaseAddress", 2, 2, SETTINGS),
    0xA0: Command("SetLoRaSymbNumTimeout", 1, 1, SETTINGS),
    0xC0: Command("GetStatus", 0, 1),
    0x15: Command("GetRssiInst", 2, 2),
    0x13: Command("GetRxBufferStatus", 3, 3),
    0x14: Command("GetPacketStatus", 4, 4),
    0x17: Command("GetDeviceErrors", 3, 3),
    0x07: Command("ClearDeviceErrors", 2, 2),
    0x10: Command("GetStats", 7, 7),
    0x00: Command("ResetStats", 6, 6),
}
# Taken by the chip, but of no use to a Class A device, so there is nothing behind them here.
NOT_MODELLED = {
    0x94: "SetRxDutyCycle",
    0xC5: "SetCad",
    0x88: "SetCadParams",
    0xD1: "SetTxContinuousWave",
    0xD2: "SetTxInfinitePreamble",
}

# BUSY at a change of mode, typical (DS 8.3.1, table 8-2; also ST RM0453 table 33, the same radio).
RESET_US = 3_500
COLD_START_US = 3_500
WARM_START_US = 340
TO_XOSC_US = 31
TO_FS_US = {Mode.STBY_RC: 50, Mode.STBY_XOSC: 40, Mode.FS: 1, Mode.RX: 15, Mode.TX: 15}
TO_TX_US = {Mode.STBY_RC: 126, Mode.STBY_XOSC: 105, Mode.FS: 76, Mode.RX: 92, Mode.TX: 76}
TO_RX_US = {Mode.STBY_RC: 83, Mode.STBY_XOSC: 62, Mode.FS: 41, Mode.RX: 41, Mode.TX: 60}
TO_STANDBY_US = 15
CALIBRATE_ALL_US = 3_500  # DS 9.2
CALIBRATE_IMAGE_US = 1_500  # not in the data sheet; measured values lie around this
SLEEP_ENTRY_US = 500  # DS 9.3: no SPI for 500 us after SetSleep
RESET_PULSE_LEAST_US = 50  # DS 8.1 asks for 100 us, typically
TIMER_STEP_US = 15.625  # DS 13.1.4
RAMP_US = (10, 20, 40, 80, 200, 800, 1_700, 3_400)  # DS 13.4.4

BANDWIDTH_HZ = {
    0x00: 7_810,
    0x08: 10_420,
    0x01: 15_630,
    0x09: 20_830,
    0x02: 31_250,
    0x0A: 41_670,
    0x03: 62_500,
    0x04: 125_000,
    0x05: 250_000,
    0x06: 500_000,
}
RANGE_MHZ = {"sx1262": (150, 960), "sx1268": (410, 810)}  # DS 3.5
TCXO_MV = (1600, 1700, 1800, 2200, 2400, 2700, 3000, 3300)  # DS 13.3.6
# What calibrating the image with two bytes covers, and what power-on leaves (DS 9.2.1).
IMAGE_STEP_HZ = 4_000_000
IMAGE_AFTER_RESET = (0xE1, 0xE9)
IMAGE_BANDS = {(0x6B, 0x6F), (0x75, 0x81), (0xC1, 0xC5), (0xD7, 0xDB), (0xE1, 0xE9)}

REGISTER_RETENTION_LIST = 0x029F
REGISTER_VERSION = 0x0320
REGISTER_SYMBOL_TIMEOUT = 0x0706
REGISTER_IQ = 0x0736
REGISTER_SYNC_WORD = 0x0740
REGISTER_TX_MODULATION = 0x0889
REGISTER_RX_GAIN = 0x08AC
REGISTER_TX_CLAMP = 0x08D8
REGISTER_OCP = 0x08E7
# Values after reset (DS 12.1, table 12-1), the sync word's being the private one.
REGISTERS_AFTER_RESET = {
    **{REGISTER_RETENTION_LIST + index: 0 for index in range(9)},
    **{REGISTER_VERSION + index: byte for index, byte in enumerate(b"SX1261 V2D 2D02\0")},
    REGISTER_SYMBOL_TIMEOUT: 0x00,
    REGISTER_IQ: 0x0D,
    REGISTER_SYNC_WORD: 0x14,
    REGISTER_SYNC_WORD + 1: 0x24,
    REGISTER_TX_MODULATION: 0x01,
    REGISTER_RX_GAIN: 0x94,
    REGISTER_TX_CLAMP: 0xC8,
    REGISTER_OCP: 0x38,
    0x0902: 0x00,  # RTC control
    0x0911: 0x05,  # XTA trim
    0x0912: 0x05,  # XTB trim
    0x0920: 0x01,  # DIO3 output voltage
    0x0944: 0x00,  # event mask
}
RX_BOOSTED = 0x96

# Currents in uA at 3.3 V: DS 3.4, tables 3-4 to 3-6. Transmitting: the pairs (duty cycle, hpMax)
# of DS table 13-21 with their greatest power and its current at 868 MHz.
_MODE_UA = {
    Mode.SLEEP_COLD: 0.16,
    Mode.SLEEP_WARM: 0.6,
    Mode.STBY_RC: 600.0,
    Mode.STBY_XOSC: 800.0,
}
FS_UA = {True: 2_100.0, False: 3_550.0}  # by: on DC-DC
RX_UA = {True: 4_600.0, False: 8_880.0}
RX_BOOSTED_EXTRA_UA = 700.0
PA_SETTINGS = {
    (4, 7): (22, 118_000.0),
    (3, 5): (20, 84_000.0),
    (2, 3): (17, 58_000.0),
    (2, 2): (14, 45_000.0),
}
# The SX1268's table 13-21 differs below 17 dBm, where SetTxParams goes up to 15; its currents
# there are estimates.
PA_SETTINGS_SX1268 = {
    **{setting: PA_SETTINGS[setting] for setting in ((4, 7), (3, 5), (2, 3))},
    (4, 6): (14, 45_000.0),
    (0, 3): (10, 36_000.0),
}
# With the full setting, what lower powers take (DS table 3-6, 868/915 MHz).
FULL_PA_UA = ((22, 118_000.0), (20, 102_000.0), (17, 95_000.0), (14, 90_000.0), (-9, 40_000.0))


def current_ua(mode: Mode, *, is_dcdc: bool, is_boosted: bool) -> float:
    """Return what the chip takes in a mode, transmitting apart."""
    if mode is Mode.RX:
        return RX_UA[is_dcdc] + (RX_BOOSTED_EXTRA_UA if is_boosted else 0.0)
    if mode is Mode.FS:
        return FS_UA[is_dcdc]
    return _MODE_UA.get(mode, 0.0)


def _pa(variant: str) -> dict[tuple[int, int], tuple[int, float]]:
    return PA_SETTINGS_SX1268 if variant == "sx1268" else PA_SETTINGS


def _full_power(pa: tuple[int, int]) -> int:
    """Return what SetTxParams calls all that a PA setting gives (DS 13.1.14.1)."""
    return 15 if pa in ((4, 6), (0, 3)) else 22


def pa_offset(pa: tuple[int, int], variant: str = "sx1262") -> int:
    """Return how much SetTxParams' power is above that radiated with a PA setting."""
    return _full_power(pa) - _pa(variant)[pa][0]


def pa_output(
    duty_cycle: int, hp_max: int, power: int, variant: str = "sx1262"
) -> tuple[float, float] | None:
    """Return `(radiated dBm, current uA)` for SetPaConfig and SetTxParams, None when undefined."""
    pa = (duty_cycle, hp_max)
    setting, full = _pa(variant).get(pa), _full_power(pa)
    if setting is None or not -9 <= power <= full:
        return None
    greatest_dbm, current_ua = setting
    if greatest_dbm == 22:
        for (high, high_ua), (low, low_ua) in itertools.pairwise(FULL_PA_UA):
            if low <= power <= high:
                return power, low_ua + (high_ua - low_ua) * (power - low) / (high - low)
    # Below an optimal setting's own power the data sheet is silent: half the current at -12 dB.
    backed_off_db = full - power
    return greatest_dbm - backed_off_db, current_ua * math.exp(-0.058 * backed_off_db)
