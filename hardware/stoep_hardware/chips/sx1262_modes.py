"""The SX1262's modes: asleep, in standby, transmitting, receiving, and the interrupts they raise.

The part of the model that meets the engine and the air; sx1262.py has the drawing and the pins.
"""

from stoep_hardware.air import Air, Frame, Listen
from stoep_hardware.engine import Engine, Handle

from . import lora
from . import sx1262_tables as ds
from .sx1262_settings import Handler, Settings
from .sx1262_tables import Mode
from .transceiver import clip, garbled

_SINGLE = 0x000000
_CONTINUOUS = 0xFFFFFF
# What an antenna switch in the wrong position costs.
_SWITCH_LOSS_DB = 40.0
# Errata 15.4 speaks of "longer packets"; the shortest frame of LoRaWAN, 12 bytes, gets through.
_ERRATA_IQ_BYTES = 12


class Modes(Settings):
    """What the chip does over time, and the air it does it on."""

    def __init__(
        self,
        engine: Engine,
        air: Air,
        position_m: tuple[float, float],
        *,
        variant: str,
        tcxo_mv: int | None,
        dio2_switch: bool,
        antenna_gain_db: float,
        keep_states: bool,
    ) -> None:
        super().__init__(
            engine,
            air,
            position_m,
            variant=variant,
            tcxo_mv=tcxo_mv,
            antenna_gain_db=antenna_gain_db,
            keep_states=keep_states,
        )
        self._has_dio2_switch = dio2_switch
        self._busy_until_us = 0
        self._sleep_since_us = 0
        self._is_tx_cut = False
        self._rx_timer: Handle | None = None
        self._symbol_timer: Handle | None = None
        self._is_continuous = False
        self._rx_pointer = 0

    def mode_handlers(self) -> dict[int, Handler]:
        """List the commands that change the mode or the interrupts."""
        return {
            0x84: self._set_sleep,
            0x80: self._set_standby,
            0xC1: self._set_fs,
            0x83: self._set_tx,
            0x82: self._set_rx,
            0x08: self._set_dio_irq,
            0x02: self._clear_irq,
        }

    def _enter(self, mode: Mode, t_us: int, current_ua: float | None = None) -> None:
        self._mode = mode
        if current_ua is None:
            current_ua = ds.current_ua(
                mode,
                is_dcdc=self._is_dcdc,
                is_boosted=self._registers[ds.REGISTER_RX_GAIN] == ds.RX_BOOSTED,
            )
        self.log.enter(t_us, mode.value, current_ua)

    def _start(self, t_us: int, duration_us: int) -> None:
        """Power-on, reset or cold start: calibrate what can be calibrated (DS 9.2)."""
        self._busy_until_us = t_us + duration_us
        self._calibrated = ds.CALIBRATE_ALL
        if self._tcxo_mv is not None:  # DIO3 does not feed it yet (DS 13.3.6)
            self._calibrated &= ~ds.CALIBRATE_WITH_XOSC
            self._device_errors |= ds.ERROR_XOSC_START
        self._enter(Mode.STBY_RC, t_us)

    def _lose_everything(self, t_us: int) -> None:
        self._stop(t_us)
        self.forget()
        self._set_dio1(t_us)

    def _stop(self, t_us: int) -> None:
        """End what the chip transmits or receives."""
        self._stop_sending(t_us, sending=self._mode is Mode.TX)
        self._leave_rx(t_us)

    def _set_sleep(self, params: bytes, t_us: int) -> int | None:
        """SetSleep (DS 13.1.1, 9.3): the buffer is lost, and without bit 2 everything."""
        is_warm = bool(params[0] & 4)
        if is_warm:
            self._buffer = bytearray(256)
            self._missing["WriteBuffer"] = True
        else:
            self._lose_everything(t_us)
        self._sleep_since_us = t_us
        self._enter(Mode.SLEEP_WARM if is_warm else Mode.SLEEP_COLD, t_us)
        return 0

    def _wake(self, t_us: int) -> None:
        """NSS fell while asleep (DS 8.2.2)."""
        if t_us < self._sleep_since_us + ds.SLEEP_ENTRY_US:
            self._violate(t_us, "NSS falls within 500 us of SetSleep (DS 9.3)")
        if self._mode is Mode.SLEEP_COLD:
            self._start(t_us, ds.COLD_START_US)
            return
        self.forget_registers()
        self._busy_until_us = t_us + ds.WARM_START_US
        self._enter(Mode.STBY_RC, t_us)

    def _start_xosc(self, t_us: int) -> int | None:
        """Return how long the oscillator takes, None when it cannot start (DS 13.3.6)."""
        if self._tcxo_mv is None or self._mode is not Mode.STBY_RC:
            return 0
        if self._dio3_mv is None or self._dio3_mv < self._tcxo_mv:
            self._device_errors |= ds.ERROR_XOSC_START
            self._refuse(
                t_us, f"the TCXO needs {self._tcxo_mv} mV, DIO3 gives {self._dio3_mv} (DS 13.3.6)"
            )
            return None
        return self._tcxo_delay_us

    def _set_standby(self, params: bytes, t_us: int) -> int | None:
        """SetStandby (DS 13.1.2)."""
        if self._mode is Mode.TX:
            self._violate(t_us, "SetStandby cuts a frame off")
        busy_us, target = ds.TO_STANDBY_US, Mode.STBY_RC
        if params[0] == 1:
            delay_us = self._start_xosc(t_us)
            if delay_us is None:
                return 0
            busy_us, target = delay_us + ds.TO_XOSC_US, Mode.STBY_XOSC
        self._stop(t_us)
        self._enter(target, t_us)
        return busy_us

    def _set_fs(self, _params: bytes, t_us: int) -> int | None:
        """SetFs (DS 13.1.3)."""
        delay_us = self._start_xosc(t_us)
        if delay_us is None:
            return 0
        busy_us = delay_us + ds.TO_FS_US[self._mode]
        self._stop(t_us)
        self._enter(Mode.FS, t_us)
        return busy_us

    # ---- transmitting -------------------------------------------------------------------------

    def _set_tx(self, params: bytes, t_us: int) -> int | None:
        """SetTx (DS 13.1.4): BUSY falls when the preamble begins."""
        if not self._is_ready(t_us, "SetTx", tx=True):
            return 0
        delay_us = self._start_xosc(t_us)
        output = ds.pa_output(*self._pa, self._power, self._variant)
        if delay_us is None or output is None:
            return 0
        power_dbm, current_ua = output
        busy_us = delay_us + ds.TO_TX_US[self._mode] + ds.RAMP_US[self._ramp]
        self._stop(t_us)
        start_us = t_us + busy_us
        frame = self._frame(start_us, power_dbm)
        timeout_us = round(int.from_bytes(params, "big") * ds.TIMER_STEP_US)
        self._is_tx_cut = 0 < timeout_us < frame.end_us - start_us
        self._tx_end_us = start_us + timeout_us if self._is_tx_cut else frame.end_us
        if self._is_tx_cut:
            self._violate(t_us, "SetTx with a timeout shorter than the frame")
        else:
            self._send(frame)
        self._engine.at(self._tx_end_us, lambda: self._advance(self._engine.now_us))
        self._enter(Mode.TX, t_us, current_ua)
        return busy_us

    def _frame(self, start_us: int, power_dbm: float) -> Frame:
        base = self._tx_base
        payload = bytes(self._buffer[(base + n) & 0xFF] for n in range(self._payload_length))
        if self._is_low_data_rate != lora.needs_low_data_rate(self._sf, self._bw_hz):
            payload = garbled(payload)  # nobody decodes it
        power_dbm += self._antenna_gain_db - (0.0 if self._is_switch_right() else _SWITCH_LOSS_DB)
        return Frame(
            freq_hz=self._freq_hz,
            sf=self._sf,
            bw_hz=self._bw_hz,
            coding_rate=self._coding_rate,
            sync_word=self._sync_word(),
            iq_inverted=self._is_iq_inverted,
            crc_on=self._is_crc_on,
            preamble=self._preamble,
            implicit=self._is_implicit,
            power_dbm=power_dbm,
            payload=payload,
            start_us=start_us,
            end_us=start_us + self._time_on_air_us(len(payload)),
        )

    def _is_switch_right(self) -> bool:
        return self._is_dio2_switch or not self._has_dio2_switch

    def _advance(self, t_us: int) -> None:
        """Let a transmission end that is over by `t_us`."""
        if self._mode is not Mode.TX or t_us < self._tx_end_us:
            return
        if not self._is_tx_cut:
            self.frames_sent += 1
        self._enter(self._fallback, self._tx_end_us)
        self._command_status = ds.STATUS_TIMEOUT if self._is_tx_cut else ds.STATUS_TX_DONE
        self._raise_irq(ds.IRQ_TIMEOUT if self._is_tx_cut else ds.IRQ_TX_DONE, self._tx_end_us)

    # ---- receiving ----------------------------------------------------------------------------

    def _set_rx(self, params: bytes, t_us: int) -> int | None:
        """SetRx (DS 13.1.5): for one packet, with or without a timer, or until told otherwise."""
        if not self._is_ready(t_us, "SetRx", tx=False):
            return 0
        delay_us = self._start_xosc(t_us)
        if delay_us is None:
            return 0
        busy_us = delay_us + ds.TO_RX_US[self._mode]
        self._stop(t_us)
        start_us = t_us + busy_us
        timeout = int.from_bytes(params, "big")
        self._is_continuous = timeout == _CONTINUOUS
        self._rx_pointer = self._rx_base
        if self._is_switch_right():
            listen = Listen(
                self._freq_hz,
                self._sf,
                self._bw_hz,
                self._sync_word(),
                self._is_iq_inverted,
                self._is_implicit,
            )
            self._in_rx(start_us, lambda: self._start_listening(listen))
        if timeout not in (_SINGLE, _CONTINUOUS):
            self._rx_timer = self._in_rx(
                start_us + round(timeout * ds.TIMER_STEP_US), self._on_rx_timeout
            )
        symbols = self._symbol_timeout()
        if symbols and not self._is_continuous:
            symbols_us = symbols * (1 << self._sf) * 1e6 / self._bw_hz
            self._symbol_timer = self._in_rx(start_us + round(symbols_us), self._on_rx_timeout)
        self._enter(Mode.RX, t_us)
        return busy_us

    def _leave_rx(self, t_us: int) -> None:
        super()._leave_rx(t_us)
        self._rx_timer = self._symbol_timer = None

    def _on_rx_timeout(self) -> None:
        t_us = self._engine.now_us
        self._leave_rx(t_us)
        self._enter(self._fallback, t_us)
        self._command_status = ds.STATUS_TIMEOUT
        self._raise_irq(ds.IRQ_TIMEOUT, t_us)

    def on_preamble(self, frame: Frame, t_us: int) -> None:
        """Lock on a frame: the symbol timeout is over, the timer perhaps (DS 13.1.6)."""
        if self._mode is not Mode.RX:
            return
        self._locked = frame
        if self._symbol_timer is not None:
            self._symbol_timer.cancel()
        if self._stops_on_preamble and self._rx_timer is not None:
            self._rx_timer.cancel()
        self._expect_header(frame, t_us, self._on_header)
        self._raise_irq(ds.IRQ_PREAMBLE, t_us)

    def _on_header(self) -> None:
        if self._rx_timer is not None:
            self._rx_timer.cancel()
        self._raise_irq(ds.IRQ_HEADER_VALID, self._engine.now_us)

    def on_frame(
        self, frame: Frame, intact: bool, rssi_dbm: float, snr_db: float, t_us: int
    ) -> None:
        """Take a frame into the buffer at its end (DS 9.6, 14.3)."""
        if self._mode is not Mode.RX or self._locked is None:
            return
        self._locked = None
        payload = frame.payload
        if intact and not self._can_decode(frame):
            intact = False
            payload = garbled(payload)
        rssi_dbm += self._antenna_gain_db
        self._packet_status = (
            clip(round(-2 * rssi_dbm), 0, 255),
            clip(round(4 * snr_db), -128, 127) & 0xFF,
            clip(round(-2 * (rssi_dbm + min(snr_db, 0.0))), 0, 255),
        )
        self._rx_status = (len(payload), self._rx_pointer)
        for byte in payload:
            self._buffer[self._rx_pointer] = byte
            self._rx_pointer = (self._rx_pointer + 1) & 0xFF
        irq = ds.IRQ_RX_DONE
        self._packets_received += 1
        if frame.crc_on and not intact:
            irq |= ds.IRQ_CRC_ERROR
            self._packets_damaged += 1
        elif intact:
            self.frames_received += 1
        self._command_status = ds.STATUS_DATA_AVAILABLE
        if not self._is_continuous:
            self._leave_rx(t_us)
            self._enter(self._fallback, t_us)
        self._raise_irq(irq, t_us)

    def _can_decode(self, frame: Frame) -> bool:
        if self._is_low_data_rate != lora.needs_low_data_rate(frame.sf, frame.bw_hz):
            return False
        has_wrong_bit = bool(self._registers[ds.REGISTER_IQ] & 4) == self._is_iq_inverted
        return not (has_wrong_bit and frame.iq_inverted and len(frame.payload) > _ERRATA_IQ_BYTES)

    # ---- interrupts ---------------------------------------------------------------------------

    def _set_dio_irq(self, params: bytes, t_us: int) -> int | None:
        """SetDioIrqParams (DS 13.3.1); DIO2 and DIO3 have other work here."""
        self._irq_mask = int.from_bytes(params[0:2], "big")
        self._dio1_mask = int.from_bytes(params[2:4], "big")
        self._set_dio1(t_us)
        return None

    def _clear_irq(self, params: bytes, t_us: int) -> int | None:
        """ClearIrqStatus (DS 13.3.3)."""
        self._irq &= ~int.from_bytes(params, "big")
        self._set_dio1(t_us)
        return None

    def _raise_irq(self, bits: int, t_us: int) -> None:
        self._irq |= bits & self._irq_mask
        self._set_dio1(t_us)

    def _set_dio1(self, t_us: int) -> None:
        self._set_line("dio1", bool(self._irq & self._dio1_mask), t_us)
