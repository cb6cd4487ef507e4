"""A step of a calibration on the board, for board_commands.py; comes after check.py."""


def _t_step(board, order):
    """Take a step as a wake would, and keep what comes of it; return the answer's octets.

    The board tells the gateway the same when it starts.
    """
    from stoep_firmware.calibrating import carry_out
    from stoep_firmware.meter import Meter
    from stoep_firmware.store import Store
    from stoep_firmware.wake import Wake

    wake = Wake(board, Store(board.rtc_memory, board.storage), Meter(board.wiring))
    wake._talk.step = order
    yield from carry_out(board, wake._task, wake._settings, wake._talk, 255)
    answer = wake._talk.step
    yield from wake._task.sense(False)
    wake._talk.anew(True)
    wake._save(True)
    return answer
