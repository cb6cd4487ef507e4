"""The wait in which the bench can get hold of a board; both runtimes."""

from stoep_firmware.board import hold


class Machine:
    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

    def __init__(self, cause):
        self.cause = cause

    def reset_cause(self):
        return self.cause


class Time:
    def __init__(self):
        self.waited_ms = 0

    def sleep_ms(self, ms):
        self.waited_ms += ms


def waited(cause):
    time = Time()
    hold(Machine(cause), time)
    return time.waited_ms


def test_any_start_but_a_wake_can_be_interrupted():
    for cause in (1, 2, 3, 5):
        assert waited(cause) == 3000


def test_a_wake_from_deep_sleep_is_not_delayed():
    assert waited(Machine.DEEPSLEEP_RESET) == 0
