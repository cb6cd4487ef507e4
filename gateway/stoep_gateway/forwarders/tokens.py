"""The tokens of Basics Stations, from their files; apart from the driver and its large library."""

from __future__ import annotations

from collections.abc import Iterable

from stoep_gateway.config_model import GatewayConfig
from stoep_gateway.errors import FatalError
from stoep_gateway.forwarders.station_messages import token_of

__all__ = ["read_tokens"]


def read_tokens(gateways: Iterable[GatewayConfig]) -> dict[bytes, str]:
    """Return the ``Authorization`` headers that gateways have to send, by EUI.

    Raises ``FatalError`` for a file that cannot be read or holds none.
    """
    tokens = {}
    for gateway in gateways:
        if gateway.token_file is not None:
            try:
                token = token_of(gateway.token_file.read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                raise FatalError(f"token_file {gateway.token_file}: {error}") from error
            if not token:
                raise FatalError(f"token_file {gateway.token_file} is empty")
            tokens[gateway.eui] = token
    return tokens
