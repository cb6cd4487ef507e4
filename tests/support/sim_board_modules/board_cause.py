"""Begins a start on the simulator's `machine`; the bench's seconds pass in real time."""

import _link as link

_HOLD_MS = 3000  # as long as device/main.py waits; nothing else does by sleep_ms


def begin(_why, hold_ms):
    import uos

    link.begin()
    import time

    import machine

    def reset():
        link.flush()
        uos.system("kill -USR2 $PPID")

    machine.reset = reset
    sleep_ms = time.sleep_ms

    def hold(ms):
        # A program that the bench shall be able to interrupt waits where Ctrl-C reaches it.
        if ms < _HOLD_MS:
            sleep_ms(ms)
            return
        import utime

        utime.sleep_ms(hold_ms)

    if machine.reset_cause() != machine.DEEPSLEEP_RESET:
        time.sleep_ms = hold
    # Says that it can be interrupted: until it has waited it expects no answer.
    link.tell(link.WDT_FEED, b"")
    link.flush()
