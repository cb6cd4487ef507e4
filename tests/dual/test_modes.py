"""Whole wakes of a container's device in its modes: when it looks, and what it tells."""

from dual_wakes import HOUR_MS, Device, of
from stoep_protocol import messages, schema

QUARTER_MS = HOUR_MS // 4


def wakes(device, *distances_mm):
    """Wake for each of these; return the reports of all, None for a wake that told nothing."""
    told = []
    for distance_mm in distances_mm:
        device.sleep()
        device.board.distances_mm = (
            [distance_mm] * 5 if isinstance(distance_mm, int) else distance_mm
        )
        device.wake()
        reports = of(messages.BinReport, device.take())
        assert len(reports) <= 1
        told.append(reports[0].distance_mm if reports else None)
    return told


def test_on_change_tells_changes_and_one_reading_a_day():
    device = Device(mode=schema.MODE_ON_CHANGE)
    device.wake()
    assert of(messages.BinReport, device.take())[0].distance_mm == 800
    assert wakes(device, 790, 720, 690, 650, 700) == [None, None, 690, None, None]
    told = wakes(device, *[700] * 50)
    at = [number for number, distance_mm in enumerate(told) if distance_mm]
    assert len(at) == 2
    assert at[1] - at[0] == 24
    # Readings that are not told have no number: none is missing.
    device.sleep()
    device.board.distances_mm = [500] * 5
    device.wake()
    report = of(messages.BinReport, device.take())[0]
    assert report.sequence == 4
    assert [distance_mm for _, distance_mm, _ in report.history[:4]] == [700, 700, 690, 800]


def test_both_looks_four_times_for_a_report_and_tells_a_change_at_once():
    device = Device(mode=schema.MODE_BOTH)
    device.wake()
    device.take()
    assert device.until_ms - device.board.clock.ms <= QUARTER_MS
    told = wakes(device, *[800] * 12, 600, 600, 600, 600, 600)
    assert [number for number, distance_mm in enumerate(told) if distance_mm] == [3, 7, 11, 12, 16]


def test_a_doubtful_alarm_is_looked_at_again_after_a_minute_and_then_told():
    device = Device(mode=schema.MODE_ON_CHANGE, alarm_distance_cm=40)
    device.wake()
    device.take()
    doubtful = [300, 350, 390]  # of five pings
    assert wakes(device, doubtful) == [None]
    assert device.until_ms - device.board.clock.ms <= 60_000
    assert wakes(device, doubtful) == [350]
    assert device.until_ms - device.board.clock.ms > HOUR_MS // 2
    # Its end, with a false alarm's before it.
    assert wakes(device, [900, 905, 930], 350, 900) == [None, None, 900]


def test_a_sensor_that_raises_at_the_second_look_ends_in_no_busy_loop():
    device = Device(mode=schema.MODE_ON_CHANGE, alarm_distance_cm=40)
    device.wake()
    wakes(device, [300, 350, 390])
    device.sleep()

    def broken(baudrate):
        raise OSError(5)

    device.board.uart = broken
    device.wake()
    assert device.until_ms - device.board.clock.ms > HOUR_MS // 2


def test_mode_and_alarm_come_down_and_outlive_a_power_loss():
    device = Device()
    device.wake()
    device.take()
    wanted = messages.Configuration(60, schema.MODE_ON_CHANGE, alarm_distance_cm=40, change_cm=1000)
    device.down = [{"f_port": 13, "data": messages.encode(wanted)[1]}]
    device.sleep()
    device.wake()
    assert device.take()[-1] == messages.ConfigurationAck(messages.config_hash(wanted))
    assert wakes(device, 800, 500, 390, 410, 510) == [800, None, 390, None, 510]
    device.lose_power()
    device.board.distances_mm = [350] * 5
    device.wake()
    device.take()
    assert wakes(device, 350, 510) == [None, 510]


def test_a_repeated_configuration_is_acknowledged_again():
    device = Device()
    data = messages.encode(messages.Configuration(30))[1]
    device.wake()
    device.take()
    for _ in range(2):
        device.down = [{"f_port": 13, "data": data}]
        device.sleep()
        device.wake()
        answers = of(messages.ConfigurationAck, device.take())
        assert answers == [
            messages.ConfigurationAck(messages.config_hash(messages.Configuration(30)))
        ]


