"""What is wired to a board beside its usual sensor, as options say it and config.json keeps it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from .errors import USAGE, FlashError

# By kind of board; the first is what a board has unless config.json names another.
SENSORS = {
    "bin": {
        "a02yyuw": "A02YYUW, ultrasonic, serial line",
        "maxbotix": "MaxBotix MaxSonar, ultrasonic, serial line",
        "hcsr04": "HC-SR04, ultrasonic, trigger and echo",
        "jsnsr04t": "JSN-SR04T, ultrasonic, trigger and echo",
        "vl53l1x": "VL53L1X, time of flight, I2C",
        "absent": "none: its lid is counted",
    },
    "bay": {
        "lis3mdl": "LIS3MDL",
        "rm3100": "RM3100",
        "mmc5983ma": "MMC5983MA, not for batteries",
        "gy271": 'a "GY-271", whichever chip it carries; not for batteries',
        "qmc5883l": "QMC5883L, not for batteries",
        "qmc5883p": "QMC5883P, not for batteries",
        "hmc5883l": "HMC5883L, not for batteries",
    },
}
# What else config.json names, of which kind of board, and its drivers.
OTHERS = {
    "motion": ("bin", ("lis3dh", "lis2dw12")),
    "thermometer": ("bin", ("tmp102",)),
    "second": ("bay", ("vl53l1x", "a02yyuw")),
}
LID = "lid"
NAMES = ("sensor", *OTHERS, LID)
NONE = "none"


def check(kind: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what config.json shall say of what is wired to a board; raises `FlashError`.

    ``parts`` may name any of NAMES; None, False and NONE say nothing.
    """
    said: dict[str, Any] = {}
    for name, value in parts.items():
        if value in (None, False, NONE):
            continue
        whose, allowed = OTHERS.get(name, (kind, tuple(SENSORS[kind])))
        if name == LID:
            whose, allowed = "bin", (True,)  # type: ignore[assignment]
        if whose != kind:
            raise FlashError(f"--{name} is not for a {kind}", f"only a {whose} has one", USAGE)
        if value not in allowed:
            raise FlashError(
                f"there is no {name} {value!r} for a {kind}", _nearest(value, allowed), USAGE
            )
        said[name] = value
    return said


def _nearest(value: object, allowed: tuple[str, ...]) -> str:
    plain = str(value).lower().replace("-", "").replace("_", "")
    near = [plain] if plain in allowed else difflib.get_close_matches(plain, allowed, 1)
    return f"did you mean {near[0]}?" if near else f"one of: {', '.join(allowed)}"


def drivers(config: Mapping[str, Any]) -> list[str]:
    """List the drivers that config.json names, beside its kind's usual one."""
    return [str(config[name]) for name in NAMES if name != LID and name in config]
