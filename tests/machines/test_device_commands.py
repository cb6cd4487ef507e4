"""What `stoep device` asks of the gateway: checked whole, durable first, keys on request only."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from device_network import MemoryNetwork
from stoep_gateway.assets import device_rows
from stoep_gateway.control import CommandRefused
from stoep_gateway.device_commands import PAGE, DeviceCommands
from stoep_gateway.device_network import Activity
from stoep_gateway.errors import StoreCorrupt
from stoep_gateway.lns.channel_plan import for_region
from stoep_gateway.lns.mac_state import Target, fresh
from stoep_gateway.store.sealing import Sealer
from stoep_protocol.lorawan.regions import EU868

EUI = "70b3d57ed0000001"
KEY = "2b7e151628aed2a6abf7158809cf4f3c"
OTHER_KEY = "000102030405060708090a0b0c0d0e0f"
OTAA = {"dev_eui": EUI, "app_key": KEY}
ABP = {"dev_eui": EUI, "dev_addr": "260b0001", "nwk_s_key": KEY, "app_s_key": OTHER_KEY}
IN_FILE = "00000000000000f1"


class Commands:
    """The handlers by name, as the control socket calls them."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.handlers: dict[str, Any] = {}
        DeviceCommands(network).register(self)  # type: ignore[arg-type]

    def register(self, name: str, handler: Any, *, changes: bool = False) -> None:
        assert changes == (name not in ("device.list", "device.show"))
        self.handlers[name] = handler

    async def __call__(self, name: str, **members: Any) -> dict[str, Any]:
        request = json.loads(json.dumps({"command": f"device.{name}", **members}))
        answer = self.handlers[f"device.{name}"](request)
        answer = answer if isinstance(answer, dict) else await answer
        assert json.loads(json.dumps(answer)) == answer
        return answer

    async def refused(self, name: str, **members: Any) -> dict[str, Any]:
        before = dict(self.network.rows), dict(self.network.registry.devices)
        with pytest.raises(CommandRefused) as raised:
            await self(name, **members)
        assert (self.network.rows, self.network.registry.devices) == before
        assert KEY not in json.dumps(raised.value.answer)
        return raised.value.answer

    async def mistakes(self, *devices: Any) -> list[Any]:
        return (await self.refused("import", devices=devices))["mistakes"]


@pytest.fixture
def ask(tmp_path) -> Commands:
    return Commands(MemoryNetwork(tmp_path))


async def test_a_device_is_answered_for_once_it_is_durable(ask: Commands) -> None:
    network = ask.network
    network.durable.clear()
    adding = asyncio.create_task(ask("add", device={**OTAA, "asset": "container/a", "name": "x"}))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not adding.done()
    assert [row.dev_eui.hex() for row in network.recorded[0].rows] == [EUI]
    network.durable.set()
    assert await adding == {"dev_eui": EUI}
    device = network.registry.devices[bytes.fromhex(EUI)]
    assert device.app_key == bytes.fromhex(KEY)
    assert device.asset is network.registry.assets["container/a"]
    assert device.managed == "store"
    assert json.loads("{" + device.fixed_json + "}") == {
        "dev_eui": EUI,
        "name": "x",
        "asset": "container/a",
    }
    assert network.restarted().registry.devices == network.registry.devices


async def test_keys_are_sealed_for_their_device_and_column(ask: Commands) -> None:
    await ask("add", device=ABP)
    (row,) = ask.network.rows.values()
    assert row.app_key is None
    for sealed in (row.nwk_s_key, row.app_s_key):
        assert bytes.fromhex(KEY) not in sealed
        assert bytes.fromhex(OTHER_KEY) not in sealed
    spec = device_rows.open_row(row, ask.network.sealer)
    assert (spec.nwk_s_key.hex(), spec.app_s_key.hex()) == (KEY, OTHER_KEY)
    for moved in (
        row._replace(nwk_s_key=row.app_s_key),
        row._replace(dev_eui=bytes(8)),
    ):
        with pytest.raises(StoreCorrupt, match="does not open"):
            device_rows.open_row(moved, ask.network.sealer)
    with pytest.raises(StoreCorrupt):
        device_rows.open_row(row, Sealer(bytes(32)))


async def test_keys_are_shown_only_when_asked_for(ask: Commands) -> None:
    await ask("add", device=ABP)
    for name in ("show", "list"):
        hidden = json.dumps(await ask(name, dev_eui=EUI))
        assert KEY not in hidden
        assert OTHER_KEY not in hidden
        assert KEY not in json.dumps(await ask(name, dev_eui=EUI, show_keys="yes"))
        shown = json.dumps(await ask(name, dev_eui=EUI, show_keys=True))
        assert KEY in shown
        assert OTHER_KEY in shown
    assert KEY not in repr(ask.network.registry.devices)


