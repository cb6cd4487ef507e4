"""A command's end of the control socket: one request, one answer."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stoep_gateway.errors import FatalError, TransientError

__all__ = ["DEFAULT_PATH", "Client", "GatewayAway", "address"]

DEFAULT_PATH = Path("/run/stoep-gateway/control.sock")
_CONNECT_S = 5.0
_ANSWER_S = 120.0  # a plan may take a while
_MAX_NAME_OCTETS = 107  # of sockaddr_un, unix(7)


class GatewayAway(TransientError):  # noqa: N818 (it says the situation, as its siblings do)
    """No gateway answers at the control socket; the text says where, and what to do."""


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

        Raises `GatewayAway` if the gateway ends or hangs meanwhile: it may have done it or not.
        """
        request: Mapping[str, Any] = {"command": command, **members}
        try:
            self._socket.sendall(json.dumps(request, separators=(",", ":")).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise GatewayAway(f"{self._path}: the gateway does not answer: {error}") from error
        if not line.endswith(b"\n"):
            raise GatewayAway(f"{self._path}: the gateway has ended before it answered")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer
