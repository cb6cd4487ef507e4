"""The SX1276's modes in LoRa: asleep, in standby, transmitting, receiving, and their interrupts.

The part of the model that meets the engine and the air; sx1276.py has the drawing and the pins.
"""

from stoep_hardware.air import Air, Frame, Listen
from stoep_hardware.engine import Engine, Handle

from . import lora
from . import sx1276_tables as ds
from .sx1276_tables import Mode
from .transceiver import Transceiver, clip, garbled

# What the way past an amplifier costs whose pin has no antenna.
_WRONG_PIN_LOSS_DB = 40.0
# How far from where it was calibrated the image is rejected no more, as a share of the frequency.
_IMAGE_SHARE = 0.25


class Modes(Transceiver):
    """What the chip does over time, and the air it does it on."""

    LINES = ("dio0", "dio1")

    def __init__(
        self,
        engine: Engine,
        air: Air,
        position_m: tuple[float, float],
        *,
        variant: str,
        pa_boost: bool,
        tcxo: bool,
        antenna_gain_db: float,
        keep_states: bool,
    ) -> None:
        super().__init__(
            engine, air, position_m, antenna_gain_db=antenna_gain_db, keep_states=keep_states
        )
        self._range_hz = ds.RANGE_HZ[variant]
        self._is_antenna_at_boost = pa_boost
        self._has_tcxo = tcxo
        self._mode = Mode.OFF
        self._mode_since_us = 0
        self._symbol_timer: Handle | None = None
        self.forget()

    def forget(self) -> None:
        """Return to what power-on and reset leave."""
        self._common = dict(ds.COMMON_AFTER_RESET)
        self._lora = dict(ds.LORA_AFTER_RESET)
        self._fsk = dict(ds.FSK_AFTER_RESET)
        self._buffer = bytearray(256)
        self._is_filled = False
        self._image_hz = 434_000_000.0
        self._image_until_us = 0

    @property
    def _is_lora(self) -> bool:
        return bool(self._common[ds.OP_MODE] & ds.LONG_RANGE)

    @property
    def _freq_hz(self) -> int:
        high, mid, low = (self._common[ds.FRF + at] for at in range(3))
        return round((high << 16 | mid << 8 | low) * ds.FREQ_STEP_HZ)

    @property
    def _bw_hz(self) -> int | None:
        return ds.BANDWIDTH_HZ.get(self._lora[ds.MODEM_CONFIG_1] >> 4)

    @property
    def _sf(self) -> int:
        return self._lora[ds.MODEM_CONFIG_2] >> 4

    @property
    def _is_implicit(self) -> bool:
        return bool(self._lora[ds.MODEM_CONFIG_1] & 1)

    @property
    def _is_low_data_rate(self) -> bool:
        return bool(self._lora[ds.MODEM_CONFIG_3] & 8)

    def _enter(self, mode: Mode, t_us: int, current_ua: float | None = None) -> None:
        self._mode = mode
        self._mode_since_us = t_us
        number = next((n for n, of in ds.MODES.items() if of is mode), 0)
        self._common[ds.OP_MODE] = self._common[ds.OP_MODE] & 0xF8 | number
        if current_ua is None:
            is_low_port = self._freq_hz < ds.LOW_PORT_BELOW_HZ
            is_boosted = self._common[ds.LNA] & 3 == 3
            current_ua = ds.current_ua(mode, is_low_port=is_low_port, is_boosted=is_boosted)
        self.log.enter(t_us, mode.value, current_ua)

    def _lose_everything(self, t_us: int) -> None:
        self._stop(t_us)
        self.forget()
        self._show(t_us)

    def _stop(self, t_us: int) -> None:
        """End what the chip transmits or receives."""
        self._stop_sending(t_us, sending=self._mode is Mode.TX)
        self._leave_rx(t_us)

    def _leave_rx(self, t_us: int) -> None:
        super()._leave_rx(t_us)
        self._symbol_timer = None

    def _change_mode(self, mode: Mode, t_us: int) -> None:
        """RegOpMode was written with another mode, or the same of those that do something."""
        if self._mode is Mode.TX:
            self._violate(t_us, f"{mode} cuts a frame off")
        self._stop(t_us)
        start_us = t_us + ds.SYNTHESIZER_US
        if self._mode is Mode.SLEEP:
            start_us += ds.OSCILLATOR_US
        if not self._is_lora and mode not in (Mode.SLEEP, Mode.STANDBY):
            self._violate(t_us, f"{mode} with the FSK modem, which is not modelled")
        elif mode is Mode.TX:
            self._transmit(start_us + ds.TX_RAMP_US, t_us)
        elif mode is Mode.RX_SINGLE:
            self._receive(start_us + ds.RX_START_US, t_us)
        else:
            if mode is Mode.SLEEP:  # DS 4.1.2.3: the FIFO is cleared and out of reach
                self._buffer = bytearray(256)
                self._is_filled = False
            self._enter(mode, t_us)

    # ---- what a packet needs --------------------------------------------------------------------

    def _is_ready(self, t_us: int, what: str) -> bool:
        """Tell whether the modem can do anything with these settings; note what it does badly."""
        bw_hz, freq_hz = self._bw_hz, self._freq_hz
        if bw_hz is None or not 7 <= self._sf <= 12:
            self._violate(t_us, f"{what} at SF{self._sf}, bandwidth {bw_hz}: not of LoRaWAN")
            return False
        low, high = self._range_hz
        if not low <= freq_hz <= high:
            self._violate(t_us, f"{what} at {freq_hz} Hz, the chip is made for {low} to {high}")
            return False
        if self._has_tcxo != bool(self._common[ds.TCXO] & 0x10):
            self._violate(t_us, f"{what}: bit 4 of RegTcxo does not fit the oscillator (DS 4.3)")
            if self._has_tcxo:
                return False
        if t_us < self._image_until_us:
            self._violate(t_us, f"{what} while the image is calibrated (DS 4.2.3.8)")
            return False
        if self._is_low_data_rate != lora.needs_low_data_rate(self._sf, bw_hz):
            self._violate(t_us, f"{what} at SF{self._sf}, low-data-rate {self._is_low_data_rate}")
        if self._lora[ds.DETECT_OPTIMIZE] & 7 != 3 or self._lora[ds.DETECTION_THRESHOLD] != 0x0A:
            self._violate(t_us, f"{what}: detection is set for SF6 (DS 4.1.1.2)")
        return True

    def _check_reception(self, t_us: int, bw_hz: int) -> None:
        """Note what makes the receiver worse than it is."""
        freq_hz, values = self._freq_hz, self._lora
        if abs(freq_hz - self._image_hz) > _IMAGE_SHARE * freq_hz:
            self._violate(
                t_us,
                f"reception at {freq_hz} Hz, image calibrated at {self._image_hz:.0f} (DS 4.2.3.8)",
            )
        is_wide = bw_hz == 500_000
        best = (2, 0x7F if freq_hz < ds.LOW_PORT_BELOW_HZ else 0x64)
        if is_wide and (values[ds.HIGH_BW_1], values[ds.HIGH_BW_2]) != best:
            self._violate(t_us, "reception at 500 kHz without 0x36 and 0x3A set (errata 2.1)")
        if not is_wide and values[ds.HIGH_BW_1] != 3:
            self._violate(t_us, "reception below 500 kHz with 0x36 changed (errata 2.1)")
        is_automatic = bool(values[ds.DETECT_OPTIMIZE] & 0x80)
        is_fixed = (values[ds.IF_FREQ_1], values[ds.IF_FREQ_2]) == (0x40, 0x00)
        if is_automatic != is_wide or not (is_wide or is_fixed):
            self._violate(t_us, "reception with the wrong IF: 0x31, 0x2F, 0x30 (errata 2.3)")
        is_inverted = bool(values[ds.INVERT_IQ] & 0x40)
        if values[ds.INVERT_IQ_2] != (0x19 if is_inverted else 0x1D):
            self._violate(t_us, "reception: RegInvertIQ2 is for the other IQ (DS 6.4)")

    # ---- transmitting ---------------------------------------------------------------------------

    def _transmit(self, start_us: int, t_us: int) -> None:
        output = ds.pa_output_dbm(self._common[ds.PA_CONFIG], self._common[ds.PA_DAC])
        bw_hz = self._bw_hz
        ready = self._is_ready(t_us, "TX")
        if output is None:
            self._violate(t_us, "TX by RFO with RegPaDac set for 20 dBm (DS 5.4.3)")
        if not self._is_filled:
            self._violate(t_us, "TX with nothing in the FIFO since it slept (DS 4.1.2.3)")
        if not ready or output is None or not self._is_filled or bw_hz is None:
            self._enter(Mode.STANDBY, t_us)
            return
        power_dbm, is_boost = output
        chip_ua = ds.tx_current_ua(power_dbm, boost=is_boost)
        limit_ua = ds.ocp_ua(self._common[ds.OCP])
        if limit_ua is not None and chip_ua - ds.SYNTHESIZER_UA > limit_ua:
            self._violate(t_us, f"TX at {power_dbm} dBm: OCP limits it to {limit_ua} uA (DS 5.4.4)")
            power_dbm = 17.0
        if is_boost != self._is_antenna_at_boost:
            power_dbm -= _WRONG_PIN_LOSS_DB
        frame = self._frame(start_us, power_dbm, bw_hz)
        self._tx_end_us = frame.end_us
        self._send(frame)
        self._engine.at(self._tx_end_us, lambda: self._advance(self._engine.now_us))
        self._enter(Mode.TX, t_us, chip_ua)

    def _frame(self, start_us: int, power_dbm: float, bw_hz: int) -> Frame:
        values = self._lora
        base, length = values[ds.FIFO_TX_BASE], values[ds.PAYLOAD_LENGTH]
        payload = bytes(self._buffer[(base + at) & 0xFF] for at in range(length))
        coding_rate = (values[ds.MODEM_CONFIG_1] >> 1 & 7) + 4
        crc_on = bool(values[ds.MODEM_CONFIG_2] & 4)
        preamble = values[ds.PREAMBLE] << 8 | values[ds.PREAMBLE + 1]
        duration_us = lora.packet_us(
            length,
            self._sf,
            bw_hz,
            coding_rate,
            preamble,
            crc=crc_on,
            implicit=self._is_implicit,
            low_data_rate=self._is_low_data_rate,
        )
        if self._is_low_data_rate != lora.needs_low_data_rate(self._sf, bw_hz):
            payload = garbled(payload)
        return Frame(
            freq_hz=self._freq_hz,
            sf=self._sf,
            bw_hz=bw_hz,
            coding_rate=coding_rate,
            sync_word=values[ds.SYNC_WORD],
            iq_inverted=not values[ds.INVERT_IQ] & 1,
            crc_on=crc_on,
            preamble=preamble,
            implicit=self._is_implicit,
            power_dbm=power_dbm + self._antenna_gain_db,
            payload=payload,
            start_us=start_us,
            end_us=start_us + duration_us,
        )

    def _advance(self, t_us: int) -> None:
        """Let a transmission end that is over by `t_us`."""
        if self._mode is not Mode.TX or t_us < self._tx_end_us:
            return
        self.frames_sent += 1
        self._enter(Mode.STANDBY, self._tx_end_us)
        self._raise(ds.IRQ_TX_DONE, self._tx_end_us)

    # ---- receiving ------------------------------------------------------------------------------

    def _receive(self, start_us: int, t_us: int) -> None:
        bw_hz = self._bw_hz
        if not self._is_ready(t_us, "RX") or bw_hz is None:
            self._enter(Mode.STANDBY, t_us)
            return
        self._check_reception(t_us, bw_hz)
        values = self._lora
        symbols = (values[ds.MODEM_CONFIG_2] & 3) << 8 | values[ds.SYMBOL_TIMEOUT]
        if symbols < ds.SYMBOL_TIMEOUT_LEAST:
            self._violate(t_us, f"RX for {symbols} symbols: at least 4 (DS 4.1.5)")
            symbols = ds.SYMBOL_TIMEOUT_LEAST
        listen = Listen(
            self._freq_hz,
            self._sf,
            bw_hz,
            values[ds.SYNC_WORD],
            bool(values[ds.INVERT_IQ] & 0x40),
            self._is_implicit,
        )
        self._in_rx(start_us, lambda: self._start_listening(listen))
        wait_us = round(symbols * (1 << self._sf) * 1e6 / bw_hz)
        self._symbol_timer = self._in_rx(start_us + wait_us, self._on_symbol_timeout)
        self._enter(Mode.RX_SINGLE, t_us)

    def _on_symbol_timeout(self) -> None:
        t_us = self._engine.now_us
        self._leave_rx(t_us)
        self._enter(Mode.STANDBY, t_us)
        self._raise(ds.IRQ_RX_TIMEOUT, t_us)

    def on_preamble(self, frame: Frame, t_us: int) -> None:
        """Lock on a frame: the symbol timeout is over, and nothing else ends a false one."""
        if self._mode is not Mode.RX_SINGLE:
            return
        self._locked = frame
        if self._symbol_timer is not None:
            self._symbol_timer.cancel()
        self._expect_header(frame, t_us, self._on_header)

    def _on_header(self) -> None:
        self._raise(ds.IRQ_VALID_HEADER, self._engine.now_us)

    def on_frame(
        self, frame: Frame, intact: bool, rssi_dbm: float, snr_db: float, t_us: int
    ) -> None:
        """Take a frame into the FIFO at its end (DS 4.1.6)."""
        if self._mode is not Mode.RX_SINGLE or self._locked is None:
            return
        payload = frame.payload
        if intact and self._is_low_data_rate != lora.needs_low_data_rate(frame.sf, frame.bw_hz):
            intact = False
            payload = garbled(payload)
        values = self._lora
        base = values[ds.FIFO_RX_BASE]
        for at, byte in enumerate(payload):
            self._buffer[(base + at) & 0xFF] = byte
        values[ds.FIFO_RX_CURRENT] = base
        values[ds.FIFO_RX_BYTE] = (base + len(payload)) & 0xFF
        values[ds.RX_BYTES] = len(payload)
        offset_db = 164 if frame.freq_hz < ds.LOW_PORT_BELOW_HZ else 157
        rssi_dbm += self._antenna_gain_db - min(0.0, snr_db)  # DS 5.5.5
        values[ds.PACKET_RSSI] = clip(round(rssi_dbm + offset_db), 0, 255)
        values[ds.PACKET_SNR] = clip(round(4 * snr_db), -128, 127) & 0xFF
        flags = ds.IRQ_RX_DONE
        if frame.crc_on and not intact:
            flags |= ds.IRQ_CRC_ERROR
        elif intact:
            self.frames_received += 1
        self._leave_rx(t_us)
        self._enter(Mode.STANDBY, t_us)
        self._raise(flags, t_us)

    # ---- interrupts -----------------------------------------------------------------------------

    def _raise(self, flags: int, t_us: int) -> None:
        self._lora[ds.IRQ_FLAGS] |= flags & ~self._lora[ds.IRQ_MASK]
        self._show(t_us)

    def _show(self, t_us: int) -> None:
        """Let DIO0 and DIO1 follow the flags that they are mapped to."""
        flags = self._lora[ds.IRQ_FLAGS] if self._is_lora else 0
        mapping = self._common[ds.DIO_MAPPING]
        self._set_line("dio0", bool(flags & ds.DIO0.get(mapping >> 6, 0)), t_us)
        self._set_line("dio1", bool(flags & ds.DIO1.get(mapping >> 4 & 3, 0)), t_us)
