"""The cell: its voltage sags under load, and below a level the microcontroller starts anew.

Each part's StateLog tells its current. ESP-IDF looks for brown-outs from the start of the program
on, not before: a cell that is too weak for a start starts again and again.
"""

from collections.abc import Callable

from .chips.state_log import StateLog

# ESP-IDF's default for the ESP32 and the S3 is 2.43 to 2.44 V at the chip (BROWNOUT_DET_LVL); the
# regulator before it needs some more.
BROWN_OUT_MV = 2_600


class Supply:
    """A cell that has `rest_mv(t_us)` without a load and `ohms` inside."""

    def __init__(self, rest_mv: Callable[[int], int], ohms: float, brown_out_mv: int) -> None:
        self._rest_mv = rest_mv
        self._ohms = ohms
        self._brown_out_mv = brown_out_mv
        self._logs: list[StateLog] = []
        self._on_brown_out: Callable[[int], None] = lambda _t_us: None

    def feeds(self, logs: list[StateLog], on_brown_out: Callable[[int], None]) -> None:
        """Take these parts' load; the callback is told when they begin to ask for too much."""
        self._logs = logs
        self._on_brown_out = on_brown_out
        for log in logs:
            log.on_rise = self._look

    def mv(self, t_us: int) -> int:
        """Return the voltage under the present load."""
        load_ua = sum(log.current_ua for log in self._logs)
        return self._rest_mv(t_us) - round(self._ohms * load_ua / 1_000)

    def is_brown(self, t_us: int) -> bool:
        """Tell whether it is too little for the microcontroller."""
        return self.mv(t_us) < self._brown_out_mv

    def _look(self, t_us: int) -> None:
        if self.is_brown(t_us):
            self._on_brown_out(t_us)
