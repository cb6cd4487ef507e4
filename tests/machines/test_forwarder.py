"""The simulated packet forwarder does what the reference forwarder was measured to do."""

import base64
import json
from dataclasses import replace

import pytest
from stoep_hardware.air import SYNC_WORD_PRIVATE, SYNC_WORD_PUBLIC, Air, Frame, Listen
from stoep_hardware.engine import Engine
from stoep_hardware.forwarder import (
    PULL_ACK,
    PULL_DATA,
    PULL_RESP,
    PUSH_ACK,
    PUSH_DATA,
    TX_ACK,
    Forwarder,
)
from stoep_protocol.lorawan.airtime import time_on_air_us

EUI = bytes.fromhex("0016c001ff10a235")
MS, S = 1_000, 1_000_000


class Ear:
    """A device's antenna."""

    position_m = (100.0, 0.0)

    def __init__(self):
        self.frames = []

    def on_preamble(self, frame, t_us):
        pass

    def on_frame(self, frame, intact, rssi_dbm, snr_db, t_us):
        self.frames.append((t_us, frame))


def uplink_frame(t_us, payload, **changes):
    """A frame, by default at SF7 on the first channel."""
    length_us = time_on_air_us(len(payload), changes.get("sf", 7), changes.get("bw_hz", 125_000))
    frame = Frame(
        freq_hz=868_100_000,
        sf=7,
        bw_hz=125_000,
        coding_rate=5,
        sync_word=SYNC_WORD_PUBLIC,
        iq_inverted=False,
        crc_on=True,
        preamble=8,
        implicit=False,
        power_dbm=14.0,
        payload=payload,
        start_us=t_us,
        end_us=t_us + length_us,
    )
    return replace(frame, **changes)


class Site:
    """A forwarder, a device 100 m away, and a server that acknowledges unless told not to."""

    def __init__(self, *, counter_start_us=0, acknowledges=True, **forwarder):
        self.engine = Engine(7)
        self.air = Air(self.engine, shadowing_db=0.0, fading_db=0.0)
        self.acknowledges = acknowledges
        self.datagrams = []
        self.forwarder = Forwarder(
            self.engine,
            self.air,
            EUI,
            (0.0, 0.0),
            self._from_forwarder,
            counter_start_us=counter_start_us,
            **forwarder,
        )
        self.device = Ear()
        self.air.add(self.device)
        self.forwarder.start()

    def _from_forwarder(self, upstream, datagram):
        self.datagrams.append((self.engine.now_us, upstream, datagram))
        answer = {PUSH_DATA: PUSH_ACK, PULL_DATA: PULL_ACK}.get(datagram[3])
        if self.acknowledges and answer is not None:
            take = self.forwarder.on_upstream if upstream else self.forwarder.on_downstream
            ack = datagram[:3] + bytes((answer,))
            self.engine.after(1 * MS, lambda: take(ack))

    def uplink(self, t_us, payload=b"\x40" + bytes(12), **changes):
        """Let the device send; returns the frame's end."""
        frame = uplink_frame(t_us, payload, **changes)
        self.engine.at(t_us, lambda: self.air.transmit(self.device, frame))
        return frame.end_us

    def ask(self, token=b"\x12\x34", **changes):
        """Send a PULL_RESP now; returns the TX_ACK's body, None when there is none."""
        txpk = {
            "imme": False,
            "tmst": 1_000_000,
            "freq": 868.1,
            "rfch": 0,
            "powe": 14,
            "modu": "LORA",
            "datr": "SF7BW125",
            "codr": "4/5",
            "ipol": True,
            "ncrc": True,
            "size": 4,
            "data": "AQIDBA",
        } | changes
        return self.ask_json({"txpk": {k: v for k, v in txpk.items() if v is not None}}, token)

    def ask_json(self, body, token=b"\x12\x34"):
        before = len(self.datagrams)
        head = b"\x02" + token + bytes((PULL_RESP,))
        self.forwarder.on_downstream(head + json.dumps(body).encode())
        acks = [data for _, _, data in self.datagrams[before:] if data[3] == TX_ACK]
        if not acks:
            return None
        (ack,) = acks
        assert ack[:3] == b"\x02" + token
        assert ack[4:12] == EUI
        return json.loads(ack[12:])["txpk_ack"] if ack[12:] else {}

    def pushed(self):
        """The JSON of every PUSH_DATA."""
        return [json.loads(data[12:]) for _, _, data in self.datagrams if data[3] == PUSH_DATA]

    def received(self):
        """Every rxpk."""
        return [rxpk for body in self.pushed() for rxpk in body.get("rxpk", ())]


