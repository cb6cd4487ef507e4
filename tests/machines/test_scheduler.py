"""Getting a downlink onto the air: windows, gateways, refusals, time."""

import pytest
from lns_values import DEV_EUI, GATEWAY, OTHER_GATEWAY, reception
from stoep_gateway.lns.frames import Downlink, Tick, Transmit, Transmitted, Window
from stoep_gateway.lns.scheduler import LEAD_MS, URGENT, DownlinkEnded, Scheduler
from stoep_protocol.lorawan.regions import EU868

UPLINK_MS = 10_000


RX1_HZ, RX2_HZ = 868_100_000, 869_525_000
AT_ONCE = (Window(0, RX2_HZ, 12, 125_000, 29),)


def make(*receptions, downlink_id: int = 1, length: int = 12, **fields) -> Downlink:
    """An answer to an uplink, in the windows of EU868 without an offset."""
    receptions = receptions or (reception(b"up", at=UPLINK_MS),)
    heard = receptions[0]
    rx1 = Window(1_000_000, heard.freq_hz, heard.sf, heard.bw_hz, 16, 12 - heard.sf)
    windows = (rx1, Window(2_000_000, RX2_HZ, 12, 125_000, 29, 0))
    phy_payload = bytes(length)
    return Downlink(downlink_id, "ack", DEV_EUI, phy_payload, windows, receptions, **fields)


def heard_by_station(at: int = UPLINK_MS, xtime: int = 0x0100_0000_0F42_4000, **fields):
    return reception(b"up", at=at, context=(xtime, 1), tmst_us=0, **fields)


def for_sign(downlink_id: int = 1, *receptions, **fields) -> Downlink:
    """A Class C device's, which was heard long ago."""
    receptions = receptions or (reception(b"up", at=0),)
    return Downlink(
        downlink_id, "data", DEV_EUI, bytes(12), AT_ONCE, receptions, at_once=True, **fields
    )


def accepted(order: Transmit, **fields) -> Transmitted:
    return Transmitted(order.downlink_id, order.gateway_eui, "", **fields)


def refused(order: Transmit, error: str = "COLLISION_PACKET") -> Transmitted:
    return Transmitted(order.downlink_id, order.gateway_eui, error)


def test_rx1_is_a_delay_after_the_uplink_on_its_channel_and_rate():
    sent = make()
    (order,) = Scheduler().handle(sent, UPLINK_MS + 210)
    assert order == Transmit(
        1,
        GATEWAY,
        2_000_000,
        868_100_000,
        7,
        125_000,
        16,
        bytes(12),
        dev_eui=DEV_EUI,
        window=sent.windows[0],
    )


def test_the_concentrators_counter_wraps():
    heard = reception(b"up", at=UPLINK_MS, tmst_us=4_294_900_000)
    (order,) = Scheduler().handle(make(heard), UPLINK_MS)
    assert order.tmst_us == 4_294_900_000 + 1_000_000 - 2**32


def test_an_accepted_downlink_is_sent():
    scheduler = Scheduler()
    sent = make()
    scheduler.handle(sent, UPLINK_MS)
    answer = Transmitted(1, GATEWAY, "")
    assert scheduler.handle(answer, UPLINK_MS + 5) == [DownlinkEnded(sent, "sent", GATEWAY, 0)]
    assert scheduler.handle(answer, UPLINK_MS + 6) == []


def test_rx2_after_a_refusal():
    scheduler = Scheduler()
    sent = make()
    (order,) = scheduler.handle(sent, UPLINK_MS)
    (second,) = scheduler.handle(refused(order), UPLINK_MS + 300)
    assert (second.tmst_us, second.freq_hz, second.sf) == (3_000_000, 869_525_000, 12)
    assert (second.power_dbm, second.window) == (29, sent.windows[1])
    ended = scheduler.handle(refused(second, "TOO_LATE"), UPLINK_MS + 310)
    assert ended == [DownlinkEnded(sent, "COLLISION_PACKET")]


def test_the_next_best_gateway_is_asked_before_rx2():
    best = reception(b"up", at=UPLINK_MS, tmst_us=1)
    next_best = reception(b"up", at=UPLINK_MS + 30, tmst_us=2, gateway=OTHER_GATEWAY)
    scheduler = Scheduler()
    (order,) = scheduler.handle(make(best, next_best), UPLINK_MS + 200)
    asked = [(order.gateway_eui, order.tmst_us)]
    while isinstance(order, Transmit):
        (order,) = scheduler.handle(refused(order), UPLINK_MS + 200)
        if isinstance(order, Transmit):
            asked.append((order.gateway_eui, order.tmst_us))
    assert asked == [
        (GATEWAY, 1_000_001),
        (OTHER_GATEWAY, 1_000_002),
        (GATEWAY, 2_000_001),
        (OTHER_GATEWAY, 2_000_002),
    ]


