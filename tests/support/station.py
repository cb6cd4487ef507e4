"""A Basics Station for tests: its messages are PyPI pamoja's, its WebSocket is PyPI websockets'."""

from __future__ import annotations

import json
import ssl
from typing import Any

from pamoja import gateway as pamoja
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["Station"]


class Station:
    """One station; ``uri`` is what stands in its ``tc.uri``."""

    def __init__(
        self,
        eui: bytes,
        uri: str,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.eui = eui
        self._uri = uri
        self._headers = {} if token is None else {"Authorization": token}
        self._tls = tls
        self._session: ClientConnection | None = None
        self.config: dict[str, Any] = {}

    @property
    def session(self) -> ClientConnection:
        assert self._session is not None
        return self._session

    async def discover(self) -> Any:
        """Ask where to go; return pamoja's reading of the answer, after the connection's end."""
        async with self._connect(f"{self._uri}/router-info") as socket:
            await socket.send(pamoja.station_discovery(self.eui.hex()))
            answer = pamoja.station_router_parse(await _text(socket))
            await socket.wait_closed()
            return answer

    async def start(self) -> None:
        """Discover, open the session and take the configuration."""
        self._session = await self._connect((await self.discover()).uri)
        hello = pamoja.StationMessage("version", station="2.0.6(test)", protocol=2)
        await self.session.send(pamoja.station_encode(hello))
        text = await _text(self.session)
        assert pamoja.station_parse(text).msgtype == "router_config"
        self.config = json.loads(text)

    async def uplink(self, phy_payload: bytes, *, xtime: int, dr: int = 5) -> None:
        levels = pamoja.StationLevels(rctx=0, xtime=xtime, rssi=-100.0, snr=5.0)
        heard = pamoja.station_heard(phy_payload, dr, 868_100_000, levels)
        await self.session.send(pamoja.station_encode(heard))

    async def take_downlink(self) -> Any:
        """Return the next order as pamoja reads it."""
        message = pamoja.station_parse(await _text(self.session))
        assert message.msgtype == "dnmsg"
        return message

    async def transmitted(self, order: Any, window: Any) -> None:
        """Say that an order was sent in a window of it."""
        # pamoja leaves frequency and data rate out.
        await self.session.send(
            json.dumps(
                {
                    "msgtype": "dntxed",
                    "diid": order.diid,
                    "DevEui": order.dev_eui,
                    "DR": window.data_rate,
                    "Freq": window.frequency_hz,
                    "xtime": order.xtime,
                }
            )
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _connect(self, uri: str) -> connect:
        return connect(
            uri, ssl=self._tls, additional_headers=self._headers, compression=None, proxy=None
        )


async def _text(socket: ClientConnection) -> str:
    text = await socket.recv()
    assert isinstance(text, str)
    return text
