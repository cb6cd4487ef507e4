"""The SX126x driver on the chip's model, and on chips that are broken or not there."""

import pytest
from chip_bench import Bench, Ear, EmptyBus
from stoep_firmware import radio as radios
from stoep_firmware.radio import sx126x
from stoep_hardware.air import Listen
from stoep_hardware.chips.sx1262_tables import Mode

FREQ_HZ = 868_100_000


def radio_on(bench, *, spi=None, pins=None, **config):
    board = bench.board
    return sx126x.Sx126x(
        spi or board.spi(),
        pins or board.radio_pins(),
        board.delay_us,
        {**board.wiring["radio"], **config},
    )


@pytest.mark.parametrize("power_dbm", [-9, 0, 2, 10, 13, 14, 15, 17, 18, 20, 21, 22])
def test_power_asked_for_is_power_sent(power_dbm):
    bench = Bench()
    ear = Ear(bench.engine, bench.air, Listen(FREQ_HZ, 7, 125_000, 0x34, iq_inverted=False))
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    radio.transmit(FREQ_HZ, 7, 125_000, power_dbm, b"abc", 200)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.TX_DONE
    ((frame, intact),) = ear.heard
    assert intact
    assert frame.payload == b"abc"
    assert frame.power_dbm == pytest.approx(power_dbm + 2)  # the antenna's gain
    assert bench.chip.violations == []


@pytest.mark.parametrize(("sf", "bw_hz"), [(7, 125_000), (12, 125_000), (7, 250_000), (8, 500_000)])
def test_downlink_is_heard_after_a_warm_sleep(sf, bw_hz):
    bench = Bench()
    ear = Ear(bench.engine, bench.air)
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    radio.sleep(True)
    bench.pause(500)
    payload = bytes(range(64))
    start_us = bench.mcu.t_us + 30_000
    ear.say_at(start_us, payload, sf=sf, bw_hz=bw_hz, length_us=3_000_000)
    radio.receive(FREQ_HZ, sf, bw_hz, 60, 4_000)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.RX_DONE
    data, rssi_dbm, snr_db = radio.frame()
    assert data == payload
    assert -90 < rssi_dbm < -50
    assert snr_db > 0
    radio.sleep(False)
    assert bench.chip.mode is Mode.SLEEP_COLD
    assert bench.chip.violations == []


@pytest.mark.parametrize("symbols", [8, 24, 36, 63, 100, 248])
def test_silence_ends_after_the_symbols_asked_for(symbols):
    bench = Bench()
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    begin_us = bench.mcu.t_us
    radio.receive(FREQ_HZ, 9, 125_000, symbols, 10_000)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.TIMEOUT
    took_ms = (bench.mcu.t_us - begin_us) / 1000
    # Mantissa and exponent round up, by at most seven symbols; setting up takes some ms.
    assert symbols * 4.096 <= took_ms <= (symbols + 8) * 4.096 + 15


@pytest.mark.parametrize("power_dbm", [-9, 0, 9, 10, 11, 14, 15, 17, 20, 22])
def test_power_of_the_sx1268(power_dbm):
    """Its table 13-21 has other settings below 17 dBm; 490 MHz is what it is made for."""
    bench = Bench(radio={"chip": "sx1268"})
    freq_hz = 490_000_000
    ear = Ear(bench.engine, bench.air, Listen(freq_hz, 7, 125_000, 0x34, iq_inverted=False))
    radio = radio_on(bench)
    radio.start(freq_hz)
    radio.transmit(freq_hz, 7, 125_000, power_dbm, b"abc", 200)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.TX_DONE
    assert [frame.power_dbm for frame, _ in ear.heard] == [pytest.approx(power_dbm + 2)]
    assert bench.chip.violations == []


def test_the_sx1268_is_not_for_868_mhz():
    bench = Bench(radio={"chip": "sx1268"})
    with pytest.raises(radios.RadioError) as raised:
        radio_on(bench).start(FREQ_HZ)
    assert raised.value.code == radios.WRONG_BAND


@pytest.mark.parametrize(("dcdc", "current_ua"), [(True, 4_600), (False, 8_880)])
def test_a_module_without_a_coil_stays_on_the_ldo(dcdc, current_ua):
    bench = Bench(radio={"dcdc": dcdc})
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    radio.receive(FREQ_HZ, 7, 125_000, 8, 100)
    assert bench.chip.log.entries[-1][1:] == ("rx", current_ua)


def test_the_processor_need_not_wait_for_the_tcxo():
    """Its 5 ms pass asleep."""
    bench = Bench()
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    radio.sleep(True)
    bench.pause(100)
    begin_us = bench.mcu.t_us
    radio.transmit(FREQ_HZ, 7, 125_000, 14, bytes(30), 300)
    assert bench.mcu.t_us - begin_us < 3_000
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.TX_DONE
    assert bench.chip.violations == []


def test_tcxo_that_does_not_start_is_named():
    radio = radio_on(Bench(), tcxo_mv=1600)
    with pytest.raises(radios.RadioError) as raised:
        radio.start(FREQ_HZ)
    assert raised.value.code == radios.DEVICE_ERROR + 5  # XOSC_START_ERR (DS 13.6)


def test_busy_line_that_never_falls_is_given_up():
    bench = Bench()
    pins = bench.board.radio_pins()
    pins.busy = lambda: 1
    begin_us = bench.mcu.t_us
    with pytest.raises(radios.RadioError) as raised:
        radio_on(bench, pins=pins).start(FREQ_HZ)
    assert raised.value.code == radios.BUSY_STUCK
    assert 50_000 < bench.mcu.t_us - begin_us < 300_000


@pytest.mark.parametrize("level", [0x00, 0xFF])
def test_empty_bus_is_no_radio(level):
    with pytest.raises(radios.RadioError) as raised:
        radio_on(Bench(), spi=EmptyBus(level)).start(FREQ_HZ)
    assert raised.value.code == radios.NOT_THERE


@pytest.mark.parametrize(
    ("freq_hz", "band"),
    [
        (433_175_000, (0x6B, 0x6F)),
        (490_000_000, (0x75, 0x81)),
        (780_000_000, (0xC1, 0xC5)),
        (869_525_000, (0xD7, 0xDB)),
        (923_300_000, (0xE1, 0xE9)),
    ],
)
def test_image_is_calibrated_for_the_band_in_use(freq_hz, band):
    # DS 9.2.1: CalibrateImage takes the band's bounds, coded so.
    bench = Bench()
    seen = []
    spi = bench.board.spi()

    class Tap:
        readinto = staticmethod(spi.readinto)

        def write(self, out):
            seen.append(bytes(out))
            spi.write(out)

    radio_on(bench, spi=Tap()).start(freq_hz)
    assert bytes((0x98, *band)) in seen
