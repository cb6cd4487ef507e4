"""An MQTT broker in a process of its own, for those who have none: PyPI amqtt on loopback.

Run as ``python -m stoep_hardware.demo.broker``: it prints the port that the system chose, serves
until its standard input closes, and so never outlives the demo, however that ends.
"""

import asyncio
import logging
import subprocess
import sys
from types import TracebackType
from typing import Self

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker

_LISTENER = "loopback"
_CONFIGURATION = {
    # amqtt takes a fixed port only; as an external listener it serves a socket of ours.
    "listeners": {"default": {"type": "external"}, _LISTENER: {"type": "external", "bind": "-"}},
    "plugins": {
        "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
    },
}


async def _serve() -> None:
    # A client that offers MQTT 5 is refused and comes back with 3.1.1: no news to a spectator.
    logging.disable(logging.WARNING)
    broker = Broker(_CONFIGURATION)
    await broker.start()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await broker.external_connected(
            StreamReaderAdapter(reader), StreamWriterAdapter(writer), _LISTENER
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class EmbeddedBroker:
    """Starts the broker's process; ``host`` and ``port`` say where it listens."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError("the embedded broker did not start")
        self.port = int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.terminate()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


if __name__ == "__main__":
    asyncio.run(_serve())