@pytest.fixture
def site():
    return Site()


def test_an_uplink_becomes_a_push_data(site):
    ends_us = site.uplink(1 * S, b"\x40stoep")
    site.engine.run_until(2 * S)
    ((t_us, upstream, datagram),) = [d for d in site.datagrams if d[2][3] == PUSH_DATA]
    assert upstream
    assert datagram[0] == 2
    assert datagram[4:12] == EUI
    assert ends_us < t_us <= ends_us + 10 * MS  # the polling loop
    (rxpk,) = json.loads(datagram[12:])["rxpk"]
    assert rxpk.pop("foff") is not None
    assert rxpk == {
        "jver": 1,
        "tmst": ends_us,
        "chan": 0,
        "rfch": 1,
        "freq": 868.1,
        "mid": 0,
        "stat": 1,
        "modu": "LORA",
        "datr": "SF7BW125",
        "codr": "4/5",
        "rssis": -92,
        "lsnr": 13.5,
        "rssi": -92,
        "size": 6,
        "data": base64.b64encode(b"\x40stoep").decode(),
    }


@pytest.mark.parametrize(
    ("changes", "channel"),
    [
        ({"freq_hz": 867_900_000, "sf": 12}, 7),
        ({"freq_hz": 868_500_000, "sf": 9}, 2),
        ({"freq_hz": 868_300_000, "sf": 7, "bw_hz": 250_000}, 8),
    ],
)
def test_every_channel_has_its_number(site, changes, channel):
    site.uplink(1 * S, **changes)
    site.engine.run_until(5 * S)
    (rxpk,) = site.received()
    assert rxpk["chan"] == channel
    assert rxpk["freq"] == changes["freq_hz"] / 1e6
    assert rxpk["datr"] == f"SF{changes['sf']}BW{changes.get('bw_hz', 125_000) // 1000}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sync_word": SYNC_WORD_PRIVATE},
        {"iq_inverted": True},
        {"crc_on": False},
        {"bw_hz": 500_000},
        {"sf": 8, "bw_hz": 250_000},
        {"freq_hz": 868_000_000},
        {"implicit": True},
    ],
    ids=lambda wrong: next(reversed(wrong)),
)
def test_an_uplink_with_one_wrong_parameter_is_not_forwarded(site, wrong):
    site.uplink(1 * S, **wrong)
    site.engine.run_until(3 * S)
    assert site.received() == []


def test_a_frame_without_crc_is_counted_and_dropped(site):
    site.uplink(1 * S, crc_on=False)
    site.uplink(2 * S)
    site.engine.run_until(31 * S)
    (stat,) = [body["stat"] for body in site.pushed() if "stat" in body]
    assert (stat["rxnb"], stat["rxok"], stat["rxfw"]) == (2, 1, 1)
    assert site.forwarder.counts["rx_no_crc"] == 1


def test_a_damaged_frame_is_counted_and_dropped(site):
    other = Ear()
    site.air.add(other)
    site.uplink(1 * S)
    frame_end_us = site.uplink(1 * S + 20 * MS)
    site.engine.run_until(frame_end_us + 20 * MS)
    assert site.received() == []
    assert site.forwarder.counts["rx_bad"] >= 1


