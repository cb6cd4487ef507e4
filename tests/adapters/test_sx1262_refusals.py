"""What a real SX1262 does not take, the model does not take either, and says so.

A model that nods at everything proves nothing about the driver: one test per refusal. Numbers of
commands and registers are the data sheet's (DS.SX1261-2.W.APP).
"""

from dataclasses import replace

import pytest
from chip_bench import UPLINK, Ear, SpiMaster

NOT_UNDERSTOOD, NOT_EXECUTED = 4, 5
STBY_RC, STBY_XOSC, FS, RX, TX = 2, 3, 4, 5, 6
SET_TX = (0x83, 0, 0, 0)
SET_RX = (0x82, 0, 0, 0)


@pytest.fixture
def spi():
    return SpiMaster()


def said(spi, words):
    assert any(words in what for what in spi.chip.violations), spi.chip.violations
    return True


def test_a_complete_set_up_is_taken(spi):
    spi.set_up()
    ear = Ear(spi.engine, spi.air, UPLINK)
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert [frame.payload for frame, intact in ear.heard if intact] == [b"abc"]
    assert spi.chip.violations == []
    assert spi.errors() == 0


@pytest.mark.parametrize(
    ("step", "command"),
    [
        ("packet_type", "SetPacketType"),
        ("frequency", "SetRfFrequency"),
        ("pa", "SetPaConfig"),
        ("tx_params", "SetTxParams"),
        ("modulation", "SetModulationParams"),
        ("packet", "SetPacketParams"),
        ("buffer", "WriteBuffer"),
    ],
)
def test_nothing_is_sent_before(spi, step, command):
    spi.set_up(step)
    ear = Ear(spi.engine, spi.air, UPLINK)
    spi.send(*SET_TX)
    assert spi.status() == (STBY_RC, NOT_EXECUTED)
    spi.go(1_000_000)
    assert ear.heard == []
    assert said(spi, command)


@pytest.mark.parametrize("step", ["packet_type", "frequency", "modulation", "packet"])
def test_nothing_is_received_before(spi, step):
    spi.set_up(step, rx=True)
    spi.send(*SET_RX)
    assert spi.status() == (STBY_RC, NOT_EXECUTED)
    assert said(spi, "SetRx before")


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        ((0x8B, 7, 4, 1, 0), "SetModulationParams before SetPacketType"),
        ((0x8C, 0, 8, 0, 3, 1, 0), "SetPacketParams before SetPacketType"),
    ],
)
def test_packet_type_comes_first(spi, octets, words):
    spi.send(*octets)
    assert spi.status()[1] == NOT_UNDERSTOOD
    assert said(spi, words)


def test_another_packet_type_forgets_the_packet(spi):
    spi.set_up()
    spi.send(0x8A, 1)
    spi.send(*SET_TX)
    assert said(spi, "SetTx before SetModulationParams, SetPacketParams")


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        ((0x42, 0), "opcode 0x42"),
        ((0xC5,), "SetCad"),
        ((0x8A,), "SetPacketType with 0 bytes"),
        ((0x86, 1, 2, 3), "SetRfFrequency with 3 bytes"),
        ((0x8A, 0), "only LoRa"),
        ((0x86, 0x01, 0, 0, 0), "150 to 960 MHz"),
        ((0x8E, 23, 2), "SetTxParams 23 dBm"),
        ((0x8E, 0xF6, 2), "SetTxParams -10 dBm"),
        ((0x8E, 14, 8), "ramp 8"),
        ((0x95, 4, 7, 1, 1), "SetPaConfig 04070101"),
        ((0x95, 4, 7, 0, 0), "SetPaConfig 04070000"),
        ((0x95, 7, 7, 0, 1), "SetPaConfig 07070001"),
        ((0x93, 0x10), "SetRxTxFallbackMode 0x10"),
        ((0x97, 8, 0, 0, 0), "SetDIO3AsTcxoCtrl 8"),
    ],
)
def test_senseless_commands(spi, octets, words):
    spi.send(*octets)
    assert spi.status()[1] == NOT_UNDERSTOOD
    assert said(spi, words)


