"""The SX1262 model where the chip says yes: times, modes, buffer, interrupts, status, currents."""

import pytest
from chip_bench import UPLINK, Ear, SpiMaster
from stoep_hardware.chips import lora
from stoep_hardware.chips import sx1262_tables as ds
from stoep_hardware.chips.sx1262_tables import Mode
from stoep_protocol.lorawan.airtime import time_on_air_us

STBY_RC, STBY_XOSC, FS, RX, TX = 2, 3, 4, 5, 6
SET_TX = (0x83, 0, 0, 0)
SET_RX = (0x82, 0, 0, 0)
DONE_TX, DONE_RX, PREAMBLE, HEADER, CRC_ERROR, TIMEOUT = 0x01, 0x02, 0x04, 0x10, 0x40, 0x200


@pytest.fixture
def spi():
    return SpiMaster(keep_states=True)


@pytest.fixture
def ear(spi):
    return Ear(spi.engine, spi.air, UPLINK)


def test_busy_after_power_on(spi):
    assert 3_400 <= spi.t_us <= 3_600


def test_the_version_that_drivers_look_for(spi):
    assert spi.read(0x1D, 0x03, 0x20, 0, count=16) == b"SX1261 V2D 2D02\0"


@pytest.mark.parametrize("sf", range(7, 13))
@pytest.mark.parametrize("bw", [(4, 125_000), (5, 250_000), (6, 500_000)])
def test_time_on_air_is_the_protocols(spi, ear, sf, bw):
    """Two implementations of the formula of DS 6.1.4, one for the chip and one for the network."""
    code, bw_hz = bw
    low_data_rate = int(lora.needs_low_data_rate(sf, bw_hz))
    spi.set_up(modulation=(0x8B, sf, code, 1, low_data_rate))
    spi.send(0x0D, 0x08, 0x89, 0x01 if bw_hz == 500_000 else 0x05)
    frames = []
    spi.air.transmit = lambda _, frame: frames.append(frame)
    for length in (1, 12, 51, 222):
        spi.send(0x8C, 0, 8, 0, length, 1, 0)
        spi.send(*SET_TX)
        spi.go(spi.t_us + 10_000_000)
        took_us = frames[-1].end_us - frames[-1].start_us
        assert abs(took_us - time_on_air_us(length, sf, bw_hz)) <= 1
    assert spi.chip.violations == []


def test_sending_step_by_step(spi, ear):
    spi.set_up()
    begun_us = spi.t_us
    spi.raw(*SET_TX)
    assert spi.chip.busy(spi.t_us)
    spi.wait()
    # 5 ms for the TCXO, 126 us for PLL and PA, 40 us of ramp.
    assert 5_166 <= spi.t_us - begun_us <= 5_200
    assert spi.status()[0] == TX
    assert not spi.chip.dio1
    spi.go(spi.t_us + 100_000)
    assert spi.chip.dio1
    assert spi.irq() == DONE_TX
    assert spi.status() == (STBY_RC, ds.STATUS_TX_DONE)
    spi.send(0x02, 0xFF, 0xFF)
    assert not spi.chip.dio1
    assert spi.irq() == 0
    ((frame, intact),) = ear.heard
    assert intact
    assert (frame.freq_hz, frame.sf, frame.bw_hz, frame.coding_rate) == (868_100_000, 7, 125_000, 5)
    assert (frame.sync_word, frame.iq_inverted, frame.crc_on, frame.implicit) == (
        0x34,
        False,
        True,
        False,
    )
    assert frame.power_dbm == 14
    assert spi.chip.frames_sent == 1


def test_a_busy_device_sees_the_end_before_the_engine_does(spi, ear):
    """The device runs ahead of the engine: its own time decides what it reads."""
    spi.set_up()
    spi.send(*SET_TX)
    spi.t_us += 100_000
    assert spi.irq() == DONE_TX
    spi.send(0x80, 0)
    spi.go(spi.t_us)
    assert [frame.payload for frame, _ in ear.heard] == [b"abc"]


@pytest.mark.parametrize(("fallback", "mode"), [(0x20, STBY_RC), (0x30, STBY_XOSC), (0x40, FS)])
def test_fallback(spi, ear, fallback, mode):
    spi.set_up()
    spi.send(0x93, fallback)
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert spi.status()[0] == mode


