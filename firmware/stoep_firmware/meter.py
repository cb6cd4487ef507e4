"""Counts the charge that the device uses, from a table of currents: µC, because a wake costs mC."""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Config

# Currents in µA of a Heltec V3, for the states that config.json's `board.currents_ua` leaves out:
# what stoep_hardware.currents makes of its file.
CURRENTS_UA = {
    "boot": 63000,
    "awake": 30000,
    "light": 1000,
    "deep": 15,
    "watch": 17,  # deep sleep with a magnetometer that measures on
    # The radio sending, on top of the processor: up to so many dBm, so much.
    "tx": (
        (2, 22436),
        (6, 28294),
        (10, 35683),
        (14, 45000),
        (17, 58000),
        (20, 84000),
        (22, 118000),
    ),
    "rx": 4600,
}
BOOT_MS = 418  # what `ticks_ms` shows when main.py begins; the start until then is "boot"


class Meter:
    """Adds up charge; `used_uc` is the sum, in µC."""

    def __init__(self, wiring: "Config", used_uc: int = 0) -> None:
        self._currents = wiring.get("currents_ua", CURRENTS_UA)
        self._boot_ms = wiring.get("boot_ms", BOOT_MS)
        self._up_ms = 0
        self._at_ms = 0  # until when the processor's states are counted
        self.used_uc = used_uc

    def add(self, state: str, ms: int) -> None:
        """Count a state that lasted so long."""
        if state == "light" and ms > 0:
            # Going to sleep and waking up again.
            self.add("awake", 1)
            ms -= 1
        self.draw(self._currents.get(state, CURRENTS_UA[state]), ms)

    def sent(self, power_dbm: int, ms: int) -> None:
        """Count a transmission."""
        steps = self._currents.get("tx", CURRENTS_UA["tx"])
        at = 0
        while at + 1 < len(steps) and power_dbm > steps[at][0]:
            at += 1
        self.draw(steps[at][1], ms)

    def started(self, up_ms: int, now_ms: int) -> None:
        """Count a start, and what has been awake since: imports, above all."""
        self._up_ms = up_ms
        self._at_ms = now_ms
        self.add("boot", self._boot_ms)
        self.add("awake", up_ms - self._boot_ms)

    def until(self, now_ms: int, state: str = "awake") -> None:
        """Count what the processor has been doing since this was last told."""
        self.add(state, now_ms - self._at_ms)
        self._at_ms = now_ms

    def ended(self, state: str, ms: int) -> None:
        """Count what came before the start that is counted: a deep sleep, or what hung."""
        self.add(state, ms - self._up_ms)

    def used_mah(self) -> int:
        """Return the charge in mAh."""
        return self.used_uc // 3_600_000

    def draw(self, current_ua: int, ms: int) -> None:
        """Count a current that was drawn so long."""
        if ms > 0:
            self.used_uc += current_ua * ms // 1000
