"""Why a configuration from a downlink cannot be obeyed; loaded only when one has come."""

from stoep_protocol.errors import RANGE, DecodeError
from stoep_protocol.messages import decode
from stoep_protocol.schema import (
    F_PORT_CONFIGURATION,
    REFUSED_MALFORMED,
    REFUSED_RANGE,
    REFUSED_UNSUPPORTED,
)

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Config

# What is the other kind's is never obeyed in silence, nor what needs a sensor that is not there.
_UNSUPPORTED_BAY = ("history", "change_cm", "alarm_distance_cm", "alarm_temperature_c")
_UNSUPPORTED_BIN = ("bay_threshold_nt", "settle_s")
_BAY_THRESHOLD_MIN_NT = const(3000)  # below, the sensor's noise would wake the device all day


def refusal(payload: bytes, bay: bool, config: "Config | None" = None) -> int:
    """Return the schema's REFUSED_... code for a payload, 0 for one that can be obeyed."""
    try:
        configuration: Any = decode(F_PORT_CONFIGURATION, payload)
    except DecodeError as problem:
        return REFUSED_RANGE if problem.code == RANGE else REFUSED_MALFORMED
    for name in _UNSUPPORTED_BAY if bay else _UNSUPPORTED_BIN:
        if getattr(configuration, name) is not None:
            return REFUSED_UNSUPPORTED
    if configuration.alarm_temperature_c is not None and "thermometer" not in (config or ""):
        return REFUSED_UNSUPPORTED
    threshold_nt = configuration.bay_threshold_nt
    if threshold_nt is not None and threshold_nt < _BAY_THRESHOLD_MIN_NT:
        return REFUSED_RANGE
    return 0
