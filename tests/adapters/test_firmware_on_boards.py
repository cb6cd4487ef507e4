"""The whole firmware on a board of chip models, on either runtime, heard by a network."""

import itertools

import pytest
from firmware_place import Place
from stoep_hardware.chips.sx1262_tables import Mode
from stoep_hardware.devices import CPythonDevice, DeviceCrashedError
from stoep_hardware.engine import US_PER_S
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_hardware.pins import Input
from stoep_protocol import messages, schema


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder for the compiled firmware, so that it is compiled once."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(params=["cpython", "micropython"])
def runtime(request, compiled):
    if request.param == "cpython":
        yield CPythonDevice
        return
    if not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    with MicroPythonRuntime(compiled) as program:
        yield lambda *arguments: MicroPythonDevice(*arguments, program)


@pytest.fixture
def place(runtime):
    made = []

    def make(**options):
        made.append(Place(runtime, **options))
        return made[-1]

    yield make
    for one in made:
        one.device.close()


def of(kind, far):
    return [message for message in far.messages if isinstance(message, kind)]


def test_container_joins_and_reports_every_hour(place):
    here = place()
    here.run(hours=5.5)
    joins = [frame for _, frame, message, _ in here.far.uplinks if message is None]
    assert len(joins) == 1
    reports = of(messages.BinReport, here.far)
    assert [report.sequence for report in reports] == list(range(len(reports)))
    assert len(reports) >= 6
    assert {report.distance_mm for report in reports} == {800}
    assert {report.quality for report in reports} == {4}
    status = of(messages.Status, here.far)[0]
    assert status.errors == ()
    assert status.reset_reason == schema.RESET_POWER_ON
    for _, frame, _, _ in here.far.uplinks:
        assert frame.power_dbm == pytest.approx(16.0)  # EIRP
        assert (frame.crc_on, frame.iq_inverted, frame.sync_word) == (True, False, 0x34)
    here.check()


def test_between_wakes_everything_sleeps(place):
    here = place()
    here.run(hours=1.5)
    assert here.board.radio.mode is Mode.SLEEP_COLD
    before_uc = here.board.charge_uc(here.engine.now_us)
    here.run(seconds=60)
    # 15 uA of the board and the radio's 160 nA: NSS is held, the sensor is without power.
    assert here.board.charge_uc(here.engine.now_us) - before_uc < 60 * 16


def test_bay_sleeps_while_its_sensor_watches(place):
    here = place(kind="bay")
    here.run(hours=1.5)
    before_uc = here.board.charge_uc(here.engine.now_us)
    here.run(seconds=60)
    # Beside the board's 15 uA the magnetometer, measuring 0.6 times a second in low power.
    assert here.board.charge_uc(here.engine.now_us) - before_uc < 60 * 19


def test_uplink_costs_the_radio_little(place):
    here = place()
    here.run(hours=1.2)
    sent = len(here.far.uplinks)
    radio = here.board.radio.log
    before_uc = radio.charge_uc(here.engine.now_us)
    here.run(hours=1)
    assert len(here.far.uplinks) == sent + 1
    _, frame, _, _ = here.far.uplinks[-1]
    airtime_ms = (frame.end_us - frame.start_us) / 1000
    # 45 mA at 14 dBm, the TCXO's start included; RX1 at SF7 and RX2 at SF12, both empty, at 4.6 mA
    # by DC-DC; standby for a start and between commands; an hour of deepest sleep.
    expected_uc = 45 * (airtime_ms + 6) + 4.6 * (43 + 334) + 60 + 600
    assert radio.charge_uc(here.engine.now_us) - before_uc < expected_uc


@pytest.mark.parametrize("kind", ["bin", "bay"])
def test_charge_the_device_counts_is_the_charge_its_chips_take(kind):
    here = Place(CPythonDevice, kind=kind)
    here.run(hours=28 * 24)
    status = of(messages.Status, here.far)[-1]
    taken_mah = here.board.charge_uc(here.engine.now_us) / 3_600_000
    here.device.close()
    assert taken_mah > 15
    # The last status is up to a day old and counts whole mAh; the sums agree to 4 %.
    tolerance_mah = taken_mah / 28 + 1 + 0.04 * taken_mah
    assert status.charge_used_mah == pytest.approx(taken_mah, abs=tolerance_mah)


def test_answer_in_rx2_is_heard(place):
    here = place(confirmed_every=1)
    here.far.second = True
    here.run(hours=2.2)
    confirmed = [data.f_cnt for _, _, _, data in here.far.uplinks if data and data.confirmed]
    assert len(confirmed) >= 3
    assert len(set(confirmed)) == len(confirmed)
    here.check()


@pytest.mark.parametrize("rtc_ppm", [-2500.0, 2500.0])
@pytest.mark.parametrize("second", [False, True])
def test_windows_allow_for_a_bad_clock(place, rtc_ppm, second):
    here = place(rtc_ppm=rtc_ppm, confirmed_every=1)
    here.far.second = second
    here.run(hours=1.5)
    counters = [data.f_cnt for _, _, _, data in here.far.uplinks if data]
    assert len(counters) >= 3
    assert counters == sorted(set(counters))  # nothing had to be repeated
    here.check()


