"""What a container's wake costs, in charge, airtime and years; for bench/device.py.

    energy_uplink_sf7_mC     a whole wake of a Heltec V3: start, CPU, reading, uplink, both windows
    wake_cpu_ms              CPU time of that wake on MicroPython's unix binary, imports included
    airtime_day_sf7_ms       24 hourly reports with the default history, and the daily status
    life_years_<board>_<cell>  at hourly reports, 38 % of them at SF12 and the rest at SF7
    energy_flap_mC         an opening of the lid for four seconds, counted by a short wake
    energy_fitted_uA       what an accelerometer, a thermometer and a lid's switch take asleep

The chips' own states are integrated (StateLog), not the firmware's idea of them: the real firmware
runs in the simulator, joined, with 5 s to RX1 and nothing heard in either window. The start is the
published one (26.5 mC from deep sleep to main.py). The simulator's processor takes time for
transfers and for waiting, but none for thinking. That is added: one wake is recorded, then run
again and again from the record by the unix binary, all modules from .mpy, and its processor time
(user and system, the median) is charged CPU_FACTOR times at the awake current. What the binary
takes to start, and to stand in for `machine`, is measured the same way and taken off.

38 % at SF12 is what a badly covered set of real containers sent. Cells lose charge by themselves,
by so much of what is left each year, and count as spent when their shelf life is over: 20.0 years
mean the cell's end, not the device's. Downlinks and the daily status are not in it (under 2 %).
"""

import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from firmware_place import Place
from stoep_hardware import board_data, micropython_runtime
from stoep_hardware.devices import CPythonDevice, Device
from stoep_hardware.engine import US_PER_MS
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime

BOARD = "heltec_wifi_lora_32_v3"
CPU_FACTOR = 60  # an ESP32-S3 at 80 MHz against the machine that runs this
SF12_SHARE = 0.38
RX1_DELAY_S = 5
_REPLAYS = 41
_HOURS_PER_YEAR = 8_766
_LINK_ADR_REQ = 0x03


class Cell(NamedTuple):
    """A cell as its makers describe it: capacity, loss per year, shelf life."""

    mah: int
    loss_per_year: float
    years: float


CELLS = {
    "d_lisocl2": Cell(19_000, 0.01, 20),  # size D, LiSOCl2: under 1 % a year, 20 years
    "2aa_lithium": Cell(3_000, 0.005, 20),  # two AA Li-FeS2 in series: 20 years on the shelf
    "18650": Cell(3_400, 0.20, 10),  # Li-ion with its protection: 1 to 2 % a month
}


class Wake(NamedTuple):
    """One hourly wake, from start to deep sleep, in mC by what it went into; CPU apart."""

    start: float
    processor: float
    radio: float
    sensor: float
    asleep_ua: float  # in between
    airtime_day_ms: float

    @property
    def total(self) -> float:
        return self.start + self.processor + self.radio + self.sensor


def place(runtime: Callable[..., Device], board: str, sf: int, **config: Any) -> Place:
    """Return a device that has joined a network of 5 s and sends at this spreading factor."""
    here = Place(runtime, board=board, **config)
    network, say = here.far.network, here.far.answer
    accept = network.accept
    network.accept = lambda payload: accept(payload, rx_delay_s=RX1_DELAY_S)
    here.far.answer = lambda frame, payload, delay_s: say(
        frame, payload, RX1_DELAY_S if delay_s == 1 else delay_s
    )
    # The data rate by LinkADRReq: all three channels, full power, each frame once.
    request = bytes((_LINK_ADR_REQ, (12 - sf) << 4, 7, 0, 1))
    here.far.down = [{"f_opts": request}]
    here.run(hours=4)
    assert here.far.uplinks[-1][1].sf == sf
    here.check()
    return here


def wake_of(board: str, sf: int) -> Wake:
    """Measure one hourly wake, and the airtime of a day."""
    here = place(CPythonDevice, board, sf)
    logs = here.board.logs()

    def spent(hours: float) -> dict[str, float]:
        before = {part: log.charge_uc(here.engine.now_us) for part, log in logs.items()}
        here.run(hours=hours)
        return {
            part: log.charge_uc(here.engine.now_us) - before[part] for part, log in logs.items()
        }

    while here.board.esp32.log.state != "deep" or not quiet_hour(here):
        here.run(seconds=60)
    asleep_ua = sum(spent(1 / 60).values()) / 60
    wakes, uplinks = here.device.wakes, len(here.far.uplinks)
    hour = spent(1)
    assert (here.device.wakes - wakes, len(here.far.uplinks) - uplinks) == (1, 1)
    data = board_data.load(board)
    start_uc = data.currents_ua["boot"] * data.boot_us / 1e6
    radio_uc = sum(uc for part, uc in hour.items() if part.startswith("sx"))
    sensor_uc = hour.get("a02yyuw", 0.0)
    rest_uc = sum(hour.values()) - start_uc - radio_uc - sensor_uc
    uplinks = len(here.far.uplinks)
    here.run(hours=24)
    airtime_ms = sum(
        (frame.end_us - frame.start_us) / US_PER_MS for _, frame, _, _ in here.far.uplinks[uplinks:]
    )
    here.check()
    here.device.close()
    return Wake(
        start_uc / 1e3,
        (rest_uc - asleep_ua * 3_600) / 1e3,
        radio_uc / 1e3,
        sensor_uc / 1e3,
        asleep_ua,
        airtime_ms,
    )


