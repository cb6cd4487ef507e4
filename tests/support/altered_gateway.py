"""The real gateway with one pragma of its database altered.

usage: altered_gateway.py PRAGMA gateway run …

``synchronous = NORMAL`` or ``OFF`` proves that the power-cut test of the gateway can fail;
``wal_autocheckpoint = N`` makes checkpoints frequent enough for a short test.
"""

from __future__ import annotations

import functools
import sqlite3
import sys
from typing import Any

from stoep_tools import cli


def main(pragma: str, arguments: list[str]) -> int:
    class Altered(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            cursor = super().execute(sql, *parameters)
            if "synchronous = FULL" in sql:
                super().execute(f"PRAGMA {pragma}")
            return cursor

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Altered)  # type: ignore[assignment]
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
