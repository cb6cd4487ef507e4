"""How the device shall behave: config.json, overruled by what a configuration from a downlink says.

Each value is the downlink's, else config.json's (under the same name, but the interval is there in
seconds, `interval_s`), else the default below. A configuration replaces the one before it whole:
what it leaves out is config.json's again, so that its hash, which an acknowledgement carries, is
all there is to know of what is in force.
"""

from stoep_protocol.messages import Configuration, ConfigurationAck, config_hash, decode, encode
from stoep_protocol.schema import (
    F_PORT_CONFIGURATION,
    HISTORY_MAX,
    MODE_BOTH,
    MODE_ON_CHANGE,
    MODE_REGULAR,
)

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Config

_DAY_MS = const(86_400_000)

_HISTORY = const(6)
_CONFIRMED_EVERY = const(0)  # none
_CHANGE_CM = const(10)
_ALARM_DISTANCE_CM = const(0)  # no alarm
# Over a neighbour's car (to 4 uT), under a lorry's chassis (from 8).
_BAY_THRESHOLD_NT = const(6500)
_SETTLE_S = const(4)

_MINUTE_MS = const(60_000)
_STRETCH = const(4)  # of intervals, with a low battery
_READINGS = const(4)  # per report, in mode both


class Settings:
    """What is in force; `config` is the content of config.json.

    `level` is the battery's (energy.py), set in each wake.
    """

    def __init__(self, config: "Config") -> None:
        self._config = config
        self._bay = config["kind"] == "bay"
        self._received = Configuration()
        self.level = 0

    def report_ms(self) -> int:
        """Return the time between regular reports."""
        minutes = self._received.interval_min
        seconds: int = self._config["interval_s"] if minutes is None else minutes * 60
        return seconds * (1000 * _STRETCH if self.level else 1000)

    def interval_ms(self) -> int:
        """Return the time between two looks: a container's readings, a bay's heartbeats."""
        mode = self.mode()
        if self.level > 2 or (self._bay and (self.level > 1 or mode == MODE_ON_CHANGE)):
            return _DAY_MS
        interval_ms = self.report_ms()
        if mode == MODE_BOTH and not self._bay:
            interval_ms //= _READINGS
            if interval_ms > _MINUTE_MS:  # whole ones are shorter to report
                interval_ms -= interval_ms % _MINUTE_MS
        return interval_ms

    def mode(self) -> int:
        """Return the schema's MODE_...; by default a bay reports changes too."""
        if not self._bay:
            return self.value("mode", MODE_REGULAR)
        return MODE_REGULAR if self.level > 1 else self.value("mode", MODE_BOTH)

    def history(self) -> int:
        """Return how many earlier readings a report carries."""
        return min(HISTORY_MAX, self.value("history", _HISTORY))

    def confirmed_every(self) -> int:
        """Return every how many reports one is confirmed, 0 for none."""
        return 0 if self.level else self.value("confirmed_every", _CONFIRMED_EVERY)

    def change_mm(self) -> int:
        """Return the difference from the last reported distance that is a change."""
        return self.value("change_cm", _CHANGE_CM) * 10

    def alarm_distance_mm(self) -> int:
        """Return the distance from which on down a container is in alarm, 0 for never."""
        return self.value("alarm_distance_cm", _ALARM_DISTANCE_CM) * 10

    def bay_threshold_nt(self) -> int:
        """Return the change of field, in nT, that is a car."""
        return self.value("bay_threshold_nt", _BAY_THRESHOLD_NT)

    def settle_s(self) -> int:
        """Return how long a changing field is left alone, in s."""
        return self.value("settle_s", _SETTLE_S)

    def receive(self, payload: bytes) -> int:
        """Put a configuration from a downlink in force; return why not (REFUSED_...), or 0."""
        from stoep_firmware.refusal import refusal  # noqa: PLC0415 - few wakes see one

        refused = refusal(payload, self._bay, self._config)
        if not refused:
            self.unpack(payload)
        return refused

    def acknowledgement(self, refused: int) -> "ConfigurationAck":
        """Return the message that says what is in force."""
        return ConfigurationAck(config_hash(self._received), refused)

    def pack(self) -> bytes:
        """Return what has come down, as octets."""
        return encode(self._received)[1]

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        received: Any = decode(F_PORT_CONFIGURATION, data)
        self._received = received

    def value(self, name: str, default: int) -> int:
        """Return what is in force under this name, or the default."""
        received: int | None = getattr(self._received, name)
        value: int = self._config.get(name, default) if received is None else received
        return value
