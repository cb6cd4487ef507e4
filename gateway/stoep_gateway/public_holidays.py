"""The public holidays of a country, from the library ``holidays``, the extra of that name.

It is read in a process of its own: it would take 19 MB of this one's memory for some dates.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import subprocess
import sys

__all__ = ["HolidaysError", "of_country"]

_YEARS = range(2020, 2051)
_TIMEOUT_S = 60.0  # a small machine takes seconds


class HolidaysError(Exception):
    """They cannot be said, and why; ``known`` are the countries, where it is that one."""

    def __init__(self, message: str, known: list[str] | None = None) -> None:
        super().__init__(message)
        self.known = known or []


def of_country(code: str) -> tuple[datetime.date, ...]:
    """Return the days from 2020 to 2050; of a part of a country, "DE-BY", too.

    Raises `HolidaysError`.
    """
    if importlib.util.find_spec("holidays") is None:
        raise HolidaysError('needs: pip install "stoep[holidays]"; or say "dates"')
    try:
        told = subprocess.run(
            [sys.executable, "-m", __name__, code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        ).stdout
        answer = json.loads(told)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        message = f'cannot be read ({type(error).__name__}); say "dates"'
        raise HolidaysError(message) from error
    if "known" in answer:
        raise HolidaysError("is not known", answer["known"])
    return tuple(map(datetime.date.fromisoformat, answer["dates"]))


def _main() -> None:
    import holidays  # noqa: PLC0415 (here alone)

    country, _, part = sys.argv[1].partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=part or None, years=_YEARS)
    except NotImplementedError:
        supported = holidays.list_supported_countries()
        answer = {"known": [*supported, *(f"{country}-{it}" for it in supported.get(country, ()))]}
    else:
        answer = {"dates": sorted(it.isoformat() for it in found)}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main()
