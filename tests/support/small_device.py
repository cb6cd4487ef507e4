"""A device whose firmware runs on a MicroPython of 32-bit words, wake by wake, to see its heap."""

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from firmware_place import Place
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import BOARD_OPTIONS, MicroPythonRuntime, Program
from stoep_protocol import messages
from stoep_protocol.lorawan import crypto, mac_commands

HERE = Path(__file__).parent
MICROPYTHON = (
    HERE.parent / "oracles/node_modules/@micropython/micropython-webassembly-pyscript"
) / "micropython.mjs"
PLENTY_BYTES = 1 << 20


class SmallRuntime(MicroPythonRuntime):
    """Starts small_micropython.mjs in place of the unix binary; `figures` has a dict per wake."""

    def __init__(self, heap_bytes: int = PLENTY_BYTES, cache: Path | None = None) -> None:
        node = shutil.which("node")
        if node is None or not MICROPYTHON.exists():
            raise RuntimeError("needs Node and its packages: npm ci --prefix tests/oracles")
        super().__init__(cache, heap_bytes=heap_bytes, options=BOARD_OPTIONS)
        self._node = node
        self._notes = self._scratch / "notes"
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def figures(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._notes.read_text().splitlines()]

    def importing(self, *names: str) -> dict[str, Any]:
        """Say what the heap holds when these modules have been imported."""
        subprocess.run(self._command("import", *names), cwd=self._scratch, check=True)
        return self.figures[-1]

    def start(self, folder: Path, console: Path) -> Program:
        ours, theirs = socket.socketpair()
        self._started += 1
        with theirs, console.open("wb") as output:
            self._processes[self._started] = subprocess.Popen(
                self._command(str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        program = Program(self, self._started, ours)
        self._programs.add(program)
        return program

    def end(self, how: str, program: Program) -> int:
        self._programs.discard(program)
        process = self._processes.pop(program.number, None)
        if process is None:
            return 0
        if how == "kill":
            process.kill()
        return process.wait()

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        super().close()

    def _command(self, *arguments: str) -> list[str]:
        script = HERE / "small_micropython.mjs"
        paths = (str(MICROPYTHON), str(self._modules), str(self._heap_bytes), str(self._notes))
        return [self._node, str(script), *paths, *arguments]


def wakes(runtime: SmallRuntime, *, kind: str = "bin", **config: Any) -> list[dict[str, Any]]:
    """Let a device join, take a configuration and MAC commands, report hourly with and without an
    acknowledgement; return what each wake did to the heap.
    """

    def device(*arguments: object) -> MicroPythonDevice:
        return MicroPythonDevice(*arguments, runtime)  # type: ignore[arg-type]

    here = Place(device, kind=kind, confirmed_every=2, **config)
    wanted = messages.Configuration(history=5)
    asked = (
        (mac_commands.DEV_STATUS,),
        (mac_commands.RX_TIMING, 1),
        (mac_commands.LINK_ADR, 5, 0, 0xFF, 0, 1),
    )
    f_opts = mac_commands.encode(crypto.DOWN, asked)
    data = messages.encode(wanted)[1]
    here.far.down = [{"f_port": 13, "data": data, "f_opts": f_opts}]
    try:
        here.run(hours=3)
    finally:
        here.device.close()
    heard = here.far.messages
    kinds = [type(message) for message in heard]
    report = messages.BayReport if kind == "bay" else messages.BinReport
    assert kinds.count(report) >= 3, kinds
    assert messages.ConfigurationAck in kinds, kinds
    assert [m.errors for m in heard if isinstance(m, messages.Status)] == [()], heard
    return runtime.figures
