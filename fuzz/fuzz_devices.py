"""Files of devices and what commands say of them: any octets, and good ones with something wrong.

What is accepted has to be the same after it was written as a file and read again.
"""

from __future__ import annotations

import json

from fuzz_shapes import Octets, altered
from stoep_gateway.assets import device_files, device_specs
from stoep_gateway.assets.device_specs import Checked
from stoep_gateway.assets.registry import Registry
from stoep_gateway.config_model import DeviceConfig

__all__ = ["Target"]

KEY = "00112233445566778899aabbccddeeff"
OTAA = {
    "dev_eui": "70b3d57ed0000001",
    "join_eui": "70-B3-D5-7E-D0-00-00-FF",
    "app_key": KEY,
    "lorawan": "1.0.4",
    "device_class": "A",
    "adr": True,
    "enabled": False,
    "name": "Straße 1, links",
    "asset": None,
}
ABP = {
    "dev_eui": "7000000000000002",
    "dev_addr": "260b0001",
    "nwk_s_key": KEY,
    "app_s_key": KEY,
    "name": "null",
}
FOREIGN = {"dev_eui": "70b3d57ed0000003", "source": "other", "asset": "container/gone"}
CSV = f'dev_eui,app_key,adr,name\n{OTAA["dev_eui"]},{KEY},yes,"lid, left"\n\n7e1;,,\n'
YAML = (
    f"# ours\n- dev_eui: 70b3d57ed0000001\n  app_key: {KEY}\n  adr: no\n"
    "- {dev_eui: '1', name: ~}\n"
)


class Target:
    """Checks against one registry, which holds two of the devices."""

    def __init__(self) -> None:
        self.registry = Registry("town", {}, {}, frozenset({"other"}))
        for raw in (OTAA, ABP):
            spec = DeviceConfig.model_validate(raw)
            self.registry.put(self.registry.view(spec, "store"))

    def seeds(self) -> list[bytes]:
        return [
            b"\x00" + CSV.encode(),
            b"\x00" + CSV.replace(",", ";").encode("utf-16"),
            b"\x01" + YAML.encode(),
            b"\x02" + YAML.encode(),
            b"\x03\x07\x02\xff\x01",
            b"\x03",
        ]

    def __call__(self, data: bytes) -> None:
        octets = Octets(data)
        shape = octets.number() % 4
        if shape == 3:
            wrong = altered([OTAA, ABP, FOREIGN], octets)
            if isinstance(wrong, list):
                self.check([raw for raw in wrong if isinstance(raw, dict)])
            return
        kind: device_files.Format | None = ("csv", "yaml", None)[shape]
        entries, mistakes = device_files.read(octets.rest(), "file", kind)
        assert entries or mistakes
        assert all(mistake.line >= 0 for mistake in mistakes)
        self.check([dict(entry.values) for entry in entries])

    def check(self, raws: list[dict[str, object]]) -> None:
        found = list(device_specs.check_all(self.registry, raws))
        assert {one.index for one in found} == set(range(len(raws)))
        specs = [one.spec for one in found if isinstance(one, Checked)]
        json.dumps([str(one) for one in found])
        if not specs:
            return
        accepted = [device_specs.as_raw(spec, show_keys=True) for spec in specs]
        for kind in ("csv", "yaml"):
            text = device_files.write(accepted, kind).encode()  # type: ignore[arg-type]
            entries, mistakes = device_files.read(text, "file", kind)  # type: ignore[arg-type]
            assert not mistakes, mistakes
            assert [device_specs.validate(entry.values) for entry in entries] == specs
