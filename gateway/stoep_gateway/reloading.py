"""Takes the configuration anew while the gateway runs: on SIGHUP, or on ``stoep gateway reload``.

What can change without losing a frame does, between two frames: gateways, devices, containers,
bays, places, trucks, and the settings of ``RELOADED``. The rest is named: it needs a restart. A
configuration with mistakes changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from stoep_gateway import config as configuration
from stoep_gateway.assets import changes, device_specs, registry
from stoep_gateway.assets.changes import Replaced
from stoep_gateway.assets.registry import Registry
from stoep_gateway.building import adr_settings
from stoep_gateway.config import Config
from stoep_gateway.device_network import Changes
from stoep_gateway.errors import ConfigError, FatalError
from stoep_gateway.forwarders import links
from stoep_gateway.forwarders.basics_station import Reconfigured
from stoep_gateway.forwarders.links import Links
from stoep_gateway.forwarders.tokens import read_tokens
from stoep_gateway.network import NetworkServer
from stoep_gateway.pipeline import Pipeline

if TYPE_CHECKING:
    from stoep_gateway.forwarders.websocket import WebSocketStations

__all__ = ["COMMAND", "RELOADED", "Reloader", "needs_restart"]

COMMAND = "gateway.reload"
# Tables whose values every part takes anew; each key of another table needs a restart.
RELOADED = ("adr", "readings", "planning", "retention")
_LISTS = (
    *("gateways", "makes", "containers", "bays", "kinds", "fractions", "places", "trucks"),
    "events",
)
_BESIDE = ("asset_files", "distances", "holidays")
_NOT_COMPARED = (
    *("path", "files", "warnings", "devices"),
    *_BESIDE,
    *_LISTS,
    *RELOADED,
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Answer:
    """What came of a reload, as the command prints it and the log tells it."""

    mistakes: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    needs_restart: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def needs_restart(old: Config, new: Config) -> list[str]:
    """Return what differs and cannot be taken while running: ``site``, ``[mqtt] host``, …"""
    found: list[str] = []
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if name in _NOT_COMPARED or before == after:
            continue
        if name in ("sources", "dispatchers"):
            found.append(f"[[{name.removesuffix('s')}]]")
        elif isinstance(before, BaseModel) and isinstance(after, BaseModel):
            found += _keys_changed(name, before, after)
        else:
            found.append(name if isinstance(before, str) else f"[{name}]")
    return found


class Reloader:
    """Knows all that takes a configuration anew; ``listeners`` are the other parts.

    What ``telling`` returns is entered while it does.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        links: Links,
        stations: WebSocketStations | None,
        pipeline: Pipeline,
        network: NetworkServer,
        telling: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.listeners: list[Callable[[Config], None]] = []
        self._config = config
        self._registry = registry
        self._links = links
        self._stations = stations
        self._pipeline = pipeline
        self._network = network
        self._telling = telling
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    @property
    def is_awaited(self) -> bool:
        """Whether one will begin that finds what the files say now."""
        return self._waiting > 0

    async def answer(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """Reload; return the members of the command's answer."""
        answer = await self.reload()
        return {name: getattr(answer, name) for name in Answer.__dataclass_fields__}

    async def reload(self) -> Answer:
        """Read the configuration's files and take what can be taken; tell the log."""
        self._waiting += 1
        try:
            await self._one_at_a_time.acquire()
        finally:
            self._waiting -= 1
        try:
            with self._telling():
                return await self._reload()
        finally:
            self._one_at_a_time.release()

    async def _reload(self) -> Answer:
        try:
            # Off the loop: a thousand tables take a while to check.
            new, fresh, tokens, answer = await asyncio.to_thread(_read, self._config)
        except ConfigError as error:
            answer = Answer(mistakes=[str(mistake) for mistake in error.mistakes])
        except FatalError as error:
            answer = Answer(mistakes=[str(error)])
        except Exception as error:  # noqa: BLE001 (nothing has changed yet, and devices go on)
            # No more of it: what could not be read may quote a key.
            answer = Answer(
                mistakes=[f"{self._config.path}: cannot be read: {type(error).__name__}"]
            )
        else:
            changes_of_devices, devices = self._take(new, fresh, tokens, answer)
            await self._network.record(changes_of_devices)
            for eui in devices:  # such as one that was enabled
                self._pipeline.downlinks.send_waiting(eui)
        for line in answer.mistakes:
            _log.error("%s", line)
        for line in answer.warnings:
            _log.warning("%s", line)
        if answer.mistakes:
            _log.error("not reloaded: the configuration has mistakes; the old one stays")
        else:
            _log.info("reloaded: %s", ", ".join(answer.applied) or "nothing has changed")
        if answer.needs_restart:
            _log.warning("needs a restart: %s", ", ".join(answer.needs_restart))
        return answer

    def _take(
        self, new: Config, fresh: Registry, tokens: Mapping[bytes, str], answer: Answer
    ) -> tuple[Changes, tuple[bytes, ...]]:
        """Change everything in memory; return what is left to record, and the devices it is of."""
        old = self._config
        taken = {name: getattr(new, name) for name in (*_LISTS, *RELOADED, *_BESIDE)}
        self._config = old.model_copy(update=taken)
        changed = self._links.replace(links.of(new.gateways, old.gwmp))
        devices = changes.replace(self._registry, fresh)
        for what in ("added", "changed", "removed"):
            if count := len(getattr(devices, what)):
                answer.applied.append(f"{count} [[device]] {what}")
        answer.warnings += devices.warnings
        if self._stations is not None:
            self._stations.handle(Reconfigured(tokens, changed))
        self._pipeline.reconfigure(
            adr_settings(self._config), request_missing=self._config.readings.request_missing
        )
        for listener in self.listeners:
            listener(self._config)
        return self._of_sessions(devices), (*devices.added, *devices.changed)

    def _of_sessions(self, devices: Replaced) -> Changes:
        specs = {
            eui: device_specs.spec_of(self._registry.devices[eui])
            for eui in (*devices.added, *devices.changed)
        }
        ended = [
            *devices.ended,
            *(eui for eui in devices.added if not self._network.fitting(specs[eui])),
        ]
        begun = tuple(specs[eui] for eui in ended if specs[eui].dev_addr is not None)
        return Changes(ended=tuple(ended), forgiven=devices.forgiven, personalised=begun)


def _read(old: Config) -> tuple[Config, Registry, dict[bytes, str], Answer]:
    """Read the files, and say how they differ."""
    new = configuration.load(old.path)
    answer = Answer(
        applied=_lists_changed(old, new),
        needs_restart=needs_restart(old, new),
        warnings=list(new.warnings),
    )
    # The site and what needs a restart stays in the topics as it is.
    fixed = new.model_copy(update={"site": old.site, "sources": old.sources})
    return new, registry.build(fixed), read_tokens(new.gateways), answer


def _lists_changed(old: Config, new: Config) -> list[str]:
    said = []
    for name in _LISTS:
        key = "eui" if name == "gateways" else "id"
        before = {getattr(it, key): it for it in getattr(old, name)}
        after = {getattr(it, key): it for it in getattr(new, name)}
        table = f"[[{name.removesuffix('s')}]]"
        for what, count in (
            ("added", len(after.keys() - before.keys())),
            ("changed", sum(before[it] != after[it] for it in before.keys() & after.keys())),
            ("removed", len(before.keys() - after.keys())),
        ):
            if count:
                said.append(f"{count} {table} {what}")
    for name in RELOADED:
        said += _keys_changed(name, getattr(old, name), getattr(new, name))
    if old.distances != new.distances:
        said.append("distances")
    return said


def _keys_changed(table: str, before: BaseModel, after: BaseModel) -> list[str]:
    return [
        f"[{table}] {key}"
        for key in type(after).model_fields
        if getattr(before, key) != getattr(after, key)
    ]
