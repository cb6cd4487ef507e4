"""From a codec's result to messages of ours, as a ``[[make]]`` says. Pure.

A make has no numbers of ours: a reading's is the uplink's frame counter, so that one that never
came is missed and one that comes twice is known. A bay's changes are counted here.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoep_protocol.messages import BayReport, BinReport, Status
from stoep_protocol.schema import (
    CHANGE_COUNT_MODULUS,
    FLAPS_MAX,
    FREE,
    OCCUPIED,
    SEQUENCE_MODULUS,
    TEMPERATURE_MAX_C,
    TEMPERATURE_MIN_C,
    UNCERTAIN,
)

from stoep_gateway.assets.states import AssetState, BayState
from stoep_gateway.config_makes import MakeConfig
from stoep_gateway.integrations.codecs.places import Place, number, place

__all__ = ["Mapping"]

_DISTANCE_MAX_MM = 20_000
_BATTERY_MAX_MV = 0xFFFF
_DURATION_MAX_S = 0x7FFF_FFFF


class Mapping:
    """One make's."""

    def __init__(self, make: MakeConfig) -> None:
        def at(quantity: str) -> Place | None:
            text = getattr(make, quantity)
            return None if text is None else place(quantity, text)

        self._distance, self._state = at("distance_mm"), at("state")
        self._temperature, self._battery = at("temperature_c"), at("battery_mv")
        self._flaps, self._previous = at("flaps"), at("previous_duration_s")
        self._no_echo = make.no_echo
        self._quality = make.quality
        self._states = ((FREE, make.free), (OCCUPIED, make.occupied), (UNCERTAIN, make.uncertain))

    def messages(
        self, result: object, f_cnt_up: int, before: AssetState | None
    ) -> tuple[BinReport | BayReport | None, Status | None]:
        """Return the reading and the health that a codec's result says, None what it does not.

        ``before`` is what is known of the asset. Raises ValueError for what cannot be meant.
        """
        if not isinstance(result, dict):
            raise ValueError("the codec returned no object")
        errors = result.get("errors")
        if errors:
            first = errors[0] if isinstance(errors, list) else errors
            raise ValueError(f"the codec says: {str(first)[:100]}")
        battery_mv = _within(self._battery, result, 0, _BATTERY_MAX_MV)
        status = None if battery_mv is None else Status(battery_mv=battery_mv)
        if self._state is not None:
            return self._bay(self._state, result, before), status
        return self._bin(result, f_cnt_up), status

    def _bin(self, result: object, f_cnt_up: int) -> BinReport | None:
        at = self._distance or self._flaps
        found = None if at is None else at.find(result)
        if at is None or found is None:
            return None
        distance_mm = None
        if self._distance is not None and not _is_one_of(found, self._no_echo):
            distance_mm = round(number(at, found))
            if not 0 <= distance_mm <= _DISTANCE_MAX_MM:
                raise ValueError(f"{at} would be {distance_mm} mm")
        return BinReport(
            f_cnt_up % SEQUENCE_MODULUS,
            distance_mm,
            self._quality,
            0,
            _within(self._temperature, result, TEMPERATURE_MIN_C, TEMPERATURE_MAX_C),
            _within(self._flaps, result, 0, FLAPS_MAX),
        )

    def _bay(self, at: Place, result: object, before: AssetState | None) -> BayReport | None:
        found = at.find(result)
        if found is None:
            return None
        state = next((state for state, words in self._states if _is_one_of(found, words)), None)
        if state is None:
            raise ValueError(f"{at} is {str(found)[:40]!r}, which is no state that is mapped")
        count = 0
        if isinstance(before, BayState):
            count = (before.change_count + (state != before.state)) % CHANGE_COUNT_MODULUS
        lasted_s = _within(self._previous, result, 0, _DURATION_MAX_S)
        return BayReport(state, count, 0, lasted_s)


def _within(at: Place | None, result: object, lowest: int, highest: int) -> int | None:
    """Return a value that is beside the point: None if it is not there, or cannot be."""
    found = None if at is None else at.find(result)
    if at is None or found is None:
        return None
    try:
        value = round(number(at, found))
    except ValueError:
        return None
    return value if lowest <= value <= highest else None


def _is_one_of(found: object, words: Iterable[object]) -> bool:
    """Compare as JavaScript's ``===`` does: true is not 1."""
    return any(
        found == word and isinstance(found, bool) == isinstance(word, bool) for word in words
    )
