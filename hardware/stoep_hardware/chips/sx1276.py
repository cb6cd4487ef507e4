"""A model of the SX1276 and SX1278 at the level of their pins: SPI bytes, NSS, NRESET, DIO0, DIO1.

What the chip would refuse, the model refuses, and notes why in `violations`. It plays LoRa packets
on an `Air`, one a mode; FSK (but for its standby, which alone calibrates the image), continuous
reception and CAD are not in it. "DS" is the data sheet, see sx1276_tables.py.

    reset ──► STANDBY (FSK) ──► SLEEP (FSK) ──► SLEEP (LoRa) ◄──► STANDBY ──► TX, RX_SINGLE
                 image                only here changes               ▲            │ end of frame,
                 calibration          the modem                       └────────────┘ symbol timeout
"""

from stoep_hardware.air import Air
from stoep_hardware.engine import Engine

from . import sx1276_tables as ds
from .sx1276_modes import Modes
from .sx1276_tables import Mode


class Sx1276(Modes):
    """One chip, with the oscillator and the antenna its board gives it.

    `pa_boost`: the antenna is at PA_BOOST, else at RFO. `variant` "sx1278" ends at 525 MHz.
    """

    RESET_LEAST_US = ds.RESET_PULSE_LEAST_US

    def __init__(
        self,
        engine: Engine,
        air: Air,
        position_m: tuple[float, float] = (0.0, 0.0),
        *,
        variant: str = "sx1276",
        pa_boost: bool = True,
        tcxo: bool = False,
        antenna_gain_db: float = 0.0,
        keep_states: bool = False,
    ) -> None:
        super().__init__(
            engine,
            air,
            position_m,
            variant=variant,
            pa_boost=pa_boost,
            tcxo=tcxo,
            antenna_gain_db=antenna_gain_db,
            keep_states=keep_states,
        )
        self._ready_us = 0
        self._address: int | None = None  # of the transaction under way, with its write bit
        self._is_transaction_lost = False
        self.power(True, engine.now_us)

    # ---- the pins -------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """What the chip is doing, as far as the engine or its device has got."""
        return self._mode

    def settle(self, t_us: int) -> None:
        """Let what has ended by `t_us` have ended, before a line is read."""
        self._advance(t_us)

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        self._is_powered = on
        self._lose_everything(t_us)
        self._ready_us = t_us + ds.AFTER_POWER_ON_US
        self._enter(Mode.STANDBY if on else Mode.OFF, t_us)

    def configure_bus(self, baudrate: int, polarity: int, phase: int, t_us: int) -> None:
        """Take notice of how the SPI master is set (DS 2.5.6: mode 0, at most 10 MHz)."""
        self._check_bus(baudrate, polarity, phase, 10_000_000, t_us)

    def _restart(self, t_us: int) -> None:
        self._lose_everything(t_us)
        self._ready_us = t_us + ds.AFTER_RESET_US
        self._enter(Mode.STANDBY, t_us)

    def set_nss(self, level: bool, t_us: int) -> None:
        """Drive NSS: a transaction runs from its fall to its rise. The chip sleeps through it."""
        if level == self._nss:
            return
        self._nss = level
        self._address = None
        if self._mode is Mode.OFF or level:
            return
        self._advance(t_us)
        self._is_transaction_lost = not self._is_bus_right
        if not self._reset_line or t_us < self._ready_us:
            self._is_transaction_lost = True
            self._violate(
                t_us, "NSS falls in reset, 5 ms after it or 10 ms after power-on (DS 7.2)"
            )

    def transfer(self, out: bytes, t_us: int) -> bytes:
        """Clock bytes in and return those that come out: an address, then data (DS 2.2)."""
        if self._nss:
            self._violate(t_us, "SPI is clocked while NSS is high")
        if self._nss or self._is_transaction_lost or self._mode is Mode.OFF:
            return bytes(len(out))
        self._advance(t_us)
        answer = bytearray()
        for byte in out:
            if self._address is None:
                self._address = byte
                answer.append(0)
                continue
            register = self._address & 0x7F
            answer.append(self._read(register, t_us))
            if self._address & 0x80:
                self._write(register, byte, t_us)
            if register != ds.FIFO:
                self._address = self._address & 0x80 | (register + 1) & 0x7F
        return bytes(answer)

    # ---- the registers --------------------------------------------------------------------------

    def _page(self, register: int) -> dict[int, int]:
        """Return where a register lives: 0x0D to 0x3F are one modem's (DS 6.1)."""
        if not 0x0D <= register <= 0x3F:
            return self._common
        is_shared = bool(self._common[ds.OP_MODE] & ds.SHARED)
        return self._lora if self._is_lora and not is_shared else self._fsk

    def _read(self, register: int, t_us: int) -> int:
        if register == ds.FIFO:
            if self._address is not None and self._address & 0x80:
                return 0
            return self._fifo(t_us, None)
        if register == ds.IMAGE_CAL and self._page(register) is self._fsk:
            return self._fsk[register] & 0x9F | (0x20 if t_us < self._image_until_us else 0)
        return self._page(register).get(register, 0)

    def _fifo(self, t_us: int, byte: int | None) -> int:
        """Read or write where RegFifoAddrPtr points, which moves on (DS 4.1.2.3)."""
        if self._mode is Mode.SLEEP or not self._is_lora:
            self._violate(t_us, "the FIFO is out of reach in sleep (DS 4.1.2.3)")
            return 0
        if byte is not None and self._mode is not Mode.STANDBY:
            self._violate(t_us, f"the FIFO is filled in {self._mode} (DS 4.1.6)")
            return 0
        pointer = self._lora[ds.FIFO_POINTER]
        self._lora[ds.FIFO_POINTER] = (pointer + 1) & 0xFF
        if byte is not None:
            self._buffer[pointer] = byte
            self._is_filled = True
        return self._buffer[pointer]

    def _write(self, register: int, value: int, t_us: int) -> None:
        page = self._page(register)
        if register == ds.FIFO:
            self._fifo(t_us, value)
        elif register == ds.OP_MODE:
            self._write_op_mode(value, t_us)
        elif page is self._fsk:
            self._write_fsk(register, value, t_us)
        elif register == ds.IRQ_FLAGS:
            self._lora[register] &= ~value  # a one clears
            self._show(t_us)
        elif register in ds.READ_ONLY or register not in page:
            self._violate(t_us, f"register {register:#04x} is read-only or reserved (DS 6)")
        elif self._mode not in (Mode.SLEEP, Mode.STANDBY) and register not in ds.ANYTIME:
            self._violate(t_us, f"register {register:#04x} is written in {self._mode} (DS 4.1.2.1)")
        elif self._is_allowed(register, value, t_us):
            page[register] = value
            if register == ds.DIO_MAPPING:
                self._show(t_us)

    def _is_allowed(self, register: int, value: int, t_us: int) -> bool:
        """Note reserved bits that are changed, and values that mean nothing."""
        mask, kept = ds.RESERVED.get(register, (0, 0))
        if value & mask != kept:
            self._violate(
                t_us, f"register {register:#04x} = {value:#04x}: reserved bits change (DS 6)"
            )
        if register == ds.PAYLOAD_LENGTH and not value:
            self._violate(t_us, "a payload of 0 bytes (DS 6.4, RegPayloadLength)")
            return False
        return True

    def _write_op_mode(self, value: int, t_us: int) -> None:
        """RegOpMode (DS 4.1.2.1, 6.2): the modem changes only in sleep."""
        mode = ds.MODES.get(value & 7)
        now = self._common[ds.OP_MODE]
        if (value ^ now) & ds.LONG_RANGE and self._mode is not Mode.SLEEP:
            self._violate(t_us, f"RegOpMode: bit 7 changes in {self._mode}, only in sleep (DS 6.2)")
            value ^= ds.LONG_RANGE
        if mode is None:
            self._violate(t_us, f"RegOpMode {value:#04x} is not modelled")
            return
        self._common[ds.OP_MODE] = value & 0xF8 | now & 7
        if mode is not self._mode or mode in (Mode.TX, Mode.RX_SINGLE):
            self._change_mode(mode, t_us)

    def _write_fsk(self, register: int, value: int, t_us: int) -> None:
        if register != ds.IMAGE_CAL:
            self._violate(t_us, f"register {register:#04x} of the FSK modem is not modelled")
            return
        self._fsk[register] = value & 0x9F
        if not value & 0x40:
            return
        if self._mode is not Mode.STANDBY:
            self._violate(t_us, f"RegImageCal starts in {self._mode}, only in standby (DS 4.2.3.8)")
            return
        self._image_hz = self._freq_hz
        self._image_until_us = t_us + ds.IMAGE_CAL_US