def test_configuration_comes_down(place):
    here = place()
    wanted = messages.Configuration(interval_min=20)
    here.run(seconds=60)
    here.far.down = [{"f_port": 13, "data": messages.encode(wanted)[1]}]
    here.run(hours=3)
    acknowledged = of(messages.ConfigurationAck, here.far)
    assert acknowledged == [messages.ConfigurationAck(messages.config_hash(wanted))]
    times = [
        t_us for t_us, _, message, _ in here.far.uplinks if type(message).__name__ == "BinReport"
    ]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert all(abs(gap - 1_200 * US_PER_S) < US_PER_S for gap in gaps[-4:])
    here.check()


def test_power_loss_needs_no_join(place):
    here = place()
    here.run(hours=2.5)
    last = here.far.network.f_cnt_up
    here.device.power_cycle()
    here.run(hours=1.5)
    assert len(here.far.network.dev_nonces) == 1
    counters = [data.f_cnt for _, _, _, data in here.far.uplinks if data]
    assert counters == sorted(set(counters))
    assert counters[-1] > last
    here.check()


def test_reset_in_the_middle_of_a_join_uses_no_nonce_twice(place):
    here = place()
    here.far.deaf = True
    for seconds in (1, 3, 2, 5, 4):
        here.run(seconds=seconds)
        here.device.reset(watchdog=True)
    here.run(seconds=2)
    here.device.power_cycle()
    here.far.deaf = False
    here.run(hours=1)
    assert len(here.far.network.dev_nonces) == 1  # accept() refuses what it has seen
    assert of(messages.BinReport, here.far)
    here.check()


def test_car_wakes_the_board(place):
    here = place(kind="bay")
    here.run(hours=0.4)
    here.bay.arrive()
    here.run(seconds=30)
    report = here.far.messages[-1]
    assert (report.state, report.change_count) == (schema.OCCUPIED, 1)
    assert report.previous_duration_s is None
    here.run(hours=0.3)
    here.bay.leave()
    here.run(seconds=30)
    report = here.far.messages[-1]
    assert (report.state, report.change_count) == (schema.FREE, 2)
    assert report.previous_duration_s == pytest.approx(0.3 * 3600 + 30, rel=0.06)
    assert report.age_s < 10
    wakes = here.device.wakes
    here.run(hours=1.9)
    assert here.device.wakes - wakes <= 3  # heartbeats, and no interrupt that never ends
    here.check()


def test_missing_sensor_is_an_error_code_and_no_crash(place):
    here = place(kind="bay", field=False)
    here.run(hours=2.5)
    assert schema.ERROR_SENSOR_BUS in of(messages.Status, here.far)[0].errors
    assert len(of(messages.BayReport, here.far)) >= 2
    here.check()


def test_interrupt_line_stuck_high_lets_the_board_sleep(place):
    here = place(kind="bay", field=False)
    here.board.esp32.inputs[here.config["board"]["sensor_int"]] = Input(lambda _t_us: True)
    here.run(hours=2.5)
    assert here.device.wakes <= 18  # it looks for its sensor every ten minutes
    reports = of(messages.BayReport, here.far)
    assert {report.state for report in reports} == {schema.UNCERTAIN}
    assert len(reports) >= 2


def test_sensor_that_comes_back_is_watched_again(place):
    here = place(kind="bay")
    here.run(hours=0.5)
    slaves = here.board.esp32.buses.i2c_slaves
    cable = dict(slaves)
    slaves.clear()
    here.run(hours=1.2)
    assert of(messages.BayReport, here.far)[-1].state == schema.UNCERTAIN
    slaves.update(cable)
    here.run(hours=0.3)
    assert of(messages.BayReport, here.far)[-1].state == schema.FREE
    here.bay.arrive()
    here.run(hours=0.1)
    assert of(messages.BayReport, here.far)[-1].state == schema.OCCUPIED
    here.check()


def test_configuration_without_a_board_ends_in_deep_sleep_and_not_at_the_prompt(compiled):
    if not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    with MicroPythonRuntime(compiled) as program:
        here = Place(lambda *arguments: MicroPythonDevice(*arguments, program))
        here.device.write_file("config.json", b'{"kind": "bin"}')
        here.run(seconds=10)
        assert not here.board.esp32.is_awake
        with pytest.raises(DeviceCrashedError, match="KeyError: board"):
            here.device.close()


def test_no_echo_is_reported_as_such(place):
    here = place()
    here.distance = None
    here.run(hours=1.2)
    assert {report.distance_mm for report in of(messages.BinReport, here.far)} == {None}
    here.check()


def test_both_runtimes_put_the_same_on_the_air(place):
    first = Place(CPythonDevice, confirmed_every=2)
    second = place(confirmed_every=2)
    sent = []
    for here in (first, second):
        here.far.second = True
        here.run(hours=6)
        sent.append([(frame.start_us, frame.payload) for _, frame, _, _ in here.far.uplinks])
    first.device.close()
    assert sent[0] == sent[1]
