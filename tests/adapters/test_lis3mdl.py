"""The magnetometer's model, and the firmware's driver on it."""

import pytest
from chip_bench import Bench
from stoep_firmware.drivers.lis3mdl import Lis3mdl as Driver
from stoep_hardware.chips import lis3mdl as model
from stoep_hardware.chips.lis3mdl import Lis3mdl
from stoep_hardware.engine import US_PER_S, Engine

SEVERAL = 0x80
LOW_POWER_PERIOD_US = 1_600_000
COUNTS_PER_UT = 68.42


class Field:
    """A field that a test sets, in counts at 4 gauss."""

    def __init__(self, *counts, celsius=25.0):
        self.history = [(0, counts)]
        self.celsius = celsius
        self.callbacks = []

    @property
    def counts(self):
        return self.history[-1][1]

    def field_ut(self, t_us):
        counts = next(counts for since_us, counts in reversed(self.history) if since_us <= t_us)
        return tuple(count / COUNTS_PER_UT for count in counts)

    def temperature_c(self, t_us):
        return self.celsius

    def on_change(self, callback):
        self.callbacks.append(callback)

    def become(self, t_us, *counts):
        self.history.append((t_us, counts))
        for callback in self.callbacks:
            callback()


class I2cBench:
    def __init__(self, *counts, **field):
        self.engine = Engine()
        self.field = Field(*(counts or (1000, -2000, 3000)), **field)
        self.chip = Lis3mdl(self.engine, self.field, keep_states=True)
        self.edges = []
        self.chip.on_int = lambda level, t_us: self.edges.append((level, t_us))

    @property
    def t_us(self):
        return self.engine.now_us

    def go(self, us):
        self.engine.run_until(self.engine.now_us + us)

    def write(self, register, *octets):
        assert self.chip.write(register, bytes(octets), self.t_us)

    def read(self, register, count=1):
        return self.chip.read(register, count, self.t_us)

    def become(self, *counts):
        self.field.become(self.t_us, *counts)

    def out(self):
        data = self.read(model.OUT_X_L | SEVERAL, 6)
        return tuple(int.from_bytes(data[at : at + 2], "little", signed=True) for at in (0, 2, 4))

    def watch(self, threshold, config=0xED):
        """Low power, continuous, the present field as offset."""
        offsets = b"".join(count.to_bytes(2, "little", signed=True) for count in self.field.counts)
        self.write(model.OFFSET_X_L | SEVERAL, *offsets)
        self.write(model.INT_THS_L | SEVERAL, *threshold.to_bytes(2, "little"))
        self.write(model.INT_CFG, config)
        self.write(model.CTRL_REG3, 0x20)


@pytest.fixture
def i2c():
    return I2cBench()


def said(bench, words):
    assert any(words in what for what in bench.chip.violations), bench.chip.violations
    return True


def test_who_am_i(i2c):
    assert i2c.read(model.WHO_AM_I) == b"\x3d"


def test_powered_down_after_power_on(i2c):
    i2c.go(US_PER_S)
    assert i2c.read(model.STATUS_REG) == b"\0"
    assert i2c.out() == (0, 0, 0)
    assert i2c.chip.log.state == "power_down"


def test_continuous_samples_at_its_rate(i2c):
    i2c.write(model.CTRL_REG1, 0x10)  # low performance, 10 Hz
    i2c.write(model.CTRL_REG3, 0x00)
    assert i2c.read(model.STATUS_REG) == b"\0"
    i2c.go(1_000)
    assert i2c.read(model.STATUS_REG) == b"\x0f"
    assert i2c.out() == (1000, -2000, 3000)
    assert i2c.read(model.STATUS_REG) == b"\0", "until the next sample"
    i2c.become(7, 8, 9)
    i2c.go(99_000)
    assert i2c.out() == (1000, -2000, 3000)
    i2c.go(1_000)
    assert i2c.out() == (7, 8, 9)


def test_overrun_is_told(i2c):
    i2c.write(model.CTRL_REG3, 0x00)
    for _ in range(2):
        i2c.go(200_000)
        status = i2c.read(model.STATUS_REG)
    assert status == b"\xff"


def test_low_power_is_slow(i2c):
    i2c.write(model.CTRL_REG1, 0x1C)  # 80 Hz, overruled
    i2c.write(model.CTRL_REG3, 0x20)
    i2c.go(10_000)
    i2c.become(1, 2, 3)
    i2c.go(LOW_POWER_PERIOD_US - 20_000)
    assert i2c.out() == (1000, -2000, 3000)
    i2c.go(20_000)
    assert i2c.out() == (1, 2, 3)


def test_one_sample(i2c):
    i2c.write(model.CTRL_REG3, 0x01)
    i2c.go(10_000)
    assert i2c.out() == (1000, -2000, 3000)
    assert i2c.read(model.CTRL_REG3) == b"\x03", "powered down by itself"


