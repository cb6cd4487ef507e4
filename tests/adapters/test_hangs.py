"""What hangs ends in the watchdog, a code in a status report, and a device that goes on."""

import pytest
from firmware_place import Place
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import messages, schema


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder for the compiled firmware, so that it is compiled once."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(params=["cpython", "micropython"])
def runtime(request, compiled):
    if request.param == "cpython":
        yield CPythonDevice
        return
    if not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    with MicroPythonRuntime(compiled) as program:
        yield lambda *arguments: MicroPythonDevice(*arguments, program)


def statuses(here):
    return [message for message in here.far.messages if isinstance(message, messages.Status)]


@pytest.mark.parametrize(
    ("kind", "bus", "code"),
    [
        ("bin", "uart", schema.ERROR_SENSOR_BUS),
        ("bay", "i2c", schema.ERROR_SENSOR_BUS),
        ("bin", "spi", schema.ERROR_RADIO),
    ],
)
def test_a_bus_that_hangs_is_told_and_the_device_goes_on(runtime, kind, bus, code):
    here = Place(runtime, kind=kind)
    try:
        here.run(hours=2.5)
        told = len(statuses(here))
        heard = len(here.far.messages)
        here.board.hang(bus)
        here.run(hours=3)
        hung = here.device.wakes
        here.board.release(bus)
        here.run(hours=12)
        assert here.device.wakes > hung
        after = [status for status in statuses(here)[told:] if status.errors]
        assert schema.ERROR_WATCHDOG in after[0].errors
        assert code in after[0].errors
        assert after[0].reset_reason == schema.RESET_WATCHDOG
        kinds = {type(message) for message in here.far.messages[heard:]}
        assert kinds & {messages.BinReport, messages.BayReport}
        assert len(here.far.network.dev_nonces) == 1
        here.check()
    finally:
        here.device.close()


def test_a_radio_that_stays_busy_is_told_once_it_answers_again(runtime):
    here = Place(runtime)
    try:
        here.run(hours=2.5)
        told = len(statuses(here))
        here.board.hang("busy")
        here.run(hours=3)
        here.board.release("busy")
        here.run(hours=4)
        (status,) = statuses(here)[told:]
        assert schema.ERROR_RADIO in status.errors
        reports = [one for one in here.far.messages if isinstance(one, messages.BinReport)]
        # What could not be said in three hours is said now: no reading is missing.
        numbers = {
            report.sequence - back for report in reports for back in range(1 + len(report.history))
        }
        assert numbers == set(range(max(numbers) + 1))
    finally:
        here.device.close()
