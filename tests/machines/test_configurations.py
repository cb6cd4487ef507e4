"""A configuration's way from ``stoep device configure`` to a device that says it is in force.

The device's end is the firmware's own settings.
"""

import asyncio

import pytest
from network_in_hand import NetworkInHand
from stoep_firmware.settings import Settings
from stoep_gateway.assets import configuration
from stoep_gateway.control import CommandRefused
from stoep_gateway.device_commands import DeviceCommands
from stoep_gateway.integrations.events import Reception, SourceEvent, SourceUplink
from stoep_gateway.lns.queue import MAX_QUEUED
from stoep_protocol import messages, schema
from stoep_protocol.lorawan import frames
from stoep_protocol.messages import Configuration, ConfigurationAck, Status

CONFIG = """
site = "street"
timezone = "UTC"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[source]]
id = "city"
kind = "chirpstack"
application = "0b2f4b0e-6c3c-4d9e-9d6e-6d2d5a1a7c11"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[device]]
dev_eui = "70b3d57ed0000005"
source = "city"
asset = "bay/1"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
[[bay]]
id = "1"
street = "High Street"
lat = -15.8
lon = 35.0
"""
EUI, GUEST = "70b3d57ed0000001", "70b3d57ed0000005"
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
PORT = schema.F_PORT_CONFIGURATION
MINUTE_MS = 60_000


class Board:
    """A container's board: its LoRaWAN end, and the firmware's settings behind it."""

    def __init__(self, network):
        self.network = network
        self.flash()
        self.join()

    def flash(self):
        self.settings = Settings({"kind": "bin", "interval_s": 3600})

    def join(self):
        self.radio = self.network.join((bytes.fromhex(EUI), KEY))
        self.f_cnt_down = 0

    def report(self, message=None, *, deaf=False):
        """Send an uplink; take and return what comes down for it."""
        orders = len(self.network.orders)
        self.network.take(self.radio.uplink(message or Status(battery_mv=3600)))
        if len(self.network.orders) == orders:
            return None
        self.network.answer("")
        frame = self.radio.downlink(self.network.orders[-1].phy_payload, self.f_cnt_down)
        payload = frames.decrypt_payload(frame, self.radio.app_s_key, self.f_cnt_down)
        self.f_cnt_down += 1
        if frame.f_port != PORT:  # MAC commands
            return None
        if not deaf:
            self.refused = self.settings.receive(payload)
        return payload

    def acknowledge(self):
        """Send the answer to the last configuration."""
        return self.report(self.settings.acknowledgement(self.refused))


class Site:
    def __init__(self, path):
        self.network = NetworkInHand(path, CONFIG)
        self.board = Board(self.network)
        self.board.report()  # takes what the network says of its own

    def ask(self, command, dev_eui=EUI, **members):
        """Give a command of ``stoep device``, with its commits."""

        async def both():
            handlers = {}

            class Control:
                def register(self, name, handler, *, changes=False):
                    handlers[name] = handler

            DeviceCommands(self.network.server).register(Control())
            answer = handlers[f"device.{command}"]({"dev_eui": dev_eui, **members})
            if isinstance(answer, dict):
                return answer
            task = asyncio.ensure_future(answer)
            for _ in range(20):
                await asyncio.sleep(0)
                self.network.commit()
            assert task.done()
            return task.result()

        return asyncio.run(both())

    def configure(self, dev_eui=EUI, *, anew=False, **fields):
        answer = self.ask("configure", dev_eui, fields=fields, anew=anew)
        return answer["configuration"]

    def shown(self, dev_eui=EUI):
        return self.ask("show", dev_eui)["device"]["configuration"]

    def state(self):
        return self.shown()["state"]

    def waiting(self, dev_eui=EUI):
        return [
            queued.frm_payload
            for queued in self.network.memory.queue.of_device(bytes.fromhex(dev_eui))
        ]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def payload(**fields):
    return messages.encode(Configuration(**fields))[1]


