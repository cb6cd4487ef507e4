"""Lives with cuts of the power and resets, also in what follows one; every point in turn is
tests/machines/test_device_power_cut.py's.
"""

from device_cuts import World, live, script


def lives(region):
    cuts = 0
    for seed in range(2):
        world = World(seed, region=region)
        world.full_once_in = seed * 6
        cuts += live(world, script(region), 10, 2)
    assert cuts >= 12, cuts


def test_container_in_europe_survives():
    lives("EU868")


def test_container_in_america_survives():
    lives("US915")
