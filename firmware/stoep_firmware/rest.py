"""A start after one brown-out upon another: everything off, then a sleep, longer each time.

A cell that gives in when the radio sends is up again at once. Without a rest it would be asked for
the same every few seconds, until nothing was left of it. Loaded only then.
"""

from stoep_firmware.radio import RadioError, open_radio
from stoep_firmware.store import BROWN_OUT

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware.board import Board
    from stoep_firmware.store import Store

_SHORTEST_MS = const(900_000)
_LONGEST_MS = const(6 * 3_600_000)


def rest(board: "Board", store: "Store", strikes: int) -> int:
    """Switch off what is on; return until when to sleep after so many failed starts, 2 or more."""
    board.quiet()
    try:
        open_radio(board).sleep(False)
    except RadioError:
        pass  # the next wake that needs it says so
    store.end(strikes)
    store.mark(BROWN_OUT)
    return board.clock.now_ms() + min(_SHORTEST_MS << strikes - 2, _LONGEST_MS)
