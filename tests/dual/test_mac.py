"""The Class A machine against a network end: tables of event, time and expected actions."""

from dual_device import APP_KEY, CHANNELS_HZ, DEV_EUI, JOIN_EUI, Network, new_key
from dual_mac import EU868, answered, first, joined, kinds, new_mac, send
from stoep_firmware import mac as m
from stoep_firmware.session import RESERVE, Session
from stoep_protocol.lorawan import frames, regions
from stoep_protocol.lorawan import mac_commands as mc


def test_join_saves_the_nonce_before_it_transmits():
    mac = new_mac()
    actions = mac.handle((m.JOIN,), 0)
    assert kinds(actions) == [m.SAVE, m.TRANSMIT]
    assert actions[0] == (m.SAVE, True)
    assert mac.session.dev_nonce == 1
    _, freq_hz, sf, bw_hz, eirp_dbm, phy_payload, airtime_ms = actions[1]
    assert freq_hz in EU868.default_channels_hz
    assert (sf, bw_hz, eirp_dbm, airtime_ms) == (7, 125000, 16, 62)
    assert frames.parse(phy_payload).dev_nonce == 0


def test_join_windows_count_from_tx_done():
    mac = new_mac()
    freq_hz = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)[1]
    assert mac.next_deadline() is None
    rx1 = mac.handle((m.TX_DONE,), 10_000)
    assert len(rx1) == 1
    kind, rx1_hz, sf, bw_hz, at_ms, symbols = rx1[0]
    assert (kind, rx1_hz, sf, bw_hz) == (m.RECEIVE, freq_hz, 7, 125000)
    # Listening from 15 ms before the preamble's earliest begin by a clock that is off by 0.3 %,
    # and long enough for the latest.
    assert 15_000 - 50 <= at_ms <= 15_000 - 15 - 5
    assert at_ms + symbols * 1.024 >= 15_000 + 15 + 5 * 1.024
    kind, rx2_hz, sf, _, at_ms, symbols = mac.handle((m.RX_TIMEOUT,), 15_050)[0]
    assert (kind, rx2_hz, sf) == (m.RECEIVE, 869525000, 12)
    assert 15_900 < at_ms < 16_000
    assert 8 <= symbols <= 12


def test_windows_are_as_wide_as_the_clock_is_wrong():
    lengths_ms = []
    for error_ppm in (0, 100, 3000, 20_000):
        mac, _ = joined()
        mac.session.rx_delay_s = 15
        mac.error_ppm = error_ppm
        mac.handle((m.SEND, 10, b"x", False), 100_000)
        _, _, sf, bw_hz, at_ms, symbols = mac.handle((m.TX_DONE,), 200_000)[0]
        error_ms = 15_000 * error_ppm // 1_000_000
        # The preamble of eight symbols, early or late by that much, is heard for five at least.
        length_ms = (symbols << sf) * 1000 // bw_hz
        assert at_ms + 12 <= 215_000 - error_ms
        assert at_ms + 12 + length_ms >= 215_000 + error_ms + 5
        assert length_ms <= 2 * error_ms + 50
        lengths_ms.append(length_ms)
    assert lengths_ms == sorted(lengths_ms)


def test_join_accept_gives_keys_channels_and_delays():
    network = Network()
    mac = new_mac()
    phy_payload = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)[5]
    mac.handle((m.TX_DONE,), 62)
    accept = network.accept(phy_payload, rx1_dr_offset=2, rx2_dr=3, rx_delay_s=5)
    actions = mac.handle((m.RECEIVED, accept, 5), 5100)
    assert actions == ((m.SAVE, True), (m.DONE, m.JOINED, 0))
    session = mac.session
    assert session.joined and session.dev_addr == network.dev_addr
    assert session.f_cnt_up == session.f_cnt_down == 0
    assert session.ch_mask == 0xFF
    assert tuple([channel[0] for channel in session.channels]) == CHANNELS_HZ
    transmit = first(mac.handle((m.SEND, 10, b"x", False), 20_000), m.TRANSMIT)
    network.open(transmit[5])
    rx1 = mac.handle((m.TX_DONE,), 30_000)[0]
    assert (rx1[1], rx1[2]) == (transmit[1], 9)  # DR5 less an offset of 2
    assert 34_900 < rx1[4] < 35_000
    rx2 = mac.handle((m.RX_TIMEOUT,), 35_100)[0]
    assert (rx2[1], rx2[2]) == (869525000, 9)


