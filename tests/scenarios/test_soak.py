"""The soak in short: two days of an hour each, 50 devices, and nothing grows; see bench/soak.py."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.slow
def test_two_short_days_leave_the_gateway_as_it_was() -> None:
    command = [sys.executable, str(BENCH / "soak.py"), "--devices", "50"]
    run = subprocess.run(
        [*command, "--days", "2", "--hours-a-day", "1"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    figures = {name: float(value) for name, value, _unit in lines}
    assert figures["soak_lost_uplinks"] == 0
    assert figures["soak_outbox_rows"] == 0
    assert figures["soak_fds_growth"] == 0
    assert figures["soak_rss_growth_mb"] < 4
    assert figures["soak_db_growth_bytes_per_uplink"] < 400
