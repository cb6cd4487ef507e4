"""Distances and fields to readings and states; frames out of a serial stream."""

from stoep_firmware.drivers.a02yyuw import Frames
from stoep_firmware.sensing.bay import Bay, axis_threshold, settled
from stoep_firmware.sensing.bin import reading
from stoep_protocol import schema


def test_burst_becomes_one_reading():
    weak, unstable, blocked = schema.ECHO_WEAK, schema.ECHO_UNSTABLE, schema.ECHO_BLOCKED
    for distances_mm, expected in (
        ([800, 801, 799, 800, 802], (800, 4, 0)),
        ([800, 801, 4000, 800, 802], (801, 4, 0)),  # one stray
        ([800, 850, 799, 840, 802], (802, 2, 0)),
        ([800, 1850, 799, 1840, 802], (802, 1, unstable)),
        ([800, 801, 799, 800], (800, 3, 0)),
        ([800, 801], (800, 2, weak)),
        ([800, 1000], (900, 1, weak | unstable)),
        ([], (None, 0, 0)),
        ([0, 0, 0, 0, 0], (None, 0, 0)),  # the sensor says that there was no echo
        ([4501, 0, 0, 0, 0], (None, 0, weak)),  # there is something, beyond the range
        ([30, 30, 25, 30, 1], (None, 0, blocked)),
        ([30, 12, 25, 500, 501], (500, 2, weak | blocked)),
        ([4501, 5000, 4500, 31, 31], (31, 1, unstable)),
    ):
        assert reading(distances_mm, 5, 31, 4500) == expected, distances_mm


def test_frames_are_found_in_a_dirty_stream():
    stream = b"\x03\xff\xff\x03\x20\x22\xff\x03\x21\x23\xff\x03\x21\x24\x00\xff\xff\x01\xff"
    #          rest   FF 0320 sum 22  FF 0321 sum 23  wrong sum        noise      FF FF01: sum FF
    expected = [0x0320, 0x0321, 0xFF01]
    whole = Frames()
    whole.feed(stream)
    assert whole.distances_mm == expected
    assert whole.octets == len(stream)
    single = Frames()
    for at in range(len(stream)):
        single.feed(stream[at : at + 1])
    assert single.distances_mm == expected


THRESHOLD = 445  # counts: 6.5 uT


