"""The process that other makes' codecs run in; started by `sandbox`, it imports nothing of ours.

``python -I -S worker.py FOLDER``, where FOLDER has the module ``_quickjs``. A line on standard
input is a JSON array, ``["load", codec, source]`` or ``["decode", codec, input]``; only the latter
is answered, with a line ``["ok", text]`` or ``[code, detail]``, and with an empty line once the
codec is ready for the next.

A codec (LoRa Alliance TS013, ``decodeUplink``) sees the language and nothing else. For each uplink
it runs in a fresh context, made while nobody waits, so that nothing stays from one to the next.
The engine's own limits interrupt what is interpreted; its native loops (``Array(2**32-1).join()``)
ask nobody, and for them the kernel ends the process.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any

SOFT_CPU_S = 0.05
HARD_CPU_S = 0.25
MEMORY_OCTETS = 8 << 20
STACK_OCTETS = 256 << 10
OUTPUT_MAX = 16 << 10
_PROCESS_OCTETS = 512 << 20
_DETAIL_MAX = 200

# The codec cannot reach what this closes over.
_HARNESS = """((parse, stringify, Time) => text => {
    const input = parse(text);
    input.recvTime = new Time(input.recvTime);
    return stringify(decodeUplink(input));
})(JSON.parse, JSON.stringify, Date)"""


class _Codec:
    def __init__(self, engine: Any, source: str) -> None:
        self._engine = engine
        self._source = source
        self._context: Any = None
        self._run: Any = None
        self._failure: tuple[str, str] | None = None

    def prepare(self) -> None:
        """Have a context ready in which nothing was decoded yet."""
        context = self._engine.Context()
        context.set_memory_limit(MEMORY_OCTETS)
        context.set_max_stack_size(STACK_OCTETS)
        context.set_time_limit(SOFT_CPU_S)
        self._context, self._run, self._failure = context, None, None
        try:
            run = context.eval(_HARNESS)
            context.eval(self._source)
            self._run = run
        except Exception as error:  # noqa: BLE001 (whatever it threw)
            self._failure = _failure(error)

    def decode(self, text: str) -> tuple[str, str]:
        """Return what to answer."""
        if self._context is None:
            self.prepare()
        run, failure = self._run, self._failure
        self._run = None
        if failure is not None:
            self._context = None
            return failure
        try:
            result = run(text)
        except Exception as error:  # noqa: BLE001
            return _failure(error)
        finally:
            run = None
            self._context = None
        if not isinstance(result, str):
            return "codec_output", "decodeUplink returned nothing"
        if len(result) > OUTPUT_MAX:
            return "codec_output", f"returned {len(result)} characters of JSON"
        return "ok", result


def _failure(error: Exception) -> tuple[str, str]:
    said = str(error).partition("\n")[0][:_DETAIL_MAX]
    if said == "InternalError: interrupted":
        return "codec_timeout", f"took more than {1000 * SOFT_CPU_S:.0f} ms"
    if said in ("null", "InternalError: out of memory"):
        return "codec_memory", f"took more than {MEMORY_OCTETS >> 20} MB"
    return "codec_error", said


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, meant for our parent
    sys.path.append(sys.argv[1])
    import _quickjs  # type: ignore[import-not-found]  # noqa: PLC0415 (its folder is known now)

    for what, most in (
        (resource.RLIMIT_AS, _PROCESS_OCTETS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(what)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))
    codecs: dict[str, _Codec] = {}
    answers = sys.stdout
    for line in sys.stdin:
        what, name, text = json.loads(line)
        if what == "load":
            codecs[name] = _Codec(_quickjs, text)
            continue
        codec = codecs[name]
        signal.setitimer(signal.ITIMER_PROF, HARD_CPU_S)
        answers.write(json.dumps(codec.decode(text)) + "\n")
        answers.flush()
        signal.setitimer(signal.ITIMER_PROF, HARD_CPU_S)
        codec.prepare()
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write("\n")
        answers.flush()


if __name__ == "__main__":
    main()
