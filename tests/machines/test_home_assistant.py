"""Discovery messages against Home Assistant's documented rules, and itself where it can be had."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
from stoep_gateway import config
from stoep_gateway.assets import registry as registries
from stoep_gateway.publish import home_assistant

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "tests/vectors/home_assistant_device_discovery.json").read_text())
ORACLE = ROOT / "tests/oracles/home_assistant_oracle.py"
EXAMPLE = Path(config.__file__).with_name("example.toml")


@pytest.fixture(scope="module")
def registry():
    return registries.build(config.load(EXAMPLE))


def unknown(device):
    return None


def announced(registry, interval_s=unknown):
    return {
        home_assistant.topic("homeassistant", identifier): json.loads(
            home_assistant.message(registry, thing, interval_s)
        )
        for identifier, thing in home_assistant.things(registry).items()
    }


def test_every_thing_is_announced_once(registry):
    assert sorted(announced(registry)) == [
        f"homeassistant/device/stoep-example-{thing}/config"
        for thing in (
            "bay-high-street-1",
            "container-market-organic-1",
            "container-market-paper-1",
            "device-70b3d57ed0000001",
            "device-70b3d57ed0000002",
            "device-70b3d57ed0000003",
            "gateway-kerb-1",
        )
    ]


def test_messages_follow_the_documented_rules(registry):
    validator = jsonschema.Draft202012Validator(
        SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    found = announced(registry)
    for message in found.values():
        validator.validate(message)
    ids = [it["unique_id"] for message in found.values() for it in message["components"].values()]
    names = [
        it["default_entity_id"]
        for message in found.values()
        for it in message["components"].values()
    ]
    assert len(set(ids)) == len(ids)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda it: it.pop("origin"),
        lambda it: it["device"].pop("identifiers"),
        lambda it: it["components"]["fill"].pop("unique_id"),
        lambda it: it["components"]["fill"].update(platform="sensr"),
        lambda it: it["components"]["fill"].update(object_id="fill"),
        lambda it: it["components"]["emptied"].update(state_class="measurement"),
        lambda it: it["components"]["temperature"].update(unit_of_measurement="°"),
        lambda it: it["availability"][0].update(topic="stoep/v1/+/availability"),
    ],
)
def test_the_stored_schema_refuses_mistakes(registry, wrong):
    message = announced(registry)[
        "homeassistant/device/stoep-example-container-market-paper-1/config"
    ]
    wrong(message)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(message, SCHEMA)


def test_a_fill_level_is_a_percentage_without_a_class(registry):
    message = announced(registry)[
        "homeassistant/device/stoep-example-container-market-organic-1/config"
    ]
    fill = message["components"]["fill"]
    assert (fill["unit_of_measurement"], fill["state_class"]) == ("%", "measurement")
    assert "device_class" not in fill
    assert message["state_topic"] == "stoep/v1/example/container/market-organic-1/state"
    assert message["device"] == {
        "identifiers": ["stoep/example/container/market-organic-1"],
        "manufacturer": "Stoep",
        "name": "Market, organic 1",
        "model": "skip, organic",
        "via_device": "stoep/example/device/70b3d57ed0000001",
    }


def test_what_a_board_tells_is_available_with_gateway_and_board(registry):
    found = announced(registry)
    of_gateway = "stoep/v1/example/availability"
    of_board = "stoep/v1/example/device/70b3d57ed0000003/availability"
    for thing in ("bay-high-street-1", "device-70b3d57ed0000003"):
        message = found[f"homeassistant/device/stoep-example-{thing}/config"]
        assert message["availability_mode"] == "all"
        assert [it["topic"] for it in message["availability"]] == [of_gateway, of_board]
    connectivity = message["components"]["connectivity"]
    assert connectivity["state_topic"] == of_board
    assert [it["topic"] for it in connectivity["availability"]] == [of_gateway]
    kerb = found["homeassistant/device/stoep-example-gateway-kerb-1/config"]
    assert [it["topic"] for it in kerb["availability"]] == [of_gateway]


@pytest.mark.parametrize(
    ("interval_s", "after_s"), [(None, 259200), (900, 259200), (172800, 518400)]
)
def test_what_is_not_heard_of_expires(registry, interval_s, after_s):
    found = announced(registry, lambda device: interval_s)
    bay = found["homeassistant/device/stoep-example-bay-high-street-1/config"]["components"]
    assert {it["expire_after"] for it in bay.values()} == {after_s}
    board = found["homeassistant/device/stoep-example-device-70b3d57ed0000003/config"]["components"]
    assert "expire_after" not in board["connectivity"]  # told by retained words alone
    kerb = found["homeassistant/device/stoep-example-gateway-kerb-1/config"]["components"]
    assert not [it for it in kerb.values() if "expire_after" in it]


def test_an_asset_without_a_board_is_announced(registry):
    (bay,) = [it for it in registry.assets.values() if it.key.startswith("bay/")]
    alone = registries.Registry("example", {}, {bay.key: bay})
    message = json.loads(home_assistant.message(alone, bay, unknown))
    assert "via_device" not in message["device"]
    assert [it["topic"] for it in message["availability"]] == ["stoep/v1/example/availability"]


def test_topics_hold_what_home_assistant_takes_and_stay_apart():
    names = ["stoep/s/bay/a.b", "stoep/s/bay/a-b", "stoep/s/bay/a_b", "stoep/s.1/bay/a-b"]
    topics = [home_assistant.topic("ha/test", name) for name in names]
    assert len(set(topics)) == len(names)
    for topic in topics:
        assert re.fullmatch(r"ha/test/device/[a-zA-Z0-9_-]+/config", topic)


def test_only_our_own_messages_of_this_site_are_known_again(registry):
    (gateway,) = registry.gateways.values()
    message = home_assistant.message(registry, gateway, unknown)
    assert home_assistant.identifier_of(message, "example") == "stoep/example/gateway/kerb-1"
    assert home_assistant.identifier_of(message, "exam") is None
    another = json.loads(message) | {"origin": {"name": "zigbee"}}
    for payload in (
        json.dumps(another).encode(),
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b'{"device": {"identifiers": []}, "origin": {"name": "Stoep"}}',
        b'{"device": {"identifiers": [1]}, "origin": {"name": "Stoep"}}',
        b'{"device": {"identifiers": ["x"]}, "origin": "Stoep"}',
    ):
        assert home_assistant.identifier_of(payload, "example") is None


# Home Assistant itself, of which `make test-system` installs what its schemas need.

STATES = {
    "container/market-organic-1/state": {
        "fill_pct": 81.5,
        "volume_l": 5705,
        "threshold_pct": 80.0,
        "quality": 4,
        "alarms": ["fire", "lid_open"],
        "faults": ["sensor_stuck"],
    },
    "container/market-paper-1/state": {"fill_pct": None, "quality": 3, "reason": "echo_weak"},
    "bay/high-street-1/state": {"state": "occupied", "since_utc": "2026-05-01T08:00:00.000Z"},
    "device/70b3d57ed0000001/status": {"battery_mv": 3612, "errors": ["radio", "clock"]},
    "device/70b3d57ed0000002/status": {"battery_mv": None, "errors": []},
    "device/70b3d57ed0000003/status": {"charge_used_mah": 12},
    "gateway/kerb-1/state": {"online": False},
}
SHOWN = {
    "sensor.stoep_example_container_market_organic_1_fill": "81.5",
    "binary_sensor.stoep_example_container_market_organic_1_due": "ON",
    "binary_sensor.stoep_example_container_market_organic_1_problem": "OFF",
    "sensor.stoep_example_container_market_organic_1_volume": "5705",
    "binary_sensor.stoep_example_container_market_organic_1_fire": "ON",
    "binary_sensor.stoep_example_container_market_organic_1_sensor": "ON",
    "binary_sensor.stoep_example_container_market_paper_1_sensor": "OFF",
    "binary_sensor.stoep_example_container_market_organic_1_lid_open": "ON",
    "binary_sensor.stoep_example_container_market_organic_1_tilted": "OFF",
    "binary_sensor.stoep_example_container_market_paper_1_moved": "OFF",
    "sensor.stoep_example_container_market_paper_1_fill": "None",
    "binary_sensor.stoep_example_container_market_paper_1_due": "None",
    "binary_sensor.stoep_example_container_market_paper_1_problem": "ON",
    "sensor.stoep_example_container_market_paper_1_rssi": "-97.0",
    "binary_sensor.stoep_example_bay_high_street_1_occupancy": "ON",
    "sensor.stoep_example_bay_high_street_1_since": "2026-05-01T08:00:00.000Z",
    "sensor.stoep_example_device_70b3d57ed0000001_battery_voltage": "3612",
    "sensor.stoep_example_device_70b3d57ed0000001_errors": "radio, clock",
    "binary_sensor.stoep_example_device_70b3d57ed0000001_problem": "ON",
    "sensor.stoep_example_device_70b3d57ed0000002_battery_voltage": "None",
    "sensor.stoep_example_device_70b3d57ed0000002_errors": "none",
    "sensor.stoep_example_device_70b3d57ed0000003_charge_used": "12",
    "binary_sensor.stoep_example_gateway_kerb_1_connectivity": "OFF",
}
AVAILABLE = {"stoep/v1/example/availability": {"state": "online"}}


def filled(name):
    """A message of the published schema with everything null that may be, then what is given."""
    kind = {"container": "container", "bay": "bay", "device": "device", "gateway": "gateway"}
    kind = f"{kind[name.split('/')[0]]}_{'status' if name.startswith('device') else 'state'}"
    schema = json.loads((EXAMPLE.parent / f"publish/schemas/{kind}.json").read_text())
    message = dict.fromkeys(schema["required"])
    return message | {"radio": {"rssi_dbm": -97.0, "snr_db": 5.5}, "errors": []} | STATES[name]


def test_home_assistant_takes_the_messages(registry, tmp_path):
    python = ROOT / ".venv/home-assistant/bin/python"
    if not python.exists():
        pytest.skip("no Home Assistant here: make test-system installs it, with Python 3.13")
    states = {f"stoep/v1/example/{name}": filled(name) for name in STATES}
    order = {"discovery": announced(registry), "states": states | AVAILABLE}
    given = subprocess.run(
        [python, ORACLE],
        input=json.dumps(order),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert given.returncode == 0, given.stderr
    answer = json.loads(given.stdout)
    shown = answer["entities"]
    assert {name: shown[name] for name in SHOWN} == SHOWN
    assert {it["topic"]: it["value"] for it in answer["availability"]} == {
        "stoep/v1/example/availability": "online"
    }


def test_home_assistant_refuses_mistakes(registry, tmp_path):
    """The oracle is one: it says what is wrong with a message that is."""
    python = ROOT / ".venv/home-assistant/bin/python"
    if not python.exists():
        pytest.skip("no Home Assistant here: make test-system installs it, with Python 3.13")
    (topic, message), *_ = announced(registry).items()
    key = next(iter(message["components"]))
    del message["components"][key]["unique_id"]
    order = json.dumps({"discovery": {topic: message}, "states": {}})
    given = subprocess.run(
        [python, ORACLE],
        input=order,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert given.returncode == 1
    assert "unique_id" in given.stderr
