"""Each message fits the schema of its kind, whatever the devices send; each field is explained."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.assets import states
from stoep_gateway.assets.registry import Container
from stoep_gateway.assets.states import AssetState, BayState, ContainerState, DeviceState
from stoep_gateway.decode import decode
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.insight.flaps import FlapCount
from stoep_gateway.publish import topics
from stoep_gateway.publish.gateways import (
    GatewayStatus,
    Stranger,
    gateway_outputs,
    stranger_outputs,
)
from stoep_gateway.publish.messages import utc
from stoep_gateway.publish.topics import UplinkMeta
from stoep_protocol import messages, schema
from stoep_protocol.calibration import Calibrated
from stoep_protocol.errors import DecodeError
from stoep_protocol.messages import BayReport, BinReport, ConfigurationAck, Status
from street import HOUR_MS, SCHEMAS, START_MS, checked, device, meta, street

DOCUMENT = Path(__file__).parents[2] / "docs" / "mqtt.md"
CONTAINER = "stoep/v1/example/container/market-organic-1"
BAY = "stoep/v1/example/bay/high-street-1"


def send(
    to: int, message: Any, at_ms: int = START_MS, before: AssetState | None = None
) -> tuple[list[dict[str, Any]], topics.Outputs]:
    """Send a message of a device through the codec; return what is published of it."""
    board = device(to)
    decoded = decode(*messages.encode(message))
    outputs = topics.uplink_outputs(board, decoded, meta(at_ms), before)
    if outputs.state is not None:
        key = topics.state_key(board, decoded)
        assert key is not None
        assert states.loads(key, states.dumps(outputs.state)) == outputs.state
    return [checked(message) for message in outputs.messages], outputs


def test_a_container_from_its_first_reading_to_its_emptying() -> None:
    state: AssetState | None = None
    published: list[tuple[str, dict[str, Any]]] = []
    distances = [900, 885, 870, 855, 840, 825, 810, 1785, 1770]
    for hour, distance in enumerate(distances):
        it = BinReport(hour, distance, 4, 0, 21, 2)
        values, outputs = send(1, it, START_MS + hour * HOUR_MS, state)
        state = outputs.state
        published += zip((message.topic for message in outputs.messages), values, strict=True)
    first, last = published[0][1], published[-1][1]
    assert [topic for topic, _ in published] == [f"{CONTAINER}/state"] * 8 + [
        f"{CONTAINER}/event",
        f"{CONTAINER}/state",
    ]
    assert first == {
        "event_id": "e:state",
        "time_utc": "2026-10-20T02:00:00.000Z",
        "fill_pct": 60.0,
        "fill_utc": "2026-10-20T02:00:00.000Z",
        "measured_utc": "2026-10-20T02:00:00.000Z",
        "distance_mm": 900,
        "quality": 4,
        "reason": None,
        "temperature_c": 21,
        "flaps": 2,
        "rate_pct_per_day": None,
        "threshold_pct": 80.0,
        "hours_to_threshold": None,
        "hours_to_threshold_low": None,
        "hours_to_threshold_high": None,
        "forecast_doubt": None,
        "emptied_utc": None,
        "hours_since_emptied": None,
        "next_collection": None,
        "volume_l": 4200,
        "compaction": 1.0,
        "pressed_utc": None,
        "alarms": [],
        "faults": [],
        "drift_mm_per_month": None,
        "sequence": 0,
        "missing_readings": 0,
        "dev_eui": "70b3d57ed0000001",
        "radio": {"f_cnt_up": 7, "dr": 5, "rssi_dbm": -97.0, "snr_db": 6.5, "gateways": 2},
        "container": "market-organic-1",
        "name": "Market, organic 1",
        "kind": "skip",
        "fraction": "organic",
        "lat": -15.8282683,
        "lon": 35.084883,
        "capacity_l": 7000,
    }
    seventh = published[6][1]
    assert (seventh["fill_pct"], seventh["rate_pct_per_day"], seventh["hours_to_threshold"]) == (
        66.0,
        24.0,
        14.0,
    )
    assert published[-2][1] == {
        "event_id": "e:emptied:8",
        "time_utc": "2026-10-20T09:00:00.000Z",
        "received_utc": "2026-10-20T10:00:00.000Z",
        "event": "emptied",
        "container": "market-organic-1",
        "from_pct": 66.0,
        "to_pct": 1.0,
        "hours_since_emptied": None,
        "dev_eui": "70b3d57ed0000001",
    }
    assert (last["fill_pct"], last["emptied_utc"], last["hours_since_emptied"]) == (
        2.0,
        "2026-10-20T09:00:00.000Z",
        1.0,
    )


def test_a_reading_without_an_echo_keeps_the_level_and_says_so() -> None:
    _, outputs = send(1, BinReport(0, 900, 4))
    (values,), outputs = send(1, BinReport(1, None), START_MS + HOUR_MS, outputs.state)
    assert (values["fill_pct"], values["fill_utc"]) == (60.0, "2026-10-20T02:00:00.000Z")
    assert values["measured_utc"] == "2026-10-20T03:00:00.000Z"
    assert (values["distance_mm"], values["quality"], values["reason"]) == (None, 1, "no_echo")
    (never,), _ = send(2, BinReport(1, None))
    assert (never["fill_pct"], never["fill_utc"]) == (None, None)


def test_a_clock_that_was_set_back_does_not_hold_the_level() -> None:
    _, ahead = send(1, BinReport(1, 900, 4), START_MS + 9000 * HOUR_MS)
    (state,), _ = send(1, BinReport(2, 600, 4), START_MS, ahead.state)
    assert (state["fill_pct"], state["fill_utc"]) == (80.0, "2026-10-20T02:00:00.000Z")


def test_late_readings_are_events_with_their_own_time() -> None:
    _, outputs = send(1, BinReport(0, 900, 4))
    history = ((60, 880, 4), (120, None, 0), (180, 900, 4))
    values, outputs = send(
        1, BinReport(3, 870, 4, history=history), START_MS + 3 * HOUR_MS, outputs.state
    )
    assert [message.kind for message in outputs.messages] == [
        "container_reading",
        "container_reading",
        "container_state",
    ]
    assert [(it["sequence"], it["time_utc"], it.get("fill_pct")) for it in values] == [
        (1, "2026-10-20T03:00:00.000Z", None),
        (2, "2026-10-20T04:00:00.000Z", 61.3),
        (3, "2026-10-20T05:00:00.000Z", 62.0),
    ]
    assert len({message.event_id for message in outputs.messages}) == 3


def test_an_emptying_in_lost_readings_is_found_in_the_history() -> None:
    _, outputs = send(1, BinReport(0, 450, 4))
    history = ((60, 1780, 4), (120, 1790, 4), (180, 400, 4))
    values, outputs = send(
        1, BinReport(4, 1770, 4, history=history), START_MS + 4 * HOUR_MS, outputs.state
    )
    (emptied,) = [it for it in values if it.get("event") == "emptied"]
    assert emptied["time_utc"] == "2026-10-20T04:00:00.000Z"


def test_a_repeated_report_publishes_nothing() -> None:
    _, outputs = send(1, BinReport(5, 900, 4))
    _, again = send(1, BinReport(5, 900, 4), START_MS + 4000, outputs.state)
    assert again == topics.Outputs((), None, "repeated_reading")


def test_readings_that_were_missing_leave_the_state_alone() -> None:
    _, outputs = send(1, BinReport(0, 900, 4))
    _, outputs = send(1, BinReport(3, 870, 4), START_MS + 3 * HOUR_MS, outputs.state)
    before = outputs.state
    assert isinstance(before, ContainerState)
    past = BinReport(2, 880, 4, age_min=90, history=((150, 890, 4),))
    values, outputs = send(1, past, START_MS + 3 * HOUR_MS + HOUR_MS // 2, before)
    assert [it["sequence"] for it in values] == [1, 2]
    assert {message.kind for message in outputs.messages} == {"container_reading"}
    after = outputs.state
    assert isinstance(after, ContainerState)
    assert (before.missing, after.missing) == ((1, 2), ())
    assert (after.sequence, after.track) == (before.sequence, before.track)


def test_a_report_sent_again_with_more_history_tells_only_that() -> None:
    _, outputs = send(1, BinReport(0, 900, 4))
    at_ms = START_MS + 2 * HOUR_MS
    _, outputs = send(1, BinReport(2, 880, 4), at_ms, outputs.state)
    again = BinReport(2, 880, 4, history=((60, 890, 4),))
    (values,), outputs = send(1, again, at_ms + 5000, outputs.state)
    assert (values["event"], values["sequence"]) == ("reading", 1)


def test_an_alarm_begins_once_and_ends_once() -> None:
    state: AssetState | None = None
    told: list[tuple[str, str, bool]] = []
    shown = []
    open_, fire = schema.LID_OPEN, schema.FIRE
    for hour, flags in enumerate((0, open_, open_ | fire, open_ | fire, fire, schema.MOVED, 0)):
        values, outputs = send(1, BinReport(hour, 900, 4, flags), START_MS + hour * HOUR_MS, state)
        state = outputs.state
        told += [(it["time_utc"][11:13], it["alarm"], it["active"]) for it in values[:-1]]
        assert {it.kind for it in outputs.messages[:-1]} <= {"container_alarm"}
        shown.append(values[-1]["alarms"])
    assert told == [
        ("03", "lid_open", True),
        ("04", "fire", True),
        ("06", "lid_open", False),
        ("07", "moved", True),
        ("07", "fire", False),
        ("08", "moved", False),
    ]
    assert shown == [[], ["lid_open"], *[["lid_open", "fire"]] * 2, ["fire"], ["moved"], []]


def test_what_is_measured_past_an_open_lid_is_doubted_and_changes_no_level() -> None:
    _, outputs = send(1, BinReport(0, 900, 4))
    for hour, (flag, reason) in enumerate(
        ((schema.LID_OPEN, "lid_open"), (schema.TILTED, "tilted")), 1
    ):
        report = BinReport(hour, 1800, 4, flag)
        values, outputs = send(1, report, START_MS + hour * HOUR_MS, outputs.state)
        assert (values[-1]["quality"], values[-1]["reason"]) == (2, reason)
        assert (values[-1]["fill_pct"], values[-1]["fill_utc"]) == (
            60.0,
            "2026-10-20T02:00:00.000Z",
        )
    # Nor if those reports are lost, and it is told again among earlier readings: without a flag.
    _, outputs = send(1, BinReport(0, 900, 4))
    past = ((60, 1800, 1), (120, 1800, 1))
    values, _ = send(1, BinReport(3, 890, 4, history=past), START_MS + 3 * HOUR_MS, outputs.state)
    assert [it["quality"] for it in values] == [1, 1, 4]
    assert values[-1]["fill_pct"] == 60.7


def test_an_earlier_reading_ends_no_alarm() -> None:
    _, outputs = send(1, BinReport(0, 900, 4, schema.TILTED))
    past = BinReport(2, 900, 4, age_min=30)
    values, outputs = send(1, past, START_MS + 3 * HOUR_MS, outputs.state)
    assert [it.kind for it in outputs.messages] == ["container_reading", "container_state"]
    assert values[-1]["alarms"] == ["tilted"]


def pressed(*steps: tuple[int, bool], compaction: float = 4.0) -> list[dict[str, Any]]:
    """Return what is published of a container of 7000 l with a press, but no state in between."""
    board = device(1)
    assert isinstance(board.asset, Container)
    board = dataclasses.replace(
        board, asset=dataclasses.replace(board.asset, compaction=compaction)
    )
    state: AssetState | None = None
    told: list[dict[str, Any]] = []
    for hour, (distance, ran) in enumerate(steps):
        report = BinReport(hour, distance, 4, schema.PRESSED if ran else 0)
        outputs = topics.uplink_outputs(board, report, meta(START_MS + hour * HOUR_MS), state)
        state = outputs.state
        said = [checked(message) for message in outputs.messages]
        told += said if hour == len(steps) - 1 else said[:-1]
    return told


def test_a_fall_under_the_press_is_no_emptying() -> None:
    # 80 % pressed to 30 %, then 10 points on top: 7000 l x (0.3 x 4 + 0.1).
    (state,) = pressed((600, False), (1350, True), (1200, False))
    assert (state["fill_pct"], state["quality"], state["emptied_utc"]) == (40.0, 4, None)
    assert (state["volume_l"], state["compaction"]) == (9100, 4.0)
    assert state["pressed_utc"] == "2026-10-20T03:00:00.000Z"


def test_a_fall_deeper_than_the_press_can_is_an_emptying() -> None:
    emptied, state = pressed(
        (720, False), (600, False), (1350, True), (1200, False), (1785, True), (1770, False)
    )
    assert (emptied["event"], emptied["from_pct"], emptied["to_pct"]) == ("emptied", 40.0, 1.0)
    assert state["volume_l"] == 140  # nothing of it is pressed yet


def test_where_the_press_tells_nothing_all_counts_as_pressed() -> None:
    (state,) = pressed((1650, False), compaction=5.0)
    assert (state["fill_pct"], state["volume_l"], state["pressed_utc"]) == (10.0, 3500, None)


def test_a_bay_from_free_to_occupied() -> None:
    (free,), outputs = send(3, BayReport(schema.FREE, 4, 600))
    assert (free["state"], free["since_utc"]) == ("free", "2026-10-20T01:49:52.000Z")
    later = START_MS + HOUR_MS
    (event, state), outputs = send(3, BayReport(schema.OCCUPIED, 5, 8, 4200), later, outputs.state)
    assert [message.topic for message in outputs.messages] == [f"{BAY}/event", f"{BAY}/state"]
    assert (event["event"], event["previous_state"], event["missed_changes"]) == (
        "occupied",
        "free",
        0,
    )
    assert event["time_utc"] == state["since_utc"] == "2026-10-20T02:59:52.000Z"
    (heartbeat,), _ = send(3, BayReport(schema.OCCUPIED, 5, 3600), later + HOUR_MS, outputs.state)
    assert heartbeat["since_utc"] == state["since_utc"]


def test_a_split_status_is_put_together() -> None:
    whole = Status((1, 2, 3), 7, 1234, 3600, schema.RESET_WATCHDOG, (1, 200), -5, 2)
    (said,), _ = send(1, whole)
    parts = messages.split(whole, 11)
    assert len(parts) > 1
    state: AssetState | None = None
    for part in parts:
        (values,), outputs = send(1, part, before=state)
        state = outputs.state
        said["errors"] = values["errors"]
    assert values == said
    assert (values["firmware"], values["reset_reason"], values["calibration"]) == (
        "1.2.3",
        "watchdog",
        "done",
    )


def test_a_status_says_where_its_board_was_placed() -> None:
    status = decode(*messages.encode(Status((1, 2, 3), 7, 1234, 3600)))
    placed = dataclasses.replace(device(1), lat=-15.79, lon=35.02)
    for board, place in ((device(1), (None, None)), (placed, (-15.79, 35.02))):
        (message,) = topics.uplink_outputs(board, status, meta(START_MS), None).messages
        values = checked(message)
        assert (values["lat"], values["lon"]) == place


def test_a_configuration_is_accepted_or_refused() -> None:
    (accepted,), outputs = send(1, ConfigurationAck(0xBEE))
    assert outputs.state is None
    assert (accepted["event"], accepted["config_hash"], accepted["refused"]) == (
        "configuration_accepted",
        "0bee",
        None,
    )
    (refused,), _ = send(1, ConfigurationAck(0xBEE, schema.REFUSED_RANGE))
    assert (refused["event"], refused["refused"]) == ("configuration_refused", "range")


def test_a_device_joins() -> None:
    (message,) = topics.join_outputs(device(1), "j1", START_MS, 0x2600ABCD)
    values = checked(message)
    assert message.topic == "stoep/v1/example/device/70b3d57ed0000001/event"
    assert (values["dev_addr"], values["asset"]) == ("2600abcd", "container/market-organic-1")


@pytest.mark.parametrize(("to", "message"), [(1, BayReport(0, 1)), (3, BinReport(1, 900))])
def test_a_report_of_the_wrong_kind_is_counted(to: int, message: messages.Message) -> None:
    _, outputs = send(to, message)
    assert outputs == topics.Outputs((), None, "wrong_asset")
    assert topics.state_key(device(to), message) is None  # type: ignore[arg-type]


def test_a_configuration_is_no_uplink() -> None:
    f_port, data = messages.encode(messages.Configuration(interval_min=60))
    with pytest.raises(DecodeError) as raised:
        decode(f_port, data)
    assert raised.value.code == "f-port"


@given(
    st.builds(
        GatewayStatus,
        online=st.booleans(),
        last_seen_utc_ms=st.none() | st.integers(0, 4_102_444_800_000),
        rx_received=st.none() | st.integers(0, 2**53),
        rx_ok=st.none() | st.integers(0, 2**53),
        rx_forwarded=st.none() | st.integers(0, 2**53),
        tx_received=st.none() | st.integers(0, 2**53),
        tx_emitted=st.none() | st.integers(0, 2**53),
        protocol=st.sampled_from([None, "gwmp", "basics_station"]),
        address=st.none() | st.just("[2001:db8::1]:40000"),
        connected=st.booleans(),
        round_trip_ms=st.none() | st.floats(0, 10_000),
        round_trip_worst_ms=st.none() | st.floats(0, 10_000),
        clock_offset_ms=st.none() | st.integers(-(2**53), 2**53),
        push_acknowledged_pct=st.none() | st.floats(0, 100),
        uplinks_accepted=st.integers(0, 2**53),
        downlinks=st.dictionaries(st.sampled_from(["sent", "too_late"]), st.integers(0, 2**53)),
        rejected=st.dictionaries(st.sampled_from(["mic", "payload_f-port"]), st.integers(0, 2**53)),
    )
)
def test_any_state_of_a_gateway(status: GatewayStatus) -> None:
    (gateway,) = street().gateways.values()
    (message,) = gateway_outputs(gateway, "g1", START_MS, status)
    assert message.topic == "stoep/v1/example/gateway/kerb-1/state"
    values = checked(message)
    assert values["gateway_eui"] == "0016c001ff10a235"
    assert values["downlinks_sent"] == status.downlinks.get("sent", 0)


def test_gateways_that_are_not_registered() -> None:
    stranger = Stranger(bytes(8), "gwmp", "192.0.2.1:40000", 7, START_MS, START_MS + 5)
    for strangers in ([], [stranger]):
        (message,) = stranger_outputs("example", START_MS, strangers)
        assert message.topic == "stoep/v1/example/gateways/unregistered"
        values = checked(message)
        assert [it["count"] for it in values["gateways"]] == [it.count for it in strangers]
    assert values["gateways"][0]["gateway_eui"] == "0000000000000000"


def distances() -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(0, schema.DISTANCE_MAX_MM)


HISTORY = st.lists(
    st.tuples(
        st.integers(1, 600), distances().map(lambda it: it and it // 10 * 10), st.integers(0, 4)
    ),
    max_size=8,
).map(lambda steps: tuple(_ages(steps)))


def _ages(steps: list[tuple[int, int | None, int]]) -> list[tuple[int, int | None, int]]:
    age, aged = 0, []
    for step, distance, quality in steps:
        age += step
        aged.append((age, distance, quality))
    return aged


UPLINKS = st.one_of(
    st.builds(
        BinReport,
        st.integers(0, 65_535),
        distances(),
        st.integers(0, 4),
        st.integers(0, 255),
        st.none() | st.integers(schema.TEMPERATURE_MIN_C, schema.TEMPERATURE_MAX_C),
        st.none() | st.integers(0, schema.FLAPS_MAX),
        HISTORY,
    ),
    st.builds(
        BinReport,
        st.integers(0, 65_535),
        distances(),
        st.integers(0, 4),
        st.integers(0, 255),
        age_min=st.integers(1, 60_000),
    ),
    st.builds(
        BayReport,
        st.integers(0, 2),
        st.integers(0, schema.CHANGE_COUNT_MODULUS - 1),
        st.integers(0, 2_000_000),
        st.none() | st.integers(0, 2_000_000),
        st.integers(0, 15),
    ),
    st.builds(
        Status,
        st.none() | st.tuples(st.integers(0, 15), st.integers(0, 63), st.integers(0, 63)),
        st.none() | st.integers(0, 255),
        st.none() | st.integers(0, 65_535),
        st.none() | st.integers(0, 65_535),
        st.integers(0, 15),
        st.lists(st.integers(0, 255), max_size=16).map(tuple),
        st.none() | st.integers(-128, 127),
        st.integers(0, 3),
    ),
    st.builds(Status),
    st.builds(
        Calibrated,
        st.integers(0, 2),
        st.integers(0, 7),
        st.lists(st.integers(0, 65_535), max_size=4).map(tuple),
    ),
    st.builds(ConfigurationAck, st.integers(0, 65_535), st.integers(0, 255)),
)
METAS = st.builds(
    UplinkMeta,
    event_id=st.just("e"),
    received_utc_ms=st.integers(0, 4_102_444_800_000),
    f_cnt_up=st.integers(0, 2**32 - 1),
    dr=st.integers(0, 15),
    rssi_dbm=st.floats(-160, 20),
    snr_db=st.floats(-40, 40),
    gateways=st.integers(1, 20),
)


@given(st.lists(st.tuples(UPLINKS, METAS), max_size=8))
def test_any_uplinks(uplinks: list[tuple[messages.Message, UplinkMeta]]) -> None:
    kept: dict[str, AssetState] = {}
    for message, how in uplinks:
        decoded = decode(*messages.encode(message))
        for number in (1, 3):
            board = device(number)
            key = topics.state_key(board, decoded)
            outputs = topics.uplink_outputs(board, decoded, how, kept.get(key or ""))
            for it in outputs.messages:
                values = checked(it)
                if "quality" in values:
                    assert (values["reason"] is None) == (values["quality"] == 4)
            ids = [it.event_id for it in outputs.messages]
            assert len(ids) == len(set(ids))
            assert bool(outputs.messages) is (outputs.problem is None)
            if outputs.state is not None:
                assert key is not None
                assert states.loads(key, states.dumps(outputs.state)) == outputs.state
                kept[key] = outputs.state


@pytest.mark.parametrize(
    ("utc_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (START_MS + 1, "2026-10-20T02:00:00.001Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_rfc_3339(utc_ms: int, text: str) -> None:
    assert utc(utc_ms) == text


def test_a_stored_state_of_another_version() -> None:
    text = '{"sequence":3,"measured_ms":5,"colour":"red","track":{"at_ms":1,"fill_pct":2.0,'
    text += '"since_ms":1,"since_pct":2.0,"shape":"round"}}'
    assert states.loads("container/a", text) == ContainerState(
        3, 5, track=FillTrack(1, 2.0, 1, 2.0)
    )
    assert states.loads("device/x", '{"reported_ms":1}') == DeviceState(1)
    assert states.loads("bay/b", states.dumps(BayState(1, 2, 3, 4))) == BayState(1, 2, 3, 4)
    later = '[3,5,null,[],null,0,null,[1,2.0,1,2.0,null,null,null,0,0.0,0.0,"x"],null,null,0,null,'
    later += 'null,[7.0,0.0,-1,0.0,0.0,0.0,0.0,"x"],"x"]'
    assert states.loads("container/a", later) == ContainerState(
        3, 5, track=FillTrack(1, 2.0, 1, 2.0), flaps=FlapCount(7.0)
    )
    for key, wrong in (
        ("container/a", "{}"),
        ("bay/b", "[]"),
        ("lamp/c", "{}"),
        ("bay/b", "{"),
        ("container/a", '{"sequence":1,"measured_ms":1,"track":{}}'),
    ):
        with pytest.raises(ValueError, match=r".+"):
            states.loads(key, wrong)


KINDS = sorted(path.stem for path in SCHEMAS.glob("*.json"))


def objects(schema_part: Any) -> list[dict[str, Any]]:
    """Return every object schema inside a schema."""
    found = []
    if isinstance(schema_part, dict):
        if "properties" in schema_part:
            found.append(schema_part)
        for inner in schema_part.values():
            found += objects(inner)
    elif isinstance(schema_part, list):
        for inner in schema_part:
            found += objects(inner)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_allows_nothing_beyond_and_explains_all(kind: str) -> None:
    content = json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))
    assert content["$id"] == f"urn:stoep:v1:{kind}"
    for it in objects(content):
        assert it["additionalProperties"] is False
        assert it["required"] == list(it["properties"])
        for name, field in it["properties"].items():
            assert field.get("description") or "const" in field or name == "event", name


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_in_the_document(kind: str) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    section = re.search(rf"^## `{kind}`.*?(?=^## |\Z)", document, re.DOTALL | re.MULTILINE)
    assert section is not None
    content = json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))
    common = document[: document.index("\n## `")]
    for it in objects(content):
        for name in it["properties"]:
            where = common if name in ("event_id", "time_utc", "radio") else section.group()
            if it is not content and "f_cnt_up" in it["properties"]:
                where = common
            assert f"`{name}`" in where, name


def test_kinds_that_are_published_are_those_that_have_a_schema() -> None:
    package = Path(topics.__file__).parents[1]
    folders = ("publish", "planning", "collections")
    sources = [path for folder in folders for path in package.glob(f"{folder}/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r"OutboxMessage\([^)]*\"([a-z_]+)\", event_id\)", text))
    assert used == set(KINDS)
