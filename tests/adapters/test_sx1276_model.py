"""The SX1276 model: where the chip says yes, and one test per refusal.

A model that nods at everything proves nothing about the driver. Registers are the data sheet's
(SX1276/77/78/79, chapter 6) by number, not by the names that model or driver give them.
"""

import pytest
from chip_bench import UPLINK, Ear, RawMaster
from stoep_hardware.chips import sx1276_tables as ds
from stoep_hardware.chips.sx1276 import Sx1276
from stoep_hardware.chips.sx1276_tables import Mode
from stoep_protocol.lorawan.airtime import time_on_air_us

RX_TIMEOUT, RX_DONE, CRC_ERROR, HEADER, TX_DONE = 0x80, 0x40, 0x20, 0x10, 0x08


class Master(RawMaster):
    """Talks to an SX1276."""

    # An uplink of b"abc" at 868.1 MHz, SF7; each step on its own, so that a test can leave it out.
    STEPS = (
        ("fsk_sleep", (0x01, 0x00)),
        ("lora", (0x01, 0x80)),
        ("standby", (0x01, 0x81)),
        ("frequency", (0x06, 0xD9, 0x06, 0x66)),
        ("pa", (0x09, 0x8C)),  # PA_BOOST, 14 dBm
        ("fifo_bases", (0x0E, 0, 0)),
        ("modem", (0x1D, 0x72, 0x74)),  # 125 kHz, 4/5, SF7, CRC
        ("symbols", (0x1F, 100)),
        ("agc", (0x26, 0x04)),
        ("errata_2_3", (0x31, 0x43)),
        ("if", (0x2F, 0x40, 0x00)),
        ("sync_word", (0x39, 0x34)),
        ("length", (0x22, 3)),
        ("pointer", (0x0D, 0)),
        ("fifo", (0x00, *b"abc")),
        ("dio", (0x40, 0x40)),
    )
    RX = (
        ("modem", (0x1D, 0x72, 0x70)),
        ("fifo", (0x33, 0x67)),
        ("length", (0x3B, 0x19)),
        ("dio", (0x40, 0x00)),
    )

    def __init__(self, **chip):
        super().__init__(Sx1276, **chip)
        self.t_us = 10_000
        self.lines = []
        self.chip.on_line = lambda *change: self.lines.append(change)

    def write(self, register, *values):
        self.raw(0x80 | register, *values)

    def read(self, register, count=1):
        data = self.raw(register, *bytes(count))[1:]
        return data[0] if count == 1 else data

    def calibrate(self):
        """Calibrate the image at 868.1 MHz, in FSK standby."""
        self.write(0x06, 0xD9, 0x06, 0x66)
        self.write(0x3B, 0x42)
        self.go(self.t_us + 11_000)

    def set_up(self, *without, rx=False, **instead):
        if "image" not in without:
            self.calibrate()
        steps = dict(self.STEPS) | dict(self.RX if rx else ()) | instead
        assert len(steps) == len(self.STEPS)
        for name, octets in steps.items():
            if name not in without:
                self.write(*octets)


@pytest.fixture
def spi():
    return Master(keep_states=True)


def said(spi, words):
    assert any(words in what for what in spi.chip.violations), spi.chip.violations
    return True


def sent(spi, **listen):
    """What is heard of one transmission."""
    ear = Ear(spi.engine, spi.air, UPLINK, position_m=listen.pop("position_m", (100.0, 0.0)))
    spi.write(0x01, 0x83)
    spi.go(spi.t_us + 1_000_000)
    return [frame for frame, intact in ear.heard if intact]


def received(spi, payload=b"down", **frame):
    """The flags after one reception."""
    ear = Ear(spi.engine, spi.air)
    spi.write(0x01, 0x86)
    ear.say_at(spi.t_us + 10_000, payload, **frame)
    spi.go(spi.t_us + 1_000_000)
    return spi.read(0x12)


# ---- where the chip says yes ------------------------------------------------------------------