@pytest.mark.parametrize(("scale", "factor"), [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_full_scale(i2c, scale, factor):
    i2c.write(model.CTRL_REG2, scale << 5)
    i2c.write(model.CTRL_REG3, 0x00)
    i2c.go(10_000)
    assert i2c.out()[2] == pytest.approx(3000 / factor, rel=0.01)


def test_saturation():
    i2c = I2cBench(40_000, -40_000, 0)
    i2c.write(model.CTRL_REG3, 0x00)
    i2c.go(10_000)
    assert i2c.out() == (32767, -32768, 0)


def test_the_offset_is_subtracted(i2c):
    i2c.write(model.OFFSET_X_L | SEVERAL, *(900).to_bytes(2, "little"))
    i2c.write(model.CTRL_REG3, 0x00)
    i2c.go(10_000)
    assert i2c.out() == (100, -2000, 3000)


@pytest.mark.parametrize(("celsius", "counts"), [(25, 0), (35.5, 84), (-10, -280)])
def test_temperature(celsius, counts):
    i2c = I2cBench(celsius=celsius)
    i2c.write(model.CTRL_REG1, 0x90)
    i2c.write(model.CTRL_REG3, 0x00)
    i2c.go(10_000)
    data = i2c.read(model.TEMP_OUT_L | SEVERAL, 2)
    assert int.from_bytes(data, "little", signed=True) == counts


def test_soft_reset(i2c):
    i2c.write(model.CTRL_REG3, 0x00)
    i2c.write(model.CTRL_REG2, 0x04)
    assert i2c.read(model.CTRL_REG3) == b"\x03"


# ---- the interrupt ----------------------------------------------------------------------------


def test_int_rises_at_the_sample_after_a_change(i2c):
    i2c.watch(300)
    i2c.edges.clear()
    i2c.go(5 * US_PER_S)
    i2c.become(1000, -2000, 3301)
    changed_us = i2c.t_us
    i2c.go(5 * US_PER_S)
    ((level, at_us),) = i2c.edges
    assert level
    assert 0 < at_us - changed_us <= LOW_POWER_PERIOD_US
    assert (at_us - 1_000) % LOW_POWER_PERIOD_US == 0


@pytest.mark.parametrize(
    ("counts", "source"),
    [
        ((1301, -2000, 3000), 0x81),
        ((1000, -1699, 3000), 0x41),
        ((1000, -2000, 3301), 0x21),
        ((699, -2000, 3000), 0x11),
        ((1000, -2301, 3000), 0x09),
        ((1000, -2000, 2699), 0x05),
        ((1301, -2301, 3000), 0x89),
    ],
)
def test_which_axis_and_which_way(i2c, counts, source):
    i2c.watch(300)
    i2c.become(*counts)
    i2c.go(5 * US_PER_S)
    assert i2c.read(model.INT_SRC) == bytes((source,))


def test_at_the_threshold_nothing_happens(i2c):
    i2c.watch(300)
    i2c.become(1300, -2300, 2700)
    i2c.go(5 * US_PER_S)
    assert not i2c.chip.int_level


def test_an_axis_that_is_not_watched(i2c):
    i2c.watch(300, config=0xCD)  # x and y
    i2c.become(1000, -2000, 9000)
    i2c.go(5 * US_PER_S)
    assert not i2c.chip.int_level


def test_latched_until_read(i2c):
    i2c.watch(300)
    i2c.become(2000, -2000, 3000)
    i2c.go(5 * US_PER_S)
    i2c.become(1000, -2000, 3000)
    i2c.go(5 * US_PER_S)
    assert i2c.chip.int_level, "the field is back, the interrupt stays"
    i2c.read(model.INT_SRC)
    assert not i2c.chip.int_level
    i2c.go(5 * US_PER_S)
    assert not i2c.chip.int_level


def test_read_while_it_lasts_it_comes_again(i2c):
    i2c.watch(300)
    i2c.become(2000, -2000, 3000)
    i2c.go(5 * US_PER_S)
    i2c.read(model.INT_SRC)
    assert not i2c.chip.int_level
    i2c.go(LOW_POWER_PERIOD_US)
    assert i2c.chip.int_level


def test_not_latched_it_follows(i2c):
    i2c.watch(300, config=0xEF)
    i2c.become(2000, -2000, 3000)
    i2c.go(5 * US_PER_S)
    assert i2c.chip.int_level
    i2c.become(1000, -2000, 3000)
    i2c.go(5 * US_PER_S)
    assert not i2c.chip.int_level


def test_active_low(i2c):
    assert i2c.chip.int_level, "after power-on the line rests high (INT_CFG 0xE8)"
    i2c.watch(300, config=0xE9)
    assert i2c.chip.int_level
    i2c.become(2000, -2000, 3000)
    i2c.go(5 * US_PER_S)
    assert not i2c.chip.int_level


def test_no_sample_no_look():
    """A quiet bay costs the engine nothing."""
    i2c = I2cBench()
    i2c.watch(300)
    i2c.go(10 * US_PER_S)
    before = i2c.engine.events_run
    i2c.go(100_000 * US_PER_S)
    assert i2c.engine.events_run == before


# ---- refusals ---------------------------------------------------------------------------------


def test_several_octets_without_counting_up(i2c):
    assert i2c.read(model.WHO_AM_I, 3) == b"\x3d\x3d\x3d"
    assert said(i2c, "without bit 7")


@pytest.mark.parametrize("register", [model.WHO_AM_I, model.OUT_X_L, model.INT_SRC, 0x40])
def test_registers_that_take_nothing(i2c, register):
    before = i2c.read(register)
    i2c.write(register, 0x55)
    assert i2c.read(register) == before
    assert said(i2c, f"writes register {register:#04x}")


def test_reserved_registers(i2c):
    i2c.read(0x10)
    assert said(i2c, "reads reserved register 0x10")


@pytest.mark.parametrize("value", [0x00, 0xE1, 0xF9])
def test_int_cfgs_fixed_bits(i2c, value):
    i2c.write(model.INT_CFG, value)
    assert said(i2c, "bit 4 is 0, bit 3 is 1")


def test_a_threshold_with_a_sign(i2c):
    i2c.write(model.INT_THS_H, 0x80)
    assert said(i2c, "INT_THS_H")


def test_without_power(i2c):
    i2c.chip.power(False, i2c.t_us)
    assert i2c.read(model.WHO_AM_I) is None
    assert not i2c.chip.write(model.CTRL_REG3, b"\0", i2c.t_us)


# ---- currents ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ctrl_reg1", "ctrl_reg3", "current_ua"),
    [(0x14, 0x00, 40), (0x74, 0x00, 253), (0x14, 0x20, 2.2), (0x14, 0x03, 1)],
)
def test_currents(i2c, ctrl_reg1, ctrl_reg3, current_ua):
    """DS table 4: 40 uA at 20 Hz in low-power mode, 270 in ultra-high performance, 1 asleep."""
    i2c.write(model.CTRL_REG1, ctrl_reg1)
    i2c.write(model.CTRL_REG3, ctrl_reg3)
    assert i2c.chip.log.entries[-1][2] == pytest.approx(current_ua, rel=0.02)


# ---- the driver -------------------------------------------------------------------------------


class BayBench(Bench):
    def __init__(self, *counts):
        self.field = Field(*counts)
        super().__init__(kind="bay", field=self.field)
        self.driver = Driver(self.board.i2c())

    def measure(self):
        self.driver.measure()
        while not self.driver.fresh():
            self.board.delay_ms(5)
        return self.driver.field()


@pytest.fixture
def bay():
    bay = BayBench(1000, -2000, 3000)
    yield bay
    assert bay.hardware.violations == []


def test_the_driver_measures(bay):
    begun_us = bay.mcu.t_us
    assert bay.measure() == pytest.approx((1000, -2000, 3000), abs=1)
    assert bay.mcu.t_us - begun_us < 30_000


def test_the_offset_does_not_show(bay):
    bay.measure()
    bay.driver.watch((500, 500, 500), 300)
    bay.driver.settle()
    assert bay.measure() == pytest.approx((1000, -2000, 3000), abs=1)


def test_the_driver_sees_saturation():
    bay = BayBench(1000, 33_000, 0)
    bay.measure()
    assert bay.driver.saturated()


def test_watching_wakes_the_board_once(bay):
    field = bay.measure()
    bay.driver.watch(field, 300)
    bay.driver.settle()
    assert not bay.board.sensor_int()
    seen = []

    def measure_anew():
        seen.append((bay.engine.now_us, bay.board.wake_reason(), bay.board.sensor_int()))
        driver = Driver(bay.board.i2c())
        driver.watch((1000, -2000, 2500), 300)
        driver.settle()
        bay.board.arm(1)
        bay.mcu.begin_deep(3_600_000)

    bay.mcu.on_boot = measure_anew
    bay.board.arm(1)
    bay.mcu.begin_deep(3_600_000)
    bay.engine.run_until(600 * US_PER_S)
    assert seen == []
    bay.field.become(bay.engine.now_us, 1000, -2000, 2500)
    bay.engine.run_until(700 * US_PER_S)
    ((woken_us, reason, level),) = seen
    assert woken_us - 600 * US_PER_S < LOW_POWER_PERIOD_US + 500_000
    assert reason == "pin"
    assert level
    assert not bay.board.sensor_int()


def test_no_sensor():
    with pytest.raises(OSError, match="19"):
        Driver(Bench(kind="bay").board.i2c())
