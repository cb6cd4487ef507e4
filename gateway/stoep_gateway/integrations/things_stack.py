"""The Things Stack v3's MQTT server. Pure.

Messages are those of "Data Formats" in The Things Stack's documentation, the topics those of "MQTT
Server". It has MQTT 3.1.1 and QoS 0 only: what comes while we are away is lost, and told by the
gap in the frame counter.
"""

from __future__ import annotations

import base64
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

__all__ = ["TheThingsStack"]

# Topic, the member that the message has then, and what it means.
_EVENTS: dict[str, tuple[str, EventKind]] = {
    "join": ("join_accept", "join"),
    "down/sent": ("downlink_sent", "sent"),
    "down/ack": ("downlink_ack", "acknowledged"),
    "down/nack": ("downlink_nack", "unacknowledged"),
    "down/failed": ("downlink_failed", "refused"),
}
_TOPIC = re.compile(r"v3/[^/]+/devices/([a-z0-9-]{2,36})/([a-z/]+)")
_CORRELATION = "stoep:"


class TheThingsStack:
    """One application, as ``app@tenant``, or ``app`` on the Open Source edition."""

    qos: Literal[0] = 0

    def __init__(self, source_id: str, application: str, site: str) -> None:
        self._source_id = source_id
        self._root = f"v3/{application}/devices"
        self._tags = Tags(site, source_id)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """One filter per kind of event."""
        return tuple(f"{self._root}/+/{event}" for event in ("up", *_EVENTS))

    def read(
        self, topic: str, payload: bytes, received_utc_ms: int
    ) -> SourceUplink | SourceEvent | Rejected:
        """Return what a message says.

        Rejected: ``source_topic``, ``source_too_large``, ``source_malformed``, ``source_encrypted``
        for payloads that the server does not decrypt, ``source_simulated`` for an uplink that
        somebody made up in the console.
        """
        match = _TOPIC.fullmatch(topic)
        if match is None or (match[2] != "up" and match[2] not in _EVENTS):
            return Rejected("source_topic", f"{self._source_id}: {topic[:128]}")
        try:
            message = fields.parse(payload)
            ids = fields.members(message, "end_device_ids")
            if fields.text(ids, "device_id") != match[1]:
                raise malformed("device_id is not that of the topic")
            if match[2] == "up":
                return self._uplink(message, ids, received_utc_ms)
            return self._event(message, ids, match[2], received_utc_ms)
        except RemoteProtocolError as error:
            return Rejected(error.reason, f"{self._source_id}: {match[1]} {match[2]}: {error}")

    def command(self, downlink: SourceDownlink) -> tuple[str, bytes]:
        """Return the message that puts a downlink at the end of the device's queue.

        A device whose name is not known has the one that the console gives by default.
        """
        device_id = downlink.device_id or f"eui-{downlink.dev_eui.hex()}"
        message = {
            "f_port": downlink.f_port,
            "frm_payload": base64.b64encode(downlink.frm_payload).decode(),
            "confirmed": downlink.confirmed,
            "priority": "NORMAL",
            "correlation_ids": [_CORRELATION + self._tags.tag(downlink.downlink_id)],
        }
        return f"{self._root}/{device_id}/down/push", json.dumps({"downlinks": [message]}).encode()

    def _uplink(self, message: Members, ids: Members, received_utc_ms: int) -> SourceUplink:
        uplink = fields.members(message, "uplink_message")
        dev_eui = fields.eui(ids, "dev_eui")
        if not uplink or dev_eui is None:
            raise malformed("uplink_message or dev_eui is missing")
        if fields.flag(message, "simulated"):
            raise RemoteProtocolError("source_simulated", "made up in the console")
        if uplink.get("app_s_key") is not None:
            raise RemoteProtocolError("source_encrypted", "skip_payload_crypto is set")
        settings = fields.members(uplink, "settings")
        lora = fields.members(fields.members(settings, "data_rate"), "lora")
        session = _session(uplink, ids)
        f_cnt_up = fields.whole(uplink, "f_cnt", 0, 0xFFFFFFFF)
        heard_utc_ms = _heard_utc_ms((uplink, message), received_utc_ms)
        receptions = [
            Reception(
                fields.text(fields.members(metadata, "gateway_ids"), "gateway_id"),
                fields.number(metadata, "rssi"),
                fields.number(metadata, "snr"),
            )
            for metadata in fields.objects(uplink, "rx_metadata")
        ]
        return SourceUplink(
            source_id=self._source_id,
            dev_eui=dev_eui,
            event_key=f"{session}-{f_cnt_up}-{heard_utc_ms}",
            session=session,
            f_cnt_up=f_cnt_up,
            f_port=fields.whole(uplink, "f_port", 0, 255) or None,
            frm_payload=fields.octets(uplink, "frm_payload"),
            confirmed=fields.flag(uplink, "confirmed"),
            dr=None,
            sf=fields.whole(lora, "spreading_factor", 0, 12),
            bw_hz=fields.whole(lora, "bandwidth", 0, 2_000_000),
            freq_hz=fields.whole(settings, "frequency", 0, 3_000_000_000),
            receptions=tuple(sorted(receptions, key=lambda one: -one.snr_db)),
            heard_utc_ms=heard_utc_ms,
            received_utc_ms=min(heard_utc_ms, received_utc_ms),
            device_id=fields.text(ids, "device_id"),
        )

    def _event(
        self, message: Members, ids: Members, name: str, received_utc_ms: int
    ) -> SourceEvent:
        member, kind = _EVENTS[name]
        event = fields.members(message, member)
        detail = ""
        if kind == "refused":
            error = fields.members(event, "error")
            detail = fields.text(error, "message_format") or fields.text(error, "name")
            event = fields.members(event, "downlink")
        session = _session(event, ids)
        heard_utc_ms = _heard_utc_ms((event, message), received_utc_ms)
        return SourceEvent(
            source_id=self._source_id,
            kind=kind,
            dev_eui=fields.eui(ids, "dev_eui") or b"",
            event_key=f"{session}-{name}-{heard_utc_ms}",
            session=session,
            heard_utc_ms=heard_utc_ms,
            received_utc_ms=min(heard_utc_ms, received_utc_ms),
            device_id=fields.text(ids, "device_id"),
            downlink_id=self._downlink_id(event, message),
            detail=detail,
        )

    def _downlink_id(self, *owners: Members) -> int | None:
        for owner in owners:
            names = owner.get("correlation_ids")
            for name in names if isinstance(names, list) else ():
                if isinstance(name, str) and name.startswith(_CORRELATION):
                    return self._tags.downlink_id(name.removeprefix(_CORRELATION))
        return None


def _session(owner: Members, ids: Members) -> str:
    """Return the session key's id; a personalised device has none, and keeps its DevAddr."""
    return fields.text(owner, "session_key_id") or fields.text(ids, "dev_addr").lower()


def _heard_utc_ms(owners: tuple[Members, ...], received_utc_ms: int) -> int:
    for owner in owners:
        time_ms = fields.utc_ms(owner, "received_at")
        if time_ms is not None:
            return time_ms
    return received_utc_ms
