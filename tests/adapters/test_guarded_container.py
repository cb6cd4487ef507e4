"""A container's board with accelerometer, thermometer and lid switch, on either runtime."""

import pytest
from firmware_place import Place
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import messages, schema

FITTED = {"motion": "lis3dh", "thermometer": "tmp102", "lid": True}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder for the compiled firmware, so that it is compiled once."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(params=["cpython", "micropython"])
def place(request, compiled):
    made = []

    def make(runtime, **options):
        made.append(Place(runtime, **{**FITTED, **options}))
        return made[-1]

    if request.param == "cpython":
        yield lambda **options: make(CPythonDevice, **options)
    elif not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    else:
        with MicroPythonRuntime(compiled) as program:
            yield lambda **options: make(
                lambda *arguments: MicroPythonDevice(*arguments, program), **options
            )
            for one in made:
                one.device.close()
            made.clear()
    for one in made:
        one.device.close()


def reports(here):
    return [message for message in here.far.messages if isinstance(message, messages.BinReport)]


def settled(place, **options):
    """A board that has learned how it stands."""
    here = place(**options)
    here.run(hours=3.2)
    assert {report.flags for report in reports(here)} == {0}
    return here


def newer(here, before):
    return reports(here)[len(before) :]


def test_everyday_has_temperature_and_openings_and_no_alarm(place):
    here = settled(place)
    before = reports(here)
    for seconds in (2.0, 5.0, 1.0):
        here.handling.use_lid(seconds)
        here.run(seconds=40)
    here.run(hours=2)
    told = newer(here, before)
    assert [report.flaps for report in told] == [3, 0]
    assert {report.flags for report in told} == {0}
    air_c = here.handling.temperature_c(here.engine.now_us)
    assert told[-1].temperature_c == pytest.approx(air_c, abs=2)
    assert here.device.wakes < 20
    here.check()


def test_what_has_fallen_over_is_told_within_minutes_and_with_each_report_until_it_stands(place):
    here = settled(place)
    before = reports(here)
    here.handling.tilt(90)
    here.run(seconds=300)
    assert [report.flags for report in newer(here, before)] == [schema.TILTED]
    here.run(hours=2)
    assert {report.flags for report in newer(here, before)} == {schema.TILTED}
    assert len(newer(here, before)) == 3
    before = reports(here)
    here.handling.tilt(0)
    here.run(hours=1.1)
    assert schema.TILTED not in {report.flags for report in newer(here, before)}
    here.check()


def test_an_emptying_is_no_alarm_but_a_fresh_reading(place):
    here = settled(place)
    before = reports(here)
    here.handling.empty()
    here.distance = 1400
    here.run(seconds=400)
    told = newer(here, before)
    assert {report.flags for report in told} <= {0}
    if told:
        assert told[-1].distance_mm == 1400
    here.run(hours=1.1)
    assert {report.flags for report in newer(here, before)} == {0}
    here.check()


def test_what_is_carried_off_is_told_once_and_with_each_report(place):
    here = settled(place)
    before = reports(here)
    here.handling.shake(5400)
    here.run(seconds=600)
    assert [report.flags for report in newer(here, before)] == [schema.MOVED]
    wakes = here.device.wakes
    here.run(hours=1)
    assert [report.flags for report in newer(here, before)] == [schema.MOVED] * 2
    assert here.device.wakes <= wakes + 3
    here.run(hours=1.5)
    assert reports(here)[-1].flags == 0
    here.check()


def test_fire_is_told_at_the_next_look(place):
    here = settled(place, interval_s=900)
    before = reports(here)
    here.handling.burn(per_min=20)
    here.run(seconds=1000)
    told = newer(here, before)
    assert schema.FIRE in {report.flags for report in told}
    assert told[-1].temperature_c == schema.TEMPERATURE_MAX_C
    here.check()


def test_lid_left_open_is_told_once_and_with_each_report_until_it_is_shut(place):
    here = settled(place, lid_open_min=10)
    before = reports(here)
    here.handling.set_lid(True, bounces=5)
    here.run(seconds=570)
    assert schema.LID_OPEN not in {report.flags for report in newer(here, before)}
    here.run(seconds=60)
    assert reports(here)[-1].flags == schema.LID_OPEN
    assert reports(here)[-1].flaps == 1
    here.run(hours=2)
    told = newer(here, before)
    assert [report.flags for report in told if report.flags] == [schema.LID_OPEN] * 3
    here.handling.set_lid(False, bounces=5)
    here.run(hours=1.1)
    assert reports(here)[-1].flags == 0
    here.check()
