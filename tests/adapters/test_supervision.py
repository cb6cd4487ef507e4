"""What systemd hears of the gateway, on a real datagram socket."""

import asyncio
import contextlib
import os
import re
import socket
import time

import pytest
from gateway_process import START_S, Gateway
from stoep_gateway.supervision import Notifier, Supervision, reloading, status, watchdog_us

CONFIG = """
site = "street"
timezone = "UTC"
[mqtt]
port = 1
[gwmp]
port = 0
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
"""


@contextlib.contextmanager
def listening(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(START_S)
        yield listener


def heard(listener):
    return dict(line.split("=", 1) for line in listener.recv(4096).decode().split("\n"))


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A listener, and the environment that names it as systemd does."""
    name = str(tmp_path / "notify")
    address = name if request.param == "path" else f"\0stoep-test-{os.getpid()}"
    with listening(address) as listener:
        yield listener, {"NOTIFY_SOCKET": address.replace("\0", "@")}


class Writer:
    """Stands in for the store: lets probes through when told to."""

    def __init__(self):
        self.waiting = asyncio.Queue()
        self.submit = self.waiting.put_nowait

    async def asked(self):
        async with asyncio.timeout(START_S):
            return await self.waiting.get()


async def test_ready_then_alive_with_each_probe_that_passed_then_stopping(manager):
    listener, environ = manager
    writer = Writer()
    service = Supervision(Notifier(environ), 20_000, writer.submit, lambda: "all is well")
    running = asyncio.create_task(service.run())
    for _ in range(3):
        (await writer.asked())()
    await writer.asked()  # does not pass
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert heard(listener) == {"READY": "1", "STATUS": "all is well"}
    for _ in range(3):
        assert heard(listener) == {"WATCHDOG": "1", "STATUS": "all is well"}
    assert heard(listener) == {"STOPPING": "1"}


async def test_a_writer_that_hangs_is_not_said_to_be_alive(manager):
    listener, environ = manager
    writer = Writer()
    service = Supervision(Notifier(environ), 2_000, writer.submit, lambda: "")
    running = asyncio.create_task(service.run())
    await writer.asked()
    await asyncio.sleep(0.05)  # many times the watchdog's
    assert writer.waiting.empty()
    assert heard(listener)["READY"] == "1"
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(4096)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_reload_is_told_with_its_moment_and_its_end(manager):
    listener, environ = manager
    before_us = time.monotonic_ns() // 1000
    with contextlib.suppress(ValueError), reloading(Notifier(environ)):
        raise ValueError("a mistake in the file ends the reload all the same")
    told = heard(listener)
    assert told.pop("RELOADING") == "1"
    assert before_us <= int(told.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
    assert told == {}
    assert heard(listener) == {"READY": "1"}


@pytest.mark.parametrize("name", ["", "vsock:2:1234", "/nowhere/notify"])
def test_nobody_who_listens_is_no_error(name):
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.send("READY=1")
    assert notifier.listens == (name == "/nowhere/notify")


def test_a_full_socket_does_not_hold_the_loop(tmp_path):
    with listening(str(tmp_path / "notify")) as listener:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for count in range(100_000):
            notifier.send(f"STATUS={count}")
        assert heard(listener) == {"STATUS": "0"}


@pytest.mark.parametrize(
    ("environ", "us"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "120000000"}, 120_000_000),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "7"}, 120_000_000),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_the_one_of_this_process(environ, us):
    assert watchdog_us(environ, 7) == us


def test_the_status_is_one_short_line():
    assert status(12, 3, connected=False) == "uplinks 12, messages waiting 3, broker away"


def test_the_gateway_tells_systemd_and_stays_alive_without_a_broker(tmp_path, monkeypatch):
    with listening(str(tmp_path / "notify")) as listener:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        with Gateway(tmp_path, CONFIG) as gateway:
            first = heard(listener)
            assert first["READY"] == "1"
            assert re.fullmatch(r"uplinks 0, messages waiting \d+, broker away", first["STATUS"])
            for _ in range(3):
                assert heard(listener)["WATCHDOG"] == "1"
            assert gateway.stop() == 0
        while "STOPPING" not in (last := heard(listener)):
            assert last["WATCHDOG"] == "1"