def test_a_gateway_that_heard_it_on_two_channels_is_asked_once_a_window():
    twice = (reception(b"up", at=UPLINK_MS), reception(b"up", at=UPLINK_MS, freq_hz=868_300_000))
    scheduler = Scheduler()
    (first,) = scheduler.handle(make(*twice), UPLINK_MS)
    (second,) = scheduler.handle(refused(first), UPLINK_MS)
    assert second.freq_hz == 869_525_000


@pytest.mark.parametrize(
    ("now", "freq_hz"),
    [
        (UPLINK_MS + 1000 - LEAD_MS, 868_100_000),
        (UPLINK_MS + 1000 - LEAD_MS + 1, 869_525_000),
        (UPLINK_MS + 2000 - LEAD_MS, 869_525_000),
    ],
)
def test_a_window_that_is_too_near_is_left_for_the_next(now, freq_hz):
    (order,) = Scheduler().handle(make(), now)
    assert order.freq_hz == freq_hz


def test_nothing_is_sent_late():
    sent = make()
    ended = Scheduler().handle(sent, UPLINK_MS + 2000 - LEAD_MS + 1)
    assert ended == [DownlinkEnded(sent, "late")]


def test_a_refusal_that_comes_too_late_for_rx2():
    scheduler = Scheduler()
    sent = make()
    (order,) = scheduler.handle(sent, UPLINK_MS)
    assert scheduler.handle(refused(order), UPLINK_MS + 2000) == [
        DownlinkEnded(sent, "COLLISION_PACKET")
    ]


def test_a_gateway_that_says_nothing_may_have_sent_it():
    scheduler = Scheduler()
    sent = make()
    (order,) = scheduler.handle(sent, UPLINK_MS)
    ended = scheduler.handle(refused(order, "NO_TX_ACK"), UPLINK_MS + 100)
    assert ended == [DownlinkEnded(sent, "NO_TX_ACK", GATEWAY)]


def test_downlinks_do_not_disturb_each_other():
    scheduler = Scheduler()
    (first,) = scheduler.handle(make(downlink_id=1), UPLINK_MS)
    later = reception(b"up", at=UPLINK_MS, tmst_us=1_100_000)
    (second,) = scheduler.handle(make(later, downlink_id=2), UPLINK_MS)
    assert scheduler.handle(Transmitted(2, GATEWAY, ""), UPLINK_MS)[0].outcome == "sent"
    (again,) = scheduler.handle(refused(first), UPLINK_MS)
    assert (first.freq_hz, second.freq_hz) == (868_100_000, 868_100_000)
    assert (again.downlink_id, again.freq_hz) == (1, 869_525_000)


# Own transmissions.


def test_a_window_that_collides_with_an_own_transmission_is_not_asked_for():
    scheduler = Scheduler()
    (first,) = scheduler.handle(make(downlink_id=1), UPLINK_MS)
    same_time = reception(b"up", at=UPLINK_MS, freq_hz=868_300_000)
    (second,) = scheduler.handle(make(same_time, downlink_id=2), UPLINK_MS)
    assert (first.freq_hz, second.freq_hz) == (RX1_HZ, RX2_HZ)
    (ended,) = scheduler.handle(make(downlink_id=3), UPLINK_MS)
    assert (ended.outcome, ended.gateway_eui, ended.window_index) == ("busy", b"", None)


def test_another_gateway_before_rx2():
    scheduler = Scheduler()
    scheduler.handle(make(downlink_id=1), UPLINK_MS)
    both = (
        reception(b"up", at=UPLINK_MS, snr_db=9.0),
        reception(b"up", at=UPLINK_MS, gateway=OTHER_GATEWAY, snr_db=-6.0),
    )
    (order,) = scheduler.handle(make(*both, downlink_id=2), UPLINK_MS)
    assert (order.gateway_eui, order.freq_hz) == (OTHER_GATEWAY, RX1_HZ)


# Choice of the gateway.


