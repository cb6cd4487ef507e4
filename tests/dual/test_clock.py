"""The board's clock against the network's: drift, what is uncertain about it, ages."""

from stoep_firmware.clock import Clock

HOUR_MS = 3_600_000
GPS_MS = 1_400_000_000_000


class Board:
    """A clock that goes `ppm` too fast, asked at true times; its answers are off by `late_ms`."""

    def __init__(self, ppm):
        self.ppm = ppm
        self.true_ms = 0
        self.board_ms = 5_000
        self.clock = Clock(lambda: self.board_ms * 1_000_000)

    def passes(self, ms):
        self.true_ms += ms
        self.board_ms += ms + ms * self.ppm // 1_000_000

    def sync(self, late_ms=0):
        self.clock.synced(self.board_ms, GPS_MS + self.true_ms + late_ms)


def test_drift_is_unknown_until_two_times_lie_far_apart():
    board = Board(1800)
    assert (board.clock.drift_ppm, board.clock.error_ppm()) == (0, 3000)
    board.sync()
    board.passes(HOUR_MS)
    board.sync()  # 200 ms in an hour are 55 ppm
    assert (board.clock.drift_ppm, board.clock.error_ppm()) == (0, 3000)
    board.passes(23 * HOUR_MS)
    board.sync()
    assert abs(board.clock.drift_ppm - 1800) <= 1
    assert board.clock.error_ppm() >= 1800 + 500  # one day says little of the next


def test_error_covers_the_drift_whatever_the_network_and_the_weather_do():
    for base_ppm in (-2500, -20, 0, 40, 1800, 8000):
        board = Board(base_ppm)
        late_ms = 100
        errors = []
        for day in range(60):
            board.ppm = base_ppm + (day * 37 % 41) - 20  # 40 ppm with the temperature
            board.passes(24 * HOUR_MS)
            late_ms = -late_ms
            board.sync(late_ms)
            if day:
                assert board.clock.error_ppm() >= abs(board.ppm), (base_ppm, day)
                tomorrow_ppm = base_ppm + ((day + 1) * 37 % 41) - 20
                assert board.clock.error_ppm() >= abs(tomorrow_ppm), (base_ppm, day)
            errors.append(board.clock.error_ppm())
        assert errors[0] == 3000
        assert errors[-1] < abs(base_ppm) + 200


def test_ages_are_corrected_by_the_drift():
    for ppm in (-2000, 0, 3000):
        board = Board(ppm)
        board.sync()
        board.passes(24 * HOUR_MS)
        board.sync()
        since_ms = board.clock.now_ms()
        board.passes(7 * HOUR_MS)
        found_ms = board.clock.elapsed_ms(since_ms, board.clock.now_ms())
        assert abs(found_ms - 7 * HOUR_MS) <= 7 * HOUR_MS // 500_000
    assert Board(1000).clock.elapsed_ms(10, 2_000_010) == 2_000_000


def test_clock_that_began_anew_is_measured_anew():
    board = Board(1000)
    board.sync()
    board.passes(24 * HOUR_MS)
    board.sync()
    drift_ppm = board.clock.drift_ppm
    board.passes(12 * HOUR_MS)
    board.board_ms -= 12 * HOUR_MS  # as if no time had passed
    board.sync()
    assert board.clock.drift_ppm == drift_ppm
    board.ppm = 500
    board.passes(24 * HOUR_MS)
    board.sync()
    assert abs(board.clock.drift_ppm - 500) <= 10
    assert board.clock.error_ppm() >= 1500
    board.clock.synced(board.board_ms, GPS_MS)  # a network whose own clock was set back
    board.true_ms = 0
    board.passes(24 * HOUR_MS)
    board.sync()
    assert abs(board.clock.drift_ppm - 500) <= 10


def test_sleep_loses_nothing():
    board = Board(700)
    board.sync()
    kept = board.clock.pack()
    again = Clock(lambda: 0)
    again.unpack(kept)
    board.passes(24 * HOUR_MS)
    again.synced(board.board_ms, GPS_MS + board.true_ms)
    assert abs(again.drift_ppm - 700) <= 1
    kept = again.pack()
    other = Clock(lambda: 0)
    other.unpack(kept)
    assert other.pack() == kept
    other.unpack(b"")
    assert (other.drift_ppm, other.error_ppm()) == (again.drift_ppm, again.error_ppm())
