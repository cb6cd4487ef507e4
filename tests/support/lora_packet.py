"""npm lora-packet as an oracle: a Node process that answers JSON lines.

See ``tests/oracles/lora_packet_oracle.js`` for its operations, and ``lora_packet_network.js`` for
those of a network's end.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["LoraPacket", "opened"]

_ORACLES = pathlib.Path(__file__).parent.parent / "oracles"


class LoraPacket:
    """One Node process; a call is a line out and a line in."""

    def __init__(self, node: str, program: str) -> None:
        self._node = subprocess.Popen(
            [node, str(_ORACLES / program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, operation: str, **fields: Any) -> dict[str, Any]:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps({"operation": operation, **fields}) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        assert line, "the Node process has ended"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer
        return answer

    def close(self) -> None:
        self._node.communicate(timeout=10)


@contextlib.contextmanager
def opened(program: str = "lora_packet_oracle.js") -> Iterator[LoraPacket]:
    """Run the oracle; without it the test fails and says what to install."""
    node = shutil.which("node")
    if node is None or not (_ORACLES / "node_modules" / "lora-packet").is_dir():
        pytest.fail(
            "needs Node and lora-packet: sudo apt install nodejs npm; npm ci --prefix tests/oracles"
        )
    oracle = LoraPacket(node, program)
    try:
        yield oracle
    finally:
        oracle.close()
