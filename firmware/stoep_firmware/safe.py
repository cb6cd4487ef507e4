"""A wake in safe mode, after several that failed: join, say so, sleep.

It loads no sensor and no settings, and takes nothing of what the last wakes have kept but the
session, so that whatever brought them down is not met again. Once it has been said, the next start
is an ordinary one, with nothing in RTC memory but the session.
"""

from stoep_protocol.schema import CALIBRATION_NONE, ERROR_SAFE_MODE, RESET_BROWN_OUT, RESET_CRASH

from stoep_firmware import identity
from stoep_firmware.app import PATIENCE
from stoep_firmware.store import BROWN_OUT
from stoep_firmware.talk import Talk

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Wait
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.store import Store

_REST_MS = const(6 * 3_600_000)


class Silent:
    """A task that has nothing to say."""

    due = False

    def next_message(self, now_ms: int, room: int) -> "Any":
        """Return what is to be told next: nothing."""
        return None

    def calibration(self) -> int:
        """Return the schema's calibration code."""
        return CALIBRATION_NONE


class Safe:
    """One wake in safe mode, in the shape of wake.Wake."""

    def __init__(self, board: "Board", store: "Store", meter: "Meter") -> None:
        self._board = board
        self._store = store
        self._identity = identity.mark(board.config)
        self._session, _ = identity.recall(store, self._identity, board.clock)
        self._stored = identity.stored(store, self._identity)
        mac = identity.new_mac(board, self._session)
        self._talk = Talk(board, mac, None, Silent(), self._save, meter)
        self._talk.fault(ERROR_SAFE_MODE)
        self._talk.reset_reason = RESET_BROWN_OUT if store.marked == BROWN_OUT else RESET_CRASH

    @property
    def strikes(self) -> int:
        """How many failed starts this one leaves behind: it stays safe until that is said."""
        return PATIENCE if self._talk.status_due else PATIENCE - 1

    def run(self) -> "Wait[None]":
        """Say that the device is in safe mode."""
        self._board.quiet()
        self._talk.link.radio_awake = True
        self._talk.status_at_ms = self._talk.next_slot_ms = self._rested_ms()
        yield from self._talk.run()

    def sleep_until_ms(self) -> int:
        """Return when the next start is due."""
        until_ms = self._rested_ms()
        return min(until_ms, self._talk.next_deadline() or until_ms)

    def mishap(self, problem: Exception) -> None:
        """Note a mistake of this program."""
        self._talk.mishap(problem)

    def close(self) -> None:
        """Put the radio to sleep and keep the session."""
        self._talk.link.close()
        self._save(False)

    def _rested_ms(self) -> int:
        return self._board.clock.now_ms() + _REST_MS

    def _save(self, durable: bool) -> bool:
        self._session.stamp(self._board.clock)
        session = self._session.pack()
        self._store.owing = self._store.owing or durable
        kept = [session, self._identity] + self._session.pack_volatile()
        self._store.save_rtc(kept)
        if self._store.owing:
            try:
                self._store.save_storage([session, self._identity] + self._stored)
            except OSError:
                return False
            self._store.save_rtc(kept)
        return True
