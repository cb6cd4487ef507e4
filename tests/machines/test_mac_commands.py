"""What one uplink calls for: answers, requests, ADR; and how they go into a downlink."""

from dataclasses import replace

import pytest
from lns_values import OTHER_GATEWAY, frame_set, reception
from stoep_gateway.lns import channel_plan, mac_commands, mac_state
from stoep_gateway.lns.adr import AdrSettings, History, Setting
from stoep_gateway.lns.frames import UplinkFrameSet
from stoep_gateway.lns.mac_commands import Heard, Turn, hear, hear_again, pack
from stoep_gateway.lns.mac_state import Target
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.crypto import DOWN, UP

NOW_MS = 1_790_000_000_000
EU868 = channel_plan.for_region(regions.EU868)
TARGET = Target(EU868, 1, 0, 0, 869_525_000, status_every_ms=0)
SETTINGS = AdrSettings()
STATE = mac_state.fresh(TARGET, abp=False, dr=5)


def uplink(f_cnt_up=1, *commands, dr=5, adr=True, confirmed=False, receptions=None, **changes):
    heard_by = frame_set(b"", **changes)
    if receptions is not None:
        heard_by = UplinkFrameSet(b"", receptions, 0)
    encoded = mc.encode(UP, commands)
    return Heard(heard_by, f_cnt_up, dr, adr, confirmed, encoded, NOW_MS)


def test_an_ordinary_uplink_leaves_the_very_same_state_and_no_downlink():
    history = History()
    for f_cnt in range(40):
        turn = hear(STATE, history, TARGET, SETTINGS, uplink(f_cnt, snr_db=3.0))
        assert turn == Turn(STATE, (), (), (), False)
        assert turn.state is STATE
        assert pack(turn, 15, NOW_MS) == (b"", STATE)
        assert pack(turn, 15, NOW_MS)[1] is STATE


def test_the_questions_of_a_device():
    receptions = (reception(b"", snr_db=5.9), reception(b"", gateway=OTHER_GATEWAY, snr_db=1.0))
    heard = uplink(1, (mc.LINK_CHECK,), (mc.DEVICE_TIME,), receptions=receptions)
    turn = hear(STATE, History(), TARGET, SETTINGS, heard)
    assert turn.due
    gps_s = 1_790_000_000 - 315_964_800 + 18
    expected = mc.encode(DOWN, ((mc.LINK_CHECK, 13, 2), (mc.DEVICE_TIME, gps_s, 0)))
    assert pack(turn, 15, NOW_MS) == (expected, STATE)
    assert pack(turn, 8, NOW_MS)[0] == expected[:3]


@pytest.mark.parametrize(
    ("sf", "snr_db", "margin_db"), [(7, 5.0, 12), (12, -19.5, 0), (12, -22.0, 0), (9, 10.0, 22)]
)
def test_the_link_margin_is_above_what_the_spreading_factor_needs(sf, snr_db, margin_db):
    assert mac_commands.link_margin_db(frame_set(b"", sf=sf, snr_db=snr_db)) == margin_db


def test_a_link_check_counts_gateways_and_not_receptions():
    receptions = (reception(b""), reception(b"", gateway=OTHER_GATEWAY), reception(b""))
    heard = uplink(1, (mc.LINK_CHECK,), receptions=receptions)
    f_opts, _ = pack(hear(STATE, History(), TARGET, SETTINGS, heard), 15, NOW_MS)
    assert mc.decode(DOWN, f_opts) == (((mc.LINK_CHECK, 12, 2),), b"")


def test_device_time_is_gps_time():
    # 2026-01-01T00:00:00.500Z, and GPS runs 18 s ahead of UTC.
    heard = replace(uplink(1, (mc.DEVICE_TIME,)), received_utc_ms=1_767_225_600_500)
    f_opts, _ = pack(hear(STATE, History(), TARGET, SETTINGS, heard), 15, NOW_MS)
    gps_s = 1_767_225_600 - 315_964_800 + 18
    assert mc.decode(DOWN, f_opts) == (((mc.DEVICE_TIME, gps_s, 128),), b"")


def test_a_time_that_is_not_known_is_not_told():
    heard = replace(uplink(1, (mc.DEVICE_TIME,), (mc.LINK_CHECK,)), time_is_known=False)
    f_opts, _ = pack(hear(STATE, History(), TARGET, SETTINGS, heard), 15, NOW_MS)
    assert [cid for cid, *_ in mc.decode(DOWN, f_opts)[0]] == [mc.LINK_CHECK]


def test_answers_never_overflow_f_opts():
    heard = uplink(1, *[(mc.LINK_CHECK,)] * 15)
    f_opts, _ = pack(hear(STATE, History(), TARGET, SETTINGS, heard), 242, NOW_MS)
    assert len(f_opts) == 15
    assert len(mc.decode(DOWN, f_opts)[0]) == 5