@pytest.mark.parametrize(
    "params", [(4, 4, 1, 0), (13, 4, 1, 0), (7, 11, 1, 0), (7, 4, 0, 0), (7, 4, 5, 0), (7, 4, 1, 2)]
)
def test_senseless_modulation(spi, params):
    spi.send(0x8A, 1)
    spi.send(0x8B, *params)
    assert spi.status()[1] == NOT_UNDERSTOOD
    assert said(spi, "SetModulationParams")


@pytest.mark.parametrize(
    "params", [(0, 0, 0, 3, 1, 0), (0, 8, 2, 3, 1, 0), (0, 8, 0, 3, 2, 0), (0, 8, 0, 3, 1, 2)]
)
def test_senseless_packet(spi, params):
    spi.send(0x8A, 1)
    spi.send(0x8C, *params)
    assert spi.status()[1] == NOT_UNDERSTOOD
    assert said(spi, "SetPacketParams")


def test_calibrating_an_image_band_that_is_none(spi):
    spi.send(0x97, 2, 0, 1, 0x40)
    spi.send(0x98, 0xD7, 0xE9)
    assert said(spi, "CalibrateImage d7e9")


def test_a_power_that_no_pa_setting_gives(spi):
    spi.set_up(pa=(0x95, 1, 1, 0, 1))
    spi.send(*SET_TX)
    assert spi.status() == (STBY_RC, NOT_EXECUTED)
    assert said(spi, "not in table 13-21")


def test_power_before_pa(spi):
    spi.send(0x8E, 14, 2)
    assert said(spi, "SetTxParams before SetPaConfig")


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        ((0x84, 0), "SetSleep"),
        ((0x96, 1), "SetRegulatorMode"),
        ((0x89, 0x7F), "Calibrate"),
        ((0x8A, 1), "SetPacketType"),
        ((0x8B, 7, 4, 1, 0), "SetModulationParams"),
        ((0x86, 0x36, 0x41, 0x99, 0x9A), "SetRfFrequency"),
        ((0x8E, 14, 2), "SetTxParams"),
        ((0x97, 2, 0, 1, 0x40), "SetDIO3AsTcxoCtrl"),
    ],
)
def test_settings_while_receiving(spi, octets, name):
    spi.set_up(rx=True)
    spi.send(*SET_RX)
    spi.send(*octets)
    assert spi.status() == (RX, NOT_EXECUTED)
    assert said(spi, f"{name} in rx")


@pytest.mark.parametrize("octets", [(0x89, 0x7F), (0x96, 1), (0x8A, 1), (0x97, 2, 0, 1, 0x40)])
def test_what_needs_the_rc_oscillator(spi, octets):
    spi.set_up()
    spi.send(0x80, 1)
    assert spi.status()[0] == STBY_XOSC
    spi.send(*octets)
    assert said(spi, "in stby_xosc")


def test_a_command_while_busy_is_lost(spi):
    spi.send(0x97, 2, 0, 1, 0x40)
    spi.raw(0x89, 0x7F)
    assert spi.chip.busy(spi.t_us)
    spi.raw(0x8A, 1)
    spi.wait()
    assert said(spi, "NSS falls while BUSY")
    assert spi.read(0x11, 0, count=1) == b"\0"


def test_a_command_to_a_sleeping_chip_only_wakes_it(spi):
    spi.send(0x8A, 1)
    spi.raw(0x84, 4)
    assert spi.chip.busy(spi.t_us + 1_000_000), "BUSY is high in sleep"
    spi.go(10_000)
    spi.send(0x8F, 1, 2)
    assert said(spi, "SetBufferBaseAddress is lost")
    assert spi.status()[0] == STBY_RC


def test_get_status_wakes_without_complaint(spi):
    spi.raw(0x84, 4)
    spi.go(10_000)
    spi.send(0xC0, 0)
    assert spi.chip.violations == []


