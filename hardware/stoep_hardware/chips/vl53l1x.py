"""A model of the VL53L1X time-of-flight sensor: numbered registers, measurements, range statuses.

ST's sheet leaves the registers out; what they mean is in its ultra lite driver (STSW-IMG009, BSD
licence; "ULD") and that driver's manual UM2510. Without the ULD's settings the chip does not
measure, so the model demands those that say how. Standby 6 uA and 19 mA while it measures are the
VL53L0X's (its data sheet, table 9); its boot of 1.2 ms and 4 to 400 cm are the VL53L1X's.

                  MODE_START 40            end of a measurement
    standby ─────────────────────► measuring ───────────► ready, until INTERRUPT_CLEAR
       ▲ └─ MODE_START 00 ◄────────────┘ └── and the next at once
"""

from stoep_hardware.engine import US_PER_MS
from stoep_hardware.world import DistanceSource

from .state_log import StateLog

ADDRESS = 0x29
STANDBY_UA = 6.0
ACTIVE_UA = 19_000.0
BOOT_US = 1_200
FARTHEST_MM = 4_000

VHV_INIT = 0x000B
HV_MUX, READY = 0x0030, 0x0031
SIGMA = 0x0064
CLEAR, MODE_START, RESULT = 0x0086, 0x0087, 0x0089
SYSTEM_STATUS, MODEL_ID = 0x00E5, 0x010F

HARDWARE_FAIL, SIGNAL_FAIL, OUT_OF_PHASE, SIGMA_FAIL = 3, 4, 5, 6
WRAPPED, TOO_NEAR, VALID, UNCHECKED = 7, 8, 9, 19

# Of the ULD's settings those on which a measurement over long distances hangs.
_NEEDED = {
    0x46: 0x20,  # ready when a measurement has ended
    0x4B: 0x0A,
    0x60: 0x0F,
    0x63: 0x0D,
    0x69: 0xB8,
    0x78: 0x0F,
    0x79: 0x0D,
    0x7A: 0x0E,
    0x7B: 0x0E,
    0x81: 0x9B,  # which steps make up a measurement
}
# The ULD's timeouts in macro periods of a long distance's two halves, and what they make in ms.
_BUDGETS_MS = {
    (0x0060, 0x006E): 33,
    (0x00AD, 0x00C6): 50,
    (0x01CC, 0x01EA): 100,
    (0x02D9, 0x02F8): 200,
}
_CALIBRATION_US = 40 * US_PER_MS  # of the first measurement; a guess
_WRAP_MM = 4_600  # what is so much farther looks the same (a guess)


