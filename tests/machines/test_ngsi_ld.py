"""Our entities against the published schemas of the Smart Data Models, whatever devices send."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from referencing import Registry as Documents
from referencing.jsonschema import DRAFT202012
from stoep_gateway.assets.registry import Registry
from stoep_gateway.assets.states import BayState
from stoep_gateway.decode import decode
from stoep_gateway.publish import ngsi_ld, topics
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.publish.ngsi_ld import Streets
from stoep_protocol import messages, schema
from stoep_protocol.errors import EncodeError
from stoep_protocol.messages import BayReport, BinReport, Status
from street import HOUR_MS, START_MS, device, meta, street

MODELS = Path(__file__).parents[1] / "vectors" / "smart_data_models"
TYPES = ("WasteContainer", "ParkingSpot", "OnStreetParking", "Device")
# LwM2M's object 3435, and what no model has a name for.
BORROWED = {"averageFillingSpeed", "forecastFullDate"}
BORROWED |= {"measurementQualityIndicator", "measurementQualityReason"}
BORROWED |= {"batteryVoltage", "chargeUsed"}
MASTER = "https://raw.githubusercontent.com/smart-data-models"
GIVEN = {"id", "type", "@context"}


def published(name):
    return json.loads((MODELS / f"{name}.json").read_text())


DOCUMENTS = Documents().with_resources(
    (address, DRAFT202012.create_resource(published(name)))
    for address, name in (
        ("https://smart-data-models.github.io/data-models/common-schema.json", "common-schema"),
        (
            "https://smart-data-models.github.io/dataModel.Device/device-schema.json",
            "device-schema",
        ),
    )
)
DEVICE = published("Device")
# As published it is "oneOf" a URI and an identifier, which every URI is: no URN would ever fit.
DEVICE_ITEMS = DEVICE["allOf"][3]["properties"]["controlledAsset"]["items"]
DEVICE_ITEMS["anyOf"] = DEVICE_ITEMS.pop("oneOf")
CHECKER = jsonschema.Draft202012Validator.FORMAT_CHECKER
VALIDATORS = {
    name: jsonschema.Draft202012Validator(
        DEVICE if name == "Device" else published(name), registry=DOCUMENTS, format_checker=CHECKER
    )
    for name in TYPES
}
NEWEST = published("properties")
DEVICE_TERMS = published("device-schema")["definitions"]


def checked(entity):
    """Return an entity's key-values form, which fits its model, old and new, in both forms."""
    simple = json.loads(json.dumps(ngsi_ld.key_values(entity)))
    VALIDATORS[entity.type].validate(simple)
    newest = NEWEST[entity.type]
    assert set(newest["required"]) <= set(simple)
    for name, value in simple.items():
        if name not in BORROWED | GIVEN:
            jsonschema.validate(value, newest["properties"][name], format_checker=CHECKER)
    if entity.type == "Device":
        jsonschema.validate(simple["category"], DEVICE_TERMS["CategoryType"])
        properties = DEVICE_TERMS["ControlledPropertyType"]
        jsonschema.validate(simple["controlledProperty"], properties)
        jsonschema.validate(simple["supportedProtocol"], properties["SupportedProtocolType"])
    assert None not in simple.values()
    full = ngsi_ld.normalized(entity)
    assert list(full) == list(simple)
    for name in full.keys() - GIVEN:
        member = full[name]
        assert member["type"] in ("Property", "Relationship", "GeoProperty")
        if member["type"] == "Relationship":
            assert member["object"].startswith("urn:ngsi-ld:")
            assert simple[name] in (member["object"], [member["object"]])
        else:
            assert member["value"] == simple[name]
    assert full["@context"][-1].startswith("https://uri.etsi.org/ngsi-ld/")
    return simple


def entities_of(number, message, before=None, states=None, at_ms=START_MS):
    """Return what a board's message tells of, and the state that it leaves behind."""
    board = device(number)
    decoded = decode(*messages.encode(message))
    outputs = topics.uplink_outputs(board, decoded, meta(at_ms), before)
    states = {} if states is None else states
    if outputs.state is not None:
        states[topics.state_key(board, decoded)] = outputs.state
    streets = Streets(street(), states)
    found = [
        entity
        for said in outputs.messages
        if said.kind in ngsi_ld.KINDS
        for entity in ngsi_ld.entities("example", streets, said.kind, said.payload)
    ]
    return found, outputs


