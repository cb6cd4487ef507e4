"""The GWMP server's machine: what each datagram causes, and what no datagram can cause."""

import base64
import dataclasses
import itertools
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.forwarders import gwmp
from stoep_gateway.forwarders.gwmp import (
    DatagramReceived,
    GatewayStat,
    GwmpServer,
    SendDatagram,
    parse_tx_ack,
)
from stoep_gateway.forwarders.links import HOST_STAYS_MS, PULL_LASTS_MS, Link, Links
from stoep_gateway.lns.frames import Rejected, Tick, Transmit, Transmitted, UplinkFrame

EUI = bytes.fromhex("0016c001ff10a235")
STRANGER = bytes.fromhex("1111111111111111")
UP, DOWN = ("192.0.2.1", 40001), ("192.0.2.1", 40002)
PHY = bytes(range(23))

VECTORS = [
    vector
    for vector in json.loads(
        (Path(__file__).parents[1] / "vectors" / "lorawan.json").read_text(encoding="utf-8")
    )["vectors"]
    if vector["kind"] == "gwmp"
]

RXPK = {
    "jver": 1,
    "tmst": 3512348611,
    "chan": 2,
    "rfch": 0,
    "freq": 868.5,
    "stat": 1,
    "modu": "LORA",
    "datr": "SF9BW125",
    "codr": "4/5",
    "rssi": -107,
    "lsnr": -3.2,
    "size": len(PHY),
    "data": base64.b64encode(PHY).decode(),
}


def push(body: object, eui: bytes = EUI, token: bytes = b"\xab\xcd") -> DatagramReceived:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DatagramReceived(b"\x02" + token + b"\x00" + eui + data, UP)


def pull(eui: bytes = EUI, address: tuple = DOWN) -> DatagramReceived:
    return DatagramReceived(b"\x02\x12\x34\x02" + eui, address)


def tx_ack(token: bytes, body: bytes = b"", eui: bytes = EUI, address: tuple = DOWN):
    return DatagramReceived(b"\x02" + token + b"\x05" + eui + body, address)


def order(downlink_id: int = 7) -> Transmit:
    return Transmit(downlink_id, EUI, 4_294_000_000, 869_525_000, 12, 125_000, 27, PHY)


@pytest.fixture
def server() -> GwmpServer:
    return GwmpServer([EUI])


@pytest.fixture
def connected(server: GwmpServer) -> GwmpServer:
    server.handle(pull(), 0)
    return server


def token_of(server: GwmpServer, now: int = 0, downlink_id: int = 7) -> bytes:
    (sent,) = server.handle(order(downlink_id), now)
    assert isinstance(sent, SendDatagram)
    return sent.data[1:3]


def reasons(actions: list) -> list[str]:
    return [action.reason for action in actions if isinstance(action, Rejected)]


def test_push_data_is_acknowledged_first_and_then_read(server):
    ack, frame = server.handle(push({"rxpk": [RXPK]}), 5000)
    assert ack == SendDatagram(bytes.fromhex("02abcd01"), UP)
    assert frame == UplinkFrame(
        phy_payload=PHY,
        gateway_eui=EUI,
        tmst_us=3512348611,
        freq_hz=868_500_000,
        sf=9,
        bw_hz=125_000,
        rssi_dbm=-107.0,
        snr_db=-3.2,
        received_ms=5000,
    )


def test_stat_and_receptions_may_come_together_or_apart(server):
    stat = {"time": "2026-01-01 00:00:00 GMT", "rxnb": 2, "rxok": 2, "ackr": 100.0}
    assert server.handle(push({"stat": stat}), 0)[1:] == [GatewayStat(EUI, stat)]
    both = server.handle(push({"rxpk": [RXPK, RXPK], "stat": stat}), 0)
    assert [type(action) for action in both] == [
        SendDatagram,
        UplinkFrame,
        UplinkFrame,
        GatewayStat,
    ]


def test_a_backlog_of_receptions_in_one_datagram(server):
    actions = server.handle(push({"rxpk": [RXPK] * 52}), 0)
    assert sum(isinstance(action, UplinkFrame) for action in actions) == 52


