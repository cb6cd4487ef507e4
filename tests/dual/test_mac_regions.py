"""The device in other regions: how it finds its channels, and what a limited dwell time takes."""

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from dual_mac import first
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.crypto import DOWN, UP

US915 = regions.by_name("US915")
AU915 = regions.by_name("AU915")
AS923 = regions.by_name("AS923")
IN865 = regions.by_name("IN865")
SECOND = (0xFF00, 0, 0, 0, 0x02)


def device(region, random=lambda n: 0, **options):
    return m.Mac(region, Session(), new_key, random, JOIN_EUI, DEV_EUI, APP_KEY, **options)


def ask_to_join(mac, now_ms):
    """Return the join-request's TRANSMIT and the two RECEIVE after it; nothing is heard."""
    transmit = first(mac.handle((m.JOIN,), now_ms), m.TRANSMIT)
    rx1 = mac.handle((m.TX_DONE,), now_ms + transmit[6])[0]
    rx2 = mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 5100)[0]
    mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 6400)
    return transmit, rx1, rx2


def joined(region, cf_list=b"", rx2_dr=None, **options):
    mac, network = device(region, **options), Network()
    transmit = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)
    mac.handle((m.TX_DONE,), transmit[6])
    rx2_dr = region.rx2_dr if rx2_dr is None else rx2_dr
    accept = network.accept(transmit[5], rx2_dr=rx2_dr, cf_list=cf_list)
    done = first(mac.handle((m.RECEIVED, accept, 5), 5100 + transmit[6]), m.DONE)
    assert done[1] == m.JOINED
    return mac, network


def told(mac, network, now_ms, *requests):
    """Send, and be told MAC commands in RX1; return the answers in the next uplink."""
    transmit = first(mac.handle((m.SEND, 10, b"x", False), now_ms), m.TRANSMIT)
    network.open(transmit[5])
    mac.handle((m.TX_DONE,), now_ms + transmit[6])
    down = network.down(f_opts=mc.encode(DOWN, requests))
    mac.handle((m.RECEIVED, down, 5), now_ms + transmit[6] + 1100)
    now_ms += 1_000_000  # the duty cycle
    transmit = first(mac.handle((m.SEND, 10, b"x", False), now_ms), m.TRANSMIT)
    frame, _ = network.open(transmit[5])
    mac.handle((m.TX_DONE,), now_ms + transmit[6])
    mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 1100)
    mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 2400)
    return mc.decode(UP, frame.f_opts)[0]