def test_twenty_good_frames_bring_a_link_adr_request_and_its_answer_the_new_setting():
    state = replace(STATE, dr=2)
    history = History()
    for f_cnt in range(19):
        assert not hear(state, history, TARGET, SETTINGS, uplink(f_cnt, dr=2, snr_db=2.0)).due
    turn = hear(state, history, TARGET, SETTINGS, uplink(19, dr=2, snr_db=2.0))
    assert turn.due
    f_opts, sent = pack(turn, 15, NOW_MS)
    assert mc.decode(DOWN, f_opts)[0] == ((mc.LINK_ADR, 4, 0, 0xFF, 0, 1),)
    answer = uplink(20, (mc.LINK_ADR, 1, 1, 1), dr=4, snr_db=2.0)
    turn = hear(sent, history, TARGET, SETTINGS, answer)
    assert turn.state == replace(STATE, dr=4)
    assert (turn.requests, turn.due) == ((), False)
    assert history.frames == 1


def test_the_best_of_all_gateways_counts():
    history = History()
    receptions = (reception(b"", snr_db=-9.0), reception(b"", gateway=OTHER_GATEWAY, snr_db=4.5))
    hear(STATE, history, TARGET, SETTINGS, uplink(1, receptions=receptions))
    assert history.snr_db == 4.5


@pytest.mark.parametrize(
    ("settings", "adr"), [(None, True), (SETTINGS, False), (None, False)], ids=str
)
def test_a_device_that_does_not_ask_for_it_or_is_not_to_be_steered(settings, adr):
    state = replace(STATE, dr=0)
    history = History()
    for f_cnt in range(30):
        turn = hear(state, history, TARGET, settings, uplink(f_cnt, dr=0, adr=adr, snr_db=10.0))
        assert turn == Turn(state, (), (), (), False)


def test_a_device_without_adr_may_change_its_data_rate_unnoticed():
    for f_cnt, dr in enumerate((5, 0, 3, 1)):
        turn = hear(STATE, History(), TARGET, SETTINGS, uplink(f_cnt, dr=dr, sf=12 - dr, adr=False))
        assert turn.state is STATE


def test_a_device_that_backs_off_is_followed():
    state = replace(STATE, tx_power=3)
    history = History()
    hear(state, history, TARGET, SETTINGS, uplink(1))
    turn = hear(state, history, TARGET, SETTINGS, uplink(2, dr=4, sf=8))
    assert turn.state.setting == Setting(4, 0, 1)
    assert not turn.due


def test_late_tries_of_confirmed_frames_are_not_followed():
    history = History()
    for f_cnt in range(12):
        late = f_cnt % 4 == 3
        heard = uplink(f_cnt, dr=5 - late, sf=7 + late, confirmed=True)
        assert hear(STATE, history, TARGET, SETTINGS, heard).state is STATE


def test_a_late_try_brings_no_link_adr_request():
    # Neither by ADR, whose history is of the usual data rate, nor for the channels.
    history = History()
    for f_cnt in range(20):
        hear(replace(STATE, dr=3), history, TARGET, None, uplink(f_cnt, dr=3, snr_db=10.0))
    state = replace(STATE, dr=3, channels=0b111)
    turn = hear(state, history, TARGET, SETTINGS, uplink(20, dr=2, sf=10, confirmed=True))
    assert turn == Turn(state, (), (), (), False)
    assert hear(state, history, TARGET, SETTINGS, uplink(21, dr=3, sf=9)).requests


def test_an_answer_in_a_late_try_begins_a_new_history():
    history = History()
    for f_cnt in range(20):
        turn = hear(STATE, history, TARGET, SETTINGS, uplink(f_cnt, snr_db=10.0))
    _, state = pack(turn, 15, NOW_MS)
    assert state.pending
    late = uplink(20, (mc.LINK_ADR, 1, 1, 1), dr=4, sf=8, confirmed=True, snr_db=10.0)
    turn = hear(state, history, TARGET, SETTINGS, late)
    assert turn.state.tx_power == 2
    for f_cnt in range(21, 40):
        assert not hear(turn.state, history, TARGET, SETTINGS, uplink(f_cnt, snr_db=10.0)).requests
    assert hear(turn.state, history, TARGET, SETTINGS, uplink(40, snr_db=10.0)).requests


def test_receive_windows_change_with_the_answer():
    wanted = replace(TARGET, rx1_delay_s=5, rx2_dr=3)
    f_opts, sent = pack(hear(STATE, History(), wanted, SETTINGS, uplink(1)), 15, NOW_MS)
    assert [command[0] for command in mc.decode(DOWN, f_opts)[0]] == [
        mc.RX_PARAM_SETUP,
        mc.RX_TIMING,
    ]
    turn = hear(sent, History(), wanted, SETTINGS, uplink(2))
    assert (turn.state.rx1_delay_s, turn.state.rx2_dr) == (1, 0)
    answers = (mc.RX_PARAM_SETUP, 1, 1, 1), (mc.RX_TIMING,)
    turn = hear(sent, History(), wanted, SETTINGS, uplink(3, *answers))
    assert (turn.state.rx1_delay_s, turn.state.rx2_dr) == (5, 3)
    # The device repeats them until it hears something: one empty frame, and no more than one.
    assert turn.due
    assert turn.requests == ()
    again = hear(turn.state, History(), wanted, SETTINGS, uplink(4, *answers))
    assert again == Turn(turn.state, (), (), (), False)


