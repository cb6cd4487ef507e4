"""One wake of the year of lorawan_year.py, on MicroPython: a fresh process, as on a board.

Descriptor 3 leads to the world: a line of JSON from here, an answer of five digits that say how
long it is, and JSON. What survives from wake to wake is there.
"""

import gc
import json
import random
from binascii import hexlify, unhexlify

from dual_air import Air
from dual_device import Board, run
from stoep_firmware import app
from stoep_firmware.radio import sx126x

link = open(3, "r+b")  # noqa: SIM115 - for the life of the process


def ask(**what):
    link.write(json.dumps(what) + "\n")
    return json.loads(link.read(int(link.read(5))))


class Flash:
    """Storage that outlives this process."""

    def read(self, name):
        data = ask(read=name)["data"]
        return None if data is None else unhexlify(data)

    def write(self, name, data):
        ask(write=name, data=hexlify(data).decode())


class WakingBoard(Board):
    """A board whose sensor's supply tells how often it was switched on."""

    readings = 0

    def sensor_power(self, on):
        self.readings += on and not self.powered
        super().sensor_power(on)

    def random(self, below):
        return random.randrange(below) if below > 0 else 0


def uplink(now_ms, airtime_ms, freq_hz, sf, bw_hz, power_dbm, octets):
    down = ask(up=[now_ms, airtime_ms, freq_hz, sf, bw_hz, power_dbm, hexlify(octets).decode()])
    return (tuple(down["place"]), unhexlify(down["octets"]), down["snr_db"]) if down else None


def main():
    gc.collect()
    imported = gc.mem_alloc()
    start = ask(start=1)
    random.seed(start["seed"])
    board = WakingBoard(**start["config"])
    board.clock.ms = start["ms"]
    board.reason = start["reason"]
    board.distances_mm = [start["distance_mm"]] * 5
    board.storage = Flash()
    board.rtc_memory(unhexlify(start["rtc"]))
    air = Air(board.clock, uplink, lambda: ask(heard=1), start["fast_ppm"])
    sx126x.Sx126x = lambda *_: air
    program = app.run(board)
    _, yielded = run(board.clock, program, air)
    gc.collect()
    ask(
        until_ms=yielded[-1][1] - board.clock.offset_ms,
        ms=board.clock.ms,
        drift_ppm=board.clock.drift_ppm,
        rtc=hexlify(board.rtc_memory()).decode(),
        readings=board.readings,
        missed=air.missed(),
        problems=[repr(problem) for problem in board.problems],
        alloc=gc.mem_alloc() - imported,
    )


main()
