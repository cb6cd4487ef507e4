"""One wake of the device, and what becomes of it when something goes wrong.

`run` is a generator. It yields `(mode, until_ms)` with the modes of board.py and lets whoever
drives it do the sleeping: LIGHT ends at `until_ms` (board clock) or when the radio raises DIO1,
IDLE at `until_ms`, with the processor on. DEEP is always the last; the next wake is a new `run`.

Whatever goes wrong ends in a DEEP yield, and a status report tells of it. A mistake of the program
ends the wake, and the next comes in a quarter of an hour. A call that never returns is ended by the
watchdog; the start that follows knows from RTC memory what it was (`Store.mark`). After one
brown-out upon another the device rests (rest.py). And after `PATIENCE` starts in a row that did not
end well, one in safe mode (safe.py) loads nothing but what it takes to say so.
"""

from stoep_firmware.board import DEEP, LIGHT
from stoep_firmware.meter import Meter
from stoep_firmware.store import Store

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stoep_firmware._types import Any
    from stoep_firmware.board import Board

PATIENCE = 3
_AFTER_FAULT_MS = const(900_000)


def run(board: "Board") -> "Iterator[tuple[int, int]]":
    """Run one wake on this board."""
    now_ms = board.clock.now_ms
    wake: Any = None
    ended_well = False
    board.feed()
    try:
        store = Store(board.rtc_memory, board.storage)
        meter = Meter(board.wiring)
        # Only what is needed is loaded: heap, and a safe mode that depends on little.
        strikes = store.begin()
        # RTC memory outlasts a brown-out, which is a power-on else, but no loss of power. One is
        # forgiven, for a reset button may look alike.
        if strikes > 1 and board.wake_reason() == "power":
            from stoep_firmware.rest import rest  # noqa: PLC0415

            yield DEEP, rest(board, store, strikes)
            return
        if strikes >= PATIENCE:
            from stoep_firmware.safe import Safe  # noqa: PLC0415

            wake = Safe(board, store, meter)
        elif board.config.get("certification"):
            from stoep_firmware.certify import Certify  # noqa: PLC0415

            wake = Certify(board, store, meter)
        else:
            from stoep_firmware.wake import Wake  # noqa: PLC0415

            wake = Wake(board, store, meter)
        # Between two yields the processor is awake; what follows a yield is the sleep it asked for.
        meter.started(board.up_ms(), now_ms())
        for mode, light_until_ms in wake.run():
            meter.until(now_ms())
            board.feed()
            yield mode, light_until_ms
            board.feed()
            meter.until(now_ms(), "light" if mode == LIGHT else "awake")
        until_ms = wake.sleep_until_ms()
        ended_well = True
    except Exception as problem:  # noqa: BLE001 - the root: a device in the field has nobody to tell
        until_ms = now_ms() + _AFTER_FAULT_MS
        board.on_problem(problem)
        if wake is not None:
            wake.mishap(problem)
    if wake is not None:
        try:
            wake.close()
        except Exception as problem:  # noqa: BLE001 - likewise
            ended_well = False
            board.on_problem(problem)
    if ended_well:
        store.end(wake.strikes)
    yield DEEP, until_ms