def test_the_counter_wraps_at_32_bits():
    site = Site(counter_start_us=2**32 - 2 * S)
    ends_us = [site.uplink(1 * S), site.uplink(3 * S)]
    site.engine.run_until(4 * S)
    expected = [2**32 - 2 * S + ends_us[0], ends_us[1] - 2 * S]
    assert [rxpk["tmst"] for rxpk in site.received()] == expected


def test_a_status_report_every_half_minute():
    site = Site(utc_start_ms=1_622_690_999_000, location=(-15.8, 35.01, 1040))
    site.uplink(1 * S)
    site.engine.run_until(61 * S)
    stats = [body["stat"] for body in site.pushed() if "stat" in body]
    assert [stat["time"] for stat in stats] == [
        "2021-06-03 03:30:29 GMT",
        "2021-06-03 03:30:59 GMT",
    ]
    assert stats[0] == {
        "time": "2021-06-03 03:30:29 GMT",
        "lati": -15.8,
        "long": 35.01,
        "alti": 1040,
        "rxnb": 1,
        "rxok": 1,
        "rxfw": 1,
        "ackr": 100.0,
        "dwnb": 0,
        "txnb": 0,
        "temp": 30.0,
    }
    assert stats[1]["rxnb"] == 0


def test_pull_data_every_ten_seconds_from_the_other_socket(site):
    site.engine.run_until(35 * S)
    pulls = [(t, up, data) for t, up, data in site.datagrams if data[3] == PULL_DATA]
    assert [t for t, *_ in pulls] == [0, 10 * S, 20 * S, 30 * S]
    assert not any(up for _, up, _ in pulls)
    assert all(data[4:] == EUI for *_, data in pulls)
    assert site.forwarder.counts["pull_acknowledged"] == 4


def test_without_acknowledgements_it_sends_once_and_goes_on():
    """It never retransmits; it waits 100 ms, then sends what has come meanwhile."""
    site = Site(acknowledges=False)
    for number in range(3):
        site.uplink(1 * S + number * 40 * MS, bytes((0x40, number)))
    site.engine.run_until(31 * S)
    assert [len(body.get("rxpk", ())) for body in site.pushed()] == [1, 2, 0]
    times = [t for t, _, data in site.datagrams if data[3] == PUSH_DATA]
    assert times[1] - times[0] >= 100 * MS
    assert site.pushed()[-1]["stat"]["ackr"] == 0.0


def test_a_stale_push_ack_counts_for_nothing(site):
    site.acknowledges = False
    site.uplink(1 * S)
    site.engine.run_until(1 * S + 80 * MS)
    site.forwarder.on_upstream(b"\x02\x00\x00\x01")
    site.forwarder.on_upstream(b"\x02")
    assert site.forwarder.counts["push_acknowledged"] == 0


def test_a_backlog_beyond_the_receive_buffer_is_lost():
    """4096 octets in all, while the upstream waits for an acknowledgement that never comes."""
    site = Site(acknowledges=False)
    frame = uplink_frame(0, bytes(55))
    site.uplink(1 * S)
    site.engine.run_until(1 * S + 50 * MS)
    assert len(site.pushed()) == 1
    for _ in range(60):
        site.forwarder.on_frame(frame, True, -80.0, 9.0, site.engine.now_us)
    site.engine.run_until(2 * S)
    assert len(site.pushed()[1]["rxpk"]) == 52
    assert site.forwarder.counts["rx_lost"] == 8


def test_a_downlink_is_on_the_air_at_its_time(site):
    heard = Listen(868_100_000, 7, 125_000, SYNC_WORD_PUBLIC, iq_inverted=True)
    site.air.listen(site.device, (heard,))
    assert site.ask(tmst=1_000_000) == {}
    site.engine.run_until(2 * S)
    ((t_us, frame),) = site.device.frames
    assert frame.start_us == 1 * S
    assert t_us == frame.end_us == 1 * S + time_on_air_us(4, 7, 125_000, crc=False)
    assert frame.payload == b"\x01\x02\x03\x04"
    assert not frame.crc_on
    assert frame.sync_word == SYNC_WORD_PUBLIC
    assert frame.power_dbm == 14.0
    assert site.forwarder.counts["tx_ok"] == 1


