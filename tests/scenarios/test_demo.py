"""``stoep demo`` as its user runs it: a process, its exit code, what it prints, its summary."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber


def demo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stoep_tools.cli", "demo", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_street_joins_reports_and_gets_a_round(tmp_path: Path) -> None:
    run = demo("--seconds", "6", "--json", "out.json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["containers_joined"] == 16
    assert summary["bays_joined"] == 8
    assert summary["micropython_devices"] == (0 if "all boards run on CPython" in run.stderr else 4)
    # The last uplink may still be on the air when the street stops.
    assert summary["sent"] - 1 <= summary["accepted"] == summary["published"]
    assert summary["messages"]["device/event"] == 24
    assert summary["messages"]["container/state"] >= 16
    assert summary["rounds"] == 1
    # Its summary, the same of the next day, provisionally, and what has become of today's.
    assert summary["messages"]["round"] == 5
    assert summary["rejected"] == {}
    assert summary["gateway_exit_code"] == 0
    assert "16 containers and 8 bays joined" in run.stdout
    assert "Traceback" not in run.stderr  # a thread may die, and the rest go on


@pytest.mark.slow
def test_a_broker_of_ones_own_gets_the_messages(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker, "stoep/v1/blantyre/#") as subscriber:
        run = demo(
            *("--seconds", "2", "--broker", f"127.0.0.1:{broker.port}"),
            *("--containers", "2", "--bays", "1", "--micropython", "9"),
            cwd=tmp_path,
        )
        assert run.returncode == 0, run.stderr
        subscriber.wait_for(lambda: bool(subscriber.of("/container/")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--broker", "nonsense"], "'nonsense' is not HOST:PORT"),
        (["--seconds", "0"], "'0' is not a positive number"),
        (["--seconds", "soon"], "'soon' is not a positive number"),
        (["--containers", "-1"], "'-1' is not a number of things"),
        (["--containers", "100"], "there can be up to 55 containers"),
        (["--json", "nowhere/out.json"], "there is no folder nowhere"),
        (["--keep", "."], "holds something already; name an empty folder"),
    ],
)
def test_a_wrong_argument_is_named_and_ends_with_2(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "something").touch()
    run = demo(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_no_broker_is_one_line_and_ends_with_1(tmp_path: Path) -> None:
    run = demo("--broker", "127.0.0.1:1", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("stoep demo: no MQTT broker at 127.0.0.1:1:")
    assert len(run.stderr.splitlines()) == 1
