"""A registry takes another configuration: what is the same stays the very same."""

from pathlib import Path

import pytest
from stoep_gateway import config
from stoep_gateway.assets import changes, device_specs, registry

TOWN = """
site = "town"
[[gateway]]
id = "roof"
eui = "0016c001ff10a235"
[[container]]
id = "a"
lat = 1
lon = 2
capacity_l = 100
depth_mm = 1000
[[container]]
id = "b"
lat = 1
lon = 2
capacity_l = 100
depth_mm = 1000
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "00112233445566778899aabbccddeeff"
asset = "container/a"
"""
FIRST, STORED = bytes.fromhex("70b3d57ed0000001"), bytes.fromhex("70b3d57ed0000009")


def built(folder: Path, text: str) -> registry.Registry:
    (folder / "stoep.toml").write_text(text)
    return registry.build(config.load(folder / "stoep.toml"))


@pytest.fixture
def town(tmp_path: Path) -> registry.Registry:
    """The town, with a device of the store at container b."""
    town = built(tmp_path, TOWN)
    raw = {"dev_eui": STORED.hex(), "app_key": "11" * 16, "asset": "container/b"}
    spec = device_specs.validate(raw)
    assert not isinstance(spec, list)
    town.put(town.view(spec, "store", 5, 6))
    return town


def test_what_is_the_same_stays_the_very_same(tmp_path, town):
    before = [*town.gateways.values(), *town.assets.values(), *town.devices.values()]
    replaced = changes.replace(town, built(tmp_path, TOWN))
    after = [*town.gateways.values(), *town.assets.values(), *town.devices.values()]
    assert all(old is new for old, new in zip(before, after, strict=True))
    assert replaced == changes.Replaced((), (), (), (), (), ())


def test_a_container_that_changes_is_its_devices_too(tmp_path, town):
    text = TOWN.replace("depth_mm = 1000", "depth_mm = 2000")
    replaced = changes.replace(town, built(tmp_path, text))
    assert replaced.changed == (FIRST,)
    assert replaced.ended == ()
    assert town.devices[FIRST].asset.inside.depth_mm == 2000
    stored = town.devices[STORED]
    assert stored.asset is town.assets["container/b"]
    assert (stored.managed, stored.created_utc_ms, stored.changed_utc_ms) == ("store", 5, 6)
    assert town.device_of("container/b") is stored


def test_the_file_goes_first_where_both_want_a_container(tmp_path, town):
    text = TOWN + (
        '[[device]]\ndev_eui = "70b3d57ed0000002"\napp_key = "' + "22" * 16 + '"\n'
        'asset = "container/b"\n'
    )
    replaced = changes.replace(town, built(tmp_path, text))
    (warning,) = replaced.warnings
    assert warning == "device 70b3d57ed0000009: its container/b is now 70b3d57ed0000002's"
    assert town.devices[STORED].asset is None
    assert town.device_of("container/b").dev_eui_hex == "70b3d57ed0000002"


def test_a_container_that_goes_leaves_its_device_without_one(tmp_path, town):
    text = TOWN.replace('id = "b"', 'id = "c"')
    replaced = changes.replace(town, built(tmp_path, text))
    (warning,) = replaced.warnings
    assert warning.endswith("its container/b is not in the configuration any more")
    assert town.devices[STORED].asset is None
    changes.replace(town, built(tmp_path, TOWN))
    assert town.devices[STORED].asset is town.assets["container/b"]


def test_other_keys_and_devices_of_the_store_that_the_file_overrules(tmp_path, town):
    text = TOWN.replace("00112233445566778899aabbccddeeff", "33" * 16) + (
        '[[device]]\ndev_eui = "70b3d57ed0000009"\napp_key = "' + "11" * 16 + '"\n'
    )
    replaced = changes.replace(town, built(tmp_path, text))
    assert replaced.ended == replaced.forgiven == (FIRST,)
    assert replaced.changed == (FIRST, STORED)
    assert "overrules the stored one" in replaced.warnings[0]
    assert town.devices[STORED].managed == "file"


def test_devices_swap_their_containers(tmp_path):
    second = (
        '[[device]]\ndev_eui = "70b3d57ed0000002"\napp_key = "' + "22" * 16 + '"\n'
        'asset = "container/{}"\n'
    )
    town = built(tmp_path, TOWN + second.format("b"))
    swapped = TOWN.replace('"container/a"', '"container/b"') + second.format("a")
    replaced = changes.replace(town, built(tmp_path, swapped))
    assert len(replaced.changed) == 2
    assert town.device_of("container/b").dev_eui == FIRST
    assert town.device_of("container/a").dev_eui_hex == "70b3d57ed0000002"
