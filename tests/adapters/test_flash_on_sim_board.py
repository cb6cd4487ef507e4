"""The bench against a board as it comes out of the flasher, on the simulator's chips and air."""

import json
from contextlib import nullcontext

import pytest
from chip_bench import BOARD, device_config, quiet_air
from firmware_place import Far
from stoep_hardware import board_data, micropython_runtime
from stoep_hardware.engine import Engine
from stoep_hardware.sim_board import SimBoard
from stoep_hardware.world import Bay, Weather
from stoep_protocol.calibration import (
    CALIBRATED,
    CALIBRATED_NO_BASELINE,
    STEP_CAR,
    STEP_EMPTY,
    Calibrated,
    echo,
)
from stoep_protocol.messages import BayReport, BinReport
from stoep_protocol.schema import OCCUPIED
from stoep_tools.flash import backup, board_commands, command, filesystem, selftest
from stoep_tools.flash.repl import Repl
from tested_board import TestedBoard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
    ),
]


class Wall:
    def distance_mm(self, _t_us):
        return 800


class Unlocked:
    """Stands in for ports: the terminal is ours."""

    lock = nullcontext


class Bench:
    """A flashed board on a terminal, and the network in its reach."""

    def __init__(self, folder, kind="bin", **changes):
        self.data = board_data.load(BOARD)
        self.config = device_config(kind=kind, board=self.data.wiring(), **changes)
        self.files = filesystem.firmware_files(self.data, kind, "EU868")
        files = self.files | {"config.json": json.dumps(self.config).encode()}
        image = folder / "vfs.img"
        octets = filesystem.build(files, self.data.flash["vfs_size"])
        image.write_bytes(octets.ljust(self.data.flash["vfs_size"], b"\xff"))
        self.engine = Engine(1)
        self.air = quiet_air(self.engine)
        seen = {"distance": Wall()}
        if kind == "bay":
            self.bay = Bay(self.engine, "1", Weather(0))
            seen = {"field": self.bay}
        self.sim = SimBoard(self.engine, self.air, self.data, self.config, **seen)
        self.far = Far(self.engine, self.air, self.config)
        self.board = TestedBoard(image, self.engine, self.sim, self.config)

    def hold(self):
        self.board.hold_ms = 60_000
        return Repl(self.board.port, pulse=self.board.pulse, wait_s=60)

    def let_go(self, repl):
        self.board.hold_ms = 0
        repl.reset()
        self.board.wait_asleep()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    with bench.board:
        yield bench


def test_left_alone_a_flashed_board_joins_and_reports(bench):
    bench.board.wait_asleep()
    reports = [message for message in bench.far.messages if isinstance(message, BinReport)]
    assert [report.distance_mm for report in reports] == [800]
    assert bench.far.network.dev_nonces == [0]


def test_a_held_board_is_tested_and_goes_on_in_the_session_of_its_test(bench):
    with bench.hold() as repl:
        checks = selftest.run(repl, bench.data, "bin", files=bench.files)
        assert selftest.passed(checks), selftest.table(checks)
        joined = next(check for check in checks if check.name == "join")
        assert "DevNonce 0" in joined.value
        assert bench.far.messages == []
        bench.let_go(repl)
    reports = [message for message in bench.far.messages if isinstance(message, BinReport)]
    assert [report.distance_mm for report in reports] == [800]
    assert bench.far.network.dev_nonces == [0]  # no second join
    assert bench.sim.violations == []


def test_a_bay_is_tested_and_goes_on(tmp_path):
    bench = Bench(tmp_path, "bay")
    with bench.board:
        with bench.hold() as repl:
            checks = selftest.run(repl, bench.data, "bay", files=bench.files)
            assert selftest.passed(checks), selftest.table(checks)
            assert any("INT follows" in check.value for check in checks)
            bench.let_go(repl)
        assert any(isinstance(message, BayReport) for message in bench.far.messages)
        assert bench.far.network.dev_nonces == [0]


def test_an_updated_board_runs_on(bench):
    bench.board.wait_asleep()
    with bench.hold() as repl:
        changed = dict(bench.files)
        changed["stoep_firmware/device/files.mpy"] = bench.files["stoep_firmware/board.mpy"]
        backup.update(repl, changed)  # one that cannot start ...
        backup.update(repl, bench.files)  # ... is mended by the next
        assert backup.installed(repl).leftovers == ()
        bench.let_go(repl)
    bench.board.let(2 * 3700)
    reports = [message for message in bench.far.messages if isinstance(message, BinReport)]
    assert len(reports) >= 3
    assert bench.far.network.dev_nonces == [0]


@pytest.fixture
def calibrate(monkeypatch, capsys):
    """Give what runs `stoep flash calibrate` on a bench's board, and lets that start again."""

    def calibrate(bench, *words):
        class Held(Repl):
            def __init__(self, *_, **__):
                bench.board.hold_ms = 60_000
                super().__init__(bench.board.port, pulse=bench.board.pulse, wait_s=60)

            def reset(self):
                bench.board.hold_ms = 0
                super().reset()

        monkeypatch.setattr(board_commands, "Repl", Held)
        monkeypatch.setattr(board_commands, "ports", Unlocked)
        code = command.main(["calibrate", "--port", bench.board.port, *words])
        said = capsys.readouterr()
        bench.board.let(60)
        return code, said.out + said.err

    return calibrate


def test_a_bay_is_calibrated_at_its_cable_and_the_network_hears_of_it(tmp_path, calibrate):
    bench = Bench(tmp_path, "bay")
    with bench.board:
        bench.board.wait_asleep()
        code, said = calibrate(bench, "--car")
        assert (code, "calibrate the empty bay first" in said) == (4, True)
        code, said = calibrate(bench)
        assert code == 0, said
        assert "the field of the empty bay is known" in said
        code, said = calibrate(bench, "--distance-cm", "90")
        assert (code, "--distance-cm is not for a bay" in said) == (2, True)
        bench.bay.arrive()
        code, said = calibrate(bench, "--car", "--json")
        answer = json.loads(said)
        assert (code, answer["step"], answer["result"]) == (0, "car", "done")
    told = [it for it in bench.far.messages if isinstance(it, Calibrated)]
    assert [(it.step, it.result) for it in told] == [
        (STEP_CAR, CALIBRATED_NO_BASELINE),
        (STEP_EMPTY, CALIBRATED),
        (STEP_CAR, CALIBRATED),
    ]
    report = [it for it in bench.far.messages if isinstance(it, BayReport)][-1]
    assert (report.state, report.flags) == (OCCUPIED, 0)
    assert bench.far.network.dev_nonces == [0]
    assert bench.sim.violations == []


def test_what_echoes_in_a_container_is_found_at_its_cable(bench, calibrate):
    bench.board.wait_asleep()
    code, said = calibrate(bench, "--distance-cm", "150")
    assert code == 0, said
    assert "no floor answers within 100 mm of 1500 mm" in said
    assert "something fixed answers at 800 mm (30 of 30 pings)" in said
    told = [it for it in bench.far.messages if isinstance(it, Calibrated)]
    assert [it.values for it in told] == [(150, echo(80, 30))]
