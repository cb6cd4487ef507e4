"""The microcontroller's model: clocks that drift, sleep and what ends it, what survives what."""

import pytest
from chip_bench import BOARD, device_config, quiet_air
from stoep_hardware import board_data
from stoep_hardware.buses import SimulationError
from stoep_hardware.chips.state_log import StateLog
from stoep_hardware.cpython_machine import make_esp32, make_machine, make_time
from stoep_hardware.engine import US_PER_MS, US_PER_S, Engine
from stoep_hardware.esp32 import Reset
from stoep_hardware.pins import STABLE, Input, Output
from stoep_hardware.sim_board import SimBoard

DATA = board_data.load(BOARD)
BOOT_US = DATA.boot_us
INT_PIN = DATA.pins["sensor_int"]


class Chip:
    """Something that drives the interrupt line."""

    def __init__(self, mcu):
        self.mcu = mcu
        self.level = False
        mcu.inputs[INT_PIN] = Input(lambda _: self.level)

    def drive(self, level, t_us):
        self.level = level
        self.mcu.line_changed(INT_PIN, level, t_us)


class Mcu:
    """A started board, and the names that firmware imports."""

    def __init__(self, **options):
        self.engine = Engine()
        self.board = SimBoard(
            self.engine,
            quiet_air(self.engine),
            DATA,
            device_config(),
            **{"rtc_ppm": 0.0, "keep_states": True} | options,
        )
        self.mcu = self.board.esp32
        self.machine = make_machine(self.mcu)
        self.esp32 = make_esp32(self.mcu)
        self.time = make_time(self.mcu, lambda: False)
        self.boots = []
        self.resumes = []
        self.mcu.on_boot = lambda: self.boots.append(self.mcu.t_us)
        self.mcu.on_resume = lambda: self.resumes.append(self.mcu.t_us)
        self.board.power_on()
        self.go_to(BOOT_US)

    def go_to(self, t_us):
        self.engine.run_until(t_us)


@pytest.fixture
def mcu():
    return Mcu()


def test_power_on(mcu):
    assert mcu.boots == [BOOT_US]
    assert mcu.machine.reset_cause() == mcu.machine.PWRON_RESET
    assert mcu.machine.RTC().memory() == b""
    assert mcu.time.time_ns() // 1000 == pytest.approx(BOOT_US, abs=100)
    assert len(mcu.machine.unique_id()) == 6


def test_calls_and_transfers_take_time(mcu):
    machine, begun_us = mcu.machine, mcu.mcu.t_us
    pin = machine.Pin
    spi = machine.SPI(
        1, baudrate=1_000_000, polarity=0, phase=0, sck=pin(9), mosi=pin(10), miso=pin(11)
    )
    middle_us = mcu.mcu.t_us
    assert middle_us > begun_us
    spi.write(bytes(100))
    assert 800 < mcu.mcu.t_us - middle_us < 1_000
    mcu.time.sleep_us(50)
    mcu.time.sleep_ms(7)
    assert mcu.mcu.t_us - middle_us > 7_850
    assert mcu.engine.now_us == BOOT_US, "the engine waits"


# ---- light sleep --------------------------------------------------------------------------------


@pytest.mark.parametrize("ppm", [0, 150, -500])
def test_light_sleep_by_a_clock_that_drifts(ppm):
    mcu = Mcu(rtc_ppm=ppm)
    before_ns, before_us = mcu.time.time_ns(), mcu.mcu.t_us
    mcu.machine.lightsleep(60_000)
    mcu.go_to(100 * US_PER_S)
    (woken_us,) = mcu.resumes
    true_us = 60 * US_PER_S / (1 + ppm * 1e-6)
    assert woken_us - before_us == pytest.approx(true_us, abs=2_000)
    assert mcu.machine.wake_reason() == mcu.machine.TIMER_WAKE
    own_us = (mcu.time.time_ns() - before_ns) / 1000
    assert own_us == pytest.approx(60 * US_PER_S, abs=2_000)


def test_awake_the_clock_is_a_crystal():
    mcu = Mcu(rtc_ppm=10_000)
    before_ns, before_us = mcu.time.time_ns(), mcu.mcu.t_us
    mcu.time.sleep_ms(1_000)
    assert mcu.time.time_ns() - before_ns == (mcu.mcu.t_us - before_us) * 1000


