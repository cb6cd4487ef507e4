"""The self-test's checks on simulated boards: what is right passes, what is wrong is said."""

import ast
import json
from hashlib import sha256

import pytest
from chip_bench import BOARD, Bench
from dual_device import Aes, Files
from firmware_place import Far
from stoep_firmware import identity
from stoep_firmware.store import Store
from stoep_hardware import board_data
from stoep_hardware.world import Bay, Weather
from stoep_tools.flash import selftest
from stoep_tools.flash.errors import FlashError
from stoep_tools.flash.repl import BoardError
from stoep_tools.flash.selftest import Check

KEY = "2b7e151628aed2a6abf7158809cf4f3c"


class Wall:
    def __init__(self, mm=800):
        self.mm = mm

    def distance_mm(self, _t_us):
        return self.mm


class Desk:
    """A simulated board, and of the REPL what the self-test asks of it, in this process."""

    def __init__(self, kind="bin", board=BOARD, network=True, **options):
        if kind == "bin":
            options.setdefault("distance", Wall())
        self.bench = bench = Bench(kind=kind, board=board, **options)
        bench.board.storage = Files()
        bench.board.new_aes = Aes
        bench.board.delay_ms = self.delay_ms
        self.data = board_data.load(board)
        self.kind = kind
        self.network = Far(bench.engine, bench.air, bench.config) if network else None
        self.names = {}
        self.files = {"/boot.py": b"boot"}
        self.hanging = []
        self.held = 0

    def delay_ms(self, ms):
        self.bench.mcu.advance(ms * 1000)
        self.bench.engine.run_until(self.bench.mcu.t_us)

    def hold(self):
        self.held += 1

    def run(self, source, timeout_s=10.0):
        exec(source.replace("_t_board = _t_make()", ""), self.names)
        self.names["_t_board"] = self.bench.board

    def value(self, expression, timeout_s=10.0):
        if any(name in expression for name in self.hanging):
            raise FlashError("the board answers no more")
        if "gc" in expression:
            return 150_000
        try:
            return ast.literal_eval(repr(eval(expression, self.names)))
        except OSError as problem:
            raise BoardError(f"OSError: {problem}") from problem

    def hashes(self, paths):
        return {path: sha256(self.files[path]).hexdigest() for path in paths if path in self.files}

    def free(self):
        return 400 * 1024, 2048 * 1024

    def test(self, **options):
        found = selftest.run(self, self.data, self.kind, **options)
        return {check.name: check for check in found}


@pytest.mark.parametrize("board", board_data.names())
def test_a_sound_container_passes(board):
    desk = Desk(board=board)
    said = []
    found = desk.test(files={"boot.py": b"boot"}, say=said.append)
    assert list(found.values()) == said
    assert [name for name, check in found.items() if check.passed is False] == []
    assert list(found) == [
        *("files", "free flash", "free heap", "battery", "sensor"),
        *("radio", "join", "sleep current"),
    ]
    assert found["sensor"].value.startswith("800 mm")
    assert "joined" in found["join"].value
    assert "dBm" in found["join"].value
    assert found["sleep current"].passed is None
    assert desk.bench.hardware.violations == []


FITTED = {"motion": "lis3dh", "thermometer": "tmp102", "lid": True}


def test_what_else_is_wired_to_a_container_s_board_passes():
    for motion in ("lis3dh", "lis2dw12"):
        found = Desk(parts={**FITTED, "motion": motion}).test(join=False)
        assert [name for name, check in found.items() if check.passed is False] == []
        assert found["motion"].value in ("992 mg", "1000 mg", "999 mg")
        assert found["thermometer"].value == "19 C"
        assert (found["lid"].passed, found["lid"].value) == (None, "shut")
    desk = Desk(parts={"lid": True, "sensor": "absent"})
    desk.bench.handling.set_lid(True)
    desk.delay_ms(1)
    found = desk.test(join=False)
    assert found["lid"].value == "open"
    assert found["sensor"].passed is None
    assert {"motion", "thermometer"}.isdisjoint(found)


