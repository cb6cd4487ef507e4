"""Why the board started, and how long its wait for the bench really is."""

told = {"cause": 1, "hold_ms": 3000}


def begin(why, hold_ms):
    told["cause"] = {"power": 1, "hard": 2, "watchdog": 3, "asleep": 4}[why]
    told["hold_ms"] = hold_ms
