"""Devices of other makes: their octets through a codec and a mapping to what is published."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chirpstack_events
import pytest
from network_in_hand import NetworkInHand
from stoep_gateway import config
from stoep_gateway.assets import device_rows, device_specs
from stoep_gateway.assets.states import BayState
from stoep_gateway.config_makes import MakeConfig
from stoep_gateway.config_service import RetentionConfig
from stoep_gateway.errors import ConfigError
from stoep_gateway.integrations.chirpstack import ChirpStack
from stoep_gateway.integrations.codecs import cli, shipped
from stoep_gateway.integrations.codecs.errors import CodecError
from stoep_gateway.integrations.codecs.makes import Makes, known
from stoep_gateway.keeping.forgetting import as_ours
from stoep_gateway.keeping.retention import StoredUplink, Walk, rules
from stoep_gateway.store.records import Record
from stoep_gateway.store.sql import read_state, write_group
from stoep_protocol.messages import BayReport, BinReport, Message, Status, encode
from stoep_protocol.schema import FREE, OCCUPIED

CODEC_OF_OURS = Path(__file__).parents[2] / "protocol/stoep_protocol/codec.js"
BIN = (bytes.fromhex("24e124000000000a"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
BAY = (bytes.fromhex("24e124000000000b"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3d"))
CONFIG = f"""
site = "street"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[source]]
id = "city-ns"
kind = "chirpstack"
application = "{chirpstack_events.APPLICATION}"
[[device]]
dev_eui = "{BIN[0].hex()}"
app_key = "{BIN[1].hex()}"
asset = "container/corner"
make = "decentlab-mbx"
[[device]]
dev_eui = "{BAY[0].hex()}"
app_key = "{BAY[1].hex()}"
asset = "bay/7"
make = "nwave-nps405"
[[device]]
dev_eui = "{chirpstack_events.DEV_EUI.hex()}"
source = "city-ns"
asset = "container/market"
make = "mine"
[[make]]
id = "mine"
codec = "mine.js"
kind = "bin"
distance_mm = "data.readings.0.level cm"
no_echo = ["none", -1]
battery_mv = "data.battery V"
temperature_c = "data.t °F"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
[[container]]
id = "market"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 2000
[[bay]]
id = "7"
street = "High Street"
lat = -15.8
lon = 35.0
"""
MINE = """
function decodeUplink(input) {
  const [cm, decivolts, f] = input.bytes;
  if (cm === 0xee) while (true);
  return {data: {readings: [{level: cm === 0xff ? 'none' : String(cm)}], battery: decivolts / 10,
    t: f}};
}
"""

# Octets and values of the examples beside each codec in TheThingsNetwork/lorawan-devices (vendor/…
# -codec.yaml); for the LDDS75, whose codec there reads the battery as the distance, those of its
# user manual ("Uplink Payload").
VECTORS = [
    ("milesight-em310-udl", 85, "01755c03824408040001", BinReport(7, 2116), None),
    (
        "milesight-em310-udl",  # an EM400's
        85,
        "01755c0367010104824408050001",
        BinReport(7, 2116, temperature_c=26),
        None,
    ),
    ("milesight-em310-udl", 85, "ff0b01ff0103ff16641234567890abcd", None, None),
    ("dragino-ldds75", 2, "0e1c0b05", BinReport(7, 2821), Status(battery_mv=3612)),
    (
        "dragino-ldds75",
        2,
        "0b450b0500010501",
        BinReport(7, 2821, temperature_c=26),
        Status(battery_mv=2885),
    ),
    (
        "dragino-ldds75",
        2,
        "0b49000001ff3f00",
        BinReport(7, None, temperature_c=-19),
        Status(battery_mv=2889),
    ),
    ("dragino-ldds75", 2, "0e1c0000", BinReport(7, None), Status(battery_mv=3612)),
    ("dragino-ldds75", 2, "0e1c0013", BinReport(7, None), Status(battery_mv=3612)),
    ("dragino-ldds75", 5, "0e1c0b05", None, None),
    ("decentlab-mbx", 1, "02012f000304d200010bb1", BinReport(7, 1234), Status(battery_mv=2993)),
    ("decentlab-mbx", 1, "02012f00020bb1", None, Status(battery_mv=2993)),
    ("bosch-tps110", 1, "01", BayReport(OCCUPIED, 0), None),
    ("bosch-tps110", 2, "01ff", BayReport(OCCUPIED, 0), None),
    ("bosch-tps110", 3, "240300007503000000000000001d020301", BayReport(OCCUPIED, 0), None),
    ("nwave-nps405", 1, "95", BayReport(OCCUPIED, 0, 0, 74 * 60), None),
    ("nwave-nps405", 10, "d1201f345678", BayReport(OCCUPIED, 0, 0, 160 * 60), None),
    ("nwave-nps405", 2, "00d3d800590b", BayReport(FREE, 0), Status(battery_mv=3344)),
    ("nwave-nps405", 3, "0204090200", BayReport(FREE, 0), None),
]


@pytest.fixture(scope="module")
def makes() -> Iterator[Makes]:
    it = Makes(())
    it.start()
    yield it
    it.stop()


@pytest.mark.parametrize(("make", "f_port", "octets", "reading", "health"), VECTORS)
def test_the_makes_that_we_bring_along(
    make: str,
    f_port: int,
    octets: str,
    reading: Message | None,
    health: Status | None,
    makes: Makes,
) -> None:
    result = makes.result(make, f_port, bytes.fromhex(octets), 0, 0)
    assert makes.messages(make, result, 7 + 1024, None) == (reading, health)


def test_each_make_has_its_codec_and_says_whose_it_is() -> None:
    assert shipped.names() == {make for make, *_ in VECTORS}
    for make in known(()).values():
        assert make.codec.is_file()
        assert make.maker
        assert make.source is not None
        assert make.source.startswith("https://github.com/")


def test_a_wrong_codec_of_a_make_is_named(makes: Makes) -> None:
    for octets in ("", "03012f00020bb1"):
        result = makes.result("decentlab-mbx", 1, bytes.fromhex(octets), 0, 0)
        with pytest.raises(CodecError, match="the codec says: protocol version"):
            makes.messages("decentlab-mbx", result, 1, None)
    with pytest.raises(CodecError, match='no make "acme"'):
        makes.result("acme", 1, b"", 0, 0)


def test_our_own_codec_runs_in_the_same_way() -> None:
    mine = MakeConfig.model_construct(
        id="ours", codec=CODEC_OF_OURS, kind="bin", distance_mm="data.distance_mm"
    )
    makes = Makes((mine,))
    try:
        f_port, data = encode(BinReport(5, 1230, 4, 0, 21))
        result = makes.result("ours", f_port, data, 0, 0)
        assert makes.messages("ours", result, 3, None)[0] == BinReport(3, 1230)
    finally:
        makes.stop()


class Street(NetworkInHand):
    """With the makes of its configuration."""

    def restart(self) -> None:
        super().restart()
        self.pipeline.interpreter.makes = self.makes = Makes(
            config.load(self.path / "stoep.toml").makes
        )


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    (tmp_path / "mine.js").write_text(MINE)
    it = Street(tmp_path, CONFIG)
    yield it
    it.makes.stop()


def test_a_container_of_another_make_on_our_own_network(street: Street) -> None:
    device = street.join(BIN)
    for mm in (1200, 1190, 0):
        street.published.clear()
        payload = bytes.fromhex(f"02012f0003{mm:04x}{0 if mm == 0 else 7:04x}0bb1")
        street.take(device.uplink(f_port=1, payload=payload))
        street.clock.pass_ms(3_600_000)
        (state,) = [it for topic, it in street.published if topic.endswith("corner/state")]
        (health,) = [it for topic, it in street.published if topic.endswith("/status")]
        assert health["battery_mv"] == 2993
        assert state["missing_readings"] == 0
        if mm:
            assert (state["distance_mm"], state["quality"]) == (mm, 0)
            assert state["reason"] == "unchecked"
        else:
            assert (state["distance_mm"], state["quality"]) == (None, 1)
            assert state["reason"] == "no_echo"
            assert state["fill_pct"] == pytest.approx(100 * 310 / 1500, abs=1)
    # One that the air lost is missed, but nobody asks a stranger for it.
    device.f_cnt_up += 1
    street.published.clear()
    street.take(device.uplink(f_port=1, payload=bytes.fromhex("02012f000304b000070bb1")))
    (state,) = [it for topic, it in street.published if topic.endswith("corner/state")]
    assert state["missing_readings"] == 1
    assert street.metrics.counts["readings_requests"] == 0
    assert not street.metrics.rejected


def test_a_bay_of_another_make_on_our_own_network(street: Street) -> None:
    device = street.join(BAY)
    street.published.clear()
    said = []
    for f_port, octets in ((3, "0204090200"), (1, "95"), (2, "01d3d8"), (1, "0a"), (2, "00d3d8")):
        street.take(device.uplink(f_port=f_port, payload=bytes.fromhex(octets)))
        said += [it["state"] for topic, it in street.published if topic.endswith("bay/7/state")]
        said += [
            (it["event"], it["previous_duration_s"], it["missed_changes"])
            for topic, it in street.published
            if topic.endswith("bay/7/event")
        ]
        street.published.clear()
        street.clock.pass_ms(60_000)
    assert said == [
        "free",
        "occupied",
        ("occupied", 74 * 60, 0),
        "occupied",
        "free",
        ("freed", 300, 0),
        "free",
    ]
    state = street.memory.states["bay/7"]
    assert isinstance(state, BayState)
    assert state.change_count == 2


def test_a_container_of_another_make_on_chirpstack(street: Street) -> None:
    source = ChirpStack("city-ns", chirpstack_events.APPLICATION, "street")
    f_cnt = 0

    def hear(octets: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        nonlocal f_cnt
        f_cnt += 1
        data = bytes.fromhex(octets)
        event = chirpstack_events.uplink(f_cnt, data, f_port=2)
        heard = source.read(
            chirpstack_events.topic("up"),
            chirpstack_events.message(event),
            street.clock.utc_ms(),
        )
        done: list[int] = []
        street.published.clear()
        street.others.receive(heard, lambda: done.append(1))
        street.commit()
        assert done == [1]
        states = [it for topic, it in street.published if topic.endswith("market/state")]
        return states, [it for topic, it in street.published if topic.endswith("/status")]

    (state,), (health,) = hear("782444")
    assert (state["distance_mm"], state["temperature_c"], state["fill_pct"]) == (1200, 20, 40)
    assert health["battery_mv"] == 3600
    (state,), _ = hear("ff2444")
    assert (state["distance_mm"], state["quality"]) == (None, 1)
    # A codec that loops costs its own uplinks, each of which is kept as it came.
    for reason in ("codec_timeout",) * 3 + ("codec_disabled",):
        assert hear("ee2444") == ([], [])
        assert street.metrics.rejected[reason]
        (row,) = street.records[-1].uplinks
        assert (row.undecodable, row.frm_payload.hex()) == (reason, "ee2444")
    assert hear("782444") == ([], [])
    street.clock.pass_ms(3_600_000)
    (state,), _ = hear("782444")
    assert state["distance_mm"] == 1200


def test_a_make_is_kept_with_a_device_of_the_store(street: Street) -> None:
    (mine,) = (it for it in street.registry.devices.values() if it.make == "mine")
    spec = device_specs.spec_of(mine)
    row = device_rows.seal_row(spec, street.sealer, 1, 2)
    write_group(street.connection, [Record(devices=(row,))], street.sealer)
    (stored,) = read_state(street.connection, street.sealer).devices
    assert stored == row
    assert device_rows.open_row(stored, street.sealer) == spec
    assert device_specs.as_raw(spec, show_keys=False)["make"] == "mine"
    # Another make is one that is there; none is one of ours again.
    raw = {"dev_eui": "24e12400000000ff", "source": "city-ns"}
    faults = list(device_specs.check_all(street.registry, [{**raw, "make": "dragino-lds75"}]))
    assert [getattr(it, "message", it) for it in faults] == [
        'make "dragino-lds75" is not a [[make]] (did you mean "dragino-ldds75"?)'
    ]
    (checked,) = device_specs.check_all(street.registry, [{**raw, "make": None}])
    assert isinstance(checked, device_specs.Checked)
    assert checked.spec.make is None


def test_their_bays_are_forgotten_as_soon_as_ours(street: Street) -> None:
    day_ms = 24 * 3_600_000
    rows = [
        StoredUplink(1, 0, BAY[0], 1, None),
        StoredUplink(2, 0, BIN[0], 11, None),  # an fPort that says nothing of theirs
        StoredUplink(3, 0, bytes(8), 11, None),  # one of ours, meanwhile removed
    ]
    (rule,) = (it for it in rules(RetentionConfig()) if it.name == "bay")
    seen = [as_ours(street.registry, row) for row in rows]
    assert Walk(rule, 0).take(seen, 1000, 3 * day_ms).forgotten == (1, 3)


GOOD = """
site = "street"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[make]]
id = "mine"
codec = "mine.js"
kind = "bin"
distance_mm = "data.level cm"
"""
BAY_OF_MINE = GOOD.replace("bin", "bay").replace("distance_mm", "state").replace(" cm", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("mine.js", "yours.js"), "8: codec cannot be read: No such file"),
        (GOOD.replace("mine.js", "empty.js"), '8: codec has no "decodeUplink"'),
        (GOOD.replace("mine.js", "large.js"), "8: codec is larger than 256 kB"),
        (GOOD.replace("mine.js", "latin.js"), "8: codec is not UTF-8 text"),
        (GOOD.replace('"bin"', '"bim"'), '9: kind must be "bin" or "bay" (did you mean "bin"?)'),
        (GOOD.replace("cm", "feet"), '10: distance_mm: "feet" is none of its units: mm, cm'),
        (GOOD.replace("data.", ""), "10: distance_mm: says where in the codec's result it is"),
        (GOOD.replace("data.", "data.."), "10: distance_mm: says where"),
        (GOOD.replace("distance_mm", "distance_cm"), "10: unknown key"),
        (GOOD.rpartition("distance_mm")[0], '6: [[make]] of kind "bin" needs "distance_mm"'),
        (GOOD + 'state = "data.s"', '6: [[make]] of kind "bin" has no "state"'),
        (GOOD + "quality = 5", "11: quality must be at most 4"),
        (GOOD + "no_echo = 5", "11: no_echo"),
        (GOOD + "no_echo = [[5]]", "11: no_echo"),
        (GOOD + 'battery_mv = "data.battery %"', '11: battery_mv: "%" is none of its units: mV, V'),
        (GOOD + GOOD.partition("[[make]]")[2].join(["[[make]]", ""]), "is already used by"),
        (BAY_OF_MINE, '6: [[make]] of kind "bay" needs "free"'),
        (BAY_OF_MINE + "free = [0]\noccupied = [1, 0]", "6: [[make]] gives 0 to two states"),
        (
            GOOD + '[[device]]\ndev_eui = "70b3d57ed0000001"\nmake = "mime"\n'
            'app_key = "2b7e151628aed2a6abf7158809cf4f3c"',
            '13: make "mime" is not a [[make]] (did you mean "mine"?)',
        ),
    ],
)
def test_a_mistake_in_a_make_is_named_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    for name, data in (
        ("mine.js", MINE.encode()),
        ("empty.js", b"//"),
        ("large.js", b"// decodeUplink" + bytes(300_000)),
        ("latin.js", b"// decodeUplink \xe9"),
    ):
        (tmp_path / name).write_bytes(data)
    file = tmp_path / "stoep.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert config.load(file).makes[0].id == "mine"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        config.load(file)
    assert any(says in str(mistake) for mistake in raised.value.mistakes), raised.value.mistakes


def test_the_command_lists_shows_and_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.js").write_text(MINE)
    file = tmp_path / "stoep.toml"
    file.write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STOEP_CONFIG", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = run("list")  # with the configuration that is found
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        *([name, make.kind] for name, make in known(()).items()),
        ["mine", "bin"],
    ]
    code, out, _ = run("show", "mine")
    again = tomllib.loads(out)["make"][0]
    assert Path(again.pop("codec")).resolve() == (tmp_path / "mine.js").resolve()
    said = tomllib.loads(CONFIG)["make"][0]
    assert again == {key: value for key, value in said.items() if key != "codec"}
    assert again["no_echo"] == ["none", -1]
    code, out, _ = run("try", "mine", "--f-port", "3", "782444", "--depth-mm", "2400")
    assert code == 0
    parts = dict(re.findall(r"(?ms)^(\w+): (.*?)(?=^\w|\Z)", out))
    assert json.loads(parts["decoded"])["data"]["readings"] == [{"level": "120"}]
    assert json.loads(parts["mapped"]) == {
        "BinReport": {"distance_mm": 1200, "temperature_c": 20},
        "Status": {"battery_mv": 3600},
    }
    state, health = json.loads(parts["published"]).values()
    assert (state["fill_pct"], health["battery_mv"]) == (50, 3600)
    code, out, _ = run("try", "nwave-nps405", "--f-port", "1", "95", "--config", str(file))
    assert (code, out.count('"state": "occupied"')) == (0, 1)
    assert run("try", "mine", "--f-port", "3", "ee") == (
        1,
        "",
        "codec_timeout: took more than 50 ms\n",
    )
    code, _, err = run("try", "mime", "--f-port", "3", "ee")
    assert (code, err) == (1, 'there is no make "mime" (did you mean "mine"?)\n')
    (tmp_path / "mine.js").unlink()
    code, _, err = run("list")
    assert code == 2
    assert "codec cannot be read" in err
    with pytest.raises(SystemExit):
        run("try", "mine", "--f-port", "3", "0e1")
