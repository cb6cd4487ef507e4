"""ChirpStack v4's MQTT integration, JSON encoding and the default topics. Pure.

Events are the messages of ``api/proto/integration/integration.proto`` in protobuf's JSON mapping;
the topics are those of ``[integration.mqtt]`` in ChirpStack's configuration.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
from typing import Literal

from stoep_gateway.errors import RemoteProtocolError
from stoep_gateway.integrations import fields
from stoep_gateway.integrations.events import (
    EventKind,
    Reception,
    SourceDownlink,
    SourceEvent,
    SourceUplink,
    Tags,
)
from stoep_gateway.integrations.fields import Members, malformed
from stoep_gateway.lns.frames import Rejected

__all__ = ["ChirpStack"]

_EVENTS = ("up", "join", "ack", "txack", "status", "log")
_TOPIC = re.compile(r"application/[^/]+/device/([0-9a-fA-F]{16})/event/([a-z]+)")
_REFUSALS = frozenset({"DOWNLINK_PAYLOAD_SIZE", "F_CNT_DOWN"})  # log codes that end a downlink


class ChirpStack:
    """One application, by its id (a UUID)."""

    qos: Literal[1] = 1

    def __init__(self, source_id: str, application: str, site: str) -> None:
        self._source_id = source_id
        self._application = application
        self._tags = Tags(site, source_id)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """One filter per kind of event."""
        root = f"application/{self._application}/device/+/event"
        return tuple(f"{root}/{event}" for event in _EVENTS)

    def read(
        self, topic: str, payload: bytes, received_utc_ms: int
    ) -> SourceUplink | SourceEvent | Rejected:
        """Return what a message says.

        Rejected: ``source_topic``, ``source_too_large``, ``source_malformed``,
        ``source_encrypted`` for end-to-end encrypted payloads.
        """
        match = _TOPIC.fullmatch(topic)
        if match is None or match[2] not in _EVENTS:
            return Rejected("source_topic", f"{self._source_id}: {topic[:128]}")
        try:
            event = fields.parse(payload)
            if fields.eui(fields.members(event, "deviceInfo"), "devEui") != bytes.fromhex(match[1]):
                raise malformed("devEui is not that of the topic")
            if match[2] == "up":
                return self._uplink(event, bytes.fromhex(match[1]), received_utc_ms)
            return self._event(event, bytes.fromhex(match[1]), match[2], received_utc_ms)
        except RemoteProtocolError as error:
            return Rejected(
                error.reason, f"{self._source_id}: {match[1].lower()} {match[2]}: {error}"
            )

    def command(self, downlink: SourceDownlink) -> tuple[str, bytes]:
        """Return the ``DownlinkCommand`` and its topic."""
        dev_eui = downlink.dev_eui.hex()
        command: dict[str, object] = {
            "id": self._tags.tag(downlink.downlink_id),
            "devEui": dev_eui,
            "confirmed": downlink.confirmed,
            "fPort": downlink.f_port,
            "data": base64.b64encode(downlink.frm_payload).decode(),
        }
        if downlink.expires_utc_ms is not None:  # a field that older versions refuse
            expires = datetime.datetime.fromtimestamp(downlink.expires_utc_ms / 1000, datetime.UTC)
            command["expiresAt"] = expires.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        topic = f"application/{self._application}/device/{dev_eui}/command/down"
        return topic, json.dumps(command).encode()

    def _uplink(self, event: Members, dev_eui: bytes, received_utc_ms: int) -> SourceUplink:
        if fields.members(event, "joinServerContext").get("appSKey") is not None:
            raise RemoteProtocolError("source_encrypted", "the AppSKey is not ChirpStack's to use")
        rx_info = fields.objects(event, "rxInfo")
        tx_info = fields.members(event, "txInfo")
        lora = fields.members(fields.members(tx_info, "modulation"), "lora")
        heard_utc_ms = _heard_utc_ms(event, rx_info, received_utc_ms)
        receptions = [
            Reception(
                fields.text(info, "gatewayId"),
                fields.whole(info, "rssi", -1000, 1000),
                fields.number(info, "snr"),
            )
            for info in rx_info
        ]
        return SourceUplink(
            source_id=self._source_id,
            dev_eui=dev_eui,
            event_key=_key(event),
            session=fields.text(event, "devAddr").lower(),
            f_cnt_up=fields.whole(event, "fCnt", 0, 0xFFFFFFFF),
            f_port=fields.whole(event, "fPort", 0, 255) or None,
            frm_payload=fields.octets(event, "data"),
            confirmed=fields.flag(event, "confirmed"),
            dr=fields.whole(event, "dr", 0, 15),
            sf=fields.whole(lora, "spreadingFactor", 0, 12),
            bw_hz=fields.whole(lora, "bandwidth", 0, 2_000_000),
            freq_hz=fields.whole(tx_info, "frequency", 0, 3_000_000_000),
            receptions=tuple(sorted(receptions, key=lambda one: -one.snr_db)),
            heard_utc_ms=heard_utc_ms,
            received_utc_ms=min(heard_utc_ms, received_utc_ms),
        )

    def _event(
        self, event: Members, dev_eui: bytes, name: str, received_utc_ms: int
    ) -> SourceEvent:
        kind: EventKind = "log"
        tag = fields.text(event, "queueItemId")
        detail = ""
        battery_pct = margin_db = None
        if name == "join":
            kind = "join"
        elif name == "txack":
            kind = "sent"
            detail = fields.text(event, "gatewayId")
        elif name == "ack":
            kind = "acknowledged" if fields.flag(event, "acknowledged") else "unacknowledged"
        elif name == "status":
            kind = "status"
            margin_db = fields.whole(event, "margin", -128, 127)
            if not fields.flag(event, "batteryLevelUnavailable") and not fields.flag(
                event, "externalPowerSource"
            ):
                battery_pct = fields.number(event, "batteryLevel")
        else:
            code = fields.text(event, "code") or "UNKNOWN"
            tag = fields.text(fields.members(event, "context"), "queue_item_id")
            if tag:
                kind = "refused" if code in _REFUSALS else "expired" if code == "EXPIRED" else "log"
            level = fields.text(event, "level") or "INFO"
            detail = f"{level} {code}: {fields.text(event, 'description')}"
        heard_utc_ms = _heard_utc_ms(event, [], received_utc_ms)
        return SourceEvent(
            source_id=self._source_id,
            kind=kind,
            dev_eui=dev_eui,
            event_key=_key(event, needed=kind == "join"),
            session=fields.text(event, "devAddr").lower(),
            heard_utc_ms=heard_utc_ms,
            received_utc_ms=min(heard_utc_ms, received_utc_ms),
            downlink_id=self._tags.downlink_id(tag),
            detail=detail,
            battery_pct=battery_pct,
            margin_db=margin_db,
        )


def _key(event: Members, *, needed: bool = True) -> str:
    key = fields.text(event, "deduplicationId")
    if needed and not key:
        raise malformed("deduplicationId is missing")
    return key


def _heard_utc_ms(event: Members, rx_info: list[Members], received_utc_ms: int) -> int:
    """Return the server's own time: ``time`` may be that of a gateway's clock."""
    times = [ms for info in rx_info if (ms := fields.utc_ms(info, "nsTime")) is not None]
    if times:
        return min(times)
    time_ms = fields.utc_ms(event, "time")
    return received_utc_ms if time_ms is None else time_ms
