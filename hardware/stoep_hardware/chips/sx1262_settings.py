"""The SX1262's settings: what commands and registers hold, and what a packet needs of them.

Everything here happens in an instant and touches neither the air nor the clock; see sx1262.py.
"""

from collections.abc import Callable

from stoep_hardware.air import Air
from stoep_hardware.engine import Engine

from . import lora
from . import sx1262_tables as ds
from .sx1262_tables import Mode
from .transceiver import Transceiver

_LORA = 1
_FALLBACKS = {0x20: Mode.STBY_RC, 0x30: Mode.STBY_XOSC, 0x40: Mode.FS}

Handler = Callable[[bytes, int], int | None]


class Settings(Transceiver):
    """What survives warm sleep and what reset forgets.

    A handler takes the bytes after the opcode and returns how long BUSY stays high in
    microseconds, None for the time in the table of commands.
    """

    LINES = ("dio1",)

    def __init__(
        self,
        engine: Engine,
        air: Air,
        position_m: tuple[float, float],
        *,
        variant: str,
        tcxo_mv: int | None,
        antenna_gain_db: float,
        keep_states: bool,
    ) -> None:
        super().__init__(
            engine, air, position_m, antenna_gain_db=antenna_gain_db, keep_states=keep_states
        )
        self._variant = variant
        self._tcxo_mv = tcxo_mv
        self._mode = Mode.OFF
        self.forget()

    def forget(self) -> None:
        """Return to what power-on, reset and a cold start leave (DS 9.2, 12.1)."""
        self._registers = dict(ds.REGISTERS_AFTER_RESET)
        self._buffer = bytearray(256)
        self._command_status = ds.STATUS_OK
        self._device_errors = 0
        self._calibrated = 0
        self._image = ds.IMAGE_AFTER_RESET
        self._missing = {
            "SetPacketType": True,
            "SetRfFrequency": True,
            "SetPaConfig": True,
            "SetTxParams": True,
            "SetModulationParams": True,
            "SetPacketParams": True,
            "WriteBuffer": True,
        }
        self._packet_type = 0
        self._freq_hz = 0
        self._pa = (0, 0)
        self._power = 0
        self._ramp = 0
        self._sf, self._bw_hz, self._coding_rate = 7, 125_000, 5
        self._is_low_data_rate = False
        self._preamble, self._payload_length = 8, 0
        self._is_implicit = self._is_crc_on = self._is_iq_inverted = False
        self._tx_base = self._rx_base = 0
        self._stops_on_preamble = False
        self._is_dcdc = False
        self._is_dio2_switch = False
        self._dio3_mv: int | None = None
        self._tcxo_delay_us = 0
        self._fallback = Mode.STBY_RC
        self._irq = self._irq_mask = self._dio1_mask = 0
        self._rx_status = (0, 0)
        self._packet_status = (0, 0, 0)
        self._packets_received = self._packets_damaged = 0

    def forget_registers(self) -> None:
        """Return the registers to their defaults that warm sleep does not keep.

        Settings made by commands stay (DS 9.3), the sync word with them; other registers only
        when they are on the retention list (DS 9.6).
        """
        kept = {ds.REGISTER_SYNC_WORD, ds.REGISTER_SYNC_WORD + 1, ds.REGISTER_SYMBOL_TIMEOUT}
        kept |= {ds.REGISTER_RETENTION_LIST + index for index in range(9)}
        at = ds.REGISTER_RETENTION_LIST + 1
        for index in range(min(self._registers[ds.REGISTER_RETENTION_LIST], 4)):
            high, low = self._registers[at + 2 * index], self._registers[at + 2 * index + 1]
            kept.add(high << 8 | low)
        for address, value in ds.REGISTERS_AFTER_RESET.items():
            if address not in kept:
                self._registers[address] = value

    def setting_handlers(self) -> dict[int, Handler]:
        """List the commands that only set something."""
        return {
            0x9F: self._set_stop_on_preamble,
            0x96: self._set_regulator,
            0x89: self._calibrate,
            0x98: self._calibrate_image,
            0x95: self._set_pa,
            0x93: self._set_fallback,
            0x0D: self._write_registers,
            0x0E: self._write_buffer,
            0x9D: self._set_dio2,
            0x97: self._set_dio3,
            0x86: self._set_frequency,
            0x8A: self._set_packet_type,
            0x8E: self._set_tx_params,
            0x8B: self._set_modulation,
            0x8C: self._set_packet,
            0x8F: self._set_bases,
            0xA0: self._set_symbol_timeout,
            0x07: self._clear_errors,
            0x00: self._reset_stats,
        }

    # ---- what a packet needs ------------------------------------------------------------------

    def _is_ready(self, t_us: int, command: str, *, tx: bool) -> bool:
        """Check what has to come before SetTx or SetRx (DS 14.2, 14.3); note what is missing."""
        needed = ["SetPacketType", "SetRfFrequency", "SetModulationParams", "SetPacketParams"]
        if tx:
            needed += ["SetPaConfig", "SetTxParams", "WriteBuffer"]
        missing = [name for name in needed if self._missing[name]]
        if missing:
            self._refuse(t_us, f"{command} before {', '.join(missing)} (DS 14.2, 14.3)")
            return False
        if self._calibrated & ds.CALIBRATE_FOR_PACKETS != ds.CALIBRATE_FOR_PACKETS:
            self._device_errors |= ds.ERROR_PLL_LOCK
            self._refuse(t_us, f"{command} before Calibrate, which a TCXO needs anew (DS 13.3.6)")
            return False
        if tx and ds.pa_output(*self._pa, self._power, self._variant) is None:
            self._refuse(
                t_us,
                f"SetPaConfig {self._pa} with power {self._power} is not in table 13-21",
            )
            return False
        self._check_packet(t_us, command, tx=tx)
        return True

    def _check_packet(self, t_us: int, command: str, *, tx: bool) -> None:
        """Note what the chip takes and does badly: image, symbols, errata."""
        low, high = (byte * ds.IMAGE_STEP_HZ for byte in self._image)
        if not low <= self._freq_hz <= high or not self._calibrated & ds.CALIBRATE_IMAGE:
            self._violate(
                t_us,
                f"{command} at {self._freq_hz} Hz, image calibrated for {low} to {high} (DS 9.2.1)",
            )
        if self._is_low_data_rate != lora.needs_low_data_rate(self._sf, self._bw_hz):
            self._violate(
                t_us, f"{command} at SF{self._sf} with low-data-rate {self._is_low_data_rate}"
            )
        if bool(self._registers[ds.REGISTER_IQ] & 4) == self._is_iq_inverted:
            self._violate(t_us, f"{command}: bit 2 of 0x0736 is for the other IQ (errata 15.4)")
        if not tx:
            return
        if bool(self._registers[ds.REGISTER_TX_MODULATION] & 4) == (self._bw_hz == 500_000):
            self._violate(t_us, "SetTx: bit 2 of 0x0889 is for the other bandwidth (errata 15.1)")
        if self._registers[ds.REGISTER_TX_CLAMP] & 0x1E != 0x1E:
            self._violate(t_us, "SetTx: 0x08D8 lacks 0x1E (errata 15.2)")

    def _sync_word(self) -> int:
        """Return 0x34 for 0x3444: a nibble and a 4 in each register (DS 12.1)."""
        first = self._registers[ds.REGISTER_SYNC_WORD]
        second = self._registers[ds.REGISTER_SYNC_WORD + 1]
        if first & 0xF == 4 and second & 0xF == 4:
            return first & 0xF0 | second >> 4
        return 0x10000 | first << 8 | second  # nobody else's

    def _time_on_air_us(self, length: int) -> int:
        """Return the duration of a packet with these settings (DS 6.1.4)."""
        return lora.packet_us(
            length,
            self._sf,
            self._bw_hz,
            self._coding_rate,
            self._preamble,
            crc=self._is_crc_on,
            implicit=self._is_implicit,
            low_data_rate=self._is_low_data_rate,
        )

    def _refuse(self, t_us: int, why: str) -> None:
        """Note a command that was understood and is not carried out."""
        self._command_status = ds.STATUS_NOT_EXECUTED
        self._violate(t_us, why)

    def _reject(self, t_us: int, why: str) -> None:
        """Note a command whose parameters make no sense."""
        self._command_status = ds.STATUS_NOT_UNDERSTOOD
        self._violate(t_us, why)

    # ---- the commands ---------------------------------------------------------------------------

    def _set_packet_type(self, params: bytes, t_us: int) -> int | None:
        """SetPacketType (DS 13.4.2): the first step; it forgets the packet's other settings."""
        self._packet_type = params[0]
        if params[0] != _LORA:
            self._reject(t_us, f"SetPacketType {params[0]}: only LoRa is modelled")
            return None
        self._missing["SetPacketType"] = False
        self._missing["SetModulationParams"] = self._missing["SetPacketParams"] = True
        return None

    def _set_frequency(self, params: bytes, t_us: int) -> int | None:
        """SetRfFrequency (DS 13.4.1)."""
        steps = int.from_bytes(params, "big")
        self._freq_hz = round(steps * 32_000_000 / (1 << 25))
        low_mhz, high_mhz = ds.RANGE_MHZ[self._variant]
        if not low_mhz * 1_000_000 <= self._freq_hz <= high_mhz * 1_000_000:
            self._reject(
                t_us,
                f"SetRfFrequency {self._freq_hz} Hz: {low_mhz} to {high_mhz} MHz (DS 3.5)",
            )
            return None
        self._missing["SetRfFrequency"] = False
        return None

    def _set_modulation(self, params: bytes, t_us: int) -> int | None:
        """SetModulationParams for LoRa (DS 13.4.5.2)."""
        if self._missing["SetPacketType"]:
            self._reject(t_us, "SetModulationParams before SetPacketType (DS 13.4.2)")
            return None
        sf, bandwidth, coding_rate, low_data_rate = params[:4]
        bw_hz = ds.BANDWIDTH_HZ.get(bandwidth)
        if not 5 <= sf <= 12 or bw_hz is None or not 1 <= coding_rate <= 4 or low_data_rate > 1:
            self._reject(t_us, f"SetModulationParams {params.hex()} (DS 13.4.5.2)")
            return None
        self._sf, self._bw_hz, self._coding_rate = sf, bw_hz, coding_rate + 4
        self._is_low_data_rate = bool(low_data_rate)
        self._missing["SetModulationParams"] = False
        return None

    def _set_packet(self, params: bytes, t_us: int) -> int | None:
        """SetPacketParams for LoRa (DS 13.4.6.2)."""
        if self._missing["SetPacketType"]:
            self._reject(t_us, "SetPacketParams before SetPacketType (DS 13.4.2)")
            return None
        self._preamble = int.from_bytes(params[:2], "big")
        is_implicit, self._payload_length, is_crc_on, is_iq_inverted = params[2:6]
        if not self._preamble or max(is_implicit, is_crc_on, is_iq_inverted) > 1:
            self._reject(t_us, f"SetPacketParams {params.hex()} (DS 13.4.6.2)")
            return None
        self._is_implicit, self._is_crc_on = bool(is_implicit), bool(is_crc_on)
        self._is_iq_inverted = bool(is_iq_inverted)
        self._missing["SetPacketParams"] = False
        return None

    def _set_pa(self, params: bytes, t_us: int) -> int | None:
        """SetPaConfig (DS 13.1.14): deviceSel is 0 on an SX1262, paLut 1; it resets the OCP."""
        if params[2:] != b"\0\1" or params[0] > 4 or params[1] > 7:
            self._reject(t_us, f"SetPaConfig {params.hex()} on an SX1262 (DS 13.1.14)")
            return None
        self._pa = (params[0], params[1])
        self._registers[ds.REGISTER_OCP] = 0x38
        self._missing["SetPaConfig"] = False
        return None

    def _set_tx_params(self, params: bytes, t_us: int) -> int | None:
        """SetTxParams (DS 13.4.4): -9 to 22, ramp 0 to 7, after SetPaConfig."""
        power = params[0] - 256 if params[0] > 127 else params[0]
        if not -9 <= power <= 22 or params[1] > 7:
            self._reject(t_us, f"SetTxParams {power} dBm, ramp {params[1]} (DS 13.4.4)")
            return None
        if self._missing["SetPaConfig"]:
            self._violate(t_us, "SetTxParams before SetPaConfig (DS 14.2)")
        self._power, self._ramp = power, params[1]
        self._missing["SetTxParams"] = False
        return None

    def _set_fallback(self, params: bytes, t_us: int) -> int | None:
        """SetRxTxFallbackMode (DS 13.1.15)."""
        fallback = _FALLBACKS.get(params[0])
        if fallback is None:
            self._reject(t_us, f"SetRxTxFallbackMode {params[0]:#04x} (DS 13.1.15)")
        else:
            self._fallback = fallback
        return None

    def _set_regulator(self, params: bytes, _t_us: int) -> int | None:
        """SetRegulatorMode (DS 13.1.11)."""
        self._is_dcdc = bool(params[0])
        return None

    def _set_dio2(self, params: bytes, _t_us: int) -> int | None:
        """SetDIO2AsRfSwitchCtrl (DS 13.3.5)."""
        self._is_dio2_switch = bool(params[0])
        return None

    def _set_dio3(self, params: bytes, t_us: int) -> int | None:
        """SetDIO3AsTcxoCtrl (DS 13.3.6): voltage, and the delay at each start of the TCXO."""
        if params[0] > 7:
            self._reject(t_us, f"SetDIO3AsTcxoCtrl {params[0]} (DS 13.3.6)")
            return None
        self._dio3_mv = ds.TCXO_MV[params[0]]
        self._tcxo_delay_us = round(int.from_bytes(params[1:], "big") * ds.TIMER_STEP_US)
        if self._tcxo_mv is None:
            self._violate(t_us, "SetDIO3AsTcxoCtrl on a board with a crystal")
        elif self._dio3_mv != self._tcxo_mv:
            self._violate(t_us, f"DIO3 at {self._dio3_mv} mV, the TCXO is for {self._tcxo_mv} mV")
        return None

    def _calibrate(self, params: bytes, t_us: int) -> int | None:
        """Calibrate (DS 13.1.12)."""
        blocks = params[0] & ds.CALIBRATE_ALL
        delay_us = 0
        if blocks & ds.CALIBRATE_WITH_XOSC and self._tcxo_mv is not None:
            delay_us = self._tcxo_delay_us
            if self._dio3_mv is None or self._dio3_mv < self._tcxo_mv:
                self._device_errors |= ds.ERROR_XOSC_START | ds.ERROR_PLL_CALIBRATION
                self._refuse(t_us, "Calibrate before SetDIO3AsTcxoCtrl feeds the TCXO")
                return 0
        self._calibrated |= blocks
        if blocks & ds.CALIBRATE_IMAGE:
            self._image = ds.IMAGE_AFTER_RESET
        return delay_us + ds.CALIBRATE_ALL_US * blocks.bit_count() // 7

    def _calibrate_image(self, params: bytes, t_us: int) -> int | None:
        """CalibrateImage (DS 13.1.13, 9.2.1)."""
        delay_us = 0
        if self._tcxo_mv is not None:
            if self._dio3_mv is None or self._dio3_mv < self._tcxo_mv:
                self._device_errors |= ds.ERROR_XOSC_START | ds.ERROR_IMAGE_CALIBRATION
                self._refuse(t_us, "CalibrateImage before SetDIO3AsTcxoCtrl feeds the TCXO")
                return 0
            delay_us = self._tcxo_delay_us
        if (params[0], params[1]) not in ds.IMAGE_BANDS:
            self._reject(t_us, f"CalibrateImage {params.hex()} (DS 9.2.1)")
            return None
        self._image = (params[0], params[1])
        self._calibrated |= ds.CALIBRATE_IMAGE
        return delay_us + ds.CALIBRATE_IMAGE_US

    def _write_registers(self, params: bytes, _t_us: int) -> int | None:
        """WriteRegister (DS 13.2.1)."""
        address = int.from_bytes(params[:2], "big")
        for index, value in enumerate(params[2:]):
            self._registers[address + index] = value
        return None

    def _write_buffer(self, params: bytes, _t_us: int) -> int | None:
        """WriteBuffer (DS 13.2.3): the offset wraps at 256."""
        for index, value in enumerate(params[1:]):
            self._buffer[(params[0] + index) & 0xFF] = value
        self._missing["WriteBuffer"] = False
        return None

    def _set_bases(self, params: bytes, _t_us: int) -> int | None:
        """SetBufferBaseAddress (DS 13.4.8)."""
        self._tx_base, self._rx_base = params
        return None

    def _set_symbol_timeout(self, params: bytes, t_us: int) -> int | None:
        """SetLoRaSymbNumTimeout (DS 13.4.9), kept as mantissa and exponent as LoRaMac-node does."""
        if params[0] > 248:
            self._violate(t_us, f"SetLoRaSymbNumTimeout {params[0]}: 248 at most (DS 13.4.9)")
        mantissa, exponent = (params[0] + 1) >> 1, 0
        while mantissa > 31:
            mantissa, exponent = (mantissa + 3) >> 2, exponent + 1
        self._registers[ds.REGISTER_SYMBOL_TIMEOUT] = mantissa << 3 | exponent
        return None

    def _symbol_timeout(self) -> int:
        """Return after how many symbols without a preamble reception ends, 0 for never."""
        value = self._registers[ds.REGISTER_SYMBOL_TIMEOUT]
        return value >> 3 << (2 * (value & 7) + 1)

    def _set_stop_on_preamble(self, params: bytes, _t_us: int) -> int | None:
        """StopTimerOnPreamble (DS 13.1.6)."""
        self._stops_on_preamble = bool(params[0])
        return None

    def _clear_errors(self, _params: bytes, _t_us: int) -> int | None:
        """ClearDeviceErrors (DS 13.6.2)."""
        self._device_errors = 0
        return None

    def _reset_stats(self, _params: bytes, _t_us: int) -> int | None:
        """ResetStats (DS 13.5.6)."""
        self._packets_received = self._packets_damaged = 0
        return None
