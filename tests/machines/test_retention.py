"""Which uplinks go, by what they tell and how old they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.config_service import RetentionConfig
from stoep_gateway.keeping.retention import Rule, StoredUplink, Walk, rules

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW = 1_800_000_000_000 // DAY_MS * DAY_MS + 12 * HOUR_MS
EUI = bytes(7) + b"\1"
OTHER = bytes(7) + b"\2"
BAY = Rule("bay", frozenset({11}), 48 * HOUR_MS)
DAILY = Rule("bin", frozenset({10, 15}), 30 * DAY_MS, daily=True)


def uplink(uplink_id, age_ms, f_port=11, dev_eui=EUI, undecodable=None):
    return StoredUplink(uplink_id, NOW - age_ms, dev_eui, f_port, undecodable)


def sweep(rule, uplinks, window=1000, now=NOW, mark=0):
    """Return what goes, however many steps it takes."""
    walk, gone = Walk(rule, mark), []
    while True:
        rows = [it for it in uplinks if it.uplink_id > walk.mark][:window]
        step = walk.take(rows, window, now)
        gone += step.forgotten
        if not step.more:
            return gone, walk.mark


@pytest.mark.parametrize(
    ("f_port", "age_h", "goes_by"),
    [
        (11, 47, []),
        (11, 48, []),
        (11, 49, ["bay"]),
        (11, 24 * 401, ["bay", "all"]),
        (10, 24 * 89, ["bin"]),
        (15, 24 * 29, []),
        (15, 24 * 31, ["bin"]),
        (12, 24 * 90, []),
        (12, 24 * 91, ["device"]),
        (14, 24 * 91, ["device"]),
        (None, 24 * 91, ["device"]),
        (200, 24 * 399, []),
        (200, 24 * 401, ["all"]),
    ],
)
def test_the_rules_of_each_kind(f_port, age_h, goes_by):
    wanted = rules(RetentionConfig(bin_daily_after_days=30))
    age_ms = age_h * HOUR_MS
    # The first of its day is kept by the daily rule; this is the second.
    uplinks = [uplink(1, age_ms, f_port), uplink(2, age_ms, f_port)]
    assert sorted(goes_by) == sorted(rule.name for rule in wanted if 2 in sweep(rule, uplinks)[0])


def test_nothing_is_thinned_unless_it_is_asked_for():
    assert {rule.name for rule in rules(RetentionConfig())} == {"bay", "device", "all"}


def test_a_walk_stops_at_what_is_young_and_goes_on_there():
    uplinks = [uplink(n, (60 - n) * HOUR_MS) for n in range(1, 60)]
    assert sweep(BAY, uplinks) == (list(range(1, 12)), 11)
    assert sweep(BAY, uplinks, mark=11) == ([], 11)
    assert sweep(BAY, uplinks, now=NOW + HOUR_MS, mark=11) == ([12], 12)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 1000])
def test_steps_of_any_size_forget_the_same(window):
    uplinks = [
        uplink(n, (100 * DAY_MS) - n * HOUR_MS, 10, EUI if n % 3 else OTHER) for n in range(1, 1500)
    ]
    assert sweep(DAILY, uplinks, window) == sweep(DAILY, uplinks)


def test_one_a_day_of_each_device_is_kept():
    uplinks = [
        uplink(2 * hour + place, 100 * DAY_MS - hour * HOUR_MS, 10, dev_eui)
        for hour in range(72)
        for place, dev_eui in ((1, EUI), (2, OTHER))
    ]
    gone, _ = sweep(DAILY, uplinks)
    kept = [it for it in uplinks if it.uplink_id not in gone]
    days = [(it.dev_eui, it.received_utc_ms // DAY_MS) for it in kept]
    assert len(days) == len(set(days)) == 2 * 4  # the first and the last day are halves


def test_what_cannot_be_decoded_is_not_the_one_of_its_day():
    uplinks = [uplink(1, 40 * DAY_MS, 10, undecodable="length"), uplink(2, 40 * DAY_MS, 10)]
    assert sweep(DAILY, uplinks)[0] == [1]


def test_an_uplink_from_the_future_goes_with_the_next_one():
    future = uplink(2, -3000 * DAY_MS)
    assert sweep(BAY, [uplink(1, 50 * HOUR_MS), future, uplink(3, 49 * HOUR_MS)])[0] == [1, 2, 3]
    young = uplink(3, 47 * HOUR_MS)
    assert sweep(BAY, [uplink(1, 50 * HOUR_MS), future, young]) == ([1], 1)


@pytest.mark.parametrize("window", [2, 10])
def test_a_clock_that_is_behind_forgets_nothing(window):
    uplinks = [uplink(n, (100 - n) * HOUR_MS) for n in range(1, 100)]
    assert sweep(BAY, uplinks, window, now=NOW - 3000 * DAY_MS) == ([], 0)


def test_an_uplink_with_a_time_long_past_takes_no_other_along():
    wrong = uplink(2, 18_000 * DAY_MS)
    uplinks = [uplink(1, 50 * HOUR_MS), wrong, uplink(3, HOUR_MS), uplink(4, HOUR_MS)]
    assert sweep(BAY, uplinks) == ([1, 2], 2)


@given(
    st.lists(st.tuples(st.integers(-100, 100), st.sampled_from([10, 11, 12, None])), max_size=60),
    st.integers(1, 10),
)
def test_nothing_young_ever_goes(ages_h, window):
    uplinks = [uplink(n, age * HOUR_MS, port) for n, (age, port) in enumerate(ages_h, 1)]
    gone, mark = sweep(BAY, uplinks, window)
    for it in uplinks:
        if it.uplink_id in gone:
            assert it.f_port == 11
            assert it.uplink_id <= mark
            assert not NOW - 48 * HOUR_MS <= it.received_utc_ms <= NOW
