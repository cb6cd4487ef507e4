"""From a trace of system calls to what it did: changes of files, syncs, and sends on sockets.

Only files under one folder count. Nodes are files and folders by identity, not by name, so that
a renamed or removed file keeps its history. Reads are not traced, so a position in a file is known
only where nothing can have moved it unseen; anything else raises ``UnreadableTraceError``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from syscall_trace import Call, UnreadableTraceError, read_calls

__all__ = [
    "UNIX",
    "Entries",
    "Node",
    "Recording",
    "Resize",
    "Send",
    "Snapshot",
    "Sync",
    "Write",
    "record",
]

UNIX = -1

_LEFT_OUT = ("-shm", ".sock")

_TEXT = r'"((?:\\x[0-9a-f]{2})*)"'
_STRING = re.compile(_TEXT)
_WRITE = re.compile(rf"(\d+), {_TEXT}, \d+(?:, (\d+))?")
_OPEN = re.compile(rf"(?:(AT_FDCWD|\d+), )?{_TEXT}, ([A-Z_|0-9a-fx]+)(?:, .*)?")
_AT = re.compile(rf"(?:(AT_FDCWD|\d+), )?{_TEXT}")
_BUFFER = re.compile(rf"iov_base={_TEXT}")
_ADDRESS = re.compile(
    rf"sin6?_port=htons\((\d+)\).*?(?:inet_addr|inet_pton)\((?:AF_INET6, )?{_TEXT}"
)
_NUMBER = re.compile(r"(\d+)")


class Node:
    """A file or a folder, whatever it is called."""

    __slots__ = ("first_content", "first_entries", "is_folder", "size")

    def __init__(self, *, is_folder: bool, content: bytes = b"") -> None:
        self.is_folder = is_folder
        self.first_content = content
        self.first_entries: dict[str, Node] = {}
        self.size = len(content)  # as the program sees it


@dataclass(frozen=True, slots=True)
class Write:
    """``data`` put at ``offset``."""

    start: int
    end: int
    node: Node
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """The length set to ``size``."""

    start: int
    end: int
    node: Node
    size: int


@dataclass(frozen=True, slots=True)
class Entries:
    """Names of a folder set, None for removed; all of them at once."""

    start: int
    end: int
    node: Node
    names: tuple[tuple[str, Node | None], ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """A completed fsync or fdatasync of a file or folder."""

    start: int
    end: int
    node: Node


@dataclass(frozen=True, slots=True)
class Send:
    """Octets handed to the kernel for ``port``; ``connection`` tells those of streams apart.

    ``UNIX`` stands for the port of who connected to a Unix socket of the program.
    """

    start: int
    end: int
    port: int
    connection: int | None
    data: bytes


class Snapshot:
    """The folder as it was before the program started; all of it counts as durable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve(strict=True)
        self.nodes: list[Node] = []
        self.root = self._read(self.folder)

    def _read(self, path: Path) -> Node:
        is_folder = path.is_dir()
        node = Node(is_folder=is_folder, content=b"" if is_folder else path.read_bytes())
        self.nodes.append(node)
        if is_folder:
            for child in sorted(path.iterdir()):
                if not child.name.endswith(_LEFT_OUT):
                    node.first_entries[child.name] = self._read(child)
        return node


@dataclass(slots=True)
class Recording:
    """What a program did."""

    root: Node
    nodes: list[Node]
    changes: list[Write | Resize | Entries] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)


def record(trace: Path, before: Snapshot, cwd: Path) -> Recording:
    """Read a finished trace of a program that began in ``cwd``."""
    return _Reader(before, cwd).read(read_calls(trace))


@dataclass(slots=True)
class _OpenFile:
    path: str
    node: Node | None  # None: not under the folder
    flags: frozenset[str]
    position: int = 0


@dataclass(slots=True)
class _Socket:
    number: int
    stream: bool
    port: int | None = None


