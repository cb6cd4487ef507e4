"""The firmware's SX126x driver on the model of the chip: not one violation in all it does."""

import pytest
from chip_bench import UPLINK, Bench, Ear
from stoep_firmware.radio.sx126x import RX_DONE, TIMEOUT, TX_DONE, RadioError, Sx126x
from stoep_hardware.air import Listen
from stoep_hardware.chips.sx1262_tables import Mode

CHANNEL = (868_100_000, 7, 125_000)
RX2 = (869_525_000, 12, 125_000)
ACCEPT = bytes(range(33))


class RadioBench(Bench):
    def __init__(self, **radio):
        super().__init__()
        config = self.config["board"]["radio"] | radio
        self.radio = Sx126x(self.board.spi(), self.board.radio_pins(), self.board.delay_us, config)

    def ear(self, *listens, **options):
        return Ear(self.engine, self.air, *(listens or (UPLINK,)), **options)

    def transmit(self, channel=CHANNEL, power_dbm=14, data=b"hello"):
        self.radio.transmit(*channel, power_dbm, data, 5_000)
        self.sleep_until_dio1()
        return self.radio.outcome()

    def receive(self, channel=CHANNEL, symbols=12, timeout_ms=100):
        self.radio.receive(*channel, symbols, timeout_ms)
        assert self.sleep_until_dio1()
        return self.radio.outcome()


@pytest.fixture
def bench():
    bench = RadioBench()
    yield bench
    assert bench.hardware.violations == []


@pytest.fixture
def started(bench):
    bench.radio.start(868_100_000)
    return bench


def test_start(bench):
    bench.radio.start(868_100_000)
    assert bench.chip.mode is Mode.STBY_RC
    assert bench.chip._sync_word() == 0x34


def test_start_takes_milliseconds(bench):
    begun_us = bench.mcu.t_us
    bench.radio.start(868_100_000)
    # Reset 3.5 ms, two calibrations 3.5 and 1.5 ms, each with 5 ms for the TCXO; and some talk.
    assert 18_000 < bench.mcu.t_us - begun_us < 25_000


@pytest.mark.parametrize("sf", [7, 9, 12])
def test_an_uplink(started, sf):
    ear = started.ear(Listen(868_100_000, sf, 125_000, 0x34, iq_inverted=False))
    assert started.transmit((868_100_000, sf, 125_000)) == TX_DONE
    ((frame, intact),) = ear.heard
    assert intact
    assert frame.payload == b"hello"
    assert frame.crc_on
    assert not frame.iq_inverted
    assert frame.preamble == 8
    assert frame.coding_rate == 5
    assert frame.sync_word == 0x34
    assert not started.chip.dio1


@pytest.mark.parametrize("channel", [(868_300_000, 7, 250_000), (867_100_000, 7, 125_000)])
def test_other_channels(started, channel):
    freq_hz, sf, bw_hz = channel
    ear = started.ear(Listen(freq_hz, sf, bw_hz, 0x34, iq_inverted=False))
    assert started.transmit(channel) == TX_DONE
    assert [frame.freq_hz for frame, _ in ear.heard] == [freq_hz]


@pytest.mark.parametrize("power_dbm", range(-3, 23))
def test_the_power_asked_for(started, power_dbm):
    ear = started.ear()
    started.transmit(power_dbm=power_dbm)
    dbi = started.config["board"]["radio"]["antenna_dbi"]
    assert [frame.power_dbm for frame, _ in ear.heard] == [power_dbm + dbi]


def test_the_current_of_14_dbm(started):
    """45 mA with the optimal PA setting, not 89."""
    started.transmit(power_dbm=14)
    assert {ua for _, state, ua in started.chip.log.entries if state == "tx"} == {45_000.0}


def test_the_longest_frame(started):
    ear = started.ear()
    started.transmit(data=bytes(range(255)))
    assert [frame.payload for frame, _ in ear.heard] == [bytes(range(255))]


def test_a_downlink_with_inverted_iq(started):
    """Errata 15.4 the right way round: 33 octets come through."""
    ear = started.ear()
    ear.say_at(started.mcu.t_us + 20_000, ACCEPT, length_us=72_000)
    assert started.receive(symbols=30) == RX_DONE
    data, rssi_dbm, snr_db = started.radio.frame()
    assert data == ACCEPT
    assert -93 <= rssi_dbm <= -89
    assert snr_db == 13
    assert started.chip.mode is Mode.STBY_RC
    assert not started.chip.dio1


