"""What counts as found and as false, by tables; and one container's readings with their truth."""

import pytest
from stoep_gateway.assets.geometry import Inside
from stoep_gateway.evaluation.judging import BinUnit
from stoep_gateway.evaluation.scores import BinScore, Emptied
from stoep_protocol.schema import FREE, OCCUPIED, UNCERTAIN
from stoep_tools.evaluate.bays import BayScore, Change, match

HOUR = 3_600_000
DAY = 24 * HOUR
END = 30 * DAY


@pytest.mark.parametrize(
    ("told", "truth", "found", "false", "missed"),
    [
        ([], [], 0, 0, 0),
        ([5 * DAY], [Emptied(5 * DAY)], 1, 0, 0),
        ([5 * DAY - HOUR], [Emptied(5 * DAY)], 1, 0, 0),
        ([5 * DAY - 2 * HOUR], [Emptied(5 * DAY)], 0, 0, 1),  # near one: told, not as it was
        ([5 * DAY + 36 * HOUR], [Emptied(5 * DAY)], 1, 0, 0),
        ([5 * DAY + 37 * HOUR], [Emptied(5 * DAY)], 0, 1, 1),
        ([5 * DAY, 6 * DAY], [Emptied(5 * DAY)], 1, 0, 0),
        ([5 * DAY, 8 * DAY], [Emptied(5 * DAY)], 1, 1, 0),
        ([], [Emptied(5 * DAY, 60, 50)], 0, 0, 0),  # fewer points than have to be found
        ([5 * DAY], [Emptied(5 * DAY, 60, 50)], 0, 0, 0),  # and no mistake if it is
        ([], [Emptied(HOUR), Emptied(END - HOUR)], 0, 0, 0),
        ([5 * DAY, 6 * DAY], [Emptied(5 * DAY), Emptied(6 * DAY)], 2, 0, 0),
    ],
)
def test_emptyings_are_found_within_a_day_and_a_half(told, truth, found, false, missed):
    score = BinScore()
    score.match(told, truth, 0, END)
    assert (score.found, score.false, len(score.missed)) == (found, false, missed)
    assert score.emptyings == found + missed


BOX = Inside(1500, 500)


def days(unit, emptied_on=10, count=20, **marks):
    """Let a container rise by 40 mm a day from the floor, and be emptied once."""
    for hour in range(count * 24):
        full_h = hour - emptied_on * 24 if hour >= emptied_on * 24 else hour
        distance = round(1490 - full_h * 40 / 24)
        is_first = hour == emptied_on * 24
        unit.take(
            hour * HOUR,
            distance,
            (1500 - distance) / 10,
            **{name: value(is_first) for name, value in marks.items()},
        )
    return unit


@pytest.mark.parametrize("marks", [{}, {"emptied": bool}], ids=["by level", "marked"])
def test_emptyings_are_compared_with_the_true_level_or_the_mark(marks):
    unit = days(BinUnit(BOX), **marks)
    assert [it.at_ms for it in unit.emptyings] == [10 * DAY]
    score = unit.score()
    assert (score.emptyings, score.found, score.false) == (1, 1, 0)
    assert score.mae() < 0.1
    assert (score.good, score.rejected) == (480, 0)


def test_a_list_of_emptyings_counts_before_the_marks():
    score = days(BinUnit(BOX, [Emptied(4 * DAY)]), emptied=bool).score()
    assert (score.emptyings, score.found, score.false) == (1, 0, 1)


def test_without_truth_there_are_no_scores():
    unit = BinUnit(BOX)
    for hour in range(50):
        unit.take(hour * HOUR, 1400 - hour)
    score = unit.score()
    assert (score.mae(), score.false_reject_pct(), score.recall(), score.precision()) == (None,) * 4


def test_no_echo_and_beyond_the_floor_have_their_reasons_and_no_level_of_their_own():
    unit = BinUnit(BOX)
    unit.take(0, 1000)
    silent, far = unit.take(HOUR, None), unit.take(2 * HOUR, 1700)
    assert (silent.reading.quality, silent.reading.reason, silent.raw_pct) == (1, "no_echo", None)
    assert (far.reading.quality, far.reading.reason) == (2, "beyond_floor")
    assert silent.fill_pct == far.fill_pct == 50.0
    assert unit.reasons == {"no_echo": 1, "beyond_floor": 1}


MINUTE = 60_000


@pytest.mark.parametrize(
    ("told", "truth", "found", "false", "latencies"),
    [
        ([], [], 0, 0, []),
        ([(10, True)], [(10, True)], 1, 0, [0]),
        ([(14, True)], [(10, True)], 1, 0, [4]),
        ([(8, True)], [(10, True)], 1, 0, [0]),  # the truth was noted late
        ([(7, True)], [(10, True)], 0, 1, []),
        ([(25, True)], [(10, True)], 0, 1, []),
        ([(10, False)], [(10, True)], 0, 1, []),
        ([(20, True)], [(10, True), (15, False)], 0, 1, []),
        ([(11, True), (17, False)], [(10, True), (15, False)], 2, 0, [1, 2]),
        ([(11, True), (12, False), (13, True)], [(10, True)], 1, 2, [1]),
        ([], [(10, True), (15, False)], 0, 0, []),
    ],
)
def test_changes_are_found_before_the_next_one(told, truth, found, false, latencies):
    score = BayScore()
    match(
        [Change(at * MINUTE, occupied) for at, occupied in told],
        [Change(at * MINUTE, occupied) for at, occupied in truth],
        score,
    )
    assert (score.found, score.false, score.changes) == (found, false, len(truth))
    assert score.latencies_ms == [it * MINUTE for it in latencies]


def test_what_is_uncertain_is_not_right_and_both_states_count_the_same():
    score = BayScore()
    score.held(True, OCCUPIED, 8 * HOUR)
    score.held(True, UNCERTAIN, HOUR)
    score.held(True, FREE, HOUR)
    score.held(False, FREE, 99 * HOUR)
    score.held(False, OCCUPIED, HOUR)
    assert score.balanced_accuracy() == pytest.approx((0.8 + 0.99) / 2)
    assert score.summary()["uncertain_h"] == 1


def test_a_bay_that_was_never_free_has_no_balanced_accuracy():
    score = BayScore()
    assert score.summary() is None
    score.held(True, OCCUPIED, HOUR)
    assert score.summary()["balanced_accuracy"] is None
