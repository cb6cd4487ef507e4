"""Magnetic fields -> whether a car stands over the sensor. Pure, integers only.

The field of the empty bay, the baseline, is learned and followed slowly while the bay is free, for
it drifts with temperature. A car is a distance from the baseline over a threshold; it is gone when
the field is back near the baseline, nearer than a third of what the car itself made, so that
drift under a long stay does not hide its leaving.
"""

import struct

from stoep_protocol.schema import (
    CALIBRATION_DONE,
    CALIBRATION_NONE,
    CALIBRATION_RUNNING,
    CHANGE_COUNT_MODULUS,
    FREE,
    OCCUPIED,
)

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    Field = tuple[int, int, int]

_FORMAT = "<BBBHqiiiiI"
_LEARNED = const(8)  # free readings after which the baseline counts as calibrated
_SETTLED_SHARE = const(6)  # readings within a sixth of the threshold are a still field


class Bay:
    """State of one bay. Fields are in counts of the sensor, times in ms of the board's clock.

    `previous_ms` is how long the state before this one held, -1 if that is not known.
    """

    def __init__(self) -> None:
        self.state = FREE
        self.change_count = 0
        self.since_ms = 0
        self.previous_ms = -1
        self._seen_begin = 0  # whether since_ms is when the state began, not when we first looked
        self._readings = 0
        self._baseline = (0, 0, 0)
        self._car = 0  # what the car there makes, in counts

    def update(self, field: "Field", now_ms: int, threshold: int) -> bool:
        """Take in a still field; True if the state has changed."""
        if not self._readings:
            # The device is calibrated on an empty bay: installation puts it there.
            self._baseline = field
            self._readings = 1
            self.since_ms = now_ms
            return False
        away = _distance(field, self._baseline)
        if self.state == FREE:
            if away > threshold:
                self._car = away
                self._change(OCCUPIED, now_ms)
                return True
            self._learn(field)
            return False
        if away < max(threshold * 2 // 3, self._car // 3):
            self._learn(field)
            self._change(FREE, now_ms)
            return True
        self._car = max(self._car, away)
        return False

    def forget_times(self, now_ms: int) -> None:
        """The clock has begun anew: the state counts from here, the one before is not known."""
        self.since_ms = now_ms
        self.previous_ms = -1
        self._seen_begin = 0

    def calibration(self) -> int:
        """Return the schema's calibration code."""
        if not self._readings:
            return CALIBRATION_NONE
        return CALIBRATION_DONE if self._readings >= _LEARNED else CALIBRATION_RUNNING

    def pack(self) -> bytes:
        """Return everything as octets."""
        return struct.pack(
            _FORMAT,
            self.state,
            self._seen_begin,
            self._readings,
            self.change_count,
            self.since_ms,
            self.previous_ms // 1000,
            self._baseline[0],
            self._baseline[1],
            self._baseline[2],
            self._car,
        )

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        (
            self.state,
            self._seen_begin,
            self._readings,
            self.change_count,
            self.since_ms,
            previous_s,
            x,
            y,
            z,
            self._car,
        ) = struct.unpack(_FORMAT, data)
        self.previous_ms = previous_s * 1000 if previous_s >= 0 else -1
        self._baseline = x, y, z

    def _learn(self, field: "Field") -> None:
        base = self._baseline
        self._baseline = (
            (base[0] + field[0]) // 2,
            (base[1] + field[1]) // 2,
            (base[2] + field[2]) // 2,
        )
        self._readings = min(self._readings + 1, 255)

    def _change(self, state: int, now_ms: int) -> None:
        self.previous_ms = now_ms - self.since_ms if self._seen_begin else -1
        self._seen_begin = 1
        self.since_ms = now_ms
        self.state = state
        self.change_count = (self.change_count + 1) % CHANGE_COUNT_MODULUS


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


def _distance(a: "Field", b: "Field") -> int:
    square = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
    root = 0
    bit = 1 << 16
    while bit:
        if (root | bit) * (root | bit) <= square:
            root |= bit
        bit >>= 1
    return root
