"""How long uplinks are kept, by what they tell. Pure.

For each rule the uplinks are walked in the order of their arrival, a window at a time. Arrival is
the truth where the clock was wrong: an uplink from the future is as old as the next one after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stoep_protocol.schema import (
    F_PORT_BAY,
    F_PORT_BIN,
    F_PORT_BIN_PAST,
    F_PORT_CONFIGURATION_ACK,
    F_PORT_STATUS,
)

from stoep_gateway.config_service import RetentionConfig

__all__ = ["Rule", "Step", "StoredUplink", "Walk", "rules"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_BIN = frozenset({F_PORT_BIN, F_PORT_BIN_PAST})
_BAY = frozenset({F_PORT_BAY})
_DEVICE = frozenset({F_PORT_STATUS, F_PORT_CONFIGURATION_ACK, None})  # None: MAC commands alone


class StoredUplink(NamedTuple):
    """What a rule looks at; the columns of table ``uplink``."""

    uplink_id: int
    received_utc_ms: int
    dev_eui: bytes
    f_port: int | None
    undecodable: str | None


class Rule(NamedTuple):
    """Uplinks on ``f_ports`` (None: all) go after ``age_ms``, but for one a day if ``daily``."""

    name: str
    f_ports: frozenset[int | None] | None
    age_ms: int
    daily: bool = False


class Step(NamedTuple):
    """What a window came to: uplinks to forget, up to where the rule is through, and if it is."""

    forgotten: tuple[int, ...]
    mark: int
    more: bool


def rules(retention: RetentionConfig) -> tuple[Rule, ...]:
    """Return what the configuration asks for."""
    found = [
        Rule("bay", _BAY, retention.bay_uplinks_h * _HOUR_MS),
        Rule("device", _DEVICE, retention.device_uplinks_days * _DAY_MS),
        Rule("all", None, retention.uplinks_days * _DAY_MS),
    ]
    if retention.bin_daily_after_days:
        found.append(Rule("bin", _BIN, retention.bin_daily_after_days * _DAY_MS, daily=True))
    return tuple(found)


class Walk:
    """A rule on its way through the uplinks; ``mark`` is the last that it is through with.

    Of each device the day of which one is kept is remembered while the program runs: a restart
    keeps one more.
    """

    def __init__(self, rule: Rule, mark: int = 0) -> None:
        self.rule = rule
        self.mark = mark
        self._kept_days: dict[bytes, int] = {}

    def take(self, window: Sequence[StoredUplink], limit: int, now_utc_ms: int) -> Step:
        """Judge the uplinks after ``mark``, at most ``limit`` and in order; move ``mark`` on."""
        before_utc_ms = now_utc_ms - self.rule.age_ms
        forgotten: list[int] = []
        from_the_future: list[StoredUplink] = []
        through = True
        for uplink in window:
            if uplink.received_utc_ms > now_utc_ms:
                from_the_future.append(uplink)
                continue
            if uplink.received_utc_ms >= before_utc_ms:
                through = False
                break
            from_the_future.append(uplink)
            forgotten += [it.uplink_id for it in from_the_future if self._goes(it)]
            from_the_future.clear()
            self.mark = uplink.uplink_id
        more = through and len(window) == limit > len(from_the_future)
        return Step(tuple(forgotten), self.mark, more)

    def _goes(self, uplink: StoredUplink) -> bool:
        if self.rule.f_ports is not None and uplink.f_port not in self.rule.f_ports:
            return False
        if not self.rule.daily or uplink.undecodable is not None:
            return True
        day = uplink.received_utc_ms // _DAY_MS
        if self._kept_days.get(uplink.dev_eui) == day:
            return True
        self._kept_days[uplink.dev_eui] = day
        return False
