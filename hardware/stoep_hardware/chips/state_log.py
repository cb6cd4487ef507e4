"""What a chip was doing when, and the charge it took: the raw material of an energy meter."""


class StateLog:
    """The states a chip went through, with the current of each.

    Sums are always kept; the list of `(t_us, state, current_ua)` only when `keep` is true, because
    a year of one device is some hundred thousand entries.
    """

    __slots__ = ("_charge_ua_us", "_current_ua", "_since_us", "_us_in", "entries", "keep", "state")

    def __init__(self, *, keep: bool = False) -> None:
        self.keep = keep
        self.state = "off"
        self.entries: list[tuple[int, str, float]] = []
        self._current_ua = 0.0
        self._since_us = 0
        self._charge_ua_us = 0.0
        self._us_in: dict[str, int] = {}

    def enter(self, t_us: int, state: str, current_ua: float) -> None:
        """Note that `state` begins at `t_us`; a time before the last entry counts as that one."""
        elapsed_us = t_us - self._since_us
        if elapsed_us > 0:
            self._charge_ua_us += elapsed_us * self._current_ua
            self._us_in[self.state] = self._us_in.get(self.state, 0) + elapsed_us
            self._since_us = t_us
        self.state = state
        self._current_ua = current_ua
        if self.keep:
            self.entries.append((self._since_us, state, current_ua))

    def charge_uc(self, t_us: int) -> float:
        """Return the charge taken until `t_us`, in microcoulombs."""
        return (self._charge_ua_us + max(t_us - self._since_us, 0) * self._current_ua) / 1e6

    def us_in(self, state: str, t_us: int) -> int:
        """Return the time spent in `state` until `t_us`."""
        current_us = max(t_us - self._since_us, 0) if state == self.state else 0
        return self._us_in.get(state, 0) + current_us
