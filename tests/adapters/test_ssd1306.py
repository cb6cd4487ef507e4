"""The display's model, and that the firmware does not leave it lit."""

import pytest
from chip_bench import Bench
from firmware_place import Place
from stoep_firmware.board import Board
from stoep_hardware import board_data
from stoep_hardware.chips.ssd1306 import LIT_UA, Ssd1306
from stoep_hardware.devices import CPythonDevice

WITH_DISPLAY = [name for name in board_data.names() if board_data.load(name).display is not None]


def lit(*writes):
    display = Ssd1306()
    display.power(True, 0)
    for control, data in writes:
        assert display.write(control, bytes(data), 1_000)
    return display.log.state == "lit"


def test_it_comes_up_lit_and_commands_switch_it():
    assert lit()
    assert not lit((0x00, (0xAE,)))
    assert not lit((0x80, (0xAE,)))
    assert lit((0x00, (0xAE, 0xAF)))
    assert not lit((0x00, (0x8D, 0x14, 0xAE))), "after a command with an argument"


def test_an_octet_that_is_no_command_switches_nothing():
    assert lit((0x40, (0xAE,))), "of a picture"
    assert lit((0x00, (0x81, 0xAE))), "of the contrast"
    assert lit((0x00, (0x26, 0, 0xAE, 0, 0, 0, 0xAE))), "of scrolling"


def test_its_charge():
    display = Ssd1306()
    display.power(True, 0)
    display.write(0x00, b"\xae", 10_000_000)
    assert display.log.charge_uc(60_000_000) == pytest.approx(10 * LIT_UA)


@pytest.mark.parametrize("board", WITH_DISPLAY)
def test_it_answers_on_its_own_pins_alone(board):
    bench = Bench(board=board)
    display, wired = bench.hardware.display, bench.config["board"]["display"]
    display.power(True, bench.mcu.t_us)
    bench.config["board"]["display"] = wired | {"scl": wired["sda"], "sda": wired["scl"]}
    bench.board.quiet()
    assert display.log.state == "lit"
    bench.config["board"]["display"] = wired
    bench.board.quiet()
    assert display.log.state == "dark"


@pytest.mark.parametrize("board", WITH_DISPLAY)
def test_the_firmware_leaves_no_display_lit(board, monkeypatch):
    def asleep_ua():
        here = Place(CPythonDevice, board=board)
        here.run(hours=1.5)
        before_uc = here.board.charge_uc(here.engine.now_us)
        here.run(seconds=60)
        here.device.close()
        return (here.board.charge_uc(here.engine.now_us) - before_uc) / 60

    deep_ua = board_data.load(board).currents_ua["deep"]
    assert asleep_ua() < deep_ua + 10
    monkeypatch.setattr(Board, "quiet", lambda _: None)
    assert asleep_ua() > deep_ua + LIT_UA, "and the charge would show it"
