"""How fast the simulator is: one `name value unit` line per figure.

`sim_wakes_per_s`: wakes of boards with the real firmware on CPython, each a reading, an uplink and
two receive windows, without a gateway; `sim_micropython_wakes_per_s`: the same on the real
MicroPython. `sim_speedup`: the default street (16 containers, 8 bays, four of the boards on
MicroPython, where there is one) with its gateway process and a Mosquitto, simulated time over real
time, from the first second on; starting the processes is not in it.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from broker import Mosquitto
from stoep_hardware import micropython_runtime
from stoep_hardware.scenario import Street

WAKES_HOURS = 24
MICROPYTHON_HOURS = 6
STREET_HOURS = 24
HOUR_MS = 3_600_000


def wakes_per_s(directory: Path, broker: tuple[str, int], hours: int, micropython: int) -> float:
    """Return the wakes of four containers in a second, after they have joined."""
    directory.mkdir()
    options = {"containers": 4, "bays": 0, "micropython": micropython, "bin_interval_s": 600}
    with Street(directory, broker=broker, planning_at=None, **options) as street:
        street.run_until(HOUR_MS)
        assert street.summary()["containers_joined"] == 4
        street.stop_gateway()
        for forwarder in street.forwarders:
            forwarder.stop()
        before = sum(device.wakes for device in street.devices.values())
        began_s = time.perf_counter()
        street.run_until((1 + hours) * HOUR_MS)
        took_s = time.perf_counter() - began_s
        return (sum(device.wakes for device in street.devices.values()) - before) / took_s


def speedup(directory: Path, broker: tuple[str, int], micropython: int) -> float:
    """Return simulated over real time of the default street."""
    directory.mkdir()
    with Street(directory, broker=broker, micropython=micropython) as street:
        began_s = time.perf_counter()
        street.run_until(STREET_HOURS * HOUR_MS)
        took_s = time.perf_counter() - began_s
        summary = street.summary()
        assert summary["containers_joined"] == 16
        assert summary["bays_joined"] == 8
        return STREET_HOURS * 3600 / took_s


def main() -> None:
    micropython = 4 if micropython_runtime.is_available() else 0
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name) / "broker") as broker:
        directory = Path(name)
        rate = wakes_per_s(directory / "cpython", broker.address, WAKES_HOURS, 0)
        print(f"sim_wakes_per_s {rate:.0f} wakes/s", flush=True)
        if micropython:
            rate = wakes_per_s(
                directory / "micropython", broker.address, MICROPYTHON_HOURS, micropython
            )
            print(f"sim_micropython_wakes_per_s {rate:.0f} wakes/s", flush=True)
        ratio = speedup(directory / "street", broker.address, micropython)
        print(f"sim_speedup {ratio:.0f} x", flush=True)


if __name__ == "__main__":
    main()
