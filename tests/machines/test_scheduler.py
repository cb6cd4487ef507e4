"""Getting a downlink onto the air: windows, gateways, refusals, time."""

import pytest
from lns_values import DEV_EUI, GATEWAY, OTHER_GATEWAY, reception
from stoep_gateway.lns import downlink
from stoep_gateway.lns.downlink import ReceiveSettings
from stoep_gateway.lns.frames import Downlink, Transmit, Transmitted
from stoep_gateway.lns.scheduler import LEAD_MS, DownlinkEnded, Scheduler
from stoep_protocol.lorawan.regions import EU868

SETTINGS = ReceiveSettings(EU868)
UPLINK_MS = 10_000


def make(*receptions, settings=SETTINGS, downlink_id: int = 1) -> Downlink:
    receptions = receptions or (reception(b"up", at=UPLINK_MS),)
    windows = downlink.windows(receptions[0], settings)
    return Downlink(downlink_id, "ack", DEV_EUI, b"down", windows, receptions)


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
        b"down",
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
    accepted = Transmitted(1, GATEWAY, "")
    assert scheduler.handle(accepted, UPLINK_MS + 5) == [DownlinkEnded(sent, "sent", GATEWAY, 0)]
    assert scheduler.handle(accepted, UPLINK_MS + 6) == []


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


def test_settings_of_the_join_accept_shift_both_windows():
    settings = ReceiveSettings(EU868, rx1_delay_s=5, rx1_dr_offset=2)
    heard = reception(b"up", at=UPLINK_MS, sf=9)
    rx1, rx2 = downlink.windows(heard, settings)
    assert (rx1.delay_us, rx1.freq_hz, rx1.sf) == (5_000_000, 868_100_000, 11)
    assert (rx2.delay_us, rx2.freq_hz, rx2.sf) == (6_000_000, 869_525_000, 12)


def test_a_joining_device_knows_no_settings_yet():
    settings = ReceiveSettings(EU868, rx1_delay_s=1, rx1_dr_offset=2)
    rx1, rx2 = downlink.join_windows(reception(b"up", sf=9), settings)
    assert (rx1.delay_us, rx1.sf) == (5_000_000, 9)
    assert (rx2.delay_us, rx2.sf, rx2.freq_hz) == (6_000_000, 12, 869_525_000)


def test_downlinks_do_not_disturb_each_other():
    scheduler = Scheduler()
    (first,) = scheduler.handle(make(downlink_id=1), UPLINK_MS)
    later = reception(b"up", at=UPLINK_MS, tmst_us=1_100_000)
    (second,) = scheduler.handle(make(later, downlink_id=2), UPLINK_MS)
    assert scheduler.handle(Transmitted(2, GATEWAY, ""), UPLINK_MS)[0].outcome == "sent"
    (again,) = scheduler.handle(refused(first), UPLINK_MS)
    assert (first.freq_hz, second.freq_hz) == (868_100_000, 868_100_000)
    assert (again.downlink_id, again.freq_hz) == (1, 869_525_000)
