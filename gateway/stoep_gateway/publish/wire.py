"""How a message leaves: as JSON or CBOR, and with which properties of MQTT 5."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

import orjson
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from stoep_gateway.store.records import OutboxRow

__all__ = ["Wire"]


class Wire:
    """The form that a broker's messages have.

    With ``encoding`` "cbor" the kinds that are ours, those with a schema, are CBOR of the same
    values in its core deterministic form (RFC 8949, 4.2.1); what is published in another model
    stays as that model has it. Events expire at the broker, states do not.
    """

    def __init__(
        self, encoding: Literal["json", "cbor"] = "json", event_expiry_s: int | None = None
    ) -> None:
        self._cbor = _own_kinds() if encoding == "cbor" else frozenset()
        self._state = {False: _packed(None, "json"), True: _packed(None, "cbor")}
        self._event = {
            False: _packed(event_expiry_s, "json"),
            True: _packed(event_expiry_s, "cbor"),
        }

    def payload(self, kind: str, payload: bytes) -> bytes:
        """Return the octets to send of a message whose JSON is ``payload``."""
        return _to_cbor(payload) if payload and kind in self._cbor else payload

    def properties(self, row: OutboxRow) -> Properties:
        """Return the properties of its PUBLISH (MQTT 5.0, 3.3.2.3)."""
        return (self._state if row.retain else self._event)[row.kind in self._cbor]


class _Packed(Properties):
    """Properties that are written once, and not with every message."""

    def __init__(self, octets: bytes) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        object.__setattr__(self, "_octets", octets)

    def pack(self) -> bytes:
        octets: bytes = self.__dict__["_octets"]
        return octets


def _packed(expiry_s: int | None, encoding: str) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = f"application/{encoding}"
    properties.PayloadFormatIndicator = int(encoding == "json")  # 1: it is UTF-8
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    return _Packed(properties.pack())  # type: ignore[no-untyped-call]


def _own_kinds() -> frozenset[str]:
    schemas = files("stoep_gateway.publish") / "schemas"
    return frozenset(it.name.removesuffix(".json") for it in schemas.iterdir())


def _to_cbor(payload: bytes) -> bytes:
    import cbor2  # noqa: PLC0415 (few ask for it)

    return cbor2.dumps(orjson.loads(payload), canonical=True)