# These give out a descriptor, which exists only once they have returned.
_OPENING = {
    "open",
    "openat",
    "creat",
    "socket",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "accept",
    "accept4",
}


class _Reader:
    def __init__(self, before: Snapshot, cwd: Path) -> None:
        self._folder = str(before.folder)
        self._cwd = str(cwd.resolve(strict=True))
        self._recording = Recording(before.root, before.nodes)
        self._names = {node: dict(node.first_entries) for node in before.nodes if node.is_folder}
        self._fds: dict[int, _OpenFile | _Socket] = {}
        self._sockets = 0
        self._executed = False

    def read(self, calls: list[Call]) -> Recording:
        handlers: dict[str, Callable[[Call], None]] = {
            "open": self._open,
            "openat": self._open,
            "close": self._close,
            "dup": self._dup,
            "dup2": self._dup,
            "dup3": self._dup,
            "fcntl": self._fcntl,
            "lseek": self._lseek,
            "write": self._write,
            "pwrite64": self._write,
            "writev": self._writev,
            "ftruncate": self._ftruncate,
            "fsync": self._fsync,
            "fdatasync": self._fsync,
            "rename": self._rename,
            "renameat": self._rename,
            "renameat2": self._rename,
            "unlink": self._unlink,
            "unlinkat": self._unlink,
            "rmdir": self._unlink,
            "mkdir": self._mkdir,
            "mkdirat": self._mkdir,
            "socket": self._socket,
            "connect": self._connect,
            "accept": self._accept,
            "accept4": self._accept,
            "sendto": self._sendto,
            "sendmsg": self._sendmsg,
        }
        for call in sorted(calls, key=lambda c: c.end if c.name in _OPENING else c.start):
            handler = handlers.get(call.name, self._others)
            handler(call)
        return self._recording

    # Descriptors.

    def _open(self, call: Call) -> None:
        if not call.done:
            return
        match = _OPEN.fullmatch(call.arguments)
        if match is None:
            raise UnreadableTraceError(f"{call.name}({call.arguments[:200]})")
        path = self._path(match[1], match[2])
        flags = frozenset(match[3].split("|"))
        self._fds[call.result or 0] = _OpenFile(path, self._opened(call, path, flags), flags)

    def _opened(self, call: Call, path: str, flags: frozenset[str]) -> Node | None:
        if path == self._folder:
            return self._recording.root
        if not self._counts(path):
            return None
        if "O_TMPFILE" in flags:
            raise UnreadableTraceError(f"a file without a name in {path}")
        folder, name = self._parent(path)
        node = self._names[folder].get(name)
        if node is None:
            node = self._new(is_folder=False)
            self._enter(call, folder, ((name, node),))
        elif "O_TRUNC" in flags:
            self._resize(call, node, 0)
        return node

    def _close(self, call: Call) -> None:
        self._fds.pop(_first(call), None)

    def _dup(self, call: Call) -> None:
        if call.done:
            self._copy(_first(call), call.result)

    def _fcntl(self, call: Call) -> None:
        if call.done and "F_DUPFD" in call.arguments:
            self._copy(_first(call), call.result)

    def _copy(self, fd: int, copy: int | None) -> None:
        if fd in self._fds and copy is not None:
            self._fds[copy] = self._fds[fd]

    def _file(self, call: Call) -> _OpenFile | None:
        file = self._fds.get(_first(call))
        return file if isinstance(file, _OpenFile) and file.node is not None else None

    def _lseek(self, call: Call) -> None:
        file = self._file(call)
        if file is not None and call.result is not None:
            file.position = call.result

    # Files.

    def _write(self, call: Call) -> None:
        file = self._fds.get(_first(call))
        if isinstance(file, _Socket):
            self._send(call, file, file.port, _WRITE)
            return
        if file is None or file.node is None or (call.result is not None and call.result < 0):
            return
        match = _WRITE.fullmatch(call.arguments)
        if match is None:
            raise UnreadableTraceError(f"{call.name}({call.arguments[:80]})")
        data = _octets(match[2])
        self._put(call, file, data if call.result is None else data[: call.result], match[3])

    def _writev(self, call: Call) -> None:
        file = self._fds.get(_first(call))
        if isinstance(file, _Socket):
            self._send(call, file, file.port, _BUFFER)
        elif file is not None and file.node is not None:
            raise UnreadableTraceError(f"writev to {file.path}")

    def _put(self, call: Call, file: _OpenFile, data: bytes, at: str | None) -> None:
        node = file.node
        assert node is not None
        if at is not None:
            offset = int(at)
        else:
            if "O_APPEND" in file.flags:
                file.position = node.size
            elif "O_RDWR" in file.flags:
                raise UnreadableTraceError(f"{file.path}: a read may have moved the position")
            offset = file.position
            file.position += len(data)
        node.size = max(node.size, offset + len(data))
        self._recording.changes.append(Write(call.start, call.end, node, offset, data))

    def _ftruncate(self, call: Call) -> None:
        file = self._file(call)
        if file is not None and file.node is not None and (call.result is None or call.done):
            self._resize(call, file.node, int(call.arguments.rpartition(", ")[2]))

    def _resize(self, call: Call, node: Node, size: int) -> None:
        node.size = size
        self._recording.changes.append(Resize(call.start, call.end, node, size))

    def _fsync(self, call: Call) -> None:
        file = self._file(call)
        if file is None or file.node is None or call.result is None:
            return
        if not call.done:
            raise UnreadableTraceError(f"a sync of {file.path} failed")
        self._recording.syncs.append(Sync(call.start, call.end, file.node))

    # Names.

    def _rename(self, call: Call) -> None:
        if not call.done:
            return
        old, new = (self._path(at, text) for at, text in _AT.findall(call.arguments))
        if not self._counts(old) and not self._counts(new):
            return
        folder, old_name = self._parent(old)
        new_folder, new_name = self._parent(new)
        if folder is not new_folder:
            raise UnreadableTraceError(f"rename from {old} to {new}: two folders")
        node = self._names[folder][old_name]
        self._enter(call, folder, ((old_name, None), (new_name, node)))

    def _unlink(self, call: Call) -> None:
        path = self._named(call)
        if path is not None:
            folder, name = self._parent(path)
            self._enter(call, folder, ((name, None),))

    def _mkdir(self, call: Call) -> None:
        path = self._named(call)
        if path is not None:
            folder, name = self._parent(path)
            node = self._new(is_folder=True)
            self._names[node] = {}
            self._enter(call, folder, ((name, node),))

    def _named(self, call: Call) -> str | None:
        match = _AT.match(call.arguments)
        if not call.done or match is None:
            return None
        path = self._path(match[1], match[2])
        return path if self._counts(path) else None

    def _new(self, *, is_folder: bool) -> Node:
        node = Node(is_folder=is_folder)
        self._recording.nodes.append(node)
        return node

    def _enter(self, call: Call, folder: Node, names: tuple[tuple[str, Node | None], ...]) -> None:
        for name, node in names:
            if node is None:
                self._names[folder].pop(name, None)
            else:
                self._names[folder][name] = node
        self._recording.changes.append(Entries(call.start, call.end, folder, names))

    def _path(self, at: str | None, text: str) -> str:
        name = _octets(text).decode()
        if at is None or at in ("", "AT_FDCWD") or name.startswith("/"):
            base = self._cwd
        else:
            folder = self._fds.get(int(at))
            if not isinstance(folder, _OpenFile):
                raise UnreadableTraceError(f"{name} relative to an unknown folder")
            base = folder.path
        return posixpath.normpath(posixpath.join(base, name))

    def _counts(self, path: str) -> bool:
        return path.startswith(self._folder + "/") and not path.endswith(_LEFT_OUT)

    def _parent(self, path: str) -> tuple[Node, str]:
        *folders, name = path[len(self._folder) + 1 :].split("/")
        node = self._recording.root
        for folder in folders:
            node = self._names[node][folder]
        return node, name

    # Sockets.

    def _socket(self, call: Call) -> None:
        if call.done and call.arguments.startswith("AF_INET"):
            self._sockets += 1
            stream = "SOCK_STREAM" in call.arguments
            self._fds[call.result or 0] = _Socket(self._sockets, stream)

    def _accept(self, call: Call) -> None:
        if call.done and "sa_family=AF_UNIX" in call.arguments:
            self._sockets += 1
            self._fds[call.result or 0] = _Socket(self._sockets, stream=True, port=UNIX)

    def _connect(self, call: Call) -> None:
        peer = self._fds.get(_first(call))
        if isinstance(peer, _Socket):
            peer.port = _port(call)

    def _sendto(self, call: Call) -> None:
        self._datagram_or_stream(call, _STRING)

    def _sendmsg(self, call: Call) -> None:
        self._datagram_or_stream(call, _BUFFER)

    def _datagram_or_stream(self, call: Call, pattern: re.Pattern[str]) -> None:
        peer = self._fds.get(_first(call))
        if isinstance(peer, _Socket):
            self._send(call, peer, _port(call) or peer.port, pattern)

    def _send(self, call: Call, peer: _Socket, port: int | None, pattern: re.Pattern[str]) -> None:
        if port is None or (call.result is not None and call.result < 0):
            return
        if pattern is _BUFFER:
            data = b"".join(_octets(text) for text in _BUFFER.findall(call.arguments))
        elif pattern is _WRITE:
            match = _WRITE.fullmatch(call.arguments)
            if match is None:
                raise UnreadableTraceError(f"{call.name}({call.arguments[:80]})")
            data = _octets(match[2])
        else:
            match = _STRING.search(call.arguments)
            data = _octets(match[1]) if match else b""
        if call.result is not None:
            data = data[: call.result]
        number = peer.number if peer.stream else None
        self._recording.sends.append(Send(call.start, call.end, port, number, data))

    # What may not happen.

    def _others(self, call: Call) -> None:
        if call.name in ("clone", "clone3"):
            if "CLONE_THREAD" not in call.arguments:
                raise UnreadableTraceError("the program started another process")
        elif call.name == "execve":
            if self._executed:
                raise UnreadableTraceError("the program became another one")
            self._executed = True
        elif call.name == "mmap":
            self._mmap(call)
        elif call.done and self._touches(call):
            raise UnreadableTraceError(f"{call.name}({call.arguments[:200]})")

    def _mmap(self, call: Call) -> None:
        if "PROT_WRITE" not in call.arguments or "MAP_SHARED" not in call.arguments:
            return
        file = self._fds.get(int(call.arguments.split(", ")[4]))
        if isinstance(file, _OpenFile) and file.node is not None:
            raise UnreadableTraceError(f"{file.path} is written through mapped memory")

    def _touches(self, call: Call) -> bool:
        """Whether a call outside the vocabulary is about something that is followed."""
        if call.name in ("fork", "vfork", "chdir", "fchdir") or call.name.startswith("io_"):
            return True
        paths = [self._path(None, text) for text in _STRING.findall(call.arguments)]
        if any(self._counts(path) for path in paths):
            return True
        followed = [self._fds.get(int(number)) for number in _NUMBER.findall(call.arguments)[:4]]
        return any(
            isinstance(thing, _Socket) or (thing is not None and thing.node is not None)
            for thing in followed
        )


def _first(call: Call) -> int:
    match = _NUMBER.match(call.arguments)
    return int(match[1]) if match else -1


def _port(call: Call) -> int | None:
    match = _ADDRESS.search(call.arguments)
    return int(match[1]) if match else None


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
