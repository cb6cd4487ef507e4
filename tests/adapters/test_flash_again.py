"""A board that is flashed again goes on as itself: the firmware, on what the bench gives it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from firmware_place import Place
from stoep_gateway.lns.join import DevNonces
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol.lorawan import frames
from stoep_tools.flash.identity import (
    SAFE_STEP,
    SESSION_NAMES,
    config_json,
    dev_nonce_of,
    session_record,
)
from stoep_tools.flash.ledger import Entry, Ledger

MAC = bytes.fromhex("34b7da0c1d2e")
BOARD = "heltec_wifi_lora_32_v3"


@pytest.fixture(params=["cpython", "micropython"])
def flash(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Entry], Place]]:
    """Give what flashes an empty board with an entry's identity, and starts it."""
    made: list[Place] = []
    runtime: Any = CPythonDevice
    if request.param == "micropython":
        if not is_available():
            pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
        program = request.getfixturevalue("program")
        runtime = lambda *arguments: MicroPythonDevice(*arguments, program)  # noqa: E731

    def flash(entry: Entry) -> Place:
        written = config_json(entry.identity, entry.board, entry.kind, entry.region)
        place = Place(runtime, **{**json.loads(written), "board": entry.board})
        place.device.write_file("config.json", written)
        place.device.write_file("session.0", session_record(entry.dev_nonce))
        made.append(place)
        return place

    yield flash
    for place in made:
        place.device.close()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MicroPythonRuntime]:
    with MicroPythonRuntime(tmp_path_factory.mktemp("modules")) as runtime:
        yield runtime


def asked(place: Place) -> list[int]:
    """Return the DevNonces of the join-requests that went out."""
    requests = [frame.payload for _, frame, _, data in place.far.uplinks if data is None]
    return [frames.parse(payload).dev_nonce for payload in requests]


def read_back(place: Place) -> dict[str, bytes]:
    files = {name: place.device.read_file(name) for name in SESSION_NAMES}
    return {name: data for name, data in files.items() if data is not None}


def test_no_network_refuses_a_board_that_was_flashed_again(
    flash: Callable[[Entry], Place], tmp_path: Path
) -> None:
    used = DevNonces(())
    dev_nonces: list[int] = []
    with Ledger(tmp_path / "boards.db") as ledger:
        found: int | None = None
        for step in ("first", "read back", "read back", "erased", "read back"):
            if step == "erased":
                found = None
            entry = ledger.issue(MAC, BOARD, "bin", "EU868", dev_nonce=found).entry
            place = flash(entry)
            ledger.mark(entry.identity.dev_eui, "written")
            place.run(hours=1.5)
            assert place.far.messages, "it has joined and reported"
            assert asked(place)[0] == entry.dev_nonce
            for dev_nonce in asked(place):
                assert not used.is_replayed(entry.identity.dev_eui, dev_nonce, counts_up=True)
                used.remember(entry.identity.dev_eui, dev_nonce, 1)
            dev_nonces += asked(place)
            found = dev_nonce_of(read_back(place))
            assert found == dev_nonces[-1] + 1
            place.check()
    assert dev_nonces == [0, 1, 2, 2 + SAFE_STEP, 3 + SAFE_STEP]