@pytest.mark.parametrize("level", [True, False])
def test_a_pin_ends_light_sleep(mcu, level):
    chip = Chip(mcu.mcu)
    chip.level = not level
    pin = mcu.machine.Pin(INT_PIN, mcu.machine.Pin.IN)
    mcu.esp32.wake_on_ext1((pin,), level)
    mcu.machine.lightsleep(60_000)
    mcu.engine.at(5 * US_PER_S, lambda: chip.drive(level, 5 * US_PER_S))
    mcu.go_to(100 * US_PER_S)
    assert mcu.resumes == [5 * US_PER_S + DATA.light_wake_us]
    assert mcu.machine.wake_reason() == mcu.machine.EXT1_WAKE


def test_a_pin_that_is_active_already_ends_it_at_once(mcu):
    chip = Chip(mcu.mcu)
    chip.level = True
    mcu.esp32.wake_on_ext1((mcu.machine.Pin(INT_PIN),), mcu.esp32.WAKEUP_ANY_HIGH)
    begun_us = mcu.mcu.t_us
    mcu.machine.lightsleep(60_000)
    mcu.go_to(100 * US_PER_S)
    assert mcu.resumes[0] - begun_us < 5_000


def test_a_disarmed_pin_does_not(mcu):
    chip = Chip(mcu.mcu)
    mcu.esp32.wake_on_ext1((mcu.machine.Pin(INT_PIN),), True)
    mcu.esp32.wake_on_ext1((), True)
    mcu.machine.lightsleep(10_000)
    mcu.engine.at(5 * US_PER_S, lambda: chip.drive(True, 5 * US_PER_S))
    mcu.go_to(100 * US_PER_S)
    assert mcu.resumes[0] > 10 * US_PER_S


def test_ext0_wakes_too(mcu):
    chip = Chip(mcu.mcu)
    mcu.esp32.wake_on_ext0(mcu.machine.Pin(INT_PIN), True)
    mcu.machine.lightsleep(60_000)
    mcu.engine.at(5 * US_PER_S, lambda: chip.drive(True, 5 * US_PER_S))
    mcu.go_to(100 * US_PER_S)
    assert mcu.machine.wake_reason() == mcu.machine.EXT0_WAKE


def test_pins_that_cannot_wake(mcu):
    with pytest.raises(ValueError, match="invalid pin"):
        mcu.esp32.wake_on_ext1((mcu.machine.Pin(36),), True)
    with pytest.raises(ValueError, match="invalid pin"):
        mcu.esp32.wake_on_ext0(mcu.machine.Pin(47), True)


def test_for_ever(mcu):
    mcu.machine.lightsleep(0)
    mcu.go_to(10_000 * US_PER_S)
    assert mcu.resumes == []


# ---- deep sleep ---------------------------------------------------------------------------------


def test_what_survives_deep_sleep(mcu):
    mcu.machine.RTC().memory(b"kept")
    mcu.time.sleep_ms(500)
    before_ns, ticks_ms = mcu.time.time_ns(), mcu.time.ticks_ms()
    mcu.machine.deepsleep(3_600_000)
    mcu.go_to(3_700 * US_PER_S)
    assert len(mcu.boots) == 2
    assert mcu.machine.reset_cause() == mcu.machine.DEEPSLEEP_RESET
    assert mcu.machine.wake_reason() == mcu.machine.TIMER_WAKE
    assert mcu.machine.RTC().memory() == b"kept"
    assert mcu.time.time_ns() - before_ns == pytest.approx(3600e9 + BOOT_US * 1e3, abs=5e6)
    assert mcu.time.ticks_ms() < ticks_ms, "ticks begin anew"


def test_a_pin_ends_deep_sleep(mcu):
    chip = Chip(mcu.mcu)
    mcu.esp32.wake_on_ext1((mcu.machine.Pin(INT_PIN),), True)
    mcu.machine.deepsleep(3_600_000)
    mcu.engine.at(100 * US_PER_S, lambda: chip.drive(True, 100 * US_PER_S))
    mcu.go_to(200 * US_PER_S)
    assert mcu.boots[1:] == [100 * US_PER_S + BOOT_US]
    assert mcu.machine.wake_reason() == mcu.machine.EXT1_WAKE


