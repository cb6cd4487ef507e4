"""FRMPayload to message. Pure; the one place of the gateway that reads payload bytes."""

from __future__ import annotations

from stoep_protocol import messages
from stoep_protocol.calibration import Calibrated
from stoep_protocol.errors import F_PORT, DecodeError

__all__ = ["Uplink", "decode"]

Uplink = (
    messages.BinReport
    | messages.BayReport
    | messages.Status
    | messages.ConfigurationAck
    | Calibrated
)


def decode(f_port: int, data: bytes) -> Uplink:
    """Decode what a device sent on ``f_port``.

    Raises `DecodeError` with a code fit for counting; a configuration is a downlink only and is
    refused like an unknown port.
    """
    message = messages.decode(f_port, data)
    if isinstance(message, Uplink):
        return message
    raise DecodeError(F_PORT, "a downlink's message")