def test_join_accept_of_another_device_or_damaged_leaves_rx2_open():
    network = Network()
    mac = new_mac()
    phy_payload = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)[5]
    mac.handle((m.TX_DONE,), 62)
    accept = network.accept(phy_payload)
    damaged = accept[:5] + bytes([accept[5] ^ 1]) + accept[6:]
    assert kinds(mac.handle((m.RECEIVED, damaged, 5), 5100)) == [m.RECEIVE]
    assert mac.state == m.RX2
    actions = mac.handle((m.RECEIVED, b"", 5), 6300)
    assert first(actions, m.DONE)[1] == m.NO_ANSWER
    assert not mac.session.joined


def test_replayed_join_accept_is_refused():
    mac, network = joined()
    phy_payload = first(mac.handle((m.JOIN,), 3_600_000), m.TRANSMIT)[5]
    mac.handle((m.TX_DONE,), 3_600_062)
    network.app_nonce -= 1
    actions = mac.handle((m.RECEIVED, network.accept(phy_payload), 5), 3_605_100)
    assert kinds(actions) == [m.RECEIVE]


def test_joins_back_off_in_time_and_data_rate():
    # LoRaWAN 1.0.3, 7: 36 s on the air in the first hour, 36 s in the next ten, then 8.7 s a day.
    mac = new_mac()
    now_ms = 0
    sent = []
    nonces = []
    while now_ms < 35 * 3_600_000:
        actions = mac.handle((m.JOIN,), now_ms)
        if first(actions, m.DONE if len(actions) == 1 else m.TRANSMIT)[0] == m.DONE:
            _, result, until_ms = actions[0]
            assert result == m.BUSY and until_ms > now_ms
            now_ms = until_ms
            continue
        transmit = first(actions, m.TRANSMIT)
        sent.append((now_ms, transmit[2], transmit[6]))
        nonces.append(frames.parse(transmit[5]).dev_nonce)
        mac.handle((m.TX_DONE,), now_ms + transmit[6])
        mac.handle((m.RX_TIMEOUT,), now_ms + 5100)
        now_ms += 6500
        assert first(mac.handle((m.RX_TIMEOUT,), now_ms), m.DONE)[1] == m.NO_ANSWER
    assert nonces == list(range(len(nonces)))
    assert [sf for _, sf, _ in sent[:7]] == [7, 8, 9, 10, 11, 12, 7]
    hour = 3_600_000
    for begin, end, limit_ms in ((0, 1, 36_000), (1, 11, 36_000), (11, 35, 8_700)):
        on_air = sum([ms for at, _, ms in sent if begin * hour <= at < end * hour])
        assert 0 < on_air < limit_ms, (begin, on_air)


def test_used_up_nonces_end_joining():
    mac = new_mac()
    mac.session.dev_nonce = 0xFFFF
    assert first(mac.handle((m.JOIN,), 0), m.TRANSMIT)
    mac.state = m.IDLE
    assert mac.handle((m.JOIN,), 10**9) == ((m.DONE, m.EXHAUSTED, 0),)


def test_unconfirmed_uplink_is_done_after_both_windows():
    mac, network = joined()
    for number in range(3):
        transmit, actions = send(mac, 100_000 * (number + 1))
        assert transmit[1] in CHANNELS_HZ
        frame, payload = network.open(transmit[5])
        assert (frame.f_cnt, frame.f_port, payload) == (number, 10, b"hello")
        assert not frame.confirmed and not frame.ack and not frame.adr
        assert actions == ((m.SAVE, False), (m.DONE, m.SENT, 0))
        assert mac.state == m.IDLE and not mac.session.kept


def test_counter_is_claimed_in_storage_before_it_is_used():
    mac, network = joined()
    claimed = RESERVE
    for number in range(3 * RESERVE):
        actions = mac.handle((m.SEND, 10, b"x", False), 1_000_000 * (number + 1))
        if (m.SAVE, True) in actions:
            claimed = mac.session.f_cnt_limit
        frame, _ = network.open(first(actions, m.TRANSMIT)[5])
        # A power loss now would go on at `claimed`: above everything that was sent.
        assert frame.f_cnt < claimed
        mac.state = m.IDLE
    assert claimed == 4 * RESERVE


