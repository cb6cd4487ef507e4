"""Coverage-guided fuzzing of everything that strangers can send, with atheris.

    run.py                      all targets, 1 000 000 inputs and more in all, one process a core
    run.py --inputs 50000 gwmp  one target
    run.py --replay FILE gwmp   one input again, without atheris

An exception or a failed assertion ends a target, and its input stays in .fuzz/. Memory has to be
flat: between a fifth of the run and its end, Python may keep no more than one block of memory in a
hundred inputs. One `name value unit` line per figure.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

TARGETS = {
    "gwmp": 400_000,
    "station": 250_000,
    "uplink": 400_000,
    "devices": 100_000,
    "http": 100_000,
}
FOLDER = Path(__file__).parent.parent / ".fuzz"
LONGEST = 1024
SETTLING = 5  # what caches hold is there after a fifth of the inputs
BLOCKS_ANYHOW = 5_000
INPUTS_PER_BLOCK = 100
PACKAGES = ("stoep_gateway", "stoep_protocol")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--inputs", type=int, help="for each target")
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--here", action="store_true", help="fuzz in this process")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(unknown)}")
    if options.replay is not None:
        load(names[0])(options.replay.read_bytes())
    elif options.here:
        fuzz(names[0], options.inputs or TARGETS[names[0]])
    else:
        sys.exit(run_all(names, options.inputs))


def load(name: str) -> Any:
    """Return a target; its module is imported now, so that atheris may look into it."""
    return import_module(f"fuzz_{name}").Target()


def run_all(names: list[str], inputs: int | None) -> int:
    """Run each target in a process of its own; return the exit code."""

    def run(name: str) -> int:
        command = [sys.executable, __file__, name, "--here"]
        command += ["--inputs", str(inputs or TARGETS[name])]
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        log = FOLDER / f"{name}.log"
        with log.open("wb") as stderr:
            code = subprocess.run(command, stderr=stderr, check=False).returncode
        if code:
            text = log.read_text(errors="replace")
            at = text.find("=== Uncaught Python exception")
            print(f"{name} failed:\n{text[max(0, at) :][:6000] if at >= 0 else text[-3000:]}")
        return code

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        codes = list(pool.map(run, names))
    if not any(codes):
        print(f"fuzz_inputs {sum(inputs or TARGETS[name] for name in names)} 1")
    return int(any(codes))


def fuzz(name: str, inputs: int) -> None:
    """Fuzz in this process, which atheris ends."""
    import atheris  # of the extra "fuzz"

    with atheris.instrument_imports(include=list(PACKAGES)):
        target = load(name)
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    memory = Memory(name, inputs)

    def take(data: bytes) -> None:
        target(data)
        memory.count()

    arguments = [
        sys.argv[0],
        f"-atheris_runs={inputs}",
        f"-max_len={LONGEST}",
        "-rss_limit_mb=1024",
        "-timeout=20",
        "-print_final_stats=0",
        f"-artifact_prefix={FOLDER}/{name}-",
        str(corpus),
    ]
    atheris.Setup(arguments, take)
    atheris.Fuzz()


class Memory:
    """Watches what Python keeps, which neither the fuzzer's corpus nor its tables belong to."""

    def __init__(self, name: str, inputs: int) -> None:
        self._name = name
        self._inputs = inputs
        self._seen = 0
        self._blocks = 0

    def count(self) -> None:
        """Note one more input; raise ``MemoryError`` at the last one if memory has grown."""
        self._seen += 1
        if self._seen == self._inputs // SETTLING:
            self._blocks = sys.getallocatedblocks()
        elif self._seen == self._inputs:
            grown = sys.getallocatedblocks() - self._blocks
            rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"fuzz_{self._name}_inputs {self._inputs} 1")
            print(f"fuzz_{self._name}_blocks_kept {grown} 1")
            print(f"fuzz_{self._name}_rss_mb {rss_mb:.0f} MB", flush=True)
            if grown > BLOCKS_ANYHOW + self._inputs // INPUTS_PER_BLOCK:
                raise MemoryError(f"{grown} blocks of memory more than after the first fifth")


if __name__ == "__main__":
    main()
