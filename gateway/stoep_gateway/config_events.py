"""What one ``[[event]]`` cannot know: public holidays, and the containers that there are."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from stoep_gateway.config_assets import EventConfig, concerns
from stoep_gateway.config_reader import Entry, Reader, did_you_mean
from stoep_gateway.public_holidays import HolidaysError, of_country

__all__ = ["check_events"]


def check_events(
    reader: Reader, entries: Mapping[str, Sequence[Entry]]
) -> dict[str, tuple[datetime.date, ...]]:
    """Return the public holidays of the countries that are named; warn of events of nothing."""
    containers = [entry.model for entry in entries["container"] if entry.model is not None]
    found: dict[str, tuple[datetime.date, ...]] = {}
    for entry in entries["event"]:
        event = entry.model
        if not isinstance(event, EventConfig):
            continue
        country = event.holidays
        if country is not None and country not in found:
            try:
                found[country] = of_country(country)
            except HolidaysError as error:
                message = f'holidays "{country}" {error}{did_you_mean(country, error.known)}'
                reader.report(entry.document, (*entry.path, "holidays"), message)
        if containers and not any(concerns(event, it) for it in containers):
            message = f'event "{event.id}" is about none of the containers'
            reader.warn(entry.document, entry.path, message)
    return found
