"""The whole firmware on a board of chip models, on either runtime, heard by a network."""

import itertools

import pytest
from chip_bench import BOARD, Ear, device_config, quiet_air
from dual_device import CHANNELS_HZ, Network, new_key
from stoep_hardware import board_data
from stoep_hardware.air import Listen
from stoep_hardware.chips.sx1262_tables import Mode
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.engine import US_PER_S, Engine
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_hardware.sim_board import SimBoard
from stoep_hardware.world import Bay, Weather
from stoep_protocol import messages, schema
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan.airtime import time_on_air_us

HOUR_US = 3_600 * US_PER_S
RX2_HZ, RX2_SF = 869_525_000, 12


class Far(Ear):
    """A gateway and its network server in one: answers at the microsecond, or `late_us` after."""

    def __init__(self, engine, air, config):
        listens = [
            Listen(freq_hz, sf, 125_000, 0x34, iq_inverted=False)
            for freq_hz in CHANNELS_HZ
            for sf in range(7, 13)
        ]
        super().__init__(engine, air, *listens)
        self.network = Network()
        self.network.app_key = new_key(bytes.fromhex(config["app_key"]))
        self.network.dev_eui = bytes.fromhex(config["dev_eui"])
        self.network.join_eui = bytes.fromhex(config["join_eui"])
        self.uplinks = []  # (t_us, frame on the air, message or None, LoRaWAN frame or None)
        self.down = []
        self.deaf = False
        self.second = False
        self.late_us = 0

    def on_frame(self, frame, intact, rssi_dbm, snr_db, t_us):
        assert intact
        if self.deaf:
            return
        if frame.payload[0] == frames.JOIN_REQUEST:
            self.uplinks.append((t_us, frame, None, None))
            self.answer(frame, self.network.accept(frame.payload), 5)
            return
        data, payload = self.network.open(frame.payload)
        message = None if data.f_port is None else messages.decode(data.f_port, payload)
        self.uplinks.append((t_us, frame, message, data))
        if self.down:
            self.answer(frame, self.network.down(**self.down.pop(0)), 1)
        elif data.confirmed:
            self.answer(frame, self.network.down(ack=True), 1)

    def answer(self, frame, payload, delay_s):
        freq_hz, sf = frame.freq_hz, frame.sf
        if self.second:
            delay_s, freq_hz, sf = delay_s + 1, RX2_HZ, RX2_SF
        self.say_at(
            frame.end_us + delay_s * US_PER_S + self.late_us,
            payload,
            freq_hz=freq_hz,
            sf=sf,
            length_us=time_on_air_us(len(payload), sf, 125_000, crc=False),
        )

    @property
    def messages(self):
        return [message for _, _, message, _ in self.uplinks if message is not None]


class Place:
    """One device, its world and its network."""

    def __init__(self, runtime, *, kind="bin", seed=1, field=True, rtc_ppm=0.0, **config):
        self.engine = Engine(seed)
        self.air = quiet_air(self.engine)
        self.config = device_config(kind=kind, **config)
        self.distance = 800
        self.bay = Bay(self.engine, "1", Weather(0)) if kind == "bay" else None
        self.board = SimBoard(
            self.engine,
            self.air,
            board_data.load(BOARD),
            self.config,
            distance=self if kind == "bin" else None,
            field=self.bay if field else None,
            rtc_ppm=rtc_ppm,
            keep_states=True,
        )
        self.far = Far(self.engine, self.air, self.config)
        self.device = runtime(self.engine, self.board, self.config)
        self.device.start(0)

    def distance_mm(self, t_us):
        return self.distance

    def run(self, hours=0.0, seconds=0.0):
        self.engine.run_until(self.engine.now_us + round(hours * HOUR_US + seconds * US_PER_S))

    def check(self):
        assert self.board.violations == []


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
