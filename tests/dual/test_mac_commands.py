"""Every MAC command in EU868 and US915: what it changes, what is answered, how often and when."""

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from dual_mac import answered, first, joined, kinds, send
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.crypto import DOWN, UP

US915 = regions.by_name("US915")
SECOND = 0xFF00 | 1 << 65  # eight channels and the wide one between them
OK = (mc.LINK_ADR, 1, 1, 1)
# In EU868 all eight channels are in use at DR5, in US915 the second eight at DR3.
# Requests, the answers to them, attributes of the session after them.
EU868_TABLE = (
    (((mc.LINK_ADR, 3, 2, 0x00FF, 0, 2),), (OK,), {"dr": 3, "tx_power": 2, "nb_trans": 2}),
    (((mc.LINK_ADR, 0, 7, 0x0007, 0, 15),), (OK,), {"dr": 0, "tx_power": 7, "nb_trans": 15}),
    # 15 keeps the data rate and the power, NbTrans 0 means 1 (5.2).
    (((mc.LINK_ADR, 15, 15, 0x0007, 0, 0),), (OK,), {"dr": 5, "ch_mask": 7, "nb_trans": 1}),
    (((mc.LINK_ADR, 15, 15, 0x0000, 6, 1),), (OK,), {"ch_mask": 0xFF}),
    # All or nothing: a channel, a data rate, a power that there is not; no channel at all.
    (
        ((mc.LINK_ADR, 4, 1, 0x0100, 0, 2),),
        ((mc.LINK_ADR, 0, 1, 1),),
        {"dr": 5, "tx_power": 0, "nb_trans": 1, "ch_mask": 0xFF},
    ),
    (
        ((mc.LINK_ADR, 7, 1, 0x0007, 0, 2),),
        ((mc.LINK_ADR, 1, 0, 1),),
        {"dr": 5, "tx_power": 0, "nb_trans": 1, "ch_mask": 0xFF},
    ),
    (
        ((mc.LINK_ADR, 4, 8, 0x0007, 0, 2),),
        ((mc.LINK_ADR, 1, 1, 0),),
        {"dr": 5, "tx_power": 0, "nb_trans": 1, "ch_mask": 0xFF},
    ),
    (((mc.LINK_ADR, 5, 0, 0x0000, 0, 1),), ((mc.LINK_ADR, 0, 0, 1),), {"ch_mask": 0xFF}),
    (((mc.LINK_ADR, 5, 0, 0x0007, 3, 1),), ((mc.LINK_ADR, 0, 1, 1),), {"ch_mask": 0xFF}),
    # A block: masks one after the other, the last one's data rate, power and NbTrans (5.2).
    (
        ((mc.LINK_ADR, 0, 0, 0x0001, 0, 3), (mc.LINK_ADR, 4, 1, 0x00F0, 0, 2)),
        (OK, OK),
        {"dr": 4, "tx_power": 1, "nb_trans": 2, "ch_mask": 0xF0},
    ),
    (
        ((mc.LINK_ADR, 5, 0, 0x0100, 0, 1), (mc.LINK_ADR, 4, 1, 0x00F0, 0, 2)),
        ((mc.LINK_ADR, 0, 1, 1), (mc.LINK_ADR, 0, 1, 1)),
        {"dr": 5, "tx_power": 0, "nb_trans": 1, "ch_mask": 0xFF},
    ),
    # Another command between them makes two blocks.
    (
        ((mc.LINK_ADR, 3, 0, 0x0F, 0, 1), (mc.DEV_STATUS,), (mc.LINK_ADR, 9, 1, 0x07, 0, 2)),
        (OK, (mc.DEV_STATUS, 255, 5), (mc.LINK_ADR, 1, 0, 1)),
        {"dr": 3, "ch_mask": 0x0F},
    ),
    (((mc.DUTY_CYCLE, 7),), ((mc.DUTY_CYCLE,),), {"max_duty_cycle": 7}),
    (((mc.DUTY_CYCLE, 0),), ((mc.DUTY_CYCLE,),), {"max_duty_cycle": 0}),
    (
        ((mc.RX_PARAM_SETUP, 1, 3, 869100000),),
        ((mc.RX_PARAM_SETUP, 1, 1, 1),),
        {"rx1_dr_offset": 1, "rx2_dr": 3, "rx2_hz": 869100000},
    ),
    (
        ((mc.RX_PARAM_SETUP, 6, 3, 869100000),),
        ((mc.RX_PARAM_SETUP, 1, 1, 0),),
        {"rx1_dr_offset": 0, "rx2_dr": 0, "rx2_hz": 869525000},
    ),
    (
        ((mc.RX_PARAM_SETUP, 1, 9, 433000000),),
        ((mc.RX_PARAM_SETUP, 0, 0, 1),),
        {"rx1_dr_offset": 0, "rx2_dr": 0, "rx2_hz": 869525000},
    ),
    (((mc.DEV_STATUS,),), ((mc.DEV_STATUS, 255, 5),), {}),
    (((mc.NEW_CHANNEL, 8, 868800000, 0, 5),), ((mc.NEW_CHANNEL, 1, 1),), {"ch_mask": 0x1FF}),
    (((mc.NEW_CHANNEL, 4, 0, 0, 5),), ((mc.NEW_CHANNEL, 1, 1),), {"ch_mask": 0xEF}),
    (((mc.NEW_CHANNEL, 1, 868800000, 0, 5),), ((mc.NEW_CHANNEL, 0, 0),), {"ch_mask": 0xFF}),
    (((mc.NEW_CHANNEL, 16, 868800000, 0, 5),), ((mc.NEW_CHANNEL, 0, 0),), {"ch_mask": 0xFF}),
    (((mc.NEW_CHANNEL, 8, 915000000, 5, 0),), ((mc.NEW_CHANNEL, 0, 0),), {"ch_mask": 0xFF}),
    (((mc.NEW_CHANNEL, 8, 868800000, 5, 0),), ((mc.NEW_CHANNEL, 1, 0),), {"ch_mask": 0xFF}),
    (((mc.RX_TIMING, 5),), ((mc.RX_TIMING,),), {"rx_delay_s": 5}),
    (((mc.RX_TIMING, 0),), ((mc.RX_TIMING,),), {"rx_delay_s": 1}),
    (((mc.TX_PARAM, 1, 1, 8),), (), {"dwell": 0, "max_eirp_dbm": 0}),  # not in this region
    (((mc.DL_CHANNEL, 0, 869100000),), ((mc.DL_CHANNEL, 1, 1),), {}),
    (((mc.DL_CHANNEL, 12, 869100000),), ((mc.DL_CHANNEL, 1, 0),), {}),
    (((mc.DL_CHANNEL, 0, 433000000),), ((mc.DL_CHANNEL, 0, 1),), {}),
    (((mc.LINK_CHECK, 21, 3),), (), {"link_margin_db": 21, "link_gateways": 3}),
    (((mc.DEVICE_TIME, 1, 0),), (), {}),
)
US915_TABLE = (
    (((mc.LINK_ADR, 2, 5, 0xFF00, 0, 2),), (OK,), {"dr": 2, "tx_power": 5, "nb_trans": 2}),
    (((mc.LINK_ADR, 3, 14, 0xFF00, 0, 1),), (OK,), {"tx_power": 14}),
    (((mc.LINK_ADR, 15, 15, 0x00FF, 0, 0),), (OK,), {"dr": 3, "ch_mask": 0xFF | 1 << 65}),
    # All on, or all off but some of 500 kHz; 5: eight at a time.
    (((mc.LINK_ADR, 0, 0, 0x0002, 6, 1),), (OK,), {"ch_mask": (1 << 64) - 1 | 1 << 65}),
    (((mc.LINK_ADR, 4, 0, 0x0002, 7, 1),), (OK,), {"dr": 4, "ch_mask": 1 << 65}),
    (((mc.LINK_ADR, 0, 0, 0x0004, 5, 1),), (OK,), {"ch_mask": 0xFF << 16 | 1 << 66}),
    (
        ((mc.LINK_ADR, 0, 0, 0x0008, 7, 1), (mc.LINK_ADR, 1, 2, 0xFF00, 1, 1)),
        (OK, OK),
        {"dr": 1, "tx_power": 2, "ch_mask": 0xFF << 24 | 1 << 67},
    ),
    # DR3 on 500 kHz alone, no channel at all, a power and a data rate that there is not.
    (((mc.LINK_ADR, 3, 0, 0x0002, 7, 1),), ((mc.LINK_ADR, 1, 0, 1),), {"ch_mask": SECOND}),
    (((mc.LINK_ADR, 3, 0, 0x0000, 7, 1),), ((mc.LINK_ADR, 0, 0, 1),), {"ch_mask": SECOND}),
    (((mc.LINK_ADR, 3, 0, 0x0100, 4, 1),), ((mc.LINK_ADR, 0, 1, 1),), {"ch_mask": SECOND}),
    (((mc.LINK_ADR, 3, 15, 0xFF00, 0, 1),), (OK,), {"tx_power": 0}),
    (((mc.LINK_ADR, 5, 0, 0xFF00, 0, 1),), ((mc.LINK_ADR, 1, 0, 1),), {"dr": 3}),
    (((mc.LINK_ADR, 8, 0, 0xFF00, 0, 1),), ((mc.LINK_ADR, 1, 0, 1),), {"dr": 3}),
    (((mc.DUTY_CYCLE, 15),), ((mc.DUTY_CYCLE,),), {"max_duty_cycle": 15}),
    (
        ((mc.RX_PARAM_SETUP, 3, 10, 923900000),),
        ((mc.RX_PARAM_SETUP, 1, 1, 1),),
        {"rx1_dr_offset": 3, "rx2_dr": 10, "rx2_hz": 923900000},
    ),
    (
        ((mc.RX_PARAM_SETUP, 4, 7, 868100000),),
        ((mc.RX_PARAM_SETUP, 0, 0, 0),),
        {"rx1_dr_offset": 0, "rx2_dr": 8, "rx2_hz": 923300000},
    ),
    (((mc.DEV_STATUS,),), ((mc.DEV_STATUS, 255, 5),), {}),
    (((mc.NEW_CHANNEL, 3, 903000000, 0, 3),), (), {"ch_mask": SECOND}),  # not in such regions
    (((mc.RX_TIMING, 15),), ((mc.RX_TIMING,),), {"rx_delay_s": 15}),
    (((mc.TX_PARAM, 1, 1, 8),), (), {"dwell": 0, "max_eirp_dbm": 0}),
    (((mc.DL_CHANNEL, 3, 923300000),), (), {}),
    (((mc.LINK_CHECK, 0, 1),), (), {"link_margin_db": 0, "link_gateways": 1}),
    (((mc.DEVICE_TIME, 1, 0),), (), {}),
)


