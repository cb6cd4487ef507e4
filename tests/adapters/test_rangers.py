"""Whole wakes with each distance sensor: from the ping to the report, on both runtimes."""

import pytest
from firmware_place import Place
from stoep_hardware import micropython_runtime
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_protocol.messages import BinReport, Status
from stoep_protocol.schema import ECHO_BLOCKED, ERROR_SENSOR_BUS, ERROR_SENSOR_SILENT

needs_micropython = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)
RUNTIMES = [
    pytest.param(CPythonDevice, id="cpython"),
    pytest.param(MicroPythonDevice, id="micropython", marks=needs_micropython),
]
SENSORS = ["a02yyuw", "maxbotix", "hcsr04", "jsnsr04t", "vl53l1x"]


@pytest.fixture(params=RUNTIMES)
def container(request):
    """Make containers' boards; they are closed at the end, and nothing was asked amiss."""
    made = []

    def make(sensor, **options):
        made.append(Place(request.param, sensor=sensor, **options))
        return made[-1]

    yield make
    for place in made:
        place.check()
        place.device.close()


def reports(place):
    return [message for message in place.far.messages if isinstance(message, BinReport)]


def faults(place):
    heard = [message.errors for message in place.far.messages if isinstance(message, Status)]
    return {code for codes in heard for code in codes}


@pytest.mark.parametrize("sensor", SENSORS)
def test_distances_are_reported(container, sensor):
    place = container(sensor)
    place.run(hours=0.5)
    for distance_mm, hours in ((1_730, 1), (620, 1), (620, 1)):
        place.distance = distance_mm
        place.run(hours=hours)
    told = reports(place)
    assert len(told) >= 3
    assert [report.quality for report in told] == [4] * len(told)
    assert [report.flags for report in told] == [0] * len(told)
    assert told[-1].distance_mm == pytest.approx(620, abs=10)
    assert told[-1].history[1][1] == pytest.approx(1_730, abs=10)
    assert faults(place) == set()
    assert place.board.sonar.log.state == ("standby" if sensor == "vl53l1x" else "off")


@pytest.mark.parametrize("sensor", SENSORS)
def test_what_is_no_distance_is_reported_as_such(container, sensor):
    place = container(sensor)
    place.distance = None
    place.run(hours=1.5)
    told = reports(place)
    assert told
    assert [(report.distance_mm, report.quality, report.flags) for report in told] == [
        (None, 0, 0)
    ] * len(told)
    place.distance = 3
    place.run(hours=1)
    assert (reports(place)[-1].distance_mm, reports(place)[-1].flags) == (None, ECHO_BLOCKED)


@pytest.mark.parametrize("sensor", [name for name in SENSORS if name != "vl53l1x"])
def test_dead_sensor_is_told_after_some_wakes(container, sensor):
    place = container(sensor, interval_s=600)
    place.run(hours=0.5)
    assert faults(place) == set()
    place.board.sonar.power = lambda _on, _t_us: None
    place.run(hours=2)
    assert reports(place)[-1].distance_mm is None
    assert faults(place) == {ERROR_SENSOR_SILENT}


def test_sensor_that_is_missing_on_a_bus_is_told_at_once(container):
    place = container("vl53l1x", interval_s=600)
    place.board.sonar.fault = "dead"
    place.run(hours=0.5)
    assert reports(place)[-1].distance_mm is None
    assert faults(place) == {ERROR_SENSOR_BUS}
