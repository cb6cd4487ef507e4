"""What ADR decides, held against the figures that other network servers publish."""

import random

import pytest
from stoep_gateway.lns.adr import FRAMES, AdrSettings, History, Setting, decide
from stoep_protocol.lorawan import regions

EU868 = regions.EU868
SETTINGS = AdrSettings(margin_db=10)


def heard(setting, snrs_db, *, f_cnts=None):
    """Return the history of frames with these signals."""
    history = History()
    for f_cnt, snr_db in zip(f_cnts or range(len(snrs_db)), snrs_db, strict=True):
        history.add(f_cnt, snr_db, setting)
    return history


def snr_for(dr, steps, margin_db=10.0):
    """Return a signal that leaves so many steps of 3 dB beyond the margin, and a little."""
    floor_db = {0: -20, 1: -17.5, 2: -15, 3: -12.5, 4: -10, 5: -7.5}[dr]
    return floor_db + margin_db + 3 * steps + (0.1 if steps >= 0 else -0.1)


# The Things Stack's documentation, "Adaptive Data Rate", works three cases: a best of 7 dB at DR3
# with a margin of 15 dB gives DR4, of 18 dB nothing, of 25 dB one step of power.
@pytest.mark.parametrize(
    ("margin_db", "expected"),
    [(15, Setting(4, 1, 1)), (18, Setting(3, 1, 1)), (25, Setting(3, 0, 1))],
)
def test_the_cases_of_the_things_stacks_documentation(margin_db, expected):
    now = Setting(3, 1, 1)
    history = heard(now, [0, 7, 3, 5, 1] * 4)
    assert decide(history, now, EU868, AdrSettings(margin_db=margin_db)) == expected


# ChirpStack's table of steps (its default algorithm's tests), with TXPower 0..5 there, 0..7 here.
@pytest.mark.parametrize(
    ("steps", "dr", "tx_power", "expected"),
    [
        (0, 3, 1, (3, 1)),
        (1, 4, 1, (5, 1)),
        (1, 5, 1, (5, 2)),
        (2, 3, 1, (5, 1)),
        (2, 4, 1, (5, 2)),
        (2, 5, 1, (5, 3)),
        (2, 5, 7, (5, 7)),
        (-1, 5, 1, (5, 0)),
    ],
)
def test_chirpstacks_table_of_steps(steps, dr, tx_power, expected):
    now = Setting(dr, tx_power, 1)
    decided = decide(heard(now, [snr_for(dr, steps)] * FRAMES), now, EU868, SETTINGS)
    assert (decided.dr, decided.tx_power) == expected


@pytest.mark.parametrize(
    ("steps", "dr", "tx_power", "expected"),
    [(-1, 4, 0, (3, 0)), (-2, 5, 1, (4, 0)), (-10, 4, 2, (0, 0)), (-3, 0, 0, (0, 0))],
)
def test_a_link_too_weak_at_full_power_gets_a_lower_data_rate(steps, dr, tx_power, expected):
    now = Setting(dr, tx_power, 1)
    decided = decide(heard(now, [snr_for(dr, steps)] * FRAMES), now, EU868, SETTINGS)
    assert (decided.dr, decided.tx_power) == expected


def test_a_step_down_leaves_no_reason_for_a_step_up():
    for tenths in range(-200, 100):
        history = heard(Setting(5, 0, 1), [tenths / 10] * FRAMES)
        lower = decide(history, Setting(5, 0, 1), EU868, SETTINGS)
        again = decide(heard(lower, [tenths / 10] * FRAMES), lower, EU868, SETTINGS)
        assert again.dr <= lower.dr


@pytest.mark.parametrize("frames", [0, 1, 4, 19])
def test_nothing_gets_faster_before_twenty_frames(frames):
    now = Setting(0, 0, 1)
    assert decide(heard(now, [10.0] * frames), now, EU868, SETTINGS) is now


@pytest.mark.parametrize(
    ("frames", "steps", "expected"),
    [(4, -9, 3), (5, -1, 3), (5, -2, 2), (5, -3, 1), (19, -2, 2), (20, -2, 1)],
)
def test_an_emergency_does_not_wait_for_twenty_frames(frames, steps, expected):
    now = Setting(3, 3, 1)
    decided = decide(heard(now, [snr_for(3, steps)] * frames), now, EU868, SETTINGS)
    assert decided == Setting(3, expected, 1)


def test_only_the_last_twenty_frames_count():
    now = Setting(3, 0, 1)
    assert decide(heard(now, [9.0] + [-3.0] * 20), now, EU868, SETTINGS) is now
    assert decide(heard(now, [9.0] + [-3.0] * 19), now, EU868, SETTINGS) != now


@pytest.mark.parametrize("other", [Setting(4, 0, 1), Setting(3, 1, 1)])
def test_frames_of_another_data_rate_or_power_are_not_mixed_in(other):
    now = Setting(3, 0, 1)
    history = heard(other, [9.0] * 20)
    for f_cnt in range(20, 39):
        history.add(f_cnt, 9.0, now)
        assert decide(history, now, EU868, SETTINGS) is now
    history.add(39, 9.0, now)
    assert decide(history, now, EU868, SETTINGS).dr > 3