def test_what_cannot_be_stored_is_refused_and_the_old_one_stays():
    device = Device()
    old = messages.Configuration(30)
    device.wake()
    device.down = [{"f_port": 13, "data": messages.encode(old)[1]}]
    device.sleep()
    device.wake()
    device.take()
    device.board.storage.broken = True
    device.down = [{"f_port": 13, "data": messages.encode(messages.Configuration(5, history=0))[1]}]
    device.sleep()
    device.wake()
    # Nothing is answered as long as the downlink's counter is not stored: it could be replayed.
    assert of(messages.ConfigurationAck, device.take()) == []
    device.board.storage.broken = False
    device.sleep()
    device.wake()
    (answer,) = of(messages.ConfigurationAck, device.take())
    assert answer == messages.ConfigurationAck(messages.config_hash(old), schema.REFUSED_STORAGE)
    assert HOUR_MS // 4 < device.until_ms - device.board.clock.ms <= HOUR_MS // 2
    # Not even a later write, nor a power loss, brings it back.
    for _ in range(40):
        device.sleep()
        device.wake()
    device.lose_power()
    device.wake()
    device.sleep()
    before_ms = device.board.clock.ms
    device.wake()
    assert device.until_ms - before_ms == HOUR_MS // 2


def test_a_configuration_that_was_acknowledged_outlives_every_cut():
    data = messages.encode(messages.Configuration(30))[1]
    outcomes = []
    cut = 0
    while True:
        cut += 1
        device = Device()
        device.wake()
        device.take()
        device.down = [{"f_port": 13, "data": data}]
        device.sleep()
        if not device.wake(stop_after=cut):
            break
        acknowledged = len(of(messages.ConfigurationAck, device.take())) > 0
        device.down = []
        device.lose_power()
        device.wake()
        device.sleep()
        before_ms = device.board.clock.ms
        device.wake()
        interval_ms = device.until_ms - before_ms
        assert interval_ms in (HOUR_MS // 2, HOUR_MS)
        outcomes.append((acknowledged, interval_ms == HOUR_MS // 2))
    assert set(outcomes) == {(False, False), (True, True)}, outcomes


class RestlessField:
    """A magnetometer in a field that never stays: it leaps at every look, or never stands still."""

    def __init__(self, still):
        self.still = still
        self.level = 0

    def readfrom_mem(self, address, register, length):
        register &= 0x7F
        if register == 0x0F:
            return b"\x3d"
        if register == 0x27:
            return b"\x08"
        if register == 0x28:
            if not self.still:
                self.level ^= 0x1F
            return bytes((0, self.level)) * 3
        return bytes(length)

    def writeto_mem(self, address, register, data):
        pass


def test_a_bay_whose_field_never_rests_is_looked_at_ever_more_rarely():
    for still in (True, False):
        device = Device(kind="bay")
        field = RestlessField(still)
        device.board.i2c = lambda field=field: field
        device.wake()
        looks = []
        for day in range(2):
            begun_ms = device.board.clock.now_ms()
            count = 0
            while device.board.clock.now_ms() < begun_ms + 24 * HOUR_MS:
                field.level ^= 0x1F
                if device.board.sensor_wakes:
                    device.board.clock.ms += 2000
                    device.board.reason = "pin"
                else:
                    device.sleep()
                device.board.sensor_wakes = True  # as a start finds it
                device.wake()
                count += 1
            looks.append(count)
            assert day or device.board.problems == []
        assert 250 < looks[1] < 330
        assert looks[0] <= looks[1] + 40
        device.take()
        # Once it rests, a car is told as soon as ever.
        field.still = True
        for _ in range(40):
            device.sleep()
            device.wake()
        assert device.board.sensor_wakes
        device.take()
        field.level ^= 0x1F
        device.board.clock.ms += 2000
        device.board.reason = "pin"
        device.wake()
        assert of(messages.BayReport, device.take())


def test_a_change_that_nobody_confirms_is_told_again_before_the_next_day():
    device = Device(kind="bay", mode=schema.MODE_ON_CHANGE, confirmed_every=1)
    field = RestlessField(True)
    device.board.i2c = lambda: field
    device.wake()  # no acknowledgement, here and from now on
    device.sleep()
    device.wake()
    device.take()
    field.level ^= 0x1F
    device.board.clock.ms += 60_000
    device.board.reason = "pin"
    told_ms = []
    since_ms = device.board.clock.now_ms()
    while device.board.clock.now_ms() < since_ms + 20 * HOUR_MS:
        device.wake()
        if of(messages.BayReport, device.take()):
            told_ms.append(device.board.clock.now_ms() - since_ms)
        device.sleep()
    assert told_ms[1] < QUARTER_MS + 60_000
    assert told_ms[2] < 3 * QUARTER_MS + 60_000
    assert len(told_ms) <= 8