def test_what_is_not_wired_as_it_should_be_is_said():
    desk = Desk(parts=FITTED)
    desk.bench.hardware.fittings.accelerometer.power(False, 0)
    desk.bench.hardware.fittings.thermometer.fault = "high"
    found = desk.test(join=False)
    for name in ("motion", "thermometer"):
        assert (found[name].passed, found[name].value) == (False, "silent")
        assert "SDA" in found[name].hint
    desk = Desk(parts=FITTED)
    desk.bench.hardware.fittings.accelerometer.stuck = bytes(6)
    desk.bench.hardware.fittings.thermometer.fault = "silent"
    found = desk.test(join=False)
    assert (found["motion"].passed, found["motion"].value) == (False, "0 mg")
    assert found["thermometer"].passed is False
    desk = Desk(parts=FITTED)
    desk.hanging = ["_t_fitted"]
    found = desk.test(join=False)
    assert found["body and lid"].passed is False
    assert found["radio"].passed


def test_a_sound_bay_passes():
    desk = Desk("bay")
    desk = Desk("bay", field=Bay(desk.bench.engine, "1", Weather(0)))
    found = desk.test()
    assert selftest.passed(list(found.values())), found
    assert "LIS3MDL at 0x1c" in found["sensor's bus"].value
    assert "INT follows" in found["sensor"].value


def test_a_join_is_kept_as_an_ordinary_one_is():
    desk = Desk()
    first = desk.test()["join"]
    again = desk.test()["join"]
    assert "DevNonce 0" in first.value
    assert "DevNonce 1" in again.value
    assert desk.network.network.dev_nonces == [0, 1]
    board = desk.bench.board
    for rtc_memory in (board.rtc_memory, lambda *_: b""):  # with power, and after its loss
        store = Store(rtc_memory, board.storage)
        session, _ = identity.recall(store, identity.mark(board.config), board.clock)
        assert (session.joined, session.dev_nonce) == (1, 2)
        assert session.nwk_s_key != bytes(16)


def test_without_a_network_the_join_fails_and_its_nonces_are_used():
    desk = Desk(network=False)
    check = desk.test()["join"]
    assert check.passed is False
    assert "no answer" in check.value
    assert "forgive-nonce" in check.hint
    used = Store(lambda *_: b"", desk.bench.board.storage).dev_nonce()
    assert used == int(check.value.split()[0]) == desk.bench.chip.frames_sent >= 1


def test_what_is_wrong_with_a_container_is_said():
    assert Desk(distance=Wall(10)).test(join=False)["sensor"].passed is False
    silent = Desk(distance=None).test(join=False)["sensor"]
    assert (silent.passed, silent.value) == (False, "silent")
    assert "rx pin" in silent.hint


@pytest.mark.parametrize(
    ("sensor", "wire"),
    [("a02yyuw", "rx pin"), ("maxbotix", "rx pin"), ("hcsr04", "trigger"), ("vl53l1x", "SDA")],
)
def test_whichever_distance_sensor_a_container_has_is_tested(sensor, wire):
    check = Desk(sensor=sensor).test(join=False)["sensor"]
    assert check.passed
    assert check.value.endswith(f"mm by {sensor.upper()} (median of 5)")
    missing = Desk(distance=None, sensor=sensor).test(join=False)["sensor"]
    assert (missing.passed, missing.value) == (False, "silent")
    assert wire in missing.hint
    far = Desk(distance=Wall(None), sensor=sensor).test(join=False)["sensor"]
    assert not far.passed
    assert far.value == ("silent" if sensor == "a02yyuw" else "no distance")


def test_what_is_wrong_with_the_radio_is_said():
    desk = Desk()
    desk.bench.hardware.hang("busy")
    found = desk.test()
    assert found["radio"].value == "BUSY never falls"
    assert found["join"].passed is False
    desk = Desk()
    desk.bench.board.wiring["radio"] = dict(desk.bench.board.wiring["radio"], tcxo_mv=0)
    assert "oscillator" in desk.test(join=False)["radio"].value