def test_the_buffer_wraps_at_256(spi, ear):
    spi.set_up(bases=(0x8F, 254, 0), buffer=(0x0E, 254, 0x61, 0x62, 0x63))
    assert spi.read(0x1E, 0, 0, count=1) == b"c"
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert [frame.payload for frame, _ in ear.heard] == [b"abc"]


@pytest.mark.parametrize(
    ("pa", "power", "dbm"),
    [
        ((4, 7), 22, 22),
        ((4, 7), 14, 14),
        ((3, 5), 22, 20),
        ((2, 3), 22, 17),
        ((2, 2), 22, 14),
        ((2, 2), 12, 4),
        ((2, 2), -9 & 0xFF, -17),
    ],
)
def test_power(spi, ear, pa, power, dbm):
    spi.set_up(pa=(0x95, *pa, 0, 1), tx_params=(0x8E, power, 2))
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert [frame.power_dbm for frame, _ in ear.heard] == [dbm]


# ---- receiving --------------------------------------------------------------------------------


def receive(spi, ear, payload=b"down", *, timeout=(0, 0, 0), after_us=10_000, **frame):
    spi.set_up(rx=True)
    spi.send(0x82, *timeout)
    ear.say_at(spi.t_us + after_us, payload, **frame)
    spi.go(spi.t_us + 1_000_000)


def test_receiving_one_packet(spi, ear):
    receive(spi, ear)
    assert spi.irq() == DONE_RX | PREAMBLE | HEADER
    assert spi.chip.dio1
    assert spi.status() == (STBY_RC, ds.STATUS_DATA_AVAILABLE)
    assert spi.read(0x13, 0, count=2) == b"\x04\0"
    assert spi.read(0x1E, 0, 0, count=4) == b"down"
    rssi, snr, signal = spi.read(0x14, 0, count=3)
    # 14 dBm less 105.75 dB at 100 m.
    assert -rssi / 2 == pytest.approx(-91.8, abs=0.6)
    assert snr == 54  # saturated at 13.5 dB
    assert signal == rssi
    assert spi.chip.violations == []


def test_a_weak_packet_has_a_negative_ratio(spi):
    ear = Ear(spi.engine, spi.air, position_m=(1_500.0, 0.0))
    receive(spi, ear, power_dbm=11.0)
    _, snr, _ = spi.read(0x14, 0, count=3)
    assert -8 < (snr - 256) / 4 < 0


def test_after_one_packet_the_chip_is_deaf(spi, ear):
    receive(spi, ear)
    ear.say_at(spi.t_us + 10_000, b"more")
    spi.go(spi.t_us + 100_000)
    assert spi.read(0x1E, 0, 0, count=4) == b"down"


def test_receiving_until_told_otherwise(spi, ear):
    spi.set_up(rx=True)
    spi.send(0x82, 0xFF, 0xFF, 0xFF)
    ear.say_at(spi.t_us + 10_000, b"one")
    ear.say_at(spi.t_us + 100_000, b"two!")
    spi.go(spi.t_us + 200_000)
    assert spi.status()[0] == RX
    assert spi.read(0x13, 0, count=2) == b"\x04\x03"
    assert spi.read(0x1E, 0, 0, count=7) == b"onetwo!"
    spi.send(0x80, 0)
    ear.say_at(spi.t_us + 10_000, b"three")
    spi.go(spi.t_us + 200_000)
    assert spi.read(0x13, 0, count=2) == b"\x04\x03"


@pytest.mark.parametrize(("crc_on", "error"), [(True, CRC_ERROR), (False, 0)])
def test_a_damaged_packet(spi, ear, crc_on, error):
    """Without a CRC nobody tells."""
    other = Ear(spi.engine, spi.air, position_m=(0.0, 100.0))
    spi.set_up(rx=True)
    spi.send(*SET_RX)
    ear.say_at(spi.t_us + 10_000, b"down", crc_on=crc_on)
    other.say_at(spi.t_us + 25_000, b"collision", crc_on=crc_on)
    spi.go(spi.t_us + 200_000)
    assert spi.irq() == DONE_RX | error | PREAMBLE | HEADER
    assert spi.status()[0] == STBY_RC
    assert spi.read(0x1E, 0, 0, count=4) != b"down"
    assert spi.chip.frames_received == 0


