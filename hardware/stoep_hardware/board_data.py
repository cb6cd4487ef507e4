"""Boards as data: pins, radio, flash offsets and currents from `boards/*.toml`."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from stoep_protocol.lorawan import regions

from . import currents

_MOST_MHZ = {"sx1268": 810, "sx1278": 525}  # data sheets; the others reach every region


@dataclass(frozen=True, slots=True)
class BoardData:
    """One board. Tables that are passed on as they are keep the names of the file."""

    name: str
    title: str
    id: int
    chip: str
    flash: dict[str, int]
    spi: dict[str, int]
    radio: dict[str, Any]
    uart: dict[str, int]
    i2c: dict[str, int]
    pins: dict[str, int]
    display: dict[str, int] | None
    buttons: dict[str, str]  # `boot` at GPIO 0 and `reset`, as the board calls them, if it has them
    nss_pull_up: bool
    currents_ua: dict[str, int]
    boot_us: int
    light_wake_us: int
    bench_only: bool  # takes too much asleep for a battery

    def check_region(self, region: str) -> None:
        """Raise ValueError when the radio is not made for the region's band."""
        most_mhz = _MOST_MHZ.get(self.radio["chip"])
        if most_mhz is not None and regions.by_name(region).rx2_hz > most_mhz * 1_000_000:
            chip = self.radio["chip"].upper()
            raise ValueError(f"{self.title}: its {chip} ends at {most_mhz} MHz, {region} is above")

    def wiring(self, magnetometer: str | None = None) -> dict[str, Any]:
        """Return what config.json says under `board`; of a bay with a sensor by that name."""
        pins = (
            "sensor_int",
            "motion_int",
            "lid",
            "sensor_power",
            "sensor_power_on",
            "battery_adc",
            "battery_enable",
            "battery_permille",
        )
        return {
            "id": self.id,
            "spi": dict(self.spi),
            "radio": dict(self.radio),
            "uart": dict(self.uart),
            "i2c": dict(self.i2c),
            **({} if self.display is None else {"display": dict(self.display)}),
            **{name: self.pins[name] for name in pins if name in self.pins},
            **currents.wiring(self, magnetometer),
        }


def names() -> list[str]:
    """List the boards there are."""
    folder = resources.files("stoep_hardware") / "boards"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def load(name: str) -> BoardData:
    """Read one board; raises FileNotFoundError when there is no such file."""
    text = (resources.files("stoep_hardware") / "boards" / f"{name}.toml").read_text("utf-8")
    data = tomllib.loads(text)
    return BoardData(
        name=data["name"],
        title=data["title"],
        id=data["id"],
        chip=data["chip"],
        flash=data["flash"],
        spi=data["spi"],
        radio=data["radio"],
        uart=data["uart"],
        i2c=data["i2c"],
        pins=data["pins"],
        display=data.get("display"),
        buttons=data["buttons"],
        nss_pull_up=data["electric"]["nss_pull_up"],
        currents_ua=data["currents_ua"],
        boot_us=data["boot"]["ms"] * 1000,
        light_wake_us=data["boot"]["light_wake_us"],
        bench_only=data.get("bench_only", False),
    )