@pytest.mark.parametrize("stripped", ["=", "=="])
def test_base64_may_lack_padding(server, stripped):
    phy = PHY if stripped == "=" else PHY[:-1]
    text = base64.b64encode(phy).decode()
    assert text.endswith(stripped)
    _, frame = server.handle(push({"rxpk": [RXPK | {"data": text.rstrip("=")}]}), 0)
    assert frame.phy_payload == phy


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stat": -1}, "rxpk_crc"),
        ({"stat": 0}, "rxpk_no_crc"),
        ({"datr": 50000, "modu": "FSK"}, "rxpk_modulation"),
        ({"modu": "FSK"}, "rxpk_modulation"),
        ({"datr": "SF13BW125"}, "rxpk_modulation"),
        ({"datr": ["SF7BW125"]}, "rxpk_fields"),
        ({"data": "****"}, "rxpk_base64"),
        ({"data": "A"}, "rxpk_base64"),
        ({"data": "ÄÄÄÄ"}, "rxpk_base64"),
        ({"data": ""}, "rxpk_size"),
        ({"data": base64.b64encode(bytes(256)).decode()}, "rxpk_size"),
        ({"data": 12}, "rxpk_fields"),
        ({"freq": "868.1"}, "rxpk_fields"),
        ({"freq": 0}, "rxpk_range"),
        ({"freq": 1e300}, "rxpk_range"),
        ({"tmst": -1}, "rxpk_range"),
        ({"tmst": 2**32}, "rxpk_range"),
        ({"tmst": 1.5}, "rxpk_range"),
        ({"tmst": True}, "rxpk_range"),
        ({"tmst": None}, "rxpk_range"),
        ({"rssi": None}, "rxpk_fields"),
        ({"rssi": 4000}, "rxpk_range"),
        ({"lsnr": -400}, "rxpk_range"),
    ],
)
def test_a_reception_that_is_none(server, change, reason):
    ack, rejected = server.handle(push({"rxpk": [RXPK | change]}), 0)
    assert isinstance(ack, SendDatagram)
    assert rejected.reason == reason
    assert rejected.gateway_eui == EUI


def test_no_field_can_cost_more_memory_than_its_datagram(server):
    values = ["8" * 4000, [1] * 2000, 10**300]
    tracemalloc.start()
    for name, value in itertools.product(RXPK, values):
        server.handle(push({"rxpk": [RXPK | {name: value}]}), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("missing", ["tmst", "freq", "datr", "rssi", "lsnr", "data"])
def test_a_reception_without_a_field_that_is_needed(server, missing):
    rxpk = {name: value for name, value in RXPK.items() if name != missing}
    assert reasons(server.handle(push({"rxpk": [rxpk]}), 0)) == ["rxpk_fields"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "gwmp_json"),
        (b'{"rxpk":[{"tmst":35', "gwmp_json"),
        (b'{"rxpk":[{"lsnr":NaN}]}', "gwmp_json"),
        (b'{"rxpk":[{"lsnr":1e999}]}', "gwmp_json"),
        (b"\xff\xfe\x00", "gwmp_json"),
        (b"[" * 20_000, "gwmp_json"),
        (b'{"stat":' + b"9" * 5000 + b"}", "gwmp_json"),
        (b"[]", "gwmp_json"),
        (b'{"rxpk":{}}', "gwmp_rxpk"),
        (b'{"rxpk":[' + b",".join([b"{}"] * 257) + b"]}", "gwmp_rxpk"),
        (b'{"rxpk":[7]}', "rxpk_fields"),
        (b'{"rxpk":[null]}', "rxpk_fields"),
        (b'{"stat":[]}', "gwmp_stat"),
    ],
)
def test_a_body_that_is_none_is_acknowledged_and_counted(server, body, reason):
    ack, *rest = server.handle(push(body), 0)
    assert ack == SendDatagram(bytes.fromhex("02abcd01"), UP)
    assert reasons(rest) == [reason]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "gwmp_truncated"),
        (b"\x02\x00\x00\x00" + EUI[:7], "gwmp_truncated"),
        (b"\x01\x00\x00\x00" + EUI + b"{}", "gwmp_version"),
        (b"\x02\x00\x00\x01" + EUI, "gwmp_identifier"),
        (b"\x02\x00\x00\x03" + EUI, "gwmp_identifier"),
        (b"\x02\x00\x00\x04" + EUI, "gwmp_identifier"),
        (b"\x02\x00\x00\x06" + EUI, "gwmp_identifier"),
        (b"\x02\x00\x00\x00" + EUI + b" " * gwmp.MAX_DATAGRAM, "gwmp_too_long"),
    ],
)
def test_what_is_no_datagram_of_a_forwarder_gets_no_answer(server, data, reason):
    assert reasons(server.handle(DatagramReceived(data, UP), 0)) == [reason]
    assert server.links[EUI].last_seen_ms is None


