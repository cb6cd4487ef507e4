"""``/metrics`` and ``/health`` over real sockets: what is answered, and what nobody can do."""

import asyncio
import gc
import http.client
import json
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from broker import Mosquitto
from gateway_process import Gateway
from network_in_hand import NetworkInHand
from prometheus_client.parser import text_string_to_metric_families
from stoep_gateway.config_service import HttpConfig
from stoep_gateway.errors import FatalError
from stoep_gateway.http import MAX_CONNECTIONS, HttpServer, Page, Watch
from stoep_gateway.metrics import Histogram
from waiting import until, wait_until
from watched import CONFIG, parts_of

PROMISE_S = 60.0  # tests of time limits: only that they end


class Store:
    """A writer that answers when the test lets it."""

    def __init__(self) -> None:
        self.waiting = []
        self.commit_s = Histogram((1,))
        self.group = Histogram((1,))

    def submit(self, _record, done):
        self.waiting.append(done)

    def commit(self):
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done()


async def small(**options):
    """Open a server of two small pages."""

    async def page():
        return Page(200, "text/plain", b"hello\n")

    server = HttpServer(HttpConfig(port=0), {"/metrics": page}, **options)
    await server.open()
    return server


async def spoken(server, octets, *, end=False):
    """Return all that is answered to these octets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(octets)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), PROMISE_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def get(path, method=b"GET"):
    return method + b" " + path + b" HTTP/1.1\r\nHost: here\r\n\r\n"


def head_of(answer):
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ") for line in lines[1:])


async def test_a_page_to_a_browser_of_another_make():
    server = await small()
    try:

        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PROMISE_S)
            for method, length in (("GET", 6), ("HEAD", 0)):
                connection.request(method, "/metrics?name=x")
                response = connection.getresponse()
                yield response.status, response.headers["Content-Length"], len(response.read())
                assert length in (0, 6)
            connection.close()

        answers = await asyncio.to_thread(lambda: list(ask()))
    finally:
        await server.close()
    assert answers == [(200, "6", 6), (200, "6", 0)]


async def test_a_page_that_fails_is_told_once_and_stops_nothing(caplog):
    async def page():
        raise KeyError("mishap")

    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    server = HttpServer(HttpConfig(port=0), {"/metrics": page})
    await server.open()
    try:
        answers = [head_of(await spoken(server, get(b"/metrics")))[0] for _ in range(3)]
    finally:
        await server.close()
    gc.collect()
    assert answers == [500, 500, 500]
    assert caplog.text.count("/metrics cannot be made") == 1
    assert failed == []


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (get(b"/metrics"), 200),
        (get(b"/metrics", b"HEAD"), 200),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
        (get(b"/"), 404),
        (get(b"/metrics/../health"), 404),
        (get(b"http://else.where/metrics"), 404),
        (get(b"/%6detrics"), 404),
        (get(b"/metrics", b"DELETE"), 405),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd", 405),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 9000, 431),
    ],
)
async def test_each_request_has_its_answer(octets, code):
    server = await small()
    try:
        answer = await spoken(server, octets)
    finally:
        await server.close()
    told, headers = head_of(answer)
    assert told == code
    assert headers["connection"] == "close"
    assert (headers.get("allow") == "get, head") == (code == 405)
    body = answer.partition(b"\r\n\r\n")[2]
    assert (body == b"hello\n") == (code == 200 and not octets.startswith(b"HEAD"))


async def test_a_second_request_on_a_connection_is_not_answered():
    server = await small()
    try:
        answer = await spoken(server, get(b"/metrics") + get(b"/metrics"))
    finally:
        await server.close()
    assert answer.count(b"HTTP/1.1") == 1


async def test_who_says_too_little_is_cut_off():
    server = await small(request_s=0.05)
    try:
        assert await spoken(server, b"GET /metrics HTTP/1.1\r\nHost") == b""
        assert await spoken(server, b"") == b""
        assert await spoken(server, b"", end=True) == b""
        assert head_of(await spoken(server, b"GET /metr", end=True))[0] == 400
    finally:
        await server.close()


async def test_many_connections_take_no_more_than_their_share():
    server = await small()
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MAX_CONNECTIONS)]
    try:
        await until(lambda: len(server._connections) == MAX_CONNECTIONS)
        assert await spoken(server, get(b"/metrics")) == b""
        idle.pop()[1].close()
        await until(lambda: len(server._connections) < MAX_CONNECTIONS)
        assert head_of(await spoken(server, get(b"/metrics")))[0] == 200
    finally:
        await server.close()
        for _, writer in idle:
            writer.close()
    assert not server._connections


async def test_a_port_that_is_taken_is_told_with_its_table():
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        server = HttpServer(HttpConfig(port=somebody.getsockname()[1]), {})
        with pytest.raises(FatalError, match=r"in \[http\]"):
            await server.open()


async def answered(watch):
    page = await watch.health()
    return page.code, json.loads(page.body)


async def test_health_waits_for_a_record_that_passes_the_writer(tmp_path):
    store = Store()
    watch = Watch(parts_of(NetworkInHand(tmp_path, CONFIG), store=store))
    first = asyncio.create_task(answered(watch))
    second = asyncio.create_task(answered(watch))
    await until(lambda: store.waiting)
    assert len(store.waiting) == 1, "one record for all who ask"
    assert not first.done()
    store.commit()
    code, said = await first
    assert (code, said["status"]) == (200, "degraded")  # its forwarder was never heard
    assert said["parts"]["writer"]["ok"]
    assert said["parts"]["gateways"] == {"ok": False, "online": 0, "offline": ["kerb-1"]}
    assert (await second)[0] == 200


async def test_a_writer_that_is_stuck_and_comes_back(tmp_path):
    store = Store()
    watch = Watch(parts_of(NetworkInHand(tmp_path, CONFIG), store=store), patience_s=0.01)
    for _ in range(3):
        code, said = await answered(watch)
        assert (code, said["status"]) == (503, "failing")
        assert said["parts"]["writer"] == {"ok": False, "ms": None}
    assert len(store.waiting) == 1
    store.commit()
    watch = Watch(watch._parts)
    asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(store.commit))
    assert (await answered(watch))[0] == 200


async def test_a_broker_that_is_away_is_no_reason_to_restart(tmp_path):
    away = {"publisher": SimpleNamespace(connected=False)}
    code, said = await answered(Watch(parts_of(NetworkInHand(tmp_path, CONFIG), **away)))
    assert (code, said["status"]) == (200, "degraded")
    assert said["parts"]["broker"] == {"ok": False, "waiting_messages": 0}


async def test_a_forwarder_s_port_that_is_closed_is_one(tmp_path):
    closed = {"listening": lambda: {"semtech_udp": False}}
    code, said = await answered(Watch(parts_of(NetworkInHand(tmp_path, CONFIG), **closed)))
    assert (code, said["parts"]["semtech_udp"]) == (503, {"ok": False})


def asked(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PROMISE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_real_gateway_is_scraped_and_outlives_its_broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as broker:
        config = (
            f'site = "test"\n[mqtt]\nport = {broker.port}\n[gwmp]\nport = 0\n[http]\nport = 0\n'
        )
        with Gateway(tmp_path / "gateway", config) as gateway:
            port = int(gateway.log().partition("/health at port ")[2].split()[0])
            wait_until(
                lambda: json.loads(asked(port, "/health")[1])["status"] == "ok", "it is well"
            )
            code, text = asked(port, "/metrics")
            told = {it.name: it for it in text_string_to_metric_families(text.decode())}
            assert code == 200
            assert told["stoep_broker_connected"].samples[0].value == 1
            commits = told["stoep_commit_seconds"].samples
            assert next(it.value for it in commits if it.name.endswith("_count")) >= 1
            broker.stop()
            wait_until(
                lambda: json.loads(asked(port, "/health")[1])["status"] == "degraded", "it knows"
            )
            code, body = asked(port, "/health")
            assert code == 200
            assert json.loads(body)["parts"]["broker"]["ok"] is False
            assert gateway.stop() == 0
