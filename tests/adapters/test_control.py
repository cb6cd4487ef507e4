"""The control socket: who may open it, what it answers, and that no client can harm it."""

import asyncio
import contextlib
import grp
import json
import os
import select
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from stoep_gateway import control, control_client
from stoep_gateway.control import CommandRefused, ControlServer
from stoep_gateway.control_client import Client, GatewayAway
from stoep_gateway.errors import FatalError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@contextlib.asynccontextmanager
async def serving(path: Path, **handlers: Any) -> AsyncIterator[ControlServer]:
    server = ControlServer(path)
    for name, handler in handlers.items():
        server.register(name, handler)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


async def ask(path: Path, command: str, **members: Any) -> dict[str, Any]:
    def blocking() -> dict[str, Any]:
        with Client(path) as client:
            return client.ask(command, **members)

    return await asyncio.to_thread(blocking)


async def send(path: Path, octets: bytes) -> list[dict[str, Any]]:
    """Send octets, and nothing more; return all answers."""
    reader, writer = await asyncio.open_unix_connection(path, limit=control.MAX_REQUEST_OCTETS)
    writer.write(octets)
    if not octets.endswith(b"\n"):
        writer.write_eof()
    answers = []
    with contextlib.suppress(ConnectionResetError):
        while line := await reader.readline():
            answers.append(json.loads(line))
            if octets.endswith(b"\n") and len(answers) == octets.count(b"\n"):
                break
    writer.close()
    return answers


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def replace(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text("mine")


def is_replaced(path: Path) -> bool:
    return path.read_text() == "mine"


async def test_an_answer_waits_for_what_the_handler_waits_for(path: Path) -> None:
    durable = asyncio.Event()

    async def change(request: Any) -> dict[str, Any]:
        await durable.wait()
        return {"echo": request["value"]}

    async with serving(path, change=change, look=lambda _: {"changed": durable.is_set()}):
        changing = asyncio.create_task(ask(path, "change", value="é\n"))
        assert await ask(path, "look") == {"ok": True, "changed": False}  # meanwhile, another's
        assert not changing.done()
        durable.set()
        assert await changing == {"ok": True, "echo": "é\n"}


async def test_one_connection_carries_many_commands(path: Path) -> None:
    async with serving(path, double=lambda request: {"is": 2 * request["of"]}):
        lines = b"".join(b'{"command": "double", "of": %d}\n' % of for of in range(50))
        answers = await send(path, lines)
    assert [answer["is"] for answer in answers] == [2 * of for of in range(50)]


async def test_what_is_refused(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: Any) -> dict[str, Any]:
        raise CommandRefused("no", "yes", mistakes=[1])

    def fail(request: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    async with serving(path, refuse=refuse, fail=fail):
        assert await ask(path, "refuse") == {"error": "no", "hint": "yes", "mistakes": [1]}
        assert await ask(path, "fail", app_key="5ec2e7") == {
            "error": "internal error",
            "hint": "the gateway's log says more",
        }
        assert "does not know" in (await ask(path, "frobnicate"))["error"]
        for octets, error in (
            (b"{\n", "a request is one line of JSON"),
            (b"\xff\n", "a request is one line of JSON"),
            (b"[" * 100_000 + b"\n", "a request is one line of JSON"),
            (b"[]\n", 'a request is a JSON object with "command"'),
            (b'{"command": 1}\n', 'a request is a JSON object with "command"'),
            (b'{"command": "refuse"', "a request is one line of JSON"),
        ):
            assert [answer["error"] for answer in await send(path, octets)] == [error]
        assert (await ask(path, "refuse"))["error"] == "no"
    assert [record.getMessage() for record in caplog.records] == ["fail has failed"]
    assert "5ec2e7" not in caplog.text


async def test_the_log_tells_who_changes_what(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stoep_gateway.control")
    async with serving(path, look=lambda _: {}) as server:
        server.register("change", lambda _: {}, changes=True)
        await ask(path, "look")
        await ask(path, "change", app_key="5ec2e7", dev_eui="5ec2e7")
        await ask(path, "change", dev_eui="70B3D57ED0000001")
    assert [record.getMessage() for record in caplog.records] == [
        f"change by user {os.getuid()}",
        f"change 70b3d57ed0000001 by user {os.getuid()}",
    ]


async def test_a_request_that_is_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_REQUEST_OCTETS", 1000)
    async with serving(path, echo=lambda request: {"length": len(request["text"])}):
        assert (await ask(path, "echo", text="x" * 900))["length"] == 900
        answers = await send(path, b'{"command": "echo", "text": "%s"}\n' % (b"x" * 5000))
        assert answers == [{"error": "a request is at most 1000 octets"}]
        monkeypatch.setattr(control_client, "MAX_REQUEST_OCTETS", 1000)
        with pytest.raises(FatalError, match="more than 1000 octets; divide it"):
            await ask(path, "echo", text="x" * 5000)


async def test_a_client_that_says_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_IDLE_S", 0.01)
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command":')
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_takes_no_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_TAKE_S", 0.05)
    async with serving(path, much=lambda _: {"much": "x" * 4_000_000}, look=lambda _: {}):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
            client.sendall(b'{"command": "much"}\n' * 10)
            hung_up = select.poll()
            hung_up.register(client, 0)
            assert await asyncio.to_thread(hung_up.poll, 60_000)  # it was dropped
        assert await ask(path, "look") == {"ok": True}


async def test_too_many_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_MAX_CLIENTS", 2)
    async with serving(path, look=lambda _: {}):
        held = [await asyncio.open_unix_connection(path) for _ in range(2)]
        for reader, writer in held:
            writer.write(b'{"command": "look"}\n')
            assert json.loads(await reader.readline()) == {"ok": True}
        reader, writer = await asyncio.open_unix_connection(path)
        assert json.loads(await reader.readline())["error"] == "too many commands at once"
        assert await reader.read() == b""
        for _, one in [(reader, writer), *held]:
            one.close()


async def test_who_may_open_it(path: Path) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    umask = os.umask(0)
    server = ControlServer(path, group)
    try:
        await server.open()
    finally:
        os.umask(umask)
    found = os.stat(path)  # noqa: PTH116 (quick enough)
    await server.close()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())
    assert names(path.parent) == []


async def test_a_group_that_is_not_there(path: Path) -> None:
    with pytest.raises(FatalError, match='there is no group "no-such-group"'):
        await ControlServer(path, "no-such-group").open()
    assert names(path.parent) == []


async def test_a_socket_that_was_left_behind(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    with pytest.raises(GatewayAway, match="no gateway is running there"):
        Client(path)
    async with serving(path, look=lambda _: {}):
        assert await ask(path, "look") == {"ok": True}
        with pytest.raises(FatalError, match="another gateway answers there"):
            await ControlServer(path).open()
        assert await ask(path, "look") == {"ok": True}


async def test_a_file_in_its_place_is_left_alone(path: Path) -> None:
    replace(path)
    with pytest.raises(FatalError, match="is no socket"):
        await ControlServer(path).open()
    assert is_replaced(path)
    with pytest.raises(FatalError, match="No such file or directory; its folder must be there"):
        await ControlServer(path.parent / "nowhere" / "control.sock").open()


async def test_a_socket_that_is_anothers_by_now_is_left(path: Path) -> None:
    async with serving(path):
        replace(path)
    assert is_replaced(path)


async def test_a_path_longer_than_an_address(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    async with serving(folder / "control.sock", look=lambda _: {}):
        assert await ask(folder / "control.sock", "look") == {"ok": True}
    assert names(folder) == []


async def test_closing_ends_what_is_under_way(path: Path) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def stay(_: Any) -> dict[str, Any]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    async with serving(path, stay=stay):
        asking = asyncio.create_task(ask(path, "stay"))
        await started.wait()
    assert ended.is_set()
    with pytest.raises(GatewayAway):
        await asking


async def test_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "stoep.toml").write_text('site = "town"\n')
    read = control_client.configuration.load(tmp_path / "stoep.toml")
    assert control.socket_path(read, {}) == tmp_path / "stoep.db.sock"
    runtime = {"RUNTIME_DIRECTORY": "/run/stoep-gateway:/run/other"}
    assert control.socket_path(read, runtime) == control_client.DEFAULT_PATH
    (tmp_path / "stoep.toml").write_text('site = "town"\n[control]\npath = "here"\n')
    read = control_client.configuration.load(tmp_path / "stoep.toml")
    assert control.socket_path(read, runtime) == tmp_path / "here"


async def test_a_configuration_finds_its_own_gateway_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stoep.toml").write_text('site = "town"\n')
    read = control_client.configuration.load(tmp_path / "stoep.toml")
    default = tmp_path / "default.sock"
    monkeypatch.setattr(control_client, "DEFAULT_PATH", default)

    async def found() -> Any:
        def about() -> Any:
            with control_client.connect_to(read) as client:
                return client.ask("about")

        return await asyncio.to_thread(about)

    with pytest.raises(GatewayAway):
        await found()
    for database in (tmp_path / "another.db", None):
        server = ControlServer(default, database=database)
        await server.open()
        with pytest.raises(GatewayAway, match="and another one elsewhere"):
            await found()
        await server.close()
    for place in (default, tmp_path / "stoep.db.sock"):
        server = ControlServer(place, database=tmp_path / "stoep.db")
        await server.open()
        assert await found() == {"ok": True, "database": str(tmp_path / "stoep.db")}
        await server.close()


async def test_the_system_refuses_a_connection_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control, "_REST_S", 0.01)
    accept = socket.socket.accept
    failures = [OSError(24, "Too many open files"), ConnectionAbortedError(), BlockingIOError()]

    def fail_at_first(listener: socket.socket) -> Any:
        if failures:
            raise failures.pop(0)
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", fail_at_first)
    async with serving(path, look=lambda _: {}):
        assert await ask(path, "look") == {"ok": True}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: [Errno 24] Too many open files"
    ]


async def test_a_gateway_that_ends_before_it_answers(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    asking = asyncio.create_task(ask(path, "look"))
    connection, _ = await asyncio.to_thread(listener.accept)
    connection.recv(100)
    connection.send(b'{"ok":')
    connection.close()
    listener.close()
    with pytest.raises(GatewayAway, match="has ended before it answered"):
        await asking


async def test_closing_what_was_never_opened(path: Path) -> None:
    await ControlServer(path).close()
    assert names(path.parent) == []
