"""The gateway as a process of its own, in real time, for adapter tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["START_S", "Gateway"]

START_S = 120.0  # a busy machine has been seen to stand still for a minute
_STOP_S = 60.0


class Gateway:
    """``stoep gateway run``; ``config`` is the text of its TOML file."""

    def __init__(self, folder: Path, config: str, *arguments: str, command: tuple[str, ...] = ()):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stoep.toml").write_text(config)
        self._command = [*command, sys.executable, "-m", "stoep_tools.cli", "gateway", "run"]
        self._command += ["--config", str(folder / "stoep.toml")]
        self._command += ["--ready-file", str(folder / "ready.json"), *arguments]
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        assert self.process is not None
        ready_file = self.folder / "ready.json"
        deadline = time.monotonic() + START_S
        while not ready_file.exists():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)  # it is another process: nothing to be told by
        self.port = int(json.loads(ready_file.read_text())["gwmp_udp"])

    def launch(self) -> None:
        """Start it without waiting."""
        (self.folder / "ready.json").unlink(missing_ok=True)
        with (self.folder / "gateway.log").open("ab") as log:
            # Parallel test workers ignore Ctrl-C and nohup ignores SIGHUP; a process inherits that.
            command = ["env", "--default-signal=INT,HUP", *self._command]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def log(self) -> str:
        """Return everything it has logged."""
        return (self.folder / "gateway.log").read_text(errors="replace")

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_S)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(_STOP_S)

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
