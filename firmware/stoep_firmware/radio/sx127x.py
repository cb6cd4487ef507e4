"""SX1276 and SX1278 over an injected SPI bus and pins: LoRa as LoRaWAN uses it, one frame a call.

DS is Semtech's data sheet of the SX1276/77/78/79, rev. 5 to 7; "errata" its errata note 1.1 for
the SX1276/77/78. The driver never waits for the air: `transmit` and `receive` start, DIO0 rises
with a frame sent or received, DIO1 when the window stayed empty, `outcome` says which it was.

In sleep the chip keeps all registers at 0.2 uA, so there is no difference between warm and cold.
"""

from stoep_firmware.radio import (
    BUSY_STUCK,
    NOT_THERE,
    RX_DONE,
    STOPPED,
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

_FIFO = const(0x00)
_OP_MODE = const(0x01)
_FRF = const(0x06)  # three registers
_PA_CONFIG = const(0x09)
_OCP = const(0x0B)
_LNA = const(0x0C)
_FIFO_POINTER = const(0x0D)  # and the bases for sending and receiving after it
_FIFO_RX_CURRENT = const(0x10)
_IRQ_FLAGS = const(0x12)
_RX_BYTES = const(0x13)
_PACKET_SNR = const(0x19)  # and the packet's RSSI after it
_MODEM_CONFIG_1 = const(0x1D)  # to RegSymbTimeoutLsb
_PAYLOAD_LENGTH = const(0x22)
_MODEM_CONFIG_3 = const(0x26)
_IF_FREQ = const(0x2F)  # two registers
_DETECT_OPTIMIZE = const(0x31)
_INVERT_IQ = const(0x33)
_HIGH_BW_1 = const(0x36)
_SYNC_WORD = const(0x39)
_HIGH_BW_2 = const(0x3A)
_IMAGE_CAL = const(0x3B)  # in FSK mode
_INVERT_IQ_2 = const(0x3B)
_DIO_MAPPING = const(0x40)
_VERSION = const(0x42)
_TCXO = const(0x4B)
_PA_DAC = const(0x4D)

_SLEEP = const(0x80)  # of LoRa, as the three below (DS 4.1.2, 6.4)
_STANDBY = const(0x81)
_TX = const(0x83)
_RX_SINGLE = const(0x86)
_FSK_STANDBY = const(0x01)
_LOW_FREQUENCY = const(0x08)

_IRQ_RX_TIMEOUT = const(0x80)
_IRQ_RX_DONE = const(0x40)
_IRQ_CRC_ERROR = const(0x20)
_IRQ_VALID_HEADER = const(0x10)
_IRQ_TX_DONE = const(0x08)

_LOW_BAND_HZ = const(525000000)  # where the low port's band ends, and the SX1278's
_CALIBRATION_POLLS = const(100)  # of 500 us; it takes 10 ms (DS 4.2.3.8)


class Sx127x:
    """One transceiver.

    `config` is the board's `radio` table: `pa_boost` (the antenna is at that pin, not at RFO),
    `tcxo` (a TCXO in place of a crystal).
    """

    def __init__(
        self, spi: "Spi", pins: "RadioPins", delay_us: "Callable[[int], None]", config: "Config"
    ) -> None:
        self._spi = spi
        self._pins = pins
        self._delay_us = delay_us
        self._config = config
        self._low = 0

    def start(self, freq_hz: int) -> None:
        """Reset and set up for LoRa in the band around `freq_hz`. Raises `RadioError`."""
        if self._config["chip"] == "sx1278" and freq_hz > _LOW_BAND_HZ:
            raise RadioError(WRONG_BAND)
        self._pins.reset(0)
        self._delay_us(200)  # at least 100 us, then 5 ms (DS 7.2.2)
        self._pins.reset(1)
        self._delay_us(5500)
        if self._read(_VERSION, 1)[0] != 0x12:
            raise RadioError(NOT_THERE)
        if self._config.get("tcxo", False):
            self._write(_TCXO, 0x19)
        # At power-up the image is calibrated at 434 MHz only; again where it will be used, which
        # also follows the temperature from wake to wake (DS 4.2.3.8). Only FSK's standby can.
        self._low = _LOW_FREQUENCY if freq_hz < _LOW_BAND_HZ else 0
        self._write(_OP_MODE, _FSK_STANDBY | self._low)
        self._frequency(freq_hz)
        self._write(_IMAGE_CAL, self._read(_IMAGE_CAL, 1)[0] & 0xBF | 0x40)
        polls = 0
        while self._read(_IMAGE_CAL, 1)[0] & 0x20:
            polls += 1
            if polls > _CALIBRATION_POLLS:
                raise RadioError(BUSY_STUCK)
            self._delay_us(500)
        # Only a sleeping chip changes between FSK and LoRa.
        self._write(_OP_MODE, self._low)
        self._mode(_SLEEP)
        self._mode(_STANDBY)
        self._write(_LNA, 0x23)  # greatest gain to begin with, boosted on the high port
        self._write(_SYNC_WORD, 0x34)  # LoRaWAN's
        self._write(_FIFO_POINTER, 0, 0, 0)

    def transmit(
        self, freq_hz: int, sf: int, bw_hz: int, power_dbm: int, data: bytes, timeout_ms: int
    ) -> None:
        """Start sending one LoRaWAN uplink: normal IQ, CRC on, `power_dbm` at the antenna port.

        PA_BOOST gives 2 to 20 dBm, RFO -4 to 14: less or more becomes the nearest of these.
        """
        self._modulation(freq_hz, sf, bw_hz, 0x04, 0)
        self._write(_INVERT_IQ, 0x27)
        self._write(_INVERT_IQ_2, 0x1D)
        dac, ocp = 0x84, 0x2B  # at most 100 mA (DS 5.4.4)
        if self._config.get("pa_boost", False):
            power_dbm = min(20, max(2, power_dbm))
            if power_dbm > 17:
                dac, ocp = 0x87, 0x31  # DS 5.4.3; 140 mA
                power_dbm -= 3
            pa = 0x80 | power_dbm - 2
        elif power_dbm < 0:
            pa = max(-4, power_dbm) + 4  # Pmax 10.8 dBm, less 15 and more by this
        else:
            pa = 0x70 | min(14, power_dbm)  # Pmax 15 dBm
        self._write(_PA_CONFIG, pa)
        self._write(_PA_DAC, dac)
        self._write(_OCP, ocp)
        self._write(_PAYLOAD_LENGTH, len(data))
        self._write(_FIFO_POINTER, 0)
        self._pins.nss(0)
        self._spi.write(b"\x80")
        self._spi.write(data)
        self._pins.nss(1)
        self._begin(_TX, 0x40)

    def receive(self, freq_hz: int, sf: int, bw_hz: int, symbols: int, timeout_ms: int) -> None:
        """Start listening for one LoRaWAN downlink: inverted IQ, CRC as the header says.

        The chip gives up after `symbols` without a preamble; it has no timer for what a false one
        began, so whoever waits ends that (`outcome` is then STOPPED).
        """
        self._modulation(freq_hz, sf, bw_hz, 0, min(1023, max(4, symbols)))
        self._write(_INVERT_IQ, 0x67)
        self._write(_INVERT_IQ_2, 0x19)
        self._write(_FIFO_POINTER, 0)
        self._begin(_RX_SINGLE, 0x00)

    def interrupted(self) -> bool:
        """Whether DIO0 or DIO1 is high: what was started has ended."""
        return any([pin() for pin in self._pins.ends])  # noqa: C419 - no generator: heap

    def outcome(self) -> int:
        """Return TX_DONE, RX_DONE (whole and intact), TIMEOUT (also for a bad frame), STOPPED
        (listening with no header heard) or 0.
        """
        flags = self._read(_IRQ_FLAGS, 1)[0]
        self._write(_IRQ_FLAGS, flags)
        if flags & (_IRQ_RX_TIMEOUT | _IRQ_CRC_ERROR):
            return TIMEOUT
        if flags & _IRQ_RX_DONE:
            return RX_DONE
        if flags & _IRQ_TX_DONE:
            return TX_DONE
        if not flags & _IRQ_VALID_HEADER and self._read(_OP_MODE, 1)[0] & 0x87 == _RX_SINGLE:
            return STOPPED
        return 0

    def frame(self) -> "tuple[bytes, int, int]":
        """Return `(data, rssi_dbm, snr_db)` of the frame received last."""
        self._write(_FIFO_POINTER, self._read(_FIFO_RX_CURRENT, 1)[0])
        data = bytes(self._read(_FIFO, self._read(_RX_BYTES, 1)[0]))
        snr, rssi = self._read(_PACKET_SNR, 2)
        snr_db = (snr - 256 if snr > 127 else snr) >> 2
        # DS 5.5.5; below the noise the packet is weaker than what is measured.
        rssi_dbm = rssi - (164 if self._low else 157) + min(0, snr_db)
        return data, rssi_dbm, snr_db

    def sleep(self, warm: bool) -> None:
        """Sleep: everything but the FIFO is kept (200 nA)."""
        self._mode(_SLEEP)

    def _modulation(self, freq_hz: int, sf: int, bw_hz: int, crc: int, symbols: int) -> None:
        self._mode(_STANDBY)
        self._frequency(freq_hz)
        # Explicit header, 4/5; the wait for a preamble has ten bits in two registers.
        bandwidth = 7 + bw_hz // 250000
        self._write(
            _MODEM_CONFIG_1, bandwidth << 4 | 2, sf << 4 | crc | symbols >> 8, symbols & 0xFF
        )
        # AGC; low data rate optimisation for symbols of more than 16 ms (DS 4.1.1.6).
        self._write(_MODEM_CONFIG_3, 0x0C if (1 << sf) * 1000 > 16 * bw_hz else 0x04)
        detect = self._read(_DETECT_OPTIMIZE, 1)[0] & 0x78 | 3  # SF7 to SF12
        if bw_hz == 500000:  # errata 2.1
            self._write(_HIGH_BW_1, 0x02)
            self._write(_HIGH_BW_2, 0x7F if self._low else 0x64)
            detect |= 0x80
        else:  # errata 2.1; 2.3: the automatic IF receives its own spurs
            self._write(_HIGH_BW_1, 0x03)
            self._write(_IF_FREQ, 0x40, 0x00)
        self._write(_DETECT_OPTIMIZE, detect)

    def _frequency(self, freq_hz: int) -> None:
        steps = (freq_hz * 256 + 7812) // 15625  # of 32 MHz / 2^19
        self._write(_FRF, steps >> 16, steps >> 8 & 0xFF, steps & 0xFF)

    def _begin(self, mode: int, dio_mapping: int) -> None:
        self._write(_DIO_MAPPING, dio_mapping)
        self._write(_IRQ_FLAGS, 0xFF)
        self._mode(mode)

    def _mode(self, mode: int) -> None:
        self._write(_OP_MODE, mode | self._low)

    def _write(self, register: int, *values: int) -> None:
        self._pins.nss(0)
        self._spi.write(bytes((0x80 | register,) + values))
        self._pins.nss(1)

    def _read(self, register: int, length: int) -> bytearray:
        data = bytearray(length)
        self._pins.nss(0)
        self._spi.write(bytes((register,)))
        self._spi.readinto(data)
        self._pins.nss(1)
        return data