def in_us915():
    mac = m.Mac(US915, Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY)
    network = Network()
    transmit = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)
    mac.handle((m.TX_DONE,), transmit[6])
    masks = US915.encode_cf_list((0xFF00, 0, 0, 0, 0x02))
    accept = network.accept(transmit[5], rx2_dr=8, cf_list=masks)
    mac.handle((m.RECEIVED, accept, 5), 5100 + transmit[6])
    mac.session.dr = 3
    return mac, network


def answers_to(mac, network, requests, now_ms=1_000_000):
    answered(mac, network, now_ms, f_opts=mc.encode(DOWN, requests))
    answers, rest = mc.decode(UP, mac.session.answers)
    assert rest == b""
    return tuple([tuple([int(field) for field in answer]) for answer in answers])


def test_every_command_is_obeyed_or_refused_whole_and_answered_in_order():
    seen = []
    for begin, table in ((joined, EU868_TABLE), (in_us915, US915_TABLE)):
        for requests, answers, changes in table:
            mac, network = begin()
            assert answers_to(mac, network, requests) == answers, requests
            for name in changes:
                assert getattr(mac.session, name) == changes[name], (requests, name)
            seen += [request[0] for request in requests]
            # The next uplink says so, and whatever was asked, it goes out.
            frame, _ = network.open(send(mac, 40_000_000)[0][5])
            assert frame.f_opts == mc.encode(UP, answers)
        assert set(seen) == {2, 3, 4, 5, 6, 7, 8, 9, 10, 13}
        seen = []


