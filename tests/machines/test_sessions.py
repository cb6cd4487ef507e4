"""Which session a frame belongs to, and what accepting it changes."""

import pytest
from lns_values import DEV_ADDR, session, uplink
from stoep_gateway.lns.frames import Rejected, UplinkFrameSet
from stoep_gateway.lns.sessions import Match, Sessions
from stoep_protocol.lorawan.frames import parse

OTHER_KEY = bytes(range(16))


def frame(f_cnt: int, **fields):
    return parse(uplink(f_cnt, **fields))


def test_the_first_uplink():
    known = session()
    assert Sessions([known]).match(frame(0)) == Match(known, 0, repeated=False)


def test_a_device_whose_counter_begins_at_one():
    known = session()
    assert Sessions([known]).match(frame(1)) == Match(known, 1, repeated=False)


def test_an_unknown_address():
    rejected = Sessions([session()]).match(frame(0, dev_addr=0x26000000))
    assert rejected == Rejected("unknown_dev_addr", "26000000")


def test_a_wrong_mic():
    rejected = Sessions([session()]).match(frame(0, nwk_s_key=OTHER_KEY))
    assert rejected == Rejected("mic", f"{DEV_ADDR:08x}")


@pytest.mark.parametrize(
    ("last", "f_cnt"),
    [
        (-1, 40_000),
        (10, 11),
        (10, 2000),
        (65_535, 65_536),
        (65_535, 65_540),
        (65_530, 65_536),
        (131_071, 131_072),
        (100, 65_600),
        (4_294_967_290, 4_294_967_295),
    ],
)
def test_new_counters_of_32_bits(last, f_cnt):
    known = session(f_cnt_up=last)
    assert Sessions([known]).match(frame(f_cnt)) == Match(known, f_cnt, repeated=False)


@pytest.mark.parametrize("last", [0, 10, 65_535, 65_536, 4_294_967_295])
def test_the_last_frame_once_more(last):
    known = session(f_cnt_up=last)
    assert Sessions([known]).match(frame(last)) == Match(known, last, repeated=True)


@pytest.mark.parametrize(("last", "f_cnt"), [(10, 9), (10, 0), (65_540, 65_530), (70_000, 69_000)])
def test_an_older_frame_is_a_replay(last, f_cnt):
    rejected = Sessions([session(f_cnt_up=last)]).match(frame(f_cnt))
    assert rejected == Rejected("f_cnt_replayed", "70b3d57ed0000001")


def test_a_counter_that_is_used_up():
    known = session(f_cnt_up=4_294_967_295)
    assert Sessions([known]).match(frame(0)).reason == "f_cnt_exhausted"


def test_two_devices_under_one_address_are_told_apart_by_mic():
    mine = session(1)
    other = session(2, dev_eui=bytes(8), nwk_s_key=OTHER_KEY)
    sessions = Sessions([other, mine])
    assert sessions.match(frame(5)).session is mine
    assert sessions.match(frame(5, nwk_s_key=OTHER_KEY)).session is other


def test_a_claim_moves_the_counter_and_nothing_is_accepted_twice():
    known = session(f_cnt_up=6, f_cnt_down=3)
    sessions = Sessions([known])
    claim = sessions.claim(sessions.match(frame(7)), downlink=False)
    assert claim.counters == (1, 7, 3)
    assert claim.confirmed_session is None
    assert claim.ended_sessions == ()
    assert sessions.match(frame(7)).repeated
    assert sessions.match(frame(6)).reason == "f_cnt_replayed"


def test_an_answer_takes_a_downlink_counter_with_the_claim():
    known = session(f_cnt_down=3)
    sessions = Sessions([known])
    assert sessions.claim(sessions.match(frame(0)), downlink=True).counters == (1, 0, 4)
    assert sessions.take_f_cnt_down(known) == (1, 0, 5)


def test_old_and_new_session_live_until_the_first_uplink_on_the_new_one():
    old, new = session(1, f_cnt_up=90), session(2, nwk_s_key=OTHER_KEY, confirmed=False)
    sessions = Sessions([old])
    assert sessions.begin(new) == ()
    # The accept was lost: the device goes on with the old session.
    match = sessions.match(frame(91))
    assert match.session is old
    assert sessions.claim(match, downlink=False).ended_sessions == ()
    # The next one arrives: the old session ends with the first uplink on the new one.
    match = sessions.match(frame(0, nwk_s_key=OTHER_KEY))
    assert match.session is new
    claim = sessions.claim(match, downlink=False)
    assert claim.confirmed_session == 2
    assert claim.ended_sessions == (1,)
    assert sessions.of_device(new.dev_eui) == (new,)
    assert sessions.match(frame(92)).reason == "mic"


def test_a_session_is_confirmed_once_and_then_outlives_a_join_that_fails():
    sessions = Sessions([])
    first = session(1, confirmed=False)
    sessions.begin(first)
    assert sessions.claim(sessions.match(frame(0)), downlink=False).confirmed_session == 1
    assert sessions.claim(sessions.match(frame(1)), downlink=False).confirmed_session is None
    assert sessions.begin(session(2, nwk_s_key=OTHER_KEY, confirmed=False)) == ()
    assert sessions.match(frame(2)).session is first


def test_joining_again_replaces_a_session_that_was_never_used():
    old, lost = session(1, f_cnt_up=90), session(2, confirmed=False)
    sessions = Sessions([old, lost])
    newest = session(3, confirmed=False)
    assert sessions.begin(newest) == (lost,)
    assert sessions.of_device(old.dev_eui) == (old, newest)


def test_a_forgotten_device_is_unknown():
    known = session()
    sessions = Sessions([known])
    sessions.remove(known)
    assert sessions.match(frame(0)).reason == "unknown_dev_addr"
    assert sessions.of_device(known.dev_eui) == ()


def test_an_event_id_names_device_activation_and_counter():
    assert session(5).event_id(77) == "70b3d57ed0000001-5-77"


def heard_at(received_ms: int) -> UplinkFrameSet:
    return UplinkFrameSet(b"", (), received_ms)


@pytest.mark.parametrize(
    ("after_ms", "rx1_delay_s", "why_not"),
    [
        (1_400, 1, "late_copy"),  # RX2 is not open yet: the device cannot have sent it again
        (2_100, 1, None),
        (5_400, 5, "late_copy"),
        (6_100, 5, None),
        (20 * 60_000, 1, None),  # confirmed at SF12, eight times under a duty cycle of 1 %
        (31 * 60_000, 1, "f_cnt_replayed"),
    ],
)
def test_when_the_last_frame_once_more_is_answered(after_ms, rx1_delay_s, why_not):
    known = session(f_cnt_up=7)
    known.heard = heard_at(50_000)
    assert known.answers(heard_at(50_000 + after_ms), rx1_delay_s) == why_not


def test_a_frame_is_answered_as_often_as_a_device_repeats_it_and_no_more():
    known = session(f_cnt_up=7)
    sessions = Sessions([known])
    answers = [known.answers(heard_at(10_000 * number), 1) for number in range(17)]
    assert answers == [None] * 15 + ["f_cnt_replayed"] * 2
    sessions.claim(sessions.match(frame(8)), downlink=False)
    assert known.answers(heard_at(200_000), 1) is None
