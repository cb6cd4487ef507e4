"""What a device is asked to calibrate and what it answers, from the command to the echo filter."""

import json
from dataclasses import replace
from typing import Any

import pytest
from device_network import MemoryNetwork
from network_in_hand import NetworkInHand
from stoep_gateway.assets import calibration, states
from stoep_gateway.assets.calibration import Answer
from stoep_gateway.assets.states import ContainerState, DeviceState
from stoep_gateway.control import CommandRefused
from stoep_gateway.device_commands import DeviceCommands
from stoep_gateway.device_network import Activity
from stoep_gateway.publish import topics
from stoep_protocol import schema
from stoep_protocol.advice import Echoes, advice
from stoep_protocol.calibration import (
    CALIBRATED,
    CALIBRATED_MOVING,
    CALIBRATED_NO_BASELINE,
    CALIBRATED_NO_SENSOR,
    CALIBRATED_WEAK,
    STEP_CAR,
    STEP_ECHOES,
    STEP_EMPTY,
    Calibrated,
    echo,
)
from stoep_protocol.messages import BinReport, Status, encode
from street import START_MS, checked, device, meta

CONFIG = """
site = "street"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "2b7e151628aed2a6abf7158809cf4f3d"
asset = "bay/7"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
[[bay]]
id = "7"
street = "High Street"
lat = -15.8
lon = 35.0
"""
CONTAINER = (bytes.fromhex("70b3d57ed0000001"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
BAY = (bytes.fromhex("70b3d57ed0000002"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3d"))
EMPTY = Calibrated(STEP_EMPTY, CALIBRATED, (250, 2166))


def echoes(*places: tuple[int, int], said: int | None = None) -> Calibrated:
    return Calibrated(STEP_ECHOES, CALIBRATED, (said, *(echo(cm, count) for cm, count in places)))


@pytest.mark.parametrize(
    ("answer", "texts", "remedies"),
    [
        (EMPTY, ["known; it moved by 0.2 uT, and may by 2.2"], [""]),
        (
            Calibrated(STEP_CAR, CALIBRATED, (14_200, 6500)),
            ["changes the field by 14.2 uT, 218 % of the threshold of 6.5 uT"],
            [""],
        ),
        (Calibrated(STEP_CAR, CALIBRATED, (7000, 6500)), ["107 %"], ["middle of the bay"]),
        (Calibrated(STEP_CAR, CALIBRATED_WEAK, (4200, 6500)), ["64 %"], ["middle of the bay"]),
        (Calibrated(STEP_CAR, CALIBRATED_MOVING, (5800, 2166)), ["did not rest"], ["repeat"]),
        (Calibrated(STEP_CAR, CALIBRATED_NO_BASELINE), ["not known"], ["empty bay first"]),
        (Calibrated(STEP_ECHOES, CALIBRATED_NO_SENSOR), ["does not answer"], ["wires"]),
        (Calibrated(STEP_EMPTY, 7), ["this version does not know: 7"], [""]),
        (echoes((150, 30)), ["answers at 1500 mm, as expected (30 of 30"], [""]),
        (
            echoes((143, 24), (57, 6)),
            ["1430 mm, 70 mm nearer than expected", "fixed answers at 570 mm (6 of 30"],
            ["measure", "seam"],
        ),
        (echoes((90, 30), said=90), ["at 900 mm, as expected"], [""]),
        (
            echoes((150, 15), (300, 11), (0, 4)),
            ["1500 mm", "dead zone (4", "3000 mm, beyond the floor"],
            ["", "clear", "echo's echo"],
        ),
        (
            echoes((57, 8)),
            ["no floor answers within 100 mm of 1500 mm", "570 mm", "22 of 30 pings"],
            ["straight", "seam", "hard"],
        ),
    ],
)
def test_what_a_technician_is_told(
    answer: Calibrated, texts: list[str], remedies: list[str]
) -> None:
    said = advice(answer, 1500)
    assert len(said) == len(texts)
    for (text, remedy), expected, to_do in zip(said, texts, remedies, strict=True):
        assert expected in text
        assert to_do in remedy
        assert bool(to_do) == bool(remedy)


def test_without_a_depth_the_farthest_place_is_the_floor() -> None:
    found = Echoes(echoes((57, 20), (150, 10)).values)
    assert (found.floor, found.fixed, found.beyond) == ((1500, 10), [(570, 20)], [])
    assert Echoes(()).floor is None
    assert Echoes((None, None, echo(57, 0))).floor is None  # nothing that a board would say


def send(to: int, answer: Calibrated, before: Any = None) -> tuple[list[dict[str, Any]], Any]:
    board = device(to)
    outputs = topics.uplink_outputs(board, answer, meta(), before)
    assert outputs.state is not None
    assert states.loads(board.key, states.dumps(outputs.state)) == outputs.state
    return [checked(message) for message in outputs.messages], outputs.state


def test_an_answer_is_an_event_and_the_empty_bay_a_status() -> None:
    before = DeviceState(START_MS - 1, "0.1.0", battery_mv=3600, calibration=1)
    (event, status), state = send(3, EMPTY, before)
    assert (event["event"], event["step"], event["result"]) == ("calibrated", "empty_bay", "done")
    assert (event["measured_nt"], event["against_nt"], event["places"]) == (250, 2166, [])
    assert (status["calibration"], status["battery_mv"], status["errors"]) == ("done", 3600, [])
    assert state.calibration == schema.CALIBRATION_DONE

    (event,), state = send(3, Calibrated(STEP_CAR, CALIBRATED_WEAK, (4200, 6500)), state)
    assert (event["event"], event["result"]) == ("calibration_failed", "weak")
    assert [it.step for it in state.answers] == [STEP_EMPTY, STEP_CAR]
    assert state.calibration == schema.CALIBRATION_DONE

    # Another empty field, and what was known of the car is of the past; a failure changes nothing.
    _, failed = send(3, Calibrated(STEP_EMPTY, CALIBRATED_MOVING, (9000, 2166)), state)
    assert [it.step for it in failed.answers] == [STEP_EMPTY, STEP_CAR]
    _, again = send(3, EMPTY, failed)
    assert [(it.step, it.result) for it in again.answers] == [(STEP_EMPTY, CALIBRATED)]

    _, told = send(3, EMPTY)
    outputs = topics.uplink_outputs(device(3), Status(battery_mv=3500), meta(), told)
    assert isinstance(outputs.state, DeviceState)
    assert outputs.state.answers == told.answers


def test_the_places_of_echoes_are_named() -> None:
    (event,), state = send(1, echoes((180, 20), (57, 6), (0, 2)))
    assert event["level_mm"] == 1800
    assert [(it["what"], it["distance_mm"], it["echoes"]) for it in event["places"]] == [
        ("dead_zone", 0, 2),
        ("fixed", 570, 6),
        ("floor", 1800, 20),
    ]
    assert state.calibration is None


# --- the filter ------------------------------------------------------------------------------


def fill(gateway: NetworkInHand) -> ContainerState:
    state = gateway.memory.states["container/corner"]
    assert isinstance(state, ContainerState)
    return state


def told(gateway: NetworkInHand) -> dict[str, Any]:
    return [it for topic, it in gateway.published if topic.endswith("corner/state")][-1]


@pytest.mark.parametrize("is_tested", [True, False])
def test_an_echo_test_tells_the_filter_what_to_reject_before_the_first_collection(
    tmp_path: Any, is_tested: bool
) -> None:
    gateway = NetworkInHand(tmp_path, CONFIG)
    bin_ = gateway.join(CONTAINER)
    if is_tested:
        gateway.take(bin_.uplink(echoes((150, 22), (57, 8))))
        gateway.restart()
    distances = [1500, 1492, 1485, 570, 571, 1480, 570, 1470]
    said = []
    for number, mm in enumerate(distances):
        gateway.take(bin_.uplink(BinReport(number, mm, 4)))
        gateway.pass_ms(3_600_000, 600_000)
        said.append((told(gateway)["quality"], told(gateway)["reason"]))
    false = fill(gateway).echo
    assert false is not None
    assert [it.distance_mm for it in false.false_distances][:1] == [pytest.approx(570, abs=2)]
    expected = (1, "false_echo") if is_tested else (2, "sudden_rise")
    assert [said[3], said[4]] == [expected, expected]
    assert told(gateway)["fill_pct"] < 10


def test_a_test_counts_once_and_a_new_one_again(tmp_path: Any) -> None:
    gateway = NetworkInHand(tmp_path, CONFIG)
    bin_ = gateway.join(CONTAINER)
    gateway.take(bin_.uplink(echoes((150, 22), (57, 8))))
    weights = []
    for number in range(4):
        gateway.pass_ms(3_600_000, 600_000)
        gateway.take(bin_.uplink(BinReport(number, 1500 - number, 4)))
        echo_state = fill(gateway).echo
        assert echo_state is not None
        weights.append([it.weight for it in echo_state.false_distances])
    assert weights == [[], [2.0], [2.0], [2.0]]
    gateway.take(bin_.uplink(echoes((150, 22), (57, 4), (130, 4))))
    gateway.take(bin_.uplink(BinReport(4, 1490, 4)))
    echo_state = fill(gateway).echo
    assert echo_state is not None
    # Beyond four fifths of the depth nothing is taken for false.
    assert [it.distance_mm for it in echo_state.false_distances] == [570.0]
    assert echo_state.false_distances[0].weight > 3


def test_a_test_at_another_container_tells_nothing_of_this_one(tmp_path: Any) -> None:
    gateway = NetworkInHand(tmp_path, CONFIG)
    bin_ = gateway.join(CONTAINER)
    gateway.take(bin_.uplink(echoes((150, 22), (57, 8))))
    health = gateway.server.activity(CONTAINER[0]).health
    assert health is not None
    (answer,) = health.answers
    assert (answer.asset or "").startswith("container/")
    gateway.memory.states["device/" + CONTAINER[0].hex()] = replace(
        health, answers=(replace(answer, asset="container/elsewhere"),)
    )
    for number in range(2):
        gateway.pass_ms(3_600_000, 600_000)
        gateway.take(bin_.uplink(BinReport(number, 1500 - number, 4)))
    echo_state = fill(gateway).echo
    assert echo_state is not None
    assert echo_state.false_distances == ()


# --- the command -----------------------------------------------------------------------------


class Commands:
    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.handlers: dict[str, Any] = {}
        DeviceCommands(network).register(self)  # type: ignore[arg-type]

    def register(self, name: str, handler: Any, *, changes: bool = False) -> None:
        self.handlers[name] = handler

    async def __call__(self, command: str, **members: Any) -> dict[str, Any]:
        answer = self.handlers["device." + command](members)
        return json.loads(json.dumps(answer if isinstance(answer, dict) else await answer))


BIN = "70b3d57ed0000001"
OF_BAY = "00000000000000f1"


@pytest.fixture
async def ask(tmp_path: Any) -> Commands:
    asked = Commands(MemoryNetwork(tmp_path))
    await asked("add", device={"dev_eui": BIN, "app_key": "0" * 31 + "1", "asset": "container/a"})
    return asked


@pytest.mark.parametrize(
    ("dev_eui", "members", "step", "payload"),
    [
        (OF_BAY, {}, "empty_bay", "8100"),
        (OF_BAY, {"car": True}, "car", "8101"),
        (BIN, {}, "echoes", "8102"),
        (BIN, {"distance_cm": 90}, "echoes", "8202185a"),
    ],
)
async def test_a_step_is_queued_and_does_not_wait_for_long(
    ask: Commands, dev_eui: str, members: dict[str, Any], step: str, payload: str
) -> None:
    answer = await ask("calibrate", dev_eui=dev_eui, **members)
    expires_s = 7200 if step == "echoes" else 900
    assert (answer["step"], answer["expires_s"]) == (step, expires_s)
    ((eui, f_port, data, confirmed, _, expires_ms),) = ask.network.queued
    assert (eui.hex(), f_port, data.hex(), confirmed) == (dev_eui, 17, payload, False)
    assert expires_ms == ask.network.now_utc_ms + 1000 * expires_s


async def test_what_cannot_be_calibrated_is_refused_with_the_reason(ask: Commands) -> None:
    for members, why in (
        ({"dev_eui": BIN, "car": True}, "no car stands on a container"),
        ({"dev_eui": OF_BAY, "distance_cm": 100}, "a bay has no distance"),
        ({"dev_eui": BIN, "distance_cm": 0}, "1 to 1000 cm"),
        ({"dev_eui": BIN, "distance_cm": "far"}, "whole number"),
        ({"dev_eui": BIN, "expires_s": 0}, "expires_s"),
        ({"dev_eui": "70b3d57ed00000ff"}, "no device"),
    ):
        with pytest.raises(CommandRefused, match=why):
            await ask("calibrate", **members)
    await ask("import", devices=[{"dev_eui": BIN, "asset": None}])
    with pytest.raises(CommandRefused, match="stoep device place"):
        await ask("calibrate", dev_eui=BIN)
    await ask("disable", dev_eui=BIN)
    with pytest.raises(CommandRefused, match="disabled"):
        await ask("calibrate", dev_eui=BIN)
    assert ask.network.queued == []


async def test_what_came_of_it_is_shown(ask: Commands) -> None:
    state = DeviceState(
        1, calibration=2, answers=(Answer(1_700_000_000_000, STEP_EMPTY, 0, (250, 2166)),)
    )
    ask.network.activities[bytes.fromhex(OF_BAY)] = Activity(health=state)
    shown = (await ask("show", dev_eui=OF_BAY))["device"]["calibration"]
    assert shown["state"] == "done"
    (answer,) = shown["answers"]
    assert (answer["utc"], answer["step"]) == ("2023-11-14T22:13:20.000Z", "empty_bay")
    assert answer["found"][0]["text"].startswith("the field of the empty bay is known")
    ask.network.activities[bytes.fromhex(OF_BAY)] = Activity(
        health=replace(state, calibration=None)
    )
    shown = (await ask("show", dev_eui=OF_BAY))["device"]["calibration"]
    assert shown["state"] is None


async def test_a_bay_answers_over_the_air(tmp_path: Any) -> None:
    gateway = NetworkInHand(tmp_path, CONFIG)
    bay = gateway.join(BAY)
    asked = Commands(gateway.server)  # type: ignore[arg-type]
    gateway.on_submit = gateway.commit
    await asked("calibrate", dev_eui=BAY[0].hex())
    gateway.take(bay.uplink(Status(calibration=schema.CALIBRATION_RUNNING)))
    gateway.take(bay.uplink(EMPTY))
    shown = (await asked("show", dev_eui=BAY[0].hex()))["device"]["calibration"]
    assert (shown["state"], shown["answers"][0]["result"]) == ("done", "done")
    gateway.restart()
    answers = gateway.server.activity(BAY[0]).health
    assert answers is not None
    assert calibration.echoes_of(answers.answers, None) is None
    assert encode(EMPTY)[0] == schema.F_PORT_CALIBRATED
