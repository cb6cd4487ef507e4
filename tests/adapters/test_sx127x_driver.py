"""The SX127x driver on the chip's model, and on chips that are broken or not there."""

import pytest
from chip_bench import Bench, Ear, EmptyBus
from stoep_firmware import radio as radios
from stoep_firmware.radio import sx127x
from stoep_hardware.air import Frame, Listen
from stoep_hardware.chips.sx1276_tables import Mode

FREQ_HZ = 868_100_000
LOW_HZ = 433_175_000
BOARD = "lilygo_ttgo_lora32_v21"


def bench_with(**radio):
    return Bench(board=BOARD, radio=radio)


def radio_on(bench, *, spi=None, **config):
    board = bench.board
    return sx127x.Sx127x(
        spi or board.spi(),
        board.radio_pins(),
        board.delay_us,
        {**board.wiring["radio"], **config},
    )


@pytest.mark.parametrize(
    ("power_dbm", "sent_dbm"),
    [(-4, 2), (0, 2), (2, 2), (10, 10), (14, 14), (17, 17), (18, 18), (20, 20), (22, 20)],
)
def test_power_at_pa_boost(power_dbm, sent_dbm):
    assert power_sent(bench_with(pa_boost=True), power_dbm) == pytest.approx(sent_dbm + 2)


@pytest.mark.parametrize(
    ("power_dbm", "sent_dbm"),
    [(-9, -4.2), (-4, -4.2), (-1, -1.2), (0, 0), (7, 7), (14, 14), (20, 14)],
)
def test_power_at_rfo(power_dbm, sent_dbm):
    assert power_sent(bench_with(pa_boost=False), power_dbm) == pytest.approx(sent_dbm + 2)


def power_sent(bench, power_dbm):
    """Send b"abc" and return at what power it was on the air, the antenna's gain included."""
    ear = Ear(bench.engine, bench.air, Listen(FREQ_HZ, 7, 125_000, 0x34, iq_inverted=False))
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    radio.transmit(FREQ_HZ, 7, 125_000, power_dbm, b"abc", 200)
    assert not radio.interrupted()
    assert bench.sleep_until_radio()
    assert radio.interrupted()
    assert radio.outcome() == radios.TX_DONE
    assert not radio.interrupted()
    ((frame, intact),) = ear.heard
    assert intact
    assert (frame.payload, frame.preamble, frame.crc_on, frame.coding_rate) == (b"abc", 8, True, 5)
    assert bench.chip.violations == []
    return frame.power_dbm


@pytest.mark.parametrize("sf", range(7, 13))
@pytest.mark.parametrize("bw_hz", [125_000, 250_000, 500_000])
def test_a_downlink_is_heard_after_a_sleep(sf, bw_hz):
    bench = Bench(board=BOARD)
    ear = Ear(bench.engine, bench.air)
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    radio.sleep(True)
    bench.pause(500)
    payload = bytes(range(64))
    ear.say_at(bench.mcu.t_us + 15_000, payload, sf=sf, bw_hz=bw_hz, length_us=3_000_000)
    radio.receive(FREQ_HZ, sf, bw_hz, 100, 4_000)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.RX_DONE
    data, rssi_dbm, snr_db = radio.frame()
    assert data == payload
    assert -95 < rssi_dbm < -85  # 14 dBm less 105.75 dB, and the antenna
    assert snr_db == 13
    radio.sleep(False)
    assert bench.chip.mode is Mode.SLEEP
    assert bench.chip.violations == []


def test_a_weak_downlink_is_reported_below_the_noise():
    bench = Bench(board=BOARD)
    ear = Ear(bench.engine, bench.air, position_m=(1_500.0, 0.0))
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    ear.say_at(bench.mcu.t_us + 20_000, b"down", power_dbm=11.0)
    radio.receive(FREQ_HZ, 7, 125_000, 100, 4_000)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.RX_DONE
    _, rssi_dbm, snr_db = radio.frame()
    assert -8 <= snr_db < 0
    assert -125 < rssi_dbm < -115
    assert bench.chip.violations == []


