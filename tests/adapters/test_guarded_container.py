"""A container's board with accelerometer, thermometer and lid switch, on either runtime."""

import pytest
from firmware_place import Place
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import messages, schema
from stoep_protocol.calibration import STEP_ECHOES, Calibrate, Calibrated

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


def test_the_other_accelerometer_tells_the_same(place):
    here = settled(place, motion="lis2dw12")
    for _ in range(20):
        here.handling.use_lid(3.0)
        here.run(seconds=60)
    assert {report.flags for report in reports(here)} == {0}
    before = reports(here)
    here.handling.tilt(180)
    here.run(seconds=300)
    assert [report.flags for report in newer(here, before)] == [schema.TILTED]
    here.handling.tilt(0)
    here.run(hours=1.1)
    before = reports(here)
    here.handling.shake(900)
    here.run(seconds=600)
    assert [report.flags for report in newer(here, before)][-1] == schema.MOVED
    here.run(hours=2.2)  # in the first of these it was still moved
    assert reports(here)[-1].flags == 0
    here.check()


def test_after_an_echo_test_it_stands_as_it_shall(place):
    here = settled(place)  # on the technician's table
    here.handling.tilt(90)  # where it is mounted
    here.run(seconds=300)
    assert reports(here)[-1].flags == schema.TILTED
    f_port, data = messages.encode(Calibrate(STEP_ECHOES))
    here.far.down.append({"f_port": f_port, "data": data})
    here.run(hours=2.2)
    assert [type(message) for message in here.far.messages].count(Calibrated) == 1
    assert reports(here)[-1].flags == 0
    before = reports(here)
    here.handling.tilt(0)
    here.run(seconds=300)
    assert [report.flags for report in newer(here, before)] == [schema.TILTED]
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
    # Among earlier readings they have no flags: so what was measured past the lid is rejected.
    assert [report.quality for report in told if report.flags] == [1] * 3
    assert [quality for _, _, quality in reports(here)[-1].history[:3]] == [1] * 3
    assert reports(here)[-1].quality > 1
    here.check()


# --- the lid ---------------------------------------------------------------------------------


def test_an_opening_costs_half_a_report_and_wakes_neither_radio_nor_sensors(place):
    here = settled(place)
    here.run(seconds=60)
    esp32, radio = here.board.esp32.log, here.board.radio.log
    sonar = here.board.sonar.log
    before = here.engine.now_us
    charges = [log.charge_uc(before) for log in (esp32, radio, sonar)]
    wakes = here.device.wakes
    here.handling.use_lid(4.0)
    here.run(seconds=60)
    used = [
        log.charge_uc(here.engine.now_us) - charge
        for log, charge in zip((esp32, radio, sonar), charges, strict=True)
    ]
    assert here.device.wakes == wakes + 1
    assert used[0] == pytest.approx(30_000 + 60 * 15, rel=0.03)
    assert used[1] < 60  # asleep
    assert used[2] == 0


def test_bounces_are_one_opening_and_a_touch_is_none(place):
    here = settled(place)
    before = reports(here)
    here.handling.use_lid(3.0, bounces=20)
    here.run(seconds=60)
    here.handling.flaps = 0
    here.handling.use_lid(0.2)  # shut before the board is up
    here.run(hours=1.1)
    assert [report.flaps for report in newer(here, before)] == [1]


def test_openings_in_the_night_of_a_long_interval_are_all_counted(place):
    here = settled(place, interval_s=4 * 3600)
    here.run(hours=9)
    before = reports(here)
    counted = here.handling.flaps
    for number in range(40):
        here.handling.use_lid(1.0 + number % 7)
        here.run(seconds=200)
    here.run(hours=4)
    told = newer(here, before)
    assert sum(report.flaps for report in told) == here.handling.flaps - counted
    here.check()


def test_a_lid_opened_while_the_board_reports_is_counted_when_it_sleeps(place):
    here = settled(place)
    before = reports(here)
    while not here.board.radio.log.state.startswith("tx"):
        here.run(seconds=0.05)
    here.handling.use_lid(20)
    here.run(hours=1.2)
    assert newer(here, before)[-1].flaps == 1


def test_a_switch_that_chatters_for_a_day_is_not_listened_to(place):
    here = settled(place)
    esp32 = here.board.esp32
    before, wakes = esp32.log.charge_uc(here.engine.now_us), here.device.wakes
    for _ in range(24 * 60):
        for _ in range(10):
            here.handling.set_lid(True)
            here.run(seconds=3)
            here.handling.set_lid(False)
            here.run(seconds=3)
    used_mah = (esp32.log.charge_uc(here.engine.now_us) - before) / 3_600_000
    assert here.device.wakes - wakes < 64 + 24 * (12 + 4)
    assert used_mah < 4
    told = reports(here)
    assert max(report.flaps for report in told) <= 64 + 12
    assert told[-1].flaps >= 10
    here.check()


