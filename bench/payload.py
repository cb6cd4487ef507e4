"""Bytes of the reports over a generated year, and the time that coding them takes.

The year has what a year of real container sensors showed: 39 of 77 units with a fixed false echo
(34 of the 39 at 45 to 65 cm) that holds a quarter of their readings in runs of 4.3 on average,
2.9 % spikes of more than 15 cm, emptyings half of which happen below half full. Every reading is
in millimetres and carries temperature and flap count: the dearest form that a report has. Bays
change state about twenty times a day and report every hour besides.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

from stoep_protocol import messages
from stoep_protocol.messages import BayReport, BinReport
from stoep_protocol.schema import FREE, OCCUPIED

UNITS = 16
BAYS = 8
HOURS = 365 * 24
SEED = 2024

Reading = tuple[int | None, int, int, int]  # distance_mm, quality, temperature_c, flaps


def container_year(rng: random.Random, has_false_echo: bool) -> Iterator[Reading]:
    """Hourly readings of one container."""
    depth_mm = rng.randrange(1400, 2600)
    rate_mm = depth_mm * rng.uniform(0.003, 0.012)
    usual = rng.random() < 34 / 39
    false_mm = rng.randrange(450, 650) if usual else rng.randrange(250, depth_mm)
    level_mm = 0.0
    run = 0
    for hour in range(HOURS):
        of_day = hour % 24
        busy = 2.0 if 7 <= of_day < 21 else 0.1
        flaps = min(int(rng.expovariate(1 / (3 * busy))), 255)
        level_mm += rate_mm * busy * rng.uniform(0, 1.5)
        full = level_mm / depth_mm
        if full >= 1 or (of_day == 8 and rng.random() < (0.12 if full < 0.5 else 0.35)):
            level_mm = 0.0
        surface_mm = max(int(depth_mm - level_mm + rng.gauss(0, 6)), 30)
        distance: int | None = surface_mm
        quality = rng.choices((4, 3, 2), (90, 8, 2))[0]
        if has_false_echo and run == 0 and rng.random() < 1 / (3 * 4.3):
            run = 1 + int(rng.expovariate(1 / 3.8))
        if run:
            run -= 1
            distance = false_mm + rng.randrange(-4, 5)
        elif rng.random() < 0.029:
            distance = max(surface_mm + rng.choice((-1, 1)) * rng.randrange(150, 900), 30)
            quality = 1
        elif rng.random() < 0.005:
            distance = None
            quality = 0
        season = 10 - 12 * math.cos(2 * math.pi * hour / HOURS)
        temperature = round(season + (8 if 9 <= of_day < 19 else 0) + rng.gauss(0, 3))
        yield distance, quality, temperature, flaps


def bin_reports(rng: random.Random, history: int) -> Iterator[BinReport]:
    """A report an hour for each container, the sequence number going on through the year."""
    for unit in range(UNITS):
        past: list[tuple[int | None, int]] = []
        first = rng.randrange(65_536)
        for hour, reading in enumerate(container_year(rng, unit * 77 < UNITS * 39)):
            distance, quality, temperature, flaps = reading
            yield BinReport(
                (first + hour) % 65_536,
                distance,
                quality,
                0,
                temperature,
                flaps,
                tuple((60 * (i + 1), *earlier) for i, earlier in enumerate(past)),
            )
            past = [(distance, quality), *past][:history]


def bay_reports(rng: random.Random) -> Iterator[BayReport]:
    """A report per change and a heartbeat an hour."""
    for _ in range(BAYS):
        state, count, since_s, previous_s = FREE, rng.randrange(16_384), 0, 0
        change_s = int(rng.expovariate(1 / 4320))
        for hour in range(HOURS):
            while change_s < hour * 3600:
                previous_s, since_s = change_s - since_s, change_s
                state = OCCUPIED if state == FREE else FREE
                count = (count + 1) % 16_384
                yield BayReport(state, count, 0, previous_s)
                change_s += 20 + int(rng.expovariate(1 / 4320))
            yield BayReport(state, count, hour * 3600 - since_s, previous_s)


def microseconds(work: Callable[[], object], times: int = 5000) -> float:
    """The best of seven rounds, per call."""
    best = float("inf")
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, time.perf_counter() - begin)
    return best / times * 1e6


def main() -> None:
    for name, history in (("bin", 0), ("bin_history3", 3), ("bin_history24", 24)):
        sizes = [
            len(messages.encode(report)[1]) for report in bin_reports(random.Random(SEED), history)
        ]
        print(f"payload_{name}_bytes {statistics.median(sizes):g} B")
        print(f"payload_{name}_max_bytes {max(sizes)} B")
    sizes = [len(messages.encode(report)[1]) for report in bay_reports(random.Random(SEED))]
    print(f"payload_bay_max_bytes {max(sizes)} B")

    past = ((60, 1240, 4), (120, 1250, 4), (180, 1250, 4))
    for name, report in (
        ("bin", BinReport(5000, 1234, 4, 0, 21, 3)),
        ("bin_history3", BinReport(5000, 1234, 4, 0, 21, 3, past)),
        ("bay", BayReport(OCCUPIED, 16_383, 0, 4000)),
    ):
        f_port, data = messages.encode(report)
        encoding = microseconds(partial(messages.encode, report))
        decoding = microseconds(partial(messages.decode, f_port, data))
        print(f"payload_{name}_encode_us {encoding:.2f} us")
        print(f"payload_{name}_decode_us {decoding:.2f} us")


if __name__ == "__main__":
    main()
