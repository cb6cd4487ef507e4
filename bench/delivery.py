"""What share of a year's hourly readings is at the gateway 72 h after they were taken.

One `name value unit` line per figure:

    delivery_18pct_loss_pct        18 % of uplinks lost on average: five devices that lose 4, 9, 15,
                                   21 and 41 %
    delivery_41pct_loss_pct        a badly covered device, 38 % of its uplinks at SF12
    delivery_…_worst_pct           the worst of the seeds
    delivery_…_airtime_day_ms      what a device has on the air a day
    delivery_…_requests_day        downlinks a day by which a device is asked for readings
    …_plain_…, …_history_…         the same without earlier readings and requests, and without
                                   requests

The device's own task, settings and outbox, the payload codec, and the gateway's own decisions of
what is new, what is missing and what to ask for; all of tests/support/delivery.py. Uplinks are lost
in runs as measured in the field on badly covered devices, and heard in runs of random length
between; an uplink more in a wake is one more on the same link. A downlink is lost as often as the
device's uplinks are. The spread over data rates is measured at SF12 only; the rest is assumed, and
so is that all devices lose in runs of that length. ``--history N`` measures another default.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from delivery import BAD, STREET, Outcome, Policy, year

CASES = {"18pct_loss": (STREET, 4), "41pct_loss": ((BAD,), 20)}


def policies(history: int | None) -> dict[str, Policy]:
    """Return what is compared, by what goes into the name."""
    return {
        "": Policy(history),
        "_plain": Policy(0, requests=False),
        "_history": Policy(history, requests=False),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--history", type=int, help="earlier readings in a report")
    arguments = parser.parse_args()
    with Pool() as pool:
        for case, (airs, seeds) in CASES.items():
            for suffix, policy in policies(arguments.history).items():
                lives = pool.starmap(year, [(airs, policy, seed) for seed in range(seeds)])
                report(f"delivery_{case}{suffix}", lives)


def report(name: str, lives: list[Outcome]) -> None:
    """Print the figures of these years."""
    hours = sum(life.hours for life in lives)
    delivered = 100 * sum(life.in_time for life in lives) / hours
    airtime_ms = 24 * sum(life.airtime_us for life in lives) / hours / 1000
    requests = 24 * sum(life.requests for life in lives) / hours
    print(f"{name}_pct {delivered:.3f} %")
    print(f"{name}_worst_pct {min(life.delivered_pct for life in lives):.3f} %")
    print(f"{name}_airtime_day_ms {airtime_ms:.0f} ms")
    print(f"{name}_requests_day {requests:.3f} 1", flush=True)


if __name__ == "__main__":
    main()
