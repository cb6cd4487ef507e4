"""The firmware's whole program against a network's end on npm lora-packet, watched by pamoja."""

import itertools

import pytest
from foreign_network import EU868, US915, Command, Life, hz
from lora_packet import opened
from stoep_protocol import messages
from stoep_protocol.schema import F_PORT_CONFIGURATION

HOUR_MS = 3_600_000


@pytest.fixture
def network():
    with opened("lora_packet_network.js") as process:
        yield process


def octets(text):
    return bytes.fromhex(text)


def now(**changes):
    """A change of what is expected of the device."""

    def obeyed(expected):
        for name, value in changes.items():
            setattr(expected, name, value)

    return obeyed


def channel(number, freq_hz):
    """The same for a channel; 0 Hz removes it."""

    def obeyed(expected):
        expected.channels.pop(number, None)
        if freq_hz:
            expected.channels[number] = freq_hz

    return obeyed


def of_8_and(*numbers):
    return {8: 865100000} | {number: EU868.channels[number] for number in numbers}


DEV_STATUS = Command(octets("06"), (("06..05", False),))

# In the order in which they are given; the device agrees to each as the specification says.
IN_EU868 = (
    DEV_STATUS,
    # LinkADRReq: DR5, full power, the region's own three channels.
    Command(
        octets("0350070001"),
        (("0307", False),),
        now(dr=5, eirp_dbm=16, channels={n: EU868.channels[n] for n in range(3)}),
    ),
    # A block of two is one request: the last one's DR4 and power 2 (-4 dB) count.
    Command(
        octets("0350ff0000 0342ff0001"),
        (("0307", False), ("0307", False)),
        now(dr=4, eirp_dbm=12, channels=dict(EU868.channels)),
    ),
    # Channels 8 to 15 do not exist, DR9 and power 9 neither: nothing of it is obeyed.
    Command(octets("035000ff01"), (("0306", False),)),
    Command(octets("0392070001"), (("0305", False),)),
    Command(octets("0359070001"), (("0303", False),)),
    # NewChannelReq: channel 8 at 865.1 MHz, DR0 to 5; the region's own channels stay as they are.
    Command(
        octets("0708") + hz(865100000) + octets("50"), (("0703", False),), channel(8, 865100000)
    ),
    Command(octets("0700") + hz(865100000) + octets("50"), (("0700", False),)),
    # DR4 at power 2 as it is (15), three transmissions on channels 0 and 8.
    Command(octets("03ff010103"), (("0307", False),), now(channels=of_8_and(0), nb_trans=3)),
    # DlChannelReq: RX1 of channel 8 at 866.3 MHz; channel 9 has no uplink frequency.
    Command(
        octets("0a08") + hz(866300000),
        (("0a03", True),),
        listens={"answers_on": {865100000: 866300000}},
    ),
    Command(octets("0a09") + hz(866300000), (("0a01", True),)),
    Command(octets("03ff010101"), (("0307", False),), now(nb_trans=1)),
    # RXParamSetupReq: RX1 two data rates down, RX2 at DR2 on 869.525 MHz; then what does not exist.
    Command(
        octets("0522") + hz(869525000),
        (("0507", True),),
        listens={"rx1_dr_offset": 2, "rx2": [869525000, 2]},
    ),
    Command(octets("0562") + hz(869525000), (("0503", True),)),
    Command(octets("0522") + hz(915000000), (("0506", True),)),
    # RXTimingSetupReq: 3 s; 0 means 1 s.
    Command(octets("0803"), (("08", True),), listens={"rx_delay_s": 3}),
    Command(octets("0800"), (("08", True),), listens={"rx_delay_s": 1}),
    # DutyCycleReq: 1/1024 of the time, and all of it.
    Command(octets("040a"), (("04", False),), now(duty_exponent=10)),
    Command(octets("0400"), (("04", False),), now(duty_exponent=0)),
    # Answers come in the order of the requests, though some are repeated and some are not.
    Command(
        octets("0522") + hz(869525000) + octets("06"),
        (("0507", True), ("06..05", False)),
        listens={"rx1_dr_offset": 2, "rx2": [869525000, 2]},
    ),
    # On port 0, with everything that an uplink's FOpts hold.
    Command(
        octets("0350ff0001 06 0707") + hz(867900000) + octets("50 0804"),
        (("0307", False), ("06..05", False), ("0703", False), ("08", True)),
        now(dr=5, eirp_dbm=16, channels=dict(EU868.channels)),
        {"rx_delay_s": 4},
        on_port_0=True,
    ),
    # What a region does not know goes unanswered, and what follows an unknown command unread.
    Command(octets("06 0905"), (("06..05", False),)),
    Command(octets("06 80 06"), (("06..05", False),)),
)

