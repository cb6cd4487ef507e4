"""What the battery still allows, from full to flat and back."""

from stoep_firmware import energy


def levels(*millivolts):
    level, doubted = 0, False
    found = []
    for battery_mv in millivolts:
        level, doubted = energy.level(level, doubted, battery_mv, energy.LEVELS_MV)
        found.append(level)
    return found


def test_a_cell_that_empties_goes_down_level_by_level():
    assert levels(3600, 3290, 3290, 3090, 3090, 2890, 2890) == [0, 0, 1, 1, 2, 2, 3]


def test_one_low_reading_changes_nothing():
    assert levels(3600, 2500, 3600, 2500, 3600) == [0, 0, 0, 0, 0]


def test_a_cell_that_is_flat_at_once_goes_down_at_once():
    assert levels(3600, 2500, 2500) == [0, 0, 3]


def test_a_cell_in_the_cold_does_not_flicker():
    assert levels(3290, 3290, 3310, 3390, 3290, 3399, 3400) == [0, 1, 1, 1, 1, 1, 0]


def test_a_new_cell_ends_every_saving():
    assert levels(2500, 2500, 3600) == [0, 3, 0]
    assert levels(2500, 2500, 3150) == [0, 3, 2]


def test_without_a_measurement_nothing_is_saved():
    assert levels(None, None) == [0, 0]
    assert levels(2500, 2500, None) == [0, 3, 0]


def test_levels_of_another_cell():
    level, doubted = energy.level(0, True, 3500, (3550, 3450, 3300))
    assert (level, doubted) == (1, False)


def gauge(battery_mv):
    return energy.gauge(battery_mv, energy.LEVELS_MV)


def test_gauge_is_that_of_dev_status():
    assert gauge(None) == 255
    assert gauge(3600) == 254
    assert gauge(3400) == 254
    assert gauge(2900) == 1
    assert gauge(0) == 1
    assert 120 <= gauge(3150) <= 135
