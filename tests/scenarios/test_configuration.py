"""A configuration's whole way: the command, the gateway, the air, the real firmware, and back."""

import json
import subprocess
import sys

import pytest
from broker import Subscriber
from stoep_hardware.scenario import Street

HOUR_MS = 3_600_000


def stoep(here, *arguments):
    config = ("--config", str(here.config))
    run = subprocess.run(
        [sys.executable, "-m", "stoep_tools.cli", *arguments, *config],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run
    return run.stdout


def configuration(here, dev_eui):
    return json.loads(stoep(here, "device", "show", dev_eui, "--json"))["configuration"]


def answers(subscriber, dev_eui):
    events = [json.loads(data) for topic, data, _ in subscriber.of(f"/device/{dev_eui}/event")]
    return [event for event in events if event["event"].startswith("configuration_")]


@pytest.mark.slow
@pytest.mark.parametrize("micropython", [0, 2])
def test_devices_take_their_configuration_and_say_so(broker, tmp_path, micropython):
    with (
        Subscriber(broker, "stoep/v1/blantyre/#") as subscriber,
        Street(
            tmp_path,
            broker=broker.address,
            containers=1,
            bays=1,
            bay_interval_s=3600,
            micropython=micropython,
        ) as here,
    ):
        container, bay = (one.board.dev_eui.hex() for one in here.planned)
        here.run_until(HOUR_MS // 2)  # both have joined
        command = ("device", "configure")
        said = stoep(here, *command, "--containers", "--interval", "20", "--mode", "both")
        assert said == f"{container}: will be told: interval_min 20, mode both\n"
        stoep(here, *command, bay, "--mode", "regular", "--interval", "30")
        assert configuration(here, container)["state"] == "pending"
        here.run_until(2 * HOUR_MS)
        before = here.sent.copy()
        here.run_until(5 * HOUR_MS)
        for dev_eui, reports in ((container, 9), (bay, 6)):
            configured = configuration(here, dev_eui)
            assert configured["state"] == "in_force"
            assert configured["told_hash"] == configured["wanted_hash"]
            sent = here.sent[bytes.fromhex(dev_eui)] - before[bytes.fromhex(dev_eui)]
            assert reports - 1 <= sent <= reports + 4  # a changed level is told at once

        # What the board cannot do it refuses, and goes on as before.
        stoep(here, *command, container, "--alarm-temperature", "60")
        here.run_until(6 * HOUR_MS)
        configured = configuration(here, container)
        assert (configured["state"], configured["refused"]) == ("refused", "unsupported")
        subscriber.wait_for(lambda: len(answers(subscriber, container)) >= 2)
        accepted, refused = answers(subscriber, container)
        assert accepted["event"] == "configuration_accepted"
        assert (refused["event"], refused["refused"]) == ("configuration_refused", "unsupported")
        assert accepted["config_hash"] == refused["config_hash"] == configured["told_hash"]
        doctor = stoep(here, "gateway", "doctor")
        assert "configuration-refused" in doctor
        assert container in doctor
        assert [what for device in here.devices.values() for what in device.board.violations] == []
