"""From an empty board to its first reading at a broker: real esptool and MicroPython, one port."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from bench_port import BenchPort
from bench_street import BenchStreet
from broker import Mosquitto, Subscriber
from micropython_image import firmware
from sim_board_on_pty import SimBoardOnPty
from stoep_hardware import board_data, micropython_runtime
from stoep_hardware.engine import US_PER_S
from stoep_tools.flash import images, steps
from stoep_tools.flash.ledger import Ledger

pytestmark = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)

MAC = "34b7da0c1d2e"
BOARD = board_data.load("heltec_wifi_lora_32_v3")
STOEP = [sys.executable, "-m", "stoep_tools.cli"]
HOUR_US = 3_600 * US_PER_S


def test_an_empty_board_becomes_a_sensor(broker: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "ESP32_GENERIC_S3.bin"
    path.write_bytes(firmware())
    said: list[tuple[str, str]] = []
    with (
        Subscriber(broker, "stoep/v1/test/container/#") as subscriber,
        BenchStreet(tmp_path / "gateway", broker.address, bytes.fromhex(MAC)) as street,
        BenchPort(
            tmp_path,
            mac=MAC,
            boot=lambda image: SimBoardOnPty(image, street.board, street.step),
        ) as bench,
        Ledger(tmp_path / "bench" / "boards.db") as ledger,
    ):
        order = steps.Order(
            BOARD,
            "bin",
            "EU868",
            images.load(path, BOARD),
            asset="container/market-1",
            gateway=STOEP,
            gateway_options=street.options,
            labels=tmp_path / "labels",
        )
        outcome = steps.flash(
            bench.port,
            order,
            ledger,
            lambda step, what: said.append((step, what)),
            lambda done, total: None,
        )
        assert outcome.problem is None, said
        assert [check.name for check in outcome.checks if check.passed is False] == []
        entry = ledger.entries()[0]
        assert entry.state == "labelled"
        assert set(entry.times) == {"issued", "written", "verified", "registered", "labelled"}
        assert bench.board is not None
        bench.board.wait_asleep()
        bench.board.run_until(2 * HOUR_US)
        subscriber.wait_for(lambda: subscriber.of("/market-1/state"))
        state = json.loads(subscriber.of("/market-1/state")[0][1])
        assert state["distance_mm"] == pytest.approx(800, abs=10)