IN_US915 = (
    DEV_STATUS,
    # All 125 kHz channels off and 64 on, then channels 8 to 15 on: DR3, power 5 (-10 dB).
    Command(
        octets("0335010071 033500ff01"),
        (("0307", False), ("0307", False)),
        now(
            dr=3,
            eirp_dbm=20,
            channels={n: 902300000 + 200000 * n for n in range(8, 16)} | {64: 903000000},
        ),
    ),
    # DR4 (500 kHz) has channel 64 alone.
    Command(octets("0345010071"), (("0307", False),), now(dr=4, channels={64: 903000000})),
    # DR3 has no channel that way.
    Command(octets("0335010071"), (("0305", False),)),
    # ChMaskCntl 5: banks of eight, the second.
    Command(
        octets("0320020051"),
        (("0307", False),),
        now(
            dr=2,
            eirp_dbm=23,  # what 47 CFR 15.247 leaves to less than 50 channels: 21 dBm conducted
            channels={n: 902300000 + 200000 * n for n in range(8, 16)} | {65: 904600000},
        ),
    ),
    # RXParamSetupReq: RX1 two data rates down, RX2 at DR10 on 923.9 MHz.
    Command(
        octets("052a") + hz(923900000),
        (("0507", True),),
        listens={"rx1_dr_offset": 2, "rx2": [923900000, 10]},
    ),
    Command(octets("0802"), (("08", True),), listens={"rx_delay_s": 2}),
    # NewChannelReq, DlChannelReq and TxParamSetupReq are not for this region.
    Command(octets("06 0708") + hz(923300000) + octets("50"), (("06..05", False),)),
    Command(octets("0a08") + hz(923300000) + octets("06"), (("06..05", False),)),
    Command(octets("0905 06"), (("06..05", False),)),
    Command(octets("0407"), (("04", False),), now(duty_exponent=7)),
)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("plan", "commands"), [(EU868, IN_EU868), (US915, IN_US915)], ids=["EU868", "US915"]
)
def test_every_command_is_obeyed_and_answered_over_air_that_loses_a_quarter(
    network, plan, commands, seed
):
    life = Life(network, plan, seed, confirmed_every=5)
    life.run_wakes(1)
    life.loss_up = life.loss_down = 0.25
    for command in commands:
        life.commands = [command]
        life.run_until_obeyed()
        life.run_wakes(7)
    life.run_wakes(max(0, 201 - len(life.frames)))
    assert life.obeyed == len(commands)
    assert life.joins < 10
    assert len(life.frames) > 200
    assert life.downlinks > 2 * len(commands)
    assert life.lost > 30
    assert life.times_told > 0
    assert (life.repeated > 5) == (plan is EU868)  # where three transmissions were asked for
    assert_shares(life)


def assert_shares(life):
    """No sub-band was used for more than its share of any hour."""
    for (low_hz, high_hz), share in life.plan.airtime_share.items():
        sent = [(ms, air) for ms, freq_hz, air in life.sent_ms if low_hz <= freq_hz <= high_hz]
        for first, (begin_ms, _) in enumerate(sent):
            hour = itertools.takewhile(lambda one, ms=begin_ms: one[0] < ms + HOUR_MS, sent[first:])
            assert sum(air for _, air in hour) <= HOUR_MS * share


