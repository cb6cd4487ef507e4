"""Whole wakes with each distance sensor: from the ping to the report, on both runtimes."""

import pathlib
import re

import pytest
from chip_bench import Bench
from firmware_place import Place
from stoep_firmware.drivers import load
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


class Waste:
    def __init__(self, at_mm):
        self.at_mm = at_mm

    def distance_mm(self, _t_us):
        return self.at_mm


@pytest.mark.parametrize("sensor", SENSORS)
def test_charge_of_a_reading_is_what_the_page_says(sensor):
    page = (pathlib.Path(__file__).parents[2] / "docs/sensing.md").read_text("utf-8")
    row = re.search(rf"^\| `{sensor}`.*$", page, re.MULTILINE)[0].split("|")
    said = [int(figure) for figure in re.findall(r"\d+(?= mC|,? without)", row[6])]
    for at_mm, said_mc in zip((1_000, None), said, strict=False):
        bench = Bench(distance=Waste(at_mm), sensor=sensor)
        logs = (bench.mcu.log, bench.hardware.sonar.log)
        before_uc = sum(log.charge_uc(bench.mcu.t_us) for log in logs)
        bench.drive(load(sensor).sample(bench.board, 5, 20))
        taken_uc = sum(log.charge_uc(bench.mcu.t_us) for log in logs) - before_uc
        assert taken_uc / 1_000 == pytest.approx(said_mc, rel=0.05)


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
    # Without a thermometer the air is taken to have 20 degrees, and has 15 to 27.
    assert told[-1].distance_mm == pytest.approx(620, rel=0.013, abs=2)
    assert told[-1].history[1][1] == pytest.approx(1_730, rel=0.013, abs=10)
    assert faults(place) == set()
    assert place.board.sonar.log.state == ("standby" if sensor == "vl53l1x" else "off")


@pytest.mark.parametrize("sensor", ["hcsr04", "jsnsr04t"])
@pytest.mark.parametrize("air_c", [-15.0, 40.0])
def test_thermometer_corrects_what_cold_and_warm_air_do(sensor, air_c):
    told_mm = {}
    for config in ({}, {"thermometer": "tmp102"}):
        place = Place(CPythonDevice, sensor=sensor, **config)
        place.handling.temperature_c = lambda _t_us: air_c
        place.board.sonar._air_c = air_c
        place.distance = 2_000
        place.run(hours=1.5)
        place.check()
        place.device.close()
        told_mm[bool(config)] = reports(place)[-1].distance_mm
    assert told_mm[True] == pytest.approx(2_000, rel=0.003)
    assert told_mm[False] == pytest.approx(2_000 * (1 + 0.0018 * (20 - air_c)), rel=0.01)


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
