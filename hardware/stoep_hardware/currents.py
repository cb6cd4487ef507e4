"""What the firmware's meter counts with: a table of currents, from boards/*.toml and the chips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stoep_firmware import meter

from .chips import magnetometers, sx1262_tables, sx1276_tables

if TYPE_CHECKING:
    from .board_data import BoardData

# The greatest power in dBm of each step of the meter's table, and for an SX126x the data sheet's PA
# setting that the driver sends with up to there.
_SX1262_STEPS = {
    2: (2, 2),
    6: (2, 2),
    10: (2, 2),
    14: (2, 2),
    17: (2, 3),
    20: (3, 5),
    22: (4, 7),
}
_SX1268_STEPS = {**_SX1262_STEPS, 2: (0, 3), 6: (0, 3), 10: (0, 3), 14: (4, 6)}
_SX127X_STEPS = (2, 6, 10, 14, 17, 20)
_RFO_MOST_DBM = 14


def currents_ua(data: BoardData, magnetometer: str | None = None) -> dict[str, Any]:
    """Return the meter's whole table for a board."""
    board = data.currents_ua
    tx, rx_ua = _radio(data.radio)
    return {
        "boot": board["boot"],
        "awake": board["awake"],
        "light": board["light"],
        "deep": board["deep"],
        "watch": board["deep"] + round(magnetometers.watching_ua(magnetometer)),
        "tx": tx,
        "rx": rx_ua,
    }


def wiring(data: BoardData, magnetometer: str | None = None) -> dict[str, Any]:
    """Return what config.json has to say of it under `board`: where it differs from the default."""
    differs: dict[str, Any] = {}
    table = {
        state: current
        for state, current in currents_ua(data, magnetometer).items()
        if current != meter.CURRENTS_UA[state]
    }
    if table:
        differs["currents_ua"] = table
    if data.boot_us // 1_000 != meter.BOOT_MS:
        differs["boot_ms"] = data.boot_us // 1_000
    return differs


def _radio(radio: dict[str, Any]) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the steps of a transmission's current, and that of reception."""
    chip = radio["chip"]
    if chip in ("sx1276", "sx1278"):
        boost = radio.get("pa_boost", False)
        powers_dbm = [dbm for dbm in _SX127X_STEPS if boost or dbm <= _RFO_MOST_DBM]
        rx_ua = sx1276_tables.RX_BOOSTED_UA if chip == "sx1276" else sx1276_tables.RX_LOW_UA
        return tuple(
            (dbm, round(sx1276_tables.tx_current_ua(dbm, boost=boost))) for dbm in powers_dbm
        ), round(rx_ua)
    steps = []
    settings = _SX1268_STEPS if chip == "sx1268" else _SX1262_STEPS
    for power_dbm, setting in settings.items():
        output = sx1262_tables.pa_output(
            *setting, power_dbm + sx1262_tables.pa_offset(setting, chip), chip
        )
        assert output is not None
        steps.append((power_dbm, round(output[1])))
    return tuple(steps), round(sx1262_tables.RX_UA[radio.get("dcdc", True)])
