"""What a container's body and lid give alarm for, on both runtimes."""

from stoep_firmware.sensing.alarms import ANEW, UNKNOWN_C, Alarms, calm
from stoep_protocol import schema

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
UP = (0, 0, 1000)
ASIDE = (1000, 0, 0)
SHAKEN = (0, 0, 0)


class Container:
    """Takes in one look after the other, through octets as RTC memory would."""

    def __init__(self, learned=True):
        self.state = b""
        self.now_ms = HOUR_MS
        if learned:
            for _ in range(3):
                assert not self.look("pulled", UP, after_ms=HOUR_MS)

    def look(self, what, *given, after_ms=0):
        """Return whether it is news."""
        self.now_ms += after_ms
        alarms = Alarms(self.state)
        alarms.again_ms = 0
        if what != "opened":
            given += (self.now_ms,)
        news = getattr(alarms, what)(*given)
        self.state = alarms.pack()
        return news

    @property
    def kept(self):
        return Alarms(self.state)

    @property
    def again_ms(self):
        return self.kept.again_ms - self.now_ms if self.kept.again_ms else None


def test_a_new_one_knows_nothing_and_nothing_is_wrong():
    alarms = Alarms()
    assert (alarms.flags, alarms.flaps, alarms.again_ms) == (0, 0, 0)
    assert alarms.temperature_c == UNKNOWN_C


def test_what_lies_is_told_after_two_minutes_and_once():
    here = Container()
    assert not here.look("pulled", ASIDE, after_ms=10 * MINUTE_MS)
    assert here.kept.flags == 0
    assert here.again_ms == 2 * MINUTE_MS
    assert not here.look("pulled", ASIDE, after_ms=MINUTE_MS)
    assert here.again_ms == MINUTE_MS
    assert here.look("pulled", ASIDE, after_ms=MINUTE_MS)
    assert here.kept.flags == schema.TILTED
    for _ in range(5):
        assert not here.look("pulled", ASIDE, after_ms=HOUR_MS)
        assert here.kept.flags == schema.TILTED
        assert here.again_ms is None
    assert here.look("pulled", UP, after_ms=HOUR_MS)  # perhaps it has been emptied
    assert here.kept.flags == 0
    assert not here.look("pulled", UP, after_ms=HOUR_MS)


def test_what_is_tipped_and_stands_again_is_looked_into_but_no_alarm():
    here = Container()
    here.look("pulled", ASIDE, after_ms=MINUTE_MS)
    assert here.look("pulled", UP, after_ms=MINUTE_MS)
    assert here.kept.flags == 0
    assert not here.look("pulled", UP, after_ms=MINUTE_MS)


def test_it_may_lean_by_45_degrees():
    for pull, tilted in (
        ((0, 640, 768), False),  # 40
        ((0, -640, 768), False),
        ((544, 544, 640), True),  # 50
        ((0, 768, 640), True),
        ((0, 0, -1000), True),
    ):
        here = Container()
        here.look("pulled", pull)
        assert (here.kept.tipped_ms != 0) == tilted, pull


def test_how_it_stands_is_learned_from_three_looks_that_agree():
    here = Container(learned=False)
    # Carried to its place, and put up there on its side.
    for pull in (UP, UP, ASIDE, UP, ASIDE, ASIDE):
        assert not here.look("pulled", pull, after_ms=HOUR_MS)
        assert here.again_ms is None
    assert not here.look("pulled", ASIDE, after_ms=HOUR_MS)
    here.look("pulled", UP, after_ms=HOUR_MS)
    assert here.again_ms == 2 * MINUTE_MS


def test_how_it_stands_may_be_told():
    here = Container()
    for _ in range(3):
        here.look("pulled", ASIDE, after_ms=2 * MINUTE_MS)
    assert here.kept.flags == schema.TILTED
    here.state = here.state[:-1] + bytes((ANEW,))
    assert not here.look("pulled", SHAKEN, after_ms=HOUR_MS)
    assert not here.look("pulled", ASIDE, after_ms=HOUR_MS)
    assert (here.kept.flags, here.kept.tipped_ms) == (0, 0)
    here.look("pulled", UP, after_ms=HOUR_MS)
    assert here.kept.tipped_ms == here.now_ms