def test_rx1_is_where_the_network_says():
    mac, network = joined()
    answered(mac, network, 100_000, f_opts=mc.encode(DOWN, ((mc.DL_CHANNEL, 0, 869100000),)))
    for freq_hz, down_hz in ((868100000, 869100000), (868300000, 868300000)):
        mac.session.ch_mask = 1 if freq_hz == 868100000 else 2
        mac.session.band_until_ms = [0] * len(regions.EU868.sub_bands)
        transmit = first(mac.handle((m.SEND, 10, b"x", False), 1_000_000), m.TRANSMIT)
        assert transmit[1] == freq_hz
        assert mac.handle((m.TX_DONE,), 1_000_100)[0][1] == down_hz
        mac.handle((m.FAULT,), 1_000_200)


def test_what_changes_downlinks_is_answered_until_one_comes():
    as923 = regions.by_name("AS923")
    requests = (
        (mc.RX_TIMING, 1),
        (mc.DEV_STATUS,),
        (mc.RX_PARAM_SETUP, 0, 2, 923200000),
        (mc.NEW_CHANNEL, 3, 923000000, 0, 5),
        (mc.DL_CHANNEL, 0, 923200000),
        (mc.TX_PARAM, 0, 0, 16),
    )
    mac = m.Mac(as923, Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY)
    network = Network()
    transmit = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)
    mac.handle((m.TX_DONE,), transmit[6])
    accept = network.accept(transmit[5], rx2_dr=2, cf_list=b"")
    mac.handle((m.RECEIVED, accept, 5), 5100 + transmit[6])
    data = mc.encode(DOWN, requests)
    answered(mac, network, 1_000_000, f_port=0, data=data)
    said = []
    for number in range(3):
        frame, _ = network.open(send(mac, 10_000_000 * (number + 1))[0][5])
        said.append([answer[0] for answer in mc.decode(UP, frame.f_opts)[0]])
    sticky = [mc.RX_TIMING, mc.RX_PARAM_SETUP, mc.DL_CHANNEL, mc.TX_PARAM]
    assert said == [[request[0] for request in requests], sticky, sticky]
    answered(mac, network, 50_000_000)
    assert network.open(send(mac, 60_000_000)[0][5])[0].f_opts == b""


