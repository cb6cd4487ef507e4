"""Which uplinks of another network server are taken: redelivery, gaps and new sessions."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.integrations import ledger
from stoep_gateway.integrations.events import SourceEvent, SourceUplink
from stoep_gateway.integrations.ledger import Claim, Ledger
from stoep_gateway.lns.frames import Rejected

DEV_EUI = bytes.fromhex("70b3d57ed0001a2b")
MINUTE_MS = 60_000
FIRST_MS = 1_772_366_400_000


def uplink(
    f_cnt: int, *, minute: float | None = None, session: str = "01a2b3c4", key: str = ""
) -> SourceUplink:
    heard = FIRST_MS + round(MINUTE_MS * (f_cnt if minute is None else minute))
    return SourceUplink(
        source_id="ns",
        dev_eui=DEV_EUI,
        event_key=key or f"{session}-{f_cnt}-{heard}",
        session=session,
        f_cnt_up=f_cnt,
        f_port=10,
        frm_payload=b"",
        confirmed=False,
        dr=5,
        sf=7,
        bw_hz=125_000,
        freq_hz=868_100_000,
        receptions=(),
        heard_utc_ms=heard,
        received_utc_ms=heard,
        device_id="market-1",
    )


def join(session: str, minute: float, key: str = "") -> SourceEvent:
    heard = FIRST_MS + round(MINUTE_MS * minute)
    return SourceEvent("ns", "join", DEV_EUI, key or f"join-{minute}", session, heard, heard)


def take(book: Ledger, *events: SourceUplink | SourceEvent) -> list[Claim | Rejected]:
    return [
        book.joined(event) if isinstance(event, SourceEvent) else book.claim(event)
        for event in events
    ]


def lost(claims) -> list[int]:
    return [claim.lost for claim in claims]


def test_uplinks_in_order():
    claims = take(Ledger(), *(uplink(n) for n in (5, 6, 7)))
    assert lost(claims) == [0, 0, 0]  # nobody knows what came before the first
    assert {claim.session_number for claim in claims} == {1}
    assert not any(claim.restarted or claim.late for claim in claims)


def test_a_gap_is_told():
    assert lost(take(Ledger(), uplink(5), uplink(9))) == [0, 3]


def test_an_event_that_comes_again_is_not_taken_again():
    book = Ledger()
    take(book, uplink(5), uplink(6), uplink(7))
    for n in (5, 6, 7):
        assert book.claim(uplink(n)) == Rejected("repeated_uplink", DEV_EUI.hex())
    assert lost(take(book, uplink(8))) == [0]


def test_a_whole_backlog_that_comes_again_is_not_taken_again():
    book = Ledger()
    backlog = [uplink(n) for n in range(1000)]
    assert lost(take(book, *backlog)) == [0] * 1000
    assert {type(one) for one in take(book, *backlog)} == {Rejected}


def test_what_is_stored_knows_as_much():
    book = Ledger()
    claims = take(book, uplink(3), join("0bad", 4), uplink(1, minute=5, session="0bad"))
    again = Ledger([("ns", DEV_EUI, ledger.loads(claims[-1].state))])
    for one in (uplink(3), uplink(1, minute=5, session="0bad")):
        assert again.claim(one).reason == "repeated_uplink"
    assert again.joined(join("0bad", 4)).reason == "repeated_join"
    assert again.device_id("ns", DEV_EUI) == "market-1"
    assert again.dev_eui("ns", "market-1") == book.dev_eui("ns", "market-1") == DEV_EUI
    assert again.dev_eui("other", "market-1") == again.dev_eui("ns", "") == b""
    (claim,) = take(again, uplink(4, minute=6, session="0bad"))
    assert (claim.lost, claim.session_number) == (2, 2)
    assert claim.state == book.claim(uplink(4, minute=6, session="0bad")).state


def test_a_source_knows_nothing_of_anothers_device():
    book = Ledger()
    take(book, uplink(5))
    other = replace(uplink(5), source_id="other")
    assert isinstance(book.claim(other), Claim)
    assert book.device_id("third", DEV_EUI) == ""


def test_a_retransmission_is_repeated():
    book = Ledger()
    take(book, uplink(5))
    again = uplink(5, minute=5.1, key="another")
    assert book.claim(again).reason == "repeated_uplink"


@pytest.mark.parametrize("again", [0, 3, 5])
def test_a_personalised_device_that_begins_again(again):
    book = Ledger()
    take(book, *(uplink(n) for n in range(6)))
    claims = take(book, uplink(again, minute=60), uplink(again + 1, minute=61))
    assert [claim.session_number for claim in claims] == [2, 2]
    assert [claim.restarted for claim in claims] == [True, False]
    # And what was delivered before the restart is not taken again.
    assert book.claim(uplink(5)).reason == "repeated_uplink"
    assert book.claim(uplink(again, minute=60)).reason == "repeated_uplink"


def test_an_uplink_that_was_overtaken():
    book = Ledger()
    (_, claim, late) = take(book, uplink(5), uplink(7), uplink(6))
    assert (claim.lost, claim.late) == (1, False)
    assert (late.lost, late.late, late.session_number) == (0, True, 1)
    assert book.claim(uplink(6)).reason == "repeated_uplink"
    assert lost(take(book, uplink(8))) == [0]


def test_a_join_begins_a_session():
    claims = take(
        Ledger(),
        uplink(900, minute=1),
        join("0bad", 2),
        uplink(0, minute=3, session="0bad"),
        uplink(1, minute=4, session="0bad"),
    )
    assert [claim.session_number for claim in claims] == [1, 2, 2, 2]
    assert lost(claims) == [0, 0, 0, 0]
    assert not any(claim.restarted for claim in claims)


def test_uplinks_lost_after_a_join_are_told():
    assert lost(take(Ledger(), join("0bad", 0), uplink(4, session="0bad")))[-1] == 4


@pytest.mark.parametrize("first", [0, 1])
def test_device_stacks_count_from_0_or_1(first):
    assert lost(take(Ledger(), join("0bad", 0), uplink(first, session="0bad"))) == [0, 0]


def test_a_join_with_the_address_it_had():
    book = Ledger()
    claims = take(book, join("0bad", 0), uplink(0, session="0bad"), uplink(1, session="0bad"))
    assert [claim.session_number for claim in claims] == [1, 1, 1]
    claims = take(book, join("0bad", 9), uplink(0, minute=9.1, session="0bad"))
    assert [claim.session_number for claim in claims] == [2, 2]
    assert lost(claims) == [0, 0]


def test_a_session_whose_join_was_lost():
    claims = take(Ledger(), uplink(900, minute=1), uplink(3, minute=9, session="0bad"))
    assert claims[-1].restarted
    assert (claims[-1].lost, claims[-1].session_number) == (3, 2)


def test_the_first_uplink_may_overtake_its_join():
    book = Ledger()
    claims = take(
        book,
        uplink(900, minute=1),
        uplink(0, minute=9, session="0bad"),
        join("0bad", 8.9),
        uplink(1, minute=10, session="0bad"),
    )
    assert [claim.session_number for claim in claims] == [1, 2, 2, 2]
    assert lost(claims) == [0, 0, 0, 0]
    assert book.joined(join("0bad", 8.9)).reason == "repeated_join"


def test_an_uplink_of_the_old_session_may_come_after_the_join():
    book = Ledger()
    claims = take(
        book, uplink(8), join("0bad", 10), uplink(9), uplink(0, minute=11, session="0bad")
    )
    assert [claim.session_number for claim in claims] == [1, 2, 1, 2]
    assert lost(claims) == [0, 0, 0, 0]


def test_the_same_address_after_another_is_a_new_session():
    book = Ledger()
    take(book, uplink(8), uplink(0, minute=10, session="0bad"))
    (claim,) = take(book, uplink(9, minute=20))
    assert (claim.session_number, claim.restarted) == (3, True)


def test_a_counter_beyond_16_bits():
    assert lost(take(Ledger(), uplink(0xFFFF, minute=0), uplink(0x10000, minute=1))) == [0, 0]


@pytest.mark.parametrize(
    "state", ["", "{}", "[]", "[1,2]", '["a",[[1]]]', '["a",[["s",1,0,0,0,[1]]]]', "null", '["a"]']
)
def test_a_state_that_cannot_be_read(state):
    with pytest.raises(ValueError, match="not a device's standing"):
        ledger.loads(state)


def test_a_state_stays_small():
    book = Ledger()
    for n in range(4_000_000_000, 4_000_000_100):
        claim = book.claim(uplink(n, minute=n - 4_000_000_000, session="AXA50tHUGUucuzS/bCGMNw=="))
    assert len(claim.state) < 500


@given(st.integers(0, 2**32), st.integers(1, 40), st.booleans())
def test_every_uplink_is_taken_once_whatever_the_broker_repeats(seed, redelivered, personalised):
    """A device begins again now and then; after a crash the last events come again."""
    dice = random.Random(seed)
    sent: list[SourceUplink | SourceEvent] = []
    session, f_cnt, gaps, missing = 0, 0, 0, 0
    for minute in range(300):
        if f_cnt > redelivered + 5 and dice.random() < 0.05:
            session, f_cnt, missing = session + (not personalised), 0, 0
            if not personalised:
                sent.append(join(f"session-{session}", minute - 0.5))
        if not sent or f_cnt < 2 or dice.random() < 0.9:
            sent.append(uplink(f_cnt, minute=minute, session=f"session-{session}"))
            gaps, missing = gaps + missing, 0
        else:
            missing += 1
        f_cnt += 1
    book, at, taken, told = Ledger(), 0, [], 0
    stored, unacknowledged = "", 0
    while at < len(sent):
        (claim,) = take(book, sent[at])
        if isinstance(claim, Claim):
            taken.append(sent[at])
            told += claim.lost
            stored = claim.state
        at += 1
        unacknowledged = max(unacknowledged, at - redelivered)
        if dice.random() < 0.05:  # a crash: memory is gone, the broker repeats
            book = Ledger([("ns", DEV_EUI, ledger.loads(stored))])
            at = dice.randint(unacknowledged, at)
    assert taken == sent
    assert told == gaps
