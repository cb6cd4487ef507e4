"""How well a bay's state is told, and what telling it costs: series with their truth.

    python bench/bays.py [--units 40] [--days 60] [--seed 1000] [--no-energy]
    python bench/bays.py --sensor NAME [--poll-s 60]     only the charge, with another magnetometer

Seeds from 0 to 999 are for training, what is printed comes from others. The production detector is
run over what the sensor sees at its wakes (`labelled_bays`), with all troubles on and then with one
at a time. Balanced accuracy is weighted by time and pooled over the units: the mean of the share of
occupied time that is told occupied and of free time that is told free; uncertain counts as wrong.
Latency is from the truth's change until it is told, and has to come before the next change.

Beside it stand a threshold that never learns, and the detector before this one: a baseline that
goes half of the way to each free field, without temperature.

A day's charge is that of a simulated Heltec V3 at SF7 (see `_energy.py`), with 20 changes,
24 heartbeats and 100 wakes by passing traffic; the processor's own time is counted as that of a
container's hourly wake for each, though most of them send nothing. Of another sensor's wakes those
that send nothing count with the time that such a wake of a bay takes, measured the same way.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Protocol

from stoep_firmware.sensing.bay import Bay
from stoep_hardware.labelled_bays import THRESHOLD_COUNTS, BaySeries, Look, bay_series
from stoep_hardware.troubles import BayTroubles
from stoep_protocol.schema import FREE, OCCUPIED

CHANGES, HEARTBEATS, PASSING = 20, 24, 100
_NONE = BayTroubles(
    drift_ut_per_c=(0.015, 0.0151),
    magnet_ut_per_day=(0.0, 0.0),
    reversed_share=0.0,
    high_chassis_share=0.0,
    motorcycle_share=0.0,
    passing_per_hour=0.0,
    manoeuvre_share=0.0,
    repark_share=0.0,
    long_stay_share=0.0,
)
_ALL = BayTroubles()
Make = Callable[[int, int], BaySeries]
ALL: Make = bay_series
MODES: dict[str, Make] = {
    "all, polled every 60 s": partial(bay_series, poll_s=60),
    "all, polled every 300 s": partial(bay_series, poll_s=300),
    "none": partial(bay_series, troubles=_NONE, neighbours=False, under_car_share=0),
    "temperature": partial(
        bay_series,
        troubles=replace(
            _NONE, drift_ut_per_c=_ALL.drift_ut_per_c, magnet_ut_per_day=_ALL.magnet_ut_per_day
        ),
        neighbours=False,
        under_car_share=0,
    ),
    "neighbours": partial(bay_series, troubles=_NONE, under_car_share=0),
    "heavy_and_light": partial(
        bay_series,
        troubles=replace(
            _NONE,
            high_chassis_share=_ALL.high_chassis_share,
            motorcycle_share=_ALL.motorcycle_share,
            reversed_share=_ALL.reversed_share,
        ),
        neighbours=False,
        under_car_share=0,
    ),
    "traffic": partial(
        bay_series,
        troubles=replace(_NONE, passing_per_hour=_ALL.passing_per_hour),
        neighbours=False,
        under_car_share=0,
    ),
    "manoeuvres": partial(
        bay_series,
        troubles=replace(
            _NONE, manoeuvre_share=_ALL.manoeuvre_share, repark_share=_ALL.repark_share
        ),
        neighbours=False,
        under_car_share=0,
    ),
    "long_stays": partial(
        bay_series,
        troubles=replace(_NONE, long_stay_share=0.1, drift_ut_per_c=_ALL.drift_ut_per_c),
        neighbours=False,
        under_car_share=0,
    ),
    "car_at_installation": partial(bay_series, troubles=_NONE, neighbours=False, under_car_share=1),
}


class Detector(Protocol):
    """What decides."""

    def look(self, look: Look) -> int:
        """Return the state after a look."""
        ...


class Production:
    """The firmware's."""

    def __init__(self) -> None:
        self.bay = Bay()

    def look(self, look: Look) -> int:
        if look.field is not None:
            self.bay.update(look.field, look.at_ms, THRESHOLD_COUNTS, look.temperature)
        return self.bay.told()


