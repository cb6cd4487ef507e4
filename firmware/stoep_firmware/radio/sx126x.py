"""SX1262 and SX1268 over an injected SPI bus and pins: LoRa as LoRaWAN uses it, one frame a call.

DS is Semtech's data sheet DS.SX1261-2.W.APP rev. 2.1; section 15 is its list of known limitations.
The driver never waits for the air: `transmit` and `receive` start, DIO1 rises at the end, `outcome`
says which end it was. It does wait for BUSY, a few milliseconds at most, and gives up on it.

Between the frames of a wake the chip sleeps warm, between wakes cold: `start` keeps the processor
awake for 20 ms (0.6 mC), what warm sleep takes more (0.44 uA) is as much after 23 minutes. A warm
chip is also trusted across a sleep of the processor, after which join-accepts have been lost.

Warm sleep keeps packet type, sync word, PA and regulator settings, but the registers behind the
work-arounds (15.1, 15.2, 15.4) and the data buffer are not on the retention list (DS 9.3), so
each operation writes its complete set, whether or not the radio slept. 15.3 is of implicit headers,
which LoRaWAN's frames do not have.
"""

from stoep_firmware.radio import (
    BUSY_STUCK,
    DEVICE_ERROR,
    NOT_THERE,
    RX_DONE,
    TIMEOUT,
    TX_DONE,
    WRONG_BAND,
    RadioError,
)

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_firmware._types import Config, Spi
    from stoep_firmware.board import RadioPins

# The bits of IRQ status (DS 13.3.1) beside TX_DONE, RX_DONE and TIMEOUT.
_HEADER_ERROR = const(0x020)
_CRC_ERROR = const(0x040)

_SET_SLEEP = const(0x84)
_SET_STANDBY = const(0x80)
_SET_TX = const(0x83)
_SET_RX = const(0x82)
_STOP_TIMER_ON_PREAMBLE = const(0x9F)
_SET_REGULATOR_MODE = const(0x96)
_CALIBRATE = const(0x89)
_CALIBRATE_IMAGE = const(0x98)
_SET_PA_CONFIG = const(0x95)
_SET_FALLBACK_MODE = const(0x93)
_WRITE_REGISTER = const(0x0D)
_READ_REGISTER = const(0x1D)
_WRITE_BUFFER = const(0x0E)
_READ_BUFFER = const(0x1E)
_SET_DIO_IRQ_PARAMS = const(0x08)
_GET_IRQ_STATUS = const(0x12)
_CLEAR_IRQ_STATUS = const(0x02)
_SET_DIO2_AS_RF_SWITCH = const(0x9D)
_SET_DIO3_AS_TCXO = const(0x97)
_SET_RF_FREQUENCY = const(0x86)
_SET_PACKET_TYPE = const(0x8A)
_SET_TX_PARAMS = const(0x8E)
_SET_MODULATION_PARAMS = const(0x8B)
_SET_PACKET_PARAMS = const(0x8C)
_SET_BUFFER_BASE = const(0x8F)
_SET_SYMBOL_TIMEOUT = const(0xA0)
_GET_STATUS = const(0xC0)
_GET_RX_BUFFER_STATUS = const(0x13)
_GET_PACKET_STATUS = const(0x14)
_GET_DEVICE_ERRORS = const(0x17)
_CLEAR_DEVICE_ERRORS = const(0x07)

_REG_SYNCH_TIMEOUT = const(0x0706)
_REG_IQ_POLARITY = const(0x0736)
_REG_SYNC_WORD = const(0x0740)
_REG_TX_MODULATION = const(0x0889)
_REG_TX_CLAMP = const(0x08D8)

_SYNC_WORD_PUBLIC = b"\x34\x44"  # LoRaWAN's 0x34, spread over two registers
_TCXO_MV = (1600, 1700, 1800, 2200, 2400, 2700, 3000, 3300)  # DS 13.3.6
_ANY_ERROR = const(0x17F)  # DS 13.6: bit 7 is reserved
_XOSC = const(5)
_TCXO_START_STEPS = const(320)  # 5 ms in steps of 15.625 us
_CHIP_MODE_STANDBY_RC = const(2)
_BUSY_POLL_US = const(50)
_BUSY_POLLS = const(2000)  # 100 ms; calibration takes 3.5 ms, a cold start about as long