def test_a_container():
    _, outputs = entities_of(1, BinReport(0, 900, 4, 0, 21, 2))
    state = outputs.state
    for hour, distance in enumerate((885, 870, 855, 840, 825, 810), 1):
        (entity,), outputs = entities_of(
            1, BinReport(hour, distance, 4, 0, 21, 2), state, at_ms=START_MS + hour * HOUR_MS
        )
        state = outputs.state
    assert checked(entity) == {
        "id": "urn:ngsi-ld:WasteContainer:example:market-organic-1",
        "type": "WasteContainer",
        "name": "Market, organic 1",
        "location": {"type": "Point", "coordinates": [35.084883, -15.8282683]},
        "binId": "market-organic-1",
        "binCapacity": 7000,
        "binFullnessThreshold": 80.0,
        "storedWasteKind": "organic",
        "fillingLevel": 0.66,
        "temperature": 21,
        "status": "ok",
        "binLoggedTime": "2026-10-20T08:00:00.000Z",
        "averageFillingSpeed": 24.0,
        "forecastFullDate": "2026-10-20T22:00:00Z",
        "measurementQualityIndicator": 4,
        "refDevice": ["urn:ngsi-ld:Device:example:70b3d57ed0000001"],
        "@context": [
            f"{MASTER}/dataModel.WasteManagement/master/context.jsonld",
            "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld",
        ],
    }
    full = ngsi_ld.normalized(entity)
    assert full["fillingLevel"] == {
        "type": "Property",
        "value": 0.66,
        "observedAt": "2026-10-20T08:00:00.000Z",
    }
    assert full["refDevice"] == {
        "type": "Relationship",
        "object": "urn:ngsi-ld:Device:example:70b3d57ed0000001",
    }
    assert full["binFullnessThreshold"]["unitCode"] == "P1"


def test_a_heaped_container_is_full_and_one_without_an_echo_is_not_known():
    (entity,), _ = entities_of(2, BinReport(0, 0, 4))
    assert checked(entity)["fillingLevel"] == 1
    (entity,), _ = entities_of(2, BinReport(0, None))
    values = checked(entity)
    assert "fillingLevel" not in values
    assert (values["status"], values["measurementQualityReason"]) == ("unknown", "no_echo")


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (schema.LID_OPEN, "lidOpen"),
        (schema.MOVED | schema.LID_OPEN, "moved"),
        (schema.TILTED | schema.MOVED, "dropped"),
        (schema.FIRE | schema.TILTED, "burning"),
        (schema.PRESSED, "ok"),
        (schema.ECHO_WEAK, "ok"),
    ],
)
def test_an_alarm_is_a_status(flags, status):
    (entity,), _ = entities_of(2, BinReport(0, 900, 4, flags))
    assert checked(entity)["status"] == status


def test_a_bay_and_its_street():
    entities, _ = entities_of(3, BayReport(1, 7, 60, 30))
    spot, site = map(checked, entities)
    assert (spot["status"], spot["category"]) == ("occupied", ["onStreet"])
    assert spot["refParkingSite"] == site["id"]
    assert site["id"].startswith("urn:ngsi-ld:OnStreetParking:example:High-Street-")
    assert (site["name"], site["location"]["type"]) == ("High Street", "Point")
    totals = (site["totalSpotNumber"], site["availableSpotNumber"], site["occupiedSpotNumber"])
    assert totals == (1, 0, 1)


def test_a_street_counts_its_bays():
    bay = street().assets["bay/high-street-1"]

    def another(number):
        fixed = bay.fixed_json.replace("high-street-1", f"b{number}")
        return replace(bay, id=f"b{number}", key=f"bay/b{number}", fixed_json=fixed)

    bays = {bay.key: bay for bay in map(another, range(10))}
    states = {f"bay/b{number}": BayState(number % 3, 0, 0, 0) for number in range(7)}
    registry = Registry("example", {}, bays)
    streets = Streets(registry, states)
    site = checked(streets.entity("example", "High Street", "2026-10-20T02:00:00.000Z"))
    totals = (site["totalSpotNumber"], site["availableSpotNumber"], site["occupiedSpotNumber"])
    assert totals == (10, 3, 2)  # two are uncertain, three were never heard of
    states["bay/b2"] = BayState(0, 0, 0, 0)
    site = checked(streets.entity("example", "High Street", "2026-10-20T02:00:00.000Z"))
    assert site["availableSpotNumber"] == 4
    registry.assets.clear()
    streets.look_again()
    assert streets.entity("example", "High Street", "2026-10-20T02:00:00.000Z") is None