class Vl53l1x:
    """One sensor that points at `source`.

    `bright_mm`: beyond, sunlight drowns what comes back. `sigma_mm`: how uncertain a measurement
    is. `status` replaces that of every measurement. `fault`: "dead" it answers nothing, "asleep" it
    never boots, "stuck" no measurement ends.
    """

    WIDE = True

    def __init__(
        self,
        source: DistanceSource,
        *,
        bright_mm: int = FARTHEST_MM,
        sigma_mm: int = 5,
        status: int | None = None,
        fault: str = "",
        model: int = 0xEACC,
        keep_states: bool = False,
    ) -> None:
        self.log = StateLog(keep=keep_states)
        self.violations: list[str] = []
        self.fault = fault
        self.measurements = 0
        self._source = source
        self._bright_mm = bright_mm
        self._sigma_mm = sigma_mm
        self._status = status
        self._model = model
        self._registers = bytearray(0x0200)
        self._on_us: int | None = None
        self._ends_us: int | None = None  # of the measurement that goes on
        self._is_first = False

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        if on == (self._on_us is not None):
            return
        self._on_us = t_us if on else None
        self._registers = bytearray(len(self._registers))
        self._registers[MODEL_ID : MODEL_ID + 2] = self._model.to_bytes(2)
        self._registers[HV_MUX] = 0x11
        self._registers[VHV_INIT] = 0x80
        self._ends_us = None
        self.log.enter(t_us, "standby" if on else "off", STANDBY_UA if on else 0.0)

    def read(self, sub_address: int, count: int, t_us: int) -> bytes | None:
        """Read registers; None is a NAK."""
        if not self._answers(t_us):
            return None
        self._settle(t_us)
        return bytes(self._registers[sub_address : sub_address + count]).ljust(count, b"\0")

    def write(self, sub_address: int, data: bytes, t_us: int) -> bool:
        """Write registers; False is a NAK."""
        if not self._answers(t_us):
            return False
        self._settle(t_us)
        for register, value in enumerate(data, sub_address):
            if self._ends_us is not None and register not in (CLEAR, MODE_START):
                self.violations.append(f"{t_us} us: {register:#06x} is set while it measures")
            self._registers[register] = value
            if register == CLEAR and value & 1:
                self._set_ready(False)
            elif register == MODE_START:
                self._start(value, t_us)
        return True

    def _answers(self, t_us: int) -> bool:
        if self._on_us is None or self.fault == "dead" or t_us < self._on_us + BOOT_US:
            return False
        self._registers[SYSTEM_STATUS] = 0 if self.fault == "asleep" else 3
        return True

    def _set_ready(self, ready: bool) -> None:
        is_low_active = bool(self._registers[HV_MUX] & 0x10)
        self._registers[READY] = self._registers[READY] & 0xFE | (ready != is_low_active)

    def _start(self, value: int, t_us: int) -> None:
        if value == 0x40:
            missing = [hex(at) for at, needed in _NEEDED.items() if self._registers[at] != needed]
            if missing:
                self.violations.append(f"{t_us} us: started without {', '.join(missing)}")
                return
            self._is_first = True
            self._begin(t_us)
        else:
            self._ends_us = None
        is_on = self._ends_us is not None
        self.log.enter(t_us, "on" if is_on else "standby", ACTIVE_UA if is_on else STANDBY_UA)

    def _begin(self, t_us: int) -> None:
        word = [self._registers[at] << 8 | self._registers[at + 1] for at in (0x5E, 0x61)]
        budget_ms = _BUDGETS_MS.get((word[0], word[1]))
        if budget_ms is None:
            self.violations.append(f"{t_us} us: timeouts of which no driver knows the budget")
            return
        calibrates = self._is_first and self._registers[VHV_INIT]
        self._ends_us = t_us + budget_ms * US_PER_MS + (_CALIBRATION_US if calibrates else 0)

    def _settle(self, t_us: int) -> None:
        """End the measurements that have come to their end."""
        while self._ends_us is not None and self._ends_us <= t_us and self.fault != "stuck":
            ended_us = self._ends_us
            status, distance_mm = self._measure(ended_us)
            self._registers[RESULT] = status
            self._registers[RESULT + 13 : RESULT + 15] = distance_mm.to_bytes(2)
            self.measurements += 1
            self._is_first = False
            self._set_ready(True)
            self._begin(ended_us)

    def _measure(self, t_us: int) -> tuple[int, int]:
        distance_mm = self._source.distance_mm(t_us)
        if distance_mm is None or distance_mm > self._bright_mm + _WRAP_MM:
            status, distance_mm = SIGNAL_FAIL, 0
        elif distance_mm > FARTHEST_MM and self._bright_mm >= FARTHEST_MM:
            status, distance_mm = WRAPPED, max(distance_mm - _WRAP_MM, 0)
        elif distance_mm > self._bright_mm:
            status = SIGNAL_FAIL
        elif self._sigma_mm * 4 > int.from_bytes(self._registers[SIGMA : SIGMA + 2]):
            status = SIGMA_FAIL
        else:
            status = VALID
        if status in (VALID, WRAPPED) and self._is_first:
            status = UNCHECKED
        return (status if self._status is None else self._status), distance_mm
