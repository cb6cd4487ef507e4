"""A part that hangs, and a cell that sags, under the whole firmware on a board of chip models."""

import pytest
from chip_bench import BOARD
from firmware_place import Place
from stoep_hardware import board_data
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import schema
from stoep_protocol.messages import BayReport, BinReport, Status


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(params=["cpython", "micropython"])
def place(request, compiled):
    made = []
    if request.param == "cpython":

        def make(**options):
            made.append(Place(CPythonDevice, **options))
            return made[-1]

        yield make
    else:
        if not is_available():
            pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
        with MicroPythonRuntime(compiled) as program:

            def make(**options):
                made.append(
                    Place(lambda *arguments: MicroPythonDevice(*arguments, program), **options)
                )
                return made[-1]

            yield make
            for here in made:
                here.device.close()


def since(here, kind, t_us):
    return [
        message
        for at_us, _, message, _ in here.far.uplinks
        if at_us >= t_us and isinstance(message, kind)
    ]


@pytest.mark.parametrize(
    ("kind", "what", "code"),
    [
        ("bin", "uart", schema.ERROR_SENSOR_BUS),
        ("bay", "i2c", schema.ERROR_SENSOR_BUS),
        ("bin", "spi", schema.ERROR_RADIO),
    ],
)
def test_a_bus_that_hangs_is_reported_and_works_again(place, kind, what, code):
    here = place(kind=kind)
    here.run(hours=2.5)
    joins = len(here.far.network.dev_nonces)
    before_uc = here.board.charge_uc(here.engine.now_us)
    here.board.hang(what)
    here.run(hours=3)
    hung_uc = here.board.charge_uc(here.engine.now_us) - before_uc
    assert hung_uc / 3 < 8_000_000, "awake until the watchdog comes, but not all the time"
    here.board.release(what)
    released_us = here.engine.now_us
    here.run(hours=10)
    errors = {error for one in since(here, Status, 0) for error in one.errors}
    assert {schema.ERROR_WATCHDOG, code} <= errors
    assert len(since(here, BayReport if kind == "bay" else BinReport, released_us)) >= 3
    assert len(here.far.network.dev_nonces) == joins
    counters = [data.f_cnt for _, _, _, data in here.far.uplinks if data]
    assert counters == sorted(set(counters))


def test_a_radio_that_stays_busy_is_reported_and_works_again(place):
    here = place()
    here.run(hours=2.5)
    here.board.hang("busy")
    here.run(hours=2)
    here.board.release("busy")
    released_us = here.engine.now_us
    here.run(hours=5)
    reports = since(here, BinReport, released_us)
    assert len(reports) >= 4
    assert any(one.errors for one in since(here, Status, released_us))


def test_a_brown_out_while_the_device_waits(place):
    here = place()
    here.run(hours=1.5)
    for part in ("light", "deep", "boot"):
        wakes = here.device.wakes
        while here.board.esp32.log.state != part:
            here.engine.run_until(here.engine.next_us())
        here.board.esp32.brown_out(here.engine.now_us)
        here.run(seconds=30)
        assert here.device.wakes == wakes + (2 if part == "light" else 1), part
    here.run(hours=2)
    assert len(here.far.network.dev_nonces) == 1
    assert not here.board.violations


def test_a_cell_that_gives_in_when_the_radio_sends_never_costs_the_session(monkeypatch):
    weak = []
    data = board_data.load(BOARD)
    here = Place(CPythonDevice)
    supply = here.board.supply
    here.run(hours=2.5)
    nonces = set(here.far.network.dev_nonces)
    # Enough for everything but the processor and the radio sending together.
    both_ua = data.currents_ua["awake"] + 44_000

    def looks(t_us):
        load_ua = sum(log.current_ua for log in here.board.logs().values())
        if load_ua > both_ua:
            weak.append(t_us)
            return True
        return False

    monkeypatch.setattr(supply, "is_brown", looks)
    here.run(hours=6)
    assert weak
    monkeypatch.undo()
    recovered_us = here.engine.now_us
    here.run(hours=30)
    here.device.close()
    assert set(here.far.network.dev_nonces) == nonces
    counters = [frame.f_cnt for _, _, _, frame in here.far.uplinks if frame]
    assert counters == sorted(set(counters))
    assert len(since(here, BinReport, recovered_us)) >= 20
