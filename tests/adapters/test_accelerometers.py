"""The models of the accelerometers, and the firmware's drivers on them."""

import pytest
from stoep_firmware.drivers import lis2dw12, lis3dh
from stoep_hardware.chips import lis2dw12 as lis2dw12_model
from stoep_hardware.chips import lis3dh as lis3dh_model
from stoep_hardware.engine import US_PER_S, Engine
from stoep_hardware.handling import Handling

CHIPS = {
    "lis3dh": (lis3dh_model.Lis3dh, lis3dh),
    "lis2dw12": (lis2dw12_model.Lis2dw12, lis2dw12),
}


class Bench:
    """A chip on a container, and its bus, which takes no time."""

    def __init__(self, name, *, mounted=0.0, **options):
        model, self.driver = CHIPS[name]
        self.engine = Engine(1)
        self.handling = Handling(self.engine, "1", mounted=mounted)
        self.chip = model(self.engine, self.handling, keep_states=True, **options)
        self.edges = []
        self.chip.on_int = lambda level, t_us: self.edges.append((level, t_us))

    def readfrom_mem(self, address, register, count):
        data = None
        if address == self.chip.address:
            data = self.chip.read(register, count, self.engine.now_us)
        if data is None:
            raise OSError(19)
        return data

    def writeto_mem(self, address, register, data):
        if address != self.chip.address or not self.chip.write(register, data, self.engine.now_us):
            raise OSError(19)

    def go(self, seconds):
        self.engine.run_until(self.engine.now_us + round(seconds * US_PER_S))

    def sensor(self):
        return self.driver.Accelerometer(self)

    def watching(self):
        """A sensor that watches, as after the board's first look."""
        sensor = self.sensor()
        sensor.watch()
        self.go(self.driver.SETTLE_MS / 1000)
        sensor.moved()
        self.go(60)
        assert not self.chip.int_level
        return sensor


@pytest.fixture(params=sorted(CHIPS))
def name(request):
    return request.param


def test_driver_finds_its_chip_at_either_address_and_no_other(name):
    for address in (0x18, 0x19):
        bench = Bench(name, address=address)
        bench.sensor().watch()
        assert bench.chip.violations == []
    other = next(other for other in CHIPS if other != name)
    with pytest.raises(OSError, match="19"):
        CHIPS[name][1].Accelerometer(Bench(other))
    bench = Bench(name, address=0x1A)
    with pytest.raises(OSError, match="19"):
        bench.sensor()


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 180, 270])
def test_position_is_the_earths_pull(name, degrees):
    bench = Bench(name, mounted=degrees)
    sensor = bench.watching()
    expected = bench.handling.acceleration_mg(0)
    # 16 mg a count of eight bits, cut off, not rounded; 1 mg of twelve.
    for got, pull in zip(sensor.position_mg(), expected, strict=True):
        assert got == pytest.approx(pull, abs=17)
    assert bench.chip.violations == []


def test_it_knows_whether_it_watches_and_a_loss_of_power_ends_it(name):
    bench = Bench(name)
    assert not bench.sensor().watches()
    sensor = bench.watching()
    assert sensor.watches()
    bench.chip.power(False, bench.engine.now_us)
    with pytest.raises(OSError, match="19"):
        sensor.watches()
    bench.chip.power(True, bench.engine.now_us)
    assert not sensor.watches()


def test_watching_takes_what_the_data_sheet_says(name):
    bench = Bench(name)
    bench.watching()
    before_uc = bench.chip.log.charge_uc(bench.engine.now_us)
    bench.go(1000)
    used_ua = (bench.chip.log.charge_uc(bench.engine.now_us) - before_uc) / 1000
    assert used_ua == pytest.approx({"lis3dh": 3.0, "lis2dw12": 0.38}[name])
    assert 0 <= bench.driver.WATCHING_UA - used_ua < 1