def bay_after(*fields):
    bay = Bay()
    now_ms = 0
    changes = []
    for field in fields:
        now_ms += 1_000_000
        if bay.update(field, now_ms, THRESHOLD):
            changes.append((now_ms // 1_000_000, bay.state))
    return bay, changes


def test_car_comes_and_goes():
    empty = (1400, -170, 1745)
    car = (1900, -170, 2245)
    bay, changes = bay_after(empty, empty, car, car, empty, car)
    assert changes == [(3, schema.OCCUPIED), (5, schema.FREE), (6, schema.OCCUPIED)]
    assert bay.change_count == 3
    assert bay.since_ms == 6_000_000
    assert bay.previous_ms == 1_000_000


def test_duration_before_the_first_change_is_not_known():
    bay, changes = bay_after((0, 0, 0), (1000, 0, 0))
    assert len(changes) == 1
    assert bay.previous_ms == -1


def test_drift_of_an_empty_bay_is_no_car():
    fields = [(1400 + 30 * step, -170 - 30 * step, 1745) for step in range(60)]
    bay, changes = bay_after(*fields)
    assert changes == []
    assert bay.calibration() == schema.CALIBRATION_DONE


def test_drift_under_a_long_stay_does_not_hide_the_leaving():
    # 4 uT on every axis, 7 in all: over the threshold for coming.
    drift = 275
    fields = [(0, 0, 0), (2000, 0, 0), (2000 + drift, drift, drift), (drift, drift, drift)]
    _, changes = bay_after(*fields)
    assert changes == [(2, schema.OCCUPIED), (4, schema.FREE)]


def test_hysteresis_keeps_a_field_at_the_edge_quiet():
    fields = [(0, 0, 0)] + [(THRESHOLD + (20 if step % 2 else -20), 0, 0) for step in range(20)]
    _, changes = bay_after(*fields)
    assert len(changes) <= 1


def test_neighbours_car_is_no_car():
    _, changes = bay_after((0, 0, 0), (240, 0, 0), (240, 0, 0), (0, 0, 0), (240, 0, 0))
    assert changes == []


def test_bay_survives_deep_sleep():
    bay, _ = bay_after((1, -2, 30000), (1000, -2, -30000))
    again = Bay()
    again.unpack(bay.pack())
    assert again.pack() == bay.pack()
    assert (again.state, again.change_count, again.since_ms) == (1, 1, 2_000_000)
    again.forget_times(5)
    assert (again.since_ms, again.previous_ms) == (5, -1)
    again.update((1, -2, 30000), 9_000, THRESHOLD)
    assert again.previous_ms == -1


def test_moving_field_is_not_settled():
    still = [(1000, -500, 20), (1010, -505, 22), (1004, -490, 18)]
    assert settled(still, THRESHOLD) == (1004, -499, 20)
    assert settled(still + [(1000, -500, 400)], THRESHOLD) is None


def test_change_over_the_threshold_shows_on_an_axis():
    for change in ((445, 0, 0), (0, 315, 315), (257, -257, 257)):
        assert max([abs(value) for value in change]) >= axis_threshold(THRESHOLD)


def looks(bay, *fields, start_ms=0, step_ms=1_000_000, temperature=0):
    """Take in fields in turn; returns the states after each."""
    states = []
    for number, field in enumerate(fields):
        bay.update(field, start_ms + number * step_ms, THRESHOLD, temperature)
        states.append(bay.state)
    return states


def test_weak_level_change_is_the_next_bays_car_until_it_stays():
    bay = Bay()
    for field, state, flags in (
        ((0, 0, 1000), schema.FREE, 0),
        ((500, 0, 1100), schema.FREE, schema.NEIGHBOUR_SUSPECTED),
        ((510, 0, 1100), schema.FREE, schema.NEIGHBOUR_SUSPECTED),  # it stays, and is learned
        ((510, 0, 1600), schema.OCCUPIED, 0),  # as strong, but upright
    ):
        bay.update(field, 0, THRESHOLD)
        assert (bay.state, bay.flags) == (state, flags), field
    strong = Bay()
    assert looks(strong, (0, 0, 0), (900, 0, 0)) == [schema.FREE, schema.OCCUPIED]


def test_car_that_is_back_at_once_was_not_away():
    bay = Bay()
    empty, car, other = (0, 0, 1000), (800, 0, 2500), (-900, 0, 3000)
    bay.update(empty, 0, THRESHOLD)
    bay.update(car, 1_000_000, THRESHOLD)
    bay.update(empty, 2_000_000, THRESHOLD)
    bay.update(car, 2_060_000, THRESHOLD)
    assert (bay.state, bay.since_ms, bay.previous_ms) == (schema.OCCUPIED, 1_000_000, -1)
    assert bay.change_count == 1
    bay.update(empty, 3_000_000, THRESHOLD)
    assert bay.previous_ms == 2_000_000
    bay.update(other, 3_060_000, THRESHOLD)
    assert (bay.since_ms, bay.previous_ms, bay.change_count) == (3_060_000, 60_000, 3)


def test_leaving_is_the_arrival_backwards_whatever_has_drifted():
    bay = Bay()
    car = (600, 0, 800)
    looks(bay, (0, 0, 0), car)
    drift = 0
    for step in range(20):  # 1400 counts, more than the car itself
        drift = 70 * step
        bay.update((600 + drift, 0, 800), 2_000_000 + step * 3_600_000, THRESHOLD)
        assert bay.state == schema.OCCUPIED
    bay.update((drift, 0, 0), 80_000_000, THRESHOLD)
    assert bay.state == schema.FREE


def test_baseline_under_a_car_follows_the_temperature_only_if_it_was_learned_over_a_range():
    for swing, expected in ((60, schema.FREE), (8, schema.OCCUPIED)):
        bay = Bay()
        for hour in range(200):
            warm = (hour * 7 % (2 * swing + 1)) - swing
            bay.update((4 * warm, -3 * warm, 1000), hour * 3_600_000, THRESHOLD, warm)
        now_ms = 201 * 3_600_000
        bay.update((400, 0, 1700), now_ms, THRESHOLD, 0)
        assert bay.state == schema.OCCUPIED
        # It grows warmer by 18 degrees in small steps under the car, which then goes in two.
        for step in range(1, 19):
            warm = 8 * step
            now_ms += 3_600_000
            bay.update((400 + 4 * warm, -3 * warm, 1700), now_ms, THRESHOLD, warm)
        bay.update((200 + 4 * warm, -3 * warm, 1350), now_ms + 1_000, THRESHOLD, warm)
        bay.update((4 * warm, -3 * warm, 1000), now_ms + 5_000, THRESHOLD, warm)
        assert bay.state == expected, swing


def test_bay_calibrated_under_a_car_finds_its_empty_field():
    bay = Bay()
    under, empty, other = (900, 0, 2500), (0, 0, 1000), (-900, 700, 3000)
    states = looks(bay, under, empty, other, empty, other, empty)
    assert states == [0, 1, 1, 0, 1, 0]


def test_change_under_a_car_that_no_car_explains_is_uncertain_until_it_is_undone():
    bay = Bay()
    empty, car, odd = (0, 0, 1000), (800, 0, 2500), (2200, 900, 2500)
    looks(bay, empty, car, car)
    assert bay.told() == schema.OCCUPIED
    bay.update(odd, 9_000_000, THRESHOLD)
    assert (bay.told(), bay.state, bay.flags) == (
        schema.UNCERTAIN,
        schema.OCCUPIED,
        schema.BASELINE_DRIFTED,
    )
    bay.update(car, 9_010_000, THRESHOLD)
    assert (bay.told(), bay.flags) == (schema.OCCUPIED, 0)
    bay.update(empty, 10_000_000, THRESHOLD)
    assert bay.told() == schema.FREE


def test_bay_that_is_free_for_long_takes_its_field_as_it_is():
    bay = Bay()
    looks(bay, (0, 0, 0), (100, 0, 0))
    assert bay.kept[0] == 50
    bay.update((400, 0, 0), 50_000_000, THRESHOLD)
    assert bay.kept[0] == 400
