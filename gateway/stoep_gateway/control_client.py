"""A command's end of the control socket: one request, one answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stoep_gateway import config as configuration
from stoep_gateway import config_path
from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError, TransientError

__all__ = [
    "DEFAULT_PATH",
    "MAX_REQUEST_OCTETS",
    "Client",
    "GatewayAway",
    "add_options",
    "address",
    "connect",
    "connect_to",
    "socket_beside",
]

DEFAULT_PATH = Path("/run/stoep-gateway/control.sock")
MAX_REQUEST_OCTETS = 16 * 1024 * 1024  # thirty thousand devices
_CONNECT_S = 5.0
_ANSWER_S = 120.0  # a plan may take a while
_MAX_NAME_OCTETS = 107  # of sockaddr_un, unix(7)


class GatewayAway(TransientError):  # noqa: N818 (it says the situation, as its siblings do)
    """No gateway answers at the control socket; the text says where.

    Commands then end with ``exit_code``.
    """

    exit_code = 3


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """Give a name for the socket at ``path`` that the system takes, however long the path is."""
    if len(os.fsencode(path)) <= _MAX_NAME_OCTETS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Client:
    """A connection to the running gateway; a context manager."""

    def __init__(self, path: Path = DEFAULT_PATH) -> None:
        """Connect. Raises `GatewayAway`, or `FatalError` if the socket may not be opened."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_CONNECT_S)
        try:
            with address(path) as name:
                self._socket.connect(name)
        except PermissionError:
            self._socket.close()
            raise FatalError(
                f"{path}: you may not open it; it belongs to the group that [control] names"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            self._socket.close()
            raise GatewayAway(f"{path}: no gateway is running there") from None
        except OSError as error:
            self._socket.close()
            raise GatewayAway(f"{path}: the gateway does not answer: {error}") from error
        self._socket.settimeout(_ANSWER_S)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **members: Any) -> dict[str, Any]:
        """Send a command and return the answer: with "ok", or with "error" and maybe "hint".

        Raises `GatewayAway` if the gateway ends or hangs meanwhile: it may have done it or not;
        `FatalError` for a request that is too large.
        """
        request = json.dumps({"command": command, **members}, separators=(",", ":")).encode()
        if len(request) >= MAX_REQUEST_OCTETS:
            raise FatalError(f"that is more than {MAX_REQUEST_OCTETS} octets; divide it")
        try:
            self._socket.sendall(request + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise GatewayAway(f"{self._path}: the gateway does not answer: {error}") from error
        if not line.endswith(b"\n"):
            raise GatewayAway(f"{self._path}: the gateway has ended before it answered")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a command be told which gateway to ask."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--config", type=Path, metavar="FILE", help="stoep.toml of the gateway to ask"
    )
    which.add_argument(
        "--socket", type=Path, metavar="PATH", help=f"its control socket (default: {DEFAULT_PATH})"
    )


def connect(options: argparse.Namespace) -> Client:
    """Connect to the gateway that the options of `add_options` name.

    Neither: the one of $STOEP_CONFIG, the service's, or that of a configuration that is found.
    Raises `GatewayAway`, or `FatalError` for a wrong configuration or a socket of others.
    """
    if options.config is options.socket is None and (
        config_path.is_named() or not DEFAULT_PATH.parent.exists()
    ):
        options.config = config_path.find()
    if options.config is not None:
        return connect_to(configuration.load(options.config))
    return Client(options.socket or DEFAULT_PATH)


def connect_to(config: Config) -> Client:
    """Connect to the gateway that runs with ``config``. Raises as `connect` does."""
    if config.control.path is not None:
        return Client(config.control.path)
    beside = socket_beside(config.store.path)
    try:
        return Client(beside)
    except GatewayAway:
        if not DEFAULT_PATH.exists():
            raise
    client = Client(DEFAULT_PATH)
    if client.ask("about").get("database") != str(config.store.path.resolve()):
        client.close()
        raise GatewayAway(f"{beside}: no gateway is running there, and another one elsewhere")
    return client


def socket_beside(database: Path) -> Path:
    """Return where the control socket is if nothing else is said."""
    return database.with_name(database.name + ".sock")
