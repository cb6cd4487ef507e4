"""Counts the charge that the device uses, from a table of currents: µC, because a wake costs mC."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoep_firmware._types import Config

# Currents in µA of a Heltec V3, for the states that config.json's `board.currents_ua` leaves out.
_CURRENTS_UA = {
    "awake": 30000,
    "light": 1000,
    "deep": 15,
    "watch": 18,  # deep sleep with a magnetometer that measures on
    "tx": 45000,  # the radio at 14 dBm, on top of the processor
    "rx": 4600,
    "sensor": 8000,
}
_WAKE_UC = 26500  # from deep sleep to main.py


class Meter:
    """Adds up charge; `used_uc` is the sum, in µC."""

    def __init__(self, wiring: "Config", used_uc: int = 0) -> None:
        self._currents = wiring.get("currents_ua", {})
        self.used_uc = used_uc

    def add(self, state: str, ms: int) -> None:
        """Count a state that lasted so long."""
        if ms > 0:
            current_ua: int = self._currents.get(state, _CURRENTS_UA[state])
            self.used_uc += current_ua * ms // 1000

    def woken(self, state: str, slept_ms: int) -> None:
        """Count a deep sleep, "deep" or "watch", and the start that ended it."""
        self.add(state, slept_ms)
        self.used_uc += _WAKE_UC

    def used_mah(self) -> int:
        """Return the charge in mAh."""
        return self.used_uc // 3_600_000
