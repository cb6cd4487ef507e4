"""The gateway as a process of its own: start it, learn its ports, end it, or let it die."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from .clock_channel import GatewayGoneError

_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
_LAST_WORDS = 2_000


class GatewayProcess:
    """`stoep gateway run` on a configuration, under a simulated clock."""

    def __init__(self, config: Path, directory: Path) -> None:
        """Start it; `wait_until_ready` before using its ports.

        Its standard error goes to `gateway.log` in the directory, after what is there already.
        """
        self._log = directory / "gateway.log"
        self._ready_file = directory / "ready.json"
        self._ready_file.unlink(missing_ok=True)
        self.gwmp_port = self.clock_port = 0
        command = [sys.executable, "-m", "stoep_tools.cli", "gateway", "run"]
        command += ["--config", str(config), "--simulated-clock", "--ready-file"]
        command += [str(self._ready_file)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
            )

    def wait_until_ready(self) -> None:
        """Wait until it says it is ready; raises `GatewayGoneError` when it does not."""
        try:
            ready = self._wait()
        except BaseException:
            self.kill()
            raise
        self.gwmp_port = int(ready["gwmp_udp"])
        self.clock_port = int(ready["clock_tcp"])

    def _wait(self) -> dict[str, int]:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._ready_file.exists():
            if self._process.poll() is not None:
                raise GatewayGoneError(f"the gateway did not start\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise GatewayGoneError(f"the gateway is not ready in time\n{self.last_words()}")
            time.sleep(0.01)  # it is another process: nothing to be told by
        ready: dict[str, int] = json.loads(self._ready_file.read_text())
        return ready

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether it has not ended."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return its exit code and the end of its log."""
        try:
            log = self._log.read_text(errors="replace")[-_LAST_WORDS:]
        except OSError:
            log = ""
        code = self._process.poll()
        return (f"exit code {code}\n" if code is not None else "") + log

    def stop(self) -> int:
        """Ask it to end; return its exit code, after a while by force."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once, as a power cut does."""
        if self.is_running:
            self._process.kill()
        return self._process.wait()