def test_the_range_of_data_rates():
    now = Setting(2, 0, 1)
    strong, weak = heard(now, [10.0] * 20), heard(now, [-25.0] * 20)
    bounds = AdrSettings(margin_db=10, min_dr=1, max_dr=3)
    assert decide(strong, now, EU868, bounds).dr == 3
    assert decide(weak, now, EU868, bounds).dr == 1
    above = Setting(5, 2, 1)
    assert decide(History(), above, EU868, bounds) == Setting(3, 2, 1)
    below = Setting(0, 0, 1)
    assert decide(heard(below, [-12.0] * 19), below, EU868, bounds) is below
    assert decide(heard(below, [-9.0] * 20), below, EU868, bounds) == Setting(1, 0, 1)


@pytest.mark.parametrize(("region", "max_dr"), [("US915", 3), ("AU915", 5), ("IN865", 5)])
def test_a_region_bounds_what_is_asked_for(region, max_dr):
    rules = regions.by_name(region)
    now = Setting(0, 0, 1)
    for _ in range(10):
        now = decide(heard(now, [20.0] * 20), now, rules, AdrSettings(10, 0, 15))
    assert now == Setting(max_dr, rules.max_tx_power, 1)


def test_a_dwell_time_keeps_the_slowest_data_rates_out():
    as923 = regions.by_name("AS923")
    now = Setting(3, 0, 1)
    history = heard(now, [-30.0] * 20)
    assert decide(history, now, as923, SETTINGS, dwell=True).dr == 2
    assert decide(history, now, as923, SETTINGS, dwell=False).dr == 0


def counters(lost, received=FRAMES):
    """Return counters of so many frames with others lost between them, evenly."""
    f_cnts, f_cnt = [], 0
    gaps = [0] * received
    for at in range(lost):
        gaps[received - 1 - at * (received - 1) // lost] += 1
    for gap in gaps:
        f_cnt += gap
        f_cnts.append(f_cnt)
        f_cnt += 1
    return f_cnts


# Rows of ChirpStack's table, the share taken of all frames sent: 5 % of 20, 3 of 63, 6 of 66 ...
@pytest.mark.parametrize(
    ("lost", "expected"),
    [(0, (1, 1, 2)), (3, (1, 1, 2)), (6, (1, 2, 3)), (15, (2, 3, 3)), (27, (3, 3, 3))],
)
@pytest.mark.parametrize("nb_trans", [1, 2, 3])
def test_repetitions_by_loss(lost, expected, nb_trans):
    now = Setting(5, 0, nb_trans)
    history = heard(now, [snr_for(5, 0)] * 60, f_cnts=counters(lost, 60))
    assert history.loss_pct(60) == pytest.approx(100 * lost / (60 + lost))
    assert decide(history, now, EU868, SETTINGS) == Setting(5, 0, expected[nb_trans - 1])


@pytest.mark.parametrize(("lost", "expected"), [(0, 2), (2, 2), (3, 3), (9, 3)])
def test_more_repetitions_after_twenty_frames_but_not_fewer(lost, expected):
    now = Setting(5, 0, 2)
    history = heard(now, [snr_for(5, 0)] * 20, f_cnts=counters(lost))
    assert decide(history, now, EU868, SETTINGS) == Setting(5, 0, expected)


def test_repetitions_of_a_frame_are_not_counted():
    now = Setting(5, 0, 2)
    history = History()
    for f_cnt in range(0, 38, 2):
        for snr_db in (-5.0, 30.0):
            history.add(f_cnt, snr_db, now)
    assert history.frames == 19
    assert history.snr_db == -5.0


def test_new_repetitions_begin_a_new_count():
    history = heard(Setting(5, 0, 1), [3.0] * 20, f_cnts=counters(6))
    history.add(100, 3.0, Setting(5, 0, 2))
    assert history.loss_pct() is None
    assert history.frames == 20


def test_an_outage_of_the_gateway_is_no_loss():
    now = Setting(5, 0, 1)
    before, after = range(100, 119), range(300, 320)
    history = heard(now, [3.0] * 39, f_cnts=[*before, *after])
    assert history.loss_pct() == 0
    history = heard(now, [3.0] * 20, f_cnts=[*before, 131])
    assert history.loss_pct() == pytest.approx(100 * 12 / 32)


def test_late_tries_of_confirmed_frames_are_no_move():
    now = Setting(5, 0, 1)
    history = heard(now, [3.0])
    assert [history.strays(f, confirmed=True, lower=True) for f in (1, 2, 3)] == [False] * 3
    history.add(4, 3.0, now)
    assert [history.strays(f, confirmed=True, lower=True) for f in (5, 6, 7, 8)] == [
        False,
        False,
        False,
        True,
    ]
    assert history.strays(9, confirmed=False, lower=True)
    assert history.strays(10, confirmed=True, lower=False)


def test_a_fading_link_is_not_told_to_and_fro():
    chance = random.Random(3)
    for mean_db in range(-12, 9):
        now, changes, history = Setting(0, 0, 1), [], History()
        for f_cnt in range(2000):
            fading_db = chance.gauss(0, 4)
            power_db = mean_db + fading_db - 2 * now.tx_power
            sf, _ = EU868.data_rate(now.dr)
            if power_db > -7.5 - 2.5 * (sf - 7):
                history.add(f_cnt, min(11.0, power_db), now)
                decided = decide(history, now, EU868, SETTINGS)
                if decided != now:
                    changes.append(f_cnt)
                    now = decided
        assert len(changes) < 40, f"{mean_db} dB: {len(changes)} changes in 2000 frames"
