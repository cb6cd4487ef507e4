"""A kerbside gateway's radio side: an SX1302-like concentrator and its packet forwarder.

Behaves as Semtech's `lora_pkt_fwd` 2.1.0 does, mistakes included: what it refuses, with which
word, and what it lets pass. It speaks GWMP version 2 as a client; datagrams are handed to `send`
and come in through `on_upstream` and `on_downstream`, so nothing here knows sockets.

    frame ends ─► receive buffer ─► fetch every 10 ms ─► PUSH_DATA ─► PUSH_ACK, or 100 ms
    PULL_DATA every 10 s ─► PULL_ACK       PULL_RESP ─► queue or refuse ─► TX_ACK
    queue ─► 40 ms ahead ─► programmed ─► on the air at `tmst`
"""

import base64
import binascii
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from .air import SYNC_WORD_PUBLIC, Air, Frame, Listen, noise_floor_dbm
from .channels import EU868, GatewayChannels
from .engine import US_PER_MS, US_PER_S, Engine, Handle
from .tx_queue import JIT_US, WRAP, Downlink, TxQueue

PUSH_DATA, PUSH_ACK, PULL_DATA, PULL_RESP, PULL_ACK, TX_ACK = range(6)
_VERSION = 2

_TX_CHAIN = 0
_TX_POWERS_DBM = tuple(range(12, 28))
_DEMODULATORS = 16

_FETCH_US = 10 * US_PER_MS
_PUSH_TIMEOUT_US = 100 * US_PER_MS
_KEEPALIVE_US = 10 * US_PER_S
_STAT_US = 30 * US_PER_S
_RX_BUFFER = 4096
_RX_METADATA = 23  # octets beside each payload in the receive buffer

_CODING_RATES = {"4/5": 5, "4/6": 6, "2/3": 6, "4/7": 7, "4/8": 8, "2/4": 8, "1/2": 8}


