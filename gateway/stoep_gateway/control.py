"""The control socket: how commands on this machine reach the running gateway.

One JSON object a line in, one a line out::

    → {"command": "device.disable", "dev_eui": "70b3d57ed0000001"}
    ← {"ok": true}
    ← {"error": "no device 70b3d57ed0000001", "hint": "stoep device list"}

Whoever may open the socket may do everything: its mode is 0660, and its group the configured one.
An answer comes once the change is durable. Of a request only its DevEUI is logged, for
anything else may be a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import pwd
import re
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from stoep_gateway.config import Config
from stoep_gateway.control_client import MAX_REQUEST_OCTETS, address, socket_beside
from stoep_gateway.errors import FatalError, GatewayError

__all__ = ["CommandRefused", "ControlServer", "Handler", "socket_path"]

_MAX_CLIENTS = 16
_IDLE_S = 60.0  # for a request to come
_TAKE_S = 60.0  # for an answer to be taken
_REST_S = 1.0  # after the system has refused a connection
_UCRED = struct.Struct("3i")  # pid, uid, gid
_DEV_EUI = re.compile(r"[0-9a-f]{16}")
_RUNTIME_NAME = "control.sock"

_log = logging.getLogger(__name__)

Request = Mapping[str, Any]
Handler = Callable[[Request], Awaitable[dict[str, Any]] | dict[str, Any]]


class CommandRefused(GatewayError):  # noqa: N818 (it says the situation, as its siblings do)
    """A command that cannot be done: what is wrong, what helps, and more for a program to read."""

    def __init__(self, error: str, hint: str = "", **details: Any) -> None:
        super().__init__(error)
        self.answer = {"error": error, **({"hint": hint} if hint else {}), **details}


def socket_path(config: Config, environ: Mapping[str, str]) -> Path:
    """Return where the socket is: as configured, in systemd's folder, or beside the database."""
    if config.control.path is not None:
        return config.control.path
    runtime = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if runtime:
        return Path(runtime) / _RUNTIME_NAME
    return socket_beside(config.store.path)


