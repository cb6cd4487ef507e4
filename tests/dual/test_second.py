"""A bay's second sense, and what it makes of the field's doubts."""

from stoep_firmware import second
from stoep_firmware.second import CLEAR, UNKNOWN, distance, doubts, judge
from stoep_firmware.sensing.bay import Bay
from stoep_protocol import schema

THRESHOLD = 445
EMPTY = (1400, -170, 1745)
CAR = (1900, 100, 2745)
STRANGE = (2900, -1900, 745)  # no car's coming or going
WEAK = (1400, 330, 1745)  # level: a car in the next bay, or a high chassis

HOUR_MS = 3_600_000


class Ground:
    """A bay with a second sense; `sees` is what that says, and how often it was asked."""

    def __init__(self):
        self.bay = Bay()
        self.memory = bytes(8)
        self.now_ms = 0
        self.asked = 0
        for _ in range(9):
            self.look(EMPTY, CLEAR)

    def look(self, field, sees=UNKNOWN, hours=1):
        self.now_ms += hours * HOUR_MS
        bay = self.bay
        before = bay.pack()
        changed = bay.update(field, self.now_ms, THRESHOLD, 0)
        if doubts(bay, self.memory, field, THRESHOLD, 0, changed):
            self.asked += 1
            changed, self.memory = judge(
                bay, self.memory, before, field, self.now_ms, 0, changed, sees
            )
        return changed

    def told(self, field, sees=UNKNOWN, hours=1):
        self.look(field, sees, hours)
        return self.bay.told()


def test_a_burst_becomes_a_distance():
    for distances_mm, can_be_clear, expected in (
        ([220, 221, 219, 220, 222], True, 220),
        ([220, 0, 219, 4000, 222], True, 222),
        ([0, 0, 0, 0, 0], True, CLEAR),
        ([0, 0, 0, 0, 0], False, UNKNOWN),  # a finger on an A02YYUW
        ([1900, 1900, 2000], False, CLEAR),
        ([12, 13, 12, 14, 0], True, UNKNOWN),  # on the lens
        ([], True, UNKNOWN),
        ([220, 221], True, UNKNOWN),
    ):
        assert distance(distances_mm, can_be_clear) == expected, distances_mm


def test_it_is_asked_after_changes_and_in_doubt_only():
    ground = Ground()
    for _ in range(20):
        ground.look(EMPTY)
    assert ground.asked == 0
    assert ground.told(CAR, 220) == schema.OCCUPIED
    for _ in range(20):
        ground.look(CAR)
    assert ground.asked == 1
    assert ground.told(EMPTY, CLEAR) == schema.FREE
    assert ground.asked == 2
    assert ground.bay.change_count == 2


def test_without_its_word_the_field_decides():
    ground, alone = Ground(), Ground()
    for field in (CAR, CAR, EMPTY, CAR, STRANGE, STRANGE, EMPTY, WEAK, WEAK, EMPTY):
        ground.look(field, UNKNOWN)
        alone.now_ms += HOUR_MS
        alone.bay.update(field, alone.now_ms, THRESHOLD, 0)
        assert ground.bay.pack() == alone.bay.pack(), field


def test_a_strong_change_with_a_clear_view_is_beside():
    ground = Ground()
    assert ground.told(CAR, CLEAR) == schema.FREE
    assert ground.bay.change_count == 0
    assert ground.bay.flags & schema.NEIGHBOUR_SUSPECTED
    assert ground.told(CAR) == schema.FREE
    since_ms = ground.bay.since_ms
    assert ground.told(EMPTY, CLEAR) == schema.FREE
    assert (ground.bay.change_count, ground.bay.since_ms) == (0, since_ms)
    assert ground.told(CAR, 220) == schema.OCCUPIED


def test_a_weak_change_with_something_above_is_a_vehicle():
    ground = Ground()
    assert ground.told(WEAK, UNKNOWN) == schema.FREE
    ground = Ground()
    assert ground.look(WEAK, 900)
    assert (ground.bay.told(), ground.bay.change_count) == (schema.OCCUPIED, 1)
    assert ground.told(EMPTY, CLEAR) == schema.FREE
    assert ground.bay.change_count == 2


def uncertain():
    ground = Ground()
    ground.look(CAR, 220)
    assert ground.told(STRANGE, UNKNOWN) == schema.UNCERTAIN
    return ground


def test_uncertain_and_something_above_is_occupied():
    ground = uncertain()
    assert ground.told(STRANGE, 310) == schema.OCCUPIED
    assert ground.bay.change_count == 1
    assert ground.told(EMPTY, CLEAR) == schema.FREE


def test_uncertain_and_a_clear_view_is_free_and_the_field_that_of_an_empty_bay():
    ground = uncertain()
    assert ground.look(STRANGE, CLEAR)
    assert (ground.bay.told(), ground.bay.change_count) == (schema.FREE, 2)
    assert ground.bay.previous_ms == -1
    assert ground.told(STRANGE) == schema.FREE
    moved = tuple(one + 1000 for one in STRANGE)
    assert ground.told(moved, 250) == schema.OCCUPIED


def test_uncertain_stays_so_while_nobody_knows():
    ground = uncertain()
    for _ in range(200):
        assert ground.told(STRANGE, UNKNOWN) == schema.UNCERTAIN
    assert ground.told(STRANGE, CLEAR) == schema.FREE


def test_a_car_that_leaves_dirt_behind_is_gone():
    ground = Ground()
    ground.look(CAR, 220)
    assert ground.told(EMPTY, 160) == schema.FREE
    # What is seen at that distance from now on is no vehicle, whatever the field does.
    for _ in range(10):
        assert ground.told(WEAK, 165) == schema.FREE
        assert ground.told(EMPTY, 155) == schema.FREE
    assert ground.told(CAR, 160) == schema.OCCUPIED, "the field says so"
    assert ground.told(STRANGE, 160) == schema.UNCERTAIN
    assert ground.told(STRANGE, 240) == schema.OCCUPIED, "not where the dirt is"
    assert ground.told(EMPTY, CLEAR) == schema.FREE
    assert ground.told(WEAK, 160) == schema.OCCUPIED, "it was clear in between"


def test_dirt_makes_no_bay_occupied_for_ever():
    """It came while a car was there, which has gone unseen: the echo never moves."""
    ground = uncertain()
    occupied = 0
    for hour in range(30 * 24):
        state = ground.told(STRANGE, 150 + hour % 7)
        occupied += state == schema.OCCUPIED
        assert state != schema.FREE
    assert 70 <= occupied <= 73
    assert ground.bay.told() == schema.UNCERTAIN
    assert ground.told(STRANGE, CLEAR) == schema.FREE


def test_cars_that_come_and_go_are_not_taken_for_dirt():
    ground = uncertain()
    for day in range(30):
        for _ in range(24):
            assert ground.told(STRANGE, 150 + 100 * (day % 2)) == schema.OCCUPIED


def test_a_clock_that_begins_anew_begins_the_three_days_anew():
    ground = uncertain()
    for _ in range(70):
        ground.look(STRANGE, 150)
    ground.now_ms = 0
    for _ in range(70):
        assert ground.told(STRANGE, 150) == schema.OCCUPIED


def test_memory_has_room_for_every_distance_and_time():
    ground = uncertain()
    ground.now_ms = 20 * 365 * 24 * HOUR_MS
    assert ground.told(STRANGE, second.distance([1500] * 3, False)) == schema.OCCUPIED
    assert len(ground.memory) == 8
