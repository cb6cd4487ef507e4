"""What sensors have in common that say a distance now and then over a serial line, unasked."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from stoep_hardware.engine import US_PER_MS

from .state_log import StateLog

Air = float | Callable[[int], float]  # its temperature, always or at a time

BAUDRATE = 9_600
BYTE_US = 10 * 1_000_000 // BAUDRATE  # start bit, eight bits, stop bit


class Talker(ABC):
    """Sends a message every `period_ms`, the first `startup_ms` after it got power.

    `intro` is said once, `INTRO_MS` after power. `IDLES_LOW`: the line is as RS232's, upside down.
    """

    INTRO_MS = 0
    IDLES_LOW = False

    def __init__(
        self, *, period_ms: int, startup_ms: int, active_ua: float, intro: bytes, keep_states: bool
    ) -> None:
        self.log = StateLog(keep=keep_states)
        self._period_us = period_ms * US_PER_MS
        self._startup_us = startup_ms * US_PER_MS
        self._active_ua = active_ua
        self._intro = intro
        self._on_since_us: int | None = None
        self._message_number = -1
        self._message = b""

    @abstractmethod
    def _measure(self, t_us: int) -> bytes:
        """Return what it says of a measurement."""

    def power(self, on: bool, t_us: int) -> None:
        """Switch the supply."""
        if on == (self._on_since_us is not None):
            return
        self._on_since_us = t_us if on else None
        self._message_number = -1
        self.log.enter(t_us, "on" if on else "off", self._active_ua if on else 0.0)

    def sent(self, after_us: int, until_us: int) -> bytes:
        """Return the bytes whose stop bits end after `after_us` and not after `until_us`.

        Ask for one stretch of time after the other: a value is measured when it is first asked for.
        """
        data = bytearray()
        for begin_us, message in self._messages(after_us, until_us):
            for index, byte in enumerate(message):
                if after_us < begin_us + (index + 1) * BYTE_US <= until_us:
                    data.append(byte)
        return bytes(data)

    def level(self, t_us: int) -> bool:
        """Return the level of its line."""
        high = True
        for begin_us, message in self._messages(t_us, t_us + 1):
            index, rest_us = divmod(t_us - begin_us, BYTE_US)
            bit = rest_us * 10 // BYTE_US
            if 0 <= index < len(message) and bit < 9:
                high = bool(message[index] << 1 >> bit & 1)
        return high != self.IDLES_LOW

    def _messages(self, after_us: int, until_us: int) -> list[tuple[int, bytes]]:
        """Return the beginning and the octets of what may be going on between two times."""
        if self._on_since_us is None:
            return []
        messages = [(self._on_since_us + self.INTRO_MS * US_PER_MS, self._intro)]
        first_us = self._on_since_us + self._startup_us
        number = max((after_us - first_us) // self._period_us, 0)
        while (begin_us := first_us + number * self._period_us) < until_us:
            if number != self._message_number:
                self._message_number = number
                self._message = self._measure(begin_us)
            messages.append((begin_us, self._message))
            number += 1
        return messages


def echo_us_per_mm(air_c: Air, t_us: int) -> float:
    """Return the time that sound takes to and fro a millimetre, in dry air as an ideal gas."""
    degrees = air_c(t_us) if callable(air_c) else air_c
    return 2 / (0.3313 * math.sqrt(1 + degrees / 273.15))
