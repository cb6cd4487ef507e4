"""A container's own task and our whole network server: gaps are noticed, asked for and filled."""

import datetime

import pytest
from dual_device import Board
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_in_hand import NetworkInHand
from stoep_firmware.bin_task import BinTask
from stoep_firmware.drivers.a02yyuw import NEAREST_MM
from stoep_firmware.meter import Meter
from stoep_firmware.settings import Settings
from stoep_gateway.config import load
from stoep_gateway.integrations.events import Reception, SourceUplink
from stoep_gateway.lns.queue import Queued
from stoep_protocol.lorawan import frames
from stoep_protocol.messages import encode
from stoep_protocol.requests import ReadingsRequest
from stoep_protocol.schema import F_PORT_READINGS_REQUEST

HOUR_MS = 3_600_000
EUI, KEY = "70b3d57ed0000001", "2b7e151628aed2a6abf7158809cf4f3c"
GUEST = "70b3d57ed0000002"
CONFIG = f"""
site = "street"
timezone = "UTC"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[source]]
id = "city"
kind = "the_things_stack"
application = "a@ttn"
[[device]]
dev_eui = "{EUI}"
app_key = "{KEY}"
asset = "container/corner"
[[device]]
dev_eui = "{GUEST}"
source = "city"
asset = "container/square"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
[[container]]
id = "square"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
"""