def test_a_held_output_stays_until_it_is_released(mcu):
    levels = drive_log(mcu, 7, idle=False)
    pin = mcu.machine.Pin
    pin(7, pin.OUT, value=1, hold=True)
    mcu.machine.deepsleep(1_000)
    mcu.go_to(10 * US_PER_S)
    assert levels == [True]
    pin(7, pin.OUT, value=0)
    assert levels == [True], "still held after the wake"
    pin(7, pin.OUT, value=0, hold=False)
    assert levels[-1] is False


def test_an_output_that_is_not_held_floats(mcu):
    levels = drive_log(mcu, 7, idle=False)
    pin = mcu.machine.Pin
    pin(7, pin.OUT, value=1)
    mcu.machine.deepsleep(1_000)
    assert levels == [True, False]


def drive_log(mcu, number, *, idle):
    levels = []
    mcu.mcu.outputs[number] = Output(lambda level, _t_us: levels.append(level), idle)
    return levels


# ---- resets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("asleep", ["", "lightsleep", "deepsleep"])
def test_a_watchdog_reset(mcu, asleep):
    mcu.machine.RTC().memory(b"kept")
    if asleep:
        getattr(mcu.machine, asleep)(3_600_000)
    mcu.go_to(100 * US_PER_S)
    mcu.mcu.reset(3)
    mcu.go_to(200 * US_PER_S)
    assert len(mcu.boots) == 2
    assert mcu.resumes == []
    assert mcu.machine.reset_cause() == mcu.machine.WDT_RESET
    assert mcu.machine.RTC().memory() == b"kept"
    assert mcu.time.time_ns() // 1000 == pytest.approx(100 * US_PER_S + BOOT_US, abs=1_000)


def test_a_power_loss(mcu):
    mcu.machine.RTC().memory(b"lost")
    mcu.machine.deepsleep(3_600_000)
    mcu.go_to(100 * US_PER_S)
    mcu.board.power_off()
    mcu.go_to(10_000 * US_PER_S)
    assert len(mcu.boots) == 1
    mcu.board.power_on()
    mcu.go_to(10_010 * US_PER_S)
    assert len(mcu.boots) == 2
    assert mcu.machine.reset_cause() == mcu.machine.PWRON_RESET
    assert mcu.machine.RTC().memory() == b""
    assert mcu.time.time_ns() // 1000 == pytest.approx(BOOT_US, abs=1_000)


# ---- the rest -----------------------------------------------------------------------------------


def test_rtc_memory_is_small(mcu):
    mcu.machine.RTC().memory(bytes(2048))
    with pytest.raises(ValueError, match="too long"):
        mcu.machine.RTC().memory(bytes(2049))


def test_the_battery_is_read_through_its_divider(mcu):
    pin = mcu.machine.Pin
    adc = mcu.machine.ADC(pin(DATA.pins["battery_adc"]))
    assert adc.read_uv() == 0, "the divider is not connected"
    pin(DATA.pins["battery_enable"], pin.OUT, value=0)
    assert adc.read_uv() * 4.9 == pytest.approx(3_600_000, rel=1e-3)


def test_nobody_on_the_bus(mcu):
    pin = mcu.machine.Pin
    i2c = mcu.machine.I2C(0, scl=pin(5), sda=pin(4), freq=100_000)
    assert i2c.scan() == []
    with pytest.raises(OSError, match="ENODEV"):
        i2c.readfrom_mem(0x1C, 0x0F, 1)
    with pytest.raises(OSError, match="ENODEV"):
        i2c.writeto_mem(0x1C, 0x20, b"\0")


def test_buses_have_to_be_made(mcu):
    with pytest.raises(SimulationError, match="SPI is used before it is made"):
        mcu.mcu.buses.spi_transfer(b"\0")
    with pytest.raises(SimulationError, match="I2C is used before it is made"):
        mcu.mcu.buses.i2c_read(0x1C, 0x0F, 1)
    with pytest.raises(SimulationError, match="UART is used before it is made"):
        mcu.mcu.buses.uart_any()