def test_movement_wakes_the_board_after_openings_too(place):
    here = settled(place)
    before = reports(here)
    here.handling.use_lid(3.0)
    here.run(seconds=60)
    here.handling.tilt(90)
    here.run(seconds=300)
    assert [report.flags for report in newer(here, before)] == [schema.TILTED]
    assert newer(here, before)[0].flaps == 1


def test_a_container_without_a_level_sensor_tells_its_openings_alone(place):
    here = settled(place, sensor="absent")
    before = reports(here)
    charge_uc = here.board.charge_uc(here.engine.now_us)
    here.handling.use_lid(3.0)
    here.run(hours=1.1)
    [told] = newer(here, before)
    assert (told.distance_mm, told.quality, told.flags, told.flaps) == (None, 0, 0, 1)
    assert schema.ERROR_SENSOR_SILENT not in errors(here)
    # One report and one opening: no burst that is waited for in vain.
    assert here.board.charge_uc(here.engine.now_us) - charge_uc < 250_000
    here.run(hours=6)
    assert schema.ERROR_SENSOR_SILENT not in errors(here)
    here.check()


# --- sensors that fail -----------------------------------------------------------------------


def errors(here):
    statuses = [message for message in here.far.messages if isinstance(message, messages.Status)]
    return {code for status in statuses for code in status.errors}


def test_sensors_that_are_not_there_are_told_and_the_level_is_reported(place):
    here = place()
    here.board.fittings.accelerometer.power(False, 0)
    here.engine.at(1, lambda: here.board.fittings.accelerometer.power(False, 1))
    here.run(hours=2.2)
    assert schema.ERROR_SENSOR_BUS in errors(here)
    told = reports(here)
    assert {(report.distance_mm, report.flags) for report in told} == {(800, 0)}
    # The others go on.
    assert None not in {report.temperature_c for report in told}


def test_a_thermometer_that_says_nothing_true_is_none(place):
    here = settled(place)
    before = reports(here)
    here.board.fittings.thermometer.fault = "high"
    here.run(hours=1.1)
    assert [report.temperature_c for report in newer(here, before)] == [None]
    assert schema.ERROR_SENSOR_SILENT in errors(here)


def test_a_thermometer_that_answers_no_more_leaves_no_old_temperature(place):
    here = settled(place)
    before = reports(here)
    here.board.fittings.thermometer.fault = "silent"
    here.run(hours=2.1)
    assert [report.temperature_c for report in newer(here, before)] == [None, None]
    assert schema.ERROR_SENSOR_BUS in errors(here)


def test_an_accelerometer_that_is_stuck_gives_no_alarm(place):
    here = settled(place)
    here.board.fittings.accelerometer.stuck = bytes(6)
    before = reports(here)
    here.handling.tilt(90)
    here.run(hours=2.1)
    assert {report.flags for report in newer(here, before)} == {0}
    assert schema.ERROR_SENSOR_SILENT in errors(here)


def test_a_line_that_is_stuck_high_does_not_empty_the_battery(place):
    here = settled(place)
    accelerometer = here.board.fittings.accelerometer
    wakes = here.device.wakes
    accelerometer._set_int = lambda level, t_us: None
    accelerometer.int_level = True
    here.run(hours=5)
    assert here.device.wakes - wakes < 12
    wakes = here.device.wakes
    for _ in range(10):
        here.handling.use_lid(3)
        here.run(seconds=60)
    assert here.device.wakes - wakes <= 11
    here.check()


def test_wind_that_never_rests_is_looked_at_now_and_then(place):
    here = settled(place)
    wakes = here.device.wakes
    for _ in range(24 * 12):
        here.handling.shake(8, strength_mg=900)
        here.run(seconds=300)
    assert here.device.wakes - wakes < 24 + 24 * 6 + 24 * 4 + 40
    here.check()


# --- charge ----------------------------------------------------------------------------------


def test_charge_that_is_counted_is_the_charge_that_is_taken():
    here = Place(CPythonDevice, **FITTED)
    here.handling.everyday()
    here.run(hours=14 * 24)
    status = [m for m in here.far.messages if isinstance(m, messages.Status)][-1]
    taken_mah = here.board.charge_uc(here.engine.now_us) / 3_600_000
    assert here.handling.flaps > 300
    here.device.close()
    # The last status is up to a day old and counts whole mAh; the sums agree to 4 %.
    tolerance_mah = taken_mah / 14 + 1 + 0.04 * taken_mah
    assert status.charge_used_mah == pytest.approx(taken_mah, abs=tolerance_mah)