class Static:
    """A car is what differs by the threshold from the first field."""

    def __init__(self) -> None:
        self.baseline: tuple[int, int, int] | None = None
        self.state = FREE

    def look(self, look: Look) -> int:
        if look.field is not None:
            self.baseline = self.baseline or look.field
            away = math.dist(look.field, self.baseline)
            self.state = OCCUPIED if away > THRESHOLD_COUNTS else FREE
        return self.state


class Following:
    """The detector before this one."""

    def __init__(self) -> None:
        self.baseline: tuple[int, int, int] | None = None
        self.state = FREE
        self.car = 0.0

    def look(self, look: Look) -> int:
        if look.field is None:
            return self.state
        if self.baseline is None:
            self.baseline = look.field
        away = math.dist(look.field, self.baseline)
        if self.state == FREE and away > THRESHOLD_COUNTS:
            self.state, self.car = OCCUPIED, away
        elif self.state == FREE or away < max(THRESHOLD_COUNTS * 2 // 3, self.car // 3):
            self.state = FREE
            x, y, z = ((old + new) // 2 for old, new in zip(self.baseline, look.field, strict=True))
            self.baseline = x, y, z
        else:
            self.car = max(self.car, away)
        return self.state


@dataclass
class Score:
    """Sums over units; times in ms."""

    right_ms: dict[int, int] = field(default_factory=lambda: {FREE: 0, OCCUPIED: 0})
    whole_ms: dict[int, int] = field(default_factory=lambda: {FREE: 0, OCCUPIED: 0})
    latencies_ms: list[int] = field(default_factory=list)
    changes: int = 0
    told: int = 0  # changes of what is told: an uplink each
    units: list[float] = field(default_factory=list)

    def balanced(self) -> float:
        """Return the balanced accuracy, by time."""
        return statistics.mean(self.right_ms[it] / self.whole_ms[it] for it in (FREE, OCCUPIED))

    def latency_s(self, share: float) -> float:
        """Return a quantile of the latencies."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1000

    def add(self, other: Score) -> None:
        for state in (FREE, OCCUPIED):
            self.right_ms[state] += other.right_ms[state]
            self.whole_ms[state] += other.whole_ms[state]
        self.latencies_ms += other.latencies_ms
        self.changes += other.changes
        self.told += other.told
        self.units += other.units


def score(series: BaySeries, detector: Detector) -> Score:
    """Run one unit."""
    total = Score()
    told = [(look.at_ms, detector.look(look)) for look in series.looks]
    begin_ms = told[0][0]
    total.told = sum(one[1] != other[1] for one, other in pairwise(told))
    total.changes = len(series.changes) - 1
    for from_ms, until_ms, occupied, state in _together(series.changes, told, series.end_ms):
        span_ms = until_ms - max(from_ms, begin_ms)
        if span_ms > 0:
            truth = OCCUPIED if occupied else FREE
            total.whole_ms[truth] += span_ms
            total.right_ms[truth] += span_ms * (state == truth)
    at = 0
    ends_ms = [at_ms for at_ms, _ in series.changes[2:]] + [series.end_ms]
    for (at_ms, occupied), end_ms in zip(series.changes[1:], ends_ms, strict=True):
        truth = OCCUPIED if occupied else FREE
        while at < len(told) and told[at][0] < at_ms:
            at += 1
        found = next((when for when, state in told[at:] if state == truth), series.end_ms)
        if found < end_ms:
            total.latencies_ms.append(found - at_ms)
    if all(total.whole_ms.values()):
        total.units.append(total.balanced())
    return total


def _together(
    changes: list[tuple[int, bool]], told: list[tuple[int, int]], end_ms: int
) -> Iterator[tuple[int, int, bool, int]]:
    """Yield (from, until, truth, told) for every span in which neither changes."""
    times = sorted({at for at, _ in changes} | {at for at, _ in told} | {end_ms})
    truth, state = changes[0][1], told[0][1]
    changes_by, told_by = dict(changes), dict(told)
    for at_ms, until_ms in pairwise(times):
        truth = changes_by.get(at_ms, truth)
        state = told_by.get(at_ms, state)
        yield at_ms, until_ms, truth, state


DETECTORS: dict[str, Callable[[], Detector]] = {
    "static": Static,
    "following": Following,
    "production": Production,
}


def unit(make: Make, days: int, seed: int) -> dict[str, Score]:
    """Run every detector on one unit."""
    series = make(seed, days)
    return {name: score(series, detector()) for name, detector in DETECTORS.items()}


def run(units: int, days: int, seed: int, make: Make = ALL) -> dict[str, Score]:
    """Score that many units from a seed on, by every detector."""
    totals = {name: Score() for name in DETECTORS}
    with ProcessPoolExecutor(2) as pool:
        for scores in pool.map(partial(unit, make, days), range(seed, seed + units)):
            for name, total in totals.items():
                total.add(scores[name])
    return totals


def day_mah(**config: str | int) -> tuple[float, float, int]:
    """Return a day's charge with and without the processor's own time, and the day's wakes."""
    import _energy
    from stoep_hardware.devices import CPythonDevice
    from stoep_hardware.engine import US_PER_S

    here = _energy.place(CPythonDevice, _energy.BOARD, 7, kind="bay", **config)
    logs, engine, bay = here.board.logs(), here.engine, here.bay
    before_uc = sum(log.charge_uc(engine.now_us) for log in logs.values())
    wakes, told = here.device.wakes, len(here.far.uplinks)

    def at(share: float, callback: Callable[[], None]) -> None:
        engine.after(round(share * 86_400 * US_PER_S), callback)

    for number in range(CHANGES // 2):
        at((number + 0.3) * 2 / CHANGES, bay.arrive)
        at((number + 0.8) * 2 / CHANGES, bay.leave)
    for number in range(PASSING):
        at((number + 0.4) / PASSING, lambda: bay.disturb((15.0, -10.0, 8.0), 3.0))
    here.run(hours=24)
    charge_uc = sum(log.charge_uc(engine.now_us) for log in logs.values()) - before_uc
    wakes, told = here.device.wakes - wakes, len(here.far.uplinks) - told
    here.check()
    here.device.close()
    assert told >= CHANGES + HEARTBEATS, told
    awake_ua = _energy.board_data.load(_energy.BOARD).currents_ua["awake"]
    full_ms = _energy.cpu().wake
    silent_ms = _energy.cpu(kind="bay", **config).wake if config else full_ms
    awake_ms = told * full_ms + (wakes - told) * silent_ms
    cpu_uc = awake_ms / 1e3 * _energy.CPU_FACTOR * awake_ua
    return (charge_uc + cpu_uc) / 3.6e6, charge_uc / 3.6e6, wakes


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=40)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--no-energy", action="store_true", help="only the detector")
    parser.add_argument("--sensor", help="as in config.json: only the charge with that one")
    parser.add_argument("--poll-s", type=int, default=60)
    options = parser.parse_args()
    if options.sensor:
        day, without_cpu, wakes = day_mah(sensor=options.sensor, poll_s=options.poll_s)
        print(f"bays_{options.sensor}_mAh_per_day {day:.2f} mAh")
        print(f"# {wakes} wakes; {without_cpu:.2f} mAh without the processor's own time")
        return
    totals = run(options.units, options.days, options.seed)
    best = totals["production"]
    print(f"bays_balanced_accuracy {best.balanced():.4f} of 1")
    print(f"bays_worst_unit {min(best.units):.4f} of 1")
    print(f"bays_latency_median {best.latency_s(0.5):.1f} s")
    print(f"bays_latency_p95 {best.latency_s(0.95):.1f} s")
    print(f"bays_changes_told {100 * len(best.latencies_ms) / best.changes:.2f} %")
    print(f"bays_uplinks_per_change {best.told / best.changes:.3f} uplinks")
    print(f"# {'balanced accuracy':24}" + "".join(f"{name:>12}" for name in DETECTORS))
    few = max(options.units // 4, 1)
    rows = {"all": totals} | {
        name: run(few, options.days, options.seed, make) for name, make in MODES.items()
    }
    for mode, row in rows.items():
        figures = "".join(f"{row[name].balanced():12.4f}" for name in DETECTORS)
        print(f"# {mode:24}{figures}", flush=True)
    if not options.no_energy:
        day, without_cpu, wakes = day_mah()
        print(f"bays_mAh_per_day {day:.2f} mAh")
        print(f"# {wakes} wakes; {without_cpu:.2f} mAh without the processor's own time")


if __name__ == "__main__":
    main()