def test_a_configuration_is_told_until_it_is_in_force(site):
    assert site.shown() is None
    wanted = site.configure(interval_min=30, mode="both", alarm_distance_cm=40)
    assert wanted["wanted"] == {"interval_min": 30, "mode": "both", "alarm_distance_cm": 40}
    assert (wanted["state"], wanted["told_hash"]) == ("pending", None)
    said = payload(interval_min=30, mode=schema.MODE_BOTH, alarm_distance_cm=40)
    assert site.waiting() == [said]
    assert site.board.report() == said
    assert site.board.settings.alarm_distance_mm() == 400
    assert site.state() == "pending"
    assert site.board.acknowledge() is None
    shown = site.shown()
    assert (shown["state"], shown["refused"]) == ("in_force", None)
    assert shown["told_hash"] == shown["wanted_hash"]
    (event,) = site.network.events("configuration_")
    assert (event["event"], event["config_hash"]) == ("configuration_accepted", shown["told_hash"])
    for _ in range(50):
        site.network.pass_ms(3_600_000, MINUTE_MS)
        assert site.board.report() is None


def test_what_was_not_named_stays_and_factory_lets_go(site):
    site.configure(interval_min=30, history=7)
    assert site.configure(change_cm=4)["wanted"] == {
        "interval_min": 30,
        "history": 7,
        "change_cm": 4,
    }
    assert site.waiting() == [payload(interval_min=30, history=7, change_cm=4)]
    assert site.configure(history=None)["wanted"] == {"interval_min": 30, "change_cm": 4}
    assert site.configure(anew=True, confirmed_every=3)["wanted"] == {"confirmed_every": 3}
    assert site.configure(anew=True)["wanted"] == {}
    assert site.waiting() == [payload()]
    site.board.settings.receive(payload(interval_min=35))
    site.board.report()
    site.board.acknowledge()
    assert site.state() == "in_force"
    assert site.board.settings.interval_ms() == 3_600_000


def test_a_lost_downlink_or_answer_is_made_good_ever_more_rarely(site):
    site.configure(interval_min=30)
    told = []
    for minute in range(0, 6000, 5):
        if site.board.report(deaf=True):
            told.append(minute)
        site.network.pass_ms(5 * MINUTE_MS, MINUTE_MS)
    assert told == [0, 10, 30, 70, 150, 310, 630, 1270, 2550, 3990, 5430]
    while site.board.report() is None:
        site.network.pass_ms(60 * MINUTE_MS, MINUTE_MS)
    site.board.acknowledge()
    assert site.state() == "in_force"


def test_what_a_device_refuses_is_not_told_again_and_the_old_one_stays(site):
    site.configure(interval_min=30)
    site.board.report()
    site.board.acknowledge()
    site.configure(alarm_temperature_c=60)
    assert site.board.report() is not None
    site.board.acknowledge()
    shown = site.shown()
    assert (shown["state"], shown["refused"]) == ("refused", "unsupported")
    assert shown["told_hash"] == f"{messages.config_hash(Configuration(30)):04x}"
    assert site.network.events("configuration_")[-1]["event"] == "configuration_refused"
    assert site.network.events("configuration_")[-1]["refused"] == "unsupported"
    assert site.board.settings.interval_ms() == 30 * MINUTE_MS
    for _ in range(30):
        site.network.pass_ms(3_600_000, MINUTE_MS)
        assert site.board.report() is None
    # Another one is told; so is the same one on demand.
    site.configure(alarm_temperature_c=None)
    assert site.board.report() == payload(interval_min=30)
    site.board.acknowledge()
    assert site.state() == "in_force"


def test_a_device_that_could_not_store_it_is_asked_again(site):
    site.configure(interval_min=30)
    site.board.report()
    nothing = messages.config_hash(Configuration())
    site.board.report(ConfigurationAck(nothing, schema.REFUSED_STORAGE))
    shown = site.shown()
    assert (shown["state"], shown["refused"]) == ("pending", "storage")
    site.network.pass_ms(11 * MINUTE_MS, MINUTE_MS)
    assert site.board.report() == payload(interval_min=30)
    site.board.acknowledge()
    assert (site.state(), site.shown()["refused"]) == ("in_force", None)


