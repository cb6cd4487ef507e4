"""Some weeks of a device's life on the real MicroPython; bench/year.py lives a whole year."""

import pytest
from lorawan_year import Wakes, Year
from stoep_hardware import micropython_runtime

pytestmark = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)


def test_a_device_lives_for_three_weeks_with_power_losses_and_an_outage():
    with Wakes() as wakes:
        year = Year(wakes, 21)
        world = year.run()
    year.check()
    assert world.counts["wakes"] >= 21 * 24
    assert world.power_losses == 3
