"""VL53L1X time-of-flight sensor on I2C: light in place of sound, for short and narrow containers.

What its registers mean is in ST's ultra lite driver alone (STSW-IMG009, which is under the BSD
licence, and its manual UM2510); addresses and values here are from there. It keeps its supply:
in standby it takes 6 uA, and on a bus that others use it must not hang without one.

Each sample writes the settings anew and lets it calibrate itself for the temperature, for
between two of them it may have lost its supply or come from frost into the sun.
"""

from stoep_firmware.board import LIGHT

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Burst, I2c, Wait
    from stoep_firmware.board import Board

NEAREST_MM = 40
FARTHEST_MM = 4000
SUPPLY_UA = 19000  # while it measures (VL53L0X data sheet, table 9; its light is the same)

_ADDRESS = const(0x29)
_WIDE = const(16)  # bits of a register's number
_MODEL_ID = const(0x010F)
_MODEL = b"\xea\xcc"
_SYSTEM_STATUS = const(0x00E5)
_VHV_LOOP_BOUND = const(0x0008)
_VHV_INIT = const(0x000B)
_READY = const(0x0031)
_SETTINGS = const(0x002D)
_CLEAR = const(0x0086)
_MODE_START = const(0x0087)
_RESULT = const(0x0089)
_RESULT_OCTETS = const(15)

# 0x2D to 0x85, from 0x2D on: what is not zero, by its place. I2C and GPIO at the supply's level;
# ready is high; long distances; 100 ms a measurement, one right after the other; sigma up to 90 mm.
_SET = (
    (0x01, b"\x01\x01\x01\x02\x00\x02\x08\x00\x08\x10\x01\x01"),
    (0x11, b"\xff\x00\x0f"),
    (0x19, b"\x20\x0b\x00\x00\x02\x0a\x21\x00\x00\x05"),
    (0x27, b"\xc8\x00\x00\x38\xff\x01\x00\x08\x00\x00\x01\xcc\x0f"),
    (0x34, b"\x01\xea\x0d\x01\x68\x00\x80\x08\xb8"),
    (0x41, b"\x0f\x89"),
    (0x4A, b"\x01\x0f\x0d\x0e\x0e\x00\x00\x02\xc7\xff\x9b"),
    (0x58, b"\x01"),
)
_SETTINGS_OCTETS = const(0x59)

_BOOT_LOOKS = const(10)
_BOOT_MS = const(2)
_BUDGET_MS = const(100)
_POLL_MS = const(10)
_PATIENCE_MS = const(250)  # for one measurement; the first takes longer

# RESULT__RANGE_STATUS, of which ST's driver makes the statuses of UM2510 (in brackets).
_HARDWARE_FAILED = const(3)  # (5)
_NO_SIGNAL = const(4)  # (2) nothing sends back enough
_OUT_OF_PHASE = const(5)  # (4) nothing within the range
_WRAPPED = const(7)  # (7) it comes from beyond the range
_TOO_NEAR = const(8)  # (3)
_VALID = const(9)  # (0)
_MERGED = const(22)  # (11) of several things a distance between them


def sample(board: "Board", pings: int, temperature_c: "int | None") -> "Wait[Burst]":
    """Measure so often; see the package. It does not depend on the air."""
    now_ms = board.clock.now_ms
    i2c = board.i2c()
    for _ in range(_BOOT_LOOKS):
        if _read(i2c, _SYSTEM_STATUS, 1)[0] & 1:
            break
        yield LIGHT, now_ms() + _BOOT_MS
    if _read(i2c, _MODEL_ID, 2) != _MODEL:
        raise OSError(19)  # ENODEV
    settings = bytearray(_SETTINGS_OCTETS)
    for at, values in _SET:
        settings[at : at + len(values)] = values
    _write(i2c, _MODE_START, 0)  # it may have been left measuring
    i2c.writeto_mem(_ADDRESS, _SETTINGS, settings, addrsize=_WIDE)
    distances_mm: list[int] = []
    signs = 0
    try:
        # With the first start it finds the receiver's voltage for its temperature; and the first
        # measurement after any start is not checked for light from beyond the range.
        for bound, init, count in ((0x81, 0x92, 1), (0x09, 0x00, 1 + pings)):
            _write(i2c, _MODE_START, 0)
            _write(i2c, _VHV_LOOP_BOUND, bound)
            _write(i2c, _VHV_INIT, init)
            _write(i2c, _CLEAR, 1)
            _write(i2c, _MODE_START, 0x40)
            for number in range(count):
                until_ms = now_ms() + _PATIENCE_MS
                yield LIGHT, now_ms() + _BUDGET_MS
                while not _read(i2c, _READY, 1)[0] & 1 and now_ms() < until_ms:
                    yield LIGHT, now_ms() + _POLL_MS
                if now_ms() >= until_ms:
                    return distances_mm, signs
                result = _read(i2c, _RESULT, _RESULT_OCTETS)
                _write(i2c, _CLEAR, 1)
                signs += 1
                if number:
                    _take(distances_mm, result[0] & 0x1F, result[13] << 8 | result[14])
    finally:
        _write(i2c, _MODE_START, 0)
    return distances_mm, signs


def _take(distances_mm: "list[int]", status: int, distance_mm: int) -> None:
    if status in (_VALID, _MERGED):
        distances_mm.append(max(distance_mm, 1))
    elif status in (_NO_SIGNAL, _OUT_OF_PHASE):
        distances_mm.append(0)
    elif status == _WRAPPED:
        distances_mm.append(FARTHEST_MM + 1)
    elif status == _TOO_NEAR:
        distances_mm.append(1)
    elif status == _HARDWARE_FAILED:
        raise OSError(5)  # EIO
    # Of the others there is nothing to keep: 6 (1) is uncertain by more than sigma allows, 19 (6)
    # the first after a start, not checked for the above.


def _read(i2c: "I2c", register: int, count: int) -> bytes:
    return i2c.readfrom_mem(_ADDRESS, register, count, addrsize=_WIDE)


def _write(i2c: "I2c", register: int, value: int) -> None:
    i2c.writeto_mem(_ADDRESS, register, bytes((value,)), addrsize=_WIDE)