def test_an_unregistered_gateway_is_refused(server):
    for event in (push({"rxpk": [RXPK]}, STRANGER), pull(STRANGER)):
        detail = f"{STRANGER.hex()} from 192.0.2.1:{event.address[1]}"
        assert server.handle(event, 9) == [Rejected("gateway_not_registered", detail)]
    (seen,) = server.links.unregistered
    assert (seen.eui, seen.protocol, seen.address) == (STRANGER, "gwmp", "192.0.2.1:40002")
    assert (seen.count, seen.first_seen_ms, seen.last_seen_ms) == (2, 9, 9)


def limited(*euis: bytes) -> GwmpServer:
    return GwmpServer(Links(Link(eui, messages_per_s=10, burst=3) for eui in euis))


def test_a_gateway_that_sends_too_much_is_held_back_and_recovers():
    server = limited(EUI, STRANGER)
    kept = [reasons(server.handle(pull(), 0)) for _ in range(5)]
    assert kept == [[], [], [], ["gateway_rate_limit"], ["gateway_rate_limit"]]
    assert reasons(server.handle(pull(STRANGER), 0)) == []
    assert reasons(server.handle(pull(), 99)) == ["gateway_rate_limit"]
    assert reasons(server.handle(pull(), 100)) == []
    assert reasons(server.handle(pull(), 100)) == ["gateway_rate_limit"]
    # A long silence saves up no more than a burst.
    assert [reasons(server.handle(pull(), 1_000_000)) for _ in range(4)][-1] == [
        "gateway_rate_limit"
    ]


def test_sixteen_receptions_count_against_the_rate_like_a_datagram():
    server = limited(EUI)
    assert reasons(server.handle(push({"rxpk": [RXPK] * 65}), 0)) == []
    assert reasons(server.handle(pull(), 299)) == ["gateway_rate_limit"]
    assert reasons(server.handle(pull(), 300)) == []


def test_a_forger_elsewhere_cannot_use_up_what_the_gateway_may_send():
    server = limited(EUI)
    forged = pull(address=("198.51.100.9", 1))
    assert reasons(server.handle(pull(), 0)) == []
    kept = [reasons(server.handle(forged, 0)) for _ in range(100)]
    assert kept == [[]] + [["gateway_rate_limit"]] * 99
    assert [reasons(server.handle(pull(), 0)) for _ in range(2)] == [[], []]


def test_a_forger_elsewhere_cannot_divert_downlinks_from_a_gateway_that_pulls(server):
    forged = pull(address=("198.51.100.9", 1))
    for now in range(0, 300_000, 10_000):
        server.handle(pull(), now)
        server.handle(forged, now + 1)
        (sent,) = server.handle(order(), now + 2)
        assert sent.address == DOWN


FORGED = st.tuples(
    st.sampled_from([0, 2]),
    st.sampled_from([b"", b"{}", b'{"rxpk":[]}', b'{"rxpk":[' + b",".join([b"7"] * 200) + b"]}"]),
    st.sampled_from([f"198.51.100.{host}" for host in range(5)]),
)


@given(
    st.lists(
        st.tuples(
            st.integers(0, HOST_STAYS_MS - 1),
            st.sampled_from(["push", "pull", "order"]),
            st.lists(FORGED, max_size=20),
        ),
        max_size=30,
    )
)
def test_a_gateway_that_keeps_asking_fares_the_same_with_and_without_forgers(steps):
    """For the gateway asks for downlinks at least every 30 s, and nobody else has its address."""

    def run(*, forgers: bool) -> list:
        server, now, seen = limited(EUI), 0, [limited]
        server.handle(pull(), now)
        for wait_ms, what, forged in steps:
            for kind, body, host in forged if forgers else ():
                data = bytes((2, 0, 0, kind)) + EUI + body
                server.handle(DatagramReceived(data, (host, 7)), now)
            now += wait_ms
            events = {"push": push({"rxpk": [RXPK]}), "pull": pull(), "order": order()}
            seen.append(server.handle(events[what], now))
            seen.append(server.handle(pull(), now))
        return seen

    assert run(forgers=True) == run(forgers=False)


def test_a_gateway_that_has_moved_is_believed_once_its_old_address_is_silent(server):
    moved = ("198.51.100.9", 1)
    server.handle(pull(), 0)
    server.handle(pull(address=moved), HOST_STAYS_MS - 1)
    assert server.handle(order(), HOST_STAYS_MS)[0].address == DOWN
    server.handle(pull(address=moved), HOST_STAYS_MS)
    assert server.handle(order(), HOST_STAYS_MS)[0].address == moved
    assert list(server.links[EUI].moved_ms) == [HOST_STAYS_MS]


