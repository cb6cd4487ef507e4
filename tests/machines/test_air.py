"""What the simulated air delivers, and above all what it does not.

With both ends of a link wrong in the same way every simulation passes and nothing joins in the
field. So each parameter has its own test: one end changes, nothing arrives.
"""

import math
from dataclasses import replace

import pytest
from stoep_hardware.air import (
    SYNC_WORD_PRIVATE,
    SYNC_WORD_PUBLIC,
    Air,
    Frame,
    Listen,
    sensitivity_dbm,
    symbol_us,
)
from stoep_hardware.engine import Engine

UPLINK = Listen(868_100_000, 7, 125_000, SYNC_WORD_PUBLIC, iq_inverted=False)
DOWNLINK = replace(UPLINK, iq_inverted=True)


class Ear:
    """A radio that writes down what it hears."""

    def __init__(self, x_m=0.0, y_m=0.0):
        self.position_m = (x_m, y_m)
        self.preambles = []
        self.frames = []

    def on_preamble(self, frame, t_us):
        self.preambles.append(t_us)

    def on_frame(self, frame, intact, rssi_dbm, snr_db, t_us):
        self.frames.append((frame.payload, intact, rssi_dbm, snr_db, t_us))

    @property
    def heard(self):
        return [payload for payload, intact, *_ in self.frames if intact]


class Field:
    """An engine and an air without chance, 128.95 dB at a kilometre."""

    def __init__(self, **air):
        self.engine = Engine()
        self.air = Air(self.engine, **{"shadowing_db": 0.0, "fading_db": 0.0} | air)

    def ear(self, x_m, *listens, demodulators=1):
        ear = Ear(x_m)
        self.air.add(ear, demodulators=demodulators)
        if listens:
            self.air.listen(ear, listens)
        return ear

    def send_at(self, t_us, sender, *, length_us=50_000, **changes):
        """Send, by default what UPLINK hears, at 14 dBm."""
        frame = Frame(
            freq_hz=868_100_000,
            sf=7,
            bw_hz=125_000,
            coding_rate=5,
            sync_word=SYNC_WORD_PUBLIC,
            iq_inverted=False,
            crc_on=True,
            preamble=8,
            implicit=False,
            power_dbm=14.0,
            payload=b"stoep",
            start_us=t_us,
            end_us=t_us + length_us,
        )
        frame = replace(frame, **changes)
        self.engine.at(t_us, lambda: self.air.transmit(sender, frame))
        return frame

    def run(self):
        self.engine.run_until(10_000_000)


@pytest.fixture
def field():
    return Field()


def test_a_frame_that_matches_arrives_at_its_end_with_its_strength(field):
    ear, sender = field.ear(0, UPLINK), field.ear(1000)
    frame = field.send_at(1_000, sender)
    field.run()
    ((payload, intact, rssi_dbm, snr_db, t_us),) = ear.frames
    assert (payload, intact, t_us) == (b"stoep", True, frame.end_us)
    assert rssi_dbm == pytest.approx(14 - 128.95)
    # Noise at 125 kHz with a noise figure of 6 dB: -117 dBm.
    assert snr_db == pytest.approx(rssi_dbm + 117.03, abs=0.01)


def test_the_preamble_is_noticed_five_symbols_in(field):
    ear, sender = field.ear(0, UPLINK), field.ear(1000)
    field.send_at(1_000, sender)
    field.run()
    assert ear.preambles == [1_000 + (5 * 1024)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"sync_word": SYNC_WORD_PRIVATE},
        {"iq_inverted": True},
        {"bw_hz": 250_000},
        {"sf": 8},
        {"freq_hz": 868_100_000 + 31_251},
        {"freq_hz": 868_300_000},
        {"implicit": True},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_one_wrong_parameter_and_nothing_arrives(field, wrong):
    ear, sender = field.ear(0, UPLINK), field.ear(1000)
    field.send_at(1_000, sender, **wrong)
    field.run()
    assert ear.preambles == []
    assert ear.frames == []


