"""Waits for the simulator to start the board; the wait for the bench takes real time, too."""

import utime


def begin(why, hold_ms):
    import _link

    _link.begin()
    import time

    import machine
    import uos

    simulated = time.sleep_ms

    def sleep_ms(ms):
        if ms >= 1000:  # `board.hold`, and nothing else
            utime.sleep_ms(hold_ms)
        simulated(ms)

    time.sleep_ms = sleep_ms

    def reset():
        machine.RTC().memory()  # the answer comes when the simulator has all that was told before
        uos.system("kill -USR2 $PPID")

    machine.reset = reset
