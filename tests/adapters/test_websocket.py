"""The WebSocket driver on real sockets, with and without TLS, before a station from elsewhere."""

import asyncio
import contextlib
import itertools
import socket
import ssl

import pytest
from certificates import Authority
from hand_clock import HandClock
from station import Station
from stoep_gateway.config_model import BasicsStationConfig, GatewayConfig
from stoep_gateway.errors import FatalError
from stoep_gateway.forwarders.basics_station import (
    DISCOVERY_TIMEOUT_MS,
    MAX_TEXT,
    PATIENCE_MS,
    BasicsStationServer,
)
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.forwarders.links import Link, Links
from stoep_gateway.forwarders.tokens import read_tokens
from stoep_gateway.forwarders.websocket import MAX_UNSENT, WebSocketStations
from stoep_gateway.lns import channel_plan
from stoep_gateway.lns.frames import Rejected, Transmit, Transmitted, UplinkFrame, Window
from stoep_protocol.lorawan import regions
from waiting import PATIENCE_S, until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage

EUIS = [bytes.fromhex(f"0016c001ff10a2{number:02x}") for number in range(20)]
EUI = EUIS[0]
PHY = bytes.fromhex("40010000260000010a0102030405060708")
RX1 = Window(1_000_000, 868_100_000, 7, 125_000, 14, 5)
RX2 = Window(2_000_000, 869_525_000, 12, 125_000, 27, 0)