async def test_what_is_shown(ask: Commands) -> None:
    await ask("add", device={**OTAA, "lorawan": "1.0.4"})
    ask.network.activities[bytes.fromhex(EUI)] = Activity(
        dev_addr=0x260B0001,
        joined_utc_ms=1_700_000_000_000,
        f_cnt_up=7,
        f_cnt_down=3,
        last_heard_utc_ms=1_700_000_060_000,
        dev_nonces=2,
        queued=1,
    )
    assert (await ask("show", dev_eui="70-B3-D5-7E-D0-00-00-01"))["device"] == {
        "dev_eui": EUI,
        "join_eui": "0" * 16,
        "lorawan": "1.0.4",
        "device_class": "A",
        "adr": True,
        "enabled": True,
        "activation": "OTAA",
        "managed": "store",
        "created_utc": "2023-11-14T22:13:20.000Z",
        "changed_utc": "2023-11-14T22:13:20.000Z",
        "session": {
            "dev_addr": "260b0001",
            "joined_utc": "2023-11-14T22:13:20.000Z",
            "f_cnt_up": 7,
            "f_cnt_down": 3,
        },
        "last_heard_utc": "2023-11-14T22:14:20.000Z",
        "dev_nonces": 2,
        "queued": 1,
        "configuration": None,
        "calibration": None,
    }


async def test_what_it_has_accepted_is_shown(ask: Commands) -> None:
    await ask("add", device=ABP)
    mac = fresh(Target(for_region(EU868), 1, 0, EU868.rx2_dr, EU868.rx2_hz), abp=True)
    eui = bytes.fromhex(EUI)
    ask.network.activities[eui] = Activity(1, None, -1, 0, mac=replace(mac, dr=5, tx_power=2))
    session = (await ask("show", dev_eui=EUI))["device"]["session"]
    assert session == {
        "dev_addr": "00000001",
        "joined_utc": None,
        "f_cnt_up": None,
        "f_cnt_down": 0,
        "data_rate": 5,
        "tx_power": 2,
        "repetitions": 1,
    }
    mac = replace(mac, battery=127, margin_db=-3, status_ms=1_700_000_000_000)
    ask.network.activities[eui] = Activity(1, None, 0, 0, mac=mac)
    session = (await ask("show", dev_eui=EUI))["device"]["session"]
    assert session["f_cnt_up"] == 0
    assert session["battery"] == 127
    assert session["margin_db"] == -3
    assert session["status_utc"] == "2023-11-14T22:13:20.000Z"
    of_file = (await ask("show", dev_eui=IN_FILE))["device"]
    assert (of_file["managed"], of_file["session"], of_file["created_utc"]) == ("file", None, None)


async def test_a_list_comes_in_pages(ask: Commands) -> None:
    devices = [{"dev_eui": f"{number:016x}", "app_key": KEY} for number in range(PAGE + 10)]
    devices = [it for it in devices if it["dev_eui"] != IN_FILE]
    await ask("import", devices=devices)
    seen, after, more = [], "", True
    while more:
        page = await ask("list", after=after)
        assert len(page["devices"]) <= PAGE
        seen += [device["dev_eui"] for device in page["devices"]]
        after, more = seen[-1], page["more"]
    assert seen == [f"{number:016x}" for number in range(PAGE + 10)]


async def test_a_file_is_imported_whole_and_again(ask: Commands) -> None:
    devices = [
        {**OTAA, "asset": "container/a"},
        {**ABP, "dev_eui": "70b3d57ed0000002", "asset": "container/b", "enabled": False},
        {"dev_eui": "70b3d57ed0000003", "source": "other", "device_class": "C"},
    ]
    dry = await ask("import", devices=devices, dry_run=True)
    assert (ask.network.rows, dry) == ({}, {"added": 3, "changed": 0, "unchanged": 0})
    assert await ask("import", devices=devices) == dry
    assert len(ask.network.recorded) == 1
    assert [spec.dev_eui.hex() for spec in ask.network.recorded[0].personalised] == [
        "70b3d57ed0000002"
    ]
    again = {"added": 0, "changed": 0, "unchanged": 3}
    assert await ask("import", devices=devices) == again
    exported = (await ask("list", show_keys=True))["devices"]
    keys = set(OTAA) | set(ABP) | {"source", "asset", "enabled", "lorawan", "device_class", "adr"}
    mine = [
        {key: it[key] for key in keys & it.keys()} for it in exported if it["dev_eui"] != IN_FILE
    ]
    assert await ask("import", devices=mine) == again
    assert await ask("import", devices=[{"dev_eui": IN_FILE}]) == {**again, "unchanged": 1}
    assert len(ask.network.recorded) == 1
    assert ask.network.restarted().registry.devices == ask.network.registry.devices


