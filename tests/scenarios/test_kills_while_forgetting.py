"""The gateway dies at random moments while it forgets old uplinks.

Whenever that is, it has forgotten all that it is through with and nothing beyond; in the end what
is forgotten is on no page of the file. `make test` tries one seed, `make test-system` twenty.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from load import BAY, Device
from mortal_gateway import DATABASE, MortalGateway, configuration
from stoep_hardware.clock_channel import ClockChannel, GatewayGoneError
from stoep_protocol.schema import F_PORT_BAY, F_PORT_BIN
from waiting import wait_until

UPLINKS = 50_000
BEFORE_MS = 30 * 24 * 3_600_000  # the oldest
OLD = UPLINKS * 28 // 30  # bays' are kept for two days
NOW_MS = 1_800_000_000_000
SEEDS = range(int(os.environ.get("STOEP_KILL_SEEDS", "1")))
KILLS = 6
LONGEST_S = 0.05  # from its first step to its death
LONG_ENOUGH_MS = 240_000  # of simulated time: the first sweep comes after a minute
NOBODY = 1  # no broker there

pytestmark = pytest.mark.slow


def is_bay(uplink_id: int) -> bool:
    return bool(uplink_id % 2)


def fill(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO uplink (uplink_id, received_utc_ms, dev_eui, session_id, f_cnt_up, f_port,"
            " frm_payload, freq_hz, dr, receptions) VALUES (?, ?, ?, 1, ?, ?, ?, 868100000, 5, ?)",
            (
                (
                    n,
                    NOW_MS - BEFORE_MS + n * (BEFORE_MS // UPLINKS),
                    n.to_bytes(8, "big"),
                    n,
                    F_PORT_BAY if is_bay(n) else F_PORT_BIN,
                    b"was here: %d;" % n,
                    '[["0016c001ff10a235",-101.2,7.5]]',
                )
                for n in range(1, UPLINKS + 1)
            ),
        )
        connection.commit()


@contextmanager
def clock_of(gateway: MortalGateway) -> Iterator[ClockChannel]:
    ready = json.loads((gateway.folder / "ready.json").read_text())
    channel = ClockChannel(
        ready["clock_tcp"],
        ready["gwmp_udp"],
        utc_start_ms=NOW_MS,
        forwarders=0,
        last_words=gateway.log,
    )
    with closing(channel):
        yield channel


@contextmanager
def killed_at_work(gateway: MortalGateway, mark: int, seconds: float) -> Iterator[None]:
    """Kill it so long after it has gone beyond ``mark``; it is dead at the end."""
    process = gateway.process
    assert process is not None

    def kill() -> None:
        with closing(sqlite3.connect(f"file:{gateway.state / DATABASE}?mode=ro", uri=True)) as it:
            wait_until(
                lambda: any(now > mark for (now,) in it.execute("SELECT uplink_id FROM retention")),
                "it forgets",
            )
        time.sleep(seconds)
        process.kill()

    watcher = Thread(target=kill)
    watcher.start()
    yield
    watcher.join()
    assert process.wait(60) == -signal.SIGKILL, gateway.log()


def through_with(gateway: MortalGateway) -> int:
    """Return the last uplink that the gateway is through with; exactly the bays' up to it are gone.

    The gateway is down.
    """
    with gateway.opened() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        marks = dict(connection.execute("SELECT rule, uplink_id FROM retention"))
        left = [it for (it,) in connection.execute("SELECT uplink_id FROM uplink ORDER BY 1")]
    mark = int(marks.get("bay", 0))
    assert left == [n for n in range(1, UPLINKS + 1) if n > mark or not is_bay(n)]
    return mark


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_while_it_forgets(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    gateway = MortalGateway(tmp_path, configuration([Device(1, BAY)], NOBODY))
    gateway._command.append("--simulated-clock")
    with closing(gateway):
        gateway.start()
        assert gateway.stop() == 0
        fill(gateway.state / DATABASE)
        marks = [0]
        while len(marks) <= KILLS and marks[-1] < OLD - 2:
            gateway.start()
            with (
                clock_of(gateway) as clock,
                killed_at_work(gateway, marks[-1], chance.uniform(0, LONGEST_S)),
                suppress(GatewayGoneError),
            ):
                clock.advance(LONG_ENOUGH_MS)
            marks.append(through_with(gateway))
        assert marks == sorted(set(marks))
        gateway.start()
        with clock_of(gateway) as clock:
            clock.advance(LONG_ENOUGH_MS)
        assert gateway.process is not None
        assert gateway.process.wait(60) == 0, gateway.log()
        mark = through_with(gateway)
    assert mark == pytest.approx(OLD, abs=2)
    said = re.findall(rb"was here: (\d+);", (gateway.state / DATABASE).read_bytes())
    assert {int(n) for n in said} == {n for n in range(1, UPLINKS + 1) if n > mark or not is_bay(n)}
    print(f"seed {seed}: killed when through with {marks[1:]}, then with {mark}")
