"""The UDP driver on real sockets."""

import asyncio
import socket

import pytest
from gwmp_client import Forwarder, rxpk
from hand_clock import HandClock
from stoep_gateway.forwarders.gwmp import TX_ACK_TIMEOUT_MS, GwmpServer
from stoep_gateway.forwarders.udp import UdpForwarders
from stoep_gateway.lns.frames import Rejected, Transmit, Transmitted, UplinkFrame

EUI = bytes.fromhex("0016c001ff10a235")


class Driver(UdpForwarders):
    def __init__(self, clock):
        self.delivered = []
        super().__init__(GwmpServer([EUI]), clock, self.delivered.append)


@pytest.fixture
async def clock():
    return HandClock()


@pytest.fixture
async def driver(clock):
    driver = Driver(clock)
    driver.open("127.0.0.1", 0)
    yield driver
    driver.close()


@pytest.fixture
async def forwarder(driver):
    forwarder = Forwarder(EUI, driver.port)
    yield forwarder
    forwarder.close()


async def exchange(driver, action, *arguments, **keywords):
    """Let a forwarder, which blocks, act in a thread while the driver runs."""
    async with asyncio.timeout(10):
        return await asyncio.to_thread(action, *arguments, **keywords)


async def test_a_reception_is_acknowledged_and_delivered(driver, forwarder):
    await exchange(driver, forwarder.push, rxpk(b"phy", tmst=5))
    (frame,) = driver.delivered
    assert isinstance(frame, UplinkFrame)
    assert (frame.phy_payload, frame.tmst_us) == (b"phy", 5)
    assert (driver.received, driver.sent, driver.sent_for_air) == (1, 1, 0)


async def test_a_downlink_goes_to_the_socket_that_asked_and_its_answer_comes_back(
    driver, forwarder
):
    await exchange(driver, forwarder.pull)
    driver.handle(Transmit(9, EUI, 1000, 868_100_000, 7, 125_000, 14, b"down"))
    txpk = await exchange(driver, forwarder.take_downlink, "TOO_LATE")
    assert txpk["tmst"] == 1000
    async with asyncio.timeout(10):
        await driver.received_at_least(2)
    assert driver.delivered == [Transmitted(9, EUI, "TOO_LATE")]
    assert driver.sent_for_air == 1


async def test_many_datagrams_at_once_are_all_taken(driver, forwarder):
    for number in range(150):
        forwarder.send(0, b'{"rxpk":[7]}', number.to_bytes(2, "big"))
    async with asyncio.timeout(10):
        await driver.received_at_least(150)
    assert len(driver.delivered) == 150
    answers = {forwarder.up.recv(100)[1:3] for _ in range(150)}
    assert answers == {number.to_bytes(2, "big") for number in range(150)}


async def test_the_machines_deadline_is_kept(driver, forwarder, clock):
    await exchange(driver, forwarder.pull)
    driver.handle(Transmit(9, EUI, 1000, 868_100_000, 7, 125_000, 14, b"down"))
    clock.pass_ms(TX_ACK_TIMEOUT_MS - 1)
    assert driver.delivered == []
    clock.pass_ms(1)
    assert driver.delivered == [Transmitted(9, EUI, "NO_TX_ACK")]
    assert clock.timers() == 0


async def test_an_address_that_cannot_be_reached_is_counted(driver, forwarder):
    await exchange(driver, forwarder.pull)
    driver._machine.links[EUI].pull_address = ("127.0.0.1", 0)
    driver.handle(Transmit(9, EUI, 1000, 868_100_000, 7, 125_000, 14, b"down"))
    assert driver.delivered == [Rejected("gwmp_send")]


async def test_a_port_that_is_taken(driver, clock):
    other = Driver(clock)
    with pytest.raises(OSError, match="in use"):
        other.open("127.0.0.1", driver.port)
    other.close()  # of one that never opened


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_ipv6(clock):
    driver = Driver(clock)
    driver.open("::1", 0)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.connect(("::1", driver.port))
        sock.send(b"\x02\x00\x01\x02" + EUI)
        async with asyncio.timeout(10):
            await driver.received_at_least(1)
        assert sock.recv(100) == b"\x02\x00\x01\x04"
    driver.close()
