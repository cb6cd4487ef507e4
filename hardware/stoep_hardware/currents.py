"""What the firmware's meter counts with: a table of currents, from boards/*.toml and the chips."""

from typing import Any

from stoep_firmware import meter

from .board_data import BoardData
from .chips import a02yyuw, lis3mdl, sx1262_tables

# The greatest power in dBm of each step of the meter's table for an SX126x, and the data sheet's
# PA setting that the driver sends with up to there.
_SX126X_STEPS = {
    2: (2, 2),
    6: (2, 2),
    10: (2, 2),
    14: (2, 2),
    17: (2, 3),
    20: (3, 5),
    22: (4, 7),
}


def currents_ua(data: BoardData) -> dict[str, Any]:
    """Return the meter's whole table for a board."""
    board = data.currents_ua
    tx, rx_ua = _radio(data.radio["chip"])
    return {
        "boot": board["boot"],
        "awake": board["awake"],
        "light": board["light"],
        "deep": board["deep"],
        "watch": board["deep"] + round(lis3mdl.WATCHING_UA),
        "tx": tx,
        "rx": rx_ua,
        "sensor": round(a02yyuw.ACTIVE_UA),
    }


def wiring(data: BoardData) -> dict[str, Any]:
    """Return what config.json has to say of it under `board`: where it differs from the default."""
    differs: dict[str, Any] = {}
    table = {
        state: current
        for state, current in currents_ua(data).items()
        if current != meter.CURRENTS_UA[state]
    }
    if table:
        differs["currents_ua"] = table
    if data.boot_us // 1_000 != meter.BOOT_MS:
        differs["boot_ms"] = data.boot_us // 1_000
    return differs


def _radio(chip: str) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the steps of a transmission's current, and that of reception."""
    steps = []
    for power_dbm, setting in _SX126X_STEPS.items():
        full_dbm, _ = sx1262_tables.PA_SETTINGS[setting]
        output = sx1262_tables.pa_output(*setting, 22 + power_dbm - full_dbm)
        assert output is not None
        steps.append((power_dbm, round(output[1])))
    return tuple(steps), round(sx1262_tables.RX_UA[True])
