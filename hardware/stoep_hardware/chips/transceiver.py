"""What the models of LoRa transceivers share: an antenna, lines to the processor, a log of states.

A device runs a little ahead of the engine while its processor is awake, so every call carries the
device's own `t_us`. What goes to the air is asked of the engine for that time; what comes from
the air comes by the engine. A frame that ends after the device has logically left reception is
lost, as it would have been.
"""

from collections.abc import Callable

from stoep_hardware.air import Air, Frame, Listen
from stoep_hardware.engine import Engine, Handle

from . import lora
from .state_log import StateLog


class Transceiver:
    """One chip on the air. `on_line(name, level, t_us)` is called when one of `LINES` changes.

    What the chip would refuse is noted in `violations`.
    """

    LINES: tuple[str, ...] = ()
    RESET_LEAST_US = 0  # a shorter pulse is none

    def __init__(
        self,
        engine: Engine,
        air: Air,
        position_m: tuple[float, float],
        *,
        antenna_gain_db: float,
        keep_states: bool,
    ) -> None:
        self.position_m = position_m
        self.log = StateLog(keep=keep_states)
        self.violations: list[str] = []
        self.on_line: Callable[[str, bool, int], None] | None = None
        self.frames_sent = 0
        self.frames_received = 0
        self._engine = engine
        self._air = air
        self._antenna_gain_db = antenna_gain_db
        self._levels = dict.fromkeys(self.LINES, False)
        self._nss = self._reset_line = True
        self._reset_since_us = 0
        self._is_powered = True
        self._is_bus_right = True
        self._tx_start: Handle | None = None
        self._tx_end_us = 0
        self._rx_handles: list[Handle] = []
        self._is_listening = False
        self._locked: Frame | None = None
        air.add(self)

    def line(self, name: str) -> bool:
        """Return the level of a line to the processor."""
        return self._levels[name]

    def set_reset(self, level: bool, t_us: int) -> None:
        """Drive NRESET."""
        if level == self._reset_line:
            return
        self._reset_line = level
        if not self._is_powered:
            return
        if not level:
            self._reset_since_us = t_us
        elif t_us - self._reset_since_us < self.RESET_LEAST_US:
            self._violate(t_us, f"NRESET low for less than {self.RESET_LEAST_US} us is no reset")
        else:
            self._restart(t_us)

    def _restart(self, t_us: int) -> None:
        """Begin anew, as after a reset."""
        raise NotImplementedError

    def _set_line(self, name: str, level: bool, t_us: int) -> None:
        if level != self._levels[name]:
            self._levels[name] = level
            if self.on_line is not None:
                self.on_line(name, level, t_us)

    def _violate(self, t_us: int, what: str) -> None:
        self.violations.append(f"{t_us} us: {what}")

    def _check_bus(self, baudrate: int, polarity: int, phase: int, most_hz: int, t_us: int) -> None:
        self._is_bus_right = baudrate <= most_hz and polarity == 0 and phase == 0
        if not self._is_bus_right:
            self._violate(
                t_us,
                f"SPI at {baudrate} Hz, CPOL {polarity}, CPHA {phase}: "
                f"mode 0, {most_hz // 1_000_000} MHz at most (DS 8.2)",
            )

    def _send(self, frame: Frame) -> None:
        self._tx_start = self._engine.at(frame.start_us, lambda: self._air.transmit(self, frame))

    def _stop_sending(self, t_us: int, *, sending: bool) -> None:
        start, self._tx_start = self._tx_start, None
        if start is not None and t_us < start.at_us:
            start.cancel()
        elif start is not None and sending and t_us < self._tx_end_us:
            self._engine.at(max(t_us, self._engine.now_us), lambda: self._air.cut_off(self))

    def _in_rx(self, t_us: int, callback: Callable[[], None]) -> Handle:
        """Ask for a callback that leaving reception takes back."""
        handle = self._engine.at(t_us, callback)
        self._rx_handles.append(handle)
        return handle

    def _start_listening(self, listen: Listen) -> None:
        self._is_listening = True
        self._air.listen(self, (listen,))

    def _expect_header(self, frame: Frame, t_us: int, callback: Callable[[], None]) -> None:
        """Ask for a callback when the header of a frame has come."""
        header_us = frame.start_us + round(
            lora.preamble_us(frame.preamble + 8, frame.sf, frame.bw_hz)
        )
        if t_us < header_us < frame.end_us:
            self._in_rx(header_us, callback)

    def _leave_rx(self, t_us: int) -> None:
        for handle in self._rx_handles:
            handle.cancel()
        self._rx_handles.clear()
        self._locked = None
        if self._is_listening:
            self._is_listening = False
            if t_us <= self._engine.now_us:
                self._air.stop(self)
            else:
                self._engine.at(t_us, lambda: self._air.stop(self))

    def on_preamble(self, frame: Frame, t_us: int) -> None:
        """Lock on a frame."""
        raise NotImplementedError

    def on_frame(
        self, frame: Frame, intact: bool, rssi_dbm: float, snr_db: float, t_us: int
    ) -> None:
        """Take a frame at its end."""
        raise NotImplementedError


def clip(value: int, low: int, high: int) -> int:
    """Return the nearest value within bounds."""
    return min(max(value, low), high)


def garbled(payload: bytes) -> bytes:
    """Return what a demodulator makes of a frame that it is not set for."""
    return bytes(byte ^ 0x55 for byte in payload)