class Sx126x:
    """One transceiver.

    `config` is the board's `radio` table: `tcxo_mv` (0 or absent: a crystal), `dio2_rf_switch`,
    `dcdc` (absent: true).
    `reset` follows a power-up or a deep sleep of the processor: nothing is assumed of the chip.
    """

    def __init__(
        self, spi: "Spi", pins: "RadioPins", delay_us: "Callable[[int], None]", config: "Config"
    ) -> None:
        self._spi = spi
        self._pins = pins
        self._delay_us = delay_us
        self._config = config
        self._is_1268 = config["chip"] == "sx1268"
        self._asleep = False

    def start(self, freq_hz: int) -> None:
        """Reset and set up for LoRa in the band around `freq_hz`. Raises `RadioError`."""
        if self._is_1268 and freq_hz > 810000000:
            raise RadioError(WRONG_BAND)
        pins = self._pins
        pins.reset(0)
        self._delay_us(200)  # at least 100 us (DS 8.1)
        pins.reset(1)
        self._asleep = False
        self._wait_busy()
        self._command(_SET_STANDBY, 0)
        if self._read((_GET_STATUS,), 1)[0] >> 4 & 7 != _CHIP_MODE_STANDBY_RC:
            raise RadioError(NOT_THERE)
        tcxo_mv = self._config.get("tcxo_mv", 0)
        if tcxo_mv:
            delay = _TCXO_START_STEPS
            self._command(
                _SET_DIO3_AS_TCXO, _TCXO_MV.index(tcxo_mv), 0, delay >> 8 & 0xFF, delay & 0xFF
            )
        # The chip has calibrated itself at power-up without the TCXO and failed: once more.
        self._command(_CLEAR_DEVICE_ERRORS, 0, 0)
        self._command(_CALIBRATE, 0x7F)
        low, high = _image_band(freq_hz)
        self._command(_CALIBRATE_IMAGE, low, high)
        if self._config.get("dcdc", True):  # receive 4.6 mA in place of 8.9; it needs a coil
            self._command(_SET_REGULATOR_MODE, 1)
        if self._config.get("dio2_rf_switch", False):
            self._command(_SET_DIO2_AS_RF_SWITCH, 1)
        self._command(_SET_FALLBACK_MODE, 0x20)  # STDBY_RC after TX and RX
        self._command(_SET_PACKET_TYPE, 1)
        self._write_register(_REG_SYNC_WORD, _SYNC_WORD_PUBLIC)
        self._command(_SET_BUFFER_BASE, 0, 0)
        status = self._read((_GET_DEVICE_ERRORS, 0), 2)
        errors = (status[0] << 8 | status[1]) & _ANY_ERROR
        if errors:
            # An oscillator that does not start takes calibrations with it: name the cause.
            raise RadioError(DEVICE_ERROR + (_XOSC if errors >> _XOSC & 1 else _lowest(errors)))

    def transmit(
        self, freq_hz: int, sf: int, bw_hz: int, power_dbm: int, data: bytes, timeout_ms: int
    ) -> None:
        """Start sending one LoRaWAN uplink: normal IQ, CRC on, `power_dbm` at the antenna port."""
        self._wake()
        self._modulation(freq_hz, sf, bw_hz)
        self._packet(len(data), 1, inverted=False)
        # 15.1: set this bit except at 500 kHz. 15.2: the clamp that protects the PA trips early.
        self._set_bits(_REG_TX_MODULATION, 0x04, bw_hz != 500000)
        self._set_bits(_REG_TX_CLAMP, 0x1E, True)
        # DS table 13-21: the best PA setting per step of output, always with 22 dBm in TxParams.
        # At 14 dBm that takes about 45 mA, the setting for 22 dBm would take 89.
        power_dbm = min(22, max(-9, power_dbm))
        # Of the SX1268 the two settings for less end at 15.
        duty, hp_max, full, most = 4, 7, 22, 22
        if self._is_1268 and power_dbm <= 10:
            duty, hp_max, full, most = 0, 3, 10, 15
        elif self._is_1268 and power_dbm <= 14:
            duty, hp_max, full, most = 4, 6, 14, 15
        elif power_dbm <= 14:
            duty, hp_max, full = 2, 2, 14
        elif power_dbm <= 17:
            duty, hp_max, full = 2, 3, 17
        elif power_dbm <= 20:
            duty, hp_max, full = 3, 5, 20
        self._command(_SET_PA_CONFIG, duty, hp_max, 0, 1)
        self._command(_SET_TX_PARAMS, (most + power_dbm - full) & 0xFF, 2)  # ramp 40 us
        self._select()
        self._spi.write(bytes((_WRITE_BUFFER, 0)))
        self._spi.write(data)
        self._deselect()
        self._interrupts(TX_DONE | TIMEOUT)
        self._start(_SET_TX, timeout_ms)

    def receive(self, freq_hz: int, sf: int, bw_hz: int, symbols: int, timeout_ms: int) -> None:
        """Start listening for one LoRaWAN downlink: inverted IQ, CRC as the header says.

        The chip gives up after `symbols` without a LoRa preamble; `timeout_ms`, until a header,
        only ends what a false preamble began.
        """
        self._wake()
        self._modulation(freq_hz, sf, bw_hz)
        self._packet(255, 0, inverted=True)
        self._command(_STOP_TIMER_ON_PREAMBLE, 0)
        # The register holds mantissa and exponent; the command alone is exact only up to 31.
        exponent = 0
        mantissa = (min(symbols, 248) + 1) >> 1
        while mantissa > 31:
            mantissa = (mantissa + 3) >> 2
            exponent += 1
        self._command(_SET_SYMBOL_TIMEOUT, mantissa << (2 * exponent + 1))
        self._write_register(_REG_SYNCH_TIMEOUT, bytes((mantissa << 3 | exponent,)))
        self._interrupts(RX_DONE | TIMEOUT | _HEADER_ERROR | _CRC_ERROR)
        self._start(_SET_RX, timeout_ms)

    def interrupted(self) -> bool:
        """Whether DIO1 is high: what was started has ended."""
        return bool(self._pins.ends[0]())

    def outcome(self) -> int:
        """Return TX_DONE, RX_DONE (whole and intact), TIMEOUT (also for a bad frame) or 0."""
        status = self._read((_GET_IRQ_STATUS, 0), 2)
        irq: int = status[0] << 8 | status[1]
        self._command(_CLEAR_IRQ_STATUS, status[0], status[1])
        if irq & (_HEADER_ERROR | _CRC_ERROR | TIMEOUT):
            return TIMEOUT
        return irq & (TX_DONE | RX_DONE)

    def frame(self) -> "tuple[bytes, int, int]":
        """Return `(data, rssi_dbm, snr_db)` of the frame received last."""
        length, start = self._read((_GET_RX_BUFFER_STATUS, 0), 2)
        data = bytes(self._read((_READ_BUFFER, start, 0), length))
        rssi, snr, _ = self._read((_GET_PACKET_STATUS, 0), 3)
        # DS 13.5.3: RSSI in -dBm/2, SNR in dB/4, two's complement.
        return data, -(rssi >> 1), (snr - 256 if snr > 127 else snr) >> 2

    def sleep(self, warm: bool) -> None:
        """Sleep: warm keeps the setting (600 nA), cold forgets it (160 nA)."""
        if self._asleep and warm:
            return
        self._wake()
        self._command(_SET_STANDBY, 0)
        # No _command: BUSY stays high in sleep.
        self._select()
        self._spi.write(bytes((_SET_SLEEP, 4 if warm else 0)))
        self._deselect()
        self._delay_us(500)  # DS 9.3: NSS may not fall again for 500 us
        self._asleep = True

    def _wake(self) -> None:
        if self._asleep:
            # A falling NSS wakes it; BUSY falls when it is in STDBY_RC (DS 8.3.1, 9.3).
            self._pins.nss(0)
            self._delay_us(20)
            self._wait_busy()
            self._pins.nss(1)
            self._asleep = False

    def _modulation(self, freq_hz: int, sf: int, bw_hz: int) -> None:
        self._command(_SET_STANDBY, 0)
        steps = ((freq_hz << 25) + 16000000) // 32000000
        self._command(
            _SET_RF_FREQUENCY,
            steps >> 24,
            steps >> 16 & 0xFF,
            steps >> 8 & 0xFF,
            steps & 0xFF,
        )
        # DS 13.4.5.2: 4/5; low data rate optimisation for symbols of 16.38 ms and more.
        bandwidth = 4 + bw_hz // 250000
        slow = 1 if (1 << sf) * 1000 > 16 * bw_hz else 0
        self._command(_SET_MODULATION_PARAMS, sf, bandwidth, 1, slow, 0, 0, 0, 0)

    def _packet(self, length: int, crc: int, inverted: bool) -> None:
        self._command(_SET_PACKET_PARAMS, 0, 8, 0, length, crc, 1 if inverted else 0)
        self._set_bits(_REG_IQ_POLARITY, 0x04, not inverted)  # 15.4

    def _interrupts(self, mask: int) -> None:
        self._command(_CLEAR_IRQ_STATUS, 0xFF, 0xFF)
        high, low = mask >> 8, mask & 0xFF
        self._command(_SET_DIO_IRQ_PARAMS, high, low, high, low, 0, 0, 0, 0)

    def _start(self, opcode: int, timeout_ms: int) -> None:
        # No _command: the processor need not be awake while the TCXO starts.
        steps = min(timeout_ms * 64, 0xFFFFFE)  # 15.625 us each
        self._select()
        self._spi.write(bytes((opcode, steps >> 16, steps >> 8 & 0xFF, steps & 0xFF)))
        self._deselect()

    def _set_bits(self, register: int, bits: int, value: bool) -> None:
        now = self._read((_READ_REGISTER, register >> 8, register & 0xFF, 0), 1)[0]
        self._write_register(register, bytes((now | bits if value else now & ~bits,)))

    def _write_register(self, register: int, data: bytes) -> None:
        self._select()
        self._spi.write(bytes((_WRITE_REGISTER, register >> 8, register & 0xFF)) + data)
        self._deselect()

    def _command(self, *octets: int) -> None:
        self._select()
        self._spi.write(bytes(octets))
        self._deselect()
        self._wait_busy()

    def _read(self, head: "tuple[int, ...]", length: int) -> bytearray:
        """Send `head`, of which the last octet is the status byte's turn, then read `length`."""
        data = bytearray(length)
        self._select()
        self._spi.write(bytes(head))
        self._spi.readinto(data)
        self._deselect()
        return data

    def _select(self) -> None:
        self._wait_busy()
        self._pins.nss(0)

    def _deselect(self) -> None:
        self._pins.nss(1)

    def _wait_busy(self) -> None:
        busy = self._pins.busy
        for _ in range(_BUSY_POLLS):
            if not busy():
                return
            self._delay_us(_BUSY_POLL_US)
        raise RadioError(BUSY_STUCK)


def _image_band(freq_hz: int) -> "tuple[int, int]":
    """Return the bounds for CalibrateImage (DS 9.2.1)."""
    for top_hz, low, high in (
        (440000000, 0x6B, 0x6F),
        (510000000, 0x75, 0x81),
        (787000000, 0xC1, 0xC5),
        (870000000, 0xD7, 0xDB),
    ):
        if freq_hz <= top_hz:
            return low, high
    return 0xE1, 0xE9


def _lowest(bits: int) -> int:
    number = 0
    while not bits >> number & 1:
        number += 1
    return number
