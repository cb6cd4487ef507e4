"""One wake of the device: restore, sense, send, sleep.

`run` is a generator. It yields `(mode, until_ms)` with the modes of board.py and lets whoever
drives it do the sleeping: LIGHT ends at `until_ms` (board clock) or when the radio raises DIO1,
IDLE at `until_ms`, with the processor on. DEEP is always the last; the next wake is a new `run`.
"""

from stoep_firmware.board import DEEP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stoep_firmware.board import Board


def run(board: "Board") -> "Iterator[tuple[int, int]]":
    """Run one wake on this board."""
    yield DEEP, board.clock.now_ms() + board.config["interval_s"] * 1000
