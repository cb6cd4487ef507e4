"""Which ports there are, and what is said of those that cannot be used. No port is opened."""

from types import SimpleNamespace

import pytest
from stoep_tools.flash import ports
from stoep_tools.flash.errors import NO_BOARD, USAGE, FlashError


def found(device, vid=None, pid=None, serial_number=None, description="n/a"):
    return SimpleNamespace(
        device=device, vid=vid, pid=pid, serial_number=serial_number, description=description
    )


ALL = [
    found("/dev/ttyS0"),
    found("/dev/ttyACM9", 0x2341, 0x0043, description="Arduino Uno"),
    found("/dev/ttyUSB1", 0x1A86, 0x55D4, "5435", "USB Single Serial"),
    found("/dev/ttyUSB0", 0x10C4, 0xEA60, "0001", "CP2102 USB to UART Bridge Controller"),
    found("/dev/ttyACM0", 0x303A, 0x1001, "F4:12:FA:01:02:AB", "USB JTAG/serial debug unit"),
]


def test_ports_on_usb_are_listed_and_named_likely_boards_first():
    listed = ports.list_ports(lambda: ALL, lambda _device: None)
    assert [(port.device, port.description, port.likely) for port in listed] == [
        ("/dev/ttyACM0", "Espressif USB JTAG/serial", True),
        ("/dev/ttyUSB0", "Silicon Labs CP210x", True),
        ("/dev/ttyUSB1", "WCH CH9102", True),
        ("/dev/ttyACM9", "Arduino Uno", False),
    ]
    assert listed[0].serial == "F4:12:FA:01:02:AB"


def test_a_port_that_may_not_be_opened_is_listed_with_its_remedy():
    listed = ports.list_ports(lambda: ALL[3:4], lambda device: f"no {device}")
    assert listed[0].problem == "no /dev/ttyUSB0"
    none = ports.no_board(listed)
    assert none.message == "/dev/ttyUSB0 (Silicon Labs CP210x) is there, but cannot be used"
    assert none.remedy == "no /dev/ttyUSB0"
    assert none.exit_code == NO_BOARD


def test_without_any_port_the_cable_is_suspected():
    none = ports.no_board([])
    assert none.message == "no board is connected"
    assert "many only charge" in none.remedy


def test_not_in_dialout_says_the_line_that_helps(tmp_path, monkeypatch):
    device = tmp_path / "ttyUSB0"
    device.touch()
    monkeypatch.setattr("os.access", lambda *_arguments: False)
    monkeypatch.setattr(ports, "_group_name", lambda _gid: "dialout")
    said = ports.problem(str(device), "linux")
    assert said is not None
    assert said.startswith("you are not in the group dialout: sudo usermod -aG dialout $USER")
    refused = ports.cannot_open(str(device), "linux")
    assert (refused.remedy, refused.exit_code) == (said, NO_BOARD)
    assert ports.problem(str(device), "win32") is None


def test_a_port_that_only_root_may_open_says_what_is_missing(tmp_path, monkeypatch):
    device = tmp_path / "ttyUSB0"
    device.touch()
    monkeypatch.setattr("os.access", lambda *_arguments: False)
    monkeypatch.setattr(ports, "_group_name", lambda _gid: "root")
    assert "udev" in (ports.problem(str(device), "linux") or "")


def test_a_port_that_may_be_opened_has_no_problem_and_one_that_went_has(tmp_path):
    device = tmp_path / "ttyUSB0"
    device.touch()
    assert ports.problem(str(device), "linux") is None
    device.unlink()
    assert "plug the board in again" in (ports.problem(str(device), "linux") or "")


def test_what_another_program_has_is_told_from_what_is_not_there(tmp_path):
    device = tmp_path / "ttyUSB0"
    assert "is not there" in ports.cannot_open(str(device), "linux").message
    device.touch()
    used = ports.cannot_open(str(device), "linux")
    assert "is used by another program" in used.message
    assert f"fuser -v {device}" in used.remedy
    assert "Device Manager" in ports.cannot_open("COM7", "win32").remedy


def test_no_pyserial_says_how_to_get_it():
    missing = ports.missing("pyserial")
    assert missing.message == "the Python package pyserial is not installed"
    assert "pip install" in missing.remedy
    assert "pyserial" in missing.remedy
    assert missing.exit_code == USAGE


def test_an_error_shows_what_and_what_to_do():
    assert str(FlashError("it broke", "mend it")) == "it broke: mend it"
    assert str(FlashError("it broke")) == "it broke"


def test_one_run_at_a_time_holds_a_port_whatever_it_is_called(tmp_path):
    device, link = tmp_path / "ttyUSB0", tmp_path / "link"
    device.touch()
    link.symlink_to(device)
    with ports.lock(str(device), tmp_path):
        for name in (device, link):
            with pytest.raises(FlashError) as held, ports.lock(str(name), tmp_path):
                pass
            assert "another run of stoep flash (process " in held.value.message
        with ports.lock(str(tmp_path / "ttyUSB1"), tmp_path):
            pass
    with ports.lock(str(link), tmp_path):
        pass