@pytest.mark.parametrize(
    "changed",
    [
        {"sync_word": SYNC_WORD_PRIVATE},
        {"iq_inverted": True},
        {"bw_hz": 250_000},
        {"sf": 8},
        {"freq_hz": 868_300_000},
        {"implicit": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_same_change_at_both_ends_does_arrive(field, changed):
    """Else the tests above would pass on an air that carries nothing."""
    ear, sender = field.ear(0, replace(UPLINK, **changed)), field.ear(1000)
    field.send_at(1_000, sender, **changed)
    field.run()
    assert ear.heard == [b"stoep"]


def test_a_quarter_of_the_bandwidth_off_is_still_heard(field):
    ear, sender = field.ear(0, UPLINK), field.ear(1000)
    field.send_at(1_000, sender, freq_hz=868_100_000 - 31_250)
    field.run()
    assert ear.heard == [b"stoep"]


def test_a_frame_without_crc_arrives_and_says_so(field):
    """The header tells the receiver; what to think of it is the receiver's affair."""
    told = []
    ear, sender = field.ear(0, UPLINK), field.ear(1000)
    ear.on_frame = lambda frame, intact, *_: told.append((frame.crc_on, intact))
    field.send_at(1_000, sender, crc_on=False)
    field.run()
    assert told == [(False, True)]


def test_who_does_not_listen_hears_nothing(field):
    deaf, stopped, sender = field.ear(0), field.ear(0, UPLINK), field.ear(1000)
    field.air.stop(stopped)
    field.send_at(1_000, sender)
    field.run()
    assert deaf.frames == stopped.frames == []


def test_the_sender_does_not_hear_itself(field):
    sender = field.ear(0, UPLINK)
    field.send_at(1_000, sender)
    field.run()
    assert sender.frames == []


@pytest.mark.parametrize(("symbols_late", "hears"), [(2.9, True), (3.2, False)])
def test_listening_has_to_begin_five_symbols_before_the_preamble_ends(field, symbols_late, hears):
    ear, sender = field.ear(0), field.ear(1000)
    field.send_at(1_000, sender)
    late_us = 1_000 + int(symbols_late * symbol_us(7, 125_000))
    field.engine.at(late_us, lambda: field.air.listen(ear, (UPLINK,)))
    field.run()
    assert (ear.heard == [b"stoep"]) is hears


def test_a_late_listener_notices_five_symbols_after_it_began(field):
    ear, sender = field.ear(0), field.ear(1000)
    field.send_at(1_000, sender)
    field.engine.at(3_000, lambda: field.air.listen(ear, (UPLINK,)))
    field.run()
    assert ear.preambles == [3_000 + 5_120]


def test_to_stop_listening_or_to_retune_loses_the_frame(field):
    stops, retunes, sender = field.ear(0, UPLINK), field.ear(0, UPLINK), field.ear(1000)
    field.send_at(1_000, sender)
    field.engine.at(30_000, lambda: field.air.stop(stops))
    field.engine.at(30_000, lambda: field.air.listen(retunes, (UPLINK,)))
    field.run()
    assert len(stops.preambles) == len(retunes.preambles) == 1
    assert stops.frames == retunes.frames == []


def test_a_radio_that_transmits_is_deaf_and_then_hears_again(field):
    talker, sender = field.ear(0, UPLINK), field.ear(1000)
    field.send_at(0, sender, payload=b"cut off")
    field.send_at(40_000, talker, payload=b"mine", freq_hz=869_525_000)
    field.send_at(60_000, sender, payload=b"missed")
    field.send_at(200_000, sender, payload=b"heard")
    field.run()
    assert [payload for payload, *_ in talker.frames] == [b"heard"]


@pytest.mark.parametrize("sf", range(7, 13))
def test_reach_grows_with_the_spreading_factor(field, sf):
    """A frame is heard down to the sensitivity of its spreading factor, and no further."""
    limit_dbm = sensitivity_dbm(sf, 125_000)
    reach_m = 1000 * 10 ** ((14 - limit_dbm - 128.95) / 23.2)
    listen = replace(UPLINK, sf=sf)
    near, far = field.ear(reach_m * 0.99, listen), field.ear(reach_m * 1.01, listen)
    sender = field.ear(0)
    field.send_at(0, sender, sf=sf, length_us=2_000_000)
    field.run()
    assert near.heard == [b"stoep"]
    assert far.frames == []


def test_sensitivities_are_those_of_the_data_sheet():
    figures = {7: -124.5, 8: -127, 9: -129.5, 10: -132, 11: -134.5, 12: -137}
    for sf, dbm in figures.items():
        assert sensitivity_dbm(sf, 125_000) == pytest.approx(dbm, abs=0.1)


def two_senders(field, difference_db, *, second_at_us=20_000, **second):
    """Two senders to one ear with three demodulators, the first `difference_db` stronger."""
    ear = field.ear(0, UPLINK, replace(UPLINK, sf=8), DOWNLINK, demodulators=3)
    strong = field.ear(100)
    weak = field.ear(100 * 10 ** (difference_db / 23.2))
    field.send_at(0, strong, payload=b"strong")
    field.send_at(second_at_us, weak, payload=b"weak", **second)
    field.run()
    return ear


def test_of_two_alike_frames_neither_survives(field):
    ear = two_senders(field, 3.0)
    assert ear.heard == []
    assert [intact for _, intact, *_ in ear.frames] == [False]


def test_a_frame_six_decibels_stronger_survives(field):
    ear = two_senders(field, 6.5)
    assert ear.heard == [b"strong"]


def test_a_damaged_frame_has_a_damaged_payload(field):
    ear = two_senders(field, 3.0)
    ((payload, intact, *_),) = ear.frames
    assert not intact
    assert len(payload) == len(b"strong")
    assert payload != b"strong"


def test_a_stronger_frame_destroys_one_that_is_being_received(field):
    ear = field.ear(0, UPLINK, demodulators=2)
    weak, strong = field.ear(1000), field.ear(100)
    field.send_at(0, weak, payload=b"weak")
    field.send_at(30_000, strong, payload=b"strong")
    field.run()
    assert ear.heard == [b"strong"]
    assert [intact for _, intact, *_ in ear.frames] == [False, True]


def test_a_chip_stays_with_the_frame_it_locked_on(field):
    ear = field.ear(0, UPLINK)
    weak, strong = field.ear(1000), field.ear(100)
    field.send_at(0, weak, payload=b"weak")
    field.send_at(30_000, strong, payload=b"strong")
    field.run()
    assert ear.heard == []
    assert len(ear.preambles) == 1


def test_a_frame_that_is_cut_off_arrives_with_nobody_and_disturbs_nobody(field):
    ear, sender = field.ear(0, UPLINK), field.ear(100)
    field.send_at(0, sender, payload=b"stoep")
    field.engine.at(49_999, lambda: field.air.cut_off(sender))
    field.send_at(49_999, field.ear(110), payload=b"other")
    field.send_at(200_000, sender, payload=b"noticed by nobody")
    field.engine.at(201_000, lambda: field.air.cut_off(sender))
    field.run()
    assert ear.heard == [b"other"]
    assert [intact for _, intact, *_ in ear.frames] == [False, True]
    assert len(ear.preambles) == 2


def test_a_frame_that_is_over_cannot_be_cut_off(field):
    ear, sender = field.ear(0, UPLINK), field.ear(1000)
    frame = field.send_at(0, sender)
    field.engine.at(frame.end_us, lambda: field.air.cut_off(sender))
    field.run()
    assert ear.heard == [b"stoep"]


def test_frames_one_after_the_other_do_not_collide(field):
    ear = two_senders(field, 0.0, second_at_us=50_000)
    assert ear.heard == [b"strong", b"weak"]


def test_frames_on_other_channels_do_not_collide(field):
    ear = field.ear(0, UPLINK, replace(UPLINK, freq_hz=868_300_000), demodulators=2)
    one, other = field.ear(100), field.ear(100)
    field.send_at(0, one, payload=b"one")
    field.send_at(0, other, payload=b"other", freq_hz=868_300_000)
    field.run()
    assert sorted(ear.heard) == [b"one", b"other"]


@pytest.mark.parametrize(("difference_db", "survives"), [(10.0, True), (12.0, False)])
def test_spreading_factors_are_nearly_orthogonal(field, difference_db, survives):
    """SF8 bears an SF7 frame 11 dB stronger than itself (Croce et al., 2018)."""
    ear = two_senders(field, difference_db, sf=8)
    assert (b"weak" in ear.heard) is survives
    assert b"strong" in ear.heard


def test_interference_adds_up(field):
    """Two frames 8 dB weaker are 5 dB weaker together."""
    ear = field.ear(0, UPLINK)
    strong = field.ear(100)
    weak = [field.ear(100 * 10 ** (8 / 23.2)) for _ in range(2)]
    field.send_at(0, strong, payload=b"strong")
    field.send_at(20_000, weak[0])
    field.send_at(1_000_000, strong, payload=b"again")
    field.send_at(1_020_000, weak[0])
    field.send_at(1_020_000, weak[1])
    field.run()
    assert ear.heard == [b"strong"]


def test_a_downlink_hardly_disturbs_an_uplink(field):
    """Chirps of the other direction are as good as orthogonal."""
    ear = two_senders(field, 3.0, iq_inverted=True)
    assert sorted(ear.heard) == [b"strong", b"weak"]


def test_more_frames_than_demodulators(field):
    listens = [replace(UPLINK, sf=sf) for sf in (7, 8, 9)]
    ear = field.ear(0, *listens, demodulators=2)
    for sf in (7, 8, 9):
        field.send_at(0, field.ear(500), sf=sf, payload=bytes((sf,)))
    field.run()
    assert ear.heard == [b"\x07", b"\x08"]
    assert field.air.counts["busy"] == 1


def test_shadowing_is_the_same_both_ways_and_every_time():
    def rssi(seed):
        engine = Engine(seed)
        air = Air(engine)
        one, other = Ear(0), Ear(500)
        air.add(one)
        air.add(other)
        assert air.path_loss_db(one, other) == air.path_loss_db(other, one)
        return air.path_loss_db(one, other)

    assert rssi(1) == rssi(1) != rssi(2)
    losses = [rssi(seed) for seed in range(200)]
    mean = sum(losses) / len(losses)
    assert mean == pytest.approx(128.95 + 23.2 * math.log10(0.5), abs=2)
    spread = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / len(losses))
    assert spread == pytest.approx(7.8, abs=1.5)


def test_a_frame_begins_now_and_lasts(field):
    sender = field.ear(0)
    frame = field.send_at(1_000, sender)
    with pytest.raises(ValueError, match="starts now"):
        field.air.transmit(sender, frame)
    with pytest.raises(ValueError, match="starts now"):
        field.air.transmit(sender, replace(frame, start_us=0, end_us=0))
