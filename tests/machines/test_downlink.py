"""Where devices listen in every region, and what a downlink carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lns_values import APP_S_KEY, NWK_S_KEY, reception, session, target
from lorawan_keys import new_key
from stoep_gateway.lns import downlink, mac_state, uplink
from stoep_gateway.lns.frames import Rejected, UplinkFrameSet
from stoep_gateway.lns.mac_commands import Turn
from stoep_gateway.lns.mac_state import Target
from stoep_gateway.lns.queue import Queued
from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import frames, regions
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan.crypto import DOWN

EU868 = regions.EU868
REGIONS = ("EU868", "US915", "AU915", "AS923", "IN865")
UTC_MS = 1_790_000_000_000


def region_of(name):
    return regions.by_name(name)


def heard(region, freq_hz, dr, **changes):
    sf, bw_hz = region.data_rate(dr)
    return reception(b"", freq_hz=freq_hz, sf=sf, bw_hz=bw_hz, **changes)


def fresh(region, **changes):
    return mac_state.fresh(target(region, **changes), abp=False)


def shape(window):
    return window.delay_us, window.freq_hz, window.dr


# RP002-1.0.4, 2.4.7 and 2.5.7 and so on: RX1 by table, RX2 by default.
WINDOWS = [
    ("EU868", 868_100_000, 5, {}, (868_100_000, 5), (869_525_000, 0)),
    ("EU868", 868_500_000, 0, {}, (868_500_000, 0), (869_525_000, 0)),
    ("EU868", 868_100_000, 5, {"rx1_dr_offset": 2}, (868_100_000, 3), (869_525_000, 0)),
    ("EU868", 868_100_000, 1, {"rx1_dr_offset": 5}, (868_100_000, 0), (869_525_000, 0)),
    ("EU868", 868_100_000, 5, {"rx2_dr": 3}, (868_100_000, 5), (869_525_000, 3)),
    ("US915", 902_300_000, 0, {}, (923_300_000, 10), (923_300_000, 8)),
    ("US915", 902_500_000, 3, {}, (923_900_000, 13), (923_300_000, 8)),
    ("US915", 914_900_000, 3, {"rx1_dr_offset": 3}, (927_500_000, 10), (923_300_000, 8)),
    ("US915", 903_000_000, 4, {}, (923_300_000, 13), (923_300_000, 8)),
    ("AU915", 915_200_000, 2, {}, (923_300_000, 10), (923_300_000, 8)),
    ("AU915", 915_400_000, 5, {}, (923_900_000, 13), (923_300_000, 8)),
    ("AS923", 923_200_000, 5, {}, (923_200_000, 5), (923_200_000, 2)),
    ("AS923", 923_400_000, 2, {"rx1_dr_offset": 2}, (923_400_000, 0), (923_200_000, 2)),
    ("IN865", 865_062_500, 5, {}, (865_062_500, 5), (866_550_000, 2)),
    ("IN865", 865_402_500, 4, {"rx1_dr_offset": 1}, (865_402_500, 3), (866_550_000, 2)),
]


@pytest.mark.parametrize(("name", "up_hz", "up_dr", "settings", "rx1", "rx2"), WINDOWS)
def test_the_receive_windows_after_a_data_uplink(name, up_hz, up_dr, settings, rx1, rx2):
    region = region_of(name)
    first, second = downlink.windows(heard(region, up_hz, up_dr), region, fresh(region, **settings))
    assert shape(first) == (1_000_000, *rx1)
    assert shape(second) == (2_000_000, *rx2)
    for window in (first, second):
        assert (window.sf, window.bw_hz) == region.data_rate(window.dr)
        assert window.power_dbm <= 30


@pytest.mark.parametrize("name", REGIONS)
def test_the_delay_that_a_device_was_told(name):
    region = region_of(name)
    frame = heard(region, region.default_channels_hz[0], 2)
    first, second = downlink.windows(frame, region, fresh(region, rx1_delay_s=15))
    assert (first.delay_us, second.delay_us) == (15_000_000, 16_000_000)


@pytest.mark.parametrize("name", REGIONS)
def test_join_windows_are_the_regions_whatever_the_network_wants(name):
    region = region_of(name)
    frame = heard(region, region.default_channels_hz[0], 2)
    first, second = downlink.join_windows(frame, region)
    assert (first.delay_us, second.delay_us) == (5_000_000, 6_000_000)
    assert shape(second)[1:] == (region.rx2_hz, region.rx2_dr)
    assert shape(first)[1:] == region.rx1(frame.freq_hz, 2, 0)


def test_a_channel_whose_rx1_was_moved():
    moved = Target(target().plan, 1, 0, 0, 869_525_000, down_hz=((1, 868_500_000),))
    state = mac_state.fresh(moved, abp=False)
    assert state.down_hz == ()  # it has not agreed yet
    requests = (((mc.DL_CHANNEL, 1, 868_500_000),),)
    _, state = downlink.mac_commands.pack(Turn(state, (), requests, (), due=True), 15, UTC_MS)
    state, _ = mac_state.answered(state, moved, ((mc.DL_CHANNEL, 1, 1),), UTC_MS)
    first, _ = downlink.windows(heard(EU868, 868_300_000, 5), EU868, state)
    assert first.freq_hz == 868_500_000
    first, _ = downlink.windows(heard(EU868, 868_100_000, 5), EU868, state)
    assert first.freq_hz == 868_100_000


def test_power_is_the_sub_bands():
    first, second = downlink.windows(heard(EU868, 868_100_000, 5), EU868, fresh(EU868))
    assert (first.power_dbm, second.power_dbm) == (16, 29)


def test_a_device_of_class_c_listens_on_rx2_all_the_time():
    window = downlink.continuous_window(EU868, fresh(EU868, rx2_dr=3))
    assert shape(window) == (0, 869_525_000, 3)


@given(
    name=st.sampled_from(REGIONS),
    freq_hz=st.integers(0, 0xFFFF_FFFF) | st.integers(902_000_000, 928_000_000),
    sf=st.integers(5, 12),
    bw_hz=st.sampled_from([125_000, 250_000, 500_000]),
    abp=st.booleans(),
)
def test_an_uplink_that_is_taken_has_windows_and_no_other_is(name, freq_hz, sf, bw_hz, abp):
    region = region_of(name)
    frame = reception(b"", freq_hz=freq_hz, sf=sf, bw_hz=bw_hz)
    dr = uplink.data_rate(UplinkFrameSet(b"", (frame,), 0), region)
    state = mac_state.fresh(target(region), abp=abp)
    if isinstance(dr, Rejected):
        assert dr.reason in ("data_rate", "channel")
        with pytest.raises(DecodeError):
            downlink.windows(frame, region, state)
        return
    for window in (*downlink.windows(frame, region, state), *downlink.join_windows(frame, region)):
        assert region.max_payload(window.dr)


# What a downlink carries.

QUESTION = mc.encode(DOWN, ((mc.LINK_CHECK, 10, 1),))
STATUS = ((mc.DEV_STATUS,),)
BLOCK = tuple((mc.LINK_ADR, 5, 1, 7, control, 1) for control in (0, 1, 2))


def queued(length, downlink_id=1, **fields):
    return Queued(downlink_id, bytes(8), 10, bytes(length), **fields)


def compose(
    *ready, up_dr=5, answers=(), requests=(), ack=False, must=False, rx2_dr=0, region=EU868
):
    state = fresh(region, rx2_dr=rx2_dr)
    offered = downlink.windows(heard(region, region.default_channels_hz[0], up_dr), region, state)
    known = session(f_cnt_down=70_000)
    turn = Turn(state, answers, requests, (), due=bool(answers or requests))
    reply = downlink.compose(known, region, offered, turn, ready, UTC_MS, ack=ack, must=must)
    assert known.f_cnt_down == 70_000
    if reply is None:
        return None, None
    frame = frames.parse(reply.phy_payload)
    assert frames.verify(frame, new_key(NWK_S_KEY), 70_000)
    assert frame.dev_addr == known.dev_addr
    room = min(region.max_payload(window.dr) for window in reply.windows)
    assert len(frame.f_opts) + len(frame.frm_payload) <= room
    return reply, frame


def drs(reply):
    return [window.dr for window in reply.windows]


def test_nothing_to_say():
    assert compose() == (None, None)


def test_an_acknowledgement_alone():
    reply, frame = compose(ack=True, must=True)
    assert drs(reply) == [5, 0]
    assert frame.ack
    assert not frame.confirmed
    assert not frame.f_pending
    assert (frame.f_port, frame.f_opts, frame.frm_payload) == (None, b"", b"")
    assert reply.carried is None


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_payload(confirmed):
    item = queued(11, confirmed=confirmed)
    reply, frame = compose(item)
    assert reply.carried == item
    assert (frame.confirmed, frame.f_port, frame.ack) == (confirmed, 10, False)
    assert frames.decrypt_payload(frame, new_key(APP_S_KEY), 70_000) == bytes(11)


@pytest.mark.parametrize(
    ("name", "up_dr", "rx2_dr", "length", "expected"),
    [
        ("EU868", 5, 0, 51, [5, 0]),
        ("EU868", 5, 0, 52, [5]),
        ("EU868", 5, 0, 242, [5]),
        ("EU868", 3, 0, 115, [3]),
        ("EU868", 3, 0, 116, None),
        ("EU868", 0, 0, 51, [0, 0]),
        ("EU868", 0, 0, 52, None),
        ("EU868", 0, 3, 115, [3]),  # RX2 may have more room than RX1
        ("US915", 0, 8, 53, [10, 8]),
        ("US915", 0, 8, 54, [10]),
        ("US915", 3, 8, 242, [13]),
    ],
)
def test_a_payload_goes_only_where_it_fits(name, up_dr, rx2_dr, length, expected):
    reply, frame = compose(queued(length), up_dr=up_dr, rx2_dr=rx2_dr, region=region_of(name))
    if expected is None:
        assert reply is None
    else:
        assert drs(reply) == expected
        assert len(frame.frm_payload) == length


def test_what_fits_nowhere_holds_up_nobody_and_is_not_told_as_pending():
    long, short = queued(100, 1), queued(5, 2)
    reply, frame = compose(long, short, up_dr=0)
    assert reply.carried == short
    assert not frame.f_pending
    reply, frame = compose(long, up_dr=0, ack=True, must=True)
    assert reply.carried is None
    assert not frame.f_pending


def test_what_else_waits_is_told():
    reply, frame = compose(queued(5, 1), queued(5, 2))
    assert reply.carried.downlink_id == 1
    assert frame.f_pending


def test_mac_commands_beside_a_payload_take_what_it_leaves():
    _, frame = compose(queued(36), answers=(QUESTION,), requests=(STATUS, BLOCK), up_dr=0)
    assert frame.f_opts == QUESTION + mc.encode(DOWN, STATUS)  # of 15, and a block is 15 long
    reply, frame = compose(queued(50), answers=(QUESTION,), requests=(STATUS,), up_dr=0)
    assert frame.f_opts == mc.encode(DOWN, STATUS)
    assert [asked.block for asked in reply.mac.pending] == [STATUS]
    reply, frame = compose(queued(51), answers=(QUESTION,), requests=(STATUS,), up_dr=0)
    assert frame.f_opts == b""
    assert reply.mac.pending == ()


def test_a_block_is_not_torn():
    reply, frame = compose(requests=(BLOCK, STATUS))
    assert mc.decode(DOWN, frame.f_opts)[0] == BLOCK
    assert [asked.block for asked in reply.mac.pending] == [BLOCK]


def test_requests_alone_are_a_frame():
    reply, frame = compose(requests=(STATUS,))
    assert frame.f_port is None
    assert reply.mac.pending[0].attempts == 1


@given(
    lengths=st.lists(st.integers(0, 242), max_size=4),
    up_dr=st.integers(0, 5),
    answers=st.lists(st.just(QUESTION), max_size=6).map(tuple),
    requests=st.lists(st.sampled_from([STATUS, BLOCK]), max_size=2, unique=True).map(tuple),
    ack=st.booleans(),
    must=st.booleans(),
)
def test_every_frame_fits_every_window_that_it_is_offered_for(
    lengths, up_dr, answers, requests, ack, must
):
    ready = [queued(length, number) for number, length in enumerate(lengths)]
    reply, frame = compose(
        *ready, up_dr=up_dr, answers=answers, requests=requests, ack=ack, must=must
    )
    possible = [item for item in ready if len(item.frm_payload) <= EU868.max_payload(up_dr)]
    if reply is None:
        assert not possible
        assert not must
        return
    assert reply.windows
    assert reply.carried == (possible[0] if possible else None)
    assert frame.f_pending == (len(possible) > 1)
    assert frame.ack == ack
