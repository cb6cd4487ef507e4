"""Devices and a packet forwarder without air: real LoRaWAN frames in real GWMP datagrams over UDP.

For tests of the gateway's process, in real time. Everything that was ever sent is kept, so that it
can be sent again. Nothing here shares code with the simulator; the frame codec is the protocol's.
"""

from __future__ import annotations

import base64
import json
import random
import select
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from lorawan_keys import new_key
from stoep_protocol import messages
from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import frames, network_frames
from stoep_protocol.lorawan.crypto import Key, derive_session_keys
from waiting import PATIENCE_S

__all__ = ["BAY", "CONTAINER", "Device", "Forwarder", "Uplink"]

CONTAINER, BAY = "container", "bay"
CHANNELS_HZ = {
    "EU868": (868_100_000, 868_300_000, 868_500_000),
    "US915": (904_100_000, 904_300_000, 904_500_000),
}
APART_S = 0.15  # a gateway sends one downlink at a time: 72 ms a join-accept, 43 ms between
REPEAT_AFTER_S = 8.0  # the latest window opens 6 s after its uplink
PUSHES_PER_S = 400  # the gateway refuses more than 500 datagrams a second; a concentrator hears 219
MAX_AHEAD = 5  # datagrams not acknowledged: an unprivileged socket buffers 200 kB

PUSH_DATA, PUSH_ACK, PULL_DATA, PULL_RESP, PULL_ACK, TX_ACK = range(6)


@dataclass(frozen=True, slots=True)
class Uplink:
    """A frame that a device sent; ``f_cnt`` is None for a join-request, ``dev_nonce`` else."""

    device: Device
    phy_payload: bytes
    dev_nonce: int | None
    app_nonce: int | None
    f_cnt: int | None
    confirmed: bool = False


class Device:
    """A device that reports an invented container or bay, and never repeats a nonce.

    As a Class A device does, it knows which of its frames a downlink answers by when it comes. What
    is confirmed it acknowledges with its next report. One of Class C hears at any time.
    """

    def __init__(self, number: int, kind: str) -> None:
        chance = random.Random(number)
        self.number = number
        self.kind = kind
        self.dev_eui = (0x70B3D57ED0000000 + number).to_bytes(8, "big")
        self.join_eui = bytes(8)
        self.app_key = chance.randbytes(16)
        self._key = new_key(self.app_key)
        self._nonce = chance.randrange(0x8000)
        self._reports = chance.randrange(100)
        self._chance = chance
        self.f_cnt = 0
        self._session_keys = (self._key, self._key)
        self._app_s_keys: dict[int, Key] = {}  # of all its sessions, by DevAddr
        self._last_f_cnt_down = -1
        self._owes_ack = False
        self.dev_addr: int | None = None
        self.app_nonce: int | None = None
        self.nwk_s_key = b""
        self.acknowledged: list[Uplink] = []
        self.awaits: Uplink | None = None  # the join-request or confirmed uplink sent last

    @property
    def joined(self) -> bool:
        """Whether it has a session."""
        return self.dev_addr is not None

    def personalise(self, dev_addr: int, nwk_s_key: bytes, app_s_key: bytes) -> None:
        """Begin a session without a join (ABP)."""
        self._begin(dev_addr, None, nwk_s_key, app_s_key)

    def leave(self) -> None:
        """Forget the session."""
        self.dev_addr = self.app_nonce = None

    def join_request(self) -> Uplink:
        """Ask to join, with a new nonce."""
        self._nonce += 1
        phy_payload = network_frames.encode_join_request(
            self._key, self.join_eui, self.dev_eui, self._nonce
        )
        self.awaits = Uplink(self, phy_payload, self._nonce, None, None)
        return self.awaits

    def report(self, *, confirmed: bool = False) -> Uplink:
        """Send the next report."""
        assert self.dev_addr is not None
        self._reports += 1
        f_port, payload = messages.encode(self._message())
        phy_payload = frames.encode_data(
            frames.CONFIRMED_UP if confirmed else frames.UNCONFIRMED_UP,
            self.dev_addr,
            self.f_cnt,
            *self._session_keys,
            ack=self._owes_ack,
            f_port=f_port,
            payload=payload,
        )
        self._owes_ack = False
        uplink = Uplink(self, phy_payload, None, self.app_nonce, self.f_cnt, confirmed)
        self.f_cnt += 1
        if confirmed:
            self.awaits = uplink
        return uplink

    def _message(self) -> messages.Message:
        if self.kind == CONTAINER:
            return messages.BinReport(
                self._reports & 0xFFFF, self._chance.randrange(300, 1500), quality=4, flags=0
            )
        return messages.BayReport(self._reports & 1, self._reports % 16_384)

    def hear(self, phy_payload: bytes, answered: Uplink | None) -> bool:
        """Take a downlink in a window of ``answered`` or, of Class C, at any time.

        Returns whether it was understood and new.
        """
        if self.awaits is answered:
            self.awaits = None
        frame = frames.parse(phy_payload)
        if isinstance(frame, frames.EncryptedJoinAccept):
            is_mine = answered is not None and answered.dev_nonce == self._nonce
            return is_mine and self._accept(phy_payload)
        if not isinstance(frame, frames.DataFrame) or frame.dev_addr != self.dev_addr:
            return False
        f_cnt = frames.full_f_cnt(self._last_f_cnt_down + 1, frame.f_cnt)
        if f_cnt <= self._last_f_cnt_down or not frames.verify(frame, self._session_keys[0], f_cnt):
            return False
        self._last_f_cnt_down = f_cnt
        self._owes_ack |= frame.confirmed
        if frame.ack and answered is not None:
            self.acknowledged.append(answered)
        return True

    def payload_of(self, frame: frames.DataFrame) -> bytes | None:
        """Return the plain payload of a downlink on any session it ever had, None without one."""
        app_s_key = self._app_s_keys.get(frame.dev_addr)
        if app_s_key is None or not frame.f_port:
            return None
        return frames.decrypt_payload(frame, app_s_key, frame.f_cnt)

    def _accept(self, phy_payload: bytes) -> bool:
        try:
            accept = network_frames.decode_join_accept(phy_payload, self._key)
        except DecodeError:
            return False
        keys = derive_session_keys(self._key, accept.app_nonce, accept.net_id, self._nonce)
        self._begin(accept.dev_addr, accept.app_nonce, *keys)
        return True

    def _begin(
        self, dev_addr: int, app_nonce: int | None, nwk_s_key: bytes, app_s_key: bytes
    ) -> None:
        self.dev_addr, self.app_nonce = dev_addr, app_nonce
        self._session_keys = new_key(nwk_s_key), new_key(app_s_key)
        self._app_s_keys[dev_addr] = self._session_keys[1]
        self.nwk_s_key = nwk_s_key
        self.f_cnt, self._last_f_cnt_down = 0, -1
        self._owes_ack = False