@pytest.mark.parametrize("symbols", [1, 4, 8, 36, 255, 256, 1000, 1023, 2000])
def test_silence_ends_after_the_symbols_asked_for(symbols):
    bench = Bench(board=BOARD)
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    begin_us = bench.mcu.t_us
    radio.receive(FREQ_HZ, 9, 125_000, symbols, 10_000)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.TIMEOUT
    waited_ms = min(1023, max(4, symbols)) * 4.096
    assert waited_ms <= (bench.mcu.t_us - begin_us) / 1000 <= waited_ms + 10
    assert bench.chip.violations == []


def test_a_damaged_frame_counts_as_none():
    bench = Bench(board=BOARD)
    ear = Ear(bench.engine, bench.air)
    other = Ear(bench.engine, bench.air, position_m=(0.0, 100.0))
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    ear.say_at(bench.mcu.t_us + 20_000, b"down", crc_on=True)
    other.say_at(bench.mcu.t_us + 40_000, b"collision")
    radio.receive(FREQ_HZ, 7, 125_000, 100, 4_000)
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.TIMEOUT


def test_a_false_preamble_is_told_from_a_frame_under_way():
    """The chip has no timer of its own: whoever waits asks, and ends what has no header."""
    bench = Bench(board=BOARD)
    radio = radio_on(bench)
    radio.start(FREQ_HZ)
    radio.receive(FREQ_HZ, 7, 125_000, 20, 4_000)
    bench.pause(15)
    t_us = bench.engine.now_us
    noise = Frame(
        FREQ_HZ, 7, 125_000, 5, 0x34, True, False, 8, False, 14.0, b"", t_us, t_us + 9_000
    )
    bench.chip.on_preamble(noise, t_us)
    bench.pause(500)
    assert not radio.interrupted()
    assert radio.outcome() == radios.STOPPED
    radio.sleep(True)
    # A frame that has a header is not ended.
    ear = Ear(bench.engine, bench.air)
    radio.receive(FREQ_HZ, 7, 125_000, 100, 4_000)
    ear.say_at(bench.mcu.t_us + 5_000, bytes(64), length_us=400_000)
    bench.pause(100)
    assert radio.outcome() == 0
    assert bench.sleep_until_radio()
    assert radio.outcome() == radios.RX_DONE
    assert bench.chip.violations == []


@pytest.mark.parametrize("tcxo", [False, True])
def test_either_oscillator(tcxo):
    assert power_sent(bench_with(tcxo=tcxo, pa_boost=True), 14) == 16


def test_the_low_port():
    """On an SX1278 at 433 MHz everything works, above 525 MHz it is refused before it sends."""
    bench = bench_with(chip="sx1278")
    radio = radio_on(bench)
    with pytest.raises(radios.RadioError) as raised:
        radio.start(FREQ_HZ)
    assert raised.value.code == radios.WRONG_BAND
    ear = Ear(bench.engine, bench.air)
    radio.start(LOW_HZ)
    for bw_hz in (125_000, 500_000):
        ear.say_at(bench.mcu.t_us + 20_000, b"down", freq_hz=LOW_HZ, bw_hz=bw_hz)
        radio.receive(LOW_HZ, 7, bw_hz, 100, 4_000)
        assert bench.sleep_until_radio()
        assert radio.outcome() == radios.RX_DONE
        data, rssi_dbm, _ = radio.frame()
        assert data == b"down"
        assert -95 < rssi_dbm < -85
    assert bench.chip.violations == []


@pytest.mark.parametrize("level", [0x00, 0xFF])
def test_empty_bus_is_no_radio(level):
    with pytest.raises(radios.RadioError) as raised:
        radio_on(Bench(board=BOARD), spi=EmptyBus(level)).start(FREQ_HZ)
    assert raised.value.code == radios.NOT_THERE


def test_a_calibration_that_never_ends_is_given_up():
    bench = Bench(board=BOARD)
    spi = bench.board.spi()

    class Tap:
        """Shows the calibration as running for ever."""

        register = 0

        def write(self, out):
            self.register = out[0]
            spi.write(out)

        def readinto(self, buffer, write=0):
            spi.readinto(buffer)
            if self.register == 0x3B:
                buffer[0] |= 0x20

    begin_us = bench.mcu.t_us
    with pytest.raises(radios.RadioError) as raised:
        radio_on(bench, spi=Tap()).start(FREQ_HZ)
    assert raised.value.code == radios.BUSY_STUCK
    assert 30_000 < bench.mcu.t_us - begin_us < 200_000
