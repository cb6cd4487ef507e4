"""What a container's device loads, and the heap that its wakes need, with words of 32 bits."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from small_device import SmallRuntime, wakes

# bench/_size.py finds the smallest heap; it may grow this far before it has to be looked after.
HEAP_BYTES = 110_000
SERVER_ONLY = {
    "stoep_protocol.reports",
    "stoep_protocol.lorawan.network_encoding",
    "stoep_protocol.lorawan.network_frames",
}
ELSEWHERE = {
    "stoep_firmware.bay_task",
    "stoep_firmware.guarded_task",
    "stoep_protocol.lorawan.regions_fixed",
}
# With accelerometer, thermometer and lid switch.
FITTED = {"motion": "lis3dh", "thermometer": "tmp102", "lid": True}
FITTED_BYTES = 113_000
BAY_BYTES = 106_000
SELDOM = {
    "stoep_firmware.commands",
    "stoep_firmware.joining",
    "stoep_protocol.lorawan.join_frames",
    "stoep_protocol.lorawan.mac_commands",
}


@pytest.fixture(scope="module", params=["a02yyuw", "vl53l1x"])  # the usual driver, the largest
def days(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[dict[str, Any]]]:
    """The wakes of a device: it joins and is configured, then reports hourly."""
    cache: pathlib.Path = tmp_path_factory.mktemp("modules")
    with SmallRuntime(cache=cache) as runtime:
        simulator = runtime.importing()["simulator"]
    with SmallRuntime(HEAP_BYTES + simulator, cache) as runtime:
        yield wakes(runtime, sensor=request.param)


def test_the_heap_is_enough_for_every_wake(days: list[dict[str, Any]]) -> None:
    assert len(days) >= 3
    assert not any(wake["outgrown"] for wake in days)
    # The measure sees what it should: less than half of it is not enough for the modules alone.
    assert min(wake["live"] for wake in days) > HEAP_BYTES // 2


def test_no_wake_loads_what_only_a_server_or_another_device_needs(
    days: list[dict[str, Any]],
) -> None:
    for wake in days:
        assert not (SERVER_ONLY | ELSEWHERE) & set(wake["modules"])


def test_no_wake_keeps_what_it_measured_joined_or_obeyed_commands_with(
    days: list[dict[str, Any]],
) -> None:
    for wake in days:
        assert "stoep_firmware.mac" in wake["modules"]
        assert not SELDOM & set(wake["modules"])
        assert not any(name.startswith("stoep_firmware.drivers.") for name in wake["modules"])


def test_what_looks_after_more_than_the_level_is_let_go_of_before_the_radio_talks(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cache = tmp_path_factory.mktemp("fitted")
    with SmallRuntime(cache=cache) as runtime:
        simulator = runtime.importing()["simulator"]
    with SmallRuntime(FITTED_BYTES + simulator, cache) as runtime:
        fitted = wakes(runtime, **FITTED)
    assert len(fitted) >= 3
    assert not any(wake["outgrown"] for wake in fitted)
    for wake in fitted:
        assert "stoep_firmware.guarded_task" in wake["modules"]
        assert not {"stoep_firmware.guard", "stoep_firmware.sensing.alarms"} & set(wake["modules"])


def test_a_bay_keeps_nothing_of_its_look_while_the_radio_talks(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cache: pathlib.Path = tmp_path_factory.mktemp("modules")
    with SmallRuntime(cache=cache) as runtime:
        simulator = runtime.importing()["simulator"]
    with SmallRuntime(BAY_BYTES + simulator, cache) as runtime:
        days = wakes(runtime, kind="bay", sensor="rm3100")
    look = {"stoep_firmware.bay_look", "stoep_firmware.sensing.detection", "stoep_firmware.second"}
    for wake in days:
        assert not wake["outgrown"]
        assert "stoep_firmware.bay_task" in wake["modules"]
        assert not look & set(wake["modules"])
        assert not any(name.startswith("stoep_firmware.drivers.") for name in wake["modules"])