class Forwarder:
    """One gateway on the air, and its protocol towards the server.

    `send(upstream, datagram)` takes what is to leave, from the upstream or the downstream socket.
    """

    def __init__(
        self,
        engine: Engine,
        air: Air,
        eui: bytes,
        position_m: tuple[float, float],
        send: Callable[[bool, bytes], None],
        *,
        utc_start_ms: int = 0,
        location: tuple[float, float, int] | None = None,
        counter_start_us: int | None = None,
        antenna_gain_db: int = 0,
        channels: GatewayChannels = EU868,
    ) -> None:
        """Put a gateway on the air; `start` switches it on.

        `location` is latitude, longitude and altitude as the status report tells them.
        `counter_start_us` is the concentrator's counter at simulated time 0, by default drawn.
        """
        if len(eui) != 8:
            raise ValueError(f"an EUI has 8 octets, not {len(eui)}")
        self.eui = eui
        self._engine = engine
        self._air = air
        self._position_m = position_m
        self._send = send
        self._utc_start_ms = utc_start_ms
        self._location = location
        self._antenna_gain_db = antenna_gain_db
        self._channels = channels
        self._random = engine.random(f"forwarder/{eui.hex()}")
        drawn = self._random.randrange(WRAP)
        self._counter_start_us = drawn if counter_start_us is None else counter_start_us
        listens = [
            Listen(freq_hz, sf, 125_000, SYNC_WORD_PUBLIC, iq_inverted=False)
            for freq_hz, _ in channels.narrow
            for sf in range(7, 13)
        ]
        if channels.wide is not None:
            wide_hz, _, sf, bw_hz = channels.wide
            listens.append(Listen(wide_hz, sf, bw_hz, SYNC_WORD_PUBLIC, iq_inverted=False))
        self._listens = tuple(listens)
        self._is_on = False
        self._rx_buffer: list[tuple[int, dict[str, object] | None]] = []
        self._rx_buffered = 0
        self._fetch: Handle | None = None
        self._push_token: bytes | None = None
        self._push_timeout: Handle | None = None
        self._pull_token = b""
        self._stat_due = False
        self._timers: list[Handle] = []
        self.queue = TxQueue()
        self._programmed: tuple[Downlink, Handle] | None = None
        self._emitting_until_us = 0
        # Ever, and since the last status report.
        self.counts: Counter[str] = Counter()
        self._interval: Counter[str] = Counter()
        air.add(self, demodulators=_DEMODULATORS)

    @property
    def position_m(self) -> tuple[float, float]:
        """Where the antenna is."""
        return self._position_m

    def start(self) -> None:
        """Switch on: listen, ask for downlinks, report the state every half minute."""
        if self._is_on:
            return
        self._is_on = True
        self._air.listen(self, self._listens)
        self._pull()
        self._timers.append(self._engine.after(_STAT_US, self._stat))

    def stop(self) -> None:
        """Switch off, as by a power cut: what is queued, buffered or on the air is gone.

        The concentrator's counter begins anew.
        """
        self._is_on = False
        self._air.stop(self)
        self._air.cut_off(self)
        self._emitting_until_us = 0
        self._counter_start_us = -self._engine.now_us
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
        for pending in (self._fetch, self._push_timeout):
            if pending is not None:
                pending.cancel()
        self._fetch = self._push_timeout = None
        self._push_token = None
        self._stat_due = False
        self._rx_buffer.clear()
        self._rx_buffered = 0
        self.queue.downlinks.clear()
        if self._programmed is not None:
            self._programmed[1].cancel()
            self._programmed = None

    def count_us(self, t_us: int) -> int:
        """Return the concentrator's 32-bit counter at a simulated time."""
        return (self._counter_start_us + t_us) % WRAP

    # What the air brings.

    def on_preamble(self, frame: Frame, t_us: int) -> None:
        """A demodulator has locked on a frame; the air reckons with their number."""

    def on_frame(
        self, frame: Frame, intact: bool, rssi_dbm: float, snr_db: float, t_us: int
    ) -> None:
        """Take a frame into the receive buffer; only an intact one with a CRC is passed on."""
        size = len(frame.payload) + _RX_METADATA
        if self._rx_buffered + size > _RX_BUFFER:
            self._count("rx_lost")
            return
        self._rx_buffered += size
        self._count("rx_received")
        received: dict[str, object] | None = None
        if not frame.crc_on:
            self._count("rx_no_crc")
        elif not intact:
            self._count("rx_bad")
        else:
            self._count("rx_ok")
            received = self._rxpk(frame, rssi_dbm, snr_db, t_us)
        self._rx_buffer.append((size, received))
        self._fetch_soon()

    def _rxpk(self, frame: Frame, rssi_dbm: float, snr_db: float, t_us: int) -> dict[str, object]:
        narrow, wide = self._channels.narrow, self._channels.wide
        if wide is not None and frame.bw_hz == wide[3]:
            channel, (freq_hz, chain) = len(narrow), wide[:2]
        else:
            channel = min(
                range(len(narrow)), key=lambda index: abs(narrow[index][0] - frame.freq_hz)
            )
            freq_hz, chain = narrow[channel]
        channel_mw = 10 ** (rssi_dbm / 10) + 10 ** (noise_floor_dbm(frame.bw_hz) / 10)
        return {
            "jver": 1,
            "tmst": self.count_us(t_us),
            "chan": channel,
            "rfch": chain,
            "freq": freq_hz / 1e6,
            "mid": channel,
            "stat": 1,
            "modu": "LORA",
            "datr": f"SF{frame.sf}BW{frame.bw_hz // 1000}",
            "codr": f"4/{frame.coding_rate}",
            "rssis": round(rssi_dbm),
            "lsnr": round(snr_db, 1),
            "foff": round(self._random.gauss(0, 400)),
            "rssi": round(10 * math.log10(channel_mw)),
            "size": len(frame.payload),
            "data": base64.b64encode(frame.payload).decode(),
        }

    # Upstream.

    def _fetch_soon(self) -> None:
        """Fetch at the next turn of the polling loop, unless that waits for a PUSH_ACK."""
        if self._is_on and self._fetch is None and self._push_token is None:
            turn_us = -(-(self._engine.now_us + 1) // _FETCH_US) * _FETCH_US
            self._fetch = self._engine.at(turn_us, self._push)

    def _push(self) -> None:
        self._fetch = None
        receptions = [received for _, received in self._rx_buffer if received is not None]
        self._rx_buffer.clear()
        self._rx_buffered = 0
        body: dict[str, object] = {}
        if receptions:
            body["rxpk"] = receptions
            self._count("forwarded", len(receptions))
        if self._stat_due:
            self._stat_due = False
            body["stat"] = self._report()
        if not body:
            return
        self._push_token = self._random.randbytes(2)
        self._count("push_sent")
        text = json.dumps(body, separators=(",", ":")).encode()
        self._push_timeout = self._engine.after(_PUSH_TIMEOUT_US, self._push_ended)
        self._send(True, _datagram(self._push_token, PUSH_DATA, self.eui + text))

    def _push_ended(self) -> None:
        if self._push_timeout is not None:
            self._push_timeout.cancel()
        self._push_timeout = None
        self._push_token = None
        if self._rx_buffer or self._stat_due:
            self._fetch_soon()

    def _stat(self) -> None:
        self._timers = [handle for handle in self._timers if handle.is_due]
        self._timers.append(self._engine.after(_STAT_US, self._stat))
        self._stat_due = True
        self._fetch_soon()

    def _report(self) -> dict[str, object]:
        interval, self._interval = self._interval, Counter()
        now = datetime.fromtimestamp(
            (self._utc_start_ms + self._engine.now_us // US_PER_MS) / 1000, UTC
        )
        report: dict[str, object] = {"time": now.strftime("%Y-%m-%d %H:%M:%S GMT")}
        if self._location is not None:
            report["lati"] = round(self._location[0], 5)
            report["long"] = round(self._location[1], 5)
            report["alti"] = self._location[2]
        pushed = interval["push_sent"]
        report |= {
            "rxnb": interval["rx_received"],
            "rxok": interval["rx_ok"],
            "rxfw": interval["forwarded"],
            "ackr": round(100.0 * interval["push_acknowledged"] / pushed, 1) if pushed else 0.0,
            "dwnb": interval["pull_resp"],
            "txnb": interval["tx_ok"],
            "temp": 30.0,
        }
        return report

    def on_upstream(self, datagram: bytes) -> None:
        """Take a datagram that came to the upstream socket; only the awaited PUSH_ACK counts."""
        if (
            len(datagram) >= 4
            and datagram[0] == _VERSION
            and datagram[3] == PUSH_ACK
            and datagram[1:3] == self._push_token
        ):
            self._count("push_acknowledged")
            self._push_ended()

    # Downstream.

    def _pull(self) -> None:
        self._timers = [handle for handle in self._timers if handle.is_due]
        self._timers.append(self._engine.after(_KEEPALIVE_US, self._pull))
        self._pull_token = self._random.randbytes(2)
        self._count("pull_sent")
        self._send(False, _datagram(self._pull_token, PULL_DATA, self.eui))

    def on_downstream(self, datagram: bytes) -> None:
        """Take a datagram that came to the downstream socket; what is no GWMP is ignored."""
        if not self._is_on or len(datagram) < 4 or datagram[0] != _VERSION:
            return
        if datagram[3] == PULL_ACK:
            if datagram[1:3] == self._pull_token:
                self._count("pull_acknowledged")
        elif datagram[3] == PULL_RESP:
            self._count("pull_resp")
            self._on_pull_resp(datagram[1:3], datagram[4:])

    def _on_pull_resp(self, token: bytes, body: bytes) -> None:
        try:
            txpk = json.loads(body)["txpk"]
            if not txpk.get("imme") and "tmst" not in txpk and "tmms" in txpk:
                self._acknowledge(token, {"error": "GPS_UNLOCKED"})  # it has no GPS
                return
            downlink = self._downlink(txpk)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            # The reference gives up on such a request without a TX_ACK.
            self._count("pull_resp_unreadable")
            return
        if not self._channels.tx_min_hz <= downlink.freq_hz <= self._channels.tx_max_hz:
            self._acknowledge(token, {"error": "TX_FREQ"})
            return
        asked_dbm = downlink.power_dbm
        downlink.power_dbm = max(
            (power for power in _TX_POWERS_DBM if power <= asked_dbm), default=_TX_POWERS_DBM[0]
        )
        error = self.queue.enqueue(
            downlink, self.count_us(self._engine.now_us), immediate=bool(txpk.get("imme"))
        )
        if error:
            self._acknowledge(token, {"error": error})
            return
        if downlink.power_dbm != asked_dbm:
            self._acknowledge(token, {"warn": "TX_POWER", "value": downlink.power_dbm})
        else:
            self._acknowledge(token, None)
        lead_us = (downlink.count_us - self.count_us(self._engine.now_us)) % WRAP
        self._timers.append(self._engine.after(lead_us - JIT_US, lambda: self._program(downlink)))

    def _downlink(self, txpk: dict[str, Any]) -> Downlink:
        """Read a request; raises KeyError, TypeError or ValueError where the reference gives up."""
        if txpk["modu"] != "LORA" or txpk["rfch"] != _TX_CHAIN:
            raise ValueError("only LoRa, on the chain that can transmit")
        sf, _, bw_khz = txpk["datr"].removeprefix("SF").partition("BW")
        if not 7 <= int(sf) <= 12 or int(bw_khz) not in (125, 250, 500):
            raise ValueError(f"no such data rate: {txpk['datr']}")
        text = txpk["data"]
        payload = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        if len(payload) != txpk["size"]:
            self._count("pull_resp_wrong_size")  # noticed and sent all the same
        return Downlink(
            count_us=0 if txpk.get("imme") else int(txpk["tmst"]) % WRAP,
            freq_hz=round(float(txpk["freq"]) * 1e6),
            sf=int(sf),
            bw_hz=int(bw_khz) * 1000,
            coding_rate=_CODING_RATES[txpk["codr"]],
            power_dbm=int(txpk.get("powe", 0)) - self._antenna_gain_db,
            iq_inverted=bool(txpk.get("ipol", False)),
            crc_on=not txpk.get("ncrc", False),
            implicit=bool(txpk.get("nhdr", False)),
            preamble=max(int(txpk.get("prea", 8)), 6),
            payload=payload,
        )

    def _acknowledge(self, token: bytes, result: dict[str, object] | None) -> None:
        body = b""
        if result is not None:
            self.counts[f"tx_{result.get('error') or result.get('warn')}"] += 1
            body = json.dumps({"txpk_ack": result}, separators=(",", ":")).encode()
        self._send(False, _datagram(token, TX_ACK, self.eui + body))

    # Onto the air.

    def _program(self, downlink: Downlink) -> None:
        """Hand a due downlink to the concentrator; it holds one, and none while it transmits."""
        self._timers = [handle for handle in self._timers if handle.is_due]
        self.queue.remove(downlink)
        now_us = self._engine.now_us
        if self._emitting_until_us > now_us:
            self._count("tx_failed")
            return
        if self._programmed is not None:
            self._programmed[1].cancel()
            self._count("tx_failed")
        handle = self._engine.after(JIT_US, lambda: self._emit(downlink))
        self._programmed = (downlink, handle)

    def _emit(self, downlink: Downlink) -> None:
        self._programmed = None
        now_us = self._engine.now_us
        self._emitting_until_us = now_us + downlink.time_on_air_us
        self._count("tx_ok")
        self._air.transmit(
            self,
            Frame(
                freq_hz=downlink.freq_hz,
                sf=downlink.sf,
                bw_hz=downlink.bw_hz,
                coding_rate=downlink.coding_rate,
                sync_word=SYNC_WORD_PUBLIC,
                iq_inverted=downlink.iq_inverted,
                crc_on=downlink.crc_on,
                preamble=downlink.preamble,
                implicit=downlink.implicit,
                power_dbm=float(downlink.power_dbm + self._antenna_gain_db),
                payload=downlink.payload,
                start_us=now_us,
                end_us=self._emitting_until_us,
            ),
        )

    def _count(self, name: str, number: int = 1) -> None:
        self.counts[name] += number
        self._interval[name] += number


def _datagram(token: bytes, identifier: int, body: bytes) -> bytes:
    return bytes((_VERSION,)) + token + bytes((identifier,)) + body
