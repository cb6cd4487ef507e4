"""A packet forwarder and LoRaWAN devices reduced to bytes, to talk to a gateway over real UDP.

No simulator: a test says what is sent when. ``Forwarder`` speaks GWMP over two blocking sockets;
``TestDevice`` makes join-requests and uplinks with the shared codec.
"""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

from lorawan_keys import new_key
from stoep_protocol.lorawan import frames, network_frames
from stoep_protocol.lorawan.crypto import derive_session_keys
from stoep_protocol.messages import encode

__all__ = ["Device", "Forwarder", "rxpk"]

TIMEOUT_S = 10.0


def rxpk(phy_payload: bytes, tmst: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a reception as a forwarder reports it."""
    return {
        "jver": 1,
        "tmst": tmst,
        "chan": 0,
        "rfch": 0,
        "freq": 868.1,
        "stat": 1,
        "modu": "LORA",
        "datr": "SF7BW125",
        "codr": "4/5",
        "rssi": -80,
        "lsnr": 9.5,
        "size": len(phy_payload),
        "data": base64.b64encode(phy_payload).decode(),
    } | changes


class Forwarder:
    """One packet forwarder; ``received`` keeps nothing, every method waits for its answer."""

    def __init__(self, eui: bytes, port: int) -> None:
        self.eui = eui
        self.up = self._socket(port)
        self.down = self._socket(port)
        self.sent = 0
        self._token = 0

    def close(self) -> None:
        self.up.close()
        self.down.close()

    def send(self, kind: int, body: bytes = b"", token: bytes | None = None) -> bytes:
        """Send one datagram without waiting; return its token."""
        if token is None:
            self._token = (self._token + 1) & 0xFFFF
            token = self._token.to_bytes(2, "big")
        sock = self.up if kind == 0 else self.down
        sock.send(b"\x02" + token + bytes((kind,)) + self.eui + body)
        self.sent += 1
        return token

    def push(self, *receptions: dict[str, Any], stat: dict[str, Any] | None = None) -> None:
        """Send PUSH_DATA and wait for its PUSH_ACK."""
        body: dict[str, Any] = {"rxpk": list(receptions)} if receptions else {}
        if stat is not None:
            body["stat"] = stat
        token = self.send(0, json.dumps(body).encode())
        answer = self.up.recv(65535)
        assert answer == b"\x02" + token + b"\x01", answer

    def pull(self) -> None:
        """Send PULL_DATA and wait for its PULL_ACK."""
        token = self.send(2)
        answer = self.down.recv(65535)
        assert answer == b"\x02" + token + b"\x04", answer

    def take_downlink(self, error: str | None = "") -> dict[str, Any]:
        """Wait for a PULL_RESP; answer it with ``error`` (None: do not), return its txpk."""
        datagram = self.down.recv(65535)
        assert datagram[0] == 2
        assert datagram[3] == 3, datagram
        if error is not None:
            body = json.dumps({"txpk_ack": {"error": error}}).encode() if error else b""
            self.send(5, body, datagram[1:3])
        txpk: dict[str, Any] = json.loads(datagram[4:])["txpk"]
        return txpk

    def _socket(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(TIMEOUT_S)
        sock.connect(("127.0.0.1", port))
        return sock


class Device:
    """One end-device; after ``accept`` it can make uplinks."""

    def __init__(self, dev_eui: bytes, join_eui: bytes, app_key: bytes) -> None:
        self.dev_eui = dev_eui
        self.join_eui = join_eui
        self.app_key = new_key(app_key)
        self.dev_nonce = 0
        self.f_cnt_up = 0

    def join_request(self) -> bytes:
        """Return a join-request with the next DevNonce."""
        self.dev_nonce += 1
        return network_frames.encode_join_request(
            self.app_key, self.join_eui, self.dev_eui, self.dev_nonce
        )

    def accept(self, phy_payload: bytes) -> network_frames.JoinAccept:
        """Take a join-accept and begin its session."""
        accept = network_frames.decode_join_accept(phy_payload, self.app_key)
        nwk_s_key, app_s_key = derive_session_keys(
            self.app_key, accept.app_nonce, accept.net_id, self.dev_nonce
        )
        self.nwk_s_key, self.app_s_key = new_key(nwk_s_key), new_key(app_s_key)
        self.dev_addr = accept.dev_addr
        self.f_cnt_up = 0
        return accept

    def personalise(self, dev_addr: int, nwk_s_key: bytes, app_s_key: bytes) -> None:
        """Begin a session that needs no join (ABP)."""
        self.dev_addr = dev_addr
        self.nwk_s_key, self.app_s_key = new_key(nwk_s_key), new_key(app_s_key)
        self.f_cnt_up = 0

    def uplink(self, message: Any = None, *, confirmed: bool = False, **fields: Any) -> bytes:
        """Return the next uplink, with a message of the schema or fields of ``encode_data``."""
        if message is not None:
            fields["f_port"], fields["payload"] = encode(message)
        phy_payload = frames.encode_data(
            frames.CONFIRMED_UP if confirmed else frames.UNCONFIRMED_UP,
            self.dev_addr,
            self.f_cnt_up,
            self.nwk_s_key,
            self.app_s_key,
            **fields,
        )
        self.f_cnt_up += 1
        return phy_payload

    def downlink(self, phy_payload: bytes, f_cnt: int) -> frames.DataFrame:
        """Take a downlink and prove its MIC at this counter."""
        frame = frames.parse(phy_payload)
        assert isinstance(frame, frames.DataFrame)
        assert frame.dev_addr == self.dev_addr
        assert frames.verify(frame, self.nwk_s_key, f_cnt)
        return frame
