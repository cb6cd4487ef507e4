"""The composition root: builds the parts from the configuration, runs them, and ends them in order.

Nothing is decided here. The one place, with the drivers, that knows asyncio's loop and the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from stoep_gateway import clock as clocks
from stoep_gateway import forecasting, supervision, timing
from stoep_gateway import memory as memories
from stoep_gateway.assets import device_rows
from stoep_gateway.assets import registry as registries
from stoep_gateway.assets.occasions import calendar
from stoep_gateway.assets.registry import Registry
from stoep_gateway.building import adr_settings, stations, taken, target
from stoep_gateway.clock import Clock, SimulatedClock, SystemClock
from stoep_gateway.collections.commands import CollectionCommands
from stoep_gateway.collections.following import Following
from stoep_gateway.config import Config, mqtt_password
from stoep_gateway.container_commands import ContainerCommands
from stoep_gateway.control import ControlServer, socket_path
from stoep_gateway.device_commands import DeviceCommands
from stoep_gateway.doctor.command import COMMAND, Doctor
from stoep_gateway.errors import FatalError
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.forwarders import links
from stoep_gateway.forwarders.gwmp import GwmpServer
from stoep_gateway.forwarders.udp import UdpForwarders
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.integrations import context_broker, plan_inbox
from stoep_gateway.integrations.codecs import makes
from stoep_gateway.integrations.events import SourceDownlink
from stoep_gateway.integrations.mqtt_source import MqttSource
from stoep_gateway.keeping import forgetting
from stoep_gateway.lns.frames import Transmit
from stoep_gateway.lns.scheduler import Scheduler
from stoep_gateway.log import Throttle
from stoep_gateway.metrics import Metrics
from stoep_gateway.network import NetworkServer
from stoep_gateway.other_networks import OtherNetworks
from stoep_gateway.pipeline import Network, Pipeline
from stoep_gateway.planning.commands import PlanCommands
from stoep_gateway.planning.decide_commands import DecideCommands
from stoep_gateway.planning.files.command import FileCommands
from stoep_gateway.planning.files.writer import Writer
from stoep_gateway.planning.in_force import Kept
from stoep_gateway.planning.plan import Plan
from stoep_gateway.publish import announcer
from stoep_gateway.publish.availability import gateway_availability
from stoep_gateway.publish.mqtt import Broker, Publisher
from stoep_gateway.publish.mqtt_tls import tls
from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.publish.wire import Wire
from stoep_gateway.reloading import COMMAND as RELOAD
from stoep_gateway.reloading import Reloader
from stoep_gateway.rounds import DailyRounds
from stoep_gateway.services import Parts, Service
from stoep_gateway.store.records import OutboxRow, Record, State
from stoep_gateway.store.sealing import open_sealer
from stoep_gateway.store.store import OUTBOX_PAGE, Store
from stoep_gateway.system_time import SystemTime

__all__ = ["run"]

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_DRAIN_S = 3.0
_CANCEL_AGAIN_S = 0.2
_LOG_COUNTS_MS = 3_600_000
_GC_THRESHOLDS = (20_000, 20, 20)

_SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def _http(parts: Parts) -> Service | None:
    if parts.config.http is None:
        return None
    from stoep_gateway import http  # noqa: PLC0415 (megabytes that most do not need)

    return http.build(parts, parts.config.http)


# Each returns its service, or None where the configuration does not ask for it.
_SERVICES: tuple[Callable[[Parts], Service | None], ...] = (
    supervision.build,
    _http,
    forgetting.build,
    announcer.build,
    forecasting.build,
    context_broker.build,
    plan_inbox.build,
    makes.build,
)

_log = logging.getLogger(__name__)


async def run(config: Config, *, simulated: bool = False, ready_file: Path | None = None) -> int:
    """Run the gateway until a signal ends it; return the exit code. Raises ``FatalError``."""
    clock: SimulatedClock | SystemClock = SimulatedClock() if simulated else SystemClock()
    store = Store(config.store.path, partial(open_sealer, config.store, os.environ))
    registry = registries.build(config)
    # What the registry has, and then what memory has, need not be there twice for a year.
    config = config.model_copy(update={"devices": ()})
    try:
        state = await store.open()
        if isinstance(clock, SystemClock):
            timing.keep(clock, SystemTime(), config.time, state)
        await _Gateway(config, registry, clock, store, state).run(ready_file)
    finally:
        await store.close()
    return 0


class _Gateway:
    def __init__(
        self, config: Config, registry: Registry, clock: Clock, store: Store, state: State
    ) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._metrics = Metrics()
        self._registry = registry
        for warning in device_rows.load(self._registry, state.devices, store.sealer):
            _log.warning("%s", warning)
        self._airtimes = state.airtimes
        personalised = {it.dev_eui for it in registry.devices.values() if it.dev_addr is not None}
        self._stored_sessions = tuple(
            row for row, *_ in state.sessions if row.dev_eui in personalised
        )
        aim = target(config)
        self._links = links.of(config.gateways, config.gwmp)
        self._forwarders = UdpForwarders(GwmpServer(self._links), clock, self._receive)
        self._stations = stations(config, self._links, aim.plan, clock, self._receive)
        self._outbox = Outbox(
            state.outbox,
            state.last_outbox_id,
            depth=state.outbox_depth,
            octets=state.outbox_octets,
            limit_octets=config.mqtt.outbox_mb * 1_000_000,
        )
        self._publisher = Publisher(
            Broker(
                config.mqtt.host,
                config.mqtt.port,
                config.mqtt.client_id or f"stoep-{config.site}",
                config.mqtt.username,
                mqtt_password(config.mqtt),
                config.mqtt.keepalive_s,
                tls(config.mqtt),
                Wire(config.mqtt.encoding, config.mqtt.event_expiry_h * 3600),
            ),
            self._outbox,
            self._metrics,
            read_page=self._read_outbox_page,
            delete=lambda ranges: store.submit_patiently(Record(published=ranges)),
            thin=store.thin_outbox,
            availability=lambda state, reason: gateway_availability(
                config.site, state, reason, clock.utc_ms()
            ),
        )
        memory = memories.of(state, aim.plan.region)
        scheduler = Scheduler(aim.plan.region, duty_cycle=config.lorawan.duty_cycle)
        self._monitor = GatewayMonitor(self._registry.gateways, self._links)
        self._pipeline = Pipeline(
            Network(
                int.from_bytes(config.lorawan.net_id, "big"),
                config.lorawan.dedup_window_ms,
                aim,
                adr_settings(config),
                request_missing=config.readings.request_missing,
            ),
            self._registry,
            memory,
            self._monitor,
            scheduler,
            self._metrics,
            clock,
            submit=store.submit,
            publish=self._publish,
            transmit=self._transmit,
            send_to_source=self._send_to_source,
            held=state.held,
            forecasts=Forecasts(calendar(config), {it.about: it.learned for it in state.forecasts}),
        )
        others = OtherNetworks(self._registry, memory, self._pipeline, self._metrics, clock)
        self._sources = {
            source.id: MqttSource(
                source,
                config.site,
                others.receive,
                self._metrics,
                clock.utc_ms,
                mqtt_password(source),
            )
            for source in config.sources
        }
        self._network = NetworkServer(self._registry, store.sealer, memory, self._pipeline, clock)
        self._control_path = socket_path(config, os.environ)
        self._control = ControlServer(self._control_path, config.control.group, config.store.path)
        DeviceCommands(self._network).register(self._control)
        ContainerCommands(self._registry, memory, self._pipeline, clock).register(self._control)
        self._handing_over: set[asyncio.Task[None]] = set()
        self._following = Following(config, registry, memory.states, self._pipeline, clock)
        collections = CollectionCommands(config, self._pipeline, clock, self._following.look)
        collections.register(self._control)
        self._files = Writer(config, clock)
        files = FileCommands(config)
        files.register(self._control)
        self._rounds = DailyRounds(
            config,
            memory.states,
            self._pipeline.forecasts,
            clock,
            self._metrics,
            self._pipeline.record_messages,
            Kept(state.plans, state.decisions, state.last_decision, state.planned_date),
            self._plans_in_force,
        )
        DecideCommands(self._rounds, clock).register(self._control)
        plans = PlanCommands(
            config, memory.states, self._pipeline.forecasts, clock, self._rounds.in_force
        )
        plans.register(self._control)
        self._reloader = Reloader(
            config,
            registry,
            self._links,
            self._stations,
            self._pipeline,
            self._network,
            partial(supervision.reloading, supervision.Notifier(os.environ)),
        )
        self._control.register(RELOAD, self._reloader.answer, changes=True)
        for part in (plans, self._rounds, self._following, collections, self._files, files):
            self._reloader.listeners.append(part.reconfigure)
        self._reloading: set[asyncio.Task[Any]] = set()
        self._throttle = Throttle()
        self._stop = asyncio.Event()
        parts = Parts(
            config,
            clock,
            store,
            registry,
            memory,
            self._metrics,
            self._links,
            self._monitor,
            scheduler,
            self._pipeline,
            self._outbox,
            self._publisher,
            sources_connected=self._sources_connected,
            listening=self._listening,
            on_reload=self._reloader.listeners,
            rounds=self._rounds,
        )
        doctor = Doctor(parts, aim.plan)
        self._control.register(COMMAND, doctor.answer)
        self._reloader.listeners.append(doctor.reconfigure)
        self._services = [service for build in _SERVICES if (service := build(parts)) is not None]
        self._services += [self._following, self._files]
        if isinstance(clock, SystemClock):
            self._services.append(
                timing.Timing(
                    clock,
                    SystemTime(),
                    config.time,
                    registry,
                    self._links,
                    memory,
                    self._pipeline,
                    self._outbox,
                    self._publisher,
                    store,
                    self._rounds.look_again,
                    left_over=bool(state.held or state.provisional),
                )
            )
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, ready_file: Path | None) -> None:
        """Run until told to stop. Raises ``FatalError``."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        handlers = {**dict.fromkeys(_STOP_SIGNALS, self._stop.set), signal.SIGHUP: self._reload}
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(number, handler)
        tasks: list[asyncio.Task[Any]] = []
        channel = None
        try:
            await self._open()
            if isinstance(self._clock, SimulatedClock):
                channel = await clocks.serve(self._clock, self._forwarders, self._stop.set)
            self._clock.when_started(self._rounds.go_on)
            self._clock.when_started(partial(self._network.personalise_all, self._stored_sessions))
            self._clock.when_started(partial(self._pipeline.start, self._airtimes))
            self._clock.when_started(self._log_counts)
            self._say_ready(ready_file, channel)
            _leave_to_stay()
            tasks.append(asyncio.create_task(self._publisher.run(), name="publisher"))
            for source_id, source in self._sources.items():
                tasks.append(asyncio.create_task(source.run(), name=f"source {source_id}"))
            tasks += [asyncio.create_task(it.run(), name=it.name) for it in self._services]
            for task in tasks:
                task.add_done_callback(self._on_end_of_task)
            stopped = asyncio.create_task(self._stop.wait(), name="stop")
            tasks.append(stopped)
            ends: list[asyncio.Future[Any]] = [self._failure, self._store.failure, stopped]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
            await self._drain()
        finally:
            self._rounds.stop()
            if channel is not None:
                channel.close()
            await self._control.close()
            self._forwarders.close()
            if self._stations is not None:
                self._stations.close()
                await self._stations.wait_closed()
            await _cancel([*tasks, *self._handing_over, *self._reloading])
            for service in reversed(self._services):
                await service.close()
            _log.info("stopped; %s", self._metrics)

    async def _open(self) -> None:
        gwmp, station = self._config.gwmp, self._config.basics_station
        try:
            self._forwarders.open(gwmp.bind, gwmp.port)
        except OSError as error:
            raise taken("UDP", gwmp.bind, gwmp.port, error) from error
        if station is not None and self._stations is not None:
            try:
                await self._stations.open(station)
            except OSError as error:
                raise taken("TCP", station.bind, station.port, error) from error
        await self._control.open()
        for service in self._services:
            await service.open()

    async def _drain(self) -> None:
        _log.info("stopping")
        self._forwarders.close()
        if self._stations is not None:
            self._stations.close()
        self._pipeline.finish()
        recorded = asyncio.get_running_loop().create_future()
        self._store.submit(Record(), lambda: recorded.set_result(None))
        await asyncio.wait((recorded, self._store.failure), return_when=asyncio.FIRST_COMPLETED)
        if self._store.failure.done():
            self._store.failure.result()
        with contextlib.suppress(TimeoutError):
            can_drain = self._publisher.connected and self._clock.utc_is_known()
            async with asyncio.timeout(_DRAIN_S if can_drain else 0):
                await self._publisher.drained()
        await self._publisher.farewell()

    # The wires between the parts.

    def _receive(self, action: Any) -> None:
        self._pipeline.receive(action)

    def _transmit(self, order: Transmit) -> None:
        if self._stations is not None and order.context is not None:
            self._stations.handle(order)
        else:
            self._forwarders.handle(order)

    def _send_to_source(
        self, source_id: str, downlink: SourceDownlink, taken: Callable[[bool], None]
    ) -> None:
        source = self._sources.get(source_id)

        async def hand_over() -> None:  # a source may have left the configuration
            taken(source is not None and await source.send(downlink))

        task = asyncio.create_task(hand_over(), name=f"downlink to {source_id}")
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)
        task.add_done_callback(self._on_end_of_task)

    def _reload(self) -> None:
        if self._reloader.is_awaited:
            return
        task = asyncio.create_task(self._reloader.reload(), name="reload")
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)
        task.add_done_callback(self._on_end_of_task)

    def _plans_in_force(self, today: Plan | None, next_one: Plan | None) -> None:
        self._following.in_force(today, next_one)
        self._files.take(today, next_one)

    def _sources_connected(self) -> dict[str, bool]:
        return {name: source.connected for name, source in self._sources.items()}

    def _listening(self) -> dict[str, bool]:
        listening = {"semtech_udp": self._forwarders.is_open}
        if self._stations is not None:
            listening["basics_station"] = self._stations.is_open
        return listening

    def _publish(self, rows: tuple[OutboxRow, ...]) -> None:
        self._outbox.add(rows)
        self._publisher.wake()

    def _read_outbox_page(self) -> None:
        self._store.read_outbox(self._outbox.loaded_id, self._add_outbox_page)

    def _add_outbox_page(self, rows: list[OutboxRow]) -> None:
        self._outbox.add_page(rows, last=len(rows) < OUTBOX_PAGE)
        self._publisher.wake()

    def _log_counts(self) -> None:
        if counts := str(self._metrics):
            _log.info("since the start: %s; outbox=%d", counts, len(self._outbox))
        self._clock.call_at(self._clock.now_ms() + _LOG_COUNTS_MS, self._log_counts)

    # Beginning and end.

    def _say_ready(self, ready_file: Path | None, channel: asyncio.Server | None) -> None:
        ready = {
            "gwmp_udp": self._forwarders.port,
            "basics_station_tcp": None if self._stations is None else self._stations.port,
            "control": str(self._control_path),
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
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _SHORT_OF:
            # A listener could not accept; asyncio tries again. Whoever opens many connections
            # must not end a network server.
            if self._throttle.passes("short", self._clock.now_ms()):
                _log.warning("%s: %s", context["message"], error.strerror)
            return
        # A callback of ours has failed: memory may be ahead of the disk, so this is the end.
        loop.default_exception_handler(context)
        self._fail(FatalError(f"internal error: {context.get('exception') or context['message']}"))

    def _on_end_of_task(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s has failed", task.get_name(), exc_info=error)
            self._fail(FatalError(f"internal error: {error!r}"))

    def _fail(self, error: FatalError) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)


def _leave_to_stay() -> None:
    """Keep the cyclic garbage collector from walking, at every turn, through what is there now.

    Ten thousand devices stay for ever, and a walk through them holds up all uplinks for 0.2 s. What
    comes and goes with an uplink has no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: before Python 3.12 ``asyncio.wait_for``, with which aiomqtt
    connects, loses a cancellation that comes with its result (python/cpython#86296).
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
