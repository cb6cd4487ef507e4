"""Who is there: the gateway by its own word and its will, devices by how often they are heard."""

import json
from dataclasses import replace
from types import SimpleNamespace

from hand_clock import HandClock
from stoep_gateway.assets import configuration
from stoep_gateway.assets.registry import Registry
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.census import SILENT_MS
from stoep_gateway.publish.availability import DeviceWatch, gateway_availability
from stoep_gateway.watching import DeviceWatching
from street import HOUR_MS, START_MS, checked, device

NOW = 5_000


def test_the_gateway_says_whether_and_why() -> None:
    online = gateway_availability("example", "online", None, START_MS)
    stopped = gateway_availability("example", "offline", "stopped", START_MS)
    assert online.topic == stopped.topic == "stoep/v1/example/availability"
    assert checked(online) | {"event_id": ""} == {
        "event_id": "",
        "time_utc": "2026-10-20T02:00:00.000Z",
        "state": "online",
        "reason": None,
    }
    assert checked(stopped)["reason"] == "stopped"
    assert online.event_id != stopped.event_id


def test_a_device_is_told_once_when_it_is_heard_and_once_when_it_is_silent() -> None:
    board = device(1)
    devices = {board.dev_eui: board}
    watch = DeviceWatch(lambda _: 100 * HOUR_MS)
    assert watch.check(devices, NOW, START_MS) == ()
    (online,) = watch.heard(board, NOW, START_MS)
    assert online.topic == "stoep/v1/example/device/70b3d57ed0000001/availability"
    assert checked(online) == {
        "event_id": online.event_id,
        "time_utc": "2026-10-20T02:00:00.000Z",
        "state": "online",
        "last_heard_utc": "2026-10-20T02:00:00.000Z",
        "dev_eui": "70b3d57ed0000001",
        "name": json.loads(online.payload)["name"],
        "asset": "container/market-organic-1",
    }
    assert watch.heard(board, NOW + HOUR_MS, START_MS + HOUR_MS) == ()
    assert watch.check(devices, NOW + 101 * HOUR_MS, START_MS) == ()
    (offline,) = watch.check(devices, NOW + 101 * HOUR_MS + 1, START_MS + 101 * HOUR_MS + 1)
    told = checked(offline)
    assert (told["state"], told["last_heard_utc"]) == ("offline", "2026-10-20T03:00:00.000Z")
    assert watch.check(devices, NOW + 200 * HOUR_MS, START_MS) == ()
    (back,) = watch.heard(board, NOW + 201 * HOUR_MS, START_MS + 201 * HOUR_MS)
    assert checked(back)["state"] == "online"


def test_when_a_device_was_heard_is_corrected_with_the_clock() -> None:
    board = device(1)
    watch = DeviceWatch(lambda _: 0)
    watch.heard(board, NOW, START_MS)
    watch.move_times(START_MS + 1, 5 * HOUR_MS)  # of another start
    watch.move_times(START_MS, HOUR_MS)
    late = NOW + SILENT_MS + 1
    (offline,) = watch.check({board.dev_eui: board}, late, START_MS + SILENT_MS + HOUR_MS)
    assert checked(offline)["last_heard_utc"] == "2026-10-20T03:00:00.000Z"


def test_silence_before_the_start_does_not_count_and_no_device_is_given_up_too_early() -> None:
    board = device(2)
    devices = {board.dev_eui: board}
    watch = DeviceWatch(lambda _: 0)
    watch.check(devices, NOW, START_MS)
    assert watch.check(devices, NOW + SILENT_MS, START_MS) == ()
    (offline,) = watch.check(devices, NOW + SILENT_MS + 1, START_MS)
    assert checked(offline)["last_heard_utc"] is None


def test_a_disabled_device_is_not_told_silent_and_a_removed_one_is_forgotten() -> None:
    board = replace(device(1), enabled=False)
    watch = DeviceWatch(lambda _: 0)
    watch.check({board.dev_eui: board}, NOW, START_MS)
    assert watch.check({board.dev_eui: board}, NOW + 2 * SILENT_MS, START_MS) == ()
    watch.check({}, NOW, START_MS)
    assert len(watch.heard(board, NOW, START_MS)) == 1


def told_after(hours: list[float], states: dict, configurations: dict) -> list[tuple[str, str]]:
    """Watch a board that is heard at the start; return who was told what by each hour."""
    board, clock = device(1), HandClock()
    told = []
    watching = DeviceWatching(
        Registry("example", {}, {}),
        SimpleNamespace(states=states, configurations=configurations),
        clock,
        lambda messages: told.extend(checked(it)["state"] for it in messages),
    )
    watching._registry.devices[board.dev_eui] = board
    watching.start()
    assert len(watching.heard(board)) == 1
    found = []
    for hour in hours:
        clock.pass_ms(round(hour * HOUR_MS))
        found.append(list(told))
    return found


def test_a_board_may_be_silent_for_a_day_or_for_three_of_its_intervals() -> None:
    board = device(1)
    rare = ContainerState(1, START_MS, interval_ms=12 * HOUR_MS)
    payload = configuration.compose({"interval_min": 1920}, board.asset)
    wanted = configuration.want(None, board.dev_eui, payload, START_MS)
    for states, configurations, patience_h in (
        ({}, {}, 26),
        ({board.asset.key: rare}, {}, 36),
        ({board.asset.key: rare}, {board.dev_eui: wanted}, 96),
    ):
        before, after = told_after([patience_h, 1], states, configurations)
        assert (before, after) == ([], ["offline"]), patience_h
