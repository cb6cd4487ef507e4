"""How the device shall behave: config.json, overruled by configurations from downlinks.

What has come down is kept as one merged Configuration, in its own encoding; its hash is what an
acknowledgement carries, so whoever sent it can tell what is in force.
"""

from stoep_protocol.errors import RANGE, DecodeError
from stoep_protocol.messages import Configuration, ConfigurationAck, config_hash, decode, encode
from stoep_protocol.schema import (
    F_PORT_CONFIGURATION,
    HISTORY_MAX,
    MODE_BOTH,
    MODE_REGULAR,
    REFUSED_MALFORMED,
    REFUSED_RANGE,
    REFUSED_UNSUPPORTED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoep_firmware._types import Config

REFUSED_NOT = 0

_BAY_THRESHOLD_NT = 6500  # over a neighbour's car (up to 4 uT), under a lorry's chassis (from 8)
_SETTLE_S = 4
_UNSUPPORTED = ("change_cm", "alarm_distance_cm", "alarm_temperature_c")


class Settings:
    """What is in force; `config` is the content of config.json."""

    def __init__(self, config: "Config") -> None:
        self._config = config
        self._received = Configuration()

    def interval_ms(self) -> int:
        """Return the time between regular reports."""
        minutes = self._received.interval_min
        seconds: int = self._config["interval_s"] if minutes is None else minutes * 60
        return seconds * 1000

    def history(self) -> int:
        """Return how many earlier readings a report carries."""
        return min(HISTORY_MAX, self._value("history", self._received.history, 3))

    def confirmed_every(self) -> int:
        """Return every how many reports one is confirmed, 0 for none."""
        return self._value("confirmed_every", self._received.confirmed_every, 0)

    def bay_threshold_nt(self) -> int:
        """Return the change of field, in nT, that is a car."""
        return self._value("bay_threshold_nt", self._received.bay_threshold_nt, _BAY_THRESHOLD_NT)

    def settle_s(self) -> int:
        """Return how long a changing field is left alone, in s."""
        return self._value("settle_s", self._received.settle_s, _SETTLE_S)

    def receive(self, payload: bytes) -> int:
        """Put a configuration from a downlink in force; return why not, or REFUSED_NOT."""
        try:
            configuration = decode(F_PORT_CONFIGURATION, payload)
        except DecodeError as problem:
            return REFUSED_RANGE if problem.code == RANGE else REFUSED_MALFORMED
        for name in _UNSUPPORTED:
            if getattr(configuration, name) is not None:
                return REFUSED_UNSUPPORTED
        # A container reports regularly, a bay regularly and on change: nothing else yet.
        mode = getattr(configuration, "mode")  # noqa: B009 - decode's type is any message
        if mode not in (None, MODE_BOTH if self._config["kind"] == "bay" else MODE_REGULAR):
            return REFUSED_UNSUPPORTED
        for name in Configuration.__slots__:
            value = getattr(configuration, name)
            if value is not None:
                setattr(self._received, name, value)
        return REFUSED_NOT

    def acknowledgement(self, refused: int) -> "ConfigurationAck":
        """Return the message that says what is in force."""
        return ConfigurationAck(config_hash(self._received), refused)

    def pack(self) -> bytes:
        """Return what has come down, as octets."""
        return encode(self._received)[1]

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        received = decode(F_PORT_CONFIGURATION, data)
        if isinstance(received, Configuration):
            self._received = received

    def _value(self, name: str, received: "int | None", default: int) -> int:
        value: int = self._config.get(name, default) if received is None else received
        return value
