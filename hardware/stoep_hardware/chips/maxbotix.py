"""A model of MaxBotix' sensors that talk: an HRXL-MaxSonar-WR, or an XL-MaxSonar with `unit="cm"`.

DS is the data sheet PD11500 (HRXL-MaxSonar-WR), MS what EnviroDIY's ModularSensors has found out:
lines of text from 65 to 160 ms after power, the greatest value without an echo. MB7360 and MB7380
send 7.5 times a second, the MB7389 6.67 times, the slowest 5.17 times (DS "Sensor Timing"), some
10 ms before the end of a cycle. What an HRXL draws is a guess.

An HRXL corrects for the air's temperature itself. An XL-MaxSonar tells 58 us of an echo's time as a
centimetre (data sheet of the MB1240, pin 2), whatever `air_c` is.
"""

from typing import Literal

from stoep_hardware.world import DistanceSource

from .talker import Air, Talker, echo_us_per_mm

ACTIVE_UA = 3_100.0
_INTRO = (
    b"HRXL-MaxSonar-WRL\rPN:MB7386\rCopyright 2011-2013\rMaxBotix Inc.\rRoHS 1.8b090  0713\rTempI\r"
)
_TEXT_MS = 160  # from power until the text is over
_US_PER_CM = 58


class Maxbotix(Talker):
    """One sensor that points at `source`; `idles_low`: one of those with RS232's levels.

    `greatest` and `least` are the values that it says where there is nothing, or too near.
    """

    INTRO_MS = 65

    def __init__(
        self,
        source: DistanceSource,
        *,
        unit: Literal["mm", "cm"] = "mm",
        idles_low: bool = False,
        greatest: int | None = None,
        least: int | None = None,
        period_ms: int = 148,
        air_c: Air = 20.0,
        keep_states: bool = False,
    ) -> None:
        super().__init__(
            period_ms=period_ms,
            startup_ms=_TEXT_MS + period_ms - 10,
            active_ua=ACTIVE_UA,
            intro=_INTRO,
            keep_states=keep_states,
        )
        self.IDLES_LOW = idles_low
        self._source = source
        self._digits = 4 if unit == "mm" else 3
        usual = (5_000, 300) if unit == "mm" else (765, 20)
        self._greatest = usual[0] if greatest is None else greatest
        self._least = usual[1] if least is None else least
        self._air_c = air_c

    def _measure(self, t_us: int) -> bytes:
        value = self._source.distance_mm(t_us)
        if value is None:
            value = self._greatest
        elif self._digits == 3:
            value = round(value * echo_us_per_mm(self._air_c, t_us) / _US_PER_CM)
        value = min(max(value, self._least), self._greatest)
        return b"R%0*d\r" % (self._digits, value)
