"""The program on the board: build it from MicroPython's own modules and run it, wake by wake."""

import json
import os
import sys
import time

import cryptolib
import esp32
import machine

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Aes


_AFTER_FAULT_MS = const(900_000)


def new_aes(key: bytes) -> "Aes":
    """One AES-128 block cipher in ECB mode."""
    return cryptolib.aes(key, 1)


def main() -> None:
    """Run one wake; on hardware the last sleep is deep and does not return.

    Without a config.json the board stays awake, for whoever is about to write it.
    """
    if machine.wake_reason() == machine.EXT0_WAKE:
        from stoep_firmware import lid  # noqa: PLC0415 - and nothing else, for that takes its time

        for mode, ms in lid.run(machine, esp32, time):
            (machine.deepsleep if mode else machine.lightsleep)(ms)
    from stoep_firmware import app  # noqa: PLC0415
    from stoep_firmware.board import Board, hold  # noqa: PLC0415
    from stoep_firmware.device.files import Files  # noqa: PLC0415

    hold(machine, time)
    with open("config.json") as file:
        config = json.load(file)
    try:
        board = Board(machine, esp32, time, os.urandom, new_aes, Files(), config)
        board.on_problem = sys.print_exception
        for mode, until_ms in app.run(board):
            board.sleep(mode, until_ms)
    except Exception as problem:  # noqa: BLE001 - the prompt would empty the battery
        sys.print_exception(problem)
        machine.deepsleep(_AFTER_FAULT_MS)


if __name__ == "__main__":
    main()