class Bin:
    """A container's readings, from the sensor to what is published; the radio is the test's."""

    def __init__(self, network, history=3):
        self.network = network
        self.board = Board(history=history)
        self.task = BinTask(self.board, Settings(self.board.config), self._fault, Meter({}))
        self.radio = network.join((bytes.fromhex(EUI), bytes.fromhex(KEY)))
        self.taken = {}  # by number: UTC ms and mm
        self.orders = 0
        self.f_cnt_down = 0
        self.seen = 0

    def _fault(self, code):
        raise AssertionError(code)

    def hour(self, mm=800):
        """Take a reading; return the frames of what there is to say."""
        # Of a wake of a few seconds the network's clock sees no more than the hour.
        begun_ms = self.board.clock.ms = self.board.clock.ms // HOUR_MS * HOUR_MS + HOUR_MS
        self.network.pass_ms(HOUR_MS, HOUR_MS)
        self.board.distances_mm = [mm] * 5
        for _, until_ms in self.task.sense(False):
            self.board.clock.ms = until_ms
        self.taken[len(self.taken)] = (self.network.clock.utc_ms(), mm)
        assert self.board.clock.ms - begun_ms < 10_000
        return self.say()

    def say(self):
        said = []
        while True:
            message = self.task.next_message(self.board.clock.ms, 51)
            if message is None:
                return said
            said.append(self.radio.uplink(message))
            self.task.said(message)

    def send(self, phy_payload):
        """Let a frame arrive; return the payloads of requests that come down in its windows."""
        before = len(self.network.orders)
        self.network.take(phy_payload)
        asked = []
        for order in self.network.orders[before:]:
            self.network.answer("", order)
            frame = frames.parse(order.phy_payload)
            payload = frames.decrypt_payload(frame, self.radio.app_s_key, frame.f_cnt)
            if frame.f_port == F_PORT_READINGS_REQUEST:
                asked.append(payload)
        return asked

    def published(self):
        """Return (number, UTC ms, mm) of every reading told so far."""
        readings = []
        for _, payload in self.network.published:
            if payload.get("event") == "reading":
                at, late = payload["time_utc"], True
            elif "measured_utc" in payload and payload["measured_utc"] == payload["time_utc"]:
                at, late = payload["measured_utc"], False
            else:
                continue
            utc_ms = round(datetime.datetime.fromisoformat(at).timestamp() * 1000)
            readings.append((payload["sequence"], utc_ms, payload["distance_mm"], late))
        return readings

    def check(self):
        """Each reading at most once, with its number, its time and its value."""
        readings = self.published()
        numbers = [number for number, _, _, _ in readings]
        assert len(numbers) == len(set(numbers))
        for number, utc_ms, distance_mm, late in readings:
            taken_ms, mm = self.taken[number]
            assert abs(utc_ms - taken_ms) <= 90_000, number
            assert distance_mm == ((mm + 5) // 10 * 10 if late else mm), number
        return set(numbers)


@pytest.fixture
def network(tmp_path):
    return NetworkInHand(tmp_path, CONFIG)


def test_a_gap_is_asked_for_in_the_very_window_and_filled_by_the_next_report(network):
    device = Bin(network)
    for hour in range(10):
        asked = [one for frame in device.hour() if hour not in range(2, 9) for one in
                 device.send(frame)]  # fmt: skip
    assert asked == [encode(ReadingsRequest(5, 4))[1]]
    assert device.check() == {0, 1, 6, 7, 8, 9}
    device.task.asked(asked[0])
    (frame,) = device.hour()
    assert device.send(frame) == []
    assert device.check() == set(range(11))
    state = network.published[-1][1]
    assert (state["sequence"], state["missing_readings"]) == (10, 0)
    late = [it for _, it in network.published if it.get("event") == "reading"]
    assert [it["sequence"] for it in late] == [6, 7, 8, 2, 3, 4, 5]
    assert all(it["received_utc"] > it["time_utc"] for it in late)


def test_an_old_gap_is_filled_by_uplinks_of_its_own(network):
    device = Bin(network)
    lost = [frame for _ in range(30) for frame in device.hour()]
    for hour in range(40):
        frames_ = device.hour()
        if hour == 0:
            device.send(frames_[0])  # so the first thirty but three are not known of at all
        elif hour > 35:
            for frame in frames_:
                for payload in device.send(frame):
                    device.task.asked(payload)
    assert len(lost) == 30
    assert device.check() == set(range(27, 70))


def test_an_applications_downlink_goes_first_and_the_request_with_a_later_report(network):
    device = Bin(network)
    device.send(device.hour()[0])
    for _ in range(8):
        device.hour()
    network.memory.last_downlink_id = 7
    assert network.pipeline.downlinks.enqueue(
        Queued(7, bytes.fromhex(EUI), 99, b"x"), lambda: None
    ) is None  # fmt: skip
    assert device.send(device.hour()[0]) == []
    network.pass_ms(60_000)
    assert network.memory.queue.of_device(bytes.fromhex(EUI)) == ()
    assert [it["event"] for it in network.events() if it["downlink_id"] == 8] == [
        "downlink_expired"
    ]
    for _ in range(2):
        device.send(device.hour()[0])
    assert network.metrics.counts["readings_requests"] == 2


def test_what_was_asked_for_is_found_again_after_a_restart(network):
    device = Bin(network)
    device.send(device.hour()[0])
    for _ in range(8):
        device.hour()
    assert len(device.send(device.hour()[0])) == 1
    network.restart()
    (payload,) = device.send(device.hour()[0])
    device.task.asked(payload)
    device.send(device.hour()[0])
    assert device.check() == set(range(12))


def test_requests_can_be_switched_off(tmp_path):
    off = CONFIG.replace("[[gateway]]", "[readings]\nrequest_missing = false\n[[gateway]]", 1)
    network = NetworkInHand(tmp_path, off)
    assert not load(tmp_path / "stoep.toml").readings.request_missing
    device = Bin(network)
    device.send(device.hour()[0])
    for _ in range(8):
        device.hour()
    assert device.send(device.hour()[0]) == []
    assert "readings_requests" not in network.metrics.counts


def test_a_device_of_another_network_server_is_asked_by_way_of_it(network):
    device = Bin(network)
    heard = 0

    def arrive(message):
        nonlocal heard
        heard += 1
        utc_ms = network.clock.utc_ms()
        f_port, data = encode(message)
        network.others.receive(
            SourceUplink(
                "city", bytes.fromhex(GUEST), f"k{heard}", "s", heard, f_port, data, False, 5, 7,
                125_000, 868_100_000, (Reception("g", -90.0, 7.0),), utc_ms, utc_ms, "guest",
            ),
            lambda: None,
        )  # fmt: skip
        network.commit()

    for hour in range(12):
        network.pass_ms(HOUR_MS, HOUR_MS)
        device.board.clock.ms += HOUR_MS
        for _, until_ms in device.task.sense(False):
            device.board.clock.ms = until_ms
        message = device.task.next_message(device.board.clock.ms, 51)
        device.task.said(message)
        if hour not in range(1, 8):
            arrive(message)
        if hour == 8:
            ((source, order, taken),) = network.handed_over
            assert (source, order.f_port) == ("city", F_PORT_READINGS_REQUEST)
            assert order.expires_utc_ms is not None
            taken(True)
        if hour == 9:
            device.task.asked(order.frm_payload)
    assert len(network.handed_over) == 1
    numbers = [number for number, _, _, _ in device.published()]
    assert numbers == [0, 5, 6, 7, 8, 9, 1, 2, 3, 4, 10, 11]


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 1450),  # mm
            st.sampled_from(("heard", "heard", "heard", "lost", "lost", "twice", "late")),
            st.booleans(),  # whether a downlink arrives
        ),
        min_size=20,
        max_size=60,
    ),
    st.sampled_from((0, 3, 12)),
)
def test_each_reading_is_published_once_whatever_the_air_does(tmp_path_factory, hours, history):
    device = Bin(NetworkInHand(tmp_path_factory.mktemp("n"), CONFIG), history)
    late = []
    told = set()
    for number, (mm, fate, hears) in enumerate(hours):
        for frame in device.hour(max(mm, NEAREST_MM)):
            if fate == "late":
                late.append(frame)
            if fate not in ("heard", "twice"):
                continue
            for payload in device.send(frame):
                if hears:
                    device.task.asked(payload)
            if fate == "twice":
                assert device.send(frame) == []
        while late and fate == "heard":
            device.send(late.pop())  # after a newer one, and so in vain
        told = device.check()
        if fate in ("heard", "twice"):
            assert number in told
    # What never came is known to be missing, as far back as the first report reached.
    state = next(it for _, it in reversed(device.network.published) if "missing_readings" in it) \
        if told else None  # fmt: skip
    if state is not None:
        expected = set(range(min(told), state["sequence"] + 1)) - told
        memory = device.network.memory.states["container/corner"]
        assert set(memory.missing) == expected
