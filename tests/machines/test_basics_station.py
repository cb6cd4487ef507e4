"""The LNS protocol's machine: what each message causes, and what no message can cause."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamoja import gateway as pamoja
from stoep_gateway.forwarders import basics_station
from stoep_gateway.forwarders.basics_station import (
    ALIVE_MS,
    Alive,
    BasicsStationServer,
    CloseConnection,
    Closed,
    Connected,
    SendText,
    TextReceived,
)
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.forwarders.links import Link, Links
from stoep_gateway.forwarders.station_messages import format_id6, parse_eui, token_of
from stoep_gateway.lns import channel_plan
from stoep_gateway.lns.frames import Rejected, Tick, Transmit, Transmitted, UplinkFrame, Window
from stoep_protocol.lorawan import regions

EUI = bytes.fromhex("0016c001ff10a235")
OTHER = bytes.fromhex("0016c001ff10a236")
STRANGER = bytes.fromhex("1111111111111111")
DEV_EUI = bytes.fromhex("70b3d57ed0000001")
PLAN = channel_plan.for_region(regions.by_name("EU868"))
UTC = 1_767_225_600_000
FROM = ("192.0.2.1", 40001)
SESSION = 5 << 48  # the upper bits of an xtime

VECTORS = {
    vector["id"]: vector
    for vector in json.loads(
        (Path(__file__).parents[1] / "vectors" / "lorawan.json").read_text(encoding="utf-8")
    )["vectors"]
    if vector["kind"].startswith("basicstation")
}
UPINFO = {"rctx": 3, "xtime": SESSION + 1_000_000, "gpstime": 0, "rssi": -107, "snr": -3.25}
RX1 = Window(1_000_000, 868_100_000, 7, 125_000, 14, 5)
RX2 = Window(2_000_000, 869_525_000, 12, 125_000, 27, 0)


class Peer:
    """The machine, with the wires that a driver would be."""

    def __init__(self, **options):
        self.links = Links([Link(EUI), Link(OTHER, ["198.51.100.0/24"], 2.5)])
        self.machine = BasicsStationServer(self.links, PLAN, **options)
        self.now = 0
        self.connections = 0

    def handle(self, event):
        return self.machine.handle(event, self.now, UTC + self.now)

    def connect(self, path, address=FROM, host="lns.example:3001", **more):
        self.connections += 1
        return self.handle(Connected(self.connections, path, host, address, **more))

    def say(self, message, connection=None):
        text = message if isinstance(message, str) else json.dumps(message)
        return self.handle(TextReceived(connection or self.connections, text))

    def station(self, eui=EUI, version="2.0.6(rpi/std)", **more):
        """Open a session; return its router_config."""
        assert self.connect(f"/router/{eui.hex()}", **more) == []
        config, stat = self.say({"msgtype": "version", "station": version, "protocol": 2})
        assert isinstance(stat, GatewayStat)
        return json.loads(config.text)

    def order(self, downlink_id=7, **changes):
        values = {
            "freq_hz": RX1.freq_hz,
            "sf": 7,
            "bw_hz": 125_000,
            "power_dbm": 14,
            "phy_payload": b"\x60down",
            "dev_eui": DEV_EUI,
            "context": (SESSION + 1_000_000, 3),
            "window": RX1,
            "fallback": RX2,
        } | changes
        return self.handle(Transmit(downlink_id, EUI, 1_000_000, **values))


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def ready(peer) -> Peer:
    peer.station()
    return peer


# Discovery.


@pytest.mark.parametrize(
    ("host", "secure", "uri"),
    [
        ("lns.example:3001", False, "ws://lns.example:3001/router/0016c001ff10a235"),
        ("lns.example:3001", True, "wss://lns.example:3001/router/0016c001ff10a235"),
        ("lns.example", True, "wss://lns.example:443/router/0016c001ff10a235"),
        ("192.0.2.9", False, "ws://192.0.2.9:80/router/0016c001ff10a235"),
        ("[fd00::1]:3001", False, "ws://[fd00::1]:3001/router/0016c001ff10a235"),
        ("fd00::1:3001", False, "ws://[fd00::1]:3001/router/0016c001ff10a235"),
    ],
)
def test_a_station_is_sent_on_by_the_name_that_it_used(peer, host, secure, uri):
    assert peer.connect("/router-info", host=host, secure=secure) == []
    answer, close = peer.say(pamoja.station_discovery(EUI.hex()))
    told = pamoja.station_router_parse(answer.text)
    assert (told.router, told.uri, told.error) == (EUI.hex(), uri, None)
    assert close == CloseConnection(1, "")


@pytest.mark.parametrize("host", ["", "evil/../:80", "a b", "x" * 100 + ":3001", 'a"b:1'])
def test_a_host_that_is_none_leads_nowhere(peer, host):
    peer.connect("/router-info", host=host)
    rejected, answer, _ = peer.say(pamoja.station_discovery(EUI.hex()))
    assert rejected.reason == "station_host"
    assert json.loads(answer.text)["error"] == "station_host"


def test_who_is_not_registered_is_told_so_and_noted(peer):
    peer.now = 9
    peer.connect("/router-info")
    rejected, answer, close = peer.say(pamoja.station_discovery(STRANGER.hex()))
    assert rejected == Rejected("gateway_not_registered", STRANGER.hex())
    assert pamoja.station_router_parse(answer.text).error == "gateway_not_registered"
    assert isinstance(close, CloseConnection)
    assert [rejected, CloseConnection(2, "gateway_not_registered")] == peer.connect(
        f"/router/{STRANGER.hex()}"
    )
    (seen,) = peer.links.unregistered
    assert (seen.eui, seen.protocol, seen.count) == (STRANGER, "basics_station", 2)
    assert (seen.address, seen.last_seen_ms) == ("192.0.2.1:40001", 9)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"router": true}', '{"router": "x"}', "{" * 99])
def test_a_discovery_without_a_router_ends(peer, text):
    peer.connect("/router-info")
    rejected, close = peer.say(text)
    assert rejected == Rejected("station_discovery")
    assert isinstance(close, CloseConnection)
    assert peer.say(pamoja.station_discovery(EUI.hex())) == []


def test_who_asks_nothing_is_closed(peer):
    peer.connect("/router-info")
    assert peer.machine.next_deadline() == basics_station.DISCOVERY_TIMEOUT_MS
    peer.now = basics_station.DISCOVERY_TIMEOUT_MS
    assert peer.handle(Tick()) == [CloseConnection(1, "no request came")]
    assert peer.machine.next_deadline() is None


def test_many_who_ask_nothing_do_not_keep_out_who_does(peer):
    for _ in range(basics_station.MAX_DISCOVERING):
        assert peer.connect("/router-info") == []
    (closed,) = peer.connect("/router-info")
    assert closed.connection == 1
    assert isinstance(peer.say(pamoja.station_discovery(EUI.hex()))[0], SendText)


@pytest.mark.parametrize("path", ["/", "", "/router", "/router/", "/router/xyz", "/admin"])
def test_no_other_path_leads_in(peer, path):
    rejected, close = peer.connect(path)
    assert rejected.reason == "station_path"
    assert close == CloseConnection(1, "no such path")


# Who may.


def test_only_from_the_addresses_of_the_allow_list(peer):
    rejected, close = peer.connect(f"/router/{OTHER.hex()}")
    assert (rejected.reason, rejected.gateway_eui) == ("gateway_address", OTHER)
    assert isinstance(close, CloseConnection)
    assert peer.links[OTHER].refused_address == FROM
    assert peer.connect(f"/router/{OTHER.hex()}", ("::ffff:198.51.100.7", 1, 0, 0)) == []


@pytest.mark.parametrize(
    ("authorization", "let_in"),
    [("Bearer one", True), ("Bearer two", False), ("", False), ("bearer one", False), ("é", False)],
)
def test_only_with_its_token(authorization, let_in):
    peer = Peer(tokens={EUI: token_of("Authorization: Bearer one\r\n")})
    actions = peer.connect(f"/router/{EUI.hex()}", authorization=authorization)
    assert (actions == []) is let_in
    peer.connect("/router-info", authorization=authorization)
    answer = next(
        action
        for action in peer.say(pamoja.station_discovery(EUI.hex()))
        if isinstance(action, SendText)
    )
    assert ("uri" in json.loads(answer.text)) is let_in
    if not let_in:
        assert actions[0] == Rejected("station_token", EUI.hex(), EUI)
        assert json.loads(answer.text)["error"] == "station_token"


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("Bearer x\n", "Bearer x"),
        ("authorization: Bearer x", "Bearer x"),
        ("Authorization:x\r\n\r\n", "x"),
        ("X-Other: y\nAuthorization: x\n", "x"),
        ("\n", ""),
    ],
)
def test_a_token_file_may_name_the_header(text, token):
    assert token_of(text) == token


@pytest.mark.parametrize(
    ("common_name", "let_in"),
    [
        (EUI.hex(), True),
        ("00-16-C0-01-FF-10-A2-35", True),
        ("eui-0016c001ff10a235", True),
        ("16:c001:ff10:a235", True),
        (OTHER.hex(), False),
        ("gateway", False),
        (None, False),
    ],
)
def test_only_with_a_certificate_in_its_name(common_name, let_in):
    peer = Peer(client_certificates=True)
    actions = peer.connect(f"/router/{EUI.hex()}", secure=True, common_name=common_name)
    assert (actions == []) is let_in
    if not let_in:
        assert actions[0].reason == "station_certificate"


@given(st.binary(min_size=8, max_size=8))
def test_euis_in_every_notation(eui):
    plain, dashes, colons = eui.hex(), eui.hex("-"), eui.hex(":")
    number = int.from_bytes(eui, "big")
    for text in (plain, plain.upper(), dashes, dashes.upper(), colons, f"eui-{plain}", number):
        assert parse_eui(text) == eui
    assert parse_eui(number - 2**64 if number >= 2**63 else number) == eui
    assert parse_eui(pamoja.station_id6(plain)) == eui
    assert parse_eui(format_id6(eui)) == eui
    assert pamoja.station_eui_of(format_id6(eui)) == plain


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":::", "1:2:3", "1:2:3:4:5", "1::2:3:4", "1:2:3:4::", "12345::", "g::1", "٣::1"),
        *("0016c001ff10a2", "0016c001-ff10a235", "0016c001ff10a2351", "00-16:c0-01-ff-10-a2-35"),
        *(None, b"12345678", 2**64, -(2**63) - 1, 1.0, True, []),
    ],
)
def test_what_is_no_eui(text):
    assert parse_eui(text) is None


# A session.


def test_a_version_is_answered_by_a_configuration(peer):
    config = peer.station()
    assert config["msgtype"] == "router_config"
    assert config["MuxTime"] == UTC / 1000
    link = peer.links[EUI]
    assert link.connected(0)
    assert (link.protocol, link.peer) == ("basics_station", FROM)


def test_pamojas_station_is_understood_and_understands(peer):
    peer.connect(f"/router/{EUI.hex()}")
    hello = pamoja.StationMessage("version", station="2.0.6", model="rpi", protocol=2)
    config, stat = peer.say(pamoja.station_encode(hello))
    read = pamoja.station_parse(config.text)
    assert (read.region, read.freq_min, read.freq_max) == ("EU863", 863_000_000, 870_000_000)
    assert read.data_rates[5].spreading_factor == 7
    assert stat.stat["model"] == "rpi"


def test_the_newer_connection_of_a_gateway_wins(ready):
    assert ready.connect(f"/router/{EUI.hex()}") == [CloseConnection(1, "connected again")]
    assert not ready.links[EUI].connected(0)
    ready.say({"msgtype": "version", "station": "2.0.5"})
    assert ready.handle(Closed(1)) == []
    assert ready.links[EUI].connected(0)
    (sent,) = ready.order()
    assert sent.connection == 2
    assert ready.say({"msgtype": "timesync", "txtime": 1}, connection=1) == []
    ready.handle(Closed(2))
    assert not ready.links[EUI].connected(0)
    assert ready.order() == [Transmitted(7, EUI, "NOT_CONNECTED")]


ELSEWHERE = ("192.0.2.66", 40_000)


def test_nobody_from_elsewhere_takes_the_place_of_a_station_that_is_alive(ready):
    def claim():
        return ready.connect(f"/router/{EUI.hex()}", address=ELSEWHERE)

    for stays_by in (lambda: ready.say({"msgtype": "event"}, 1), lambda: ready.handle(Alive(1, 9))):
        stays_by()
        ready.now += ALIVE_MS - 1
        refused, close = claim()
        assert refused == Rejected("station_connected", "192.0.2.66:40000", EUI)
        assert close == CloseConnection(ready.connections, "station_connected")
    assert any(isinstance(action, SendText) for action in ready.order())
    ready.now += 1
    assert claim() == [CloseConnection(1, "connected again")]


@pytest.mark.parametrize("proof", ["token", "certificate"])
def test_who_has_proved_it_may_come_from_elsewhere(proof):
    if proof == "token":
        peer, shown = Peer(tokens={EUI: "Bearer one"}), {"authorization": "Bearer one"}
    else:
        peer, shown = Peer(client_certificates=True), {"common_name": EUI.hex()}
    peer.station(**shown)
    actions = peer.connect(f"/router/{EUI.hex()}", address=ELSEWHERE, **shown)
    assert actions == [CloseConnection(1, "connected again")]


def test_the_end_of_a_session_is_noted_whatever_came_by_the_other_protocol(ready):
    link = ready.links[EUI]
    link.protocol = "gwmp"
    ready.handle(Closed(1))
    assert not link.connected(0)
    link.pulled(FROM, 5)
    assert link.connected(6)


def test_what_a_station_says_of_itself_is_plain_text(peer):
    peer.connect(f"/router/{EUI.hex()}")
    said = {"msgtype": "version", "station": "\ud800é" + "x" * 100, "model": 7, "other": "o"}
    _, stat = peer.say(said)
    assert stat.stat == {"station": "??" + "x" * 78, "rxfw": 0, "dwnb": 0, "txnb": 0}


def test_ping_and_message_keep_a_station_in_sight(ready):
    ready.now = 70
    ready.handle(Alive(1, 12.5))
    assert ready.links[EUI].last_seen_ms == 70
    assert ready.links[EUI].round_trip_ms == 12.5
    ready.now = 80
    ready.say({"msgtype": "event"})
    assert ready.links[EUI].last_seen_ms == 80
    assert ready.handle(Alive(99, 1.0)) == []


def test_a_state_every_half_minute_with_what_happened_since(ready):
    ready.say(VECTORS["gwb-updf-full"]["input"] | {"upinfo": UPINFO})
    ready.order()
    ready.say({"msgtype": "dntxed", "diid": 1, "Freq": RX1.freq_hz})
    assert ready.machine.next_deadline() == basics_station.STAT_INTERVAL_MS
    for expected in (1, 0):
        ready.now += basics_station.STAT_INTERVAL_MS
        (stat,) = ready.handle(Tick())
        assert stat.gateway_eui == EUI
        assert stat.stat == {
            "station": "2.0.6(rpi/std)",
            "rxfw": expected,
            "dwnb": expected,
            "txnb": expected,
        }


def test_timesync_is_answered_in_gps_time(ready):
    (answer,) = ready.say({"msgtype": "timesync", "txtime": 123})
    told = json.loads(answer.text)
    assert (told["msgtype"], told["txtime"]) == ("timesync", 123)
    # GPS time is UTC since 1980-01-06 and 18 leap seconds.
    assert told["gpstime"] == (UTC // 1000 - 315_964_800 + 18) * 1_000_000
    assert pamoja.station_parse(answer.text).gpstime == told["gpstime"]


def test_too_many_messages_are_not_read():
    peer = Peer()
    peer.links[EUI] = Link(EUI, messages_per_s=10, burst=3)
    peer.station()
    rejected = [peer.say({"msgtype": "event"}) for _ in range(4)][-1]
    assert rejected == [Rejected("gateway_rate_limit", EUI.hex(), EUI)]
    peer.now += 1000
    assert peer.say({"msgtype": "event"}) == []


# Up.


@pytest.mark.parametrize("name", [name for name in VECTORS if "expect" in VECTORS[name]])
def test_foreign_vectors_are_rebuilt(ready, name):
    vector = VECTORS[name]
    radio = {"DR": 5, "Freq": 868_100_000, "upinfo": UPINFO}
    message = {"msgtype": vector["kind"].partition("-")[2]} | vector["input"] | radio
    (frame,) = ready.say(message)
    assert frame.phy_payload.hex() == vector["expect"]["phypayload"]


def test_there_are_vectors_of_both_kinds():
    assert {vector["kind"] for vector in VECTORS.values()} >= {
        "basicstation-jreq",
        "basicstation-updf",
    }


@pytest.mark.parametrize(
    "phy_payload",
    [
        "00080706050403020208070605040302031400f6ffffff",
        "40f6ffff7f02900101020aecffffff",
        "80010000260000010a0102030405060708090a0b0c0d0e0f",
        "4001000026000001deadbeef",
        "e00807060504",
    ],
)
def test_what_pamojas_station_takes_apart_is_put_together(ready, phy_payload):
    levels = pamoja.StationLevels(rctx=2, xtime=SESSION + 7, rssi=-101.0, snr=6.5)
    heard = pamoja.station_heard(bytes.fromhex(phy_payload), 3, 868_300_000, levels)
    ready.now = 40
    (frame,) = ready.say(pamoja.station_encode(heard))
    assert frame == UplinkFrame(
        bytes.fromhex(phy_payload),
        EUI,
        7,
        868_300_000,
        9,
        125_000,
        -101.0,
        6.5,
        40,
        (SESSION + 7, 2),
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"DR": 7}, "station_data_rate"),
        ({"DR": 16}, "station_fields"),
        ({"DR": "5"}, "station_fields"),
        ({"Freq": 868.1}, "station_fields"),
        ({"MIC": 2**32}, "station_fields"),
        ({"DevAddr": -(2**31) - 1}, "station_fields"),
        ({"FCnt": 65536}, "station_fields"),
        ({"FCnt": True}, "station_fields"),
        ({"FPort": 256}, "station_fields"),
        ({"FPort": -1}, "station_fields"),
        ({"FOpts": "0x"}, "station_fields"),
        ({"FOpts": None}, "station_fields"),
        ({"FRMPayload": "00" * 243}, "station_size"),
        ({"upinfo": []}, "station_fields"),
        ({"upinfo": UPINFO | {"rssi": 300}}, "station_range"),
        ({"upinfo": UPINFO | {"snr": "nan"}}, "station_range"),
        ({"upinfo": UPINFO | {"rssi": 10**400}}, "station_fields"),
        ({"upinfo": UPINFO | {"xtime": 2**63}}, "station_fields"),
        ({"upinfo": UPINFO | {"xtime": None}}, "station_fields"),
        ({"msgtype": "runcmd"}, "station_msgtype"),
        ({"msgtype": ["updf"]}, "station_msgtype"),
    ],
)
def test_uplinks_of_no_use(ready, change, reason):
    message = VECTORS["gwb-updf-full"]["input"] | {"upinfo": UPINFO} | change
    (rejected,) = ready.say(message)
    assert (rejected.reason, rejected.gateway_eui) == (reason, EUI)


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "NaN", '{"a":' * 5000, "9" * 8000, "{}x"])
def test_what_is_no_message(ready, text):
    (rejected,) = ready.say(text)
    assert rejected == Rejected("station_json", "", EUI)


def test_a_message_that_is_too_long_is_not_read(ready):
    text = json.dumps({"msgtype": "event", "x": "x" * basics_station.MAX_TEXT})
    assert ready.say(text) == [Rejected("station_json", "", EUI)]


def uplink_at(peer, sent_ms, arrives_ms, xtime=None):
    """Return the ``received_ms`` of an uplink heard at ``sent_ms`` that comes later."""
    peer.now = arrives_ms
    xtime = SESSION + 1000 * sent_ms if xtime is None else xtime
    message = VECTORS["gwb-updf-full"]["input"] | {"upinfo": UPINFO | {"xtime": xtime}}
    (frame,) = peer.say(message)
    assert frame.context == (xtime, 3)
    return frame.received_ms


def test_an_uplink_that_was_held_up_says_when_it_was_heard(ready):
    assert uplink_at(ready, 1000, 1030) == 1030
    assert uplink_at(ready, 2000, 2020) == 2020
    assert uplink_at(ready, 3000, 6500) == 3020  # the fastest message took 20 ms
    assert uplink_at(ready, 6400, 6501) == 6420
    assert uplink_at(ready, 7000, 7020) == 7020


def test_what_is_known_of_the_delay_outlives_the_connection(ready):
    uplink_at(ready, 1000, 1020)
    ready.handle(Closed(1))
    ready.station()
    assert uplink_at(ready, 5000, 9000) == 5020


def test_a_station_that_starts_anew_has_another_clock(ready):
    uplink_at(ready, 100_000, 100_020)
    assert uplink_at(ready, 0, 101_000, xtime=(6 << 48) + 5) == 101_000


def test_a_clock_that_was_set_back_is_believed_after_a_while(ready):
    uplink_at(ready, 100_000, 100_000)
    late = [
        100_000 + step - uplink_at(ready, step, 100_000 + step)
        for step in range(60_000, 1_500_000, 60_000)
    ]
    assert late[0] == 100_000
    assert late[-1] == 0


def test_a_clock_that_drifts_is_not_late(ready):
    for minute in range(1, 600):
        sent_ms = minute * 60_000
        heard = sent_ms * (1 - 30e-6)  # 30 ppm slow: a second in ten hours
        assert sent_ms - uplink_at(ready, int(heard), sent_ms) <= 40


def test_an_xtime_of_zero_is_an_uplink_that_cannot_be_answered(ready):
    assert uplink_at(ready, 0, 5, xtime=0) == 5
    assert ready.order(context=(0, 3)) == [Transmitted(7, EUI, "NO_CONTEXT")]
    (sent,) = ready.order(context=(0, 3), at_once=True, window=RX2, fallback=None)
    assert isinstance(sent, SendText)


# Down.


def test_a_downlink_for_both_windows(ready):
    (sent,) = ready.order(priority=300)
    assert sent.for_air
    assert json.loads(sent.text) == {
        "msgtype": "dnmsg",
        "DevEui": "70-b3-d5-7e-d0-00-00-01",
        "dC": 0,
        "diid": 1,
        "pdu": "60646f776e",
        "RxDelay": 1,
        "RX1DR": 5,
        "RX1Freq": 868_100_000,
        "RX2DR": 0,
        "RX2Freq": 869_525_000,
        "priority": 255,
        "xtime": SESSION + 1_000_000,
        "rctx": 3,
        "MuxTime": UTC / 1000,
    }
    read = pamoja.station_parse(sent.text)
    assert (read.dev_eui, bytes(read.payload), read.rx_delay) == (DEV_EUI.hex(), b"\x60down", 1)
    assert (read.rx1.data_rate, read.rx2.frequency_hz) == (5, 869_525_000)


@pytest.mark.parametrize(
    ("window", "fallback", "at_once", "expected"),
    [
        (RX2, None, False, {"RxDelay": 2, "RX1DR": 0, "RX1Freq": 869_525_000}),
        (
            Window(16_000_000, 869_525_000, 12, 125_000, 27, 0),
            None,
            False,
            {"RxDelay": 15, "RX2DR": 0, "RX2Freq": 869_525_000},
        ),
        (
            Window(5_000_000, 868_100_000, 7, 125_000, 14, 5),
            Window(6_000_000, 869_525_000, 12, 125_000, 27, 0),
            False,
            {
                "RxDelay": 5,
                "RX1DR": 5,
                "RX1Freq": 868_100_000,
                "RX2DR": 0,
                "RX2Freq": 869_525_000,
            },
        ),
        # A second window that RX2 cannot be.
        (
            RX1,
            Window(5_000_000, 869_525_000, 12, 125_000, 27, 0),
            False,
            {"RxDelay": 1, "RX1DR": 5, "RX1Freq": 868_100_000},
        ),
        (RX2, None, True, {"RxDelay": 1, "RX2DR": 0, "RX2Freq": 869_525_000}),
    ],
)
def test_windows_in_the_stations_words(ready, window, fallback, at_once, expected):
    (sent,) = ready.order(window=window, fallback=fallback, at_once=at_once)
    told = json.loads(sent.text)
    names = ("RxDelay", "RX1DR", "RX1Freq", "RX2DR", "RX2Freq")
    assert {name: told[name] for name in names if name in told} == expected
    assert told["dC"] == (2 if at_once else 0)
    assert told.get("xtime") == (None if at_once else SESSION + 1_000_000)
    assert told["rctx"] == 3


@pytest.mark.parametrize("dev_eui", [b"", bytes(8)])
def test_no_downlink_names_dev_eui_zero(ready, dev_eui):
    (sent,) = ready.order(dev_eui=dev_eui)
    assert json.loads(sent.text)["DevEui"] == "00-00-00-00-00-00-00-01"


SAME = Window(1_000_000, 923_300_000, 7, 500_000, 20, 13)
SAME_RX2 = Window(2_000_000, 923_300_000, 12, 500_000, 20, 8)


@pytest.mark.parametrize(
    ("window", "fallback", "told", "used_fallback"),
    [
        (RX1, RX2, {"Freq": 868_100_000, "DR": 5}, False),
        (RX1, RX2, {"Freq": 869_525_000, "DR": 0}, True),
        (RX1, RX2, {"Freq": 869_525_000}, True),
        (RX1, RX2, {}, False),
        (RX2, None, {"Freq": 869_525_000, "DR": 0}, False),
        (SAME, SAME_RX2, {"Freq": 923_300_000, "DR": 13}, False),
        (SAME, SAME_RX2, {"Freq": 923_300_000, "DR": 8}, True),
    ],
)
def test_the_end_of_a_downlink(ready, window, fallback, told, used_fallback):
    ready.order(window=window, fallback=fallback)
    message = {"msgtype": "dntxed", "diid": 1, "DevEui": "70-B3-D5-7E-D0-00-00-01"} | told
    assert ready.say(message) == [Transmitted(7, EUI, "", "", used_fallback)]
    (again,) = ready.say(message)
    assert again == Rejected("station_dntxed_unasked", EUI.hex(), EUI)


def test_the_end_may_come_over_the_next_connection(ready):
    ready.order()
    ready.handle(Closed(1))
    ready.station()
    assert ready.say({"msgtype": "dntxed", "diid": 1}) == [Transmitted(7, EUI, "")]


@pytest.mark.parametrize("diid", [2, "1", True, None, [1]])
def test_the_end_of_nothing(ready, diid):
    ready.order()
    (rejected,) = ready.say({"msgtype": "dntxed", "diid": diid})
    assert rejected.reason == "station_dntxed_unasked"


def test_the_other_gateways_end_is_not_this_ones(ready):
    ready.order()
    ready.station(OTHER, address=("198.51.100.1", 7))
    (rejected,) = ready.say({"msgtype": "dntxed", "diid": 1})
    assert rejected.gateway_eui == OTHER


@pytest.mark.parametrize(
    ("changes", "until_ms"),
    [({}, 2000), ({"fallback": None}, 1000), ({"at_once": True, "fallback": None}, 1100)],
)
def test_silence_ends_a_downlink_after_its_last_window(ready, changes, until_ms):
    ready.order(**changes)
    deadline_ms = until_ms + basics_station.PATIENCE_MS
    assert ready.machine.next_deadline() == deadline_ms
    ready.now = deadline_ms - 1
    assert ready.handle(Tick()) == []
    ready.now = deadline_ms
    assert ready.handle(Tick()) == [Transmitted(7, EUI, "NO_DNTXED")]


def test_nothing_can_be_sent_before_the_configuration(peer):
    assert peer.order() == [Transmitted(7, EUI, "NOT_CONNECTED")]
    peer.connect(f"/router/{EUI.hex()}")
    assert peer.order() == [Transmitted(7, EUI, "NOT_CONNECTED")]


@pytest.mark.parametrize("changes", [{"context": None}, {"window": None}])
def test_an_order_that_a_station_cannot_place(ready, changes):
    assert ready.order(**changes) == [Transmitted(7, EUI, "NO_CONTEXT")]


# Anything.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    [
        *("MHdr", "DevAddr", "FCtrl", "FCnt", "FOpts", "FPort", "FRMPayload", "MIC", "DR", "Freq"),
        *("JoinEui", "DevEui", "DevNonce", "upinfo", "txtime", "diid", "router", "station"),
    ]
)
KINDS = st.sampled_from(["updf", "jreq", "propdf", "dntxed", "timesync", "version", "event"])


@given(st.lists(st.tuples(KINDS, st.dictionaries(FIELDS, JSON)), max_size=8), st.text())
def test_no_message_raises(messages, text):
    peer = Peer()
    peer.station()
    peer.say(text)
    for kind, changes in messages:
        base = VECTORS["gwb-updf-full"]["input"] | VECTORS["gwb-jreq"]["input"]
        message = base | {"upinfo": UPINFO} | changes | {"msgtype": kind}
        for action in peer.say(message):
            assert isinstance(action, UplinkFrame | Rejected | SendText | GatewayStat | Transmitted)


@given(st.text(), st.text(), st.text(), st.text(), st.none() | st.text())
def test_no_connection_raises(path, host, authorization, text, common_name):
    peer = Peer(tokens={EUI: "t"}, client_certificates=True)
    more = {"authorization": authorization, "common_name": common_name}
    for start in ("", "/router/", f"/router/{EUI.hex()}"):
        peer.connect(start + path, host=host, **more)
    peer.connect("/router-info", host=host, **more)
    peer.say(text)
    peer.handle(Closed(peer.connections))
