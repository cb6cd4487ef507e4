"""The parts of a gateway that is watched, in the test's hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from network_in_hand import NetworkInHand
from stoep_gateway import config
from stoep_gateway.metrics import Histogram
from stoep_gateway.publish.outbox import Outbox

__all__ = ["BAY", "BIN", "CONFIG", "parts_of"]

CONFIG = """
site = "street"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "2b7e151628aed2a6abf7158809cf4f3d"
asset = "bay/7"
[[device]]
dev_eui = "70b3d57ed0000003"
app_key = "2b7e151628aed2a6abf7158809cf4f3e"
enabled = false
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
[[bay]]
id = "7"
street = "High Street"
lat = -15.8
lon = 35.0
"""
BIN = (bytes.fromhex("70b3d57ed0000001"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
BAY = (bytes.fromhex("70b3d57ed0000002"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3d"))


def parts_of(network: NetworkInHand, **changes: Any) -> Any:
    """Return what `stoep_gateway.services.Parts` has, with the broker there and all ports open."""
    parts = {
        "config": config.load(network.path / "stoep.toml"),
        "clock": network.clock,
        "store": SimpleNamespace(
            commit_s=Histogram((0.01, 1)),
            group=Histogram((1, 10)),
            submit=lambda _record, done: done(),
        ),
        "registry": network.registry,
        "memory": network.memory,
        "metrics": network.metrics,
        "links": network.links,
        "monitor": network.monitor,
        "scheduler": network.scheduler,
        "pipeline": network.pipeline,
        "outbox": Outbox((), 0),
        "publisher": SimpleNamespace(connected=True),
        "sources_connected": dict,
        "listening": lambda: {"semtech_udp": True},
    }
    return SimpleNamespace(**(parts | changes))