@pytest.mark.parametrize(
    "missing",
    [{"ipol": None}, {"datr": "SF8BW125"}, {"datr": "SF7BW250"}, {"freq": 868.3}, {"nhdr": True}],
    ids=lambda missing: next(iter(missing)),
)
def test_a_downlink_with_one_wrong_parameter_reaches_nobody(site, missing):
    heard = Listen(868_100_000, 7, 125_000, SYNC_WORD_PUBLIC, iq_inverted=True)
    site.air.listen(site.device, (heard,))
    assert site.ask(**missing) == {}
    site.engine.run_until(2 * S)
    assert site.forwarder.counts["tx_ok"] == 1
    assert site.device.frames == []


def test_it_is_deaf_while_it_transmits(site):
    site.ask(tmst=1_000_000, datr="SF12BW125")
    site.uplink(1 * S + 500 * MS)
    site.uplink(3 * S)
    site.engine.run_until(4 * S)
    assert len(site.received()) == 1


@pytest.mark.parametrize(
    ("lead_us", "answer"),
    [
        (42_500, {"error": "TOO_LATE"}),
        (42_501, {}),
        (0, {"error": "TOO_LATE"}),
        (-1, {"error": "TOO_EARLY"}),  # the unsigned difference wraps
        (-2 * S, {"error": "TOO_EARLY"}),
        (360 * S, {}),
        (512 * S, {}),
        (512 * S + 1, {"error": "TOO_EARLY"}),
    ],
)
@pytest.mark.parametrize("counter_start_us", [0, 2**32 - 10 * S - 20_000])
def test_the_time_of_a_downlink(lead_us, answer, counter_start_us):
    site = Site(counter_start_us=counter_start_us)
    site.engine.run_until(10 * S)
    now_count_us = (counter_start_us + 10 * S) % 2**32
    assert site.ask(tmst=(now_count_us + lead_us) % 2**32) == answer


def test_two_downlinks_too_close_collide(site):
    airtime_us = time_on_air_us(4, 7, 125_000, crc=False) // 1000 * 1000
    gap_us = airtime_us + 1_500 + 40_000 + 1_000
    assert site.ask(tmst=1 * S) == {}
    assert site.ask(tmst=1 * S) == {"error": "COLLISION_PACKET"}
    assert site.ask(tmst=1 * S + gap_us) == {"error": "COLLISION_PACKET"}
    assert site.ask(tmst=1 * S - gap_us) == {"error": "COLLISION_PACKET"}
    assert site.ask(tmst=1 * S + gap_us + 1) == {}
    assert site.ask(tmst=1 * S - gap_us - 1) == {}


def test_a_full_queue_answers_collision(site):
    for number in range(32):
        assert site.ask(tmst=(number + 1) * S) == {}
    assert site.ask(tmst=100 * S) == {"error": "COLLISION_PACKET"}


def test_power_beyond_the_table_is_a_warning(site):
    assert site.ask(powe=40) == {"warn": "TX_POWER", "value": 27}
    site.engine.run_until(2 * S)
    assert site.forwarder.counts["tx_ok"] == 1


@pytest.mark.parametrize("freq", [862.9, 870.1])
def test_a_frequency_outside_the_band_is_refused(site, freq):
    assert site.ask(freq=freq) == {"error": "TX_FREQ"}


