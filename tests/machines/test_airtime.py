"""What a gateway may still put on the air: overlaps, the rolling hour, a station's blocking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.lns.airtime import Airtime, GatewayAir, Obstacle, Transmission, downlink_us
from stoep_protocol.lorawan.regions import EU868, by_name

US915 = by_name("US915")
MS = 1000
S = 1_000_000
HOUR_MS = 3_600_000
RX1_HZ, RX2_HZ, LOW_HZ, TOP_HZ = 868_100_000, 869_525_000, 867_100_000, 869_800_000


def air(*, blocking: bool = False, duty_cycle: bool = True, region=EU868) -> GatewayAir:
    made = GatewayAir(region, duty_cycle=duty_cycle)
    made.blocking = blocking
    return made


def frame(at_us: int, airtime_us: int = 50 * MS, freq_hz: int = RX1_HZ, **fields) -> Transmission:
    return Transmission(at_us, airtime_us, freq_hz, **fields)


def counted(at_us: int, counter_us: int, airtime_us: int = 50 * MS) -> Transmission:
    return frame(at_us, airtime_us, counter_us=counter_us)


@pytest.mark.parametrize(
    ("planned", "wanted", "until_us"),
    [
        # by the concentrator's counter: 43 ms between the end of one and the start of the next
        (counted(S, 7 * S), counted(S, 7 * S), S + 93 * MS),
        (counted(S, 7 * S), counted(S, 7 * S + 92_999), S + 93 * MS - 92_999),
        (counted(S, 7 * S), counted(S, 7 * S + 93_000), None),
        (counted(S, 7 * S), counted(S, 7 * S - 92_999), S + 93 * MS + 92_999),
        (counted(S, 7 * S), counted(S, 7 * S - 93_000), None),
        # our clock jitters by the backhaul's delay; the counter is what counts
        (counted(S, 7 * S), counted(S + 400 * MS, 7 * S), S + 493 * MS),
        (counted(S, 7 * S), counted(S, 7 * S + S // 2), None),
        # over the counter's wrap
        (counted(S, 2**32 - 40 * MS), counted(S, 10 * MS), S + 43 * MS),
        (counted(S, 2**32 - 40 * MS), counted(S, 55 * MS), None),
        # the concentrator has started anew: the clock, with a wide guard
        (counted(S, 900 * S), counted(S + 299 * MS, 3 * S), S + 300 * MS),
        (counted(S, 900 * S), counted(S + 300 * MS, 3 * S), None),
        # no counter: Class C, which may start later than it was asked for
        (counted(S, 7 * S), frame(S + 299 * MS), S + 300 * MS),
        (counted(2 * S, 7 * S), frame(S, slack_us=700 * MS), None),
        (counted(2 * S, 7 * S), frame(S, slack_us=701 * MS), 2 * S + 300 * MS),
        (frame(S, slack_us=700 * MS), counted(2 * S, 7 * S), None),
        (frame(S, slack_us=701 * MS), counted(2 * S, 7 * S), 2 * S + MS),
    ],
)
def test_one_transmission_at_a_time(planned, wanted, until_us):
    gateway = air()
    gateway.plan(planned, 0)
    expected = None if until_us is None else Obstacle("busy", until_us)
    assert gateway.obstacle(wanted, urgent=True) == expected


def test_the_first_gap_that_is_long_enough():
    gateway = air()
    for at_ms in (1000, 1150, 1400):
        gateway.plan(counted(at_ms * MS, at_ms * MS), 0)
    wanted = counted(1000 * MS, 1000 * MS, 60 * MS)
    assert gateway.obstacle(wanted, urgent=True) == Obstacle("busy", 1243 * MS)
    longer = counted(1000 * MS, 1000 * MS, 115 * MS)
    assert gateway.obstacle(longer, urgent=True) == Obstacle("busy", 1493 * MS)


def test_a_cancelled_transmission_stands_in_nobodys_way():
    gateway = air()
    planned = counted(S, 7 * S)
    gateway.plan(planned, 0)
    assert gateway.used_us(RX1_HZ, 0) == 50 * MS
    gateway.cancel(planned)
    gateway.cancel(planned)
    assert gateway.obstacle(planned, urgent=True) is None
    assert gateway.used_us(RX1_HZ, 0) == 0


@pytest.mark.parametrize(
    ("freq_hz", "budget_ms"),
    [
        (864_000_000, 3_600),
        (LOW_HZ, 36_000),
        (RX1_HZ, 36_000),
        (869_000_000, 3_600),
        (RX2_HZ, 360_000),
        (TOP_HZ, 36_000),
    ],
)
def test_a_sub_bands_share_of_an_hour(freq_hz, budget_ms):
    gateway = air()
    part_us = budget_ms * MS // 9
    for at_s in range(0, 90, 10):
        wanted = frame(at_s * 10 * S, part_us, freq_hz)
        assert gateway.obstacle(wanted, urgent=True) is None
        gateway.plan(wanted, at_s * 10_000)
    refused = gateway.obstacle(frame(1000 * S, MS, freq_hz), urgent=True)
    # when the first has left the hour, and two seconds for what our clock may be off
    assert refused == Obstacle("duty_cycle", (HOUR_MS + 2000) * MS + part_us)
    after = frame(refused.until_us, part_us, freq_hz)
    assert gateway.obstacle(after, urgent=True) is None
    assert gateway.account(900_000)[0].used_permille == budget_ms / 3600
    assert gateway.account(900_000)[0].limit_permille == budget_ms / 3600


def test_sub_bands_do_not_share():
    gateway = air()
    gateway.plan(frame(0, 36 * S, RX1_HZ), 0)
    assert gateway.obstacle(frame(100 * S, MS, RX1_HZ), urgent=True).reason == "duty_cycle"
    for freq_hz in (LOW_HZ, RX2_HZ, TOP_HZ):
        assert gateway.obstacle(frame(100 * S, MS, freq_hz), urgent=True) is None


def test_a_tenth_is_left_for_what_is_urgent():
    gateway = air()
    gateway.plan(frame(0, 32_400 * MS), 0)
    assert gateway.obstacle(frame(100 * S, MS), urgent=False).reason == "duty_cycle"
    assert gateway.obstacle(frame(100 * S, 3600 * MS), urgent=True) is None


def test_a_frame_longer_than_the_budget_never_goes():
    assert air().obstacle(frame(0, 3_601 * MS, 869_000_000), urgent=True) == Obstacle("duty_cycle")


@pytest.mark.parametrize("kept", [air(duty_cycle=False), air(region=US915), air(region=None)])
def test_without_duty_cycle_only_overlaps_count(kept):
    kept.plan(frame(0, 3000 * S, 923_300_000), 0)
    assert kept.obstacle(frame(3001 * S, 500 * S, 923_300_000), urgent=False) is None
    assert kept.obstacle(frame(1 * S, MS), urgent=True).reason == "busy"


def test_the_account_of_a_region_without_duty_cycle():
    gateway = air(region=US915)
    gateway.plan(frame(0, 36 * S, 923_300_000), 0)
    (use,) = gateway.account(HOUR_MS)
    assert (use.low_hz, use.high_hz) == (915_000_000, 928_000_000)
    assert (use.used_permille, use.limit_permille) == (10, None)
    assert gateway.account(HOUR_MS + 40_000)[0].used_permille == 0


# Basics Station's table, s2e.c: which frequencies rest together, and for how many airtimes.
@pytest.mark.parametrize(
    ("first_hz", "second_hz", "divisor"),
    [
        (RX1_HZ, RX1_HZ, 100),
        (RX1_HZ, TOP_HZ, 100),
        (RX2_HZ, RX2_HZ, 10),
        (LOW_HZ, LOW_HZ, 1000),
        (LOW_HZ, 864_000_000, 1000),
        (LOW_HZ, 869_000_000, 1000),
        (RX1_HZ, RX2_HZ, None),
        (RX2_HZ, RX1_HZ, None),
        (LOW_HZ, RX1_HZ, None),
    ],
)
def test_a_station_rests_by_class(first_hz, second_hz, divisor):
    station, forwarder = air(blocking=True), air()
    for gateway in (station, forwarder):
        gateway.plan(frame(0, 40 * MS, first_hz, counter_us=0), 0)
    wanted = frame(S // 3, 40 * MS, second_hz, counter_us=S // 3)
    assert forwarder.obstacle(wanted, urgent=True) is None
    if divisor is None:
        assert station.obstacle(wanted, urgent=True) is None
        return
    free_us = divisor * 40 * MS + 43 * MS
    assert station.obstacle(wanted, urgent=True) == Obstacle("duty_cycle", free_us)
    late = frame(free_us, 40 * MS, second_hz, counter_us=free_us)
    station.plan(frame(free_us - S, MS, 869_525_000), free_us // MS)  # forgets what is over
    assert station.obstacle(late, urgent=True) is None


def test_a_station_is_not_blocked_before_a_later_one():
    station = air(blocking=True)
    station.plan(frame(10 * S, 50 * MS, RX1_HZ, counter_us=10 * S), 0)
    early = frame(4 * S, 50 * MS, RX1_HZ, counter_us=4 * S)
    assert station.obstacle(early, urgent=True) is None
    close = frame(6 * S, 50 * MS, RX1_HZ, counter_us=6 * S)
    assert station.obstacle(close, urgent=True) == Obstacle("duty_cycle", 15_043 * MS)


def test_a_station_elsewhere_does_not_block():
    station = air(blocking=True, region=US915)
    station.plan(frame(0, 300 * MS, 923_300_000, counter_us=0), 0)
    wanted = frame(S, 300 * MS, 923_300_000, counter_us=S)
    assert station.obstacle(wanted, urgent=True) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 2 * HOUR_MS), st.integers(1, 9_000_000)), min_size=1, max_size=60
    )
)
def test_no_hour_holds_more_than_its_budget(wishes):
    """Starts in any order, as windows of 1 and 6 s are: the account never lets one too many in."""
    budget_us = 36 * S
    airtime, sent = Airtime(), []
    for start_ms, length_us in wishes:
        earliest_ms = airtime.earliest_ms(start_ms, length_us, budget_us)
        assert earliest_ms is not None
        for at_ms in {start_ms, earliest_ms}:
            fits = airtime.earliest_ms(at_ms, length_us, budget_us) == at_ms
            assert fits or at_ms == start_ms
        if earliest_ms == start_ms:
            ends_ms = start_ms + -(-length_us // MS)
            airtime.add(ends_ms, length_us)
            sent.append((start_ms * MS, start_ms * MS + length_us))
    for _, hour_end in sent:
        hour_start = hour_end - HOUR_MS * MS
        inside = sum(max(0, min(end, hour_end) - max(start, hour_start)) for start, end in sent)
        assert inside <= budget_us


def test_a_frames_airtime():
    assert downlink_us(12, 7, 125_000) == 41_216  # an acknowledgement alone, without CRC
    assert downlink_us(12, 12, 125_000) == 991_232
    assert downlink_us(17, 12, 125_000) == 1_155_072
