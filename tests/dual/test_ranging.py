"""What distance sensors say, and what it means."""

from stoep_firmware.drivers import load, maxbotix
from stoep_firmware.drivers.echo import echo_mm


def test_only_the_sensor_that_is_there_is_loaded():
    driver = load("maxbotix")
    assert driver.sample is maxbotix.sample
    assert driver.NEAREST_MM < driver.FARTHEST_MM


def test_echoes_come_faster_through_warm_air():
    # Two metres and back at 343.42 m/s, as the formula says for 20 degrees.
    assert echo_mm(11648, 20) == 2000
    assert echo_mm(11648, None) == 2000
    assert echo_mm(11648, 0) == 1929
    assert echo_mm(11648, -20) == 1858
    assert echo_mm(11648, 60) == 2141
    assert echo_mm(0, 20) == 0


def test_maxbotix_frames_are_found_among_other_octets():
    stream = (
        b"4\rR12\x804\rR1234\rRoHS 1.8b090  0713\rPN:MB7386\rR0301 \r"
        b"R12R5000\r\xffR300\rR0300\rR5000\r1300\rR\rR12345\rR765\rR12"
    )
    expected = [1234, 301, 0, 2987, 1, 0, 0]
    whole = maxbotix.Frames()
    whole.feed(stream)
    assert whole.distances_mm == expected, whole.distances_mm
    assert whole.octets == len(stream)
    single = maxbotix.Frames()
    for at in range(len(stream)):
        single.feed(stream[at : at + 1])
    assert single.distances_mm == expected
    single.feed(b"34\r")
    assert single.distances_mm[-1] == 1234


def test_noise_without_an_end_does_not_gather():
    frames = maxbotix.Frames()
    for _ in range(100):
        frames.feed(b"\x00" * 100)
    frames.feed(b"\rR1234\r")
    assert frames.distances_mm == [1234]