class ControlServer:
    """Answers commands; each part of the gateway registers its own.

    The command "about" is there from the start: it names the ``database``, by which a command that
    was given a configuration knows whether this is the gateway it looks for.
    """

    def __init__(self, path: Path, group: str | None = None, database: Path | None = None) -> None:
        self._path = path
        self._group = group
        self._handlers: dict[str, Handler] = {}
        self._changing: set[str] = set()
        self._of_users: set[str] = set()
        self._listener: socket.socket | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._inode = 0
        self.register(
            "about", lambda _: {"database": None if database is None else str(database.resolve())}
        )

    def register(
        self, name: str, handler: Handler, *, changes: bool = False, by_user: bool = False
    ) -> None:
        """Let ``handler`` answer the command ``name``, such as "device.add".

        It gets the whole request and returns the members of the answer beside ``"ok": true``; what
        it cannot do it says with `CommandRefused`. Of one that ``changes`` things the log tells
        which user gave it; ``by_user`` has the request name him as "user".
        """
        assert name not in self._handlers, name
        self._handlers[name] = handler
        if changes:
            self._changing.add(name)
        if by_user:
            self._of_users.add(name)

    async def open(self) -> None:
        """Listen. Raises `FatalError`."""
        self._listener = _bind(self._path, self._group)
        self._inode = self._path.stat().st_ino
        self._listener.listen()
        self._listener.setblocking(False)
        self._listen()

    async def close(self) -> None:
        """End the answers under way and remove the socket."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        await asyncio.sleep(0)  # who was just let in has a task that has begun, and so can end
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients)
        await asyncio.sleep(0)  # and connections that were closed are gone
        _remove(self._path, self._inode)

    # Not asyncio.start_unix_server: in Python 3.11 it loses one that comes while it closes.

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # such as too many open files
            _log.warning("%s: %s", self._path, error)
            loop.remove_reader(listener)
            loop.call_later(_REST_S, self._listen)
            return
        client = loop.create_task(self._serve(connection))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(
            OSError,  # it went away,
            TimeoutError,  # or hangs,
            asyncio.CancelledError,  # or we end
        ):
            reader, writer = await asyncio.open_unix_connection(
                sock=connection, limit=MAX_REQUEST_OCTETS
            )
            try:
                if len(self._clients) > _MAX_CLIENTS:
                    await _send(writer, {"error": "too many commands at once", "hint": "try again"})
                    return
                user = _user_of(connection)
                while (line := await _receive(reader, writer)) is not None:
                    await _send(writer, await self._answer(line, user))
            finally:
                if writer.transport.get_write_buffer_size():
                    writer.transport.abort()
                writer.close()

    async def _answer(self, line: bytes, user: int) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "a request is one line of JSON"}
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            return {"error": 'a request is a JSON object with "command"'}
        name = request["command"]
        handler = self._handlers.get(name)
        if handler is None:
            return {
                "error": "this gateway does not know that command",
                "hint": "are the command and the running gateway of one version?",
            }
        if name in self._of_users:
            request["user"] = await asyncio.to_thread(_name_of, user)
        try:
            answer = handler(request)
            if not isinstance(answer, dict):
                answer = await answer
        except CommandRefused as refused:
            return refused.answer
        except Exception:  # noqa: BLE001 (a command must not stop a network server)
            _log.exception("%s has failed", name)
            return {"error": "internal error", "hint": "the gateway's log says more"}
        if name in self._changing:
            _log.info("%s%s by user %d", name, _of_device(request, answer), user)
        return {"ok": True, **answer}


def _of_device(request: Request, answer: Mapping[str, Any]) -> str:
    """Return which device a command was about, for the log, and nothing that is no DevEUI."""
    dev_eui = str(request.get("dev_eui") or answer.get("dev_eui")).lower()
    return f" {dev_eui}" if _DEV_EUI.fullmatch(dev_eui) else ""


def _user_of(connection: socket.socket) -> int:
    """Return the user id of the process at the other end (SO_PEERCRED, unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    user: int = _UCRED.unpack(credentials)[1]
    return user


def _name_of(user: int) -> str:
    """Return a user's name, or the number of one who has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except (KeyError, OSError):
        return str(user)


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
    try:
        async with asyncio.timeout(_IDLE_S):
            line = await reader.readline()
    except ValueError:
        await _send(writer, {"error": f"a request is at most {MAX_REQUEST_OCTETS} octets"})
        return None
    return line or None


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    async with asyncio.timeout(_TAKE_S):
        await writer.drain()


def _bind(path: Path, group: str | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Before bind: nobody else may open it even for a moment. Linux takes the mode from here.
        os.fchmod(listener.fileno(), 0o600)
        with address(path) as name:
            listener.bind(name)
        if group is not None:
            shutil.chown(path, group=group)
        path.chmod(0o660)
    except FatalError:
        listener.close()
        raise
    except LookupError:
        listener.close()
        path.unlink()
        raise FatalError(f'{path}: there is no group "{group}" ([control] group)') from None
    except OSError as error:
        listener.close()
        hint = ""
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EROFS):
            hint = "; its folder must be there, and the gateway's user may write to it"
        elif error.errno == errno.EPERM:
            hint = f'; the gateway\'s user must be in the group "{group}" ([control] group)'
        raise FatalError(f"{path}: the control socket: {error.strerror}{hint}") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a gateway that was killed. Raises `FatalError` if one answers there."""
    if not path.exists():
        return
    if not path.is_socket():
        raise FatalError(f"{path}: is no socket; choose another [control] path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, address(path) as name:
        probe.settimeout(1)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise FatalError(f"{path}: the control socket: {error.strerror}") from error
        else:
            raise FatalError(f"{path}: another gateway answers there; choose a [control] path")


def _remove(path: Path, inode: int) -> None:
    try:
        if path.stat().st_ino == inode:  # and no other gateway's by now
            path.unlink()
    except OSError as error:
        _log.debug("%s: %s", path, error)