def test_a_complete_set_up_sends(spi):
    spi.set_up()
    (frame,) = sent(spi)
    assert (frame.payload, frame.freq_hz, frame.power_dbm) == (b"abc", 868_099_976, 14.0)
    assert (frame.sync_word, frame.iq_inverted, frame.crc_on) == (0x34, False, True)
    assert spi.read(0x12) == TX_DONE
    assert spi.read(0x01) == 0x81, "back in standby"
    assert spi.chip.line("dio0")
    spi.write(0x12, TX_DONE)
    assert not spi.chip.line("dio0")
    assert [change[:2] for change in spi.lines] == [("dio0", True), ("dio0", False)]
    assert spi.chip.violations == []


@pytest.mark.parametrize("sf", range(7, 13))
@pytest.mark.parametrize("bw", [(7, 125_000), (8, 250_000), (9, 500_000)])
def test_time_on_air_is_the_protocols(spi, sf, bw):
    """Two implementations of the formula of DS 4.1.1.7, one for chips and one for the network."""
    code, bw_hz = bw
    slow = (1 << sf) / bw_hz >= 0.01638
    spi.set_up(modem=(0x1D, code << 4 | 2, sf << 4 | 4), agc=(0x26, 0x0C if slow else 0x04))
    frames = []
    spi.air.transmit = lambda _, frame: frames.append(frame)
    for length in (1, 12, 51, 222):
        spi.write(0x22, length)
        spi.write(0x01, 0x83)
        spi.go(spi.t_us + 10_000_000)
        took_us = frames[-1].end_us - frames[-1].start_us
        assert abs(took_us - time_on_air_us(length, sf, bw_hz)) <= 1
    assert spi.chip.violations == []


def test_receiving_one_packet(spi):
    spi.set_up(rx=True)
    assert received(spi) == RX_DONE | HEADER
    assert (spi.chip.line("dio0"), spi.chip.line("dio1")) == (True, False)
    assert (spi.read(0x13), spi.read(0x10)) == (4, 0)
    spi.write(0x0D, spi.read(0x10))
    assert spi.read(0x00, 4) == b"down"
    assert spi.read(0x19) == 54  # 13.5 dB
    assert spi.read(0x1A) - 157 == pytest.approx(-92, abs=1)  # 14 dBm less 105.75 dB at 100 m
    assert spi.chip.violations == []


@pytest.mark.parametrize("symbols", [4, 100, 1023])
def test_the_symbol_timeout(spi, symbols):
    spi.set_up(rx=True, modem=(0x1D, 0x72, 0x70 | symbols >> 8), symbols=(0x1F, symbols & 0xFF))
    spi.write(0x01, 0x86)
    begun_us = spi.t_us
    spi.go(begun_us + symbols * 1_024 + 100)
    assert spi.read(0x01) == 0x86
    spi.go(begun_us + symbols * 1_024 + 300)
    assert (spi.read(0x12), spi.read(0x01)) == (RX_TIMEOUT, 0x81)
    assert (spi.chip.line("dio0"), spi.chip.line("dio1")) == (False, True)


@pytest.mark.parametrize(("crc_on", "error"), [(True, CRC_ERROR), (False, 0)])
def test_a_damaged_packet(spi, crc_on, error):
    """Without a CRC nobody tells."""
    other = Ear(spi.engine, spi.air, position_m=(0.0, 100.0))
    spi.set_up(rx=True)
    other.say_at(spi.t_us + 25_000, b"collision", crc_on=crc_on)
    assert received(spi, crc_on=crc_on) == RX_DONE | HEADER | error
    assert spi.chip.frames_received == 0