@pytest.mark.parametrize(
    ("sf", "snr_db", "other_db", "asked"),
    [
        # SF7 needs -7.5 dB; more than 10 dB above that is enough
        (7, 9.0, 3.0, OTHER_GATEWAY),
        (7, 9.0, -0.4, OTHER_GATEWAY),
        (7, 9.0, -0.6, GATEWAY),
        (7, -3.0, -6.5, GATEWAY),
        (7, -3.0, -5.5, OTHER_GATEWAY),
        # SF12 needs -20 dB
        (12, 9.0, -12.5, OTHER_GATEWAY),
        (12, -12.0, -16.0, GATEWAY),
    ],
)
def test_of_gateways_alike_the_less_loaded_else_the_better(sf, snr_db, other_db, asked):
    scheduler = Scheduler(EU868)
    (order,) = scheduler.handle(make(downlink_id=1), UPLINK_MS)
    assert order.gateway_eui == GATEWAY
    later = UPLINK_MS + 60_000
    both = (
        reception(b"up", at=later, tmst_us=61_000_000, snr_db=snr_db, sf=sf),
        reception(b"up", at=later, gateway=OTHER_GATEWAY, snr_db=other_db, sf=sf),
    )
    (order,) = scheduler.handle(make(*both, downlink_id=2), later)
    assert (order.gateway_eui, order.freq_hz) == (asked, RX1_HZ)


def test_gateways_alike_share_the_load():
    scheduler = Scheduler(EU868)
    sent = {GATEWAY: 0, OTHER_GATEWAY: 0}
    for count in range(100):
        now = UPLINK_MS + 10_000 * count
        heard = [reception(b"up", at=now, gateway=eui, tmst_us=now * 1000) for eui in sent]
        (order,) = scheduler.handle(make(*heard, downlink_id=count), now)
        scheduler.handle(accepted(order), now)
        sent[order.gateway_eui] += 1
    assert set(sent.values()) == {50}


def test_a_gateway_that_is_not_connected_is_asked_once():
    scheduler = Scheduler()
    both = (
        reception(b"up", at=UPLINK_MS),
        reception(b"up", at=UPLINK_MS, gateway=OTHER_GATEWAY),
    )
    asked = []
    (order,) = scheduler.handle(make(*both), UPLINK_MS)
    while isinstance(order, Transmit):
        asked.append((order.gateway_eui, order.freq_hz))
        why = "NOT_CONNECTED" if order.gateway_eui == GATEWAY else "COLLISION_PACKET"
        (order,) = scheduler.handle(refused(order, why), UPLINK_MS)
    assert asked == [(GATEWAY, RX1_HZ), (OTHER_GATEWAY, RX1_HZ), (OTHER_GATEWAY, RX2_HZ)]
    assert order.outcome == "COLLISION_PACKET"


def test_without_a_gateway_there_is_no_way():
    (ended,) = Scheduler().handle(
        Downlink(1, "data", DEV_EUI, b"down", AT_ONCE, (), at_once=True), 0
    )
    assert ended.outcome == "no_gateway"


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [
        (("NOT_CONNECTED",), "NOT_CONNECTED"),
        (("TOO_LATE", "COLLISION_PACKET"), "COLLISION_PACKET"),
        (("COLLISION_PACKET", "TOO_LATE"), "COLLISION_PACKET"),
        (("TX_FREQ", "COLLISION_PACKET"), "TX_FREQ"),
        (("COLLISION_PACKET", "GPS_UNLOCKED"), "GPS_UNLOCKED"),
    ],
)
def test_the_most_telling_refusal_is_the_outcome(errors, outcome):
    scheduler = Scheduler()
    (order,) = scheduler.handle(make(), UPLINK_MS)
    for error in errors:
        (order,) = scheduler.handle(refused(order, error), UPLINK_MS)
    assert order == DownlinkEnded(make(), outcome)
    assert scheduler.accounts(UPLINK_MS)[GATEWAY].refusals == dict.fromkeys(errors, 1)


def test_the_answer_of_another_gateway_is_nobodys():
    scheduler = Scheduler()
    (order,) = scheduler.handle(make(), UPLINK_MS)
    assert scheduler.handle(Transmitted(1, OTHER_GATEWAY, ""), UPLINK_MS) == []
    (ended,) = scheduler.handle(accepted(order), UPLINK_MS)
    assert ended.outcome == "sent"