def test_us915_asks_in_every_group_within_eight_attempts():
    mac = device(US915, lambda n: n - 1)
    now_ms = 0
    groups = []
    for attempt in range(16):
        transmit, rx1, rx2 = ask_to_join(mac, now_ms)
        number = US915.channel_of(transmit[1])
        wide = attempt % 2
        assert transmit[2:4] == ((8, 500_000) if wide else (10, 125_000))
        assert (number >= 64) == bool(wide)
        groups.append(number % 64 if wide else number // 8)
        assert rx1[1] == 923_300_000 + 600_000 * (number % 8)
        assert rx1[2:4] == ((7, 500_000) if wide else (10, 500_000))
        assert rx2[1:4] == (923_300_000, 12, 500_000)
        now_ms = mac.session.join_until_ms
    assert sorted(groups[:8]) == sorted(groups[8:]) == list(range(8))
    for parity in (0, 1):  # in sixteen, each way in each group
        assert sorted(groups[parity::2]) == list(range(8))


def test_us915_hops_on_its_group_at_the_power_that_allows():
    mac, _ = joined(US915, US915.encode_cf_list(SECOND), random=lambda n: n // 2)
    transmit = first(mac.handle((m.SEND, 10, b"x", False), 100_000), m.TRANSMIT)
    assert 8 <= US915.channel_of(transmit[1]) < 16
    assert transmit[4] == 23  # fewer than 50 channels
    mac, _ = joined(US915, US915.encode_cf_list(SECOND))
    mac.session.dr = 4
    transmit = first(mac.handle((m.SEND, 10, b"x", False), 100_000), m.TRANSMIT)
    assert transmit[1:5] == (904_600_000, 8, 500_000, 28)


def test_us915_joined_on_500_khz_hops_on_the_channels_it_is_given_all_the_same():
    mac = device(US915, adr=True)
    network = Network()
    ask_to_join(mac, 0)
    now_ms = mac.session.join_until_ms
    transmit = first(mac.handle((m.JOIN,), now_ms), m.TRANSMIT)
    assert transmit[2:4] == (8, 500_000)
    mac.handle((m.TX_DONE,), now_ms + transmit[6])
    accept = network.accept(transmit[5], rx2_dr=8, cf_list=US915.encode_cf_list((0xFF00,)))
    actions = mac.handle((m.RECEIVED, accept, 5), now_ms + transmit[6] + 5100)
    assert first(actions, m.DONE)[1] == m.JOINED
    actions = mac.handle((m.SEND, 10, b"x", False), now_ms + 100_000)
    transmit = first(actions, m.TRANSMIT)
    assert transmit[2:4] == (7, 125_000)
    assert 8 <= US915.channel_of(transmit[1]) < 16


def test_us915_is_led_onto_a_group_by_two_requests():
    mac, network = joined(US915)
    assert mac.session.ch_mask == (1 << 72) - 1
    answers = told(
        mac,
        network,
        100_000,
        (mc.LINK_ADR, 0, 0, 0x02, 7, 1),
        (mc.LINK_ADR, 3, 2, 0xFF00, 0, 1),
    )
    assert answers == ((mc.LINK_ADR, True, True, True),) * 2
    assert mac.session.ch_mask == 0xFF00 | 1 << 65
    assert (mac.session.dr, mac.session.tx_power) == (3, 2)
    unknown = (mc.TX_PARAM, 0, 0, 30), (mc.NEW_CHANNEL, 3, 903_000_000, 0, 3)
    assert told(mac, network, 3_000_000, *unknown) == ()


def test_au915_keeps_below_400_ms_until_told_otherwise():
    mac, network = joined(AU915, AU915.encode_cf_list(SECOND))
    assert mac.session.dr == 2
    assert mac.room() == 11
    answers = told(mac, network, 100_000, (mc.LINK_ADR, 1, 0, 0xFF00, 0, 1))
    assert answers == ((mc.LINK_ADR, True, False, True),)
    answers = told(
        mac, network, 3_000_000, (mc.TX_PARAM, 0, 0, 20), (mc.LINK_ADR, 0, 1, 0xFF00, 0, 1)
    )
    assert answers == ((mc.TX_PARAM,), (mc.LINK_ADR, True, True, True))
    assert mac.room() == 50  # TXParamSetupAns is said until a downlink comes (5.8)
    transmit = first(mac.handle((m.SEND, 10, bytes(50), False), 10_000_000), m.TRANSMIT)
    assert transmit[2:5] == (12, 125_000, 18)
    again = Session()
    again.unpack(mac.session.pack())
    assert (again.dwell, again.max_eirp_dbm) == (0, 20)


def test_a_limit_that_comes_later_makes_the_device_faster():
    mac, network = joined(AS923)
    told(mac, network, 100_000, (mc.TX_PARAM, 0, 0, 16), (mc.LINK_ADR, 0, 0, 0b11, 0, 1))
    assert mac.session.dr == 0
    told(mac, network, 10_000_000, (mc.TX_PARAM, 1, 1, 16))
    assert mac.session.dr == 2
    # RX1, too, keeps below 400 ms now.
    mac.session.rx1_dr_offset = 5
    transmit = first(mac.handle((m.SEND, 10, b"x", False), 20_000_000), m.TRANSMIT)
    rx1 = mac.handle((m.TX_DONE,), 20_000_000 + transmit[6])[0]
    assert rx1[1:4] == (transmit[1], 10, 125_000)


def test_adr_backs_off_no_further_than_the_dwell_time_allows():
    mac, _ = joined(AS923, adr=True)
    assert mac.session.dr == 5
    now_ms = 100_000
    for _ in range(64 + 32 * 8):
        transmit = first(mac.handle((m.SEND, 10, b"x", False), now_ms), m.TRANSMIT)
        mac.handle((m.TX_DONE,), now_ms + transmit[6])
        mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 1100)
        mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 2400)
        now_ms += 600_000
    assert mac.session.dr == 2


def test_a_retry_goes_no_slower_than_the_dwell_time_allows():
    mac, _ = joined(AS923)
    mac.session.dr = 2
    now_ms = 100_000
    actions = mac.handle((m.SEND, 10, b"x", True), now_ms)
    for _ in range(4):
        transmit = first(actions, m.TRANSMIT)
        assert transmit[2] == 10
        mac.handle((m.TX_DONE,), now_ms + transmit[6])
        mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 1100)
        mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 2400)
        if mac.next_deadline() is None:
            break
        now_ms += 600_000
        actions = mac.handle((m.TIMER,), now_ms)
    assert mac.state == m.IDLE


def test_joins_are_asked_for_where_the_regions_say():
    for region, slowest in ((AS923, 2), (IN865, 0)):
        mac = device(region)
        data_rates = []
        now_ms = 0
        for _ in range(6):
            transmit, rx1, rx2 = ask_to_join(mac, now_ms)
            assert transmit[1] in region.default_channels_hz
            assert rx1[1:4] == transmit[1:4]
            assert rx2[1] == region.rx2_hz
            data_rates.append(region.dr_of(transmit[2], transmit[3]))
            now_ms = mac.session.join_until_ms
        assert min(data_rates) == slowest
        assert data_rates[0] == 5


def test_the_groups_of_as923_have_their_own_channels():
    second = regions.by_name("AS923-2")
    assert second.default_channels_hz == (921_400_000, 921_600_000)
    assert second.sub_band(921_400_000).duty_cycle == 100
    assert second.sub_band(923_400_000).duty_cycle == 1
    assert AS923.sub_band(923_400_000).duty_cycle == 100


def test_what_is_no_region():
    for name in ("EU433", "", "AS923-5", "by_name"):
        try:
            regions.by_name(name)
            raise AssertionError(name)
        except KeyError:
            pass


def test_too_slow_for_the_dwell_time_is_no_data_rate():
    assert AU915.max_payload(0) == 51
    assert AU915.max_payload(2, dwell=True) == 11
    try:
        AU915.max_payload(1, dwell=True)
        raise AssertionError("12 s on the air")
    except DecodeError:
        pass
    assert (AU915.min_dr(), AU915.min_dr(dwell=True)) == (0, 2)
    assert (US915.min_dr(), US915.min_dr(dwell=True)) == (0, 0)
