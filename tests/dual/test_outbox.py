"""The readings that a container's device keeps, and what of them it tells; both runtimes."""

from dual_device import Clock
from stoep_firmware.bin_task import BinTask
from stoep_firmware.meter import Meter
from stoep_firmware.outbox import KEPT, Outbox
from stoep_firmware.session import RESERVE
from stoep_firmware.settings import Settings
from stoep_protocol import schema
from stoep_protocol.messages import decode, encode, fit
from stoep_protocol.requests import ReadingsRequest

HOUR_MS = 3_600_000
ROOM = 222
LEAST_ROOM = 11  # US915 at its slowest


def empty():
    return Outbox(Clock())


def filled(count, told=0):
    """An outbox with a reading an hour, of which the oldest `told` have been told."""
    outbox = empty()
    for number in range(count):
        outbox.add(HOUR_MS * number, 500 + number, 4)
        if number < told:
            outbox.told(number, 1)
    return outbox


def numbers(report):
    return list(range(report.sequence, report.sequence - len(report.history) - 1, -1))


def test_report_repeats_earlier_readings_with_their_ages():
    outbox = empty()
    for number in range(6):
        outbox.add(HOUR_MS * number + 1000, 503 + 10 * number, 4)
        outbox.told(number, number < 5)
    report = outbox.message(HOUR_MS * 5 + 1200, 3, schema.ECHO_WEAK)
    assert (report.sequence, report.distance_mm, report.quality) == (5, 553, 4)
    assert (report.age_min, report.flags) == (0, schema.ECHO_WEAK)
    # Of earlier ones only what travels is kept: whole centimetres.
    assert report.history == ((60, 540, 4), (120, 530, 4), (180, 520, 4))
    f_port, data = encode(report)
    assert (f_port, decode(f_port, data)) == (schema.F_PORT_BIN, report)


