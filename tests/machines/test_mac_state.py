"""A table per MAC command: asked, accepted, refused, refused in part, unasked, unanswered."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.lns import channel_plan, mac_requests, mac_state
from stoep_gateway.lns.adr import Setting
from stoep_gateway.lns.mac_state import Asked, MacEvent, MacState, Target
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan import regions

HOUR_MS = 3_600_000
NOW_MS = 1_790_000_000_000
EU868 = channel_plan.for_region(regions.EU868)
US915 = channel_plan.for_region(regions.by_name("US915"), 2)
AS923 = channel_plan.for_region(regions.by_name("AS923"))


def target(plan=EU868, **changes):
    """Return what a network wants that says all in its join-accept and asks for no battery."""
    region = plan.region
    fields = {
        "plan": plan,
        "rx1_delay_s": 1,
        "rx1_dr_offset": 0,
        "rx2_dr": region.rx2_dr,
        "rx2_hz": region.rx2_hz,
        "status_every_ms": 0,
    }
    return Target(**fields | changes)


def device(wanted, *, abp=False, **changes):
    return replace(mac_state.fresh(wanted, abp=abp), **changes)


def want(state, wanted, setting=None, at_ms=NOW_MS, **options):
    if setting is None:
        setting = state.setting
    return mac_requests.want(state, wanted, setting, at_ms, **{"dr": state.dr} | options)


def ask(state, wanted, setting=None, at_ms=NOW_MS):
    """Send what is due; return it and the state."""
    blocks = want(state, wanted, setting, at_ms)
    return blocks, mac_requests.sent(state, blocks, at_ms)


def answered(state, wanted, *commands, at_ms=NOW_MS):
    return mac_state.answered(state, wanted, commands, at_ms)


# One row per request: what the network wants, how the device differs from it, the block that goes
# out, the answer that accepts, and the fields that change by it.
ROWS = {
    "LinkADR": (
        target(),
        Setting(4, 2, 3),
        {},
        ((mc.LINK_ADR, 4, 2, 0xFF, 0, 3),),
        ((mc.LINK_ADR, 1, 1, 1),),
        {"dr": 4, "tx_power": 2, "nb_trans": 3},
    ),
    "LinkADR, channels": (
        target(),
        None,
        {"channels": 0b111, "dr": 3},
        ((mc.LINK_ADR, 3, 0, 0xFF, 0, 1),),
        ((mc.LINK_ADR, 1, 1, 1),),
        {"channels": 0xFF},
    ),
    "LinkADR, a block": (
        target(US915),
        Setting(3, 1, 1),
        {},
        ((mc.LINK_ADR, 3, 1, 2, 7, 1), (mc.LINK_ADR, 3, 1, 0xFF00, 0, 1)),
        ((mc.LINK_ADR, 1, 1, 1), (mc.LINK_ADR, 1, 1, 1)),
        {"dr": 3, "tx_power": 1, "channels": 0xFF00 | 2 << 64},
    ),
    "DutyCycle": (
        target(max_duty_cycle=7),
        None,
        {},
        ((mc.DUTY_CYCLE, 7),),
        ((mc.DUTY_CYCLE,),),
        {"max_duty_cycle": 7},
    ),
    "RXParamSetup": (
        target(rx1_dr_offset=2, rx2_dr=3, rx2_hz=869_525_000),
        None,
        {"rx1_dr_offset": 0, "rx2_dr": 0},
        ((mc.RX_PARAM_SETUP, 2, 3, 869_525_000),),
        ((mc.RX_PARAM_SETUP, 1, 1, 1),),
        {"rx1_dr_offset": 2, "rx2_dr": 3},
    ),
    "DevStatus": (
        target(status_every_ms=24 * HOUR_MS),
        None,
        {},
        ((mc.DEV_STATUS,),),
        ((mc.DEV_STATUS, 0, -3),),
        {"battery": 0, "margin_db": -3, "status_ms": NOW_MS},
    ),
    "NewChannel": (
        target(),
        None,
        {"channels_hz": EU868.channels_hz[:7], "channels": 0x7F},
        ((mc.NEW_CHANNEL, 7, 867_900_000, 0, 5),),
        ((mc.NEW_CHANNEL, 1, 1),),
        {"channels_hz": EU868.channels_hz, "channels": 0xFF},
    ),
    "RXTimingSetup": (
        target(rx1_delay_s=5),
        None,
        {"rx1_delay_s": 1},
        ((mc.RX_TIMING, 5),),
        ((mc.RX_TIMING,),),
        {"rx1_delay_s": 5},
    ),
    "TxParamSetup": (
        target(AS923, tx_param=(False, True, 16)),
        None,
        {},
        ((mc.TX_PARAM, 0, 1, 16),),
        ((mc.TX_PARAM,),),
        {"tx_param": (False, True, 16)},
    ),
    "DlChannel": (
        target(down_hz=((1, 869_100_000),)),
        None,
        {},
        ((mc.DL_CHANNEL, 1, 869_100_000),),
        ((mc.DL_CHANNEL, 1, 1),),
        {"down_hz": ((1, 869_100_000),)},
    ),
}
each_command = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


@each_command
def test_accepted(row):
    wanted, setting, differs, block, answers, changed = row
    state = device(wanted, **differs)
    blocks, asked = ask(state, wanted, setting)
    assert blocks == (block,)
    accepted, events = answered(asked, wanted, *answers)
    assert accepted == replace(state, **changed)
    assert events == (MacEvent("accepted", block[-1], answers[0]),)
    assert want(accepted, wanted, setting) == ()


@each_command
def test_what_was_sent_changes_nothing_until_it_is_answered(row):
    wanted, setting, differs, block, *_ = row
    state = device(wanted, **differs)
    _, asked = ask(state, wanted, setting)
    assert asked == replace(state, pending=(Asked(block, 1, NOW_MS),))
    assert answered(asked, wanted) == (asked, ())
    assert want(asked, wanted, setting) == (block,)


@each_command
def test_unasked(row):
    wanted, _, differs, _, answers, _ = row
    state = device(wanted, **differs)
    after, events = answered(state, wanted, *answers)
    assert after is state
    sticky = answers[0][0] in mac_state.STICKY
    assert events == (() if sticky else tuple(MacEvent("unasked", (), it) for it in answers))


@each_command
def test_answered_twice(row):
    wanted, setting, differs, _, answers, _ = row
    _, asked = ask(device(wanted, **differs), wanted, setting)
    accepted, _ = answered(asked, wanted, *answers)
    after, events = answered(accepted, wanted, *answers)
    assert after is accepted
    assert {event.what for event in events} <= {"unasked"}


REFUSALS = [
    ("RXParamSetup", (0, 1, 1)),
    ("RXParamSetup", (1, 0, 1)),
    ("RXParamSetup", (1, 1, 0)),
    ("RXParamSetup", (0, 0, 0)),
    ("NewChannel", (0, 1)),
    ("NewChannel", (1, 0)),
    ("DlChannel", (0, 1)),
    ("DlChannel", (1, 0)),
]


@pytest.mark.parametrize(("name", "verdict"), REFUSALS)
def test_refused(name, verdict):
    wanted, setting, differs, block, _, _ = ROWS[name]
    state = device(wanted, **differs)
    _, asked = ask(state, wanted, setting)
    refusal = (block[0][0], *verdict)
    after, events = answered(asked, wanted, refusal)
    assert after == replace(state, refused=(block[0],))
    assert events == (MacEvent("refused", block[0], refusal),)
    for day in range(100):
        assert want(after, wanted, setting, NOW_MS + day * 24 * HOUR_MS) == ()


@pytest.mark.parametrize(
    ("verdict", "refused"),
    [
        ((0, 1, 1), [(mc.LINK_ADR, 0, 0xFF)]),
        ((1, 0, 1), [(mc.LINK_ADR, 1, 5)]),
        ((1, 1, 0), [(mc.LINK_ADR, 2, 3)]),
        ((0, 0, 0), [(mc.LINK_ADR, 0, 0xFF), (mc.LINK_ADR, 1, 5), (mc.LINK_ADR, 2, 3)]),
    ],
)
def test_a_link_adr_refused_in_part_changes_nothing(verdict, refused):
    wanted = target()
    state = device(wanted, channels=0b111, dr=2)
    blocks, asked = ask(state, wanted, Setting(5, 3, 2))
    after, events = answered(asked, wanted, (mc.LINK_ADR, *verdict))
    assert after == replace(state, refused=(blocks[0][0], *refused))
    assert [event.what for event in events] == ["refused"]


def test_a_refused_data_rate_or_power_is_replaced_by_the_next_on_the_way():
    wanted = target()
    state = device(wanted, dr=2)
    for expected in ((5, 3), (4, 2), (3, 1), (2, 0)):
        blocks, state = ask(state, wanted, Setting(5, 3, 2))
        assert blocks == (((mc.LINK_ADR, *expected, 0xFF, 0, 2),),)
        state, _ = answered(state, wanted, (mc.LINK_ADR, 1, 0, 0))
    assert want(state, wanted, Setting(5, 3, 2)) == ()


@pytest.mark.parametrize("verdict", [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0)])
@pytest.mark.parametrize("plan", [EU868, US915])
def test_a_device_that_refuses_whatever_it_is_asked_is_left_alone(plan, verdict):
    wanted = target(plan)
    state = device(wanted, dr=2)
    made = 0
    for hour in range(1000):
        at_ms = NOW_MS + hour * HOUR_MS
        blocks, state = ask(state, wanted, Setting(3, 2, 2), at_ms)
        made += len(blocks)
        if blocks:
            state, _ = answered(state, wanted, *[(mc.LINK_ADR, *verdict)] * len(blocks[0]))
            assert MacState.loads(state.dumps()) == state
    assert made <= 4


def test_a_refused_mask_does_not_stop_adr():
    wanted = target()
    state = device(wanted, channels=0b111, refused=((mc.LINK_ADR, 0, 0xFF),))
    assert want(state, wanted, Setting(3, 0, 1)) == (((mc.LINK_ADR, 3, 0, 0b111, 0, 1),),)
    assert want(state, wanted) == ()


def test_one_answer_stands_for_a_block():
    wanted, setting, differs, _, answers, changed = ROWS["LinkADR, a block"]
    _, asked = ask(device(wanted, **differs), wanted, setting)
    accepted, events = answered(asked, wanted, answers[0])
    assert accepted == replace(device(wanted), **changed)
    assert len(events) == 1


def test_a_block_with_one_refusal_is_refused():
    wanted, setting, *_ = ROWS["LinkADR, a block"]
    state = device(wanted)
    _, asked = ask(state, wanted, setting)
    after, events = answered(asked, wanted, (mc.LINK_ADR, 1, 1, 1), (mc.LINK_ADR, 0, 1, 1))
    assert (after.dr, after.channels) == (state.dr, state.channels)
    assert after.refused[1:] == ((mc.LINK_ADR, 0, US915.mask),)
    assert [event.what for event in events] == ["refused"]


def test_a_third_answer_to_a_block_of_two_is_told():
    wanted, setting, *_ = ROWS["LinkADR, a block"]
    _, asked = ask(device(wanted), wanted, setting)
    _, events = answered(asked, wanted, *[(mc.LINK_ADR, 1, 1, 1)] * 3)
    assert [event.what for event in events] == ["accepted", "unasked"]


def test_answers_to_several_requests_at_once():
    wanted = target(rx1_delay_s=5, max_duty_cycle=3, status_every_ms=HOUR_MS)
    state = device(wanted, rx1_delay_s=1)
    blocks, asked = ask(state, wanted, Setting(5, 0, 1))
    assert [block[0][0] for block in blocks] == [
        mc.DEV_STATUS,
        mc.DUTY_CYCLE,
        mc.RX_TIMING,
        mc.LINK_ADR,
    ]
    after, events = answered(
        asked, wanted, (mc.DEV_STATUS, 200, 9), (mc.RX_TIMING,), (mc.LINK_ADR, 1, 0, 1)
    )
    assert (after.battery, after.rx1_delay_s, after.dr, after.max_duty_cycle) == (200, 5, 0, 0)
    assert [asked.block for asked in after.pending] == [((mc.DUTY_CYCLE, 3),)]
    assert [event.what for event in events] == ["accepted", "accepted", "refused"]


def test_what_a_device_asks_is_not_an_answer():
    wanted = target()
    state = device(wanted)
    assert answered(state, wanted, (mc.LINK_CHECK,), (mc.DEVICE_TIME,)) == (state, ())


def test_a_request_without_answer_is_made_more_and_more_seldom():
    wanted = target(max_duty_cycle=7)
    state = device(wanted)
    sent_h = []
    for hour in range(24 * 14):
        blocks, state = ask(state, wanted, at_ms=NOW_MS + hour * HOUR_MS)
        if blocks:
            sent_h.append(hour)
    gaps_h = [after - before for before, after in itertools.pairwise(sent_h)]
    assert gaps_h == sorted(gaps_h)
    assert gaps_h[:7] == [1, 1, 1, 2, 4, 8, 16]
    assert set(gaps_h[7:]) == {24}


def test_a_silent_device_gets_three_requests_in_a_row_at_most():
    wanted = target(max_duty_cycle=7)
    state = device(wanted)
    made = 0
    for second in range(100):
        blocks, state = ask(state, wanted, at_ms=NOW_MS + 1000 * second)
        made += len(blocks)
    assert made == 3


def test_a_request_that_rests_does_not_hold_up_the_others():
    wanted = target(max_duty_cycle=7)
    state = device(wanted, pending=(Asked(((mc.DUTY_CYCLE, 7),), 3, NOW_MS + HOUR_MS),))
    assert want(state, wanted, Setting(1, 0, 1)) == (((mc.LINK_ADR, 1, 0, 0xFF, 0, 1),),)


def test_an_answer_is_taken_while_its_request_rests():
    wanted = target(rx1_delay_s=5)
    state = device(wanted, rx1_delay_s=1)
    state = replace(state, pending=(Asked(((mc.RX_TIMING, 5),), 9, NOW_MS + HOUR_MS),))
    after, _ = answered(state, wanted, (mc.RX_TIMING,))
    assert (after.rx1_delay_s, after.pending) == (5, ())


def test_a_clock_set_back_does_not_silence_for_years():
    wanted = target(max_duty_cycle=7, status_every_ms=24 * HOUR_MS)
    state = device(wanted, status_ms=NOW_MS)
    state = replace(state, pending=(Asked(((mc.DUTY_CYCLE, 7),), 3, NOW_MS + HOUR_MS),))
    year_ago_ms = NOW_MS - 365 * 24 * HOUR_MS
    assert want(state, wanted, at_ms=year_ago_ms) == (((mc.DEV_STATUS,),), ((mc.DUTY_CYCLE, 7),))


def test_status_once_a_day():
    wanted = target(status_every_ms=24 * HOUR_MS)
    state = device(wanted)
    asked_h = []
    for hour in range(75):
        at_ms = NOW_MS + hour * HOUR_MS
        blocks, state = ask(state, wanted, at_ms=at_ms)
        if blocks:
            asked_h.append(hour)
            state, _ = answered(state, wanted, (mc.DEV_STATUS, 254, 10), at_ms=at_ms)
    assert asked_h == [0, 24, 48, 72]


def test_a_lost_link_adr_answer_is_asked_for_again():
    # The device took it, at which its data rate tells; power and channels would stay unknown.
    wanted = target()
    state = device(wanted, dr=2)
    blocks, state = ask(state, wanted, Setting(5, 1, 1))
    state = mac_state.moved(state, wanted, 5)
    assert want(state, wanted) == blocks
    state, _ = answered(state, wanted, (mc.LINK_ADR, 1, 1, 1))
    assert state.setting == Setting(5, 1, 1)


def test_another_decision_replaces_a_pending_one():
    wanted = target()
    _, state = ask(device(wanted), wanted, Setting(5, 1, 1))
    blocks, state = ask(state, wanted, Setting(4, 0, 1))
    assert blocks == (((mc.LINK_ADR, 4, 0, 0xFF, 0, 1),),)
    assert [(asked.block, asked.attempts) for asked in state.pending] == [(blocks[0], 2)]


def test_a_device_that_steers_itself_is_told_its_channels_only():
    wanted = target(US915)
    state = device(wanted)
    (block,) = mac_requests.want(state, wanted, None, NOW_MS, dr=2)
    assert {request[1:3] for request in block} == {(2, 0)}
    state, _ = answered(mac_requests.sent(state, (block,), NOW_MS), wanted, (mc.LINK_ADR, 1, 1, 1))
    assert state.channels == US915.mask
    assert mac_requests.want(state, wanted, None, NOW_MS, dr=0) == ()


def test_the_answer_that_a_device_repeats_must_not_be_taken_for_a_new_one():
    wanted = target(rx2_dr=5)
    state = device(wanted, rx2_dr=3)  # accepted under an earlier configuration
    assert want(state, wanted, withheld=frozenset({mc.RX_PARAM_SETUP})) == ()
    assert len(want(state, wanted, withheld=frozenset())) == 1


def test_a_device_without_join_accept_learns_all_channels_one_by_one():
    wanted = target(rx1_delay_s=5)
    state = device(wanted, abp=True)
    assert (state.rx1_delay_s, state.channels) == (1, 0b111)
    for index in range(3, 8):
        blocks, state = ask(state, wanted)
        assert (mc.NEW_CHANNEL, index, EU868.channels_hz[index], 0, 5) in blocks[-1]
        state, _ = answered(state, wanted, (mc.RX_TIMING,), (mc.NEW_CHANNEL, 1, 1))
    assert want(state, wanted) == ()
    assert state == replace(device(wanted), rx1_delay_s=5)


def test_channels_that_a_device_refused_are_not_in_its_mask():
    wanted = target()
    state = device(wanted, abp=True)
    for _ in range(5):
        blocks, state = ask(state, wanted)
        verdict = int(blocks[0][0][1] != 5)
        state, _ = answered(state, wanted, (mc.NEW_CHANNEL, verdict, 1))
    assert state.channels == 0b11011111
    assert want(state, wanted) == ()
    assert want(state, wanted, Setting(2, 0, 1)) == (((mc.LINK_ADR, 2, 0, 0b11011111, 0, 1),),)


def test_more_channels_than_a_join_accept_holds():
    plan = channel_plan.for_region(
        regions.EU868, extra_hz=[*regions.EU868.extra_channels_hz, 867_000_000]
    )
    wanted = target(plan)
    state = device(wanted)
    blocks, state = ask(state, wanted)
    assert blocks == (((mc.NEW_CHANNEL, 8, 867_000_000, 0, 5),),)
    state, _ = answered(state, wanted, (mc.NEW_CHANNEL, 1, 1))
    assert state.channels == 0x1FF
    assert want(state, wanted) == ()


def test_rx1_of_a_channel_with_its_own_downlink_frequency_and_back():
    wanted = target(down_hz=((1, 869_100_000),))
    state = device(wanted, down_hz=((1, 869_100_000),))
    assert state.rx1_hz(868_300_000, 868_300_000) == 869_100_000
    assert state.rx1_hz(868_100_000, 868_100_000) == 868_100_000
    back = target()
    blocks, state = ask(state, back)
    assert blocks == (((mc.DL_CHANNEL, 1, 868_300_000),),)
    state, _ = answered(state, back, (mc.DL_CHANNEL, 1, 1))
    assert (state.down_hz, want(state, back)) == ((), ())


def test_regions_without_them_get_no_new_channels_and_no_transmit_parameters():
    wanted = target(US915, down_hz=((1, 923_300_000),))
    state = device(wanted, channels=US915.mask)
    assert want(state, wanted) == ()


def test_a_device_that_backed_off_has_full_power_and_at_the_end_all_channels():
    wanted = target(US915)
    state = device(wanted, dr=2, tx_power=3, channels=US915.mask)
    lower = mac_state.moved(state, wanted, 1)
    assert (lower.setting, lower.channels) == (Setting(1, 0, 1), US915.mask)
    lowest = mac_state.moved(lower, wanted, 0)
    assert lowest.channels == (1 << 72) - 1
    assert len(want(lowest, wanted)) == 1


commands = st.lists(
    st.one_of(
        st.tuples(st.just(mc.LINK_ADR), *[st.integers(0, 1)] * 3),
        st.tuples(st.just(mc.RX_PARAM_SETUP), *[st.integers(0, 1)] * 3),
        st.tuples(st.just(mc.DEV_STATUS), st.integers(0, 255), st.integers(-32, 31)),
        st.tuples(st.sampled_from([mc.NEW_CHANNEL, mc.DL_CHANNEL]), *[st.integers(0, 1)] * 2),
        st.tuples(st.sampled_from([mc.DUTY_CYCLE, mc.RX_TIMING, mc.TX_PARAM, mc.LINK_CHECK])),
    ),
    max_size=6,
)
settings = st.builds(Setting, st.integers(0, 5), st.integers(0, 7), st.integers(1, 3))


@given(
    plan=st.sampled_from([EU868, US915, AS923]),
    abp=st.booleans(),
    steps=st.lists(st.tuples(settings, commands, st.integers(0, 10 * HOUR_MS)), max_size=30),
)
def test_no_answer_upsets_it_and_every_state_can_be_stored(plan, abp, steps):
    wanted = target(
        plan,
        rx1_delay_s=2,
        rx2_dr=plan.region.rx2_dr + 1,
        max_duty_cycle=5,
        tx_param=(True, False, 16),
        status_every_ms=24 * HOUR_MS,
        down_hz=((0, plan.channels_hz[1]),),
    )
    state = mac_state.fresh(wanted, abp=abp)
    at_ms = NOW_MS
    for setting, answers, wait_ms in steps:
        at_ms += wait_ms
        state, _ = mac_state.answered(state, wanted, tuple(answers), at_ms)
        blocks = mac_requests.want(state, wanted, setting, at_ms, dr=setting.dr)
        for block in blocks:
            assert len(mc.encode(1, block)) <= 15
            assert block[0] not in state.refused
        state = mac_requests.sent(state, blocks, at_ms)
        assert len({asked.block[0][0] for asked in state.pending}) == len(state.pending)
        assert state.channels
        assert MacState.loads(state.dumps()) == state


BROKEN = [
    "",
    "null",
    "[]",
    "{}",
    "{",
    '{"dr": 1}',
    *[
        json.dumps(json.loads(device(target()).dumps()) | change)
        for change in (
            {"dr": "5"},
            {"dr": None},
            {"dr": True},
            {"more": 1},
            {"channels_hz": 5},
            {"channels_hz": [1.5]},
            {"down_hz": [[1]]},
            {"down_hz": [[99, 868100000]]},
            {"refused": [["x"]]},
            {"tx_param": [1]},
            {"pending": [{}]},
            {"pending": [{"block": [], "attempts": 1, "not_before_ms": 0}]},
            {"pending": [{"block": [[]], "attempts": 1, "not_before_ms": 0}]},
            {"pending": [{"block": [[3, 1]], "attempts": 1, "not_before_ms": 0}]},
            {"pending": [{"block": [[8, 1], [4, 1]], "attempts": 1, "not_before_ms": 0}]},
        )
    ],
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_state_is_said_to_be_none(text):
    with pytest.raises(ValueError, match=r"."):
        MacState.loads(text)


@pytest.mark.parametrize(
    "change",
    [
        {"rx2_hz": 869_525_050},
        {"rx2_dr": 16},
        {"rx1_delay_s": 16},
        {"max_duty_cycle": 16},
        {"tx_param": (False, False, 15)},
        {"down_hz": ((0, 1),)},
    ],
)
def test_a_target_that_no_command_can_say(change):
    with pytest.raises(ValueError, match=r"MAC command|TxParam|100 Hz"):
        target(**change)


def test_a_state_of_another_region_does_not_fit():
    plans = [EU868, US915, AS923]
    for mine in plans:
        for other in plans:
            state = device(target(other))
            assert state.fits(mine.region) == (mine is other)
    for change in ({"dr": 14}, {"rx2_dr": 7}, {"rx1_dr_offset": 6}, {"tx_power": 8}):
        assert not device(target(), **change).fits(regions.EU868)
    assert not device(target(), channels=0x100).fits(regions.EU868)
    assert not device(target(), channels=0).fits(regions.EU868)


def test_devices_share_their_channels_in_memory():
    text = device(target(), dr=3).dumps()
    assert MacState.loads(text).channels_hz is MacState.loads(text).channels_hz
