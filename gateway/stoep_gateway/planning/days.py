"""Times of day at a site, and the days on which trucks drive. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from stoep_gateway.config import Config
from stoep_gateway.config_days import WEEK

__all__ = ["date_of", "local", "round_at", "round_on", "seconds_of", "windows_s"]

_LONGEST_DAYS = 400  # without a round


def local(config: Config, utc_ms: int) -> datetime.datetime:
    """Return the local time."""
    return datetime.datetime.fromtimestamp(utc_ms / 1000, tz=config.timezone)


def date_of(config: Config, utc_ms: int) -> str:
    """Return the local date, as messages and the store have it."""
    return local(config, utc_ms).date().isoformat()


def round_at(config: Config, after_utc_ms: int) -> int:
    """Return when the next rounds start: ``planning.at`` local time, on the next day of rounds.

    A local time that a change of clocks leaves out is taken at the offset before the change. With
    hardly any day of rounds at all it is the last day that was looked at.
    """
    planning = config.planning
    today = local(config, after_utc_ms).date()
    at_ms = after_utc_ms
    for days in range(_LONGEST_DAYS):
        day = today + datetime.timedelta(days=days)
        at_ms = _utc_ms(config, day, planning.at)
        if _is_driven(config, day) and at_ms > after_utc_ms:
            break
    return at_ms


def round_on(config: Config, date: datetime.date) -> datetime.date:
    """Return the first day of rounds from a date on, looking as far as `round_at` does."""
    days = (date + datetime.timedelta(days=it) for it in range(_LONGEST_DAYS))
    return next((it for it in days if _is_driven(config, it)), date)


def _is_driven(config: Config, day: datetime.date) -> bool:
    planning = config.planning
    return WEEK[day.weekday()] in planning.days and day not in planning.not_on


def seconds_of(config: Config, at: datetime.time, begin_ms: int) -> int:
    """Return when it is that time of the local day, in seconds after ``begin_ms`` (or before)."""
    return (_utc_ms(config, local(config, begin_ms).date(), at) - begin_ms) // 1000


def windows_s(
    config: Config, windows: Sequence[tuple[datetime.time, datetime.time]], begin_ms: int
) -> tuple[tuple[int, int], ...]:
    """Return windows of the day in seconds after ``begin_ms``, without those that are over.

    If all are over, the last of them is left.
    """
    found = [
        (seconds_of(config, early, begin_ms), seconds_of(config, late, begin_ms))
        for early, late in windows
    ]
    return tuple(it for it in found if it[1] >= 0) or tuple(found[-1:])


def _utc_ms(config: Config, day: datetime.date, at: datetime.time) -> int:
    moment = datetime.datetime.combine(day, at, tzinfo=config.timezone)
    return round(moment.timestamp()) * 1000