def test_downlink_is_delivered_after_its_counter_is_saved():
    mac, network = joined()
    _, actions = answered(mac, network, 100_000, f_port=13, data=b"\x81\x05")
    assert actions == (
        (m.SAVE, True),
        (m.DELIVER, 13, b"\x81\x05"),
        (m.DONE, m.SENT, 0),
    )
    assert mac.session.f_cnt_down == 1
    assert mac.session.margin_db == 12  # 5 dB over the -7.5 of SF7, rounded down


def test_replayed_or_foreign_downlink_counts_as_silence():
    mac, network = joined()
    transmit = first(mac.handle((m.SEND, 10, b"x", False), 100_000), m.TRANSMIT)
    mac.handle((m.TX_DONE,), 100_100)
    down = network.down(f_port=13, data=b"1")
    mac.handle((m.RECEIVED, down, 5), 101_200)
    for phy_payload in (
        down,
        transmit[5],
        down[:-1] + bytes([down[-1] ^ 1]),
        network.down(f_port=13, data=b"2")[:9],
        b"\xe0",
        b"",
    ):
        now_ms = mac.session.f_cnt_up * 100_000 + 100_000
        mac.handle((m.SEND, 10, b"x", False), now_ms)
        mac.handle((m.TX_DONE,), now_ms + 100)
        actions = mac.handle((m.RECEIVED, phy_payload, 5), now_ms + 1200)
        assert kinds(actions) == [m.RECEIVE], phy_payload
        actions = mac.handle((m.RECEIVED, phy_payload, 5), now_ms + 2300)
        assert kinds(actions) == [m.SAVE, m.DONE]
        assert mac.session.f_cnt_down == 1


def test_rx2_is_skipped_when_rx1_ends_after_it():
    mac, _ = joined()
    mac.handle((m.SEND, 10, b"x", False), 100_000)
    mac.handle((m.TX_DONE,), 100_100)
    actions = mac.handle((m.RX_TIMEOUT,), 102_200)  # a long frame for somebody else
    assert kinds(actions) == [m.SAVE, m.DONE]


def test_confirmed_uplink_is_repeated_unchanged_as_often_as_the_network_says():
    mac, network = joined()
    mac.session.nb_trans = 4
    mac.handle((m.SEND, 10, b"hello", True), 100_000)
    sent = []
    now_ms = 100_100
    while True:
        mac.handle((m.TX_DONE,), now_ms)
        mac.handle((m.RX_TIMEOUT,), now_ms + 1100)
        actions = mac.handle((m.RX_TIMEOUT,), now_ms + 2300)
        if mac.next_deadline() is None:
            break
        assert actions == ((m.SAVE, False),)
        due_ms = mac.next_deadline()
        assert now_ms + 3300 <= due_ms <= now_ms + 5300  # ACK_TIMEOUT: 2 +- 1 s after RX2
        assert mac.handle((m.TIMER,), due_ms - 1) == ()
        transmit = first(mac.handle((m.TIMER,), due_ms), m.TRANSMIT)
        sent.append((transmit[2], transmit[5]))
        now_ms = due_ms + transmit[6]
    assert [sf for sf, _ in sent] == [7, 7, 7]
    assert len({data for _, data in sent}) == 1
    assert network.open(sent[0][1])[0].confirmed
    assert first(actions, m.DONE) == (m.DONE, m.NO_ANSWER, 0)
    assert mac.session.f_cnt_up == 1
    # A new frame, too, waits for a late acknowledgement to pass (4.3.1.3).
    ended_ms = now_ms + 2300
    _, result, until_ms = mac.handle((m.SEND, 10, b"next", False), ended_ms)[0]
    assert result == m.BUSY
    assert ended_ms + 1000 <= until_ms <= ended_ms + 3000
    assert first(mac.handle((m.SEND, 10, b"next", False), until_ms), m.TRANSMIT)