async def test_what_is_not_said_stays(ask: Commands) -> None:
    await ask("add", device={**ABP, "name": "x", "asset": "container/a", "adr": False})
    ask.network.now_utc_ms += 1000
    answer = await ask("import", devices=[{"dev_eui": EUI, "name": None, "lorawan": None}])
    assert answer == {"added": 0, "changed": 1, "unchanged": 0}
    device = (await ask("show", dev_eui=EUI, show_keys=True))["device"]
    assert "name" not in device
    assert (device["nwk_s_key"], device["asset"], device["adr"]) == (KEY, "container/a", False)
    assert device["created_utc"] < device["changed_utc"]
    assert ask.network.recorded[-1].ended == ()
    assert ask.network.recorded[-1].personalised == ()


async def test_another_way_in_ends_the_sessions(ask: Commands) -> None:
    await ask("add", device=ABP)
    await ask("import", devices=[{**ABP, "dev_addr": "260b0002"}])
    eui = bytes.fromhex(EUI)
    assert ask.network.recorded[-1].ended == (eui,)
    assert ask.network.activity(eui).dev_addr == 0x260B0002
    await ask("import", devices=[OTAA])
    assert ask.network.recorded[-1].ended == (eui,)
    assert ask.network.recorded[-1].personalised == ()
    assert ask.network.activity(eui).dev_addr is None
    device = ask.network.registry.devices[eui]
    assert (device.dev_addr, device.nwk_s_key, device.app_key.hex()) == (None, None, KEY)


async def test_every_mistake_of_an_import(ask: Commands) -> None:
    await ask("add", device={**OTAA, "asset": "container/a"})
    two = {"dev_eui": "70b3d57ed0000002", "app_key": KEY}
    assert await ask.mistakes(
        two,
        {**two, "dev_eui": "70B3D57ED0000002"},
        {"dev_eui": "xyz", "app_key": KEY[:-1], "adr": "yes", "apkey": KEY},
        {"dev_eui": "70b3d57ed0000003", "asset": "container/aa"},
        {**two, "dev_eui": "70b3d57ed0000004", "asset": "container/aa"},
        {**two, "dev_eui": "70b3d57ed0000005", "asset": "container/a"},
        {**two, "dev_eui": "70b3d57ed0000006", "asset": "container/b"},
        {**two, "dev_eui": "70b3d57ed0000007", "asset": "container/b"},
        {"dev_eui": "70b3d57ed0000008", "source": "othr"},
        {"dev_eui": IN_FILE, "name": "x"},
        {},
    ) == [
        [1, "dev_eui", 'dev_eui "70b3d57ed0000002" was given before'],
        [2, "dev_eui", "dev_eui: an EUI is a string of 16 hexadecimal digits"],
        [2, "app_key", "app_key: a key is a string of 32 hexadecimal digits"],
        [2, "adr", "adr must be true or false"],
        [2, "apkey", 'unknown key "apkey" in the device (did you mean "app_key"?)'],
        [
            3,
            "",
            (
                'the device needs one of: "app_key" (it joins); "dev_addr", "nwk_s_key" and'
                ' "app_s_key" (ABP); "source" (another network server\'s)'
            ),
        ],
        [3, "asset", 'asset "container/aa" is not an asset (did you mean "container/a"?)'],
        [4, "asset", 'asset "container/aa" is not an asset (did you mean "container/a"?)'],
        [5, "asset", f'asset "container/a" is already that of device {EUI}'],
        [7, "asset", 'asset "container/b" is already that of device 70b3d57ed0000006'],
        [8, "source", 'source "othr" is not a [[source]] (did you mean "other"?)'],
        [
            9,
            "dev_eui",
            f"device {IN_FILE} is in the gateway's configuration: change it there",
        ],
        [10, "dev_eui", 'the device needs "dev_eui"'],
    ]