def test_a_sample_of_no_weight_says_nothing():
    here = Container()
    for pull in (SHAKEN, (3000, 0, 0), (600, 0, 0)):
        assert not here.look("pulled", pull, after_ms=HOUR_MS)
        assert here.again_ms is None
    here = Container(learned=False)
    for pull in (UP, SHAKEN, UP, SHAKEN, UP):
        here.look("pulled", pull, after_ms=HOUR_MS)
    assert here.kept.agreed == 3


def test_two_samples_have_to_be_alike():
    assert calm(UP, (16, -16, 992)) == (16, -16, 992)
    assert calm(UP, (300, 0, 1000)) == SHAKEN


def test_what_moves_for_three_minutes_is_told_once_until_it_rests():
    here = Container()
    told = []
    for _ in range(8):
        told.append(here.look("moved", True, after_ms=MINUTE_MS))
        assert here.again_ms == (None if here.kept.flags else MINUTE_MS)
    assert told == [False, False, False, True, False, False, False, False]
    assert here.kept.flags == schema.MOVED
    assert not here.look("moved", False, after_ms=HOUR_MS)
    assert here.kept.flags == 0
    assert not here.look("moved", True, after_ms=HOUR_MS)


def test_a_minute_of_rest_ends_a_movement():
    here = Container()
    for _ in range(10):
        for moved in (True, True, True, False):
            assert not here.look("moved", moved, after_ms=MINUTE_MS)


def test_what_is_as_hot_as_the_limit_burns():
    here = Container()
    for now_c in (20, 60, 69):  # a limit alone: the steps are long ago
        here.state = b""
        assert not here.look("warmed", now_c, 70)
    assert here.look("warmed", 70, 70, after_ms=HOUR_MS)
    assert here.kept.flags == schema.FIRE
    for now_c in (80, 68, 66):
        assert not here.look("warmed", now_c, 70, after_ms=HOUR_MS)
        assert here.kept.flags == schema.FIRE
    assert not here.look("warmed", 65, 70, after_ms=HOUR_MS)
    assert here.kept.flags == 0


def test_a_rise_is_doubted_for_a_minute():
    here = Container()
    here.look("warmed", 20, 70)
    assert not here.look("warmed", 29, 70, after_ms=HOUR_MS)
    assert here.again_ms is None
    assert not here.look("warmed", 39, 70, after_ms=HOUR_MS)
    assert here.again_ms == MINUTE_MS
    assert here.look("warmed", 41, 70, after_ms=MINUTE_MS)
    assert here.kept.flags == schema.FIRE
    # The sun: one degree a minute, for a while.
    here = Container()
    here.look("warmed", 20, 70)
    assert not here.look("warmed", 32, 70, after_ms=HOUR_MS)
    assert not here.look("warmed", 33, 70, after_ms=MINUTE_MS)
    assert here.kept.flags == 0
    assert here.again_ms is None


def test_no_temperature_is_told_as_none_and_ends_nothing():
    here = Container()
    here.look("warmed", 90, 70)
    assert not here.look("warmed", None, 70, after_ms=HOUR_MS)
    assert here.kept.flags == schema.FIRE
    assert here.kept.temperature_c == UNKNOWN_C
    for now_c, told_c in ((300, 85), (-60, -40), (21, 21)):
        here.look("warmed", now_c, 70)
        assert here.kept.temperature_c == told_c


def test_a_lid_left_open_is_told_once():
    here = Container()
    limit_ms = 15 * MINUTE_MS
    for open_ms, news in ((-1, False), (0, False), (limit_ms - 3000, False), (limit_ms, True)):
        assert here.look("opened", open_ms, limit_ms) == news
    assert here.kept.flags == schema.LID_OPEN
    assert not here.look("opened", 2 * limit_ms, limit_ms)
    assert here.kept.flags == schema.LID_OPEN
    assert not here.look("opened", -1, limit_ms)
    assert here.kept.flags == 0
    assert not here.look("opened", 2 * limit_ms, 0)  # never


def test_alarms_do_not_end_each_other():
    here = Container()
    here.look("warmed", 90, 70)
    here.look("opened", HOUR_MS, MINUTE_MS)
    here.look("moved", False)
    here.look("pulled", UP)
    assert here.kept.flags == schema.FIRE | schema.LID_OPEN
