"""A Basics Station for tests: its messages are PyPI pamoja's, its WebSocket is PyPI websockets'.

Certificates are made on the spot: ``Authority`` signs what a server and its clients need.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pamoja import gateway as pamoja
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["Authority", "Station"]

_DAY = datetime.timedelta(days=1)


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


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key)
        own = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(_pem(own.sign(self._key, hashes.SHA256())))

    def issue(self, common_name: str) -> tuple[Path, Path]:
        """Return the files of a certificate, for 127.0.0.1 too, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            self._builder(name, key)
            .add_extension(hosts, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        stem = common_name.replace(":", "_")
        files = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        files[0].write_bytes(_pem(certificate))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def client(self, common_name: str | None = None) -> ssl.SSLContext:
        """Return what a station trusts, and shows if ``common_name`` is given."""
        context = ssl.create_default_context(cafile=self.file)
        if common_name is not None:
            context.load_cert_chain(*self.issue(common_name))
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
