"""What a chip was doing when, and the charge it took: the raw material of an energy meter."""

from collections.abc import Callable


class StateLog:
    """The states a chip went through, with the current of each.

    Sums are always kept; the list of `(t_us, state, current_ua)` only when `keep` is true, because
    a year of one device is some hundred thousand entries. `on_rise(t_us)` is told when the current
    has risen.
    """

    __slots__ = (
        "_charge_ua_us",
        "_since_us",
        "_us_in",
        "current_ua",
        "entries",
        "keep",
        "on_rise",
        "state",
    )

    def __init__(self, *, keep: bool = False) -> None:
        self.keep = keep
        self.state = "off"
        self.entries: list[tuple[int, str, float]] = []
        self.current_ua = 0.0
        self.on_rise: Callable[[int], None] | None = None
        self._since_us = 0
        self._charge_ua_us = 0.0
        self._us_in: dict[str, int] = {}

    def enter(self, t_us: int, state: str, current_ua: float) -> None:
        """Note that `state` begins at `t_us`; a time before the last entry counts as that one."""
        elapsed_us = t_us - self._since_us
        if elapsed_us > 0:
            self._charge_ua_us += elapsed_us * self.current_ua
            self._us_in[self.state] = self._us_in.get(self.state, 0) + elapsed_us
            self._since_us = t_us
        self.state = state
        has_risen = current_ua > self.current_ua
        self.current_ua = current_ua
        if self.keep:
            self.entries.append((self._since_us, state, current_ua))
        if has_risen and self.on_rise is not None:
            self.on_rise(self._since_us)

    def charge_uc(self, t_us: int) -> float:
        """Return the charge taken until `t_us`, in microcoulombs."""
        return (self._charge_ua_us + max(t_us - self._since_us, 0) * self.current_ua) / 1e6

    def states(self) -> set[str]:
        """Return every state that has been."""
        return {self.state, *self._us_in}

    def us_in(self, state: str, t_us: int) -> int:
        """Return the time spent in `state` until `t_us`."""
        current_us = max(t_us - self._since_us, 0) if state == self.state else 0
        return self._us_in.get(state, 0) + current_us