def test_polling_the_radio_in_place_of_sleeping(mcu):
    dio1 = mcu.machine.Pin(DATA.radio["dio1"], mcu.machine.Pin.IN)

    def poll():
        while not dio1():
            mcu.time.sleep_ms(1)

    with pytest.raises(SimulationError, match="polls pin 14"):
        poll()


def test_never_sleeping(mcu):
    def spin():
        while True:
            mcu.time.sleep_ms(100)

    with pytest.raises(SimulationError, match="awake for a minute"):
        spin()


def test_what_is_not_simulated_is_not_there(mcu):
    with pytest.raises(AttributeError):
        mcu.machine.PWM  # noqa: B018


# ---- a weak cell --------------------------------------------------------------------------------


def test_the_voltage_sags_under_load():
    mcu = Mcu(battery_mv=lambda _: 3_000, battery_ohms=5.0)
    mcu.machine.freq(80_000_000)
    assert mcu.board.supply.mv(mcu.mcu.t_us) == pytest.approx(3_000 - 5 * 30, abs=5)
    mcu.machine.freq(240_000_000)
    assert mcu.board.supply.mv(mcu.mcu.t_us) == pytest.approx(3_000 - 5 * 54, abs=5)


def test_too_much_load_is_a_brown_out_and_rtc_memory_stays():
    mcu = Mcu(battery_mv=lambda _: 2_950, battery_ohms=5.0, brown_out_mv=2_630)
    mcu.machine.RTC().memory(b"kept")
    mcu.machine.freq(240_000_000)
    mcu.time.sleep_ms(1)  # 54 mA are not too much
    led = DATA.pins["led"]
    load = StateLog()
    mcu.board.supply.feeds([mcu.mcu.log, load], mcu.mcu.brown_out)
    mcu.mcu.outputs[led] = Output(
        lambda on, t_us: load.enter(t_us, "on" if on else "off", 20_000.0 * on), idle=False
    )
    pin = mcu.machine.Pin(led, mcu.machine.Pin.OUT, value=0)
    pin(1)
    with pytest.raises(Reset):
        mcu.time.sleep_ms(1)
    mcu.mcu.reset(mcu.machine.PWRON_RESET)
    mcu.go_to(mcu.mcu.t_us + BOOT_US)
    assert (len(mcu.boots), mcu.machine.reset_cause()) == (2, mcu.machine.PWRON_RESET)
    assert mcu.machine.RTC().memory() == b"kept"
    # The same in light sleep, where no call of the firmware's is there to be ended.
    resets = []
    mcu.mcu.on_reset = lambda cause: (resets.append(cause), mcu.mcu.reset(cause))
    mcu.machine.lightsleep(10_000)
    t_us = mcu.mcu.t_us + US_PER_S
    mcu.engine.at(t_us, lambda: load.enter(t_us, "on", 80_000.0))
    mcu.engine.at(t_us + US_PER_MS, lambda: load.enter(t_us + US_PER_MS, "off", 0.0))
    mcu.go_to(t_us + BOOT_US)
    assert (resets, len(mcu.boots)) == ([mcu.machine.PWRON_RESET], 3)