@pytest.mark.parametrize("mounted", [0, 90, 200])
def test_neither_rest_nor_a_lids_slam_raises_the_line(name, mounted):
    bench = Bench(name, mounted=mounted)
    bench.watching()
    bench.edges.clear()
    for _ in range(50):
        bench.handling.use_lid(3.0)
        bench.go(47.3)
    assert bench.edges == []


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_falling_over_raises_the_line_and_reading_lets_go_of_it(name, degrees):
    bench = Bench(name)
    sensor = bench.watching()
    begun_us = bench.engine.now_us
    bench.edges.clear()
    bench.handling.tilt(degrees)
    bench.go(6)
    assert [level for level, _ in bench.edges] == [True]
    assert bench.edges[0][1] - begun_us < 4 * US_PER_S
    bench.go(3600)  # latched
    assert bench.chip.int_level
    assert sensor.moved()
    assert not bench.chip.int_level
    bench.go(60)
    assert not bench.chip.int_level
    assert not sensor.moved()


def test_a_ride_raises_the_line_again_and_again(name):
    bench = Bench(name)
    sensor = bench.watching()
    bench.handling.shake(300)
    caught = 0
    for _ in range(5):
        bench.go(59)
        caught += sensor.moved()
    assert caught == 5
    bench.go(60)
    sensor.moved()
    bench.go(60)
    assert not sensor.moved()


def test_an_emptying_is_seen(name):
    bench = Bench(name)
    sensor = bench.watching()
    bench.handling.empty()
    bench.go(120)
    assert sensor.moved()
    assert sensor.position_mg()[2] == pytest.approx(1000, abs=17)


def test_small_and_slow_movements_raise_nothing(name):
    bench = Bench(name)
    bench.watching()
    bench.edges.clear()
    bench.handling.shake(600, strength_mg=100)  # wind
    bench.go(700)
    for degrees in range(40):  # it sinks in
        bench.handling.tilt(degrees)
        bench.go(600)
    assert bench.edges == []


def test_a_chip_that_measures_no_more_shows_the_same_for_ever(name):
    bench = Bench(name)
    sensor = bench.watching()
    bench.chip.stuck = bytes(6)
    bench.handling.tilt(90)
    bench.go(60)
    assert sensor.position_mg() == (0, 0, 0)
    assert not sensor.moved()
    assert sensor.watches()


# --- the chips' own ways ---------------------------------------------------------------------


def test_lis3dh_takes_the_earth_for_movement_until_its_filter_is_reset():
    bench = Bench("lis3dh")
    sensor = bench.sensor()
    sensor.watch()
    bench.go(5)
    assert bench.chip.int_level  # one g in one step
    assert sensor.moved()
    bench.go(60)
    assert not bench.chip.int_level


def test_lis3dh_needs_bit_7_to_count_registers_up():
    bench = Bench("lis3dh")
    bench.chip.read(0x28, 6, 0)
    assert len(bench.chip.violations) == 1


def test_lis3dh_without_a_latch_lets_go_by_itself():
    bench = Bench("lis3dh")
    bench.watching()
    bench.writeto_mem(0x18, lis3dh_model.CTRL_REG5, b"\0")
    bench.handling.tilt(90)
    bench.go(60)
    assert [level for level, _ in bench.edges][-2:] == [True, False]


def test_lis2dw12_tells_a_side_as_soon_as_it_measures():
    bench = Bench("lis2dw12")
    sensor = bench.sensor()
    sensor.watch()
    bench.go(2)
    assert bench.chip.int_level
    assert sensor.moved()
    assert not bench.chip.int_level


def test_lis2dw12_lets_go_by_any_of_its_sources():
    for register in (lis2dw12_model.SIXD_SRC, lis2dw12_model.ALL_INT_SRC):
        bench = Bench("lis2dw12")
        bench.watching()
        bench.writeto_mem(0x18, lis2dw12_model.WAKE_UP_THS, b"\x3f\x40")  # 6D alone
        bench.handling.tilt(90)
        bench.go(10)
        assert bench.chip.int_level
        bench.readfrom_mem(0x18, register, 1)
        assert not bench.chip.int_level