def test_the_duty_cycle_that_the_network_asks_for_is_kept(network):
    life = Life(network, EU868, 3, interval_s=300)
    life.commands = [
        Command(octets("0350070001"), (("0307", False),), now(dr=5)),
        Command(octets("040d"), (("04", False),), now(duty_exponent=13)),
    ]
    life.run_until_obeyed()
    before = len(life.frames)
    life.run_wakes(60)
    times = [frame["ms"] for frame in life.frames[before:]]
    assert len(times) > 10
    assert min(b - a for a, b in itertools.pairwise(times)) > 450_000


def test_a_repeated_answer_finds_room_though_reports_fill_the_slowest_data_rate(network):
    life = Life(network, US915, 7)
    life.run_wakes(5)
    assert (life.frames[-1]["sf"], len(life.frames[-1]["payload"]) // 2) == (10, 11)

    def answers_are_lost(expected):
        life.loss_up = 1.0

    life.commands = [
        Command(octets("0803"), (("08", True),), answers_are_lost, listens={"rx_delay_s": 3})
    ]
    life.run_wakes(2)
    assert life.loss_up == 1.0
    life.loss_up = 0.0
    life.run_until_obeyed(3)


@pytest.mark.parametrize("plan", [EU868, US915], ids=["EU868", "US915"])
def test_both_counters_pass_65535_and_a_power_loss_ends_no_session(network, plan):
    """FCntUp comes there by 2000 power losses, each of which skips what may have been used."""
    life = Life(network, plan, 4, f_cnt_down=0xFFE0)
    life.run_wakes(3)
    life.commands = [
        Command(octets("0803"), (("08", True),), listens={"rx_delay_s": 3}),
        Command(
            bytes((0x05, 0x10 | plan.moved_rx2[1])) + hz(plan.moved_rx2[0]),
            (("0507", True),),
            listens={"rx1_dr_offset": 1, "rx2": plan.moved_rx2},
        ),
    ]
    life.run_until_obeyed()
    life.run_wakes(2)
    joins = life.joins
    life.be_deaf(True)
    lost_power = 0
    while life.f_cnt_in_the_dark < 0xFFD0:
        life.lose_power()
        life.wake()
        lost_power += 1
    assert lost_power < 0xFFD0
    life.be_deaf(False)
    life.says = [{"f_port": 10, "payload": "00", "confirmed": n % 2 == 0} for n in range(60)]
    life.run_wakes(100)
    assert life.joins == joins
    assert life.frames[-1]["f_cnt"] > 0x10000
    assert life.says == []
    assert life.confirmed == 30
    assert life.f_cnt_down > 0x10000
    life.lose_power()
    life.run_wakes(5)
    life.says = [{"f_port": 10, "payload": "00", "confirmed": True}]
    life.run_wakes(5)
    assert life.confirmed == 31
    assert life.joins == joins


def test_a_configuration_comes_down_confirmed_is_obeyed_and_acknowledged(network):
    life = Life(network, EU868, 5)
    life.run_wakes(4)
    wanted = messages.Configuration(interval_min=20, confirmed_every=2)
    f_port, payload = messages.encode(wanted)
    assert f_port == F_PORT_CONFIGURATION == 13
    life.loss_up = life.loss_down = 0.25
    while life.confirmed == 0:
        if not life.says:
            life.says = [{"f_port": 13, "payload": payload.hex(), "confirmed": True}]
        life.run_wakes(2)
    life.says = []
    life.run_wakes(3)
    heard = [frame for frame in life.frames if not frame["lost"] and frame["f_port"]]
    told = [messages.decode(f["f_port"], bytes.fromhex(f["payload"])) for f in heard]
    acks = [one for one in told if isinstance(one, messages.ConfigurationAck)]
    assert messages.ConfigurationAck(messages.config_hash(wanted), 0) in acks
    before = len(life.frames)
    life.run_wakes(60)
    frames = life.frames[before:]
    assert sum(frame["confirmed"] for frame in frames) >= 20
    times = [f["ms"] for f in frames]
    assert (times[-1] - times[0]) / 60 == pytest.approx(20 * 60_000, rel=0.1)
    assert life.joins == 1


def test_silence_is_answered_as_adr_says(network):
    """ADRACKReq from the 65th uplink on; after 32 more full power, after 32 more the next rate."""
    life = Life(network, EU868, 6)
    life.commands = [
        Command(octets("0353070001"), (("0307", False),), now(dr=5, eirp_dbm=10)),
    ]
    life.run_until_obeyed()
    life.run_wakes(1)
    life.says = [{"f_port": 10, "payload": "00"}]
    life.run_wakes(2)  # heard: counting begins anew
    life.expected.dr = life.expected.eirp_dbm = None
    quiet = len(life.frames)
    last = life.last_heard
    life.loss_down = 1.0
    life.run_wakes(64 + 3 * 32)
    frames = life.frames[last + 1 :]
    assert quiet <= last + 3
    assert [frame["adr_ack_req"] for frame in frames[:66]] == [False] * 64 + [True] * 2
    place = [(frame["power_dbm"] + 2, frame["sf"]) for frame in frames]
    assert set(place[:96]) == {(10, 7)}
    assert set(place[97:128]) == {(16, 7)}
    assert set(place[129:160]) == {(16, 8)}
    assert all(frame["adr_ack_req"] for frame in frames[64:])
    assert life.joins == 1


def test_a_device_without_adr_asks_for_a_link_check_when_it_hears_nothing(network):
    life = Life(network, EU868, 8, adr=False)
    life.run_wakes(3)
    life.says = [{"f_port": 10, "payload": "00"}]
    life.run_wakes(2)
    last = life.last_heard
    life.loss_down = 1.0
    life.run_wakes(66)
    frames = life.frames[last + 1 :]
    asking = [0x02 in frame["asked"] for frame in frames]
    assert asking[:64] == [False] * 64
    assert all(asking[64:])
    assert len(asking) > 66
    life.loss_down = 0.0
    life.run_wakes(1)
    answered = len(life.frames)
    assert life.links_told > 0
    life.run_wakes(30)
    assert not any(0x02 in frame["asked"] for frame in life.frames[answered:])
    assert not any(frame["adr_ack_req"] for frame in life.frames)


def test_a_device_that_is_told_of_more_to_come_sends_at_once(network):
    life = Life(network, EU868, 9)
    life.run_wakes(4)
    before = len(life.frames)
    life.says = [
        {"f_port": 10, "payload": "00", "f_pending": True},
        {"f_port": 10, "payload": "00", "f_pending": True},
        {"f_port": 10, "payload": "00"},
    ]
    life.run_wakes(1)
    assert life.says == []
    times = [frame["ms"] for frame in life.frames[before:]]
    assert len(times) == 3
    assert times[-1] - times[0] < 60_000


@pytest.mark.parametrize("plan", [EU868, US915], ids=["EU868", "US915"])
def test_what_was_said_once_is_not_heard_again(network, plan):
    """Every earlier downlink is sent again, also after a power loss; none is obeyed."""
    life = Life(network, plan, 10)
    life.run_wakes(2)
    f_port, payload = messages.encode(messages.Configuration(interval_min=20))
    life.says = [{"f_port": f_port, "payload": payload.hex(), "confirmed": True}]
    life.commands = [Command(octets("06"), (("06..05", False),))]
    life.run_until_obeyed()
    life.run_wakes(2)
    f_port, payload = messages.encode(messages.Configuration(interval_min=60))
    life.says = [{"f_port": f_port, "payload": payload.hex()}]
    life.run_wakes(4)
    assert life.says == []
    for lose_power in (False, True):
        if lose_power:
            life.lose_power()
        before = len(life.frames)
        life.replays = list(life.said)
        assert len(life.replays) >= 3
        life.run_wakes(6)  # every frame is held against what is expected: no answer, no ACK
        assert life.replays == []
        times = [frame["ms"] for frame in life.frames[before:] if frame["f_port"] == 10]
        assert min(b - a for a, b in itertools.pairwise(times)) > 40 * 60_000
    assert life.joins == 1