def test_a_device_that_was_flashed_anew_is_told_after_its_join(site):
    site.configure(interval_min=30)
    site.board.report()
    site.board.acknowledge()
    site.board.flash()
    site.ask("forgive-nonce")
    site.network.pass_ms(60_000)
    site.board.join()
    assert site.state() == "pending"
    site.board.report()
    assert site.board.settings.interval_ms() == 30 * MINUTE_MS
    site.board.acknowledge()
    assert site.state() == "in_force"


def test_a_device_that_was_told_otherwise_is_told_again(site):
    site.configure(interval_min=30)
    site.board.report()
    site.board.acknowledge()
    other = messages.config_hash(Configuration(interval_min=5))
    assert site.board.report(ConfigurationAck(other)) is None
    assert site.state() == "pending"
    site.network.pass_ms(11 * MINUTE_MS, MINUTE_MS)
    assert site.board.report() == payload(interval_min=30)


def test_a_refusal_of_the_one_before_says_nothing_of_the_one_that_waits(site):
    site.configure(alarm_temperature_c=60)
    site.board.report()
    site.configure(anew=True, interval_min=30)
    assert site.board.acknowledge() == payload(interval_min=30)
    assert site.state() == "pending"
    assert site.shown()["refused"] is None
    site.board.acknowledge()
    assert site.state() == "in_force"


def test_of_configurations_only_the_last_waits_and_other_downlinks_are_left_alone(site):
    site.ask("send", f_port=20, payload="aa", priority=-1)
    site.configure(interval_min=30)
    site.configure(interval_min=20)
    assert site.waiting() == [payload(interval_min=20), b"\xaa"]
    assert [event["event"] for event in site.network.events()] == ["downlink_flushed"]
    site.network.restart()
    assert site.waiting() == [payload(interval_min=20), b"\xaa"]
    assert site.board.report() == payload(interval_min=20)


def test_everything_outlives_the_gateway(site):
    site.configure(interval_min=30)
    site.network.restart()
    assert site.waiting() == [payload(interval_min=30)]
    site.board.report()
    site.network.restart()
    assert site.state() == "pending"
    assert site.board.report() is None  # not so soon again
    site.board.acknowledge()
    site.network.restart()
    assert site.state() == "in_force"
    assert site.shown()["wanted"] == {"interval_min": 30}


def test_a_removed_device_leaves_nothing(site):
    added = "70b3d57ed0000009"
    site.ask("add", device={"dev_eui": added, "app_key": "00" * 16})
    site.configure(added, interval_min=30)
    assert (
        len(site.network.connection.execute("SELECT * FROM device_configuration").fetchall()) == 1
    )
    site.ask("remove", added)
    assert site.network.connection.execute("SELECT * FROM device_configuration").fetchall() == []
    site.ask("add", device={"dev_eui": added, "app_key": "00" * 16})
    assert site.shown(added) is None


