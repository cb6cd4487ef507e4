"""A model of the SX1262 and SX1268 at the level of its pins: SPI bytes, NSS, NRESET, BUSY, DIO1.

What the chip would refuse, the model refuses, and notes why in `violations`. It plays LoRa packets
on an `Air`; FSK, CAD and duty-cycled reception are not in it. "DS" is the data sheet, see
sx1262_tables.py.

                 NSS low                    SetTx            end of frame, timeout
    SLEEP_* ───────────────► STBY_RC ───────────────► TX ──────────────┐
       ▲                      │  ▲  SetStandby   ▲                     ▼
       └────── SetSleep ──────┘  └── STBY_XOSC, FS, RX ◄── SetRx    fallback mode (STBY_RC)
"""

from stoep_hardware.air import Air
from stoep_hardware.engine import Engine

from . import sx1262_tables as ds
from .sx1262_modes import Modes
from .sx1262_settings import Handler
from .sx1262_tables import Mode

_SLEEPING = (Mode.SLEEP_COLD, Mode.SLEEP_WARM)
_WAKING_OPCODES = (0xC0, 0x80, 0x00)


class Sx1262(Modes):
    """One chip, with the crystal oscillator and antenna switch its board gives it.

    `tcxo_mv` is what the board's TCXO on DIO3 needs, None for a crystal; `dio2_switch` whether
    DIO2 drives the antenna switch.
    """

    RESET_LEAST_US = ds.RESET_PULSE_LEAST_US

    def __init__(
        self,
        engine: Engine,
        air: Air,
        position_m: tuple[float, float] = (0.0, 0.0),
        *,
        variant: str = "sx1262",
        tcxo_mv: int | None = 1800,
        dio2_switch: bool = True,
        antenna_gain_db: float = 0.0,
        keep_states: bool = False,
    ) -> None:
        super().__init__(
            engine,
            air,
            position_m,
            variant=variant,
            tcxo_mv=tcxo_mv,
            dio2_switch=dio2_switch,
            antenna_gain_db=antenna_gain_db,
            keep_states=keep_states,
        )
        self._handlers: dict[int, Handler] = {**self.setting_handlers(), **self.mode_handlers()}
        self._mosi = bytearray()  # the transaction under way
        self._is_transaction_lost = False
        self._is_waking = False
        self.power(True, engine.now_us)

    # ---- the pins -------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """What the chip is doing, as far as the engine or its device has got."""
        return self._mode

    @property
    def dio1(self) -> bool:
        """The level of DIO1."""
        return self.line("dio1")

    def settle(self, t_us: int) -> None:
        """Let what has ended by `t_us` have ended, before a line is read."""
        self._advance(t_us)

    def busy(self, t_us: int) -> bool:
        """Return the level of BUSY: high asleep, after reset and while a command is worked on."""
        return t_us < self._busy_until_us or self._mode in _SLEEPING

    def busy_until_us(self, t_us: int) -> int | None:
        """Return until when BUSY keeps its level unless NSS or NRESET moves; None for ever."""
        return self._busy_until_us if t_us < self._busy_until_us else None

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        self._is_powered = on
        self._lose_everything(t_us)
        if on:
            self._start(t_us, ds.RESET_US)
        else:
            self._enter(Mode.OFF, t_us)

    def configure_bus(self, baudrate: int, polarity: int, phase: int, t_us: int) -> None:
        """Take notice of how the SPI master is set (DS 8.2: mode 0, at most 16 MHz)."""
        self._check_bus(baudrate, polarity, phase, 16_000_000, t_us)

    def _restart(self, t_us: int) -> None:
        self._lose_everything(t_us)
        self._start(t_us, ds.RESET_US)

    def set_nss(self, level: bool, t_us: int) -> None:
        """Drive NSS: a transaction runs from its fall to its rise."""
        if level == self._nss:
            return
        self._nss = level
        if self._mode is Mode.OFF:
            return
        self._advance(t_us)
        if level:
            if self._mosi:
                self._end_transaction(t_us)
            return
        self._mosi.clear()
        self._is_waking = self._mode in _SLEEPING
        self._is_transaction_lost = self._is_waking or not self._is_bus_right
        if self._is_waking:
            self._wake(t_us)
        elif not self._reset_line:
            self._is_transaction_lost = True
            self._violate(t_us, "NSS falls while NRESET is low")
        elif t_us < self._busy_until_us:
            self._is_transaction_lost = True
            self._violate(t_us, "NSS falls while BUSY is high (DS 8.3.1)")

    def transfer(self, out: bytes, t_us: int) -> bytes:
        """Clock bytes in and return those that come out."""
        if self._nss:
            self._violate(t_us, "SPI is clocked while NSS is high")
            return bytes(len(out))
        begin = len(self._mosi)
        self._mosi += out
        if self._is_transaction_lost or self._mode is Mode.OFF:
            return bytes(len(out))
        status = ds.MODE_BITS[self._mode] << 4 | self._command_status << 1
        reply = self._reply(begin + len(out))
        if reply is None:
            return bytes((status,)) * len(out)
        data_from, data = reply
        whole = bytes((status,)) * data_from + data
        return whole[begin : begin + len(out)].ljust(len(out), b"\0")

    def _reply(self, length: int) -> tuple[int, bytes] | None:
        """Return from which byte on MISO carries data, and the data; None for status only."""
        mosi = self._mosi
        opcode = mosi[0]
        if opcode == 0x1E and length > 3:
            offset = mosi[1]
            return 3, bytes(self._buffer[(offset + index) & 0xFF] for index in range(length - 3))
        if opcode == 0x1D and length > 4:
            address = int.from_bytes(mosi[1:3], "big")
            count = length - 4
            return 4, bytes(self._registers.get(address + index, 0) for index in range(count))
        if opcode == 0x12:
            return 2, self._irq.to_bytes(2, "big")
        if opcode == 0x17:
            return 2, self._device_errors.to_bytes(2, "big")
        if opcode == 0x13:
            return 2, bytes(self._rx_status)
        if opcode == 0x14:
            return 2, bytes(self._packet_status)
        if opcode == 0x11:
            return 2, bytes((self._packet_type,))
        if opcode == 0x15:
            return 2, b"\xdc"  # -110 dBm: nothing but noise
        if opcode == 0x10:
            counts = (self._packets_received, self._packets_damaged, 0)
            return 2, b"".join((count & 0xFFFF).to_bytes(2, "big") for count in counts)
        return None

    def _end_transaction(self, t_us: int) -> None:
        opcode, params = self._mosi[0], bytes(self._mosi[1:])
        command = ds.COMMANDS.get(opcode)
        if self._is_transaction_lost:
            if self._is_waking and opcode not in _WAKING_OPCODES:
                lost = command.name if command else f"opcode {opcode:#04x}"
                self._violate(t_us, f"{lost} is lost: it only woke the chip (DS 8.2.2)")
            return
        if command is None:
            name = ds.NOT_MODELLED.get(opcode, f"opcode {opcode:#04x}")
            self._reject(t_us, f"{name} is unknown here")
            return
        if not command.least <= len(params) <= command.most:
            self._reject(t_us, f"{command.name} with {len(params)} bytes (DS 13)")
            return
        if self._mode not in command.modes:
            self._refuse(t_us, f"{command.name} in {self._mode} (DS 9, 13)")
            return
        handler = self._handlers.get(opcode)
        busy_us: int | None = None
        if handler is not None:  # else it was answered while it was clocked in
            self._command_status = ds.STATUS_OK
            busy_us = handler(params, t_us)
        self._busy_until_us = t_us + (command.busy_us if busy_us is None else busy_us)
