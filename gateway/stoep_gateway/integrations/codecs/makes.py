"""The makes that devices may be of: those of the configuration, and those that we bring along."""

from __future__ import annotations

import asyncio
import functools
import tomllib
from collections.abc import Iterable

from stoep_protocol.messages import BayReport, BinReport, Status

from stoep_gateway.assets.registry import Device
from stoep_gateway.assets.states import AssetState
from stoep_gateway.config import Config
from stoep_gateway.config_makes import MakeConfig
from stoep_gateway.integrations.codecs.errors import CodecError
from stoep_gateway.integrations.codecs.mapping import Mapping
from stoep_gateway.integrations.codecs.sandbox import Sandbox
from stoep_gateway.integrations.codecs.shipped import FOLDER, names
from stoep_gateway.services import Parts, Service

__all__ = ["Makes", "build", "known", "shipped"]


@functools.cache
def shipped(name: str) -> MakeConfig:
    """Return a make that we bring along."""
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    return MakeConfig.model_validate({"id": name, **tomllib.loads(text)}, context={"": FOLDER})


def known(configured: Iterable[MakeConfig]) -> dict[str, MakeConfig]:
    """Return all makes by id; one of the configuration replaces ours of the same id."""
    return {
        **{name: shipped(name) for name in sorted(names())},
        **{make.id: make for make in configured},
    }


class Makes:
    """Decodes what devices of other makes send."""

    def __init__(self, configured: Iterable[MakeConfig]) -> None:
        self._sandbox = Sandbox({})
        self._mappings: dict[str, Mapping] = {}
        self._configured = tuple(configured)
        self._is_loaded = False

    def start(self) -> None:
        """Be ready for uplinks; without it the first one waits."""
        if not self._is_loaded:
            self.replace(self._configured)
        self._sandbox.start()

    def stop(self) -> None:
        """End the codecs' process."""
        self._sandbox.stop()

    def replace(self, configured: Iterable[MakeConfig]) -> None:
        """Take other makes, read their codecs anew, and give each another chance."""
        self._configured = tuple(configured)
        makes = known(self._configured)
        sources: dict[str, str] = {}
        for name, make in makes.items():
            try:
                sources[name] = make.codec.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError):
                sources[name] = "throw new Error('the codec cannot be read')"
        self._mappings = {name: Mapping(make) for name, make in makes.items()}
        self._is_loaded = True
        self._sandbox.replace(sources)

    def reconfigure(self, config: Config) -> None:
        """Take a configuration anew."""
        if self._is_loaded:
            self.replace(config.makes)
        else:
            self._configured = config.makes

    def result(
        self, name: str, f_port: int, data: bytes, received_utc_ms: int, now_ms: int
    ) -> object:
        """Return what a make's codec makes of an uplink. Raises `CodecError`."""
        if not self._is_loaded:
            self.replace(self._configured)
        if name not in self._mappings:
            raise CodecError("codec_unknown", f'there is no make "{name}"')
        try:
            return self._sandbox.decode(name, f_port, data, received_utc_ms, now_ms)
        except OSError as error:  # no process to be had
            raise CodecError("codec_unavailable", error.strerror or "") from None

    def messages(
        self, name: str, result: object, f_cnt_up: int, before: AssetState | None
    ) -> tuple[BinReport | BayReport | None, Status | None]:
        """Return the reading and the health in a codec's result. Raises `CodecError`."""
        try:
            return self._mappings[name].messages(result, f_cnt_up, before)
        except ValueError as error:
            raise CodecError("codec_mapping", str(error)) from None

    def decode(
        self,
        device: Device,
        f_port: int,
        data: bytes,
        f_cnt_up: int,
        before: AssetState | None,
        received_utc_ms: int,
        now_ms: int,
    ) -> tuple[BinReport | BayReport | None, Status | None]:
        """Return what an uplink of a device says: a reading, its health. Raises `CodecError`."""
        assert device.make is not None
        result = self.result(device.make, f_port, data, received_utc_ms, now_ms)
        return self.messages(device.make, result, f_cnt_up, before)


def build(parts: Parts) -> Service:
    """Return the service that keeps the codecs' process, if any device needs it."""
    service = _Codecs(parts)
    parts.on_reload.append(service.makes.reconfigure)
    return service


class _Codecs:
    name = "codecs"

    def __init__(self, parts: Parts) -> None:
        self.makes = Makes(parts.config.makes)
        self._registry = parts.registry
        parts.pipeline.interpreter.makes = self.makes

    async def open(self) -> None:
        """Start the process if there is a device that it is for."""
        if any(device.make is not None for device in self._registry.devices.values()):
            self.makes.start()

    async def run(self) -> None:
        """Nothing is to be done but to be there."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """End it."""
        self.makes.stop()
