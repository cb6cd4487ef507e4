"""A bay with a distance sensor beside its magnetometer, on a board of chip models."""

import pytest
from firmware_place import Place
from stoep_hardware.devices import CPythonDevice
from stoep_protocol import messages, schema


@pytest.fixture
def place():
    made = []

    def make(**options):
        made.append(Place(CPythonDevice, kind="bay", **options))
        made[-1].distance = None  # the sky
        return made[-1]

    yield make
    for one in made:
        one.device.close()


def told(here):
    return [it for it in here.far.messages if isinstance(it, messages.BayReport)][-1]


def test_a_car_is_seen_from_below_and_the_sensor_else_left_alone(place):
    here = place(second="a02yyuw")
    here.run(hours=6.5)
    assert here.board.logs()["a02yyuw"].us_in("on", here.engine.now_us) == 0
    here.bay.arrive()
    here.distance = 240
    here.run(seconds=40)
    assert told(here).state == schema.OCCUPIED
    asked_us = here.board.sonar.log.us_in("on", here.engine.now_us)
    assert 0 < asked_us < 3_000_000
    here.run(hours=5)
    assert here.board.sonar.log.us_in("on", here.engine.now_us) == asked_us
    here.bay.leave()
    here.distance = None
    here.run(seconds=40)
    assert told(here).state == schema.FREE
    here.check()


def test_a_vl53l1x_beside_a_magnetometer_on_one_bus(place):
    here = place(second="vl53l1x")
    here.run(hours=6.5)
    assert here.board.sonar.measurements == 0
    for count in (1, 3, 5):
        here.bay.arrive()
        here.distance = 240
        here.run(seconds=40)
        assert (told(here).state, told(here).change_count) == (schema.OCCUPIED, count)
        here.run(hours=1)
        here.bay.leave()
        here.distance = None
        here.run(seconds=40)
        assert (told(here).state, told(here).change_count) == (schema.FREE, count + 1)
        here.run(hours=1)
    assert 6 * 5 <= here.board.sonar.measurements <= 6 * 10
    here.check()


def test_a_car_beside_the_bay_under_a_clear_sky_is_none(place):
    here = place(second="vl53l1x")
    here.run(hours=0.5)
    for _ in range(3):
        here.bay.arrive()  # as strong as one above
        here.run(hours=1.2)
        assert (told(here).state, told(here).change_count) == (schema.FREE, 0)
        here.bay.leave()
        here.run(hours=1.2)
        assert (told(here).state, told(here).change_count) == (schema.FREE, 0)
    here.check()


def test_mud_on_the_lens_leaves_the_field_to_decide(place):
    here = place(second="vl53l1x")
    here.distance = 15
    here.run(hours=0.5)
    for _ in range(3):
        here.bay.arrive()
        here.run(seconds=40)
        assert told(here).state == schema.OCCUPIED
        here.run(hours=0.5)
        here.bay.leave()
        here.run(seconds=40)
        assert told(here).state == schema.FREE
        here.run(hours=0.5)
    here.check()


def test_dirt_is_remembered_from_wake_to_wake(place):
    here = place(second="vl53l1x")
    here.run(hours=0.5)
    here.bay.arrive()
    here.distance = 160
    here.run(hours=1)
    here.bay.leave()
    here.run(seconds=40)
    assert told(here).state == schema.FREE, "though something is still seen"
    asked = here.board.sonar.measurements
    here.bay.disturb((7.3, 0.0, 0.0), 1800)  # a weak change: what is above it would be a car
    here.run(hours=1.1)
    assert here.board.sonar.measurements > asked
    assert (told(here).state, told(here).change_count) == (schema.FREE, 2)
    here.check()


def test_a_field_that_no_car_explains_is_resolved(place):
    here = place(second="a02yyuw")
    here.run(hours=0.5)
    here.bay.arrive()
    here.distance = 240
    here.run(hours=1)
    here.distance = None  # of this sensor that says nothing
    x, y, z = here.bay._car_ut
    here.bay._car_ut = (-2 * x, 3 * y, z / 2)
    here.bay._notify()
    here.run(hours=1.2)
    assert told(here).state == schema.UNCERTAIN
    here.distance = 300
    here.run(hours=1.2)
    assert told(here).state == schema.OCCUPIED
    assert told(here).change_count == 1
    here.check()


def test_a_second_sensor_that_is_not_there_leaves_the_field_to_decide(place):
    here = place(second="a02yyuw")
    here.board.esp32.buses.uart_source = None
    here.run(hours=0.5)
    here.bay.arrive()
    here.run(seconds=40)
    assert told(here).state == schema.OCCUPIED
    here.bay.leave()
    here.run(seconds=40)
    assert told(here).state == schema.FREE
    here.check()
