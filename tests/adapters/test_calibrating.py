"""A step of a calibration on boards of chip models: asked for by downlink, taken, answered."""

import pytest
from firmware_place import Place
from small_device import SmallRuntime
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import messages, schema
from stoep_protocol.calibration import (
    CALIBRATED,
    CALIBRATED_MOVING,
    CALIBRATED_NO_BASELINE,
    CALIBRATED_NO_SENSOR,
    CALIBRATED_UNSUPPORTED,
    CALIBRATED_WEAK,
    STEP_CAR,
    STEP_ECHOES,
    STEP_EMPTY,
    Calibrate,
    Calibrated,
    echo,
)

MINUTE = 60
HEAP_BYTES = 110_000  # as in test_device_size.py


@pytest.fixture(params=["cpython", "micropython"], scope="module")
def runtime(request, tmp_path_factory):
    if request.param == "cpython":
        yield CPythonDevice
        return
    if not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    with MicroPythonRuntime(tmp_path_factory.mktemp("modules")) as program:
        yield lambda *arguments: MicroPythonDevice(*arguments, program)


@pytest.fixture
def place(runtime):
    made = []

    def make(*, has_car=False, **options):
        made.append(Place(runtime, interval_s=1200, **options))
        if has_car:
            made[-1].bay.arrive()
        made[-1].run(seconds=MINUTE)  # it joins and reports
        return made[-1]

    yield make
    for one in made:
        assert one.board.violations == []
        one.device.close()


def of(kind, here):
    return [message for message in here.far.messages if isinstance(message, kind)]


def ask(here, step, distance_cm=None, lost=0):
    """Ask for a step; its answer, or None."""
    before = len(of(Calibrated, here))
    f_port, data = messages.encode(Calibrate(step, distance_cm))
    here.far.down.append({"f_port": f_port, "data": data})
    for _ in range(30):
        here.run(seconds=MINUTE)
        if len(of(Calibrated, here)) > before:
            return of(Calibrated, here)[-1]
    return None


def test_the_empty_bay_and_a_car_on_it(place):
    here = place(kind="bay")
    first = of(messages.BayReport, here)[0]
    assert (first.state, first.flags) == (schema.FREE, schema.NOT_CALIBRATED)
    before = ask(here, STEP_CAR)
    assert (before.result, before.values) == (CALIBRATED_NO_BASELINE, ())
    empty = ask(here, STEP_EMPTY)
    assert (empty.step, empty.result) == (STEP_EMPTY, CALIBRATED)
    spread_nt, limit_nt = empty.values
    assert 0 <= spread_nt <= limit_nt == pytest.approx(6500 / 3, rel=0.02)
    report = of(messages.BayReport, here)[-1]
    assert (report.state, report.flags, report.change_count) == (schema.FREE, 0, 0)
    here.bay.arrive()
    here.run(seconds=30)
    assert of(messages.BayReport, here)[-1].change_count == 1
    car = ask(here, STEP_CAR)
    change_nt, threshold_nt = car.values
    assert (car.result, threshold_nt) == (CALIBRATED, pytest.approx(6500, rel=0.01))
    assert change_nt > threshold_nt
    report = of(messages.BayReport, here)[-1]
    assert (report.state, report.flags, report.change_count) == (schema.OCCUPIED, 0, 1)
    here.bay.leave()
    here.run(seconds=30)
    report = of(messages.BayReport, here)[-1]
    assert (report.state, report.change_count) == (schema.FREE, 2)
    # What it has learned so outlasts a power cut.
    here.device.power_cycle()
    here.run(seconds=2 * MINUTE)
    report = of(messages.BayReport, here)[-1]
    assert (report.state, report.flags) == (schema.FREE, 0)
    assert of(messages.Status, here)[-1].calibration in (None, schema.CALIBRATION_DONE)


def test_a_bay_that_was_mounted_under_a_car_is_told_that_it_is_empty(place):
    here = place(kind="bay", has_car=True)
    here.bay.leave()
    here.run(seconds=2 * MINUTE)
    assert of(messages.BayReport, here)[-1].state == schema.OCCUPIED
    ask(here, STEP_EMPTY)
    report = of(messages.BayReport, here)[-1]
    assert (report.state, report.flags) == (schema.FREE, 0)
    here.bay.arrive()
    here.run(seconds=30)
    assert of(messages.BayReport, here)[-1].state == schema.OCCUPIED