def test_acknowledgement_ends_a_confirmed_uplink():
    mac, network = joined()
    frame, actions = answered(mac, network, 100_000, confirmed=True, ack=True)
    assert frame.confirmed
    assert first(actions, m.DONE) == (m.DONE, m.SENT, 0)
    # A downlink that does not acknowledge ends it, too, without success (1.0.4, 4.3.1.3).
    mac.session.nb_trans = 4
    _, actions = answered(mac, network, 200_000, confirmed=True, f_port=13, data=b"x")
    assert kinds(actions) == [m.SAVE, m.DELIVER, m.DONE]
    assert first(actions, m.DONE) == (m.DONE, m.NO_ANSWER, 0)
    assert mac.next_deadline() is None
    actions = mac.handle((m.SEND, 10, b"x", False), 201_200)
    assert actions[0][:2] == (m.DONE, m.BUSY)
    assert actions[0][2] >= 202_100  # RETRANSMIT_TIMEOUT after the downlink


def test_kept_frame_survives_deep_sleep():
    mac, network = joined()
    mac.session.nb_trans = 2
    mac.handle((m.SEND, 10, b"hello", True), 100_000)
    mac.handle((m.TX_DONE,), 100_100)
    mac.handle((m.RX_TIMEOUT,), 101_200)
    mac.handle((m.RX_TIMEOUT,), 102_300)
    session = Session()
    session.unpack(mac.session.pack())
    session.unpack_volatile(mac.session.pack_volatile())
    again = new_mac(session)
    assert again.state == m.WAIT and again.next_deadline() == mac.next_deadline()
    transmit = first(again.handle((m.TIMER,), again.next_deadline()), m.TRANSMIT)
    assert network.open(transmit[5])[1] == b"hello"
    again.handle((m.TX_DONE,), 110_000)
    actions = again.handle((m.RECEIVED, network.down(ack=True), 5), 111_000)
    assert first(actions, m.DONE) == (m.DONE, m.SENT, 0)


def test_nb_trans_repeats_unconfirmed_uplinks_until_a_downlink():
    mac, network = joined()
    mac.session.nb_trans = 3
    transmit, actions = send(mac, 100_000)
    assert actions == ((m.SAVE, False),)
    now_ms = mac.next_deadline()
    again = first(mac.handle((m.TIMER,), now_ms), m.TRANSMIT)
    assert again[5] == transmit[5]
    mac.handle((m.TX_DONE,), now_ms + 60)
    actions = mac.handle((m.RECEIVED, network.down(), 5), now_ms + 1100)
    assert first(actions, m.DONE) == (m.DONE, m.SENT, 0)
    assert mac.next_deadline() is None


def test_confirmed_downlink_is_acknowledged_in_the_next_uplink_only():
    mac, network = joined()
    answered(mac, network, 100_000, confirmed=False, f_port=13, data=b"x")
    assert not mac.session.answer_due
    down = network.down
    network.down = lambda **_: down(confirmed=True)
    answered(mac, network, 200_000)
    network.down = down
    assert mac.session.answer_due
    assert network.open(send(mac, 300_000)[0][5])[0].ack
    assert not mac.session.answer_due
    assert not network.open(send(mac, 400_000)[0][5])[0].ack


def test_f_pending_asks_for_an_uplink():
    mac, network = joined()
    answered(mac, network, 100_000, f_pending=True)
    assert mac.session.answer_due
    transmit, _ = send(mac, 200_000, None, b"")
    frame, _ = network.open(transmit[5])
    assert frame.f_port is None
    assert not mac.session.answer_due


def test_sub_bands_keep_their_duty_cycle():
    mac, _ = joined()
    on_air = {}
    now_ms = 10_000
    refused = 0
    end_ms = now_ms + 3_600_000
    mac.session.dr = 0
    while now_ms < end_ms:
        actions = mac.handle((m.SEND, 10, bytes(20), False), now_ms)
        if actions[0][0] == m.DONE:
            assert actions[0][1] == m.BUSY
            assert mac.session.f_cnt_up == sum([len(ms) for ms in on_air.values()])
            refused += 1
            now_ms = actions[0][2]
            continue
        transmit = first(actions, m.TRANSMIT)
        band = EU868.sub_band(transmit[1]).low_hz
        on_air.setdefault(band, []).append(transmit[6])
        mac.state = m.IDLE
        now_ms += 4000
    assert refused > 10
    assert sorted(on_air) == [865000000, 868000000]
    for band, times in on_air.items():
        assert 20_000 < sum(times) <= 36_000 + 2000, band


