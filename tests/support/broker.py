"""A real Mosquitto on a loopback port, to be stopped and started again, and a subscriber."""

import contextlib
import getpass
import socket
import subprocess
import threading
import time
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

_PROGRAMS = ("/usr/sbin/mosquitto", "mosquitto")
_CONFIGURATION = """\
user {user}
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {directory}/
max_queued_messages 100000
max_inflight_messages 1000
log_dest file {directory}/mosquitto.log
"""
_TIMEOUT_S = 20.0


def free_port() -> int:
    """Return a port that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Mosquitto:
    """A broker that keeps its port and its persistent state across `stop` and `start`."""

    host = "127.0.0.1"

    def __init__(self, directory: Path, more: str = "") -> None:
        """Start a broker that keeps its files in `directory`; `more` adds lines to its settings."""
        self._directory = directory
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        for attempt in range(5):
            self.port = free_port()
            try:
                self.start()
            except RuntimeError:
                if attempt == 4:
                    raise  # five times somebody else took the port: something else is wrong
            else:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    def start(self) -> None:
        """Start the broker and wait until it listens; raises RuntimeError with its log."""
        configuration = self._directory / "mosquitto.conf"
        # Started by root it would become another user, who may not write to the directory.
        configuration.write_text(
            _CONFIGURATION.format(
                user=getpass.getuser(), port=self.port, directory=self._directory.resolve()
            )
            + self._more
        )
        program = next((p for p in _PROGRAMS if Path(p).exists()), _PROGRAMS[-1])
        command = [program, "-c", str(configuration)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(self.address, timeout=1).close()
                return
            time.sleep(0.01)
        self.stop()
        log = self._directory / "mosquitto.log"
        raise RuntimeError(f"no broker: {log.read_text() if log.exists() else 'no log'}")

    def stop(self) -> None:
        """End the broker in good order."""
        self._end("terminate")

    def kill(self) -> None:
        """End the broker as a power cut does."""
        self._end("kill")

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            getattr(process, how)()
            try:
                process.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Subscriber:
    """Keeps every message of a topic filter, at QoS 1, as `(topic, payload, retained)`."""

    def __init__(self, broker: Mosquitto, topic: str = "#", client_id: str = "") -> None:
        """Connect and subscribe; with a `client_id` the session outlives a broker's restart."""
        self.messages: list[tuple[str, bytes, bool]] = []
        self._changed = threading.Condition()
        self._is_subscribed = False
        self._topic = topic
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=not client_id
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect(*broker.address)
        self._client.loop_start()
        self.wait_for(lambda: self._is_subscribed, "the subscription")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def _on_subscribe(self, *_):
        with self._changed:
            self._is_subscribed = True
            self._changed.notify_all()

    def _on_message(self, client, userdata, message):
        with self._changed:
            self.messages.append((message.topic, message.payload, bool(message.retain)))
            self._changed.notify_all()

    def wait_for(self, predicate, what: str = "the messages", timeout_s: float = 90.0) -> None:
        """Wait until `predicate()`; it is asked after every message. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(predicate, timeout_s):
                topics = [topic for topic, *_ in self.messages]
                raise TimeoutError(f"waited for {what}; there came {topics[-20:]}")

    def of(self, part: str) -> list[tuple[str, bytes, bool]]:
        """Return the messages whose topic contains `part`."""
        with self._changed:
            return [message for message in self.messages if part in message[0]]
