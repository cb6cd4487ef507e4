"""A LoRaWAN year of one device on the real MicroPython: one `name value unit` line per figure.

The whole firmware reports every hour through air that loses 18 % of the uplinks and 10 % of the
downlinks, with ADR, DeviceTime, a power loss a quarter, an outage of the network of three days and
a configuration. Every wake is a process of its own: only what a board keeps is kept. What has to
hold is asserted (tests/support/lorawan_year.py): no error, no join but the first, every downlink
that was on the air heard, airtime within the law, heap and RTC memory that do not grow.

`year_wakes`, `year_s`: how many and how long they took here. `year_flash_writes`: to storage.
`year_readings_pct`: of the readings, those that are at the network. `year_airtime_s`: on the air.
`year_heap_growth_bytes`: what the wakes of the last sixth leave in use beyond those of the second.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from lorawan_year import Wakes, Year


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with Wakes() as wakes:
        year = Year(wakes, arguments.days, arguments.seed)
        begun_s = time.perf_counter()
        world = year.run()
        took_s = time.perf_counter() - begun_s
    year.check()
    counts = world.counts
    print(f"# {counts}", file=sys.stderr)
    print(f"year_wakes {counts['wakes']} wakes")
    print(f"year_s {took_s:.0f} s")
    print(f"year_uplinks {counts['uplinks']} frames")
    print(f"year_lost_pct {100 * counts['lost'] / counts['uplinks']:.1f} %")
    print(f"year_joins {counts['joins']} joins")
    print(f"year_flash_writes {counts['writes']} writes")
    print(f"year_readings_pct {100 * world.delivered / counts['readings']:.2f} %")
    print(f"year_airtime_s {world.airtime_ms / 1000:.0f} s")
    print(f"year_heap_growth_bytes {year.growth(1)} bytes")
    print(f"year_rtc_bytes {max(octets for _, _, octets in world.allocs)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