def test_after_a_timeout_the_receiver_is_off(spi, ear):
    spi.set_up(rx=True)
    spi.send(0x82, 0, 0x05, 0x00)  # 20 ms
    ear.say_at(spi.t_us + 50_000, b"down")
    spi.go(spi.t_us + 200_000)
    assert spi.air.counts["heard"] == 0


def test_the_timer_ends_reception(spi, ear):
    spi.set_up(rx=True)
    spi.send(0x82, 0, 0x19, 0x00)  # 100 ms
    begun_us = spi.t_us
    spi.go(begun_us + 99_000)
    assert spi.status()[0] == RX
    spi.go(begun_us + 101_000)
    assert spi.irq() == TIMEOUT
    assert spi.status() == (STBY_RC, ds.STATUS_TIMEOUT)


@pytest.mark.parametrize(("stops_on_preamble", "irq"), [(0, TIMEOUT), (1, DONE_RX)])
def test_what_stops_the_timer(spi, ear, stops_on_preamble, irq):
    """The preamble or the header (DS 13.1.6): here the timer ends between the two."""
    spi.set_up(rx=True)
    spi.send(0x9F, stops_on_preamble)
    spi.send(0x82, 0, 0x05, 0x00)  # 20 ms
    ear.say_at(spi.t_us + 10_000, b"down")  # preamble found after 5 ms, header after 21 ms
    spi.go(spi.t_us + 200_000)
    assert spi.irq() & (TIMEOUT | DONE_RX) == irq


@pytest.mark.parametrize("stops_on_preamble", [0, 1])
def test_a_header_stops_the_timer(spi, ear, stops_on_preamble):
    spi.set_up(rx=True)
    spi.send(0x9F, stops_on_preamble)
    spi.send(0x82, 0, 0x0A, 0x00)  # 40 ms; the header is there after 31
    ear.say_at(spi.t_us + 10_000, b"down")
    spi.go(spi.t_us + 200_000)
    assert spi.irq() & (TIMEOUT | DONE_RX) == DONE_RX


@pytest.mark.parametrize(("symbols", "waits_us"), [(6, 6_144), (31, 32_768), (248, 253_952)])
def test_the_symbol_timeout(spi, ear, symbols, waits_us):
    spi.set_up(rx=True)
    spi.send(0xA0, symbols)
    spi.send(*SET_RX)
    begun_us = spi.t_us
    spi.go(begun_us + waits_us - 100)
    assert spi.status()[0] == RX
    spi.go(begun_us + waits_us + 100)
    assert spi.irq() == TIMEOUT


def test_a_preamble_ends_the_symbol_timeout(spi, ear):
    spi.set_up(rx=True)
    spi.send(0xA0, 12)
    spi.send(*SET_RX)
    ear.say_at(spi.t_us + 5_000, b"down")
    spi.go(spi.t_us + 200_000)
    assert spi.irq() & DONE_RX


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
def test_a_downlink_that_differs_is_not_heard(spi, ear, change):
    receive(spi, ear, timeout=(0, 0x19, 0), **change)
    assert spi.irq() == TIMEOUT


def test_the_interrupt_mask(spi, ear):
    spi.set_up(irq=(0x08, 0x00, DONE_TX, 0x00, 0x00, 0, 0, 0, 0))
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert spi.irq() == DONE_TX
    assert not spi.chip.dio1, "noted, but not led to DIO1"
    spi.send(0x08, 0, DONE_TX, 0, DONE_TX, 0, 0, 0, 0)
    assert spi.chip.dio1
    spi.send(0x02, 0, DONE_TX)
    spi.send(0x08, 0, 0, 0, DONE_TX, 0, 0, 0, 0)
    spi.send(*SET_TX)
    spi.go(2_000_000)
    assert spi.irq() == 0, "not even noted"


# ---- sleep --------------------------------------------------------------------------------------