def test_a_full_queue_holds_it_up_and_no_more(site):
    eui = bytes.fromhex(EUI)

    async def fill():
        tasks = [
            asyncio.ensure_future(
                site.network.server.enqueue(
                    eui, 20, b"x", confirmed=False, priority=0, expires_utc_ms=None
                )
            )
            for _ in range(MAX_QUEUED)
        ]
        await asyncio.sleep(0)
        site.network.commit()
        await asyncio.gather(*tasks)

    asyncio.run(fill())
    assert site.configure(interval_min=30)["state"] == "pending"
    assert site.waiting() == [b"x"] * MAX_QUEUED
    site.ask("flush")
    assert site.board.report() is None
    site.network.pass_ms(11 * MINUTE_MS, MINUTE_MS)
    assert site.board.report() == payload(interval_min=30)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"interval_min": 31}, "the nearest are 30 and 35"),
        ({"interval_min": 0}, "from 1 to 1920"),
        ({"interval_min": True}, "whole number"),
        ({"mode": "often"}, "regular, on_change, both"),
        ({"mode": 2}, "regular, on_change, both"),
        ({"wake_s": 1}, "wake_s"),
        ({"settle_s": 1}, "container/corner"),
        ({"bay_threshold_nt": 5000}, "container/corner"),
        ({"alarm_distance_cm": 1001}, "from 0 to 1000"),
        ([], "object"),
    ],
)
def test_what_no_configuration_can_say_is_refused_at_once(site, fields, said):
    with pytest.raises(CommandRefused, match=said):
        site.ask("configure", fields=fields)
    assert site.shown() is None
    assert site.waiting() == []


def test_a_device_of_another_network_server(site):
    network = site.network
    with pytest.raises(CommandRefused, match="bay/1"):
        site.configure(GUEST, history=2)
    site.configure(GUEST, settle_s=9)

    def handed_over():
        source, order, taken = network.handed_over.pop()
        assert (source, order.f_port) == ("city", PORT)
        taken(True)
        network.commit()
        network.others.receive(event("sent", order.downlink_id), lambda: None)
        network.commit()
        return order.frm_payload

    def event(kind, downlink_id=None):
        utc_ms = network.clock.utc_ms()
        return SourceEvent(
            "city", kind, bytes.fromhex(GUEST), f"{kind}-{utc_ms}", "s", utc_ms, utc_ms, "guest",
            downlink_id,
        )  # fmt: skip

    def uplink(f_cnt, message):
        utc_ms = network.clock.utc_ms()
        f_port, data = messages.encode(message)
        heard = SourceUplink(
            "city", bytes.fromhex(GUEST), f"k{f_cnt}", "s", f_cnt, f_port, data, False, 5, 7,
            125_000, 868_100_000, (Reception("g", -90.0, 7.0),), utc_ms, utc_ms, "guest",
        )  # fmt: skip
        network.others.receive(heard, lambda: None)
        network.commit()

    assert handed_over() == payload(settle_s=9)
    uplink(1, Status(battery_mv=3600))
    assert network.handed_over == []
    network.pass_ms(11 * MINUTE_MS, MINUTE_MS)
    uplink(2, Status(battery_mv=3600))  # it has not answered
    assert handed_over() == payload(settle_s=9)
    uplink(3, ConfigurationAck(messages.config_hash(Configuration(settle_s=9))))
    assert site.shown(GUEST)["state"] == "in_force"
    network.pass_ms(1000)
    network.others.receive(event("join"), lambda: None)
    network.commit()
    assert site.shown(GUEST)["state"] == "pending"


def test_a_stored_configuration_that_is_none_is_left_out(site, caplog):
    site.configure(interval_min=30)
    network = site.network
    network.connection.execute("UPDATE device_configuration SET payload = x'ff'")
    network.restart()
    assert site.shown() is None
    assert "unreadable" in caplog.text
    assert site.board.report() is not None  # what waits in the queue is as it was


def test_utc_that_is_set_back_holds_nothing_up_for_long():
    row = configuration.want(None, bytes(8), payload(interval_min=30), 10**12)
    row = configuration.tried(row, 10**12)
    assert not configuration.is_due(row, 10**12 + 1)
    assert configuration.is_due(row, 10**12 + 600_000)
    assert configuration.is_due(row, 10**11)


def test_every_field_of_the_wire_can_be_asked_for():
    names = {field: value for field, (value, _) in configuration.FIELDS.items()}
    assert set(names) == set(Configuration.__slots__)
    names["mode"] = "regular"
    data = configuration.compose(names, None)
    assert configuration.fields_of(data) == names
    assert configuration.hash_of(data) == messages.config_hash(messages.decode(PORT, data))
