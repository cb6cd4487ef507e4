"""Takes what dispatchers decide from MQTT: a driver of `planning.dispatchers`.

A command is acknowledged to the broker once it and our answer are kept; so a broker that was away,
or a gateway that was killed, brings it again, and it is answered that it is known. Answers go the
way of all messages.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial

import aiomqtt

from stoep_gateway.config import mqtt_password
from stoep_gateway.config_dispatch import read_dispatchers
from stoep_gateway.integrations.mqtt_inbox import Connection, Inbox
from stoep_gateway.log import Throttle
from stoep_gateway.planning.dispatch import Answer
from stoep_gateway.planning.dispatchers import Command, Dispatchers, answer_message
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.publish.mqtt_tls import tls
from stoep_gateway.services import Parts
from stoep_gateway.store.records import Record

__all__ = ["PlanInbox", "build"]

_log = logging.getLogger(__name__)


class PlanInbox:
    """One connection to the broker of ``[mqtt]``, beside the one that publishes."""

    name = "plan commands"

    def __init__(self, parts: Parts, dispatchers: Dispatchers) -> None:
        mqtt, site = parts.config.mqtt, parts.config.site
        self._site = site
        self._dispatchers = dispatchers
        self._rounds = parts.rounds
        self._pipeline = parts.pipeline
        self._clock = parts.clock
        self._metrics = parts.metrics
        self._throttle = Throttle()
        self._inbox = Inbox(
            Connection(
                mqtt.host,
                mqtt.port,
                f"{mqtt.client_id or f'stoep-{site}'}-plan",
                dispatchers.topics,
                1,
                "[mqtt]",
                mqtt.username,
                mqtt_password(mqtt),
                tls(mqtt),
                mqtt.keepalive_s,
            ),
            self._take,
            self._found,
            self._lost,
        )

    @property
    def connected(self) -> bool:
        """Whether commands come in."""
        return self._inbox.client is not None

    async def open(self) -> None:
        """Nothing is held."""

    async def run(self) -> None:
        """Keep connected, until cancelled."""
        begun = asyncio.Event()
        self._clock.when_started(begun.set)
        await begun.wait()
        await self._inbox.run()

    async def close(self) -> None:
        """Nothing is held."""

    def _take(self, message: aiomqtt.Message, done: Callable[[], None]) -> None:
        try:
            self._handle(message, done)
        except Exception:  # noqa: BLE001 (unacknowledged it would come again at every start)
            self._metrics.reject("command_failed")
            _log.exception("a plan command has failed")
            done()

    def _handle(self, message: aiomqtt.Message, done: Callable[[], None]) -> None:
        payload = message.payload
        assert isinstance(payload, bytes)
        now_ms = self._clock.now_ms()
        said = self._dispatchers.read(message.topic.value, payload, now_ms, retained=message.retain)
        if isinstance(said, Command):
            sender = f"dispatcher/{said.dispatcher}"
            self._rounds.decide(said.word, sender, done, partial(self._answer, said.dispatcher))
            return
        self._metrics.reject(said.counted)
        if self._throttle.passes(said.counted, now_ms):
            _log.warning("a plan command of %s: %s", said.dispatcher or "nobody", said.counted)
        answers = () if said.answer is None else self._answer(said.dispatcher, said.answer)
        self._pipeline.record_messages(answers, Record(), done)

    def _answer(self, dispatcher: str, answer: Answer) -> tuple[OutboxMessage]:
        return (answer_message(self._site, dispatcher, answer, self._clock.utc_ms()),)

    def _found(self, away_s: float | None) -> None:
        if away_s is None:
            _log.info("plan commands are taken from MQTT")
        else:
            _log.info("plan commands are taken again, after %.0f s", away_s)

    def _lost(self, cause: str) -> None:
        _log.warning("no plan commands come in: %s", cause)


def build(parts: Parts) -> PlanInbox | None:
    """Return the service where there are dispatchers. Raises ``FatalError`` for their tokens."""
    if not parts.config.dispatchers:
        return None
    tokens = read_dispatchers(parts.config.dispatchers, os.environ)
    return PlanInbox(parts, Dispatchers(parts.config.site, tokens))
