"""Downlinks that wait: what goes next, and how each one ends, once."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.queue import MAX_ATTEMPTS, MAX_QUEUED, DownlinkQueue, Ended, Queued

EUI = bytes.fromhex("70b3d57ed0000001")
OTHER = bytes.fromhex("70b3d57ed0000002")


def one(downlink_id=1, dev_eui=EUI, **fields):
    return Queued(downlink_id, dev_eui, 10, b"x", **fields)


def queue(*items):
    made = DownlinkQueue()
    for item in items:
        assert made.add(item) is None
    return made


def take(made, dev_eui=EUI, utc_ms=0):
    return made.take(made.ready(dev_eui, utc_ms)[0])


def test_priority_then_age():
    made = queue(one(1), one(2, priority=-1), one(3, priority=5), one(4, priority=5), one(5))
    assert [item.downlink_id for item in made.ready(EUI, 0)] == [3, 4, 1, 5, 2]


def test_each_device_has_a_queue_of_its_own():
    made = queue(one(1), one(2, OTHER))
    take(made)
    assert made.ready(EUI, 0) == ()
    assert [item.downlink_id for item in made.ready(OTHER, 0)] == [2]
    assert made.dev_euis() == [OTHER]


def test_nothing_is_ready_while_one_is_on_its_way():
    made = queue(one(1), one(2))
    tried = take(made)
    assert tried == one(1, attempts=1)
    assert made.ready(EUI, 0) == ()
    assert made.on_its_way(EUI) == tried
    assert made.of_device(EUI) == (tried, one(2))
    assert made.transmitted(EUI, 1, "") == Ended(tried, "sent")
    assert made.ready(EUI, 0) == (one(2),)


def test_another_than_the_first_may_be_taken():
    made = queue(one(1), one(2))
    made.take(one(2))
    assert made.of_device(EUI) == (one(2, attempts=1), one(1))


def test_a_full_queue():
    made = queue(*(one(number) for number in range(MAX_QUEUED)))
    take(made)
    assert made.add(one(MAX_QUEUED)) == Rejected("queue_full", EUI.hex())
    assert made.add(one(MAX_QUEUED, OTHER)) is None
    made.transmitted(EUI, 0, "")
    assert made.add(one(MAX_QUEUED + 1)) is None


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_refusal_is_tried_again_and_ends_in_time(confirmed):
    made = queue(one(1, confirmed=confirmed))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        take(made)
        ended = made.transmitted(EUI, 1, "TOO_LATE")
        assert (ended.outcome, ended.reason) == ("refused", "TOO_LATE")
        assert ended.queued.attempts == attempt
        assert ended.again == (attempt < MAX_ATTEMPTS)
    assert made.of_device(EUI) == ()


@pytest.mark.parametrize(
    ("events", "outcomes"),
    [
        ("sent ack", ["acknowledged"]),
        ("ack", ["acknowledged"]),  # the device was faster than the gateway's answer
        ("ack sent", ["acknowledged"]),
        ("none sent none", ["unacknowledged again"]),
        ("sent none take sent ack", ["unacknowledged again", "acknowledged"]),
        ("sent none take none", ["unacknowledged again"]),
        (
            "sent none take refused take ack",
            ["unacknowledged again", "refused again", "acknowledged"],
        ),
        ("refused ack", ["refused again"]),  # of what may that be an acknowledgement
        ("sent sent ack ack", ["acknowledged"]),
        ("sent flush ack", ["flushed"]),
        ("flush sent", ["flushed"]),
    ],
)
def test_the_ways_of_a_confirmed_downlink(events, outcomes):
    made = queue(one(1, confirmed=True))
    take(made)
    told = []
    for event in events.split():
        if event == "take":
            take(made)
            continue
        if event == "flush":
            told += made.flush(EUI)
            continue
        told.append(
            made.transmitted(EUI, 1, "" if event == "sent" else "TX_FREQ")
            if event in ("sent", "refused")
            else made.heard(EUI, ack=event == "ack")
        )
    assert [
        ended.outcome + " again" * ended.again for ended in told if ended is not None
    ] == outcomes


def test_an_uplink_says_nothing_of_an_unconfirmed_downlink():
    made = queue(one(1))
    take(made)
    assert made.heard(EUI, ack=True) is None
    assert made.heard(EUI, ack=False) is None
    assert made.transmitted(EUI, 1, "").outcome == "sent"


def test_what_is_said_of_another_downlink_changes_nothing():
    made = queue(one(1, confirmed=True), one(2))
    tried = take(made)
    for what in (
        made.transmitted(EUI, 2, ""),
        made.transmitted(OTHER, 1, ""),
        made.acknowledged(EUI, 2),
        made.unacknowledged(EUI, 2),
        made.heard(OTHER, ack=True),
    ):
        assert what is None
    assert made.on_its_way(EUI) == tried


def test_what_never_left_was_no_attempt():
    made = queue(one(1))
    tried = take(made)
    made.put_back(tried)
    assert made.ready(EUI, 0) == (one(1),)
    made.put_back(tried)
    assert made.of_device(EUI) == (one(1),)


def test_expiry():
    made = queue(one(1, expires_utc_ms=100), one(2), one(3, expires_utc_ms=50))
    assert made.next_expiry() == 50
    assert made.expire(49) == []
    assert made.expire(50) == [Ended(one(3, expires_utc_ms=50), "expired")]
    assert made.next_expiry() == 100
    assert made.ready(EUI, 99)[0].downlink_id == 1
    assert made.ready(EUI, 100) == (one(2),)
    assert [ended.queued.downlink_id for ended in made.expire(1000)] == [1]
    assert made.next_expiry() is None


def test_what_is_on_its_way_does_not_expire_but_it_is_not_sent_again_either():
    made = queue(one(1, expires_utc_ms=100))
    take(made)
    assert made.expire(200) == []
    assert made.transmitted(EUI, 1, "TOO_LATE").again
    assert made.ready(EUI, 200) == ()
    assert made.next_expiry() == 100
    (ended,) = made.expire(200)
    assert (ended.outcome, ended.queued.attempts) == ("expired", 1)


def test_a_device_all_of_whose_downlinks_have_expired():
    made = queue(one(1, expires_utc_ms=1))
    made.expire(1)
    assert made.dev_euis() == []
    assert made.flush(EUI) == []


def test_what_was_stored_is_tried_again():
    made = DownlinkQueue([one(2, attempts=1), one(1), one(3, OTHER, expires_utc_ms=7)])
    assert made.of_device(EUI) == (one(1), one(2, attempts=1))
    assert made.next_expiry() == 7


class QueueMachine(RuleBasedStateMachine):
    """Against a model of plain lists: what waits, what is on its way, how each one has ended."""

    @initialize(stored=st.lists(st.booleans(), max_size=3))
    def begin(self, stored):
        self.utc_ms = 1000
        self.last_id = 0
        self.waiting = {}
        self.way = {}  # by device: [downlink, transmitted]
        self.ended = {}
        rows = [self.fresh(confirmed, 0, None, EUI) for confirmed in stored]
        self.waiting = {row.downlink_id: row for row in rows}
        self.made = DownlinkQueue(rows)

    def fresh(self, confirmed, priority, expires_ms, dev_eui):
        self.last_id += 1
        expires = None if expires_ms is None else self.utc_ms + expires_ms
        return one(
            self.last_id,
            dev_eui,
            confirmed=confirmed,
            priority=priority,
            expires_utc_ms=expires,
        )

    def order(self, dev_eui):
        mine = [item for item in self.waiting.values() if item.dev_eui == dev_eui]
        return sorted(mine, key=lambda item: (-item.priority, item.downlink_id))

    def live(self, dev_eui):
        return [
            item
            for item in self.order(dev_eui)
            if item.expires_utc_ms is None or item.expires_utc_ms > self.utc_ms
        ]

    def take_end(self, ended):
        """Check an end and take it into the model."""
        item = ended.queued
        assert item.downlink_id not in self.ended
        if ended.again:
            assert item.attempts < MAX_ATTEMPTS
            assert ended.outcome in ("refused", "unacknowledged")
            self.waiting[item.downlink_id] = item
        else:
            self.ended[item.downlink_id] = ended.outcome

    def off_the_way(self, dev_eui, ended, outcome):
        item, _ = self.way.pop(dev_eui)
        assert ended.queued == item
        assert ended.outcome == outcome
        if outcome in ("refused", "unacknowledged"):
            assert ended.again == (item.attempts < MAX_ATTEMPTS)
        self.take_end(ended)

    euis = st.sampled_from([EUI, OTHER])

    @rule(
        dev_eui=euis,
        confirmed=st.booleans(),
        priority=st.integers(-1, 1),
        expires_ms=st.none() | st.integers(0, 50),
    )
    def add(self, dev_eui, confirmed, priority, expires_ms):
        item = self.fresh(confirmed, priority, expires_ms, dev_eui)
        assert self.made.add(item) is None
        self.waiting[item.downlink_id] = item

    @rule(dev_eui=euis, which=st.integers(0, 3))
    def take(self, dev_eui, which):
        ready = self.made.ready(dev_eui, self.utc_ms)
        assert list(ready) == ([] if dev_eui in self.way else self.live(dev_eui))
        if ready:
            item = ready[which % len(ready)]
            tried = self.made.take(item)
            assert tried == replace(item, attempts=item.attempts + 1)
            del self.waiting[item.downlink_id]
            self.way[dev_eui] = [tried, False]

    @precondition(lambda self: self.way)
    @rule(data=st.data(), error=st.sampled_from(["", "", "TOO_LATE"]))
    def transmitted(self, data, error):
        dev_eui = data.draw(st.sampled_from(sorted(self.way)))
        item = self.way[dev_eui][0]
        ended = self.made.transmitted(dev_eui, item.downlink_id, error)
        if error:
            self.off_the_way(dev_eui, ended, "refused")
        elif item.confirmed:
            assert ended is None
            self.way[dev_eui][1] = True
        else:
            self.off_the_way(dev_eui, ended, "sent")

    @rule(dev_eui=euis, ack=st.booleans())
    def heard(self, dev_eui, ack):
        ended = self.made.heard(dev_eui, ack=ack)
        item, transmitted = self.way.get(dev_eui, (None, False))
        if item is not None and ack and item.confirmed:
            self.off_the_way(dev_eui, ended, "acknowledged")
        elif item is not None and not ack and transmitted:
            self.off_the_way(dev_eui, ended, "unacknowledged")
        else:
            assert ended is None

    @precondition(lambda self: self.way)
    @rule(data=st.data())
    def put_back(self, data):
        dev_eui = data.draw(st.sampled_from(sorted(self.way)))
        item, _ = self.way.pop(dev_eui)
        self.made.put_back(item)
        self.waiting[item.downlink_id] = replace(item, attempts=item.attempts - 1)

    @rule(ms=st.integers(-20, 60))
    def time_is_set_or_passes(self, ms):
        self.utc_ms += ms

    @rule()
    def expire(self):
        due = {
            item.downlink_id
            for item in self.waiting.values()
            if item.expires_utc_ms is not None and item.expires_utc_ms <= self.utc_ms
        }
        ended = self.made.expire(self.utc_ms)
        assert {end.queued.downlink_id for end in ended} == due
        for end in ended:
            assert end == Ended(self.waiting.pop(end.queued.downlink_id), "expired")
            self.take_end(end)

    @rule(dev_eui=euis)
    def flush(self, dev_eui):
        expected = list(self.made.of_device(dev_eui))
        ended = self.made.flush(dev_eui)
        assert [end.queued for end in ended] == expected
        self.way.pop(dev_eui, None)
        for end in ended:
            self.waiting.pop(end.queued.downlink_id, None)
            assert end.outcome == "flushed"
            self.take_end(end)

    @rule()
    def begin_anew_from_what_is_stored(self):
        rows = [*self.waiting.values(), *(item for item, _ in self.way.values())]
        self.waiting = {row.downlink_id: row for row in rows}
        self.way = {}
        self.made = DownlinkQueue(rows)

    @invariant()
    def nothing_is_lost_and_nothing_is_there_twice(self):
        if not hasattr(self, "made"):
            return
        for dev_eui in (EUI, OTHER):
            way = [self.way[dev_eui][0]] if dev_eui in self.way else []
            assert list(self.made.of_device(dev_eui)) == way + self.order(dev_eui)
        assert sorted(self.made.dev_euis()) == sorted(
            {item.dev_eui for item in self.waiting.values()}
        )
        expiries = [
            item.expires_utc_ms for item in self.waiting.values() if item.expires_utc_ms is not None
        ]
        if expiries:
            assert self.made.next_expiry() <= min(expiries)
        known = {*self.waiting, *self.ended, *(item.downlink_id for item, _ in self.way.values())}
        assert known == set(range(1, self.last_id + 1))


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
