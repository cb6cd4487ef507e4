"""Joining: nonces, what a silent network costs on the air, and sessions that were lost."""

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from dual_mac import answered, first, joined, kinds, new_mac, send
from dual_wakes import Device
from stoep_firmware import mac as m
from stoep_firmware.joining import personalise
from stoep_firmware.session import Session
from stoep_protocol.lorawan import frames, regions
from stoep_protocol.lorawan import mac_commands as mc

HOUR_MS = 3_600_000
US915 = regions.by_name("US915")


class Dice:
    """Small numbers that look random and are the same on both runtimes."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 12) % limit


def rested(mac):
    """Return the machine after a reset: all that is left is what RTC memory holds."""
    session = Session()
    session.unpack(mac.session.pack())
    session.unpack_volatile(mac.session.pack_volatile())
    return m.Mac(
        mac.region,
        session,
        new_key,
        mac.random,
        JOIN_EUI,
        DEV_EUI,
        APP_KEY,
        adr=mac.adr,
        lorawan=mac.lorawan,
    )


def ask(mac, network, now_ms, **accept):
    """JOIN, and answer in RX1; return the actions."""
    transmit = first(mac.handle((m.JOIN,), now_ms), m.TRANSMIT)
    mac.handle((m.TX_DONE,), now_ms + transmit[6])
    received = (m.RECEIVED, network.accept(transmit[5], **accept), 5)
    return mac.handle(received, now_ms + transmit[6] + 5100)


def silence(mac, transmit, now_ms):
    """Let both windows pass; return when, and the actions of the last event."""
    now_ms += transmit[6]
    actions = mac.handle((m.TX_DONE,), now_ms)
    while actions[-1][0] == m.RECEIVE:
        now_ms = actions[-1][4] + 100
        actions = mac.handle((m.RX_TIMEOUT,), now_ms)
    return now_ms, actions


def months_of_joins(region, seed, days, resets):
    """Return (when, airtime) of every join-request of a device that nobody hears."""
    dice = Dice(seed)
    mac = m.Mac(region, Session(), new_key, dice.below, JOIN_EUI, DEV_EUI, APP_KEY)
    now_ms = dice.below(100_000)
    sent = []
    while now_ms < days * 24 * HOUR_MS:
        if resets and dice.below(3) == 0:
            mac = rested(mac)
        actions = mac.handle((m.JOIN,), now_ms)
        if actions[0][0] == m.DONE:
            assert actions[0][1] == m.BUSY
            assert actions[0][2] > now_ms
            now_ms = actions[0][2]
            continue
        transmit = first(actions, m.TRANSMIT)
        assert frames.parse(transmit[5]).dev_nonce == len(sent)
        sent.append((now_ms, transmit[6], transmit[1]))
        now_ms, actions = silence(mac, transmit, now_ms)
        done = first(actions, m.DONE)
        assert done[1] == m.NO_ANSWER
        # Somebody presses a button meanwhile, or a wake comes for another reason.
        now_ms += dice.below(60_000)
    return sent


def test_nobody_is_called_for_longer_than_the_law_allows():
    # LoRaWAN 1.0.4, 7: less than 36 s in the first hour, 36 s in the next ten, then 8.7 s a day.
    for region, seed, resets in (
        (regions.EU868, 1, False),
        (regions.EU868, 2, True),
        (regions.EU868, 3, True),
        (US915, 4, True),
    ):
        sent = months_of_joins(region, seed, 5, resets)
        begin_ms = sent[0][0]
        spans = [(0, 1, 36_000), (1, 11, 36_000)]
        spans += [(11 + 24 * day, 35 + 24 * day, 8_700) for day in range(4)]
        for begin, end, limit_ms in spans:
            on_air = [ms for at, ms, _ in sent if begin * HOUR_MS <= at - begin_ms < end * HOUR_MS]
            assert limit_ms // 3 < sum(on_air) < limit_ms, (region.name, seed, begin, sum(on_air))
        # And never more than its share of the sub-band, frame by frame.
        for number in range(1, len(sent)):
            at, ms, freq_hz = sent[number - 1]
            assert sent[number][0] - at >= ms * region.sub_band(freq_hz).duty_cycle


def test_join_nonce_counts_up():
    mac, network = joined()
    for _ in range(3):
        mac.session.join_until_ms = 0
        actions = ask(mac, network, 10_000_000 * (network.app_nonce + 1))
        assert first(actions, m.DONE) == (m.DONE, m.JOINED, 0)
        network.open(send(mac, 10_000_000 * network.app_nonce + 5_000_000)[0][5])  # new keys
    dev_addr = mac.session.dev_addr
    now_ms = 100_000_000
    for nonce in (network.app_nonce, 1, 0):  # the last, an old one, the lowest
        mac = rested(mac)
        mac.session.join_until_ms = 0
        network.app_nonce = nonce - 1
        now_ms += 10_000_000
        assert kinds(ask(mac, network, now_ms)) == [m.RECEIVE]
    assert mac.session.joined
    assert mac.session.dev_addr == dev_addr
    network.app_nonce = 0xFFFFFE
    mac = rested(mac)
    mac.session.join_until_ms = 0
    assert first(ask(mac, network, now_ms + 10_000_000), m.DONE)[1] == m.JOINED


def test_older_networks_may_draw_lots_but_not_repeat_the_last():
    mac, network = joined(lorawan="1.0.3")
    for nonce, taken in ((500, True), (7, True), (7, False), (0, True), (0xFFFFFF, True)):
        mac = rested(mac)
        mac.session.join_until_ms = 0
        network.app_nonce = nonce - 1
        actions = ask(mac, network, 10_000_000 * len(network.dev_nonces))
        assert first(actions, m.DONE)[1] == m.JOINED if taken else kinds(actions) == [m.RECEIVE]


def test_accept_with_settings_that_are_not_the_region_s_is_refused():
    for settings in ({"rx2_dr": 7}, {"rx2_dr": 15}, {"rx1_dr_offset": 6}):
        assert kinds(ask(new_mac(), Network(), 0, **settings)) == [m.RECEIVE], settings
    assert first(ask(new_mac(), Network(), 0, rx2_dr=6, rx1_dr_offset=5), m.DONE)[1] == m.JOINED


def test_join_forgets_what_waited_in_the_old_session():
    mac, network = joined()
    session = mac.session
    session.nb_trans = 3
    session.answers = session.sticky = b"\x08"
    send(mac, 1_000_000)
    assert mac.state == m.WAIT
    session.sticky = b"\x08"
    transmit = first(mac.handle((m.JOIN,), 2_000_000), m.TRANSMIT)
    silence(mac, transmit, 2_000_000)
    assert rested(mac).state == m.IDLE
    assert session.sticky
    ask(mac, network, 9_000_000)
    assert (session.answers, session.sticky, session.kept) == (b"", b"", b"")


def test_devices_do_not_ask_in_step():
    until_ms = []
    for random in (lambda n: 0, lambda n: n // 2, lambda n: n - 1):
        mac = m.Mac(regions.EU868, Session(), new_key, random, JOIN_EUI, DEV_EUI, APP_KEY)
        transmit = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)
        until_ms.append(mac.session.join_until_ms)
    assert until_ms[0] == 105 * transmit[6]
    assert until_ms[2] - until_ms[1] >= 25 * transmit[6]
    assert until_ms[1] - until_ms[0] >= 25 * transmit[6]


def test_first_accept_may_bring_any_nonce():
    for nonce in (0, 1, 0xFFFFFF):
        mac, network = new_mac(), Network()
        network.app_nonce = nonce - 1
        assert first(ask(mac, network, 0), m.DONE)[1] == m.JOINED


def test_join_leaves_the_session_alone_until_an_accept_comes():
    mac, network = joined()
    answered(mac, network, 100_000, f_opts=mc.encode(1, ((mc.NEW_CHANNEL, 8, 868800000, 0, 5),)))
    before = mac.session.pack()[4:]
    transmit = first(mac.handle((m.JOIN,), HOUR_MS), m.TRANSMIT)
    assert transmit[1] in regions.EU868.default_channels_hz
    assert mac.session.pack()[4:] == before  # all but the DevNonce
    _, actions = silence(mac, transmit, HOUR_MS)
    assert first(actions, m.DONE)[:2] == (m.DONE, m.NO_ANSWER)
    assert mac.session.pack()[4:] == before
    assert network.open(send(mac, HOUR_MS + 100_000)[0][5])[1] == b"hello"


def test_join_waits_for_the_duty_cycle_of_what_was_sent_before():
    mac, _ = joined()
    mac.session.dr = 0
    mac.session.ch_mask = 7
    transmit, _ = send(mac, HOUR_MS, payload=bytes(20))
    actions = mac.handle((m.JOIN,), HOUR_MS + 10_000)
    assert actions == ((m.DONE, m.BUSY, HOUR_MS + transmit[6] * 100),)
    assert mac.session.dev_nonce == 1


def unheard(mac, now_ms, stop, every_ms=HOUR_MS):
    """Send every hour without an answer until there is a join-request; return all that was sent."""
    sent = []
    for _ in range(1000):
        now_ms += every_ms
        actions = mac.handle((m.SEND, 10, b"x", False), now_ms)
        transmit = first(actions, m.TRANSMIT)
        sent.append(transmit)
        if transmit[5][0] == 0:
            return sent, now_ms
        silence(mac, transmit, now_ms)
        if len(sent) >= stop:
            return sent, now_ms
    raise AssertionError("no end")


def test_lost_session_is_asked_for_anew_and_kept_until_there_is_another():
    for adr, uplinks in ((True, 64 + 32 * 5 + 64), (False, 64 + 64)):
        mac, network = joined(adr=adr)
        mac.session.ch_mask = 0xF8
        sent, now_ms = unheard(mac, 0, 1000)
        # ADR: five data rates and the channels, 32 uplinks each, then ADR_ACK_LIMIT more.
        assert len(sent) - 1 == (uplinks + 32 if adr else uplinks)
        if not adr:
            heard = [mc.decode(0, network.open(one[5])[0].f_opts)[0] for one in sent[:-1]]
            assert heard == [()] * 64 + [((mc.LINK_CHECK,),)] * 64
        # Nobody answers that either: the frame goes in the old session at once.
        f_cnt = mac.session.f_cnt_up
        now_ms, actions = silence(mac, sent[-1], now_ms)
        assert actions == ((m.SAVE, False), (m.DONE, m.BUSY, now_ms))
        transmit = first(mac.handle((m.SEND, 10, b"y", False), now_ms), m.TRANSMIT)
        frame, payload = network.open(transmit[5])
        assert (frame.f_cnt, payload) == (f_cnt, b"y")
        mac.state = m.IDLE
        # One comes back: a new session, and the frame is to be made anew.
        mac = rested(mac)
        now_ms = max(now_ms + 400_000, mac.session.join_until_ms)
        transmit = first(mac.handle((m.SEND, 10, b"z", True), now_ms), m.TRANSMIT)
        assert transmit[5][0] == 0
        mac.handle((m.TX_DONE,), now_ms + transmit[6])
        now_ms += transmit[6] + 5100
        actions = mac.handle((m.RECEIVED, network.accept(transmit[5]), 5), now_ms)
        assert actions == ((m.SAVE, True), (m.DONE, m.BUSY, now_ms))
        assert (mac.session.f_cnt_up, mac.session.lost, mac.session.adr_ack_cnt) == (0, 0, 0)
        transmit = first(mac.handle((m.SEND, 10, b"z", True), now_ms + 200_000), m.TRANSMIT)
        assert network.open(transmit[5])[1] == b"z"


def test_any_downlink_finds_a_lost_session_again():
    mac, network = joined(adr=True)
    unheard(mac, 0, 64 + 32 * 5 + 60)
    mac.session.lost = 1
    answered(mac, network, 2000 * HOUR_MS)
    assert (mac.session.lost, mac.session.adr_ack_cnt) == (0, 0)
    sent, _ = unheard(mac, 2001 * HOUR_MS, 64)
    assert all(one[5][0] != 0 for one in sent)


def test_asking_anew_keeps_to_the_back_off_and_to_the_nonces():
    mac, _ = joined()
    mac.session.lost = 2
    mac.session.adr_ack_cnt = 200
    now_ms = HOUR_MS
    on_air = 0
    asked = 0
    for _ in range(24 * 6):  # every ten minutes for a day
        now_ms += 600_000
        transmit = first(mac.handle((m.SEND, 10, b"x", False), now_ms), m.TRANSMIT)
        if transmit[5][0] == 0:
            asked += 1
            on_air += transmit[6]
            done_ms, actions = silence(mac, transmit, now_ms)
            assert first(actions, m.DONE)[1] == m.BUSY
            transmit = first(mac.handle((m.SEND, 10, b"x", False), done_ms), m.TRANSMIT)
        silence(mac, transmit, now_ms + 10_000)
    assert asked >= 10
    assert on_air < 36_000 + 36_000 + 8_700
    assert mac.session.join_attempts == asked
    mac.session.dev_nonce = 0x10000  # used up: the old session is all there is
    mac.session.join_until_ms = 0
    transmit = first(mac.handle((m.SEND, 10, b"x", False), now_ms + HOUR_MS), m.TRANSMIT)
    assert transmit[5][0] != 0


def test_session_of_the_bench_needs_no_join_and_is_never_given_up():
    config = {"dev_addr": "26012345", "nwk_s_key": "11" * 16, "app_s_key": "22" * 16}
    for region, dr in ((regions.EU868, 0), (US915, 0), (regions.by_name("AS923"), 2)):
        mac = m.Mac(region, Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY)
        personalise(mac, config)
        session = mac.session
        assert (session.dev_addr, session.dr, session.rx2_hz) == (0x26012345, dr, region.rx2_hz)
        actions = mac.handle((m.SEND, 10, b"bench", False), 100_000)
        assert actions[0] == (m.SAVE, True)  # its counter is claimed before it is used
        network = Network()
        network.nwk_s_key, network.app_s_key = new_key(b"\x11" * 16), new_key(b"\x22" * 16)
        assert network.open(first(actions, m.TRANSMIT)[5])[1] == b"bench"
        mac = rested(mac)
        personalise(mac, config)
        assert mac.session.f_cnt_up == 1
        mac.session.lost = 2
        mac.state = m.IDLE
        transmit = first(mac.handle((m.SEND, 10, b"bench", False), 10 * HOUR_MS), m.TRANSMIT)
        assert network.open(transmit[5])[0].f_cnt == 1
        mac.state = m.IDLE
        other = dict(config)
        other["app_s_key"] = "33" * 16
        personalise(mac, other)
        assert mac.session.f_cnt_up == 0


def test_device_with_a_session_in_its_configuration_never_joins():
    config = {"dev_addr": "26012345", "nwk_s_key": "11" * 16, "app_s_key": "22" * 16}
    device = Device(**config)
    device.network.nwk_s_key = new_key(b"\x11" * 16)
    device.network.app_s_key = new_key(b"\x22" * 16)
    for lose in (device.sleep, device.lose_power, device.sleep):
        device.wake()
        heard = device.take()
        assert heard
        assert "join" not in heard
        lose()
    # Each power loss skips ahead: no counter twice.
    counters = [frame.f_cnt for frame, _ in device.network.heard]
    assert len(set(counters)) == len(counters)
    # Taken off the bench, it joins.
    for name in config:
        del device.board.config[name]
    device.wake()
    assert "join" in device.take()