class Driver(WebSocketStations):
    def __init__(self, clock, **options):
        self.delivered = []
        self.links = Links(Link(eui) for eui in EUIS)
        plan = channel_plan.for_region(regions.by_name("EU868"))
        ping_s = options.pop("ping_s", 600)
        machine = BasicsStationServer(self.links, plan, **options)
        self._news = asyncio.Event()
        super().__init__(machine, clock, self._take, ping_s=ping_s)

    def _take(self, action):
        self.delivered.append(action)
        self._news.set()

    def of(self, kind):
        return [action for action in self.delivered if isinstance(action, kind)]

    async def until(self, condition):
        """Wait for what a delivered action makes true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def running(config=None, **options):
    driver = Driver(HandClock(), **options)
    await driver.open(config or BasicsStationConfig(port=0))
    try:
        yield driver
    finally:
        driver.close()
        await driver.wait_closed()


@pytest.fixture
async def driver():
    async with running() as driver:
        yield driver


@contextlib.asynccontextmanager
async def station_of(driver, eui=EUI, *, scheme="ws", **more):
    station = Station(eui, f"{scheme}://127.0.0.1:{driver.port}", **more)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await station.start()
        yield station
    finally:
        await station.stop()


def order(downlink_id=9, eui=EUI, **more):
    return Transmit(
        downlink_id,
        eui,
        0,
        RX1.freq_hz,
        7,
        125_000,
        14,
        b"\x60down",
        dev_eui=b"\x70" * 8,
        context=(5 << 48 | 77, 0),
        window=RX1,
        fallback=RX2,
        **more,
    )


async def test_up_and_down(driver):
    async with station_of(driver) as station:
        assert station.config["region"] == "EU863"
        assert driver.links[EUI].connected(0)
        await station.uplink(PHY, xtime=5 << 48 | 77)
        await driver.until(lambda: driver.of(UplinkFrame))
        (frame,) = driver.of(UplinkFrame)
        assert (frame.phy_payload, frame.context) == (PHY, (5 << 48 | 77, 0))
        driver.handle(order())
        async with asyncio.timeout(PATIENCE_S):
            told = await station.take_downlink()
        assert (told.xtime, bytes(told.payload)) == (5 << 48 | 77, b"\x60down")
        await station.transmitted(told, told.rx2)
        await driver.until(lambda: driver.of(Transmitted))
        assert driver.of(Transmitted) == [Transmitted(9, EUI, "", "", used_fallback=True)]
    await until(lambda: not driver.links[EUI].connected(0))
    driver.handle(order(10))
    assert driver.of(Transmitted)[-1] == Transmitted(10, EUI, "NOT_CONNECTED")


async def test_many_gateways_at_once(driver):
    async with contextlib.AsyncExitStack() as stack:
        stations = await asyncio.gather(
            *(stack.enter_async_context(station_of(driver, eui)) for eui in EUIS)
        )
        for _ in range(10):
            await asyncio.gather(*(station.uplink(PHY, xtime=1) for station in stations))
        await driver.until(lambda: len(driver.of(UplinkFrame)) == 200)
        for number, eui in enumerate(EUIS):
            driver.handle(order(number, eui))
        for station in stations:
            async with asyncio.timeout(PATIENCE_S):
                told = await station.take_downlink()
            await station.transmitted(told, told.rx1)
        await driver.until(lambda: len(driver.of(Transmitted)) == len(EUIS))
        assert {(end.downlink_id, end.gateway_eui) for end in driver.of(Transmitted)} == set(
            enumerate(EUIS)
        )


async def test_an_unregistered_station_is_told_so(driver):
    stranger = Station(b"\x11" * 8, f"ws://127.0.0.1:{driver.port}")
    async with asyncio.timeout(PATIENCE_S):
        answer = await stranger.discover()
    assert (answer.uri, answer.error) == (None, "gateway_not_registered")
    (seen,) = driver.links.unregistered
    assert seen.eui == b"\x11" * 8
    assert seen.address.startswith("127.0.0.1:")


async def test_the_machines_deadlines_are_kept(driver):
    clock = driver._clock
    async with station_of(driver):
        driver.handle(order())
        clock.pass_ms(2000 + PATIENCE_MS)
        assert driver.of(Transmitted) == [Transmitted(9, EUI, "NO_DNTXED")]
        clock.pass_ms(30_000)
        assert len(driver.of(GatewayStat)) == 2
    async with connect(f"ws://127.0.0.1:{driver.port}/router-info", proxy=None) as silent:
        await until(lambda: driver._machine.next_deadline() is not None)
        clock.pass_ms(DISCOVERY_TIMEOUT_MS)
        async with asyncio.timeout(PATIENCE_S):
            await silent.wait_closed()
        assert (silent.close_code, silent.close_reason) == (1008, "no request came")


async def test_the_newer_connection_wins(driver):
    async with station_of(driver) as older, station_of(driver) as newer:
        async with asyncio.timeout(PATIENCE_S):
            await older.session.wait_closed()
        assert older.session.close_reason == "connected again"
        driver.handle(order())
        async with asyncio.timeout(PATIENCE_S):
            await newer.take_downlink()


@pytest.mark.parametrize("path", ["/", "/router/zz", f"/router/{'11' * 8}"])
async def test_no_way_in(driver, path):
    async with connect(f"ws://127.0.0.1:{driver.port}{path}", proxy=None) as client:
        async with asyncio.timeout(PATIENCE_S):
            await client.wait_closed()
        assert client.close_code == 1008
    assert driver.of(Rejected)


async def test_what_is_too_long_ends_the_connection_and_what_is_binary_does_not(driver):
    async with station_of(driver) as station:
        await station.session.send(b"rmtsh")
        await driver.until(lambda: Rejected("station_binary") in driver.delivered)
        await station.uplink(PHY, xtime=1)
        await driver.until(lambda: driver.of(UplinkFrame))
        await station.session.send("x" * (MAX_TEXT + 1))
        async with asyncio.timeout(PATIENCE_S):
            await station.session.wait_closed()
        assert station.session.close_code == 1009


async def test_who_speaks_no_websocket_does_no_harm(driver, caplog):
    for data in (b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x02\x00\x00\x00", b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", driver.port)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
    async with station_of(driver):
        assert driver.links[EUI].connected(0)
    assert not caplog.records


async def test_a_connection_that_breaks_is_closed(driver):
    async with station_of(driver) as station:
        station.session.transport.abort()
        await until(lambda: not driver.links[EUI].connected(0))


async def test_an_answered_ping_tells_of_the_round_trip():
    async with running(ping_s=0.01) as driver, station_of(driver):
        await until(lambda: driver.links[EUI].round_trip_ms is not None)
        assert 0 < driver.links[EUI].round_trip_ms < 1000 * PATIENCE_S


async def test_a_station_that_answers_no_ping_is_dropped():
    async with running(ping_s=0.2) as driver, station_of(driver) as station:
        station.session.transport.pause_reading()
        await until(lambda: not driver.links[EUI].connected(0))
        station.session.transport.abort()


async def test_a_station_that_takes_nothing_is_dropped(driver):
    async with station_of(driver) as station:
        transport = station.session.transport
        transport.pause_reading()
        (peer,) = driver._peers.values()
        # The kernel would hold megabytes.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own = peer.socket.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        numbers = itertools.count()
        while Rejected("station_slow") not in driver.delivered:
            driver.handle(order(next(numbers)))
            await asyncio.sleep(0)
        await until(lambda: not driver.links[EUI].connected(0))
        assert next(numbers) > MAX_UNSENT
        transport.abort()


async def test_a_failure_within_is_the_applications(driver):
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    driver._deliver = lambda action: 1 / 0
    async with station_of(driver):
        await until(lambda: failures)
    assert isinstance(failures[0]["exception"], ZeroDivisionError)


async def test_a_closed_driver_listens_no_more(driver):
    async with station_of(driver) as station:
        port = driver.port
        driver.close()
        driver.close()
        async with asyncio.timeout(PATIENCE_S):
            await station.session.wait_closed()
            await driver.wait_closed()
        assert driver._clock.timers() == 0
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken(driver):
    other = Driver(HandClock())
    with pytest.raises(OSError, match="in use"):
        await other.open(BasicsStationConfig(port=driver.port))
    other.close()


# TLS and tokens.


def tls_config(authority, *, mutual=False):
    certificate, key = authority.issue("127.0.0.1")
    return BasicsStationConfig(
        port=0,
        tls_cert=str(certificate),
        tls_key=str(key),
        client_ca=str(authority.certificate) if mutual else None,
    )


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


async def test_over_tls_with_a_token(authority):
    options = {"tokens": {EUI: "Bearer open"}}
    async with running(tls_config(authority), **options) as driver:
        tls = authority.client()
        async with station_of(driver, scheme="wss", tls=tls, token="Bearer open") as station:
            await station.uplink(PHY, xtime=1)
            await driver.until(lambda: driver.of(UplinkFrame))
        wrong = Station(EUI, f"wss://127.0.0.1:{driver.port}", tls=tls, token="Bearer no")
        async with asyncio.timeout(PATIENCE_S):
            assert (await wrong.discover()).error == "station_token"
        with pytest.raises((InvalidMessage, ConnectionError, EOFError)):
            await Station(EUI, f"ws://127.0.0.1:{driver.port}").discover()


async def test_with_certificates_of_both_sides(authority, tmp_path):
    async with running(tls_config(authority, mutual=True), client_certificates=True) as driver:
        uri = f"wss://127.0.0.1:{driver.port}"
        async with station_of(driver, scheme="wss", tls=authority.client(EUI.hex())) as station:
            await station.uplink(PHY, xtime=1)
            await driver.until(lambda: driver.of(UplinkFrame))
        others = Station(EUI, uri, tls=authority.client(EUIS[1].hex("-")))
        async with asyncio.timeout(PATIENCE_S):
            assert (await others.discover()).error == "station_certificate"
        foreign = Authority(tmp_path / "foreign", "foreign")
        forged = authority.client()
        forged.load_cert_chain(*foreign.issue(EUI.hex()))
        for tls in (authority.client(), forged):
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError, InvalidMessage)):
                await Station(EUI, uri, tls=tls).discover()


async def test_certificates_of_no_use_end_the_start(authority, tmp_path):
    certificate, key = authority.issue("127.0.0.1")
    empty = tmp_path / "empty"
    empty.touch()
    for config in (
        {"tls_cert": str(empty), "tls_key": str(key)},
        {"tls_cert": str(tmp_path / "absent"), "tls_key": str(key)},
        {"tls_cert": str(certificate), "tls_key": str(key), "client_ca": str(empty)},
    ):
        driver = Driver(HandClock())
        with pytest.raises(FatalError, match=r"\[basics_station\] .*(empty|absent)"):
            await driver.open(BasicsStationConfig(port=0, **config))


def test_tokens_are_read_from_their_files(tmp_path):
    good, empty = tmp_path / "good", tmp_path / "empty"
    good.write_text("Authorization: Bearer x\r\n")
    empty.write_text("\n")

    def gateway(file):
        return GatewayConfig(id="a", eui=EUI.hex(), token_file=file and str(file))

    assert read_tokens([gateway(good), gateway(None)]) == {EUI: "Bearer x"}
    for file in (empty, tmp_path / "absent"):
        with pytest.raises(FatalError, match=file.name):
            read_tokens([gateway(file)])