class Forwarder:
    """A packet forwarder's two sockets; takes every PULL_RESP and hands it to its device."""

    def __init__(
        self, eui: bytes, devices: Iterable[Device] = (), *, region: str = "EU868"
    ) -> None:
        self.eui = eui
        self._channels_hz = CHANNELS_HZ[region]
        self.devices = list(devices)
        self.sent: list[Uplink] = []
        self.datagrams = 0
        self.pushes = 0
        self.push_acks = 0
        self.pull_acks = 0
        self.downlinks: list[bytes] = []
        self.accepts: list[tuple[Uplink, bytes]] = []  # join-accepts and what they answered
        self.heard: dict[int, Uplink] = {}  # by the concentrator's counter at its end
        self.unheard = 0  # downlinks that did not mean anything to their device
        self._token = 0
        self._channel = 0
        # Counted from here, so that the 32 bits of a concentrator do not wrap within a test.
        self._begun_us = time.monotonic_ns() // 1000
        self._tmst_us = 0
        self._next_push_at = 0.0
        self._gateway: tuple[str, int] | None = None
        self._up, self._down = _loopback(), _loopback()
        self._poll = select.poll()
        self._poll.register(self._up, select.POLLIN)
        self._poll.register(self._down, select.POLLIN)

    def attach(self, port: int) -> None:
        """Send to this port from now on, and ask for downlinks there."""
        self._gateway = ("127.0.0.1", port)
        self.pushes = self.push_acks = 0
        self.catch_up()

    def pull(self) -> None:
        """Send PULL_DATA."""
        self._send(self._down, PULL_DATA, b"")

    def push(self, uplinks: Iterable[Uplink]) -> None:
        """Send frames in one PUSH_DATA, heard for the first time or again."""
        receptions = []
        for uplink in uplinks:
            receptions.append(self.rxpk(uplink.phy_payload))
            self.heard[self._tmst_us] = uplink
        self.push_json({"rxpk": receptions})

    def push_new(self, uplink: Uplink) -> Uplink:
        """Send a frame and remember it."""
        self.sent.append(uplink)
        self.push([uplink])
        return uplink

    def push_json(self, body: object) -> None:
        """Send PUSH_DATA with this body, no sooner than a busy concentrator would."""
        self._next_push_at = max(self._next_push_at + 1 / PUSHES_PER_S, time.monotonic())
        self.listen(self._next_push_at - time.monotonic())
        self.pushes += 1
        self._send(self._up, PUSH_DATA, json.dumps(body).encode())

    def push_raw(self, datagram: bytes) -> None:
        """Send any octets."""
        assert self._gateway is not None
        self.datagrams += 1
        self._up.sendto(datagram, self._gateway)

    def wait_for_acks(self) -> None:
        """Wait until the gateway has taken in all that was pushed since it was attached."""
        self.wait(lambda: self.push_acks >= self.pushes, "PUSH_ACK")

    def listen(self, for_s: float) -> None:
        """Take what comes during the next ``for_s`` seconds; 0: what is there already."""
        until = time.monotonic() + for_s
        while self._take(max(0.0, until - time.monotonic())) or time.monotonic() < until:
            pass

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Take what comes until ``condition()`` is true.

        Devices that wait for an answer ask again, as they do when their windows stayed empty: a
        gateway that was held up for seconds has missed them.
        """
        now = time.monotonic()
        deadline, repeat_at = now + PATIENCE_S, now + REPEAT_AFTER_S
        while not condition():
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(f"after {PATIENCE_S:.0f} s still not: {what}")
            if now > repeat_at:
                repeat_at = now + REPEAT_AFTER_S
                self._repeat()
            self._take(0.02)

    def _repeat(self) -> None:
        for device in self.devices:
            if device.awaits is not None and device.awaits.dev_nonce is not None:
                self.push_new(device.join_request())
                self.listen(APART_S)
            elif device.awaits is not None and device.awaits.f_cnt == device.f_cnt - 1:
                self.push([device.awaits])
                self.listen(APART_S)
            elif device.awaits is not None:  # too late for that one
                self.push_new(device.report(confirmed=True))
                self.listen(APART_S)

    def ease(self) -> None:
        """Let a gateway that is alive catch up, before its socket's buffer is full."""
        until = time.monotonic() + 0.2
        while self.pushes - self.push_acks > MAX_AHEAD and time.monotonic() < until:
            self._take(0.01)

    def catch_up(self) -> None:
        """Wait until the gateway has read everything that was sent to it."""
        before = self.pull_acks
        self.pull()
        self.wait(lambda: self.pull_acks > before, "PULL_ACK")

    def join(self, devices: Iterable[Device]) -> None:
        """Have devices join that have not."""
        waiting = [device for device in devices if not device.joined]
        for device in waiting:
            self.push_new(device.join_request())
            self.listen(APART_S)
        self.wait(lambda: all(device.joined for device in waiting), "joined")

    def close(self) -> None:
        """Close both sockets."""
        self._up.close()
        self._down.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def rxpk(self, phy_payload: bytes) -> dict[str, Any]:
        """Return a reception as the reference forwarder reports it."""
        self._channel = (self._channel + 1) % len(self._channels_hz)
        self._tmst_us = max(self._tmst_us + 1, time.monotonic_ns() // 1000 - self._begun_us)
        return {
            "jver": 1,
            "tmst": self._tmst_us,
            "chan": self._channel,
            "rfch": 1,
            "freq": self._channels_hz[self._channel] / 1e6,
            "mid": 0,
            "stat": 1,
            "modu": "LORA",
            "datr": "SF7BW125",
            "codr": "4/5",
            "rssi": -71,
            "lsnr": 9.5,
            "size": len(phy_payload),
            "data": base64.b64encode(phy_payload).decode(),
        }

    def _send(self, sock: socket.socket, kind: int, body: bytes) -> None:
        assert self._gateway is not None
        self._token = (self._token + 1) & 0xFFFF
        token = self._token.to_bytes(2, "big")
        self.datagrams += 1
        sock.sendto(b"\x02" + token + bytes((kind,)) + self.eui + body, self._gateway)

    def _take(self, patience_s: float) -> bool:
        readable = self._poll.poll(patience_s * 1000)
        for fd, _event in readable:
            sock = self._up if fd == self._up.fileno() else self._down
            try:
                data = sock.recv(65_535)
            except (BlockingIOError, ConnectionRefusedError):
                continue
            self._answer(data)
        return bool(readable)

    def _answer(self, data: bytes) -> None:
        kind = data[3]
        if kind == PUSH_ACK:
            self.push_acks += 1
        elif kind == PULL_ACK:
            self.pull_acks += 1
        elif kind == PULL_RESP:
            assert self._gateway is not None
            self._down.sendto(data[:3] + bytes((TX_ACK,)) + self.eui, self._gateway)
            phy_payload, uplink = self.answered(data)
            self.downlinks.append(phy_payload)
            if uplink is not None:
                self.unheard += not uplink.device.hear(phy_payload, uplink)
                if phy_payload[0] >> 5 == frames.JOIN_ACCEPT:
                    self.accepts.append((uplink, phy_payload))
                return
            frame = frames.parse(phy_payload)
            assert isinstance(frame, frames.DataFrame)
            for device in self.devices:
                if device.dev_addr == frame.dev_addr:
                    self.unheard += not device.hear(phy_payload, None)

    def answered(self, pull_resp: bytes) -> tuple[bytes, Uplink | None]:
        """Return the PHYPayload of a PULL_RESP, and the uplink in whose windows it is sent.

        None: it is sent at once, or answers what was not pushed as a device's frame.
        """
        txpk = json.loads(pull_resp[4:])["txpk"]
        phy_payload = base64.b64decode(txpk["data"])
        if txpk.get("imme"):
            return phy_payload, None
        delay_s = 5 if phy_payload[0] >> 5 == frames.JOIN_ACCEPT else 1
        end_us = txpk["tmst"] - delay_s * 1_000_000
        return phy_payload, self.heard.get(end_us) or self.heard.get(end_us - 1_000_000)  # RX1, RX2


def _loopback() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    return sock