def test_every_reading_is_told_whatever_the_room():
    for room in (LEAST_ROOM, 51, ROOM):
        outbox = filled(KEPT)
        found = []
        uplinks = 0
        while True:
            message = outbox.message(HOUR_MS * (KEPT - 1), 0, 0)
            if message is None:
                break
            message = fit(message, room)
            assert len(encode(message)[1]) <= room
            outbox.told(message.sequence % schema.SEQUENCE_MODULUS, 1 + len(message.history))
            found += numbers(message)
            uplinks += 1
            ages = [message.age_min] + [age for age, _, _ in message.history]
            assert [KEPT - 1 - age // 60 for age in ages] == numbers(message)
        assert found == list(range(KEPT - 1, -1, -1))
        assert uplinks == -(-KEPT // 25) if room == ROOM else uplinks <= KEPT


def test_untold_readings_stretch_the_history_as_far_as_it_goes():
    outbox = filled(40, told=30)
    assert numbers(outbox.message(HOUR_MS * 39, 3, 0)) == list(range(39, 29, -1))
    outbox = filled(40)
    assert len(outbox.message(HOUR_MS * 39, 3, 0).history) == schema.HISTORY_MAX
    outbox.told(39, 20)
    # The newest is told: what is left begins with the newest of it, and repeats nothing.
    assert numbers(outbox.message(HOUR_MS * 39, 3, 0)) == list(range(19, -1, -1))
    assert outbox.message(HOUR_MS * 39, 3, schema.ECHO_WEAK).flags == 0


def test_what_is_asked_for_is_told_again():
    outbox = filled(100, told=100)
    assert outbox.message(HOUR_MS * 99, 3, 0) is None
    assert outbox.told(60, 5, told=False)
    assert numbers(outbox.message(HOUR_MS * 99, 3, 0)) == [60, 59, 58, 57, 56]
    outbox.add(HOUR_MS * 100, 500, 4)
    assert numbers(outbox.message(HOUR_MS * 100, 3, 0)) == [100, 99, 98, 97]
    outbox.told(100, 4)
    outbox.told(60, 3)
    assert numbers(outbox.message(HOUR_MS * 100, 3, 0)) == [57, 56]


def test_what_is_not_kept_cannot_be_asked_for():
    outbox = filled(KEPT + 200, told=KEPT + 200)
    newest = KEPT + 199
    for sequence in (newest - KEPT, newest + 1, newest + 300, 0):
        assert not outbox.told(sequence % schema.SEQUENCE_MODULUS, 24, told=False), sequence
    assert outbox.message(HOUR_MS * newest, 0, 0) is None
    # Of a range that reaches beyond what is kept, the rest.
    assert outbox.told(newest - KEPT + 2, 24, told=False)
    assert numbers(outbox.message(HOUR_MS * newest, 0, 0)) == [newest - KEPT + 2, newest - KEPT + 1]


def test_full_tells_that_an_untold_reading_would_be_lost():
    outbox = filled(KEPT - 1)
    assert not outbox.full()
    outbox.add(HOUR_MS * KEPT, 500, 4)
    assert outbox.full()
    outbox.told(0, 1)
    assert not outbox.full()


def test_reading_that_had_to_wait_says_its_age():
    outbox = empty()
    outbox.add(0, 510, 4)
    outbox.add(HOUR_MS, 503, 4)
    fresh = outbox.message(HOUR_MS + 89_000, 3, 0)
    assert fresh.age_min == 0
    assert fresh.history == ((60, 510, 4),)
    report = outbox.message(HOUR_MS + 91_000, 3, 0)
    assert (report.age_min, report.distance_mm) == (2, 503)
    assert report.history == ((62, 510, 4),)
    assert encode(report)[0] == schema.F_PORT_BIN_PAST


def test_earlier_reading_of_the_same_minute_does_not_pass_for_the_newest():
    outbox = empty()
    outbox.add(0, 800, 4)
    outbox.add(15_000, 900, 4)
    outbox.add(25_000, 1000, 4)
    newest = fit(outbox.message(26_000, 6, 0), LEAST_ROOM)
    assert (newest.sequence, newest.age_min, newest.history) == (2, 0, ())
    outbox.told(newest.sequence, 1)
    earlier = outbox.message(26_000, 6, 0)
    assert encode(earlier)[0] == schema.F_PORT_BIN_PAST
    assert (earlier.sequence, earlier.age_min, earlier.history) == (1, 1, ((1, 800, 4),))


def test_regular_readings_stay_regular_and_none_is_off_by_more_than_half_a_minute():
    # Seconds of jitter cost nothing: an irregular gap would take 28 bits.
    outbox = empty()
    taken = []
    for number in range(60):
        at_ms = HOUR_MS * number + 29_000 + number * 7919 % 3000
        taken.append(at_ms)
        outbox.add(at_ms, 500, 4)
    report = outbox.message(taken[-1], 24, 0)
    assert [age for age, _, _ in report.history] == [60 * at for at in range(1, 25)]
    # Where a minute does not divide the interval, errors do not add up either.
    outbox = empty()
    taken = []
    for number in range(KEPT):
        taken.insert(0, number * 97_777)
        outbox.add(taken[0], 500, 4)
    now_ms = taken[0] + HOUR_MS
    while True:
        message = outbox.message(now_ms, 0, 0)
        if message is None:
            break
        ages = [message.age_min] + [age for age, _, _ in message.history]
        for index, number in enumerate(numbers(message)):
            error_ms = now_ms - ages[index] * 60_000 - taken[KEPT - 1 - number]
            assert abs(error_ms) <= 60_000, number
        outbox.told(message.sequence, len(ages))


def test_ages_that_no_message_can_carry_are_left_out():
    outbox = empty()
    for days in (0, 30, 31, 61):
        outbox.add(days * 24 * HOUR_MS, 500, 4)
    now_ms = 61 * 24 * HOUR_MS
    told = []
    while True:
        message = outbox.message(now_ms, 3, 0)
        if message is None:
            break
        message = fit(message, ROOM)
        told += numbers(message)
        outbox.told(message.sequence, 1 + len(message.history))
    assert told == [3, 2, 1]  # a day or two of them each; the first is 61 days old


def test_reading_after_years_is_told_as_taken_now():
    outbox = filled(3)
    now_ms = 30 * 8766 * HOUR_MS  # or the clock has leapt
    outbox.add(now_ms, 800, 4)
    report = outbox.message(now_ms, 6, 0)
    assert (report.sequence, report.age_min, report.history) == (3, 0, ())


def test_outbox_survives_deep_sleep():
    outbox = empty()
    for number in range(KEPT + 3):
        outbox.add((1 << 45) + 60_000 * number, None if number % 5 == 0 else 4503, number % 5)
        outbox.told(number, number % 2)
    again = empty()
    again.unpack(outbox.pack())
    now_ms = (1 << 45) + 60_000 * (KEPT + 3)
    assert again.message(now_ms, 24, 0) == outbox.message(now_ms, 24, 0)
    assert again.pack() == outbox.pack()
    assert len(outbox.pack()) < 600


def test_no_sequence_number_is_used_twice():
    used = set()
    outbox = empty()
    stored = 0
    for wake in range(300):
        if outbox.add(wake, 500, 4):
            stored = outbox.limit
        sequence = outbox.message(wake, 0, 0).sequence
        assert sequence not in used
        used.add(sequence)
        if wake % 7 == 6:  # a power loss: only what storage has is left
            outbox = empty()
            outbox.restart(stored)
    assert max(used) <= 300 // 7 * RESERVE + RESERVE


def test_sequence_wraps():
    outbox = empty()
    outbox.restart(0xFFF0)
    for number in range(2 * RESERVE):
        assert outbox.add(number, 500, 4) == (number in (0, RESERVE))
        assert outbox.sequence == (0xFFF0 + number) & 0xFFFF
    assert outbox.told(0, 3)  # 0, 65535 and 65534


class Place:
    """What of a board a task needs to tell of readings."""

    def __init__(self):
        self.clock = Clock()


class Task:
    """A container's task, its readings put in by hand, one an hour."""

    def __init__(self, **config):
        self.board = Place()
        whole = {"kind": "bin", "interval_s": 3600, "history": 3}
        whole.update(config)
        self.settings = Settings(whole)
        self.faults = []
        self.task = BinTask(self.board, self.settings, self.faults.append, Meter({}))

    def read(self, count=1):
        for _ in range(count):
            self.board.clock.ms += HOUR_MS
            self.task._outbox.add(self.board.clock.ms, 500, 4)
            self.task.due = True

    def tell(self, room=51):
        """Say all that is due; return the numbers of each message."""
        told = []
        while self.task.due:
            message = self.task.next_message(self.board.clock.ms, room)
            assert message == self.task.next_message(self.board.clock.ms, room)
            assert len(encode(message)[1]) <= room
            self.task.said(message)
            told.append(numbers(message))
        assert self.task.next_message(self.board.clock.ms, room) is None
        return told

    def ask(self, sequence, count):
        self.task.asked(encode(ReadingsRequest(sequence, count))[1])


def test_task_tells_each_reading_with_the_earlier_ones_that_fit():
    task = Task()
    assert task.tell() == []
    task.read(30)
    task.tell()
    for room, history in ((LEAST_ROOM, 1), (LEAST_ROOM + 1, 3), (ROOM, 3)):
        task.read()
        [told] = task.tell(room)
        assert len(told) == 1 + history, room


def test_ages_are_those_of_true_time_however_the_board_counts_it():
    outbox = empty()
    outbox._clock.drift_ppm = 20_000  # an hour is 72 s longer to it
    for number in range(5):
        outbox.add(number * HOUR_MS * 51 // 50, 500, 4)
    report = outbox.message(5 * HOUR_MS * 51 // 50, 24, 0)
    assert [report.age_min] + [age for age, _, _ in report.history] == [60, 120, 180, 240, 300]


def test_task_answers_with_the_next_report_or_right_after_it():
    task = Task()
    task.read(100)
    task.tell()
    task.ask(92, 2)
    assert not task.task.due
    task.read()
    assert task.tell() == [list(range(100, 90, -1))]
    task.ask(60, 24)
    task.read()
    assert task.tell() == [[101, 100, 99, 98], list(range(60, 36, -1))]
    task.read()
    assert task.tell() == [[102, 101, 100, 99]]


def test_task_answers_so_many_requests_a_day():
    task = Task()
    task.read(KEPT)
    task.tell()
    answered = 0
    for _ in range(20):
        task.ask(10, 1)
        task.read()
        answered += len(task.tell()) - 1
    assert answered == 8
    task.read(4)
    task.tell()
    task.ask(30, 1)
    task.read()
    assert len(task.tell()) == 2


def test_task_does_not_answer_on_a_low_battery_nor_tell_more_than_the_newest():
    task = Task()
    task.read(60)
    task.settings.level = 1
    assert len(task.tell()) == 1
    task.ask(50, 5)
    task.read()
    assert len(task.tell()) == 1
    task.settings.level = 0
    task.read()
    assert len(task.tell()) == 3  # with what had never been told


def test_task_takes_no_harm_from_a_request_that_is_none():
    task = Task()
    task.read(10)
    task.tell()
    for payload in (b"", b"\x00", b"\x82\x00\x00", b"\x82\x00\xf6", b"\xff" * 20):
        task.task.asked(payload)
    task.read()
    assert task.tell() == [[10, 9, 8, 7]]


def test_task_sleeps_and_wakes_with_what_is_due():
    task = Task()
    task.read(50)
    task.task.said(task.task.next_message(task.board.clock.ms, 51))
    again = Task()
    again.board.clock.ms = task.board.clock.ms
    again.task.unpack(task.task.pack())
    assert again.task.due
    assert again.tell() == [list(range(24, -1, -1))]
    assert task.tell() == [list(range(24, -1, -1))]
    assert again.task.pack() == task.task.pack()
