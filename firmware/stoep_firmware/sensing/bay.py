"""State of a parking bay, and what its magnetic fields are worth. Pure, integers only.

`detection` decides; it is loaded when there is a field to judge.
"""

import struct

from stoep_protocol.schema import (
    BASELINE_DRIFTED,
    CALIBRATION_DONE,
    CALIBRATION_DUE,
    CALIBRATION_NONE,
    CALIBRATION_RUNNING,
    FREE,
    UNCERTAIN,
)

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    Field = tuple[int, int, int]

_FORMAT = "<BBBBHqi23i"
_KEPT = const(23)
_LEFT = const(22)  # of `kept`: detection's
LEARNED = const(8)  # free readings after which the baseline counts as calibrated
_SETTLED_SHARE = const(6)  # readings within a sixth of the threshold are a still field


class Bay:
    """State of one bay. Fields are in counts of the sensor, times in ms of the board's clock.

    `previous_ms` is how long the state before this one held, -1 if that is not known. `flags` are
    the report's.
    """

    def __init__(self) -> None:
        self.state = FREE
        self.flags = 0
        self.change_count = 0
        self.since_ms = 0
        self.previous_ms = -1
        self.seen_begin = 0  # whether since_ms is when the state began, not when we first looked
        self.readings = 0
        self.kept = [0] * _KEPT

    def update(self, field: "Field", now_ms: int, threshold: int, temperature: int = 0) -> bool:
        """Take in a still field; True if the state has changed.

        `temperature` is the sensor's own, in eighths of a degree, of any origin.
        """
        from stoep_firmware.sensing.detection import update  # noqa: PLC0415 - let go of afterwards

        return update(self, field, now_ms, threshold, temperature)

    def forget_times(self, now_ms: int) -> None:
        """The clock has begun anew: the state counts from here, the one before is not known."""
        self.since_ms = now_ms
        self.previous_ms = -1
        self.seen_begin = 0
        self.kept[_LEFT] = 0

    def told(self) -> int:
        """Return the state as it is told: UNCERTAIN after a change that no car explains."""
        return UNCERTAIN if self.flags & BASELINE_DRIFTED else self.state

    def calibration(self) -> int:
        """Return the schema's calibration code."""
        if not self.readings:
            return CALIBRATION_NONE
        if self.readings < LEARNED:
            return CALIBRATION_RUNNING
        return CALIBRATION_DUE if self.flags & BASELINE_DRIFTED else CALIBRATION_DONE

    def pack(self) -> bytes:
        """Return everything as octets."""
        return struct.pack(
            _FORMAT,
            self.state,
            self.flags,
            self.seen_begin,
            self.readings,
            self.change_count,
            self.since_ms,
            self.previous_ms // 1000,
            *self.kept,
        )

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        (
            self.state,
            self.flags,
            self.seen_begin,
            self.readings,
            self.change_count,
            self.since_ms,
            previous_s,
            *self.kept,
        ) = struct.unpack(_FORMAT, data)
        self.previous_ms = previous_s * 1000 if previous_s >= 0 else -1


def settled(fields: "list[Field]", threshold: int) -> "Field | None":
    """Return the mean of the fields if they are alike, None if a car is still moving."""
    total = [0, 0, 0]
    count = len(fields)
    for axis in range(3):
        values = [field[axis] for field in fields]
        if (max(values) - min(values)) * _SETTLED_SHARE > 2 * threshold:
            return None
        total[axis] = sum(values) // count
    return total[0], total[1], total[2]


def axis_threshold(threshold: int) -> int:
    """Return what one axis has to change by so that no change over `threshold` goes unnoticed."""
    return threshold * 577 // 1000  # 1 / sqrt(3)
