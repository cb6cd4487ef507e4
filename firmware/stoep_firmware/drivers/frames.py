"""Frames that a sensor sends unasked over a serial line, as long as it has power.

A UART hears nothing in light sleep, and waiting awake costs thirty times as much. So the processor
stays awake until two frames have come, and from then on sleeps until shortly before the next.
"""

from stoep_firmware.board import IDLE, LIGHT

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Burst, Uart, Wait
    from stoep_firmware.clock import Clock

_POLL_MS = const(10)
_EARLY_MS = const(20)  # before a frame is expected: waking up, and a poll's grain twice


def collect(
    clock: "Clock", uart: "Uart", frames: "Any", pings: int, timeout_ms: int
) -> "Wait[Burst]":
    """Collect so many distances, or what comes in time.

    `frames` is fed octets, counts them in `octets`, and gathers `distances_mm`.
    """
    distances_mm = frames.distances_mm
    until_ms = clock.now_ms() + timeout_ms
    last_ms = period_ms = 0
    while len(distances_mm) < pings and clock.now_ms() < until_ms:
        next_ms = last_ms + period_ms - _EARLY_MS
        if period_ms and clock.now_ms() < next_ms:
            yield LIGHT, min(next_ms, until_ms)
        found = len(distances_mm)
        yield IDLE, clock.now_ms() + _POLL_MS
        waiting = uart.any()
        if not waiting:
            continue
        frames.feed(uart.read(waiting) or b"")
        if len(distances_mm) > found:
            now_ms = clock.now_ms()
            if last_ms and not 0 < period_ms <= now_ms - last_ms:
                period_ms = now_ms - last_ms
            last_ms = now_ms
    return distances_mm, frames.octets
