"""Sensors over injected buses and pins.

The module of a distance sensor is named as in config.json's `sensor`. It has

- `NEAREST_MM`, `FARTHEST_MM`: its range; nearer is its dead zone;
- `SUPPLY_UA`: what it takes during a sample;
- `sample(board, pings, temperature_c)`, a generator that gives the sensor power, yields waits and
  returns `(distances_mm, signs)`. A distance is 0 where the sensor says that nothing came back,
  from 1 on below NEAREST_MM in the dead zone, above FARTHEST_MM beyond the range; a ping that
  nothing is known of has none. No `signs` of life are those of a sensor that is dead, or that says
  nothing where others say 0. `temperature_c` is the air's, or None; it counts where the sensor does
  not take its own. Raises `OSError` for a bus on which the sensor is not.
"""

import sys

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any


def load(name: str) -> "Any":
    """Return the module of a sensor; only that one is loaded."""
    return __import__("stoep_firmware.drivers." + name, None, None, ("sample",))


def loaded() -> "list[str]":
    """Name the modules that `unload` may have when all sensors have been asked."""
    return [name for name in sys.modules if name.startswith("stoep_firmware.drivers.")]
