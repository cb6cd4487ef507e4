"""What a spectator knows: built from MQTT messages alone, as any other subscriber could.

Knows nothing of the simulator or of the gateway's code; only topics and their documented fields
(docs/mqtt.md).
"""

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

_NEWS_KEPT = 200
_FROM_UPLINKS = ("container", "bay", "device")
_OF_THE_SITE = ("round", "availability")


@dataclass(slots=True)
class Picture:
    """The street as the messages so far tell it."""

    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    bays: dict[str, dict[str, Any]] = field(default_factory=dict)
    joined: dict[str, str] = field(default_factory=dict)
    """The asset ("container/…" or "bay/…") of each board that has joined, by its DevEUI."""
    gateways: dict[str, dict[str, Any]] = field(default_factory=dict)
    rounds: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    news: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_NEWS_KEPT))
    messages_by_kind: Counter[str] = field(default_factory=Counter)
    event_ids: set[str] = field(default_factory=set)
    duplicates: int = 0

    uplinks: set[str] = field(default_factory=set)
    """Identities of the uplinks of which at least one message arrived."""

    def take(self, topic: str, payload: bytes) -> None:
        """Take in one message of ``stoep/v1/<site>/…``; one seen before only counts."""
        words = topic.split("/")[3:]
        body: dict[str, Any] = json.loads(payload)
        event_id: str = body["event_id"]
        if event_id in self.event_ids:
            self.duplicates += 1
            return
        self.event_ids.add(event_id)
        self.messages_by_kind[
            words[0] if words[0] in _OF_THE_SITE else f"{words[0]}/{words[-1]}"
        ] += 1
        if (
            words[0] in _FROM_UPLINKS
            and words[-1] != "availability"
            and body.get("event") != "joined"
        ):
            self.uplinks.add(event_id.split(":", 1)[0])
        match words:
            case ["container", asset, "state"]:
                self.containers[asset] = body
            case ["bay", asset, "state"]:
                self.bays[asset] = body
            case ["container", asset, "event"] if body["event"] == "emptied":
                self._tell(body, f"{asset} emptied at {body['from_pct']:.0f} %")
            case ["bay", asset, "event"]:
                self._tell(body, f"{asset} {body['event']}")
            case ["device", dev_eui, "event"] if body["event"] == "joined":
                self.joined[dev_eui] = body["asset"]
                self._tell(body, f"board on {body['asset']} joined")
            case ["gateway", gateway, "state"]:
                self.gateways[gateway] = body
            case ["round", _, what] if what == "outcome" or body["provisional"]:
                pass
            case ["round", date, "summary"]:
                self.summaries[date] = body
            case ["round", date, truck]:
                self.rounds[date, truck] = body
                self._tell(body, f"round for {truck}: {len(body['stops'])} stops")

    def _tell(self, body: dict[str, Any], words: str) -> None:
        self.news.append((body["time_utc"], words))