def test_a_forwarder_that_never_answers_is_given_up():
    scheduler = Scheduler()
    sent = make()
    scheduler.handle(sent, UPLINK_MS)
    deadline = scheduler.next_deadline()
    assert deadline == UPLINK_MS + 1000 + 15_000
    assert scheduler.handle(Tick(), deadline - 1) == []
    assert scheduler.handle(Tick(), deadline) == [DownlinkEnded(sent, "NO_TX_ACK", GATEWAY)]
    assert scheduler.next_deadline() is None


# Lateness.


def test_a_slow_backhaul_needs_a_longer_lead():
    scheduler = Scheduler()
    (order,) = scheduler.handle(make(), UPLINK_MS)
    (order,) = scheduler.handle(refused(order, "TOO_LATE"), UPLINK_MS + 400)
    assert order.freq_hz == RX2_HZ
    scheduler.handle(accepted(order), UPLINK_MS + 800)
    assert scheduler.accounts(UPLINK_MS)[GATEWAY].round_trip_ms == 400
    for since_ms, freq_hz in ((555, RX1_HZ), (556, RX2_HZ), (1555, RX2_HZ), (1556, None)):
        now = UPLINK_MS + 100_000 * since_ms
        heard = reception(b"up", at=now, tmst_us=since_ms * 2_000_000)
        (order,) = scheduler.handle(make(heard, downlink_id=since_ms), now + since_ms)
        assert getattr(order, "freq_hz", None) == freq_hz


def test_no_round_trip_is_so_long_that_rx2_is_never_tried_again():
    scheduler = Scheduler()
    for count in range(20):
        now = UPLINK_MS + 60_000 * count
        heard = reception(b"up", at=now, tmst_us=now * 1000 % 2**32)
        (order,) = scheduler.handle(make(heard, downlink_id=count), now + 210)
        (again,) = scheduler.handle(refused(order, "TOO_LATE"), now + 5000)
        assert (again.outcome, again.window_index) == ("TOO_LATE", None)


# Duty cycle, to the frame of an hour.


@pytest.mark.parametrize(
    ("length", "priority", "rx1", "rx2"),
    [
        (12, URGENT, 873, 363),  # an acknowledgement: 41.216 ms at SF7, 991.232 ms at SF12
        (17, URGENT, 776, 311),  # 46.336 ms of 36 s, 1155.072 ms of 360 s
        (12, 0, 786, 326),
    ],
)
def test_an_hour_holds_so_many_frames(length, priority, rx1, rx2):
    scheduler = Scheduler(EU868)
    sent = {RX1_HZ: 0, RX2_HZ: 0}
    ended = 0
    for count in range(1400):
        now = UPLINK_MS + 2500 * count
        heard = reception(b"up", at=now, tmst_us=now * 1000 % 2**32)
        wanted = make(heard, downlink_id=count, length=length, priority=priority)
        (order,) = scheduler.handle(wanted, now + 200)
        if isinstance(order, Transmit):
            sent[order.freq_hz] += 1
            scheduler.handle(accepted(order), now + 210)
        else:
            assert order.outcome == "duty_cycle"
            ended += 1
    assert sent == {RX1_HZ: rx1, RX2_HZ: rx2}
    assert ended == 1400 - rx1 - rx2
    account = scheduler.accounts(UPLINK_MS + 3_600_000)[GATEWAY]
    low, high = account.airtime
    assert (low.limit_permille, high.limit_permille) == (10, 100)
    share = 1 if priority else 0.9
    assert 0.99 * share < low.used_permille / 10 <= share
    assert 0.99 * share < high.used_permille / 100 <= share
    assert account.sent == rx1 + rx2
    # One that was told a window is not to be had counts once for each downlink.
    assert account.refusals["duty_cycle"] == 1400 - rx1


def test_what_a_gateway_refused_is_not_on_its_account():
    scheduler = Scheduler(EU868)
    (order,) = scheduler.handle(make(), UPLINK_MS)
    (order,) = scheduler.handle(refused(order), UPLINK_MS)
    scheduler.handle(refused(order), UPLINK_MS)
    uses = scheduler.accounts(UPLINK_MS)[GATEWAY].airtime
    assert [use.used_permille for use in uses] == [0, 0]


def test_what_it_may_have_sent_is_on_its_account():
    scheduler = Scheduler(EU868)
    (order,) = scheduler.handle(make(), UPLINK_MS)
    scheduler.handle(refused(order, "NO_TX_ACK"), UPLINK_MS)
    (use,) = scheduler.accounts(UPLINK_MS)[GATEWAY].airtime
    assert use.used_permille == 41_216 / 3_600_000