def test_waking_too_soon(spi):
    spi.raw(0x84, 4)
    spi.t_us += 100
    spi.raw(0xC0, 0)
    assert said(spi, "within 500 us of SetSleep")


def test_the_clock_without_chip_select(spi):
    assert spi.chip.transfer(b"\xc0\0", spi.t_us) == b"\0\0"
    assert said(spi, "while NSS is high")


@pytest.mark.parametrize("bus", [(20_000_000, 0, 0), (8_000_000, 1, 0), (8_000_000, 0, 1)])
def test_a_bus_that_the_chip_cannot_follow(spi, bus):
    spi.chip.configure_bus(*bus, spi.t_us)
    spi.raw(0x8A, 1)
    spi.chip.configure_bus(8_000_000, 0, 0, spi.t_us)
    assert spi.read(0x11, 0, count=1) == b"\0"
    assert said(spi, "DS 8.2")


def test_a_reset_pulse_that_is_too_short(spi):
    spi.send(0x8A, 1)
    spi.chip.set_reset(False, spi.t_us)
    spi.chip.set_reset(True, spi.t_us + 20)
    assert said(spi, "NRESET")
    spi.t_us += 50
    assert spi.read(0x11, 0, count=1) == b"\1"


def test_reset_forgets(spi):
    spi.set_up()
    spi.chip.set_reset(False, spi.t_us)
    spi.t_us += 200
    spi.chip.set_reset(True, spi.t_us)
    assert spi.chip.busy(spi.t_us + 1_000)
    spi.wait()
    assert spi.read(0x11, 0, count=1) == b"\0"
    assert spi.read(0x1D, 0x07, 0x40, 0, count=2) == b"\x14\x24"


def test_talking_during_reset(spi):
    spi.chip.set_reset(False, spi.t_us)
    spi.raw(0x8A, 1)
    assert said(spi, "while NRESET is low")


# ---- the crystal oscillator -------------------------------------------------------------------


def test_a_tcxo_that_nobody_feeds(spi):
    assert spi.errors() & 0x20, "the calibration at power-on has failed"
    spi.send(0x07, 0, 0)
    spi.send(0x80, 1)
    assert spi.status() == (STBY_RC, NOT_EXECUTED)
    assert spi.errors() & 0x20
    assert said(spi, "DIO3 gives None")


@pytest.mark.parametrize("octets", [(0x89, 0x7F), (0x98, 0xD7, 0xDB)])
def test_calibrating_without_the_tcxo(spi, octets):
    spi.send(*octets)
    assert spi.status()[1] == NOT_EXECUTED
    assert said(spi, "before SetDIO3AsTcxoCtrl")


def test_a_tcxo_at_too_low_a_voltage(spi):
    spi.set_up(tcxo=(0x97, 0, 0, 1, 0x40))
    spi.send(*SET_TX)
    assert spi.status()[1] == NOT_EXECUTED
    assert said(spi, "the TCXO is for 1800 mV")


def test_dio3_on_a_board_with_a_crystal():
    spi = SpiMaster(tcxo_mv=None)
    assert spi.errors() == 0
    spi.send(0x97, 2, 0, 1, 0x40)
    assert said(spi, "crystal")


def test_no_calibration_after_the_tcxo(spi):
    spi.set_up("calibrate")
    spi.send(*SET_TX)
    assert spi.status()[1] == NOT_EXECUTED
    assert spi.errors() & 0x40, "the PLL does not lock"
    assert said(spi, "before Calibrate")


# ---- what the chip takes and does badly -------------------------------------------------------


def test_the_wrong_image(spi):
    spi.set_up("image")
    spi.send(*SET_TX)
    assert said(spi, "image calibrated for 900000000 to 932000000")