def test_a_cell_too_weak_for_a_start_starts_again_until_it_has_recovered():
    mcu = Mcu(battery_mv=lambda t_us: 2_700 + t_us // US_PER_S * 100, battery_ohms=5.0)
    assert mcu.boots == []
    mcu.go_to(10 * BOOT_US)
    first_us = mcu.boots[0]
    assert first_us == pytest.approx(3 * US_PER_S, abs=BOOT_US)  # 3 V less 63 mA times 5 ohms
    assert mcu.boots == [first_us]


# ---- the watchdog -------------------------------------------------------------------------------

WDT_MS = 30_000


@pytest.fixture
def watched(mcu):
    """A board with a watchdog, and every reset that ended something."""
    mcu.wdt = mcu.machine.WDT(timeout=WDT_MS)
    mcu.fed_us = mcu.mcu.t_us
    mcu.resets = []
    mcu.mcu.on_reset = mcu.resets.append
    return mcu


def test_a_fed_watchdog_ends_nothing(watched):
    for _ in range(4):
        watched.time.sleep_ms(WDT_MS - 1_000)
        watched.wdt.feed()
        watched.engine.run_until(watched.mcu.t_us)
    assert watched.resets == []


def test_a_hungry_watchdog_ends_what_runs_and_no_firmware_catches_it(watched):
    def spin():
        while True:
            try:
                watched.time.sleep_ms(100)
            except Exception:  # noqa: BLE001 - as the firmware's outermost
                pytest.fail("it has been caught")

    with pytest.raises(Reset) as caught:
        spin()
    assert caught.value.cause == watched.machine.WDT_RESET
    assert watched.mcu.t_us == watched.fed_us + WDT_MS * US_PER_MS


def test_what_a_reset_has_ended_drives_no_pin_any_more(watched):
    pin = watched.machine.Pin(DATA.pins["led"], watched.machine.Pin.OUT, value=0)
    levels = []
    watched.mcu.outputs[DATA.pins["led"]] = Output(lambda on, _: levels.append(on), idle=False)
    watched.board.hang("i2c")
    i2c = watched.machine.I2C(0, scl=watched.machine.Pin(5), sda=watched.machine.Pin(4), freq=1_000)

    def read():
        try:
            i2c.readfrom_mem(0x1C, 0, 1)
        finally:
            pin(1)

    with pytest.raises(Reset):
        read()
    assert levels == []
    watched.mcu.reset(watched.machine.WDT_RESET)
    watched.go_to(watched.fed_us + WDT_MS * US_PER_MS + BOOT_US)
    assert len(watched.boots) == 2
    pin(1)
    watched.time.sleep_ms(2 * WDT_MS // 3)  # and the watchdog is gone with what it ended
    watched.engine.run_until(watched.mcu.t_us)
    watched.time.sleep_ms(2 * WDT_MS // 3)


def test_light_sleep_stops_the_watchdog_and_waiting_does_not(watched):
    for _ in range(3):
        watched.machine.lightsleep(20 * WDT_MS)
        watched.go_to(watched.mcu.t_us + 21 * WDT_MS * US_PER_MS)
    assert (watched.resets, len(watched.resumes)) == ([], 3)
    watched.mcu.begin_idle(WDT_MS * US_PER_MS)
    watched.go_to(watched.mcu.t_us + 2 * WDT_MS * US_PER_MS)
    assert watched.resets == [watched.machine.WDT_RESET]


def test_deep_sleep_ends_the_watchdog(watched):
    watched.machine.deepsleep(2 * WDT_MS)
    watched.go_to(10 * WDT_MS * US_PER_MS)
    assert (watched.resets, len(watched.boots)) == ([], 2)


@pytest.mark.parametrize("bus", ["spi", "i2c", "uart"])
def test_a_bus_that_hangs_never_comes_back(watched, bus):
    pin = watched.machine.Pin
    calls = {
        "spi": watched.machine.SPI(
            1, baudrate=8_000_000, polarity=0, phase=0, sck=pin(9), mosi=pin(10), miso=pin(11)
        ).write,
        "i2c": lambda _: watched.machine.I2C(0, scl=pin(5), sda=pin(4), freq=100_000).scan(),
        "uart": lambda _: watched.machine.UART(1, baudrate=9_600, tx=pin(47), rx=pin(48)).any(),
    }
    calls[bus](b"\xc0")
    watched.board.hang(bus)
    for other, call in calls.items():
        if other != bus:
            call(b"\xc0")
    with pytest.raises(Reset):
        calls[bus](b"\xc0")
    watched.board.release(bus)
    watched.mcu.reset(watched.machine.WDT_RESET)
    watched.go_to(watched.mcu.t_us + BOOT_US)
    if bus != "spi":
        calls[bus](b"")


def test_a_hang_without_a_watchdog_is_the_end_of_the_simulation(mcu):
    mcu.board.hang("i2c")
    i2c = mcu.machine.I2C(0, scl=mcu.machine.Pin(5), sda=mcu.machine.Pin(4), freq=100_000)
    with pytest.raises(SimulationError, match="i2c hangs"):
        i2c.scan()


def test_busy_stuck_high(mcu):
    busy = mcu.machine.Pin(DATA.radio["busy"], mcu.machine.Pin.IN)
    mcu.time.sleep_ms(20)
    assert busy() == 0
    mcu.board.hang("busy")
    assert mcu.mcu.pin_read(DATA.radio["busy"]) == (True, STABLE)
    mcu.board.release("busy")
    assert busy() == 0


def test_the_same_seed_gives_the_same_randomness():
    draws = [Mcu().mcu.entropy(8) for _ in range(2)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 1


def test_without_power_a_reset_starts_nothing(mcu):
    mcu.board.power_off()
    mcu.mcu.reset(mcu.machine.WDT_RESET)
    mcu.go_to(10 * BOOT_US)
    assert mcu.boots == [BOOT_US]


def test_states_and_charge(mcu):
    mcu.machine.freq(80_000_000)
    mcu.time.sleep_ms(100)
    mcu.machine.lightsleep(1_000)
    mcu.go_to(5 * US_PER_S)
    mcu.machine.deepsleep(1_000_000)
    end_us = 900 * US_PER_S
    mcu.go_to(end_us)
    log, current = mcu.mcu.log, DATA.currents_ua
    states = [state for _, state, _ in log.entries]
    assert states[-5:] == ["awake", "awake", "light", "awake", "deep"]
    assert log.us_in("boot", end_us) == BOOT_US
    assert log.us_in("light", end_us) == 1_000 * US_PER_MS
    assert log.us_in("awake", end_us) == pytest.approx(102 * US_PER_MS, rel=0.03)
    expected_uc = sum(
        log.us_in(state, end_us) * current[state] / 1e6
        for state in ("boot", "awake", "light", "deep")
    )
    assert log.charge_uc(end_us) == pytest.approx(expected_uc, rel=0.001)


def test_the_boards_data():
    assert DATA.flash == {
        "size": 0x800000,
        "firmware_offset": 0,
        "vfs_offset": 0x200000,
        "vfs_size": 0x600000,
        "vfs_block": 4096,
    }
    used = [DATA.spi[name] for name in ("sck", "mosi", "miso")]
    used += [DATA.radio[name] for name in ("nss", "reset", "busy", "dio1")]
    used += [DATA.uart["tx"], DATA.uart["rx"], DATA.i2c["scl"], DATA.i2c["sda"]]
    used += [pin for name, pin in DATA.pins.items() if not name.endswith(("_on", "_permille"))]
    assert len(used) == len(set(used)), "no pin twice"
    assert not {45, 46, 19, 20, 43, 44} & set(used), "strapping, USB and console pins are free"
    for waking in (INT_PIN, DATA.radio["dio1"]):
        assert waking < 22, "only RTC pins wake an ESP32-S3"
    assert DATA.boot_us * DATA.currents_ua["boot"] / 1e9 == pytest.approx(26.5, rel=0.01)


# ---- timing a pulse -----------------------------------------------------------------------------


def test_time_pulse_us(mcu):
    """As MicroPython's: a pulse that is under way counts from now, -2 and -1 are time-outs."""
    mcu, machine = mcu.mcu, mcu.machine
    pin = machine.Pin(10, machine.Pin.IN)
    begun_us = mcu.t_us
    edges_us = [begun_us + us for us in (1_000, 3_500, 20_000)]

    def level(t_us):
        return sum(edge_us <= t_us for edge_us in edges_us) % 2 == 1

    def stable_until_us(t_us):
        return next((edge_us for edge_us in edges_us if edge_us > t_us), None)

    for known in (stable_until_us, None):
        mcu.inputs[10] = Input(level, known)
        mcu.t_us = begun_us
        assert machine.time_pulse_us(pin, 1, 5_000) == pytest.approx(2_500, abs=20)
        assert machine.time_pulse_us(pin, 1, 5_000) == -2
        assert mcu.t_us == pytest.approx(begun_us + 8_500, abs=50)
        mcu.t_us = begun_us + 2_000
        assert machine.time_pulse_us(pin, 1, 5_000) == pytest.approx(1_490, abs=20)
        mcu.t_us = begun_us + 19_000
        assert machine.time_pulse_us(pin, 1, 5_000) == -1
        mcu.t_us = begun_us + 2_000
        assert machine.time_pulse_us(pin, 0, 50_000) == pytest.approx(16_500, abs=20)
    assert machine.time_pulse_us(machine.Pin(11, machine.Pin.IN), 1, 700) == -2
    assert machine.time_pulse_us(machine.Pin(11, machine.Pin.IN), 0, 700) == -1
