"""The whole gateway before a real HTTP server that takes, refuses, delays, half-fails and dies."""

import base64
import json
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber, free_port
from certificates import Authority
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_protocol.messages import BayReport, BinReport
from waiting import wait_until

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
EUIS = {name: bytes.fromhex(f"70b3d57ed000000{n}") for n, name in enumerate(("corner", "b1"), 1)}
PATIENCE_S = 90

CONFIG = """
site = "street"
[store]
path = "stoep.db"
[mqtt]
port = {mqtt}
[ngsi_ld]
topics = {topics}
url = "http{s}://127.0.0.1:{http}"
{more}
[gwmp]
port = 0
[lorawan]
dedup_window_ms = 20
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "bay/b1"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
[[bay]]
id = "b1"
street = "High Street"
lat = -15.8
lon = 35.0
"""
BIN = "urn:ngsi-ld:WasteContainer:street:corner"
SPOT = "urn:ngsi-ld:ParkingSpot:street:b1"


class ContextBroker:
    """Keeps what it is told; `replies` are what the next requests get instead of a 204."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.entities: dict[str, dict] = {}
        self.requests: list[tuple[str, dict, list]] = []
        self.replies: list = []
        self.held = threading.Event()
        self.held.set()
        broker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                broker.requests.append((self.path, dict(self.headers), body))
                broker.held.wait(PATIENCE_S)
                reply = broker.replies.pop(0) if broker.replies else 204
                if reply == "dies":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                status, answered, refused, headers = 204, b"", set(), {}
                if isinstance(reply, dict):  # a 207 that refuses these
                    status, refused = 207, reply.keys()
                    errors = [
                        {"entityId": it, "error": {"title": why}} for it, why in reply.items()
                    ]
                    answered = json.dumps({"success": [], "errors": errors}).encode()
                elif reply != 204:
                    status, headers, answered = reply
                if status in (204, 207):
                    for entity in body:
                        if entity["id"] not in refused:
                            broker.entities[entity["id"]] = entity
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(answered)))
                self.end_headers()
                self.wfile.write(answered)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def level(self) -> float | None:
        """The filling level that it knows of the container."""
        return self.entities.get(BIN, {}).get("fillingLevel", {}).get("value")


@pytest.fixture
def mqtt(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


class Street:
    """A running gateway with its forwarder and joined boards."""

    def __init__(self, folder: Path, mqtt: Mosquitto, http: int, s="", topics="false", more=""):
        config = CONFIG.format(mqtt=mqtt.port, http=http, s=s, topics=topics, more=more)
        self.gateway = Gateway(folder, config)
        self._count = 0
        self.devices: dict[str, Device] = {}

    def __enter__(self):
        self.gateway.start()
        self._forwarder = Forwarder(GATEWAY_EUI, self.gateway.port)
        self._forwarder.pull()
        for name, eui in EUIS.items():
            device = Device(eui, bytes(8), APP_KEY)
            self._forwarder.push(rxpk(device.join_request(), tmst=1_000_000))
            device.accept(self.data_of(self._forwarder.take_downlink()))
            self.devices[name] = device
        return self

    def __exit__(self, *_):
        self._forwarder.close()
        self.gateway.kill()

    @staticmethod
    def data_of(txpk):
        return base64.b64decode(txpk["data"])

    def restart(self):
        """Kill it as a power cut does, and start it again."""
        self._forwarder.close()
        self.gateway.kill()
        self.gateway.start()
        self._forwarder = Forwarder(GATEWAY_EUI, self.gateway.port)
        self._forwarder.pull()

    def fill(self, pct: int) -> None:
        self._count += 1
        self.send("corner", BinReport(self._count, 1500 - 12 * pct, 4))

    def send(self, name: str, report) -> None:
        self._forwarder.push(rxpk(self.devices[name].uplink(report)))

    def backlog(self) -> int:
        path = self.gateway.folder / "stoep.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM context_backlog").fetchone()[0]

    def recorded(self, uplinks: int) -> None:
        path = self.gateway.folder / "stoep.db"

        def count():
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                return connection.execute("SELECT count(*) FROM uplink").fetchone()[0]

        wait_until(lambda: count() == uplinks, "the uplinks' record", PATIENCE_S)


def test_entities_reach_the_broker_and_the_backlog_is_empty_again(tmp_path, mqtt):
    (tmp_path / "token").write_text("Bearer opens-sesame\n")
    (tmp_path / "token").chmod(0o600)
    more = f'tenant = "city"\ntoken_file = "{tmp_path}/token"'
    with ContextBroker() as context, Street(tmp_path / "g", mqtt, context.port, more=more) as it:
        it.fill(50)
        it.send("b1", BayReport(1, 3, 60))
        wait_until(lambda: {BIN, SPOT} <= set(context.entities), "the entities", PATIENCE_S)
        wait_until(lambda: it.backlog() == 0, "an empty backlog", PATIENCE_S)
        (site,) = [entity for key, entity in context.entities.items() if "OnStreet" in key]
        assert context.level() == 0.5
        assert context.entities[SPOT]["status"]["value"] == "occupied"
        assert site["occupiedSpotNumber"]["value"] == 1
        path, headers, body = context.requests[0]
        assert path == "/ngsi-ld/v1/entityOperations/upsert?options=update"
        assert headers["Content-Type"] == "application/ld+json"
        assert (headers["NGSILD-Tenant"], headers["Authorization"]) == (
            "city",
            "Bearer opens-sesame",
        )
        assert all(entity["@context"][-1].startswith("https://uri.etsi.org/") for entity in body)
        assert it.gateway.stop() == 0
        assert "sesame" not in it.gateway.log()


def test_an_outage_costs_a_row_per_entity_and_a_kill_in_it_loses_nothing(tmp_path, mqtt):
    port = free_port()
    with Street(tmp_path / "g", mqtt, port) as it:
        for pct in range(10, 40):
            it.fill(pct)
        it.send("b1", BayReport(0, 3, 60))
        it.recorded(31)
        assert it.backlog() == 2
        wait_until(lambda: "is away: " in it.gateway.log(), "the outage", PATIENCE_S)
        it.restart()
        it.fill(40)
        it.recorded(32)
        wait_until(lambda: it.gateway.log().count("is away: ") == 2, "the outage", PATIENCE_S)
        with ContextBroker(port) as context:
            wait_until(lambda: context.level() == 0.4, "the last state", PATIENCE_S)
            wait_until(lambda: SPOT in context.entities, "the bay", PATIENCE_S)
            wait_until(lambda: it.backlog() == 0, "an empty backlog", PATIENCE_S)
        assert it.gateway.stop() == 0
        log = it.gateway.log()
    assert log.count("is away: ") == 2  # once by each process
    assert log.count("is back after") == 1


def test_a_kill_while_the_broker_is_asked(tmp_path, mqtt):
    with ContextBroker() as context, Street(tmp_path / "g", mqtt, context.port) as it:
        context.held.clear()
        it.fill(50)
        wait_until(lambda: context.requests, "a request", PATIENCE_S)
        it.restart()
        context.replies = ["dies"]
        context.held.set()
        wait_until(lambda: it.backlog() == 0, "an empty backlog", PATIENCE_S)
        assert context.level() == 0.5


def test_a_broker_that_fails_for_a_while(tmp_path, mqtt):
    with ContextBroker() as context, Street(tmp_path / "g", mqtt, context.port) as it:
        context.replies = [
            (500, {}, b'{"title": "tired"}'),
            "dies",
            (503, {"Retry-After": "1"}, b""),
            (302, {"Location": "/elsewhere"}, b""),
        ]
        it.fill(50)
        wait_until(lambda: context.level() == 0.5, "the state", PATIENCE_S)
        wait_until(lambda: it.backlog() == 0, "an empty backlog", PATIENCE_S)
        assert it.gateway.stop() == 0
        log = it.gateway.log()
    assert all(path.startswith("/ngsi-ld/") for path, *_ in context.requests)
    assert log.count("is away: it answered 500: tired") == 1
    assert log.count("is away") == 1
    assert log.count("is back after") == 1


def test_a_refused_entity_holds_up_nobody(tmp_path, mqtt):
    with ContextBroker() as context, Street(tmp_path / "g", mqtt, context.port) as it:
        context.replies = [{BIN: "Bad Request"}]
        it.fill(50)
        wait_until(lambda: context.requests, "a request", PATIENCE_S)
        it.send("b1", BayReport(0, 3, 60))
        wait_until(lambda: SPOT in context.entities, "the bay", PATIENCE_S)
        assert context.level() is None
        wait_until(lambda: it.backlog() == 1, "the refused one alone", PATIENCE_S)
        it.fill(51)  # a newer one is tried at once
        wait_until(lambda: context.level() == 0.51, "the newer state", PATIENCE_S)
        wait_until(lambda: it.backlog() == 0, "an empty backlog", PATIENCE_S)
        assert f"refuses ×1 {BIN}: Bad Request" in it.gateway.log()


def test_over_tls_only_a_broker_of_the_right_authority_is_told(tmp_path, mqtt):
    right, wrong = Authority(tmp_path / "right"), Authority(tmp_path / "wrong")
    contexts = {}
    for authority in (right, wrong):
        contexts[authority] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[authority].load_cert_chain(*authority.issue("context"))
    port = free_port()
    more = f'ca_file = "{right.certificate}"'
    with Street(tmp_path / "g", mqtt, port, "s", more=more) as it:
        with ContextBroker(port, contexts[wrong]) as context:
            it.fill(50)
            wait_until(lambda: "is away: " in it.gateway.log(), "the refusal", PATIENCE_S)
            assert "CERTIFICATE_VERIFY_FAILED" in it.gateway.log()
            assert not context.requests
        with ContextBroker(port, contexts[right]) as context:
            wait_until(lambda: context.level() == 0.5, "the state", PATIENCE_S)


def test_topics_and_context_broker_say_the_same(tmp_path, mqtt):
    with (
        ContextBroker() as context,
        Street(tmp_path / "g", mqtt, context.port, topics="true") as it,
        Subscriber(mqtt, "stoep/v1/street/ngsi-ld/#") as subscriber,
    ):
        it.fill(50)
        it.send("b1", BayReport(1, 3, 60))
        subscriber.wait_for(lambda: len(subscriber.messages) == 3)
        wait_until(lambda: {BIN, SPOT} <= set(context.entities), "the entities", PATIENCE_S)
        for topic, payload, _ in subscriber.messages:
            simple = json.loads(payload)
            full = context.entities[simple["id"]]
            assert topic.startswith(f"stoep/v1/street/ngsi-ld/{full['type']}/")
            assert simple.keys() == full.keys()
            assert simple.get("fillingLevel") == full.get("fillingLevel", {}).get("value")
