"""Tells an NGSI-LD context broker what there is: the driver of `context_backlog`, over httpx.

What it was not told of is recorded with the message that it comes from, and forgotten when the
broker has it: an outage, ours or its own, loses nothing but states that newer ones have replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import orjson

from stoep_gateway.config_service import NgsiLdConfig
from stoep_gateway.errors import BrokerUnavailable, FatalError
from stoep_gateway.integrations.context_backlog import Answer, Backlog, Batch, answer
from stoep_gateway.log import Throttle
from stoep_gateway.publish import ngsi_ld
from stoep_gateway.publish.ngsi_ld import Entity, Streets
from stoep_gateway.services import Parts, Service
from stoep_gateway.store.records import ContextRow, OutboxRow, Record

if TYPE_CHECKING:
    import httpx

__all__ = ["build"]

_PATH = "/ngsi-ld/v1/entityOperations/upsert"
_GATHER_S = 0.5  # what comes together is told together
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
_CONNECT_S = 10.0
_REQUEST_S = 60.0
_MOST_ANSWERED = 1 << 20
_MOST_REFUSALS = 50
_MAY_WAIT = (429, 503)  # with Retry-After

_log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per request is too much


def build(parts: Parts) -> Service | None:
    """Return the service if a context broker is configured; see to the topics, if they are."""
    settings = parts.config.ngsi_ld
    if settings is None:
        return None
    streets = Streets(parts.registry, parts.memory.states)
    parts.on_reload.append(lambda config: streets.look_again())
    if settings.topics:
        parts.pipeline.derive = partial(ngsi_ld.derive, parts.config.site, streets)
    if settings.url is None:
        return None
    return _ContextBroker(parts, settings, settings.url, streets)


class _ContextBroker:
    name = "context-broker"

    def __init__(self, parts: Parts, settings: NgsiLdConfig, url: str, streets: Streets) -> None:
        self._parts = parts
        self._settings = settings
        self._url = url
        self._streets = streets
        self._backlog = Backlog(parts.memory.contexts, settings.batch)
        self._version = max((row.version for row in parts.memory.contexts), default=0)
        parts.memory.contexts = ()
        self._uncommitted: deque[list[ContextRow]] = deque()
        self._refusals = 0  # of whole requests, without one that was taken
        self._news = asyncio.Event()
        self._outage_since: float | None = None
        self._throttle = Throttle()
        parts.pipeline.mirror = self

    # What the pipeline calls.

    def rows(self, outbox: tuple[OutboxRow, ...]) -> tuple[ContextRow, ...]:
        """Return what is to be kept of these messages until the broker was told."""
        kept = []
        for row in outbox:
            if row.kind in ngsi_ld.KINDS:
                self._version += 1
                kept.append(ContextRow(row.topic, row.kind, row.payload, self._version))
        self._uncommitted.append(kept)
        return tuple(kept)

    def committed(self) -> None:
        """Take over the next rows: they are on the disk."""
        for row in self._uncommitted.popleft():
            self._backlog.add(row)
            self._news.set()

    # The service.

    async def open(self) -> None:
        """Check what the configuration names. Raises ``FatalError``."""
        self._tls()
        self._headers()

    async def close(self) -> None:
        """The connection ends with `run`."""

    async def run(self) -> None:
        """Tell the broker what it does not know, until cancelled."""
        import httpx  # noqa: PLC0415 (some megabytes, for those alone who want it)

        pause_s = _FIRST_PAUSE_S
        async with httpx.AsyncClient(
            verify=self._tls(),
            timeout=httpx.Timeout(_REQUEST_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=1),
            follow_redirects=False,
            trust_env=False,
        ) as client:
            while True:
                await self._wait_for_news()
                try:
                    await self._tell(client)
                    pause_s = _FIRST_PAUSE_S
                except _Unavailable as error:
                    self._lost(error)
                    await asyncio.sleep(max(pause_s, error.retry_after_s))
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _wait_for_news(self) -> None:
        while not self._backlog.due(self._now()):
            next_ms = self._backlog.next_ms()
            timeout_s = None if next_ms is None else max(0, next_ms - self._now()) / 1000
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            await asyncio.sleep(_GATHER_S)

    async def _tell(self, client: httpx.AsyncClient) -> None:
        """Send all that is due. Raises ``_Unavailable``."""
        try:
            headers = self._headers()
        except FatalError as error:  # it was there at the start
            raise _Unavailable(str(error)) from error
        while True:
            batch = self._backlog.batch(self._now(), self._entities)
            if not batch.rows:
                return
            said = await self._ask(client, headers, batch) if batch.entities else Answer()
            told = self._backlog.settle(batch, said, self._now())
            if told:
                versions = tuple((row.topic, row.version) for row in told)
                self._parts.store.submit(Record(told_contexts=versions))
            self._account(batch, said, len(told))
            self._refusals = 0 if said.problem is None else self._refusals + 1
            if said.problem is not None and (not said.is_ours or self._refusals > _MOST_REFUSALS):
                raise _Unavailable(said.problem)

    async def _ask(
        self, client: httpx.AsyncClient, headers: dict[str, str], batch: Batch
    ) -> Answer:
        import httpx  # noqa: PLC0415

        content = orjson.dumps([ngsi_ld.normalized(it) for it in batch.entities.values()])
        self._parts.metrics.count("context_requests")
        try:
            async with (
                asyncio.timeout(_REQUEST_S),
                client.stream(
                    "POST",
                    f"{self._url}{_PATH}",
                    params={"options": "update"},
                    content=content,
                    headers=headers,
                ) as response,
            ):
                body = bytearray()
                async for part in response.aiter_raw():  # not unpacked: it may be a bomb
                    body += part
                    if len(body) > _MOST_ANSWERED:
                        raise _Unavailable("it answers without end")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ssl.SSLError) as error:
            raise _Unavailable(str(error) or type(error).__name__) from error
        if response.status_code in _MAY_WAIT:
            seconds = response.headers.get("Retry-After", "")
            wait_s = min(float(seconds), _LONGEST_PAUSE_S) if seconds.isdecimal() else 0.0
            raise _Unavailable(f"it answered {response.status_code}", wait_s)
        return answer(response.status_code, bytes(body), batch.entities)

    def _entities(self, row: ContextRow) -> Sequence[Entity]:
        try:
            return ngsi_ld.entities(self._parts.config.site, self._streets, row.kind, row.payload)
        except (KeyError, TypeError, ValueError):  # of a version of long ago
            self._parts.metrics.count("context_unreadable")
            return ()

    def _headers(self) -> dict[str, str]:
        settings = self._settings
        headers = {
            "Content-Type": "application/ld+json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        if settings.tenant is not None:
            headers["NGSILD-Tenant"] = settings.tenant
        if settings.token_file is not None:
            try:
                token = settings.token_file.read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                what = error.strerror if isinstance(error, OSError) else "not ASCII"
                raise FatalError(f"token_file {settings.token_file}: {what}") from None
            if not token.isprintable():
                raise FatalError(f"token_file {settings.token_file}: more than one line")
            headers["Authorization"] = token
        return headers

    def _tls(self) -> ssl.SSLContext:
        if not self._url.startswith("https:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, without their megabytes
        ca_file = self._settings.ca_file
        try:
            return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise FatalError(f"[ngsi_ld] ca_file {ca_file}: {error}") from error

    # What is told of it.

    def _account(self, batch: Batch, said: Answer, told: int) -> None:
        metrics = self._parts.metrics
        if said.problem is None and self._outage_since is not None:
            away_s = asyncio.get_running_loop().time() - self._outage_since
            self._outage_since = None
            _log.info(
                "context broker %s is back after %.0f s, %d to tell",
                self._url,
                away_s,
                len(self._backlog),
            )
        metrics.count("context_told", told)
        refused = dict(said.refused)
        if said.is_ours and len(batch.rows) == 1 and said.problem is not None:
            refused = dict.fromkeys(batch.entities, said.problem)
        for entity_id, why in refused.items():
            metrics.count("context_refused")
            if times := self._throttle.passes("refused", self._now()):
                _log.warning(
                    "context broker %s refuses ×%d %s: %s", self._url, times, entity_id, why
                )

    def _lost(self, error: _Unavailable) -> None:
        if self._outage_since is None:
            self._outage_since = asyncio.get_running_loop().time()
            self._parts.metrics.count("context_outages")
            _log.warning(
                "context broker %s is away: %s; the newest of each entity is kept",
                self._url,
                error,
            )

    def _now(self) -> int:
        return round(1000 * asyncio.get_running_loop().time())


class _Unavailable(BrokerUnavailable):
    """The broker took nothing of a request."""

    def __init__(self, why: str, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