def test_streets_have_names_that_stand_in_a_topic_and_are_never_the_same():
    names = ["High Street", "High-Street", "High/Street", "Straße", "Strasse", "大通り", "#+", "ok"]
    ids = [ngsi_ld._street_id(name) for name in names]
    assert len(set(ids)) == len(names)
    assert ids[-1] == "ok"
    for local_id in ids:
        assert local_id.isascii()
        assert not set("/#+ :") & set(local_id)


def test_a_board():
    (entity,), _ = entities_of(1, Status((1, 2, 3), 4, 12, 3612, errors=(3, 5)))
    values = checked(entity)
    assert values["controlledAsset"] == ["urn:ngsi-ld:WasteContainer:example:market-organic-1"]
    assert (values["firmwareVersion"], values["hardwareVersion"]) == ("1.2.3", "4")
    assert values["deviceState"] == "radio, clock"
    assert ngsi_ld.normalized(entity)["batteryVoltage"] == {
        "type": "Property",
        "value": 3612,
        "observedAt": "2026-10-20T02:00:00.000Z",
        "unitCode": "2Z",
    }


def test_topics_are_retained_and_carry_key_values():
    board = device(3)
    decoded = decode(*messages.encode(BayReport(0, 7, 60, 30)))
    outputs = topics.uplink_outputs(board, decoded, meta(), None)
    streets = Streets(street(), {})
    derived = [it for said in outputs.messages for it in ngsi_ld.derive("example", streets, said)]
    spot, site = derived
    assert spot.topic == "stoep/v1/example/ngsi-ld/ParkingSpot/high-street-1"
    assert site.topic.startswith("stoep/v1/example/ngsi-ld/OnStreetParking/High-Street-")
    assert spot.retain
    assert site.retain
    assert json.loads(spot.payload)["status"] == "free"
    assert spot.event_id != site.event_id
    event = OutboxMessage("stoep/v1/example/bay/b/event", b"{}", False, "bay_changed", "e")
    assert ngsi_ld.derive("example", streets, event) == ()


def test_the_published_schemas_refuse_mistakes():
    (entity,), _ = entities_of(2, BinReport(0, 600, 4))
    for wrong in ({"fillingLevel": 1.1}, {"status": "full"}, {"location": {"type": "Point"}}):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATORS["WasteContainer"].validate(ngsi_ld.key_values(entity) | wrong)


def check_all(number, message):
    try:
        messages.encode(message)
    except EncodeError:
        assume(False)
    for entity in entities_of(number, message)[0]:
        checked(entity)


@given(
    sequence=st.integers(0, 2**20),
    distance=st.none() | st.integers(0, 5000),
    quality=st.integers(0, 4),
    temperature=st.none() | st.integers(-40, 85),
    flaps=st.none() | st.integers(0, 255),
)
def test_any_container_report(sequence, distance, quality, temperature, flaps):
    report = BinReport(
        sequence, distance, quality if distance is not None else 1, 0, temperature, flaps
    )
    check_all(2, report)


@given(
    state=st.integers(0, 2),
    count=st.integers(0, 16383),
    age_s=st.integers(0, 10**6),
    flags=st.integers(0, 31),
)
def test_any_bay_report(state, count, age_s, flags):
    check_all(3, BayReport(state, count, age_s, flags=flags))


@given(
    battery_mv=st.none() | st.integers(0, 65535),
    charge=st.none() | st.integers(0, 65535),
    errors=st.lists(st.integers(1, 63), max_size=8, unique=True),
)
def test_any_status(battery_mv, charge, errors):
    status = Status(battery_mv=battery_mv, charge_used_mah=charge, errors=tuple(errors))
    check_all(1, status)
