"""What is known of gateways' connections, and of gateways that are not registered."""

from stoep_gateway.config_model import GatewayConfig, GwmpConfig
from stoep_gateway.forwarders import links
from stoep_gateway.forwarders.links import MAX_UNREGISTERED, Bucket, Link, Links, host_and_port

EUI = bytes.fromhex("0016c001ff10a235")
PEER = ("192.0.2.1", 40000)


def test_links_of_a_configuration():
    gateway = GatewayConfig(id="roof", eui=EUI, addresses=["192.0.2.0/24"], antenna_gain_dbi=2.5)
    known = links.of([gateway], GwmpConfig(datagrams_per_s=10, burst=2))
    link = known[EUI]
    assert link.antenna_gain_dbi == 2.5
    assert link.may_come_from("192.0.2.9")
    assert not link.may_come_from("192.0.3.9")
    assert [link.bucket.take(0) for _ in range(3)] == [True, True, False]


def test_a_connection_that_stays_is_one_until_it_is_closed():
    link = Link(EUI)
    assert not link.connected(0)
    link.opened("basics_station", PEER, 5)
    assert (link.protocol, link.peer, link.last_seen_ms) == ("basics_station", PEER, 5)
    assert link.connected(10**12)
    link.closed()
    assert not link.connected(6)


def test_a_bucket_may_be_charged_into_debt():
    bucket = Bucket(per_s=10, burst=2)
    assert bucket.take(0)
    bucket.charge(3)
    assert not bucket.take(299)
    assert bucket.take(300)


def test_unregistered_gateways_are_few_however_many_come_and_the_persistent_stay():
    known = Links([])
    for now in range(5):
        known.seen_unregistered(EUI, "gwmp", PEER, now)
    for number in range(10 * MAX_UNREGISTERED):
        known.seen_unregistered(number.to_bytes(8, "big"), "basics_station", PEER, 10 + number)
    assert len(known.unregistered) == MAX_UNREGISTERED
    assert known.unregistered[0].eui == (10 * MAX_UNREGISTERED - 1).to_bytes(8, "big")
    (persistent,) = [seen for seen in known.unregistered if seen.eui == EUI]
    assert (persistent.count, persistent.first_seen_ms, persistent.last_seen_ms) == (5, 0, 4)
    assert persistent.address == "192.0.2.1:40000"


def test_addresses_are_written_as_people_do():
    assert host_and_port(("192.0.2.1", 9)) == "192.0.2.1:9"
    assert host_and_port(("2001:db8::1", 9, 0, 0)) == "[2001:db8::1]:9"