@pytest.mark.parametrize(
    ("allowed", "host", "passes"),
    [
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.0/24"], "192.0.2.1", True),
        (["192.0.2.0/24"], "::ffff:192.0.2.1", True),
        (["198.51.100.0/24", "2001:db8::/32"], "2001:db8::7", True),
        (["192.0.2.0/24"], "192.0.3.1", False),
        (["192.0.2.0/24"], "2001:db8::7", False),
        (["192.0.2.0/24"], "no address", False),
    ],
)
def test_a_gateway_is_heard_only_where_it_may_be(allowed, host, passes):
    server = GwmpServer(Links([Link(EUI, allowed)]))
    actions = server.handle(pull(address=(host, 9)), 7)
    link = server.links[EUI]
    if passes:
        assert actions == [SendDatagram(bytes.fromhex("02123404"), (host, 9))]
        return
    assert [(it.reason, it.gateway_eui) for it in actions] == [("gateway_address", EUI)]
    assert (link.last_seen_ms, link.refused_address, link.refused_ms) == (None, (host, 9), 7)
    assert server.handle(order(), 8) == [Transmitted(7, EUI, "NOT_CONNECTED")]


def test_the_backlog_of_a_day_is_no_flood():
    """A forwarder that was cut off sends all it has, some 52 receptions in a datagram."""
    server = GwmpServer([EUI])
    for _ in range(200):
        assert reasons(server.handle(push({"rxpk": [RXPK] * 52}), 0)) == []


def test_a_stat_is_kept_as_far_as_it_is_plain(server):
    body = b'{"stat":{"rxnb":2,"lati":46.2,"desc":"roof","x":[[]],"y":{},"z":null}}'
    datagram = DatagramReceived(bytes((2, 0, 0, 0)) + EUI + body, UP)
    assert server.handle(datagram, 0)[1:] == [
        GatewayStat(EUI, {"rxnb": 2, "lati": 46.2, "desc": "roof"})
    ]


def test_pull_data_is_acknowledged_and_says_where_downlinks_go(server):
    assert server.handle(pull(), 0) == [SendDatagram(bytes.fromhex("02123404"), DOWN)]
    elsewhere = ("192.0.2.1", 50000)
    server.handle(pull(address=elsewhere), 1)
    (sent,) = server.handle(order(), 2)
    assert sent.address == elsewhere


def test_a_downlink_carries_what_a_forwarder_needs(connected):
    (sent,) = connected.handle(order(), 0)
    assert sent.for_air
    assert sent.address == DOWN
    assert sent.data[0] == 2
    assert sent.data[3] == 3
    assert json.loads(sent.data[4:]) == {
        "txpk": {
            "imme": False,
            "tmst": 4_294_000_000,
            "freq": 869.525,
            "rfch": 0,
            "powe": 27,
            "modu": "LORA",
            "datr": "SF12BW125",
            "codr": "4/5",
            "ipol": True,
            "ncrc": True,
            "prea": 8,
            "size": len(PHY),
            "data": base64.b64encode(PHY).decode(),
        }
    }


def test_a_downlink_to_a_gateway_that_never_asked_for_one(server):
    assert server.handle(order(), 0) == [Transmitted(7, EUI, "NOT_CONNECTED")]


def test_a_downlink_of_class_c_goes_at_once(connected):
    (sent,) = connected.handle(dataclasses.replace(order(), at_once=True), 0)
    txpk = json.loads(sent.data[4:])["txpk"]
    assert txpk["imme"] is True
    assert "tmst" not in txpk


@pytest.mark.parametrize(
    ("eirp_dbm", "gain_dbi", "powe"),
    [(27, 0.0, 27), (14, 2.15, 11), (14, -1.5, 15), (2, 6.0, 0), (16, 3.0, 13)],
)
def test_the_antennas_gain_is_taken_off_the_power(eirp_dbm, gain_dbi, powe):
    server = GwmpServer(Links([Link(EUI, antenna_gain_dbi=gain_dbi)]))
    server.handle(pull(), 0)
    (sent,) = server.handle(dataclasses.replace(order(), power_dbm=eirp_dbm), 0)
    assert json.loads(sent.data[4:])["txpk"]["powe"] == powe


def test_a_gateway_that_no_longer_asks_for_downlinks_gets_none(server):
    server.handle(pull(), 0)
    server.handle(push({}), PULL_LASTS_MS)
    assert server.handle(order(), PULL_LASTS_MS) == [Transmitted(7, EUI, "NOT_CONNECTED")]
    server.handle(pull(), PULL_LASTS_MS + 1)
    assert isinstance(server.handle(order(), PULL_LASTS_MS + 1)[0], SendDatagram)