def test_warm_sleep_keeps_settings_but_not_buffer_nor_registers(spi, ear):
    spi.set_up()
    spi.raw(0x84, 4)
    spi.go(50_000)
    asleep_us = spi.t_us
    spi.send(0xC0, 0)
    assert 340 <= spi.t_us - asleep_us <= 400
    assert spi.read(0x1D, 0x07, 0x40, 0, count=2) == b"\x34\x44"
    assert spi.read(0x1E, 0, 0, count=3) == b"\0\0\0"
    assert spi.read(0x1D, 0x08, 0x89, 0, count=1) == b"\x01", "errata 15.1 has to be done again"
    spi.send(0x0D, 0x08, 0x89, 0x05)
    spi.send(0x0D, 0x08, 0xD8, 0xDE)
    assert spi.chip.violations == []
    spi.send(*SET_TX)
    assert "SetTx before WriteBuffer" in spi.chip.violations.pop()
    spi.send(0x0E, 0, *b"abc")
    spi.send(*SET_TX)
    spi.go(1_000_000)
    assert [frame.payload for frame, _ in ear.heard] == [b"abc"]
    assert spi.chip.violations == []


def test_the_retention_list(spi):
    spi.send(0x0D, 0x08, 0xAC, 0x96)
    spi.send(0x0D, 0x08, 0x89, 0x05)
    spi.send(0x0D, 0x02, 0x9F, 1, 0x08, 0xAC)
    spi.raw(0x84, 4)
    spi.go(50_000)
    spi.send(0xC0, 0)
    assert spi.read(0x1D, 0x08, 0xAC, 0, count=1) == b"\x96"
    assert spi.read(0x1D, 0x08, 0x89, 0, count=1) == b"\x01"


def test_cold_sleep_forgets_everything(spi):
    spi.set_up()
    spi.raw(0x84, 0)
    spi.go(50_000)
    asleep_us = spi.t_us
    spi.send(0xC0, 0)
    assert 3_500 <= spi.t_us - asleep_us <= 3_600
    spi.send(*SET_TX)
    assert "SetTx before SetPacketType" in spi.chip.violations[-1]


def test_interrupts_outlive_warm_sleep_only(spi):
    spi.set_up()
    spi.send(*SET_TX)
    spi.go(200_000)
    assert spi.chip.dio1
    spi.raw(0x84, 4)
    assert spi.chip.dio1
    spi.t_us += 1_000
    spi.send(0xC0, 0)
    spi.raw(0x84, 0)
    assert not spi.chip.dio1


# ---- currents -----------------------------------------------------------------------------------


def test_states_and_charge(spi, ear):
    spi.set_up()
    spi.send(*SET_TX)
    spi.go(300_000)
    spi.send(0x80, 0)
    spi.raw(0x84, 4)
    slept_us = spi.t_us
    spi.go(1_000_000)
    log = spi.chip.log
    states = [state for _, state, _ in log.entries]
    assert states == ["stby_rc", "tx", "stby_rc", "stby_rc", "sleep_warm"]
    assert {state: current_ua for _, state, current_ua in log.entries} == {
        "stby_rc": 600.0,
        "tx": 45_000.0,
        "sleep_warm": 0.6,
    }
    tx_us = log.us_in("tx", 1_000_000)
    assert tx_us == pytest.approx(5_166 + time_on_air_us(3, 7, 125_000), abs=30)
    expected_uc = (tx_us * 45_000 + (slept_us - tx_us) * 600 + (1_000_000 - slept_us) * 0.6) / 1e6
    assert log.charge_uc(1_000_000) == pytest.approx(expected_uc, rel=1e-3)


@pytest.mark.parametrize(
    ("dcdc", "boosted", "current_ua"),
    [(1, 0x94, 4_600), (0, 0x94, 8_880), (1, 0x96, 5_300)],
)
def test_current_while_receiving(spi, dcdc, boosted, current_ua):
    """FACTS: 8.9 mA on the LDO, 4.6 mA on DC-DC."""
    spi.set_up(rx=True, dcdc=(0x96, dcdc))
    spi.send(0x0D, 0x08, 0xAC, boosted)
    spi.send(*SET_RX)
    assert spi.chip.log.entries[-1][1:] == (Mode.RX.value, current_ua)


def test_power_off(spi):
    spi.set_up()
    spi.chip.power(False, spi.t_us)
    assert spi.raw(0xC0, 0) == b"\0\0"
    spi.chip.power(True, spi.t_us)
    spi.wait()
    assert spi.read(0x11, 0, count=1) == b"\0"
