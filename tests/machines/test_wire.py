"""Messages as CBOR: the same fields, by the same schemas; what is not ours stays as it is."""

import json
from dataclasses import replace

import cbor2
import pytest
from stoep_gateway.publish import topics
from stoep_gateway.publish.availability import device_availability, gateway_availability
from stoep_gateway.publish.gateways import GatewayStatus, gateway_outputs
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.publish.wire import Wire
from stoep_gateway.store.records import OutboxRow
from stoep_protocol.messages import BayReport, BinReport, Status
from street import START_MS, checked, device, meta, street


def every_kind_of_message() -> list[OutboxMessage]:
    messages = [
        gateway_availability("example", "online", None, START_MS),
        device_availability(device(1), START_MS, None, online=False),
        *topics.join_outputs(device(1), "e", START_MS, 0x26000001),
    ]
    (gateway,) = list(street().gateways.values())[:1]
    messages += gateway_outputs(gateway, "g", START_MS, GatewayStatus(True, START_MS))
    for number, report in (
        (1, BinReport(3, 870, 4, 0, 21, 2, history=((60, 880, 4), (120, None, 0)))),
        (3, BayReport(1, 7, 30, 60)),
        (1, Status(firmware=(1, 2, 3), battery_mv=3600)),
    ):
        messages += topics.uplink_outputs(device(number), report, meta(), None).messages
    return messages


@pytest.mark.parametrize("message", every_kind_of_message(), ids=lambda it: it.kind)
def test_cbor_says_the_same_and_fits_the_same_schema(message: OutboxMessage) -> None:
    sent = Wire("cbor").payload(message.kind, message.payload)
    values = cbor2.loads(sent)
    assert values == json.loads(message.payload)
    assert checked(replace(message, payload=json.dumps(values).encode())) == values
    assert len(sent) < len(message.payload)
    keys = list(values)
    assert keys == sorted(keys, key=lambda key: (len(key), key))  # RFC 8949, 4.2.3
    assert Wire("json").payload(message.kind, message.payload) == message.payload


def test_other_models_and_messages_that_take_one_back_stay_as_they_are() -> None:
    wire = Wire("cbor")
    assert wire.payload("home_assistant", b'{"a":1}') == b'{"a":1}'
    assert wire.payload("container_state", b"") == b""


@pytest.mark.parametrize(("encoding", "utf_8"), [("json", 1), ("cbor", 0)])
def test_properties_tell_the_form_and_only_events_expire(encoding: str, utf_8: int) -> None:
    wire = Wire(encoding, 3600)
    expiry = b"\x02\x00\x00\x0e\x10"  # MQTT 5.0, 3.3.2.3.3
    form = bytes((0x01, utf_8))  # 3.3.2.3.2
    content = b"\x03\x00\x10application/" + encoding.encode()  # 3.3.2.3.9
    for retain in (0, 1):
        packed = wire.properties(OutboxRow(1, "bay_state", "t", b"{}", retain, 0)).pack()
        assert packed[0] == len(packed) - 1
        assert form in packed
        assert content in packed
        assert (expiry in packed) is (not retain)
        assert len(packed) == 1 + len(form + content) + (0 if retain else len(expiry))
    of_others = wire.properties(OutboxRow(1, "home_assistant", "t", b"{}", 1, 0)).pack()
    assert b"application/json" in of_others