def test_the_answers_tell_the_round_trip(connected):
    link = connected.links[EUI]
    assert (link.round_trip_ms, link.round_trip_worst_ms) == (None, None)
    for milliseconds in (40, 900, 60):
        token = token_of(connected, now=1000)
        connected.handle(tx_ack(token), 1000 + milliseconds)
    assert (link.round_trip_ms, link.round_trip_worst_ms) == (60, 900)


@pytest.mark.parametrize(
    ("body", "error", "warning"),
    [
        (b"", "", ""),
        (b"\x00", "", ""),
        (b'{"txpk_ack":{"error":"NONE"}}', "", ""),
        (b'{"txpk_ack":{"error":"TOO_EARLY"}}', "TOO_EARLY", ""),
        (b'{"txpk_ack":{"error":"COLLISION_PACKET"}}', "COLLISION_PACKET", ""),
        (b'{"txpk_ack":{"warn":"TX_POWER","value":27}}', "", "TX_POWER"),
        (b'{"txpk_ack":{"error":"rm -rf"}}', "UNKNOWN", ""),
        (b'{"txpk_ack":[]}', "UNKNOWN", ""),
        (b"{", "UNKNOWN", ""),
        (b"\xff", "UNKNOWN", ""),
    ],
)
def test_tx_ack_ends_its_downlink(connected, body, error, warning):
    token = token_of(connected)
    expected = [Transmitted(7, EUI, error, warning)]
    assert connected.handle(tx_ack(token, body), 10) == expected
    assert connected.next_deadline() is None


def test_tx_ack_may_come_from_the_upstream_socket(connected):
    token = token_of(connected)
    assert connected.handle(tx_ack(token, address=UP), 1) == [Transmitted(7, EUI, "")]


def test_tx_ack_counts_once_and_only_from_its_gateway():
    server = GwmpServer([EUI, STRANGER])
    server.handle(pull(), 0)
    token = token_of(server)
    assert reasons(server.handle(tx_ack(token, eui=STRANGER), 1)) == ["gwmp_tx_ack_unasked"]
    assert server.handle(tx_ack(token), 1) == [Transmitted(7, EUI, "")]
    assert reasons(server.handle(tx_ack(token), 1)) == ["gwmp_tx_ack_unasked"]


def test_a_gateway_that_does_not_say_what_became_of_a_downlink(connected):
    token_of(connected, now=100)
    token_of(connected, now=200, downlink_id=8)
    deadline = connected.next_deadline()
    assert deadline == 100 + gwmp.TX_ACK_TIMEOUT_MS
    assert connected.handle(Tick(), deadline - 1) == []
    assert connected.handle(Tick(), deadline) == [Transmitted(7, EUI, "NO_TX_ACK")]
    assert connected.next_deadline() == 200 + gwmp.TX_ACK_TIMEOUT_MS


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_foreign_vectors(vector):
    assert len(VECTORS) == 3
    data = bytes.fromhex(vector["input"]["hex"])
    expected = vector["expect"]
    error, _ = parse_tx_ack(data)
    assert error == (expected["error"] or "")
    assert data[3] == {"TX_ACK": 5}[expected["kind"]]
    if "gateway" in expected:
        gateway = bytes.fromhex(expected["gateway"])
        server = GwmpServer([gateway])
        server.handle(pull(gateway), 0)
        sent = order()
        for _ in range(65_536):
            (datagram,) = server.handle(
                Transmit(7, gateway, 0, sent.freq_hz, 7, 125_000, 14, PHY), 0
            )
            if int.from_bytes(datagram.data[1:3], "little") == expected["token_le"]:
                break
        assert server.handle(DatagramReceived(data, DOWN), 0) == [Transmitted(7, gateway, error)]


@given(
    st.binary(max_size=64)
    | st.builds(
        lambda kind, body: b"\x02\0\0" + kind + EUI + body,
        st.sampled_from([b"\x00", b"\x02", b"\x05"]),
        st.binary(max_size=64),
    )
)
def test_no_datagram_raises(data):
    server = GwmpServer([EUI])
    for action in server.handle(DatagramReceived(data, UP), 0):
        assert isinstance(action, SendDatagram | Rejected | UplinkFrame | GatewayStat)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(RXPK, ODD)))
def test_no_reception_raises(fields):
    server = GwmpServer([EUI])
    _, *rest = server.handle(push({"rxpk": [RXPK | fields]}), 0)
    for action in rest:
        assert isinstance(action, Rejected | UplinkFrame)