def quiet_hour(here: Place) -> bool:
    """Tell whether the next hour has its report alone: none that reports the daily status."""
    last_us = here.far.uplinks[-1][0]
    return here.engine.now_us - last_us < 120_000_000


FITTED = {"motion": "lis3dh", "thermometer": "tmp102", "lid": True}
_HAND_S = 4.0


def flap_mc() -> float:
    """Measure what an opening of the lid takes, without the processor's thinking."""
    used = []
    for opens in (False, True):
        here = Place(CPythonDevice, board=BOARD, lid=True)
        here.run(hours=3.5)
        before_uc = here.board.charge_uc(here.engine.now_us)
        if opens:
            here.handling.use_lid(_HAND_S)
        here.run(seconds=60)
        used.append(here.board.charge_uc(here.engine.now_us) - before_uc)
        here.check()
        here.device.close()
    return (used[1] - used[0]) / 1e3


def fitted_ua() -> float:
    """Measure what a container's board takes asleep for what it has beside its sonar."""
    asleep = []
    for config in ({}, FITTED):
        here = Place(CPythonDevice, board=BOARD, **config)
        here.run(hours=3.5)
        before_uc = here.board.charge_uc(here.engine.now_us)
        here.run(seconds=60)
        asleep.append((here.board.charge_uc(here.engine.now_us) - before_uc) / 60)
        here.device.close()
    return asleep[1] - asleep[0]


# ---- the processor's time -----------------------------------------------------------------------


class Recording(MicroPythonDevice):
    """A device that keeps what the simulator told each wake's program, and its files before."""

    def __init__(self, *arguments: Any) -> None:
        self.told: list[bytes] = []
        self.greeting = b""  # what each wake's program is told first
        self.asked: list[bytes] = []
        self.files: list[dict[str, bytes]] = []
        super().__init__(*arguments)

    def _run(self) -> None:
        self.files.append({path.name: path.read_bytes() for path in self.folder.iterdir()})
        self.told.append(b"")
        self.asked.append(b"")
        super()._run()

    def _send(self, data: bytes) -> None:
        self.greeting = self.greeting if self.told[-1] else data
        self.told[-1] += data
        super()._send(data)

    def _next_message(self) -> tuple[int, bytes]:
        operation, payload = super()._next_message()
        self.asked[-1] += bytes((operation,))
        return operation, payload


class Cpu(NamedTuple):
    """Milliseconds of a wake on the unix binary: the firmware's own, what was taken off, spread."""

    wake: float
    start: float
    machine: float
    least: float


_NOTHING = "import _link, machine, esp32, time, os\n_link.begin()\n"
_MACHINE = _NOTHING + (
    "for _ in range({tells}):\n    _link.tell(_link.PIN_WRITE, b'ab')\n"
    "for _ in range({asks}):\n    _link.ask(_link.CLOCK, b'', 0)\n"
)


def cpu(**config: Any) -> Cpu:
    """Measure the processor time of an hourly wake, or of the last one of a device like this."""
    with (
        tempfile.TemporaryDirectory() as name,
        MicroPythonRuntime(Path(name) / "modules") as runtime,
    ):
        here = place(lambda *arguments: Recording(*arguments, runtime), BOARD, 7, **config)
        device: Recording = here.device
        at = device.wakes - 1  # the last wake that is over
        greeting = device.greeting
        told, asked, files = device.told[at], device.asked[at], device.files[at]
        device.close()
        modules = Path(name) / "modules"
        whole = _replays(modules, told, files, 75)
        start = _replays(_program(modules, Path(name) / "nothing", _NOTHING), greeting, {}, 0)
        asks = sum(operation in _ASKS for operation in asked)
        machine = _replays(
            _program(
                modules,
                Path(name) / "machine",
                _MACHINE.format(tells=len(asked) - asks, asks=asks),
            ),
            greeting + bytes(8 * asks),
            {},
            0,
        )
    nothing_ms = statistics.median(start)
    machine_ms = statistics.median(machine) - nothing_ms
    return Cpu(
        statistics.median(whole) - nothing_ms - machine_ms,
        nothing_ms,
        machine_ms,
        min(whole) - min(machine),
    )


# The operations of micropython/_link.py that wait for an answer.
_ASKS = {3, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 19, 20, 24, 26}


def _program(modules: Path, target: Path, source: str) -> Path:
    """Return a copy of the modules whose program is another."""
    shutil.copytree(modules, target)
    (target / "start.py").write_text(source)
    return target