@pytest.mark.parametrize(
    ("wired", "flashed"),
    [
        ("maxbotix", "a02yyuw"),
        ("a02yyuw", "maxbotix"),
        ("vl53l1x", "a02yyuw"),
        ("a02yyuw", "vl53l1x"),
        ("maxbotix", "hcsr04"),
    ],
)
def test_another_distance_sensor_is_named(wired, flashed):
    desk = Desk(sensor=wired)
    desk.bench.board.config["sensor"] = flashed
    check = desk.test(join=False)["sensor"]
    assert check.passed is False
    assert check.value == f"{wired.upper()} answers, not {flashed.upper()}"
    assert check.hint.endswith(f"--sensor {wired}")


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        ({0x0D: -1}, "QMC5883L at 0x0d"),
        ({0x2C: 0}, "QMC5883P at 0x2c"),
        ({0x1E: 0x33}, "HMC5883L at 0x1e"),
        ({0x30: 0}, "MMC5983MA at 0x30"),
        ({0x23: 0}, "RM3100 at 0x23"),
        ({}, "nothing"),
        ({0x50: 1}, "0x50"),
    ],
)
def test_another_magnetometer_is_named(addresses, says):
    desk = Desk("bay", field=None)
    look = desk.value
    desk.value = lambda expression, timeout_s=10.0: (
        addresses if "_t_scan" in expression else look(expression, timeout_s)
    )
    check = desk.test(join=False)["sensor's bus"]
    assert (check.passed, check.value) == (False, says)
    assert check.hint


@pytest.mark.parametrize("sensor", ["rm3100", "mmc5983ma", "qmc5883l", "gy271"])
def test_a_bay_with_another_magnetometer_passes_and_says_if_it_empties_batteries(sensor):
    desk = Desk("bay")
    field = Bay(desk.bench.engine, "1", Weather(0))
    found = Desk("bay", field=field, sensor=sensor).test(join=False)
    assert found["sensor's bus"].passed
    assert found["sensor"].passed
    assert ("not for batteries" in found["sensor"].value) == (sensor != "rm3100")
    assert ("INT follows" in found["sensor"].value) == (sensor == "rm3100")


def test_an_empty_bus_fails_both_checks_of_a_bay():
    found = Desk("bay", field=None).test(join=False)
    assert found["sensor's bus"].value == "nothing"
    assert found["sensor"].value == "no LIS3MDL answers"


def test_files_that_differ_are_named():
    check = Desk().test(files={"boot.py": b"other", "main.py": b""}, join=False)["files"]
    assert (check.passed, check.value) == (False, "boot.py, main.py differ")
    assert "update" in check.hint


def test_a_check_that_hangs_does_not_stop_the_others():
    desk = Desk()
    desk.hanging = ["_t_bin"]
    found = desk.test(join=False)
    assert (found["sensor"].passed, found["sensor"].value) == (False, "hangs")
    assert found["radio"].passed
    assert desk.held == 1


def test_a_flat_cell_fails():
    check = Desk(battery_mv=lambda _t_us: 2300, brown_out_mv=2000).test(join=False)["battery"]
    assert check.passed is False
    assert check.value.endswith("mV")


CHECKS = [
    Check("radio", True, "errors 0x0000, TCXO runs", "SX1262, calibrated"),
    Check("sensor", False, "silent", "40 to 4500 mm", "check its supply"),
    Check("sleep current", None, "not measured", "about 15 uA", "put a meter"),
]


def test_the_table_is_plain():
    assert selftest.table(CHECKS) == (
        "        check          found                     expected\n"
        "ok      radio          errors 0x0000, TCXO runs  SX1262, calibrated\n"
        "FAILED  sensor         silent                    40 to 4500 mm\n"
        "--      sleep current  not measured              about 15 uA\n"
        "\n"
        "sensor: check its supply\n"
        "sleep current: put a meter\n"
    )


def test_the_report_is_written_whole_and_without_keys(tmp_path):
    found = list(Desk().test().values())
    about = {"dev_eui": "70b3d57ed0000001", "board": BOARD}
    paths = selftest.write_report(tmp_path / "r.1", found, about)
    assert [path.name for path in paths] == ["r.1.json", "r.1.txt"]
    document = json.loads(paths[0].read_text())
    assert document["dev_eui"] == about["dev_eui"]
    assert document["passed"] is True
    assert [check["name"] for check in document["checks"]] == [check.name for check in found]
    assert "self-test: PASSED" in paths[1].read_text()
    for path in tmp_path.iterdir():
        assert KEY not in path.read_text().lower()
    assert len(list(tmp_path.iterdir())) == 2
