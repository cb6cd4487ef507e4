"""Files of devices: any octets, and rows and mappings with something wrong in them.

What is read without a mistake has to be the same when it is written and read again.
"""

from __future__ import annotations

import yaml
from fuzz_shapes import Octets, altered
from stoep_gateway.assets import device_files, device_specs
from stoep_gateway.assets.registry import Registry
from stoep_gateway.errors import Mistake

__all__ = ["Target"]

OTAA = {
    "dev_eui": "70b3d57ed0000001",
    "join_eui": "0000000000000000",
    "app_key": "2b7e151628aed2a6abf7158809cf4f3c",
    "lorawan": "1.0.4",
    "name": "corner, north",
    "enabled": "yes",
}
ABP = {
    "dev_eui": "70-B3-D5-7E-D0-00-00-02",
    "dev_addr": "26011bda",
    "nwk_s_key": "2b7e151628aed2a6abf7158809cf4f3c",
    "app_s_key": "3b7e151628aed2a6abf7158809cf4f3c",
    "device_class": "C",
    "adr": "false",
}


class Target:
    """Reading keeps nothing; the registry is empty."""

    def __init__(self) -> None:
        self.registry = Registry("bench", {}, {})

    def seeds(self) -> list[bytes]:
        csv = ",".join(OTAA) + "\n" + ",".join(f'"{value}"' for value in OTAA.values()) + "\n"
        return [
            b"\x00" + csv.encode(),
            b"\x00" + csv.replace(",", ";").encode("utf-8-sig"),
            b"\x00" + yaml.safe_dump([OTAA, ABP]).encode(),
            b"\x00- &a {dev_eui: 1}\n- *a\n- <<: *a\n",
            b"\x01\x03\x03",
            b"\x02\x03\x03",
        ]

    def __call__(self, data: bytes) -> None:
        octets = Octets(data)
        shape = octets.number() % 3
        if shape == 0:
            self.take(octets.rest())
            return
        rows = altered([OTAA, ABP], octets)
        if shape == 1:
            self.take(yaml.safe_dump(rows, allow_unicode=True).encode("utf-8", "surrogatepass"))
            return
        lines = [";".join(OTAA)]
        for row in rows if isinstance(rows, list) else ():
            cells = row.values() if isinstance(row, dict) else (row,)
            lines.append(";".join(str(cell) for cell in cells))
        self.take("\n".join(lines).encode("utf-8", "surrogatepass"))

    def take(self, data: bytes) -> None:
        entries, mistakes = device_files.read(data, "devices")
        assert entries or mistakes
        assert all(isinstance(mistake, Mistake) for mistake in mistakes)
        raws = [entry.values for entry in entries]
        checked = [
            found
            for found in device_specs.check_all(self.registry, raws)
            if isinstance(found, device_specs.Checked)
        ]
        specs = [found.spec for found in checked]
        written = [device_specs.as_raw(spec, show_keys=True) for spec in specs]
        for kind in ("csv", "yaml") if specs else ():
            again, wrong = device_files.read(
                device_files.write(written, kind).encode(), "again", kind
            )
            assert not wrong, wrong
            assert [device_specs.validate(entry.values) for entry in again] == specs