def test_link_check_is_asked_for_until_it_is_answered():
    mac, network = joined()
    mac.ask(m.LINK_CHECK)
    assert mac.room() == 242 - 1
    for number in range(3):
        frame, _ = network.open(send(mac, 1_000_000 * (number + 1))[0][5])
        assert frame.f_opts == b"\x02"
    answered(mac, network, 10_000_000)  # a downlink that says nothing of it
    mac.session.answers = b"\x06\xff\x0c"
    frame, actions = answered(mac, network, 11_000_000, f_opts=b"\x02\x0e\x02")
    assert frame.f_opts == b"\x06\xff\x0c\x02"  # answers first (5)
    assert kinds(actions) == [m.SAVE, m.DONE]
    assert (mac.session.link_margin_db, mac.session.link_gateways) == (14, 2)
    assert network.open(send(mac, 20_000_000)[0][5])[0].f_opts == b""


def test_time_is_that_of_the_end_of_the_uplink():
    mac, network = joined()
    mac.session.nb_trans = 3
    mac.ask(m.DEVICE_TIME)
    transmit, _ = send(mac, 1_000_000)
    assert network.open(transmit[5])[0].f_opts == b"\x0d"
    # The second of its three repetitions is answered.
    due_ms = max(mac.next_deadline(), 1_010_000)
    transmit = first(mac.handle((m.TIMER,), due_ms), m.TRANSMIT)
    mac.handle((m.TX_DONE,), due_ms + transmit[6])
    gps_s = 1_139_322_288  # 2016-02-12 14:24:31 UTC (1.0.3, 5.10)
    down = network.down(f_opts=mc.encode(DOWN, ((mc.DEVICE_TIME, gps_s, 0x40),)))
    actions = mac.handle((m.RECEIVED, down, 5), due_ms + 5000)
    assert actions == (
        (m.SAVE, True),
        (m.TIME, due_ms + transmit[6], gps_s * 1000 + 250),
        (m.DONE, m.SENT, 0),
    )
    # Nobody has asked now; and 1/256 s is to the millisecond.
    _, actions = answered(mac, network, 2_000_000, f_opts=b"\x0d\x01\x00\x00\x00\x00")
    assert kinds(actions) == [m.SAVE, m.DONE]
    for fraction, ms in ((0, 0), (1, 4), (128, 500), (255, 996)):
        mac.ask(m.DEVICE_TIME)
        f_opts = mc.encode(DOWN, ((mc.DEVICE_TIME, 7, fraction),))
        _, actions = answered(mac, network, 3_000_000 + 100_000 * fraction, f_opts=f_opts)
        assert first(actions, m.TIME)[2] == 7000 + ms


def test_requests_survive_sleep_and_wait_for_room():
    mac, network = joined()
    mac.ask(m.LINK_CHECK)
    mac.ask(m.DEVICE_TIME)
    session = Session()
    session.unpack(mac.session.pack())
    session.unpack_volatile(mac.session.pack_volatile())
    assert session.asked == m.LINK_CHECK | m.DEVICE_TIME
    session.dr = 0
    again = m.Mac(regions.EU868, session, new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY)
    assert again.room() == 49
    frame, _ = network.open(send(again, 1_000_000, payload=bytes(50))[0][5])
    assert frame.f_opts == b"\x02"
    frame, _ = network.open(send(again, 10_000_000, payload=bytes(51))[0][5])
    assert frame.f_opts == b""
    frame, _ = network.open(send(again, 20_000_000, payload=bytes(49))[0][5])
    assert frame.f_opts == b"\x02\x0d"