async def test_assets_change_hands_in_one_import(ask: Commands) -> None:
    two = "70b3d57ed0000002"
    await ask("add", device={**OTAA, "asset": "container/a"})
    await ask("add", device={**OTAA, "dev_eui": two, "asset": "container/b"})
    swapped = [{"dev_eui": EUI, "asset": "container/b"}, {"dev_eui": two, "asset": "container/a"}]
    assert (await ask("import", devices=swapped))["changed"] == 2
    for registry in (ask.network.registry, ask.network.restarted().registry):
        assert registry.device_of("container/a").dev_eui_hex == two
        assert registry.device_of("container/b").dev_eui_hex == EUI
    assert await ask.mistakes({"dev_eui": EUI, "asset": "container/a"}) == [
        [0, "asset", f'asset "container/a" is already that of device {two}']
    ]


async def test_what_cannot_be_added(ask: Commands) -> None:
    await ask("add", device=OTAA)
    assert await ask.refused("add", device=OTAA) == {
        "error": f"device {EUI} is registered already; stoep device import changes it"
    }
    assert await ask.refused("add", device={"dev_eui": IN_FILE}) == {
        "error": f"device {IN_FILE} is registered already in the gateway's configuration"
    }
    assert "hexadecimal" in (await ask.refused("add", device={"dev_eui": "1"}))["error"]
    for device in (None, [], 1):
        assert await ask.refused("add", device=device) == {"error": 'a request needs "device"'}
    for devices in (None, {}, [1]):
        await ask.refused("import", devices=devices)


async def test_one_change_follows_the_other(ask: Commands) -> None:
    devices = [{"dev_eui": f"70b3d57ed1{number:06x}", "app_key": KEY} for number in range(500)]
    last = devices[-1]
    answers = await asyncio.gather(
        ask("import", devices=devices),
        ask("add", device=last),
        ask("import", devices=devices),
        return_exceptions=True,
    )
    assert answers[0] == {"added": 500, "changed": 0, "unchanged": 0}
    assert isinstance(answers[1], CommandRefused)
    assert answers[2] == {"added": 0, "changed": 0, "unchanged": 500}


async def test_a_device_is_disabled_and_enabled(ask: Commands) -> None:
    await ask("add", device=OTAA)
    eui = bytes.fromhex(EUI)
    for name, enabled in (("disable", False), ("enable", True)):
        assert await ask(name, dev_eui=EUI) == {"changed": True}
        assert await ask(name, dev_eui=EUI) == {"changed": False}
        assert ask.network.registry.devices[eui].enabled is enabled
        assert ask.network.restarted().registry.devices[eui].enabled is enabled
        assert ask.network.recorded[-1].ended == ()


async def test_a_device_is_removed(ask: Commands) -> None:
    await ask("add", device={**OTAA, "asset": "container/a"})
    await ask("remove", dev_eui=EUI)
    assert ask.network.recorded[-1].ended == (bytes.fromhex(EUI),)
    assert ask.network.rows == {}
    assert ask.network.registry.device_of("container/a") is None
    answer = await ask.refused("remove", dev_eui=EUI)
    assert answer["error"] == f"no device {EUI} is registered"


async def test_a_new_key(ask: Commands) -> None:
    await ask("add", device=OTAA)
    eui = bytes.fromhex(EUI)
    ask.network.activities[eui] = Activity(dev_addr=1, f_cnt_up=3, f_cnt_down=4, dev_nonces=5)
    assert await ask("rotate-key", dev_eui=EUI) == {}
    key = ask.network.registry.devices[eui].app_key
    assert key.hex() != KEY
    assert ask.network.activity(eui) == Activity(dev_nonces=0)
    answer = await ask("rotate-key", dev_eui=EUI, show_keys=True)
    assert ask.network.registry.devices[eui].app_key == bytes.fromhex(answer["app_key"]) != key
    assert await ask("rotate-key", dev_eui=EUI, app_key=OTHER_KEY) == {}
    assert ask.network.restarted().registry.devices[eui].app_key == bytes.fromhex(OTHER_KEY)
    await ask.refused("rotate-key", dev_eui=EUI, app_key=OTHER_KEY)
    await ask.refused("rotate-key", dev_eui=EUI, app_key=KEY[1:])
    await ask("import", devices=[ABP])
    assert "has no AppKey" in (await ask.refused("rotate-key", dev_eui=EUI))["error"]


async def test_nonces_are_forgiven_also_to_a_device_of_the_file(ask: Commands) -> None:
    eui = bytes.fromhex(IN_FILE)
    ask.network.activities[eui] = Activity(dev_nonces=5, dev_addr=1)
    assert await ask("forgive-nonce", dev_eui=IN_FILE) == {"forgiven": 5}
    assert ask.network.activity(eui) == Activity(dev_addr=1)
    assert await ask("forgive-nonce", dev_eui=IN_FILE) == {"forgiven": 0}
    assert len(ask.network.recorded) == 1


