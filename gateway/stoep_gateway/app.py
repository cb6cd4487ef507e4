"""The composition root: builds the parts from the configuration, runs them, and ends them in order.

Nothing is decided here. The one place, with the drivers, that knows asyncio's loop and the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

from stoep_protocol.lorawan.regions import by_name

from stoep_gateway import clock as clocks
from stoep_gateway.assets import registry as registries
from stoep_gateway.assets import states
from stoep_gateway.clock import Clock, SimulatedClock, SystemClock
from stoep_gateway.config import Config, mqtt_password
from stoep_gateway.errors import FatalError
from stoep_gateway.forwarders import links
from stoep_gateway.forwarders.gwmp import GwmpServer
from stoep_gateway.forwarders.udp import UdpForwarders
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.lns.downlink import ReceiveSettings
from stoep_gateway.lns.join import DevNonces
from stoep_gateway.lns.sessions import Session, Sessions
from stoep_gateway.metrics import Metrics
from stoep_gateway.pipeline import Memory, Network, Pipeline
from stoep_gateway.publish.mqtt import Broker, Publisher
from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.rounds import DailyRounds
from stoep_gateway.store.records import OutboxRow, Record, State
from stoep_gateway.store.sealing import open_sealer
from stoep_gateway.store.store import Store

__all__ = ["run"]

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DRAIN_S = 3.0
_CANCEL_AGAIN_S = 0.2
_LOG_COUNTS_MS = 3_600_000

_log = logging.getLogger(__name__)


async def run(config: Config, *, simulated: bool = False, ready_file: Path | None = None) -> int:
    """Run the gateway until a signal ends it; return the exit code. Raises ``FatalError``."""
    clock: Clock = SimulatedClock() if simulated else SystemClock()
    store = Store(config.store.path, partial(open_sealer, config.store, os.environ))
    state = await store.open()
    try:
        await _Gateway(config, clock, store, state).run(ready_file)
    finally:
        await store.close()
    return 0


class _Gateway:
    def __init__(self, config: Config, clock: Clock, store: Store, state: State) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._metrics = Metrics()
        self._registry = registries.build(config)
        machine = GwmpServer(links.of(config.gateways, config.gwmp))
        self._forwarders = UdpForwarders(
            machine,
            clock,
            lambda action: self._pipeline.receive(action),  # noqa: PLW0108 (made later)
        )
        self._outbox = Outbox(state.outbox, state.last_outbox_id)
        self._publisher = Publisher(
            Broker(
                config.mqtt.host,
                config.mqtt.port,
                config.mqtt.client_id or f"stoep-{config.site}",
                config.mqtt.username,
                mqtt_password(config.mqtt),
                config.mqtt.keepalive_s,
            ),
            self._outbox,
            self._metrics,
            read_page=self._read_outbox_page,
            delete=lambda ranges: store.submit(Record(published=ranges)),
        )
        memory = _memory(state)
        self._pipeline = Pipeline(
            Network(
                int.from_bytes(config.lorawan.net_id, "big"),
                config.lorawan.dedup_window_ms,
                ReceiveSettings(
                    by_name(config.lorawan.region),
                    config.lorawan.rx1_delay_s,
                    config.lorawan.rx1_dr_offset,
                    config.lorawan.sub_band,
                ),
            ),
            self._registry,
            memory,
            GatewayMonitor(self._registry.gateways, machine.links),
            self._metrics,
            clock,
            submit=store.submit,
            publish=self._publish,
            transmit=self._forwarders.handle,
        )
        self._rounds = (
            DailyRounds(config, memory.states, clock, self._metrics, self._pipeline.record_messages)
            if config.planning.enabled and config.trucks
            else None
        )
        self._stop = asyncio.Event()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, ready_file: Path | None) -> None:
        """Run until told to stop. Raises ``FatalError``."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(number, self._stop.set)
        bind = self._config.gwmp
        try:
            self._forwarders.open(bind.bind, bind.port)
        except OSError as error:
            raise FatalError(f"UDP {bind.bind}:{bind.port}: {error.strerror}") from error
        tasks: list[asyncio.Task[Any]] = []
        channel = None
        try:
            if isinstance(self._clock, SimulatedClock):
                channel = await clocks.serve(self._clock, self._forwarders, self._stop.set)
            if self._rounds is not None:
                self._clock.when_started(self._rounds.start)
            self._clock.when_started(self._pipeline.start)
            self._clock.when_started(self._log_counts)
            self._say_ready(ready_file, channel)
            publishing = asyncio.create_task(self._publisher.run(), name="publisher")
            publishing.add_done_callback(self._on_end_of_task)
            stopped = asyncio.create_task(self._stop.wait(), name="stop")
            tasks += [publishing, stopped]
            ends: list[asyncio.Future[Any]] = [self._failure, self._store.failure, stopped]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
            await self._drain()
        finally:
            if self._rounds is not None:
                self._rounds.stop()
            if channel is not None:
                channel.close()
            self._forwarders.close()
            await _cancel(tasks)
            _log.info("stopped; %s", self._metrics)

    async def _drain(self) -> None:
        _log.info("stopping")
        self._forwarders.close()
        self._pipeline.finish()
        recorded = asyncio.get_running_loop().create_future()
        self._store.submit(Record(), lambda: recorded.set_result(None))
        await asyncio.wait((recorded, self._store.failure), return_when=asyncio.FIRST_COMPLETED)
        if self._store.failure.done():
            self._store.failure.result()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S if self._publisher.connected else 0):
                await self._publisher.drained()

    # The wires between the parts.

    def _publish(self, rows: tuple[OutboxRow, ...]) -> None:
        self._outbox.add(rows)
        self._publisher.wake()

    def _read_outbox_page(self) -> None:
        self._store.read_outbox(self._outbox.loaded_id, self._add_outbox_page)

    def _add_outbox_page(self, rows: list[OutboxRow]) -> None:
        self._outbox.add_page(rows)
        self._publisher.wake()

    def _log_counts(self) -> None:
        if counts := str(self._metrics):
            _log.info("since the start: %s; outbox=%d", counts, len(self._outbox))
        self._clock.call_at(self._clock.now_ms() + _LOG_COUNTS_MS, self._log_counts)

    # Beginning and end.

    def _say_ready(self, ready_file: Path | None, channel: asyncio.Server | None) -> None:
        ready = {
            "gwmp_udp": self._forwarders.port,
            "clock_tcp": None if channel is None else channel.sockets[0].getsockname()[1],
            "pid": os.getpid(),
        }
        line = json.dumps(ready)
        _log.info("ready: %s", line)
        if ready_file is not None:
            partial = ready_file.with_name(ready_file.name + ".partial")
            try:
                partial.write_text(line + "\n", encoding="utf-8")
                partial.replace(ready_file)
            except OSError as error:
                raise FatalError(f"--ready-file {ready_file}: {error.strerror}") from error

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A callback of ours has failed: memory may be ahead of the disk, so this is the end.
        loop.default_exception_handler(context)
        self._fail(FatalError(f"internal error: {context.get('exception') or context['message']}"))

    def _on_end_of_task(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s has failed", task.get_name(), exc_info=error)
            self._fail(FatalError(f"internal error: {error!r}"))

    def _fail(self, error: FatalError) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: before Python 3.12 ``asyncio.wait_for``, with which aiomqtt
    connects, loses a cancellation that comes with its result (python/cpython#86296).
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)


def _memory(state: State) -> Memory:
    kept = {}
    for row in state.latest:
        try:
            kept[row.asset] = states.loads(row.asset, row.state)
        except ValueError as error:
            _log.warning(
                "what was known of %s is unreadable and starts afresh: %s", row.asset, error
            )
    return Memory(
        Sessions(
            Session(
                row.session_id,
                row.dev_eui,
                row.dev_addr,
                row.nwk_s_key,
                row.app_s_key,
                row.app_nonce,
                confirmed=bool(row.confirmed),
                f_cnt_up=f_cnt_up,
                f_cnt_down=f_cnt_down,
            )
            for row, f_cnt_up, f_cnt_down in state.sessions
        ),
        DevNonces((row.dev_eui, row.dev_nonce, row.app_nonce) for row in state.nonces),
        kept,
        state.last_outbox_id,
        state.last_session_id,
    )