def test_without_gps_no_gps_time(site):
    assert site.ask(tmst=None, tmms=1_300_000_000_000) == {"error": "GPS_UNLOCKED"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"tmst": None},
        {"freq": None},
        {"rfch": None},
        {"rfch": 1},
        {"modu": None},
        {"modu": "FSK"},
        {"datr": None},
        {"datr": "SF13BW125"},
        {"datr": 50_000},
        {"codr": None},
        {"codr": "4/9"},
        {"size": None},
        {"data": None},
        {"data": "not base64!"},
    ],
    ids=str,
)
def test_a_request_it_cannot_read_gets_no_answer(site, wrong):
    assert site.ask(**wrong) is None
    assert site.forwarder.counts["pull_resp_unreadable"] == 1


@pytest.mark.parametrize("body", [{}, [], {"txpk": None}, {"txpk": []}])
def test_a_request_without_txpk_gets_no_answer(site, body):
    assert site.ask_json(body) is None


@pytest.mark.parametrize("datagram", [b"", b"\x02", b"\x01\x00\x00\x03{}", b"\x02\x00\x00\x07{}"])
def test_what_is_no_gwmp_is_ignored(site, datagram):
    before = len(site.datagrams)
    site.forwarder.on_downstream(datagram)
    assert len(site.datagrams) == before


def test_an_immediate_downlink_gets_the_next_free_time(site):
    site.engine.run_until(1 * S)
    assert site.ask(tmst=2 * S) == {}
    assert site.ask(imme=True, tmst=None) == {}
    site.engine.run_until(4 * S)
    assert site.forwarder.counts["tx_ok"] == 2


def test_of_many_simultaneous_answers_some_collide(site):
    """64 RX1 answers from 16 devices: each asks for 1 s after its own uplink."""
    answers = [site.ask(tmst=1 * S + number * 37 * MS) for number in range(64)]
    refused = [answer for answer in answers if answer]
    assert {"error": "COLLISION_PACKET"} in refused
    assert len(refused) < len(answers)


def test_a_second_downlink_overwrites_one_that_is_already_programmed(site):
    """The queue no longer knows the first, the concentrator holds only one."""
    site.ask(tmst=1 * S)
    site.engine.run_until(1 * S - 35 * MS)
    assert site.ask(tmst=1 * S + 10 * MS) == {}
    site.engine.run_until(2 * S)
    assert site.forwarder.counts["tx_ok"] == 1
    assert site.forwarder.counts["tx_failed"] == 1


def test_a_downlink_that_falls_due_while_it_transmits_is_lost(site):
    site.ask(tmst=1 * S, datr="SF12BW125")
    site.engine.run_until(1 * S + 10 * MS)
    assert site.ask(tmst=1 * S + 200 * MS) == {}
    site.engine.run_until(4 * S)
    assert site.forwarder.counts["tx_ok"] == 1
    assert site.forwarder.counts["tx_failed"] == 1


def test_switched_off_it_forgets(site):
    site.ask(tmst=5 * S)
    site.uplink(1 * S)
    site.engine.run_until(1 * S + 20 * MS)
    site.forwarder.stop()
    site.engine.run_until(40 * S)
    assert site.forwarder.counts["tx_ok"] == 0
    assert site.received() == []
    site.forwarder.start()
    site.uplink(41 * S)
    site.engine.run_until(42 * S)
    assert len(site.received()) == 1


def test_switched_off_it_breaks_its_downlink_off_and_counts_anew(site):
    heard = []
    site.device.on_frame = lambda frame, intact, *_: heard.append(intact)
    site.air.listen(site.device, (Listen(868_100_000, 12, 125_000, SYNC_WORD_PUBLIC, True),))
    site.ask(tmst=1 * S, datr="SF12BW125")
    site.engine.run_until(1 * S + 500 * MS)
    site.forwarder.stop()
    site.forwarder.start()
    ended_us = site.uplink(3 * S)
    site.engine.run_until(5 * S)
    assert heard == [False]
    (received,) = site.received()
    assert received["tmst"] == ended_us - (1 * S + 500 * MS)