async def test_a_device_of_abp_that_lost_its_counters_begins_again(ask: Commands) -> None:
    await ask("add", device=ABP)
    eui = bytes.fromhex(EUI)
    ask.network.activities[eui] = Activity(dev_addr=0x260B0001, f_cnt_up=30, f_cnt_down=4)
    assert await ask("forgive-nonce", dev_eui=EUI) == {"forgiven": 0, "restarted": True}
    assert ask.network.activity(eui) == Activity(dev_addr=0x260B0001, f_cnt_up=-1, f_cnt_down=0)


@pytest.mark.parametrize("name", ["disable", "enable", "remove", "rotate-key"])
async def test_the_file_is_changed_by_its_editor(ask: Commands, name: str) -> None:
    answer = await ask.refused(name, dev_eui=IN_FILE)
    assert answer["error"] == f"device {IN_FILE} is in the gateway's configuration"
    assert "[[device]]" in answer["hint"]


@pytest.mark.parametrize("name", ["show", "disable", "forgive-nonce", "send", "flush"])
@pytest.mark.parametrize("dev_eui", [None, 1, "", "70b3", [], "70b3d57ed00000ff"])
async def test_a_device_that_is_not_there(ask: Commands, name: str, dev_eui: Any) -> None:
    await ask.refused(name, dev_eui=dev_eui)


async def test_downlinks(ask: Commands) -> None:
    members = {"dev_eui": IN_FILE, "f_port": 13, "payload": "a101"}
    assert await ask("send", **members) == {"downlink_id": 1}
    members |= {"confirmed": True, "priority": -3, "expires_s": 60}
    assert await ask("send", **members) == {"downlink_id": 2}
    eui = bytes.fromhex(IN_FILE)
    assert ask.network.queued == [
        (eui, 13, b"\xa1\x01", False, 0, None),
        (eui, 13, b"\xa1\x01", True, -3, ask.network.now_utc_ms + 60_000),
    ]
    assert await ask.refused("send", **members) == {"error": "refused: queue_full"}
    assert await ask("flush", dev_eui=IN_FILE) == {"flushed": 2}
    await ask("add", device={**OTAA, "enabled": False})
    await ask.refused("send", **{**members, "dev_eui": EUI})


@pytest.mark.parametrize(
    "member",
    [
        {"f_port": 0},
        {"f_port": 224},
        {"f_port": True},
        {"f_port": "13"},
        {"payload": "a"},
        {"payload": 1},
        {"payload": "00" * 243},
        {"priority": 1.5},
        {"expires_s": -1},
        {"expires_s": 10**12},
    ],
)
async def test_a_downlink_that_cannot_be(ask: Commands, member: dict[str, Any]) -> None:
    members = {"dev_eui": IN_FILE, "f_port": 13, "payload": "", **member}
    await ask.refused("send", **members)
    assert ask.network.queued == []


async def test_the_file_overrules_the_store(tmp_path) -> None:
    ask = Commands(MemoryNetwork(tmp_path))
    await ask("add", device={**OTAA, "asset": "container/a"})
    (row,) = ask.network.rows.values()
    spec = device_rows.open_row(row, ask.network.sealer)
    rows = {}
    for dev_eui, asset in ((IN_FILE, None), ("01" * 8, "bay/c"), ("02" * 8, "container/gone")):
        moved = spec.model_copy(update={"dev_eui": bytes.fromhex(dev_eui), "asset": asset})
        rows[moved.dev_eui] = device_rows.seal_row(moved, ask.network.sealer, 1, 2)
    network = MemoryNetwork(tmp_path, rows)
    assert network.warnings == [
        f"device {IN_FILE} is in the configuration, which overrules the stored one",
        f"device {'01' * 8}: its bay/c is now {IN_FILE}'s",
        f"device {'02' * 8}: its container/gone is not in the configuration any more",
    ]
    assert network.registry.devices[bytes.fromhex(IN_FILE)].managed == "file"
    assert network.registry.device_of("bay/c").dev_eui_hex == IN_FILE
    ask = Commands(network)  # what became of its asset must not stop other changes
    await ask("disable", dev_eui="02" * 8)
    await ask("import", devices=[{"dev_eui": "02" * 8, "name": "y"}])
    assert rows[b"\x02" * 8].asset == "container/gone"
