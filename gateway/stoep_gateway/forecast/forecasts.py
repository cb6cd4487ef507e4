"""The forecasts of a site: every container's history, by kind, and their form in the store. Pure.

What is kept is JSON under a key: "container/ID" for a history, "kind/NAME" for what its kind knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import orjson

from stoep_gateway.forecast.calendar import HOUR_MS, Calendar
from stoep_gateway.forecast.feeding import feed
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.kind import Kind
from stoep_gateway.forecast.occasions import Occasions
from stoep_gateway.forecast.outlook import Outlook
from stoep_gateway.insight.filling import FillTrack

__all__ = ["Forecasts"]

_Values = dict[str, Any]
_T = TypeVar("_T")

_AHEAD_MS = HOUR_MS  # a level that is so much later than now was taken by a wrong clock


class Forecasts:
    """Histories by the containers' keys. ``kept`` is what `changes` returned before.

    What cannot be read of it starts afresh; ``unreadable`` names it.
    """

    def __init__(self, calendar: Calendar, kept: Mapping[str, str] | None = None) -> None:
        self.calendar = calendar
        self.unreadable: list[str] = []
        self._kept = dict(kept or {})
        self._kinds: dict[str, Kind] = {}
        self._histories: dict[str, History] = {}
        self._over: dict[str, None] = {}  # keys of histories with a day that is not kept, in order
        self._taken: dict[str, None] = {}  # of those with less

    def take(
        self,
        key: str,
        kind: str,
        now_ms: int,
        track: FillTrack | None,
        level_pct: float | None,
        quality: int,
        pressed_ms: int | None = None,
    ) -> Outlook | None:
        """Take in what a reading has made of a container, as `feed` does; return what is to come.

        None as long as no level is known.
        """
        history = self.history(key, kind)
        if history.at_ms is not None and history.at_ms > now_ms + _AHEAD_MS:
            history.forget_level()
        day = None if history.at_ms is None else history.day  # a new one can wait for its first
        feed(history, track, level_pct, quality, pressed_ms)
        (self._taken if day is None or history.day == day else self._over)[key] = None
        return None if history.at_ms is None else Outlook(history, now_ms)

    def outlook(self, key: str, kind: str, now_ms: int) -> Outlook | None:
        """Return what is to come of a container, None as long as no level of it is known.

        It stays as it is while the container's history goes on.
        """
        history = self.history(key, kind)
        return None if history.at_ms is None else Outlook(history, now_ms).lasting()

    def history(self, key: str, kind: str) -> History:
        """Return the history of a container of a kind, new or as it was kept."""
        history = self._histories.get(key)
        of = self._kinds.get(kind) or self._new_kind(kind)
        if history is None:
            history = self._histories[key] = self._new_history(key, of)
        elif history.kind is not of:
            known = history.values()
            history = History.restored(of, known, self.calendar.about.get(key))
            self._histories[key] = history
        return history

    def attend(self, about: Mapping[str, Occasions]) -> None:
        """Expect other events of containers, by their keys, from now on."""
        self.calendar.about = about
        for kind in self._kinds.values():
            kind.forget_factors()
        for key, history in self._histories.items():
            history.attend(about.get(key))

    def changes(self, most: int | None = None) -> dict[str, str]:
        """Return what is to be kept by key, and take it as kept: histories whose day is over.

        At most so many histories; there may be more.
        """
        keys = list(self._over)[:most]
        for key in keys:
            del self._over[key]
            self._taken.pop(key, None)
        return self._dumped(keys)

    def everything(self) -> dict[str, str]:
        """Return the same of all that took something, though their day is not over."""
        keys = list(self._over | self._taken)
        self._over.clear()
        self._taken.clear()
        return self._dumped(keys)

    def _dumped(self, keys: Iterable[str]) -> dict[str, str]:
        texts = {key: _dumps(self._histories[key].values()) for key in keys}
        if texts:
            texts |= {f"kind/{name}": _dumps(it.values()) for name, it in self._kinds.items()}
        return texts

    def _new_kind(self, name: str) -> Kind:
        def new(values: _Values | None) -> Kind:
            return Kind(self.calendar) if values is None else Kind.restored(self.calendar, values)

        kind = self._kinds[name] = self._read(f"kind/{name}", new)
        return kind

    def _new_history(self, key: str, kind: Kind) -> History:
        occasions = self.calendar.about.get(key)

        def new(values: _Values | None) -> History:
            if values is None:
                return History(kind, occasions)
            return History.restored(kind, values, occasions)

        return self._read(key, new)

    def _read(self, key: str, new: Callable[[_Values | None], _T]) -> _T:
        text = self._kept.pop(key, None)
        if text is not None:
            try:
                values = orjson.loads(text)
                if isinstance(values, dict):
                    return new(values)
                raise ValueError("no object")
            except (ArithmeticError, AttributeError, TypeError, ValueError):
                self.unreadable.append(key)
        return new(None)


def _dumps(values: _Values) -> str:
    return orjson.dumps(values).decode()
