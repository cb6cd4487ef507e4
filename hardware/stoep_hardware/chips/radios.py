"""The model of a board's radio."""

from stoep_hardware.air import Air
from stoep_hardware.board_data import BoardData
from stoep_hardware.engine import Engine

from .sx1262 import Sx1262
from .sx1276 import Sx1276

Radio = Sx1262 | Sx1276


def make(
    engine: Engine,
    air: Air,
    data: BoardData,
    position_m: tuple[float, float],
    *,
    keep_states: bool,
) -> Radio:
    """Return the chip that the board's file names, with what is around it there."""
    radio = data.radio
    gain_db = radio["antenna_dbi"]
    if radio["chip"] in ("sx1276", "sx1278"):
        return Sx1276(
            engine,
            air,
            position_m,
            variant=radio["chip"],
            pa_boost=radio.get("pa_boost", False),
            tcxo=radio.get("tcxo", False),
            antenna_gain_db=gain_db,
            keep_states=keep_states,
        )
    return Sx1262(
        engine,
        air,
        position_m,
        variant=radio["chip"],
        tcxo_mv=radio.get("tcxo_mv"),
        dio2_switch=radio.get("dio2_rf_switch", False),
        antenna_gain_db=gain_db,
        keep_states=keep_states,
    )
