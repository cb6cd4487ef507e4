"""Runs other makes' codecs in a process of its own, with limits, and waits for their answers.

A codec is other people's code. In a thread it could not be ended: the engine interrupts what it
interprets, but some of its native loops, such as ``Array(2**32-1).join()``, run for minutes and ask
nobody. A process can, and the kernel does so after 250 ms of its time. Waiting for an answer holds
the event loop, about 0.2 ms for an ordinary codec. What holds it longer is cut off: a codec that
had to be ended once, or that took its 50 ms three times in a row, is not asked for an hour, or
until the configuration is taken anew.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson

from stoep_gateway.integrations.codecs.errors import CodecError

__all__ = ["Sandbox"]

_WORKER = Path(__file__).with_name("worker.py")
_ANSWERS_WITHIN_S = 5.0  # of anybody's time: the machine may be busy
_READ_OCTETS = 1 << 16
_OVERRUNS = 3
_DISABLED_MS = 3_600_000

_log = logging.getLogger(__name__)


class Sandbox:
    """All codecs, by name; ``sources`` are their texts."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = dict(sources)
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""
        self._preparing: str | None = None
        self._overruns: dict[str, int] = {}
        self._disabled_until_ms: dict[str, int] = {}

    def start(self) -> None:
        """Start the process, so that the first uplink need not wait for it."""
        if self._process is not None or not self._sources:
            return
        spec = importlib.util.find_spec("_quickjs")
        assert spec is not None
        assert spec.origin is not None
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER), str(Path(spec.origin).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env={},
        )
        for name, source in self._sources.items():
            self._send("load", name, source)

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        self._read, self._preparing = b"", None
        if process is None:
            return
        process.kill()
        with process:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()

    def replace(self, sources: Mapping[str, str]) -> None:
        """Take other codecs, and give each another chance."""
        self._overruns.clear()
        self._disabled_until_ms.clear()
        if dict(sources) != self._sources:
            self.stop()
            self._sources = dict(sources)
            self.start()

    def decode(
        self, name: str, f_port: int, data: bytes, received_utc_ms: int, now_ms: int
    ) -> object:
        """Return what the codec's ``decodeUplink`` returned. Raises `CodecError`."""
        if now_ms < self._disabled_until_ms.get(name, now_ms):
            raise CodecError("codec_disabled", "it ran too long before")
        request = {"bytes": list(data), "fPort": f_port, "recvTime": received_utc_ms}
        code, text = self._ask(name, json.dumps(request), now_ms)
        if code == "ok":
            self._overruns.pop(name, None)
            try:
                return orjson.loads(text)
            except orjson.JSONDecodeError:  # too deep, or half a surrogate pair
                raise CodecError("codec_output", "returned what is no JSON") from None
        if code == "codec_killed":
            self._disable(name, now_ms)
        elif code == "codec_timeout":
            self._overruns[name] = self._overruns.get(name, 0) + 1
            if self._overruns[name] >= _OVERRUNS:
                self._disable(name, now_ms)
        else:
            self._overruns.pop(name, None)
        raise CodecError(code, text)

    def _disable(self, name: str, now_ms: int) -> None:
        self._overruns.pop(name, None)
        self._disabled_until_ms[name] = now_ms + _DISABLED_MS
        _log.warning("codec %s ran too long and is not asked for an hour", name)

    def _ask(self, name: str, text: str, now_ms: int) -> tuple[str, str]:
        """Return a code and the text that belongs to it."""
        for _ in range(2):
            self.start()
            before, self._preparing = self._preparing, None
            if self._send("decode", name, text) and (before is None or self._line() is not None):
                line = self._line()
                if line is None:
                    self.stop()
                    return "codec_killed", "had to be ended: it could not be interrupted"
                self._preparing = name
                code, said = json.loads(line)
                return code, said
            self.stop()
            if before is not None:  # what was asked before ended it while it was made ready
                self._disable(before, now_ms)
                if before == name:
                    break
        return "codec_killed", "had to be ended while it was loaded"

    def _send(self, what: str, name: str, text: str) -> bool:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        left = memoryview(json.dumps([what, name, text]).encode() + b"\n")
        try:
            while left:
                left = left[os.write(process.stdin.fileno(), left) :]
        except BrokenPipeError:
            return False
        return True

    def _line(self) -> bytes | None:
        """Return the next line that the process says; None if it ends, or stays silent."""
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(out, select.POLLIN)
        while b"\n" not in self._read:
            if not poll.poll(1000 * _ANSWERS_WITHIN_S):
                return None
            octets = os.read(out, _READ_OCTETS)
            if not octets:
                return None
            self._read += octets
        line, _, self._read = self._read.partition(b"\n")
        return line