def test_payload_longer_than_the_data_rate_carries_is_refused():
    mac, network = joined()
    mac.session.dr = 0
    assert mac.room() == 51
    assert mac.handle((m.SEND, 10, bytes(52), False), 100_000) == ((m.DONE, m.TOO_LONG, 51),)
    assert mac.session.f_cnt_up == 0
    mac.session.answers = b"\x06\xff\x05"
    assert mac.room() == 48
    transmit, _ = send(mac, 100_000, payload=bytes(48))
    frame, _ = network.open(transmit[5])
    assert frame.f_opts == b"\x06\xff\x05"


def test_mac_commands_on_port_0_are_obeyed_too():
    mac, network = joined()
    _, actions = answered(mac, network, 100_000, f_port=0, data=mc.encode(1, ((mc.RX_TIMING, 3),)))
    assert kinds(actions) == [m.SAVE, m.DONE]
    assert mac.session.rx_delay_s == 3


def test_max_duty_cycle_limits_all_bands_together():
    mac, network = joined()
    answered(mac, network, 100_000, f_opts=mc.encode(1, ((mc.DUTY_CYCLE, 10),)))
    transmit, _ = send(mac, 200_000)
    actions = mac.handle((m.SEND, 10, b"x", False), 210_000)
    assert actions == ((m.DONE, m.BUSY, 200_000 + transmit[6] * 1024),)


def test_tx_power_lowers_the_eirp():
    mac, network = joined()
    answered(mac, network, 100_000, f_opts=mc.encode(1, ((mc.LINK_ADR, 5, 5, 0xFF, 0, 1),)))
    assert send(mac, 200_000)[0][4] == 6


def test_fault_before_the_air_is_no_uplink_and_claims_the_counter_anew():
    mac, _ = joined()
    mac.handle((m.SEND, 10, b"x", False), 100_000)
    actions = mac.handle((m.FAULT,), 100_100)
    assert first(actions, m.DONE) == (m.DONE, m.NO_ANSWER, 0)
    assert mac.state == m.IDLE
    assert (m.SAVE, True) in mac.handle((m.SEND, 10, b"x", False), 200_000)


def test_event_that_a_state_does_not_know_changes_nothing():
    mac, _ = joined()
    for event in ((m.TX_DONE,), (m.RX_TIMEOUT,), (m.TIMER,), (m.FAULT,), (m.RECEIVED, b"", 0)):
        try:
            mac.handle(event, 100_000)
            raise AssertionError(event)
        except ValueError:
            assert mac.state == m.IDLE
    try:
        new_mac().handle((m.SEND, 10, b"x", False), 0)
        raise AssertionError("sent before joining")
    except ValueError:
        pass


def test_us915_joins_and_sends_on_the_channels_it_is_given():
    us915 = regions.by_name("US915")
    network = Network()
    mac = m.Mac(us915, Session(), new_key, lambda n: n - 1, JOIN_EUI, DEV_EUI, APP_KEY)
    transmit = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)
    assert 902_300_000 <= transmit[1] <= 914_900_000
    assert transmit[4] == 30
    mac.handle((m.TX_DONE,), 62)
    masks = us915.encode_cf_list((0xFF00, 0, 0, 0, 0x02))  # the second sub-band
    accept = network.accept(transmit[5], rx2_dr=8, cf_list=masks)
    assert first(mac.handle((m.RECEIVED, accept, 5), 5100), m.DONE)[1] == m.JOINED
    mac.session.dr = 0
    assert mac.room() == 11
    transmit = first(mac.handle((m.SEND, 10, bytes(11), False), 100_000), m.TRANSMIT)
    assert transmit[1:4] == (905_300_000, 10, 125_000)  # channel 15, the last of those
    network.open(transmit[5])
    rx1 = mac.handle((m.TX_DONE,), 101_000)[0]
    assert rx1[1:4] == (927_500_000, 10, 500_000)
    rx2 = mac.handle((m.RX_TIMEOUT,), 102_050)[0]
    assert rx2[1:4] == (923_300_000, 12, 500_000)
    session = Session()
    session.unpack(mac.session.pack())
    assert session.ch_mask == 0xFF00 | 2 << 64