def test_a_field_that_does_not_rest_is_refused_and_changes_nothing(place):
    here = place(kind="bay")
    still = here.bay.field_ut
    here.bay.field_ut = lambda t_us: (still(t_us)[0] + t_us % 7_000_000 / 1e6, *still(t_us)[1:])
    answer = ask(here, STEP_EMPTY)
    spread_nt, limit_nt = answer.values
    assert (answer.result, spread_nt > limit_nt) == (CALIBRATED_MOVING, True)
    assert of(messages.BayReport, here)[-1].flags & schema.NOT_CALIBRATED
    here.bay.field_ut = still
    assert ask(here, STEP_EMPTY).result == CALIBRATED


def test_a_car_that_is_too_weak_is_said_with_how_weak_it_is(place):
    here = place(kind="bay", bay_threshold_nt=60_000)
    assert ask(here, STEP_EMPTY).result == CALIBRATED
    here.bay.arrive()
    answer = ask(here, STEP_CAR)
    assert answer.result == CALIBRATED_WEAK
    assert 3_000 < answer.values[0] < answer.values[1] == pytest.approx(60_000, rel=0.01)
    assert of(messages.BayReport, here)[-1].state == schema.FREE


def test_a_bay_without_its_sensor_says_so(place):
    here = place(kind="bay", field=False)
    assert ask(here, STEP_EMPTY).result == CALIBRATED_NO_SENSOR


def test_what_is_of_another_kind_is_refused(place):
    assert ask(place(kind="bay"), STEP_ECHOES, 150).result == CALIBRATED_UNSUPPORTED
    assert ask(place(), STEP_CAR).result == CALIBRATED_UNSUPPORTED


def test_the_echoes_of_a_container_with_a_bar(place):
    here = place()
    turns = [0]

    def echoes(_t_us):
        turns[0] += 1
        return 570 + turns[0] % 3 if turns[0] % 4 == 0 else 1502 + turns[0] % 5

    here.distance_mm = echoes
    answer = ask(here, STEP_ECHOES, 150)
    distance_cm, floor, bar = answer.values
    assert (answer.result, distance_cm) == (CALIBRATED, 150)
    assert (floor >> 6, bar >> 6) == (150, 57)
    assert floor & 63 > bar & 63 >= 4
    assert (floor & 63) + (bar & 63) == 30
    # The readings go on as before, in their order.
    here.run(hours=1)
    numbers = [report.sequence for report in of(messages.BinReport, here)]
    assert numbers == list(range(len(numbers)))
    unsaid = ask(here, STEP_ECHOES)
    assert unsaid.values[0] is None
    assert unsaid.values[1] >> 6 == 150


def test_a_container_s_lid_over_the_sensor_is_in_the_dead_zone(place):
    here = place()
    here.distance = 12
    assert ask(here, STEP_ECHOES, 150).values == (150, echo(0, 30))


def test_an_answer_that_nobody_has_acknowledged_is_told_again_for_a_day(place):
    here = place(kind="bay")
    f_port, data = messages.encode(Calibrate(STEP_EMPTY))
    here.far.down.append({"f_port": f_port, "data": data})
    while here.far.down:
        here.run(seconds=MINUTE)
    here.far.deaf = True
    here.run(hours=1)
    here.far.deaf = False
    here.run(hours=1)
    assert [answer.result for answer in of(Calibrated, here)] == [CALIBRATED]
    here.far.down.append({"f_port": f_port, "data": data})
    while here.far.down:
        here.run(seconds=MINUTE)
    here.far.deaf = True
    here.run(hours=26)
    here.far.deaf = False
    here.run(hours=3)
    assert len(of(Calibrated, here)) == 1


def test_nonsense_is_not_answered(place):
    here = place(kind="bay")
    for data in (b"", b"\x81\x03", b"\x80", b"\xff" * 40):
        here.far.down.append({"f_port": schema.F_PORT_CALIBRATE, "data": data})
        here.run(hours=0.5)
    assert here.far.down == []
    assert of(Calibrated, here) == []
    assert of(messages.Status, here)[-1].errors == ()


@pytest.mark.parametrize("kind", ["bin", "bay"])
def test_a_wake_that_calibrates_has_room_on_a_board(kind, tmp_path):
    with SmallRuntime(cache=tmp_path) as small:
        simulator = small.importing()["simulator"]
    with SmallRuntime(HEAP_BYTES + simulator, tmp_path) as small:
        here = Place(lambda *given: MicroPythonDevice(*given, small), kind=kind, interval_s=1200)
        try:
            here.run(seconds=MINUTE)
            answer = ask(here, STEP_EMPTY if kind == "bay" else STEP_ECHOES)
        finally:
            here.device.close()
        assert answer is not None
        assert answer.result == CALIBRATED
        assert not any(wake["outgrown"] for wake in small.figures)
