"""The board: pins, buses, time and memory, made from whatever `machine` and `esp32` are given.

On hardware these are MicroPython's modules, in the simulator objects of the same shape; nothing
else in the firmware touches either. Of MicroPython's API only this is used, so only this has to
be simulated:

- `machine.Pin(id, mode[, pull], value=, hold=)`, `pin()`, `pin(value)`, `IN`, `OUT`;
- `machine.SPI(id, baudrate=, polarity=, phase=, sck=, mosi=, miso=)`, `machine.I2C(id, scl=, sda=,
  freq=)`, `machine.UART(id, baudrate=, tx=, rx=, timeout=, invert=)` with `UART.INV_RX`,
  `machine.ADC(pin).read_uv()`;
- `machine.RTC().memory([data])`, `machine.reset_cause()` with `PWRON_RESET`,
  `WDT_RESET`, `DEEPSLEEP_RESET`; `machine.wake_reason()` with `TIMER_WAKE`;
- `machine.WDT(timeout=ms)`, `feed()`; `machine.time_pulse_us(pin, level, timeout_us)`;
- `machine.lightsleep(ms)`, `machine.deepsleep(ms)`, `esp32.wake_on_ext1(pins, level)` where an
  empty tuple disarms, `esp32.WAKEUP_ANY_HIGH`; `esp32.wake_on_ext0(pin, level)`, None disarms;
- `time.time_ns()`, `time.ticks_ms()`, `time.sleep_ms(ms)`, `time.sleep_us(us)`.
"""

from stoep_firmware import unload
from stoep_firmware.clock import Clock

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_firmware._types import Any, Config, Entropy, I2c, NewAes, Pin, Spi, Storage, Uart

LIGHT = 0  # RAM kept, the radio wakes too
DEEP = 1  # the end of the run; only RTC memory and storage survive, the sensor's pin wakes too
IDLE = 2  # the processor stays on, because a UART loses bytes in light sleep


# Longer than any stretch without a sleep; at 30 mA a hang of this length costs 0.25 mAh. On ESP32
# the watchdog's timer stands still in light sleep and ends with deep sleep.
_WATCHDOG_MS = const(30_000)
_HOLD_MS = const(3_000)
_DISPLAY = const(0x3C)  # an SSD1306's address; 0x00 announces a command, 0xAE is "display off"


def _ignore(problem: BaseException) -> None:
    pass


class RadioPins:
    """The radio's lines beside SPI. `ends`: those that rise at the end of what it does.

    An SX126x has BUSY and tells every end by DIO1; an SX127x has DIO0 and, for a window in which
    nothing was heard, DIO1.
    """

    def __init__(self, nss: "Pin", reset: "Pin", busy: "Any", *ends: "Pin") -> None:
        self.nss = nss
        self.reset = reset
        self.busy = busy
        self.ends = ends