def test_the_current_of_receiving(started):
    """4.6 mA on DC-DC, not 8.9."""
    started.receive()
    assert {ua for _, state, ua in started.chip.log.entries if state == "rx"} == {4_600.0}


def test_an_uplink_of_another_device_is_not_heard(started):
    ear = started.ear()
    ear.say_at(started.mcu.t_us + 20_000, ACCEPT, iq_inverted=False, crc_on=True)
    assert started.receive(symbols=30) == TIMEOUT


def test_silence_ends_by_the_symbol_timeout(started):
    begun_us = started.mcu.t_us
    assert started.receive(symbols=12, timeout_ms=1_000) == TIMEOUT
    # 12 symbols of 1.024 ms, and the start of TCXO and receiver.
    assert 12_000 < started.chip.log.us_in("rx", started.engine.now_us) < 18_500
    assert started.engine.now_us - begun_us < 30_000


def test_a_damaged_downlink_is_a_timeout(started):
    ear, other = started.ear(), started.ear(position_m=(0.0, 100.0))
    at_us = started.mcu.t_us + 20_000
    ear.say_at(at_us, ACCEPT, crc_on=True, length_us=72_000)
    other.say_at(at_us + 20_000, bytes(33), crc_on=True, length_us=72_000)
    assert started.receive(symbols=30) == TIMEOUT


def test_one_wake_of_class_a(started):
    """Uplink, warm sleep to RX1, silence, warm sleep to RX2, downlink, cold sleep."""
    ear = started.ear()
    assert started.transmit() == TX_DONE
    ended_us = started.mcu.t_us
    started.radio.sleep(True)
    started.pause(980)
    assert started.receive() == TIMEOUT
    started.radio.sleep(True)
    ear.say_at(
        ended_us + 2_000_000, ACCEPT, freq_hz=RX2[0], sf=12, length_us=2_138_000, power_dbm=27.0
    )
    started.pause(950)
    assert started.receive(RX2, symbols=8, timeout_ms=3_000) == RX_DONE
    assert started.radio.frame()[0] == ACCEPT
    started.radio.sleep(False)
    assert started.chip.mode is Mode.SLEEP_COLD
    states = [state for _, state, _ in started.chip.log.entries]
    assert states.count("sleep_warm") == 2
    assert states[-1] == "sleep_cold"
    warm_us = started.chip.log.us_in("sleep_warm", started.engine.now_us)
    assert 1_850_000 < warm_us < 2_000_000, "it sleeps between the windows"


def test_again_after_cold_sleep(started):
    ear = started.ear()
    started.transmit(data=b"one")
    started.radio.sleep(False)
    started.pause(1_000)
    started.radio.start(868_100_000)
    started.transmit(data=b"two")
    assert [frame.payload for frame, _ in ear.heard] == [b"one", b"two"]


def test_nss_held_through_the_processors_deep_sleep(started):
    started.radio.sleep(False)
    started.board.arm(1)
    started.mcu.begin_deep(1_000)
    started.engine.run_until(started.mcu.t_us + 500_000)
    assert started.chip.mode is Mode.SLEEP_COLD


def test_nss_that_floats_wakes_the_radio(started):
    """Why the firmware holds it: 0.6 mA all night."""
    started.radio.sleep(False)
    started.mcu.begin_deep(1_000)
    started.engine.run_until(started.mcu.t_us + 500_000)
    assert started.chip.mode is Mode.STBY_RC


def test_a_radio_that_is_not_there(bench):
    bench.mcu.buses.spi_slave = None
    with pytest.raises(RadioError) as caught:
        bench.radio.start(868_100_000)
    assert caught.value.code == 65


def test_busy_that_never_falls(bench):
    busy = bench.config["board"]["radio"]["busy"]
    bench.mcu.inputs[busy].level = lambda _: True
    bench.mcu.inputs[busy].stable_until_us = None
    with pytest.raises(RadioError) as caught:
        bench.radio.start(868_100_000)
    assert caught.value.code == 64


def test_a_tcxo_that_config_does_not_know():
    bench = RadioBench(tcxo_mv=0)
    with pytest.raises(RadioError) as caught:
        bench.radio.start(868_100_000)
    assert caught.value.code >= 80
    assert any("TCXO" in what for what in bench.hardware.violations)
