"""The Class A machine under failing storage, resets and networks that ask for nonsense."""

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from dual_mac import EU868, answered, first, joined, kinds, new_mac, send
from stoep_firmware import mac as m
from stoep_firmware.session import RESERVE, Session
from stoep_protocol.lorawan import frames, regions
from stoep_protocol.lorawan import mac_commands as mc


def mac_commands(*commands):
    return mc.encode(1, commands)


def test_counter_that_storage_refused_is_claimed_before_the_next_try():
    mac, _ = joined()
    mac.session.f_cnt_up = mac.session.f_cnt_limit = RESERVE
    mac.session.nb_trans = 2
    actions = mac.handle((m.SEND, 10, b"x", True), 100_000)
    assert actions[0] == (m.SAVE, True)
    mac.handle((m.FAULT,), 100_001)  # what link.py makes of a SAVE that failed
    actions = mac.handle((m.TIMER,), mac.next_deadline())
    assert kinds(actions) == [m.SAVE, m.TRANSMIT]
    assert actions[0] == (m.SAVE, True)
    assert mac.session.f_cnt_up < mac.session.f_cnt_limit


def test_reset_in_every_window_ends_a_frame_after_its_tries():
    for confirmed, tries in ((False, 1), (True, 4)):
        mac, _ = joined()
        session = mac.session
        session.nb_trans = tries
        sent = 0
        now_ms = 100_000
        actions = mac.handle((m.SEND, 10, b"x", confirmed), now_ms)
        while True:
            assert first(actions, m.TRANSMIT)
            sent += 1
            assert sent <= tries
            # Reset: all that is left is what was saved before the frame left.
            again = Session()
            again.unpack(session.pack())
            again.unpack_volatile(session.pack_volatile())
            session = again
            mac = new_mac(session)
            if mac.next_deadline() is None:
                break
            now_ms += 400_000
            actions = mac.handle((m.TIMER,), now_ms)
        assert sent == tries
        assert mac.handle((m.SEND, 10, b"y", False), now_ms + 400_000)[1][0] == m.TRANSMIT


def test_commands_that_take_every_channel_away_do_not_silence_the_device():
    mac, network = joined()
    answered(mac, network, 100_000, f_opts=mac_commands((mc.LINK_ADR, 5, 4, 8, 0, 1)))
    assert mac.session.ch_mask == 8
    answered(mac, network, 200_000, f_opts=mac_commands((mc.NEW_CHANNEL, 3, 0, 0, 5)))
    assert mac.session.ch_mask == 7
    transmit, _ = send(mac, 300_000)
    assert transmit[1] in EU868.default_channels_hz
    assert transmit[4] == 16  # and as loud as may be


def test_data_rate_that_lost_its_channel_is_left():
    mac, network = joined()
    wide = (mc.NEW_CHANNEL, 3, 867100000, 0, 6)
    answered(mac, network, 100_000, f_opts=mac_commands(wide))
    answered(mac, network, 200_000, f_opts=mac_commands((mc.LINK_ADR, 6, 0, 0xFF, 0, 1)))
    assert mac.session.dr == 6
    answered(mac, network, 300_000, f_opts=mac_commands((mc.NEW_CHANNEL, 3, 0, 0, 5)))
    assert send(mac, 400_000)[0][2:4] == (7, 125000)


def test_no_try_waits_for_a_data_rate_without_a_channel():
    mac, network = joined()
    only = mac_commands((mc.NEW_CHANNEL, 3, 867100000, 5, 5), (mc.LINK_ADR, 5, 0, 8, 0, 1))
    answered(mac, network, 100_000, f_opts=only)
    mac.session.nb_trans = 4
    mac.handle((m.SEND, 10, b"x", True), 200_000)
    sent = 1
    now_ms = 200_000
    while True:
        now_ms += 100
        mac.handle((m.TX_DONE,), now_ms)
        mac.handle((m.RX_TIMEOUT,), now_ms + 1100)
        actions = mac.handle((m.RX_TIMEOUT,), now_ms + 2300)
        if mac.next_deadline() is None:
            break
        now_ms += 100_000
        transmit = first(mac.handle((m.TIMER,), now_ms), m.TRANSMIT)
        assert transmit[1:4] == (867100000, 7, 125000)
        sent += 1
        assert sent <= 4
    assert sent == 4
    assert actions[-1] == (m.DONE, m.NO_ANSWER, 0)


def test_command_that_makes_a_frame_too_long_comes_after_it():
    mac, network = joined()
    mac.session.nb_trans = 4
    transmit = first(mac.handle((m.SEND, 10, bytes(200), True), 100_000), m.TRANSMIT)
    mac.handle((m.TX_DONE,), 100_000 + transmit[6])
    slow = network.down(f_opts=mac_commands((mc.LINK_ADR, 0, 0, 7, 0, 1)))
    actions = mac.handle((m.RECEIVED, slow, 5), 101_600)
    assert mac.session.dr == 0
    assert actions == ((m.SAVE, True), (m.DONE, m.NO_ANSWER, 0))
    assert mac.next_deadline() is None
    assert not mac.session.kept


