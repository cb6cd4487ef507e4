"""What dispatchers say over MQTT: who may, how often, and what they mean. Pure.

A command is JSON at ``stoep/v1/<site>/plan/<dispatcher>/command``: a `Word` with a "token". Of what
a stranger sends nothing is repeated, logged or answered but a well-formed id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from stoep_gateway.assets.registry import TOPIC_ROOT
from stoep_gateway.planning.dispatch import Answer, Word
from stoep_gateway.publish.messages import OutboxMessage, encode, utc

__all__ = ["Command", "Dispatchers", "Refusal", "answer_message"]

_MOST_OCTETS = 4096
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


@dataclass(frozen=True, slots=True)
class Command:
    """What a dispatcher decided."""

    dispatcher: str
    word: Word


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that is no command: what to count it as, and, if that is due, what to answer."""

    counted: str
    dispatcher: str = ""
    answer: Answer | None = None


class _Bucket:
    """Lets ``burst`` pass at once, and one every ``every_ms``."""

    def __init__(self, burst: int, every_ms: int) -> None:
        self._burst = burst
        self._every_ms = every_ms
        self._full_ms = 0  # when it is, or was

    def passes(self, now_ms: int) -> bool:
        full_ms = max(self._full_ms, now_ms) + self._every_ms
        if full_ms - now_ms > self._burst * self._every_ms:
            return False
        self._full_ms = full_ms
        return True


class Dispatchers:
    """``tokens`` are by the dispatchers' ids; only their digests are kept."""

    def __init__(self, site: str, tokens: Mapping[str, str]) -> None:
        self._digests = {name: _digest(token) for name, token in tokens.items()}
        self._topics = {command_topic(site, name): name for name in tokens}
        # A phone that was offline sends a morning's work at once.
        self._known = {name: _Bucket(burst=300, every_ms=500) for name in tokens}
        self._strangers = _Bucket(burst=10, every_ms=6000)

    @property
    def topics(self) -> tuple[str, ...]:
        """Return where commands come."""
        return tuple(self._topics)

    def read(self, topic: str, payload: bytes, now_ms: int, *, retained: bool) -> Command | Refusal:
        """Return what a message says; ``now_ms`` is monotonic."""
        name = self._topics.get(topic)
        if name is None:
            return Refusal("command_of_nobody")
        if retained:  # whoever connects again gets it again, for ever
            return Refusal("command_retained", name)
        if len(payload) > _MOST_OCTETS:
            return self._stranger("command_too_large", name, now_ms, "", "it is too large")
        try:
            said = json.loads(payload)
        except (ValueError, RecursionError):
            return self._stranger("command_malformed", name, now_ms, "", "it is no JSON")
        if not isinstance(said, dict):
            return self._stranger("command_malformed", name, now_ms, "", "it is no JSON object")
        identifier = said.get("id")
        if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
            identifier = ""
        token = said.pop("token", None)
        is_known = isinstance(token, str) and hmac.compare_digest(
            _digest(token), self._digests[name]
        )
        if not is_known:
            why = "not authorised"
            return self._stranger("command_unauthorised", name, now_ms, identifier, why)
        if not self._known[name].passes(now_ms):
            why = "too many commands: send it again in a minute"
            return self._stranger("command_too_many", name, now_ms, identifier, why)
        try:
            word = Word.read(said)
            if word.date is None:  # it may have waited at the broker
                raise ValueError("date is missing")
        except ValueError as error:
            return Refusal("command_malformed", name, Answer(identifier, "refused", str(error)))
        return Command(name, word)

    def _stranger(self, counted: str, name: str, now_ms: int, identifier: str, why: str) -> Refusal:
        if not self._strangers.passes(now_ms):
            return Refusal(counted, name)
        return Refusal(counted, name, Answer(identifier, "refused", why))


def command_topic(site: str, dispatcher: str) -> str:
    """Return where a dispatcher's commands come."""
    return f"{TOPIC_ROOT}/{site}/plan/{dispatcher}/command"


def answer_message(site: str, dispatcher: str, answer: Answer, now_ms: int) -> OutboxMessage:
    """Return what a dispatcher is told; ``now_ms`` is UTC."""
    decision = answer.decision
    event_id = f"plan_answer/{site}/{dispatcher}/{answer.id}/{now_ms}"
    body: dict[str, object] = {
        "event_id": event_id,
        "time_utc": utc(now_ms),
        "id": answer.id or None,
        "result": answer.result,
        "reason": answer.reason,
        "date": None if decision is None else decision.date,
        "action": None if decision is None else decision.action,
        "container": None if decision is None else decision.container,
        "truck": None if decision is None else decision.truck,
        "place": None if decision is None else decision.place,
        "holds": answer.holds,
    }
    topic = f"{TOPIC_ROOT}/{site}/plan/{dispatcher}/answer"
    payload = encode(body)
    return OutboxMessage(topic, payload, False, "plan_answer", event_id)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
