"""The folder that has a folder of files for each date. Blocking.

Who may read it is whoever may read the folder above: its group, and that of the gateway.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stoep_gateway.keeping.files import give_to_owner, replacing

__all__ = ["forget", "write"]

_OURS = {".geojson", ".gpx", ".html", ".pdf"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def write(folder: Path, date: str, files: Mapping[str, bytes]) -> None:
    """Write a date's files, each replaced as a whole, and remove those of trucks that are gone.

    What root writes is given to whom the folder above belongs. Raises ``OSError``.
    """
    of_date = folder / date
    for made in (folder, of_date):
        if not made.is_dir():
            made.mkdir(0o750, parents=True)
            group = made.parent.stat().st_mode & stat.S_ISGID
            made.chmod(0o750 | group)
            give_to_owner(made)
    for name, content in files.items():
        with replacing(of_date / name) as file:
            os.fchmod(file.fileno(), 0o640)
            file.write(content)
        give_to_owner(of_date / name)
    for path in of_date.iterdir():
        if path.suffix in _OURS and path.name not in files:
            path.unlink()


def forget(folder: Path, before: str) -> None:
    """Remove what was written for dates before one; what is not ours stays. Raises ``OSError``."""
    for of_date in folder.iterdir():
        if _DATE.fullmatch(of_date.name) and of_date.name < before and of_date.is_dir():
            for path in of_date.iterdir():
                if path.suffix in _OURS:
                    path.unlink()
            with suppress(OSError):  # somebody else's files are in it
                of_date.rmdir()