@pytest.mark.parametrize(
    "change",
    [
        {"sync_word": 0x12},
        {"iq_inverted": False},
        {"sf": 8},
        {"bw_hz": 250_000},
        {"freq_hz": 868_300_000},
        {"implicit": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_downlink_that_differs_is_not_heard(spi, change):
    spi.set_up(rx=True)
    assert received(spi, **change) == RX_TIMEOUT


def test_the_interrupt_mask_and_the_mapping(spi):
    spi.set_up(dio=(0x40, 0x00))
    spi.write(0x01, 0x83)
    spi.go(spi.t_us + 100_000)
    assert spi.read(0x12) == TX_DONE
    assert not spi.chip.line("dio0"), "mapped to RxDone"
    spi.write(0x40, 0x40)
    assert spi.chip.line("dio0")
    spi.write(0x12, 0xFF)
    spi.write(0x11, TX_DONE)
    spi.write(0x01, 0x83)
    spi.go(spi.t_us + 100_000)
    assert spi.read(0x12) == 0, "masked"


def test_a_busy_device_sees_the_end_before_the_engine_does(spi):
    spi.set_up()
    spi.write(0x01, 0x83)
    spi.t_us += 100_000
    assert spi.read(0x12) == TX_DONE


def test_sleep_keeps_the_registers_and_clears_the_fifo(spi):
    spi.set_up()
    spi.write(0x01, 0x80)
    assert spi.read(0x39) == 0x34
    spi.write(0x01, 0x81)
    assert spi.read(0x39) == 0x34
    spi.write(0x0D, 0)
    assert spi.read(0x00, 3) == b"\0\0\0"
    assert spi.chip.violations == []


def test_the_pointer_wraps_and_a_burst_moves_on(spi):
    spi.set_up(fifo_bases=(0x0E, 254, 0), pointer=(0x0D, 254))
    assert [frame.payload for frame in sent(spi)] == [b"abc"]
    assert spi.read(0x0D) == 1
    assert spi.read(0x0E, 2) == b"\xfe\x00"


def test_reset_and_power_forget(spi):
    spi.set_up()
    for lose in ("reset", "power"):
        spi.write(0x39, 0x34)
        if lose == "reset":
            spi.chip.set_reset(False, spi.t_us)
            spi.t_us += 150
            spi.chip.set_reset(True, spi.t_us)
            spi.t_us += 5_000
        else:
            spi.chip.power(False, spi.t_us)
            assert spi.raw(0x42, 0) == b"\0\0"
            spi.chip.power(True, spi.t_us)
            spi.t_us += 10_000
        assert spi.read(0x01) == 0x09
        assert spi.read(0x42) == 0x12
        spi.write(0x01, 0x00)
        spi.write(0x01, 0x80)
        assert spi.read(0x39) == 0x12
    assert spi.chip.violations == []


@pytest.mark.parametrize(
    ("pa_config", "pa_dac", "ocp", "dbm", "current_ua"),
    [
        (0x8F, 0x84, 0x2B, 17.0, 87_000),
        (0x8F, 0x87, 0x31, 20.0, 120_000),
        (0x82, 0x84, 0x2B, 4.0, None),
    ],
)
def test_power_and_current(spi, pa_config, pa_dac, ocp, dbm, current_ua):
    spi.set_up(pa=(0x09, pa_config))
    spi.write(0x4D, pa_dac)
    spi.write(0x0B, ocp)
    assert [frame.power_dbm for frame in sent(spi)] == [dbm]
    taken = [current for _, state, current in spi.chip.log.entries if state == "tx"]
    if current_ua is not None:
        assert taken == [pytest.approx(current_ua)]
    assert spi.chip.violations == []


@pytest.mark.parametrize(("pa_config", "dbm", "ua"), [(0x7D, 13, 29_000), (0x77, 7, 20_000)])
def test_power_at_rfo(pa_config, dbm, ua):
    spi = Master(pa_boost=False, keep_states=True)
    spi.set_up(pa=(0x09, pa_config))
    assert [frame.power_dbm for frame in sent(spi)] == [pytest.approx(dbm)]
    assert [c for _, s, c in spi.chip.log.entries if s == "tx"] == [pytest.approx(ua)]


@pytest.mark.parametrize(("lna", "ua"), [(0x20, 10_800), (0x23, 11_500)])
def test_states_and_currents(spi, lna, ua):
    spi.set_up(rx=True)
    spi.write(0x0C, lna)
    spi.write(0x01, 0x86)
    spi.go(spi.t_us + 200_000)
    spi.write(0x01, 0x80)
    currents = {state: current for _, state, current in spi.chip.log.entries}
    assert currents == {"standby": 1_600.0, "rx": ua, "sleep": 0.2}
    rx_us = spi.chip.log.us_in("rx", spi.t_us)
    assert rx_us == pytest.approx(100 * 1_024, abs=200)


# ---- what it refuses --------------------------------------------------------------------------


def test_the_modem_changes_only_asleep(spi):
    spi.write(0x01, 0x81)
    assert spi.read(0x01) & 0x80 == 0
    assert said(spi, "only in sleep")


def test_fsk_has_no_reception_here(spi):
    spi.write(0x01, 0x03)
    assert spi.chip.mode is Mode.STANDBY
    assert said(spi, "FSK modem")


def test_the_fifo_is_out_of_reach_in_sleep(spi):
    spi.set_up()
    spi.write(0x01, 0x80)
    spi.write(0x00, 1)
    assert said(spi, "out of reach in sleep")


def test_nothing_is_sent_from_a_fifo_that_has_slept(spi):
    spi.set_up()
    spi.write(0x01, 0x80)
    spi.write(0x01, 0x81)
    assert sent(spi) == []
    assert said(spi, "nothing in the FIFO")
    assert spi.chip.mode is Mode.STANDBY


@pytest.mark.parametrize("register", [0x1D, 0x39, 0x06, 0x22])
def test_registers_are_not_written_while_receiving(spi, register):
    spi.set_up(rx=True)
    before = spi.read(register)
    spi.write(0x01, 0x86)
    spi.write(register, before ^ 1)
    assert spi.read(register) == before
    assert said(spi, "is written in rx")


def test_the_fifo_is_not_filled_while_receiving(spi):
    spi.set_up(rx=True)
    spi.write(0x01, 0x86)
    spi.write(0x00, 1)
    assert said(spi, "filled in rx")


@pytest.mark.parametrize("register", [0x42, 0x10, 0x13, 0x02, 0x60])
def test_registers_that_are_not_to_be_written(spi, register):
    spi.set_up()
    spi.write(register, 1)
    assert said(spi, "read-only or reserved")


@pytest.mark.parametrize(
    ("register", "value"),
    [(0x31, 0x03), (0x33, 0x40), (0x4D, 0x07), (0x4B, 0x10), (0x26, 0x07), (0x0C, 0x27)],
)
def test_reserved_bits_keep_their_value(spi, register, value):
    spi.set_up()
    spi.write(register, value)
    assert said(spi, "reserved bits")


@pytest.mark.parametrize("mode", [0x85, 0x87])
def test_modes_that_are_not_here(spi, mode):
    spi.set_up()
    spi.write(0x01, mode)
    assert said(spi, "not modelled")


def test_a_payload_of_nothing(spi):
    spi.set_up()
    spi.write(0x22, 0)
    assert said(spi, "0 bytes")
    assert spi.read(0x22) == 3


@pytest.mark.parametrize("modem", [(0x1D, 0x62, 0x74), (0x1D, 0x72, 0x64)])
def test_a_modulation_that_is_not_lorawans(spi, modem):
    spi.set_up(modem=modem)
    assert sent(spi) == []
    assert said(spi, "not of LoRaWAN")


def test_a_band_that_the_chip_is_not_made_for():
    spi = Master(variant="sx1278")
    spi.set_up()
    assert sent(spi) == []
    assert said(spi, "is made for 137000000 to 525000000")


def test_the_image_of_another_band(spi):
    spi.set_up("image", rx=True)
    assert received(spi) & RX_DONE
    assert said(spi, "image calibrated at 434000000")


def test_the_image_is_calibrated_in_fsk_standby_alone(spi):
    spi.write(0x01, 0x00)
    spi.write(0x3B, 0x42)
    assert spi.read(0x3B) & 0x20 == 0
    assert said(spi, "only in standby")


def test_the_image_takes_ten_milliseconds(spi):
    spi.write(0x3B, 0x42)
    assert spi.read(0x3B) & 0x20
    spi.t_us += 9_900
    assert spi.read(0x3B) & 0x20
    spi.t_us += 200
    assert spi.read(0x3B) & 0x20 == 0


def test_a_tcxo_that_the_chip_does_not_know_of():
    spi = Master(tcxo=True)
    spi.set_up()
    assert sent(spi) == []
    assert said(spi, "RegTcxo")


def test_low_data_rate_optimisation_left_out(spi):
    spi.set_up(modem=(0x1D, 0x72, 0xC4))
    sent(spi)
    assert said(spi, "low-data-rate False")


@pytest.mark.parametrize(
    ("step", "octets", "words"),
    [
        ("errata_2_3", (0x31, 0xC3), "errata 2.3"),
        ("if", (0x2F, 0x20, 0x00), "errata 2.3"),
        ("sync_word", (0x36, 0x02), "errata 2.1"),
        ("length", (0x3B, 0x1D), "RegInvertIQ2"),
        ("errata_2_3", (0x31, 0x45), "SF6"),
        ("symbols", (0x1F, 3), "at least 4"),
    ],
)
def test_what_makes_reception_worse(spi, step, octets, words):
    spi.set_up(rx=True, **{step: octets})
    spi.write(0x01, 0x86)
    assert said(spi, words)


def test_500_khz_wants_its_errata(spi):
    spi.set_up(rx=True, modem=(0x1D, 0x92, 0x70))
    spi.write(0x01, 0x86)
    assert said(spi, "errata 2.1")
    assert said(spi, "errata 2.3")


def test_the_antenna_is_at_the_other_pin(spi):
    spi.set_up(pa=(0x09, 0x7E))
    assert sent(spi, position_m=(2_000.0, 0.0)) == []


def test_rfo_has_no_20_dbm(spi):
    spi.set_up(pa=(0x09, 0x7F))
    spi.write(0x4D, 0x87)
    assert sent(spi) == []
    assert said(spi, "5.4.3")


def test_the_protection_limits_20_dbm(spi):
    spi.set_up(pa=(0x09, 0x8F))
    spi.write(0x4D, 0x87)
    assert [frame.power_dbm for frame in sent(spi)] == [17.0]
    assert said(spi, "OCP")


@pytest.mark.parametrize("mode", [0x80, 0x81])
def test_a_frame_is_cut_off(spi, mode):
    spi.set_up()
    ear = Ear(spi.engine, spi.air, UPLINK)
    spi.write(0x01, 0x83)
    spi.go(spi.t_us + 20_000)
    spi.write(0x01, mode)
    spi.go(1_000_000)
    assert [intact for _, intact in ear.heard] == [False]
    assert spi.chip.frames_sent == 0
    assert said(spi, "cuts a frame off")


def test_a_reset_pulse_that_is_too_short(spi):
    spi.set_up()
    spi.chip.set_reset(False, spi.t_us)
    spi.chip.set_reset(True, spi.t_us + 50)
    spi.t_us += 60
    assert said(spi, "NRESET")
    assert spi.read(0x39) == 0x34


def test_talking_too_soon_after_a_reset(spi):
    spi.chip.set_reset(False, spi.t_us)
    spi.raw(0x42, 0)
    spi.t_us += 200
    spi.chip.set_reset(True, spi.t_us)
    spi.t_us += 1_000
    assert spi.raw(0x42, 0) == b"\0\0"
    assert len(spi.chip.violations) == 2
    assert said(spi, "5 ms after it")


def test_the_clock_without_chip_select(spi):
    assert spi.chip.transfer(b"\x42\0", spi.t_us) == b"\0\0"
    assert said(spi, "while NSS is high")


@pytest.mark.parametrize("bus", [(12_000_000, 0, 0), (8_000_000, 1, 0), (8_000_000, 0, 1)])
def test_a_bus_that_the_chip_cannot_follow(spi, bus):
    spi.chip.configure_bus(*bus, spi.t_us)
    assert spi.read(0x42) == 0
    spi.chip.configure_bus(8_000_000, 0, 0, spi.t_us)
    assert spi.read(0x42) == 0x12
    assert said(spi, "mode 0, 10 MHz")


def test_the_current_of_a_power():
    """Through the data sheet's points, and rising between and beyond them."""
    rfo = [ds.tx_current_ua(dbm, boost=False) for dbm in range(-4, 15)]
    boost = [ds.tx_current_ua(dbm, boost=True) for dbm in range(2, 21)]
    assert rfo == sorted(rfo)
    assert boost == sorted(boost)
    assert (rfo[11], rfo[17]) == (20_000, pytest.approx(29_000))
    assert (boost[15], boost[18]) == (87_000, pytest.approx(120_000))
