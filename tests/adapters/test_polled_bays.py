"""A bay with another magnetometer than a LIS3MDL: most have no threshold, so a clock has to do."""

import random

import pytest
from firmware_place import Place
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import messages, schema

POLL_S = 60
LATEST_S = POLL_S + 15  # with settling, six fields and the uplink


@pytest.fixture
def place():
    made = []

    def make(runtime=CPythonDevice, **options):
        made.append(Place(runtime, kind="bay", **options))
        return made[-1]

    yield make
    for one in made:
        one.device.close()


@pytest.fixture(scope="module")
def micropython():
    if not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    with MicroPythonRuntime() as program:
        yield lambda *arguments: MicroPythonDevice(*arguments, program)


def reports(here):
    return [it for it in here.far.messages if isinstance(it, messages.BayReport)]


def told(here, state, seconds=LATEST_S):
    here.run(seconds=seconds)
    assert reports(here)[-1].state == state
    return reports(here)[-1]


@pytest.mark.parametrize("sensor", ["qmc5883l", "qmc5883p", "hmc5883l", "gy271", "mmc5983ma"])
def test_cars_are_told_within_a_poll(place, sensor):
    here = place(sensor=sensor)
    here.run(hours=0.5)
    count = reports(here)[-1].change_count
    for _ in range(3):
        here.bay.arrive()
        count += 1
        assert told(here, schema.OCCUPIED).change_count == count
        here.run(hours=0.3)
        here.bay.leave()
        count += 1
        assert told(here, schema.FREE).change_count == count
        here.run(hours=0.3)
    status = next(it for it in here.far.messages if isinstance(it, messages.Status))
    assert status.errors == ()
    here.check()


def test_an_rm3100_wakes_the_board(place):
    here = place(sensor="rm3100")
    here.run(hours=0.5)
    wakes = here.device.wakes
    here.run(hours=3)
    assert here.device.wakes - wakes <= 5
    count = reports(here)[-1].change_count
    for _ in range(3):
        here.bay.arrive()
        count += 1
        assert told(here, schema.OCCUPIED, 20).change_count == count
        here.run(hours=0.3)
        here.bay.leave()
        count += 1
        assert told(here, schema.FREE, 20).change_count == count
        here.run(hours=0.3)
    here.check()


def test_an_rm3100_that_compares_unsigned_is_looked_at_by_the_clock(place):
    here = place(sensor="rm3100")
    north, _, down = here.bay._earth_ut
    here.bay._earth_ut = (north, 0.5, down)  # an axis whose limits have two signs
    here.board.magnetometer._is_unsigned = True
    here.run(hours=2)
    wakes = here.device.wakes
    here.run(hours=4)
    assert here.device.wakes - wakes <= 4 * 12 + 5, "it would empty the battery"
    here.bay.arrive()
    told(here, schema.OCCUPIED, 320)
    here.check()


def test_a_poll_without_a_change_says_nothing_and_costs_little(place):
    here = place(sensor="qmc5883l")
    here.run(hours=1.5)
    wakes, said = here.device.wakes, len(here.far.uplinks)
    awake = here.board.esp32.log.us_in("awake", here.engine.now_us)
    here.run(hours=6)
    polls = here.device.wakes - wakes
    assert 6 * 60 - 10 <= polls <= 6 * 60 + 1
    assert len(here.far.uplinks) - said <= 7  # heartbeats
    # A look at one field, not at six of them after a time to settle.
    awake = here.board.esp32.log.us_in("awake", here.engine.now_us) - awake
    assert awake / polls < 60_000
    here.check()


def test_the_pace_is_config_jsons(place):
    here = place(sensor="qmc5883p", poll_s=10)
    here.run(hours=0.5)
    here.bay.arrive()
    told(here, schema.OCCUPIED, 25)
    wakes = here.device.wakes
    here.run(hours=1)
    assert here.device.wakes - wakes >= 340


def test_who_passes_between_two_looks_is_not_seen_and_the_bay_stays_as_it_is(place):
    here = place(sensor="hmc5883l")
    here.run(hours=0.5)
    for _ in range(5):
        here.bay.disturb((30.0, -20.0, 25.0), 10.0)
        here.run(seconds=95)
    assert {it.state for it in reports(here)} == {schema.FREE}
    here.check()


@pytest.mark.parametrize("sensor", ["rm3100", "qmc5883p"])
def test_the_charge_that_is_counted_is_the_charge_that_is_taken(place, sensor):
    here = place(sensor=sensor, poll_s=900)
    here.run(hours=14 * 24)
    status = [it for it in here.far.messages if isinstance(it, messages.Status)][-1]
    taken_mah = here.board.charge_uc(here.engine.now_us) / 3_600_000
    # The last status is up to a day old and counts whole mAh.
    assert status.charge_used_mah == pytest.approx(taken_mah * 27 / 28, abs=1 + 0.06 * taken_mah)


def test_in_mode_regular_nobody_polls(place):
    here = place(sensor="qmc5883l", mode=schema.MODE_REGULAR)
    here.run(hours=1.5)
    wakes = here.device.wakes
    here.run(hours=5)
    assert here.device.wakes - wakes <= 6


def test_a_sensor_that_is_away_for_a_while(place):
    here = place(sensor="qmc5883p")
    here.run(hours=0.5)
    slaves = here.board.esp32.buses.i2c_slaves
    cable = dict(slaves)
    slaves.clear()
    told(here, schema.UNCERTAIN)
    wakes = here.device.wakes
    here.run(hours=1)
    assert here.device.wakes - wakes <= 9  # every ten minutes, and a heartbeat
    slaves.update(cable)
    told(here, schema.FREE, 650)
    here.bay.arrive()
    told(here, schema.OCCUPIED)
    here.check()


class Manoeuvre:
    """A car's field, another at every look, until it stays as it was last seen."""

    def __init__(self, bay, until_us):
        self._bay = bay
        self._until_us = until_us
        self._random = random.Random(1)
        self._moved = (0.0, 0.0, 0.0)

    def field_ut(self, t_us):
        if t_us < self._until_us:
            self._moved = tuple(self._random.uniform(20.0, 80.0) for _ in range(3))
        field = zip(self._bay.field_ut(t_us), self._moved, strict=True)
        return tuple(part + more for part, more in field)

    def temperature_c(self, t_us):
        return self._bay.temperature_c(t_us)


def test_a_field_that_rests_as_it_was_last_seen_moving_is_judged(place):
    here = place(sensor="qmc5883l")
    here.run(hours=0.5)
    until_us = here.engine.now_us + (POLL_S + 12) * 1_000_000
    here.board.magnetometer._source = Manoeuvre(here.bay, until_us)
    here.run(seconds=POLL_S + 30)
    assert reports(here)[-1].state == schema.FREE
    told(here, schema.OCCUPIED, 2 * POLL_S)


def test_a_field_that_never_rests_is_looked_at_ever_more_rarely(place):
    here = place(sensor="qmc5883l")
    here.run(hours=0.5)
    here.bay.NOISE_UT = 30.0
    wakes = here.device.wakes
    here.run(hours=4)
    assert here.device.wakes - wakes <= 32 + 4 * 12 + 8


@pytest.mark.parametrize("sensor", ["gy271", "qmc5883l", "hmc5883l", "mmc5983ma", "rm3100"])
def test_the_real_micropython_does_it_as_well(place, micropython, sensor):
    here = place(micropython, sensor=sensor)
    here.run(hours=0.1)
    here.bay.arrive()
    told(here, schema.OCCUPIED)
    here.bay.leave()
    told(here, schema.FREE, 180)
    here.check()
