"""A town as a gateway has it in its store after some weeks, and its plan on a small machine."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoep_gateway import config as configuration
from stoep_gateway.assets import states
from stoep_gateway.assets.geometry import inside
from stoep_gateway.assets.occasions import calendar
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.backtest import town
from stoep_gateway.backtest.sensor import Sensor
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.store.migrate import migrate

_DAYS, _HEARD = 28, 20
_EMPTIED_EVERY_H = 24 * 10
# The plan as the command shows it, and what it took, of the solver's process too.
_PLAN = """
import re, resource, sys
from pathlib import Path
from stoep_gateway.planning.cli import main
code = main(sys.argv[1:])
own, solver = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
# Its own ru_maxrss is also that of whoever started it.
own_kb = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
for used, kb in ((own, int(own_kb)), (solver, solver.ru_maxrss)):
    print(kb / 1024, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Planned:
    """The messages of the rounds; the largest that both processes were, and their time."""

    messages: list[dict[str, Any]]
    rss_mb: float
    seconds: float


def write(folder: Path, containers: int, planning: str = "") -> tuple[Path, int]:
    """Write the configuration and the store; return the configuration's file and the time.

    Some containers were heard hourly for weeks; each of the others is like one of those.
    """
    file = folder / "stoep.toml"
    text = town.config_text(1, containers)
    file.write_text(text.replace("[planning]\n", f"[planning]\n{planning}\n", 1))
    config = configuration.load(file)
    forecasts = Forecasts(calendar(config))
    first = config.containers[:_HEARD]
    waste = town.waste(1, [it.id for it in first], _DAYS)
    sensors = [Sensor(it.id, it.pool, 1, inside(it), forecasts) for it in first]
    now_ms = town.START_MS + _DAYS * DAY_MS
    empty = [0.0] * _HEARD
    for hour in range(24 * _DAYS):
        at_ms = town.START_MS + hour * HOUR_MS
        for number, sensor in enumerate(sensors):
            came = waste.until(first[number].id, at_ms)
            if hour % _EMPTIED_EVERY_H == 7 * number % _EMPTIED_EVERY_H:
                empty[number] = came
            sensor.read(at_ms, came - empty[number])
    kept = forecasts.everything()
    with closing(sqlite3.connect(config.store.path)) as connection:
        migrate(connection, config.store.path)
        for number, container in enumerate(config.containers):
            like = number % _HEARD
            track = sensors[like].level.track
            assert track is not None
            state = ContainerState(24 * _DAYS, track.at_ms, HOUR_MS, quality=4, track=track)
            row = (f"container/{container.id}", states.dumps(state))
            connection.execute("INSERT INTO latest VALUES (?, ?)", row)
            kept[row[0]] = kept[f"container/{first[like].id}"]
        connection.executemany("INSERT INTO forecast VALUES (?, ?)", kept.items())
        connection.commit()
    return file, now_ms


def plan(file: Path, now_ms: int, limit_mb: int) -> Planned:
    """Plan in processes of one thread on one core, none of which gets more than that memory."""
    at = subprocess.check_output(
        ["date", "-u", "-d", f"@{now_ms // 1000}", "+%Y-%m-%dT%H:%MZ"], text=True
    ).strip()

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit_mb << 20, limit_mb << 20))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    ended = subprocess.run(
        [sys.executable, "-c", _PLAN, "show", "--config", str(file), "--json", "--at", at],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=small,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    used = [tuple(map(float, line.split())) for line in ended.stderr.splitlines()[-2:]]
    return Planned(
        [json.loads(line) for line in ended.stdout.splitlines()],
        sum(rss_mb for rss_mb, _ in used),
        sum(seconds for _, seconds in used),
    )