# Basics Station.


def test_a_station_gets_both_windows_in_one_order():
    scheduler = Scheduler(EU868)
    heard = heard_by_station()
    sent = make(heard)
    (order,) = scheduler.handle(sent, UPLINK_MS)
    assert order.context == heard.context
    assert (order.window, order.fallback) == sent.windows
    uses = scheduler.accounts(UPLINK_MS)[GATEWAY].airtime
    assert [use.used_permille for use in uses] == [41_216 / 3_600_000, 991_232 / 3_600_000]


@pytest.mark.parametrize(("used_fallback", "kept"), [(False, RX1_HZ), (True, RX2_HZ)])
def test_a_station_tells_which_window_it_used(used_fallback, kept):
    scheduler = Scheduler(EU868)
    sent = make(heard_by_station())
    (order,) = scheduler.handle(sent, UPLINK_MS)
    ended = scheduler.handle(accepted(order, used_fallback=used_fallback), UPLINK_MS + 1050)
    assert ended == [DownlinkEnded(sent, "sent", GATEWAY, int(used_fallback))]
    account = scheduler.accounts(UPLINK_MS + 1050)[GATEWAY]
    for use in account.airtime:
        assert (use.used_permille > 0) == (use.low_hz <= kept <= use.high_hz)
    assert account.round_trip_ms is None


def test_a_station_that_rests_is_asked_for_rx2_alone():
    scheduler = Scheduler(EU868)
    (order,) = scheduler.handle(make(heard_by_station(), downlink_id=1), UPLINK_MS)
    scheduler.handle(accepted(order), UPLINK_MS + 1050)
    soon = heard_by_station(UPLINK_MS + 3000, 0x0100_0000_0F42_4000 + 3_000_000)
    (order,) = scheduler.handle(make(soon, downlink_id=2), UPLINK_MS + 3000)
    assert (order.freq_hz, order.window.dr, order.fallback) == (RX2_HZ, 0, None)
    scheduler.handle(accepted(order), UPLINK_MS + 5000)
    third = heard_by_station(UPLINK_MS + 6000, 0x0100_0000_0F42_4000 + 6_000_000)
    (order,) = scheduler.handle(make(third, downlink_id=3), UPLINK_MS + 6000)
    assert (order.freq_hz, order.fallback) == (RX1_HZ, None)


def test_a_station_without_xtime_is_placed_by_our_clock():
    scheduler = Scheduler(EU868)
    (order,) = scheduler.handle(make(heard_by_station(xtime=0), downlink_id=1), UPLINK_MS)
    assert order.context == (0, 1)
    near = heard_by_station(UPLINK_MS + 200, 0, freq_hz=867_100_000)
    (ended,) = scheduler.handle(make(near, downlink_id=2), UPLINK_MS + 200)
    assert ended.outcome == "busy"


def test_a_station_that_says_nothing_may_have_sent_in_either_window():
    scheduler = Scheduler(EU868)
    sent = make(heard_by_station())
    (order,) = scheduler.handle(sent, UPLINK_MS)
    ended = scheduler.handle(refused(order, "NO_DNTXED"), UPLINK_MS + 5000)
    assert ended == [DownlinkEnded(sent, "NO_DNTXED", GATEWAY)]
    uses = scheduler.accounts(UPLINK_MS)[GATEWAY].airtime
    assert all(use.used_permille for use in uses)


def test_a_station_that_is_not_connected_leaves_it_to_the_next():
    scheduler = Scheduler(EU868)
    other = reception(b"up", at=UPLINK_MS, gateway=OTHER_GATEWAY)
    (order,) = scheduler.handle(make(heard_by_station(), other), UPLINK_MS)
    (order,) = scheduler.handle(refused(order, "NOT_CONNECTED"), UPLINK_MS)
    assert (order.gateway_eui, order.freq_hz, order.context) == (OTHER_GATEWAY, RX1_HZ, None)
    assert not any(use.used_permille for use in scheduler.accounts(UPLINK_MS)[GATEWAY].airtime)


# Class C.


def test_a_class_c_device_is_sent_to_at_once():
    scheduler = Scheduler(EU868)
    sent = for_sign()
    (order,) = scheduler.handle(sent, 3_600_000)
    assert (order.at_once, order.tmst_us, order.freq_hz) == (True, 0, RX2_HZ)
    ended = scheduler.handle(accepted(order), 3_600_005)
    assert ended == [DownlinkEnded(sent, "sent", GATEWAY, 0)]