def test_low_data_rate_optimisation_left_out(spi):
    spi.set_up(modulation=(0x8B, 12, 4, 1, 0))
    ear = Ear(spi.engine, spi.air, replace(UPLINK, sf=12))
    spi.send(*SET_TX)
    spi.go(3_000_000)
    assert said(spi, "low-data-rate False")
    assert [frame.payload for frame, _ in ear.heard] != [b"abc"]


def test_errata_15_1_left_out(spi):
    spi.set_up("errata_15_1")
    spi.send(*SET_TX)
    assert said(spi, "errata 15.1")


def test_errata_15_2_left_out(spi):
    spi.set_up("errata_15_2")
    spi.send(*SET_TX)
    assert said(spi, "errata 15.2")


def test_errata_15_4_the_wrong_way_round_loses_downlinks(spi):
    """With normal IQ bit 2 of 0x0736 is set, with inverted IQ cleared."""
    spi.set_up(rx=True, buffer=(0x0D, 0x07, 0x36, 0x0D))
    assert not a_join_accept_comes_through(spi)
    assert said(spi, "errata 15.4")


def test_errata_15_4_the_right_way_round(spi):
    spi.set_up(rx=True)
    assert a_join_accept_comes_through(spi)
    assert spi.chip.violations == []


def test_errata_15_4_when_sending(spi):
    spi.set_up()
    spi.send(0x0D, 0x07, 0x36, 0x09)
    spi.send(*SET_TX)
    assert said(spi, "errata 15.4")


def a_join_accept_comes_through(spi):
    """Whether a join-accept of 17 bytes comes through whole."""
    ear = Ear(spi.engine, spi.air)
    accept = bytes(range(17))
    spi.send(*SET_RX)
    ear.say_at(spi.t_us + 10_000, accept)
    spi.go(spi.t_us + 100_000)
    length, at = spi.read(0x13, 0, count=2)
    return spi.read(0x1E, at, 0, count=length) == accept


def test_the_antenna_switch_left_alone(spi):
    spi.set_up("dio2")
    ear = Ear(spi.engine, spi.air, UPLINK, position_m=(2_000.0, 0.0))
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert ear.heard == []
    spi.set_up("dio2", rx=True)
    assert not a_join_accept_comes_through(spi)


@pytest.mark.parametrize("sync_word", [(0x14, 0x24), (0x44, 0x34), (0x34, 0x34), (0x00, 0x34)])
def test_any_sync_word_but_lorawans(spi, sync_word):
    spi.set_up(sync_word=(0x0D, 0x07, 0x40, *sync_word))
    ear = Ear(spi.engine, spi.air, UPLINK)
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert ear.heard == []


def test_a_timeout_shorter_than_the_frame(spi):
    spi.set_up()
    ear = Ear(spi.engine, spi.air, UPLINK)
    spi.send(0x83, 0, 0, 64)  # 1 ms
    spi.go(1_000_000)
    assert ear.heard == []
    assert spi.irq() == 0x200
    assert said(spi, "shorter than the frame")


def test_standby_cuts_a_frame_off(spi):
    spi.set_up()
    ear = Ear(spi.engine, spi.air, UPLINK)
    spi.send(*SET_TX)
    spi.send(0x80, 0)
    spi.go(1_000_000)
    assert said(spi, "cuts a frame off")
    assert ear.heard == []


@pytest.mark.parametrize("lost", ["supply", "reset"])
def test_a_frame_ends_with_the_chip_that_sends_it(spi, lost):
    spi.set_up()
    ear = Ear(spi.engine, spi.air, UPLINK)
    spi.send(*SET_TX)
    spi.go(spi.t_us + 20_000)
    if lost == "supply":
        spi.chip.power(False, spi.t_us)
    else:
        spi.chip.set_reset(False, spi.t_us)
        spi.chip.set_reset(True, spi.t_us + 200)
    spi.engine.run_until(1_000_000)
    assert [intact for _, intact in ear.heard] == [False]
    assert spi.chip.frames_sent == 0


def test_a_symbol_timeout_beyond_its_register(spi):
    spi.send(0xA0, 250)
    assert said(spi, "248 at most")
