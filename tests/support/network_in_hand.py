"""A whole network server whose time, commits and forwarders are in the test's hand.

Commits are real: what the pipeline submits is written to a SQLite database in memory, and
``restart`` begins anew from its rows alone, as after a power cut.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gwmp_client import Device
from hand_clock import HandClock
from lns_values import reception, target
from stoep_gateway import config, memory
from stoep_gateway.assets import device_rows, registry
from stoep_gateway.forwarders.gwmp import GwmpServer
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.lns.adr import AdrSettings
from stoep_gateway.lns.frames import Transmit, Transmitted
from stoep_gateway.lns.mac_state import Target
from stoep_gateway.lns.scheduler import Scheduler
from stoep_gateway.metrics import Metrics
from stoep_gateway.network import NetworkServer
from stoep_gateway.other_networks import OtherNetworks
from stoep_gateway.pipeline import Network, Pipeline
from stoep_gateway.store.migrate import migrate
from stoep_gateway.store.records import Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.sql import read_state, write_group

__all__ = ["NET_ID", "NetworkInHand"]

NET_ID = 0x13


class NetworkInHand:
    """A pipeline with all that it needs; commits wait until ``commit``.

    ``orders``, ``records``, ``published`` and ``handed_over`` go on over a restart; ``metrics``
    and ``memory`` do not.
    """

    def __init__(
        self,
        path: Path,
        config_text: str,
        *,
        wanted: Target | None = None,
        clock: HandClock | None = None,
    ) -> None:
        (path / "stoep.toml").write_text(config_text)
        self.path = path
        self.target = target() if wanted is None else wanted
        self.clock = HandClock() if clock is None else clock
        self.sealer = Sealer(bytes(32))
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection, Path(":memory:"))
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.records: list[Record] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.orders: list[Transmit] = []
        self.handed_over: list[tuple[str, Any, Callable[[bool], None]]] = []
        self.deliver = self.orders.append
        self.on_submit: Callable[[], None] = lambda: None
        self.restart()

    def restart(self) -> None:
        """Forget everything but the rows; what was not committed is lost."""
        self.clock.forget_all()
        self.submitted: list[tuple[Record, Callable[[], None]]] = []
        loaded = config.load(self.path / "stoep.toml")
        self.registry = registry.build(loaded)
        state = read_state(self.connection, self.sealer)
        device_rows.load(self.registry, state.devices, self.sealer)
        machine = GwmpServer(self.registry.gateways)
        self.links = machine.links
        self.metrics = Metrics()
        self.monitor = GatewayMonitor(self.registry.gateways, self.links)
        self.memory = memory.of(state, self.target.plan.region)
        self.scheduler = Scheduler(self.target.plan.region)
        self.pipeline = Pipeline(
            Network(
                NET_ID,
                200,
                self.target,
                AdrSettings(),
                request_missing=loaded.readings.request_missing,
            ),
            self.registry,
            self.memory,
            self.monitor,
            self.scheduler,
            self.metrics,
            self.clock,
            submit=self._submit,
            publish=lambda rows: self.published.extend(
                (row.topic, json.loads(row.payload)) for row in rows
            ),
            transmit=self._transmit,
            send_to_source=lambda *order: self.handed_over.append(order),
        )
        self.server = NetworkServer(
            self.registry, self.sealer, self.memory, self.pipeline, self.clock
        )
        self.others = OtherNetworks(
            self.registry, self.memory, self.pipeline, self.metrics, self.clock
        )
        self.server.personalise_all(row for row, *_ in state.sessions)
        self.pipeline.downlinks.start(state.airtimes)

    def _submit(self, record: Record, done: Callable[[], None]) -> None:
        self.submitted.append((record, done))
        self.on_submit()

    def _transmit(self, order: Transmit) -> None:
        self.deliver(order)

    def commit(self) -> None:
        """Let everything submitted become durable."""
        while self.submitted:
            record, done = self.submitted.pop(0)
            write_group(self.connection, [record], self.sealer)
            self.records.append(record)
            done()
        assert self.clock.under_way == 0

    def pass_ms(self, ms: int, step_ms: int = 1000) -> None:
        """Let time pass, with a commit now and then."""
        while ms > 0:
            self.clock.pass_ms(min(ms, step_ms))
            self.commit()
            ms -= step_ms

    def hear(self, phy_payload: bytes, **changes: Any) -> None:
        self.pipeline.receive(reception(phy_payload, at=self.clock.now_ms(), **changes))

    def take(self, phy_payload: bytes, **changes: Any) -> None:
        """Receive a frame, close its window, commit."""
        self.hear(phy_payload, **changes)
        self.clock.pass_ms(200)
        self.commit()

    def join(self, eui_and_key: tuple[bytes, bytes]) -> Device:
        """Return a device that has joined."""
        device = Device(eui_and_key[0], bytes(8), eui_and_key[1])
        self.take(device.join_request())
        device.accept(self.orders[-1].phy_payload)
        self.answer("")
        return device

    def answer(self, error: str, order: Transmit | None = None) -> None:
        """Let a gateway answer the last order, or this one, and commit."""
        order = order or self.orders[-1]
        self.pipeline.receive(Transmitted(order.downlink_id, order.gateway_eui, error))
        self.commit()

    def events(self, name: str = "downlink_") -> list[dict[str, Any]]:
        """Return the published events whose kind begins so."""
        return [
            payload
            for _, payload in self.published
            if str(payload.get("event", "")).startswith(name)
        ]

    def ends(self) -> Counter[int]:
        """Return how many final events each downlink has had."""
        return Counter(event["downlink_id"] for event in self.events() if not event["will_retry"])
