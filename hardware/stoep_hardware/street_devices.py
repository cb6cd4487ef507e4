"""Boards with the real firmware for a street, on CPython or on the real MicroPython.

Where there is no MicroPython (its wheels are for x86-64 Linux) all boards run on CPython, with the
same frames at the same times; `micropython_runtime.why_unavailable` says why.
"""

from typing import Any

from . import board_data, micropython_runtime
from .air import Radio
from .devices import CPythonDevice
from .micropython_device import MicroPythonDevice
from .scenario import Device, Planned, Street
from .sim_board import SimBoard
from .street_plan import PlannedContainer

BOARD = "heltec_wifi_lora_32_v3"


def make_device(street: Street, planned: Planned) -> tuple[Device, Radio]:
    """Make a planned board, its sensor in its container or bay, with the firmware's files."""
    data = board_data.load(BOARD)
    data.check_region(street.region)
    is_bin = isinstance(planned, PlannedContainer)
    sensor = {}
    if isinstance(planned, PlannedContainer):
        turn = street.plan.containers.index(planned) % len(street.bin_sensors)
        sensor = {"sensor": street.bin_sensors[turn]}
    config: dict[str, Any] = {
        "kind": "bin" if is_bin else "bay",
        "dev_eui": planned.board.dev_eui.hex(),
        "join_eui": planned.board.join_eui.hex(),
        "app_key": planned.board.app_key.hex(),
        "region": street.region,
        "interval_s": street.bin_interval_s if is_bin else street.bay_interval_s,
        "history": street.history,
        "confirmed_every": 0,
        "board": data.wiring(),
        **sensor,
    }
    board = SimBoard(
        street.engine,
        street.air,
        data,
        config,
        position_m=planned.position_m,
        distance=street.containers[planned.id] if is_bin else None,
        field=None if is_bin else street.bays[planned.id],
    )
    if planned.board.is_micropython and micropython_runtime.is_available():
        return MicroPythonDevice(street.engine, board, config), board.radio
    return CPythonDevice(street.engine, board, config), board.radio
