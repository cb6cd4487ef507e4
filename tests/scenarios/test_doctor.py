"""The doctor asked while a simulated street runs: healthy, and with a backhaul that is too slow."""

import json

import pytest
from plain_device import plain_device
from stoep_gateway.cli import main
from stoep_hardware.scenario import Street

HOUR_MS = 3_600_000


def confirming(here, planned):
    device, radio = plain_device(here, planned)
    device.confirmed_every = 1
    return device, radio


@pytest.mark.parametrize(("backhaul_ms", "errors"), [(0, set()), (400, {"late"})])
def test_a_street_is_diagnosed(broker, tmp_path, capsys, backhaul_ms, errors):
    folder = tmp_path / "gateway"
    folder.mkdir()
    with Street(
        folder,
        broker=broker.address,
        make_device=confirming,
        containers=4,
        bays=0,
        micropython=0,
        planning_at=None,
        backhaul_ms=backhaul_ms,
    ) as here:
        here.run_until(3 * HOUR_MS)
        capsys.readouterr()
        code = main(["doctor", "--config", str(folder / "stoep.toml"), "--json"])
        answer = json.loads(capsys.readouterr().out)
        counts = here.forwarder_counts()
    assert {it["code"] for it in answer["findings"] if it["level"] == "error"} == errors
    assert code == bool(errors)
    assert [it["round_trip_ms"] for it in answer["gateways"]] == [2 * backhaul_ms] * 2
    assert sum(it["downlinks_sent"] for it in answer["gateways"]) == counts["tx_ok"] > 8
    assert sum(it["receptions"] for it in answer["gateways"]) == counts["forwarded"] > 8