class Board:
    """What one run of the firmware may use. Buses and pins are made when first asked for.

    `on_problem` is told of an exception that ended a wake early; whoever runs the board sets it.
    """

    def __init__(
        self,
        machine: "Any",
        esp32: "Any",
        time: "Any",
        urandom: "Entropy",
        new_aes: "NewAes",
        storage: "Storage",
        config: "Config",
    ) -> None:
        self._machine = machine
        self._esp32 = esp32
        self._time = time
        self._urandom = urandom
        self.new_aes = new_aes
        self.storage = storage
        self.config = config
        self.wiring = config["board"]
        self.clock = Clock(time.time_ns)
        self.rtc_memory = machine.RTC().memory
        self.delay_ms = time.sleep_ms
        self.delay_us = time.sleep_us
        self.up_ms = time.ticks_ms  # since this start
        self.on_problem: Callable[[BaseException], object] = _ignore
        self._radio_pins: RadioPins | None = None
        self._watchdog: Any = None
        self.sensor_wakes = True  # whether the sensor's pin may end a deep sleep
        # A container's distance sensor has no such line; its data line may be on that pin.
        name = (
            "sensor_int" if config.get("kind") == "bay" else config.get("motion") and "motion_int"
        )
        number = self.wiring.get(name)
        self._sensor_int: Pin | None = None
        if number is not None:
            self._sensor_int = machine.Pin(number, machine.Pin.IN)
        self.lid = b""  # what is kept of a lid whose openings are counted: see lid.py
        if config.get("lid"):
            from stoep_firmware.lid import found  # noqa: PLC0415 - few boards count one

            self.lid = found(config, self.rtc_memory)
            unload("stoep_firmware.lid")

    def spi(self) -> "Spi":
        """The radio's bus: mode 0, 8 MHz; an SX126x takes 16 MHz, an SX127x 10."""
        pin = self._machine.Pin
        bus = self.wiring["spi"]
        spi: Spi = self._machine.SPI(
            bus["id"],
            baudrate=8_000_000,
            polarity=0,
            phase=0,
            sck=pin(bus["sck"]),
            mosi=pin(bus["mosi"]),
            miso=pin(bus["miso"]),
        )
        return spi

    def radio_pins(self) -> "RadioPins":
        """The radio's lines; NSS leaves its deep-sleep hold, high."""
        if self._radio_pins is None:
            pin = self._machine.Pin
            radio = self.wiring["radio"]
            self._radio_pins = RadioPins(
                pin(radio["nss"], pin.OUT, value=1, hold=False),
                pin(radio["reset"], pin.OUT, value=1),
                pin(radio["busy"], pin.IN) if "busy" in radio else None,
                *[pin(radio[name], pin.IN) for name in ("dio0", "dio1") if name in radio],
            )
        return self._radio_pins

    def i2c(self, name: str = "i2c") -> "I2c":
        """The sensor's bus, or the `display`'s, at 100 kHz."""
        pin = self._machine.Pin
        bus = self.wiring[name]
        i2c: I2c = self._machine.I2C(
            bus["id"], scl=pin(bus["scl"]), sda=pin(bus["sda"]), freq=100_000
        )
        return i2c

    def uart(self, baudrate: int, inverted: bool = False) -> "Uart":
        """The sensor's serial line, 8N1, or heard `inverted`; reading never blocks."""
        pin = self._machine.Pin
        line = self.wiring["uart"]
        uart: Uart = self._machine.UART(
            line["id"],
            baudrate=baudrate,
            tx=pin(line["tx"]),
            rx=pin(line["rx"]),
            timeout=0,
            invert=self._machine.UART.INV_RX if inverted else 0,
        )
        return uart

    def data_pin(self, name: str, out: bool = False) -> "Pin":
        """One of the serial line's pins, "tx" or "rx", by itself: an input, or driven low."""
        pin = self._machine.Pin
        number = self.wiring["uart"][name]
        made: Pin = pin(number, pin.OUT, value=0) if out else pin(number, pin.IN)
        return made

    def pulse_us(self, pin: "Pin", longest_us: int) -> int:
        """How long a pin is high: -1 if for longer than that, -2 if it has not begun by then."""
        us: int = self._machine.time_pulse_us(pin, 1, longest_us)
        return us

    def sensor_power(self, on: bool) -> None:
        """Switch the sensor's supply, where the board can (level for on: `sensor_power_on`)."""
        number = self.wiring.get("sensor_power")
        if number is not None:
            level = self.wiring.get("sensor_power_on", 0)
            self._machine.Pin(number, self._machine.Pin.OUT, value=level if on else 1 - level)

    def quiet(self) -> None:
        """Switch off what a power-up has switched on and nobody needs: a display."""
        if "display" in self.wiring:
            try:
                self.i2c("display").writeto_mem(_DISPLAY, 0x00, b"\xae")
            except OSError:
                pass  # the board came without one

    def feed(self) -> None:
        """Tell the watchdog, which the first call starts, that the program is alive."""
        if self._watchdog is None:
            self._watchdog = self._machine.WDT(timeout=_WATCHDOG_MS)
        self._watchdog.feed()

    def sensor_int(self) -> bool:
        """Whether the sensor holds its interrupt line high."""
        return self._sensor_int is not None and bool(self._sensor_int())

    def level(self, number: int) -> int:
        """The level of an input."""
        level: int = self._machine.Pin(number, self._machine.Pin.IN)()
        return level

    def battery_mv(self) -> "int | None":
        """Battery voltage behind its divider (`battery_permille`), or None without an ADC pin."""
        number = self.wiring.get("battery_adc")
        if number is None:
            return None
        pin = self._machine.Pin
        enable = self.wiring.get("battery_enable")
        if enable is not None:
            pin(enable, pin.OUT, value=0)
            self.delay_ms(5)
        uv: int = self._machine.ADC(pin(number)).read_uv()
        if enable is not None:
            pin(enable, pin.IN)
        permille: int = self.wiring.get("battery_permille", 4900)
        return uv * permille // 1_000_000

    def wake_reason(self) -> str:
        """Why this run began: power, reset, watchdog, timer or pin."""
        machine = self._machine
        cause = machine.reset_cause()
        if cause == machine.DEEPSLEEP_RESET:
            return "timer" if machine.wake_reason() == machine.TIMER_WAKE else "pin"
        if cause == machine.PWRON_RESET:
            return "power"
        return "watchdog" if cause == machine.WDT_RESET else "reset"

    def random(self, below: int) -> int:
        """A random number from 0 to below - 1, for back-off and channels; 0 for none."""
        return int.from_bytes(self._urandom(4), "little") % below if below > 0 else 0

    def arm(self, mode: int) -> None:
        """Set the pins that end a sleep of this mode; before deep sleep also hold NSS high."""
        pins: tuple[Pin, ...] = ()
        radio = self.wiring["radio"]
        if mode == LIGHT and self._radio_pins is not None and radio.get("dio_wakes", True):
            pins = self._radio_pins.ends
        elif mode == DEEP:
            if self._sensor_int is not None and self.sensor_wakes:
                pins = (self._sensor_int,)
            # A floating NSS wakes the radio: 1.6 mA in place of 14 uA on one board.
            pin = self._machine.Pin
            pin(radio["nss"], pin.OUT, value=1, hold=True)
        self._esp32.wake_on_ext1(pins, self._esp32.WAKEUP_ANY_HIGH)

    def sleep(self, mode: int, until_ms: int) -> None:
        """Do what the program yielded. DEEP does not return on hardware."""
        ms = until_ms - self.clock.now_ms()
        if mode == DEEP:
            self.arm(DEEP)
            if self.lid:
                from stoep_firmware.lid import arm  # noqa: PLC0415

                ms = arm(self.lid, self._machine, self._esp32, self._time, ms, self.sensor_wakes)
            self._machine.deepsleep(ms if ms > 1 else 1)  # 0 would sleep for ever
        elif ms > 0:
            if mode == IDLE:
                self.delay_ms(ms)
            else:
                self.arm(LIGHT)
                self._machine.lightsleep(ms)


def hold(machine: "Any", time: "Any") -> None:
    """After any start but one from deep sleep wait, so that the bench's Ctrl-C can end the program
    before the watchdog begins, which cannot be stopped: 90 mC at 80 MHz, once.

    So long because a board on its chip's own USB first has to be found by the computer.
    """
    if machine.reset_cause() != machine.DEEPSLEEP_RESET:
        time.sleep_ms(_HOLD_MS)