def test_more_answers_than_an_uplink_holds_are_left_out_whole():
    for request, answer_bytes in (
        ((mc.DL_CHANNEL, 1, 868100000), 2),
        ((mc.LINK_ADR, 5, 0, 0xFF, 0, 1), 2),
        ((mc.DEV_STATUS,), 3),
        ((mc.RX_TIMING, 1), 1),
    ):
        mac, network = joined()
        data = mac_commands(request) * (200 // (1 + len(request)))
        answered(mac, network, 100_000, f_port=0, data=data[:240])
        frame, _ = network.open(send(mac, 200_000)[0][5])
        answers, rest = mc.decode(0, frame.f_opts)
        assert len(answers) == 15 // answer_bytes and rest == b"", request
        assert {answer[0] for answer in answers} == {request[0]}


def test_answers_that_do_not_fit_beside_a_payload_go_in_the_next_uplink():
    us915 = regions.by_name("US915")
    network_mac = m.Mac(us915, Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY)
    session = network_mac.session
    session.joined = 1
    session.ch_mask = 0xFF
    session.rx2_hz, session.rx2_dr = 923300000, 8
    session.answers = b"\x03\x07" * 3
    assert network_mac.room() == 11
    network_mac.handle((m.SEND, 10, bytes(9), False), 100_000)
    assert frames.parse(session.kept).f_opts == b"\x03\x07"
    assert session.answers == b"\x03\x07" * 2 and session.answer_due
    network_mac.state = m.IDLE
    network_mac.handle((m.SEND, None, b"", False), 200_000)
    assert frames.parse(session.kept).f_opts == b"\x03\x07" * 2
    assert session.answers == b"" and not session.answer_due


def test_channels_lie_in_sub_bands_that_have_a_duty_cycle():
    gap_hz = 868_650_000  # kept for alarms: no duty cycle is laid down, for nobody else may send
    mac, network = joined()
    answered(mac, network, 100_000, f_opts=mac_commands((mc.NEW_CHANNEL, 9, gap_hz, 0, 5)))
    assert mac.session.answers == b"\x07\x02"
    cf_list = EU868.encode_cf_list((gap_hz,))
    mac = new_mac()
    phy_payload = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)[5]
    mac.handle((m.TX_DONE,), 62)
    network = Network()
    mac.handle((m.RECEIVED, network.accept(phy_payload, cf_list=cf_list), 5), 5100)
    assert mac.session.joined
    assert gap_hz not in [channel[0] for channel in mac.session.channels]


class Dice:
    """Small numbers that look random and are the same on both runtimes."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 12) % limit

    def octets(self, count):
        return bytes([self.below(256) for _ in range(count)])


def hostile_downlink(dice, network):
    cids = (2, 3, 4, 5, 6, 7, 8, 9, 10, 13)
    data = b""
    while len(data) < dice.below(40):
        data += bytes((cids[dice.below(10)],)) + dice.octets(dice.below(6))
    ack = dice.below(2) == 1
    if dice.below(2):
        down = network.down(ack=ack, f_port=(0, 1, 13, 224)[dice.below(4)], data=data)
    else:
        down = network.down(confirmed=dice.below(3) == 0, ack=ack, f_opts=data[:15])
    kind = dice.below(8)
    if kind == 0:
        return down[: dice.below(len(down))]
    if kind == 1:
        at = dice.below(len(down))
        return down[:at] + bytes((down[at] ^ 1 << dice.below(8),)) + down[at + 1 :]
    return down


def uplink(mac, network, dice, now_ms):
    """Carry one uplink to its end through nonsense; return when the next may go."""
    event = (m.SEND, 10, dice.octets(dice.below(37)), dice.below(3) == 0)
    for _ in range(100):
        actions = mac.handle(event, now_ms)
        last = actions[-1]
        if last[0] == m.DONE:
            return last[2] if last[1] == m.BUSY else now_ms + 3_600_000
        if last[0] == m.TRANSMIT:
            _, freq_hz, sf, bw_hz, _, phy_payload, airtime_ms = last
            frame, _ = network.open(phy_payload)
            assert mc.decode(0, frame.f_opts)[1] == b"", frame.f_opts
            room = EU868.max_payload(EU868.dr_of(sf, bw_hz))
            assert len(frame.f_opts) + len(frame.frm_payload) <= room
            band = EU868.sub_band(freq_hz)
            assert now_ms >= network.quiet.get(band.low_hz, 0)
            network.quiet[band.low_hz] = now_ms + airtime_ms * (band.duty_cycle - 1)
            network.counters.append(frame.f_cnt)
            now_ms += airtime_ms
            event = (m.TX_DONE,)
        elif last[0] == m.RECEIVE:
            now_ms = max(now_ms, last[4]) + 100
            event = (m.RX_TIMEOUT,)
            if dice.below(3):
                event = (m.RECEIVED, hostile_downlink(dice, network), dice.below(40) - 20)
        else:
            now_ms = max(mac.next_deadline(), now_ms + 1)
            event = (m.TIMER,)
    raise AssertionError("an uplink without an end")


def test_nonsense_from_the_network_never_silences_or_breaks_the_device():
    for seed in range(40):
        dice = Dice(seed)
        mac, network = joined()
        network.quiet = {}
        network.counters = []
        now_ms = 1_000_000
        for _ in range(12):
            now_ms = uplink(mac, network, dice, now_ms)
        counters = network.counters
        assert len(counters) >= 6, (seed, counters)
        assert counters == sorted(counters), (seed, counters)