def test_a_new_request_waits_until_the_device_stops_repeating_the_last_answer():
    state = replace(STATE, rx1_delay_s=5)
    turn = hear(state, History(), TARGET, SETTINGS, uplink(1, (mc.RX_TIMING,)))
    assert turn.requests == ()
    turn = hear(state, History(), TARGET, SETTINGS, uplink(2))
    assert turn.requests == (((mc.RX_TIMING, 1),),)


def test_a_repeated_uplink_gets_what_its_sender_has_not_heard():
    heard = uplink(1, (mc.LINK_CHECK,))
    wanted = replace(TARGET, max_duty_cycle=7)
    first, state = pack(hear(STATE, History(), wanted, SETTINGS, heard), 15, NOW_MS)
    turn = hear_again(state, heard)
    assert turn.due
    second, state = pack(turn, 15, NOW_MS)
    assert second == first
    assert [asked.attempts for asked in state.pending] == [2]
    assert not hear_again(state, uplink(1)).due


def test_an_answer_and_the_next_request_of_its_kind_are_an_uplink_apart():
    wanted = replace(TARGET, down_hz=((1, 869_100_000), (2, 869_150_000)))
    _, state = pack(hear(STATE, History(), wanted, SETTINGS, uplink(1)), 15, NOW_MS)
    turn = hear(state, History(), wanted, SETTINGS, uplink(2, (mc.DL_CHANNEL, 1, 1)))
    assert (turn.state.down_hz, turn.requests, turn.due) == (((1, 869_100_000),), (), True)
    turn = hear(turn.state, History(), wanted, SETTINGS, uplink(3))
    assert turn.requests == (((mc.DL_CHANNEL, 2, 869_150_000),),)


def test_noise_for_commands_is_read_up_to_where_it_stops_making_sense():
    heard = replace(uplink(), commands=bytes((mc.LINK_CHECK, 0x80, mc.DEVICE_TIME)))
    turn = hear(STATE, History(), TARGET, SETTINGS, heard)
    assert len(turn.answers) == 1


US915 = channel_plan.for_region(regions.by_name("US915"), 2)
BLOCK = tuple((mc.LINK_ADR, 3, 0, mask, control, 1) for mask, control in ((2, 7), (0xFF00, 0)))
REQUESTS = (
    ((mc.DEV_STATUS,),),
    BLOCK,
    ((mc.RX_PARAM_SETUP, 0, 8, 923_300_000),),
    ((mc.RX_TIMING, 5),),
)


@pytest.mark.parametrize(
    ("answers", "room", "expected"),
    [
        ((), 242, (0, 1, 3)),  # 15 octets are all that FOpts hold
        ((), 15, (0, 1, 3)),
        ((), 11, (0, 1)),
        ((), 10, (0, 2, 3)),
        ((), 5, (0, 3)),
        ((), 1, (0,)),
        ((), 0, ()),
        ((), -3, ()),
        ((b"\x02\x05\x01",), 15, (0, 1)),
        ((b"\x02\x05\x01", b"\x0d\x01\x02\x03\x04\x05"), 15, (0, 2)),
    ],
)
def test_what_fits_goes_whole_and_the_rest_waits(answers, room, expected):
    state = mac_state.fresh(Target(US915, 1, 0, 8, 923_300_000), abp=False)
    f_opts, sent = pack(Turn(state, answers, REQUESTS, (), True), room, NOW_MS)
    assert len(f_opts) <= max(0, min(15, room))
    own = b"".join(answers)
    assert f_opts.startswith(own)
    blocks = tuple(REQUESTS[at] for at in expected)
    assert f_opts[len(own) :] == b"".join(mc.encode(DOWN, block) for block in blocks)
    assert tuple(asked.block for asked in sent.pending) == blocks


def test_everything_that_a_new_device_is_asked_comes_within_a_few_uplinks():
    wanted = Target(US915, 2, 1, 10, 923_300_000, max_duty_cycle=3)
    state = mac_state.fresh(wanted, abp=True)
    history = History()
    answer: tuple[tuple[int, ...], ...] = ()
    for f_cnt in range(4):
        turn = hear(state, history, wanted, SETTINGS, uplink(f_cnt, *answer, dr=0, sf=10))
        f_opts, state = pack(turn, 15, NOW_MS)
        answer = tuple(
            (cid, *{mc.DEV_STATUS: (200, 5)}.get(cid, (1,) * verdicts))
            for cid, *_ in mc.decode(DOWN, f_opts)[0]
            for verdicts in [{mc.LINK_ADR: 3, mc.RX_PARAM_SETUP: 3}.get(cid, 0)]
        )
    assert answer == ()
    assert (state.channels, state.pending, state.refused) == (US915.mask, (), ())
    assert (state.rx1_delay_s, state.rx1_dr_offset, state.rx2_dr) == (2, 1, 10)
    assert (state.max_duty_cycle, state.battery) == (3, 200)
