"""What the Debian packages are built for: releases, each with one Python, and architectures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


class Release(NamedTuple):
    """A release of Debian; ``suffix`` makes its packages older than the next release's."""

    suffix: str
    python: tuple[int, int]
    glibc: tuple[int, int]


class Architecture(NamedTuple):
    """A machine as wheels name it."""

    machine: str


RELEASES = {
    "bookworm": Release("deb12", (3, 11), (2, 36)),
    "trixie": Release("deb13", (3, 13), (2, 41)),
}
# What the solver draws its pictures with: 60 MB that nothing here imports.
LEFT_OUT = {
    "contourpy",
    "cycler",
    "fonttools",
    "kiwisolver",
    "matplotlib",
    "packaging",
    "pillow",
    "pyparsing",
    "python-dateutil",
    "six",
}

ARCHITECTURES = {"amd64": Architecture("x86_64"), "arm64": Architecture("aarch64")}


def lock_file(release: str) -> Path:
    """Return the file that pins what is vendored."""
    return HERE / f"requirements-{release}.txt"


def wheel_options(release: str, architecture: str) -> list[str]:
    """Return the options with which pip takes wheels of that machine and Python only."""
    _, python, glibc = RELEASES[release]
    machine = ARCHITECTURES[architecture].machine
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc[1], 16, -1)]
    platforms += [f"manylinux2014_{machine}"]
    return [
        "--only-binary=:all:",
        f"--python-version={python[0]}.{python[1]}",
        "--implementation=cp",
        *(f"--platform={platform}" for platform in platforms),
    ]