def test_a_class_c_downlink_waits_for_its_gateway():
    scheduler = Scheduler(EU868)
    (order,) = scheduler.handle(make(), UPLINK_MS)  # on the air from 11 000 to 11 041 ms
    assert scheduler.handle(for_sign(2), UPLINK_MS + 100) == []
    assert scheduler.next_deadline() == UPLINK_MS + 1000 + 42 + 250
    scheduler.handle(accepted(order), UPLINK_MS + 110)
    assert scheduler.handle(Tick(), UPLINK_MS + 1000) == []
    (order,) = scheduler.handle(Tick(), scheduler.next_deadline())
    assert order.downlink_id == 2


def test_a_class_a_downlink_keeps_clear_of_class_c():
    scheduler = Scheduler(EU868)
    scheduler.handle(for_sign(1), UPLINK_MS)  # till 12 250 ms and 991 ms on, at the latest
    (ended,) = scheduler.handle(make(downlink_id=2), UPLINK_MS)
    assert ended.outcome == "busy"


def test_another_gateway_sends_what_the_first_cannot():
    scheduler = Scheduler(EU868)
    both = (reception(b"up", at=0), reception(b"up", at=0, gateway=OTHER_GATEWAY))
    asked = [scheduler.handle(for_sign(n, *both), 1000)[0].gateway_eui for n in (1, 2)]
    assert asked == [GATEWAY, OTHER_GATEWAY]
    assert scheduler.handle(for_sign(3, *both), 1000) == []


def test_the_larger_priority_goes_first():
    scheduler = Scheduler(EU868)
    scheduler.handle(for_sign(1), 1000)
    for downlink_id, priority in ((2, 0), (3, 1), (4, 1)):
        assert scheduler.handle(for_sign(downlink_id, priority=priority), 1000) == []
    asked = []
    while (deadline := scheduler.next_deadline()) is not None and len(asked) < 3:
        for action in scheduler.handle(Tick(), deadline):
            asked.append(action.downlink_id)
            scheduler.handle(accepted(action), deadline)
    assert asked == [3, 4, 2]


@pytest.mark.parametrize("error", ["NOT_CONNECTED", "COLLISION_PACKET"])
def test_a_class_c_downlink_is_tried_again_for_a_minute(error):
    scheduler = Scheduler(EU868)
    sent = for_sign()
    actions = scheduler.handle(sent, 1000)
    asked_at = [1000]
    for _ in range(60):
        (order,) = actions
        assert scheduler.handle(refused(order, error), asked_at[-1]) == []
        asked_at.append(scheduler.next_deadline())
        actions = scheduler.handle(Tick(), asked_at[-1])
    assert asked_at == list(range(1000, 61_001, 1000))
    (order,) = actions
    assert scheduler.handle(refused(order, error), 61_000) == [DownlinkEnded(sent, error)]
    assert scheduler.next_deadline() is None


def test_a_refusal_that_will_not_pass_ends_a_class_c_downlink():
    scheduler = Scheduler(EU868)
    sent = for_sign()
    (order,) = scheduler.handle(sent, 0)
    assert scheduler.handle(refused(order, "TX_FREQ"), 5) == [DownlinkEnded(sent, "TX_FREQ")]


def test_a_class_c_downlink_does_not_wait_in_vain():
    scheduler = Scheduler(EU868)
    ended = None
    for count in range(400):
        now = 4000 * count
        (action,) = scheduler.handle(for_sign(count, priority=URGENT), now)
        if isinstance(action, DownlinkEnded):
            ended = action
            break
        scheduler.handle(accepted(action), now)
    assert count == 363  # 991.232 ms of 360 s; the first leaves the hour in more than a minute
    assert ended.outcome == "duty_cycle"
    assert scheduler.next_deadline() is None


def test_a_station_sends_to_class_c_too():
    scheduler = Scheduler(EU868)
    (order,) = scheduler.handle(for_sign(1, heard_by_station(0)), 50_000)
    assert (order.at_once, order.context[1], order.fallback) == (True, 1, None)
    assert scheduler.handle(for_sign(2, heard_by_station(0)), 50_000) == []
    assert scheduler.handle(Tick(), scheduler.next_deadline()) == []
    assert scheduler.next_deadline() == 50_000 + 1250 + 9913 + 250  # ten airtimes' rest
    (order,) = scheduler.handle(Tick(), scheduler.next_deadline())
    assert order.downlink_id == 2