def _replays(modules: Path, told: bytes, files: dict[str, bytes], status: int) -> list[float]:
    """Run one wake from its record, many times; returns the processor time of each in ms."""
    with tempfile.TemporaryDirectory() as name:
        request = {
            "modules": str(modules),
            "folder": name,
            "told": told.hex(),
            "files": {file: data.hex() for file, data in files.items()},
            "status": status,
            "count": _REPLAYS,
        }
        run = subprocess.run(
            [sys.executable, __file__, "replay"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=True,
        )
    return list(json.loads(run.stdout))


def replay(request: dict[str, Any]) -> Iterator[float]:
    """Fork a MicroPython for each run, as the simulator does; yields the processor time in ms."""
    import micropython_run

    told = bytes.fromhex(request["told"])
    for _ in range(request["count"]):
        for file, data in request["files"].items():
            (Path(request["folder"]) / file).write_bytes(bytes.fromhex(data))
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.sendall(told)
        ours.shutdown(socket.SHUT_WR)  # a program that asks for more than there is ends
        pid = os.fork()
        if pid == 0:
            os.dup2(theirs.fileno(), 3)
            nothing = os.open(os.devnull, os.O_RDWR)
            for target in (0, 1, 2):
                os.dup2(nothing, target)
            os.closerange(4, 64)
            os.chdir(request["folder"])
            os.environ["MICROPYPATH"] = f"{request['modules']}:.frozen"
            heap = f"heapsize={micropython_runtime.HEAP_BYTES}"
            start = str(Path(request["modules"]) / "start.py")
            os._exit(micropython_run.run_main(["micropython", "-X", heap, start]))
        theirs.close()
        _, status, usage = os.wait4(pid, 0)
        ours.close()
        assert os.waitstatus_to_exitcode(status) == request["status"], status
        yield (usage.ru_utime + usage.ru_stime) * 1e3


# ---- years --------------------------------------------------------------------------------------


def life_years(cell: Cell, mean_ua: float) -> float:
    """Return how long a cell lasts that loses charge to the device and by itself."""
    used_mah_per_year = mean_ua / 1_000 * _HOURS_PER_YEAR
    loss = cell.loss_per_year
    return min(cell.years, math.log1p(loss * cell.mah / used_mah_per_year) / loss)


def mean_ua(wake_mc: float, asleep_ua: float) -> float:
    """Return the mean current at an hourly wake."""
    return asleep_ua + wake_mc * 1_000 / 3_600


def note(text: str) -> None:
    """Say how a figure came about."""
    print(f"# {text}", file=sys.stderr, flush=True)


def main() -> None:
    if not micropython_runtime.is_available():
        raise SystemExit(micropython_runtime.why_unavailable())
    used = cpu()
    print(f"wake_cpu_ms {used.wake:.1f} ms")
    note(
        f"least {used.least:.1f}; taken off: {used.start:.1f} ms of the binary's start,"
        f" {used.machine:.1f} ms of standing in for machine"
    )
    for board in board_data.names():
        data = board_data.load(board)
        if data.bench_only:
            continue
        cpu_mc = used.wake * CPU_FACTOR * data.currents_ua["awake"] / 1e6
        wakes = {sf: wake_of(board, sf) for sf in (7, 12)}
        if board == BOARD:
            for sf, wake in wakes.items():
                print(f"energy_uplink_sf{sf}_mC {wake.total + cpu_mc:.1f} mC")
                note(
                    f"start {wake.start:.1f}, CPU {cpu_mc:.1f} (x {CPU_FACTOR} at"
                    f" {data.currents_ua['awake'] / 1e3:.0f} mA), processor else"
                    f" {wake.processor:.1f}, radio {wake.radio:.1f}, sensor {wake.sensor:.1f}"
                )
                note(f"with three times the CPU's factor {wake.total + 3 * cpu_mc:.1f} mC")
            print(f"energy_flap_mC {flap_mc():.1f} mC")
            print(f"energy_fitted_uA {fitted_ua():.1f} uA")
            for sf, wake in wakes.items():
                print(f"airtime_day_sf{sf}_ms {wake.airtime_day_ms:.0f} ms")
        mean = {sf: mean_ua(wake.total + cpu_mc, wake.asleep_ua) for sf, wake in wakes.items()}
        mixed_ua = SF12_SHARE * mean[12] + (1 - SF12_SHARE) * mean[7]
        for name, cell in CELLS.items():
            print(f"life_years_{board}_{name} {life_years(cell, mixed_ua):.1f} years")
        note(f"{board}: {mean[7]:.1f} uA at SF7, {mean[12]:.1f} at SF12, {mixed_ua:.1f} mixed")


if __name__ == "__main__":
    if sys.argv[1:] == ["replay"]:
        print(json.dumps(list(replay(json.load(sys.stdin)))))
    else:
        main()
