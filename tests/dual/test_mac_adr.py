"""What a device does when the network is silent (LoRaWAN 1.0.4, 4.3.1.1 and its table 9)."""

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from dual_mac import EU868, answered, first, joined, send
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_protocol.lorawan import regions

HOUR_MS = 3_600_000


def uplinks(mac, network, count):
    """Send, and hear nothing; return (ADRACKReq, SF, EIRP, NbTrans, mask) of each."""
    seen = []
    now_ms = HOUR_MS
    for _ in range(count):
        now_ms += HOUR_MS
        session = mac.session
        room = mac.room()
        nb_trans, ch_mask = session.nb_trans, session.ch_mask
        transmit, actions = send(mac, now_ms, payload=bytes(min(room, 20)))
        frame, _ = network.open(transmit[5])
        seen.append((frame.adr_ack_req, transmit[2], transmit[4], nb_trans, ch_mask))
        sent = 1
        while mac.next_deadline() is not None:
            now_ms = max(now_ms + 1_000, mac.next_deadline())
            actions = mac.handle((m.TIMER,), now_ms)
            if actions == ((m.SAVE, False),):
                continue  # the duty cycle
            transmit = first(actions, m.TRANSMIT)
            mac.handle((m.TX_DONE,), now_ms + transmit[6])
            mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 1100)
            actions = mac.handle((m.RX_TIMEOUT,), now_ms + transmit[6] + 2300)
            sent += 1
        assert sent == nb_trans
        assert first(actions, m.DONE) == (m.DONE, m.SENT, 0)
    return seen


def test_table_9():
    mac, network = joined(adr=True)
    session = mac.session
    session.dr, session.tx_power, session.nb_trans, session.ch_mask = 1, 4, 3, 0xF8
    seen = uplinks(mac, network, 200)
    assert seen[:64] == [(False, 11, 8, 3, 0xF8)] * 64
    assert seen[64:96] == [(True, 11, 8, 3, 0xF8)] * 32
    assert seen[96:128] == [(True, 11, 16, 3, 0xF8)] * 32
    assert seen[128:160] == [(True, 12, 16, 3, 0xF8)] * 32
    assert seen[160:] == [(True, 12, 16, 1, 0xFF)] * 40


def test_repetitions_end_last():
    mac, network = joined(adr=True)
    mac.session.dr, mac.session.nb_trans = 0, 2
    seen = uplinks(mac, network, 97)
    assert seen[95:] == [(True, 12, 16, 2, 0xFF), (True, 12, 16, 1, 0xFF)]
    assert mac.session.lost == 0


def test_a_downlink_ends_it_and_the_count_begins_anew():
    mac, network = joined(adr=True)
    seen = uplinks(mac, network, 130)
    assert [one[1] for one in seen] == [7] * 96 + [8] * 32 + [9] * 2
    answered(mac, network, 1000 * HOUR_MS)
    assert mac.session.adr_ack_cnt == 0
    mac.session.band_until_ms = [0] * len(EU868.sub_bands)
    seen = uplinks(mac, network, 70)
    assert [one[0] for one in seen] == [False] * 64 + [True] * 6
    assert {one[1] for one in seen} == {9}


def test_without_adr_the_data_rate_stays_and_the_link_is_checked():
    mac, network = joined()
    seen = uplinks(mac, network, 100)
    assert {one[:3] for one in seen} == {(False, 7, 16)}
    frame, _ = network.heard[-1]
    assert (frame.adr, frame.f_opts) == (False, b"\x02")


def test_fixed_channels_are_all_enabled_at_the_end():
    us915 = regions.by_name("US915")
    mac = m.Mac(us915, Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY, adr=True)
    network = Network()
    transmit = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)
    mac.handle((m.TX_DONE,), transmit[6])
    masks = us915.encode_cf_list((0xFF00, 0, 0, 0, 0x02))
    accept = network.accept(transmit[5], rx2_dr=8, cf_list=masks)
    mac.handle((m.RECEIVED, accept, 5), 5100 + transmit[6])
    mac.session.dr, mac.session.tx_power = 1, 5
    few = 0xFF00 | 1 << 65
    seen = uplinks(mac, network, 170)
    # Fewer than 50 channels: 23 dBm at most, whatever the power asked for.
    assert seen[95] == (True, 9, 20, 1, few)
    assert seen[96] == (True, 9, 23, 1, few)
    assert seen[128] == (True, 10, 23, 1, few)
    assert seen[160] == (True, 10, 30, 1, (1 << 72) - 1)


def test_step_onto_a_data_rate_without_a_channel_enables_all():
    us915 = regions.by_name("US915")
    mac = m.Mac(us915, Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY, adr=True)
    network = Network()
    network.nwk_s_key = network.app_s_key = new_key(bytes(16))
    session = mac.session
    session.joined, session.dev_addr = 1, network.dev_addr
    session.rx2_hz, session.rx2_dr = us915.rx2_hz, us915.rx2_dr
    session.dr, session.ch_mask = 4, 1 << 65
    seen = uplinks(mac, network, 97)
    assert seen[95][1:] == (8, 28, 1, 1 << 65)
    assert seen[96][1:] == (7, 30, 1, (1 << 72) - 1)


def test_room_is_that_of_the_data_rate_of_the_next_uplink():
    mac, network = joined(adr=True)
    mac.session.dr = 3
    uplinks(mac, network, 95)
    assert mac.room() == 115
    send(mac, 2000 * HOUR_MS, payload=bytes(115))
    assert (mac.session.dr, mac.room()) == (2, 51)
    transmit, _ = send(mac, 2001 * HOUR_MS, payload=bytes(51))
    assert transmit[2] == 10


def test_reset_in_a_window_does_not_lose_the_count():
    mac, _ = joined(adr=True)
    session = mac.session
    for number in range(70):
        mac = m.Mac(EU868, session, new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY, adr=True)
        mac.handle((m.SEND, 10, b"x", False), HOUR_MS * (number + 2))
        again = Session()
        again.unpack(session.pack())
        again.unpack_volatile(session.pack_volatile())
        session = again
    assert session.adr_ack_cnt == 70
