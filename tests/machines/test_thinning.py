"""What is let go of when unsent messages outgrow their room, and what never is."""

import itertools
import random
from collections import Counter

import pytest
from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.store.records import OutboxRow
from stoep_gateway.store.thinning import STEP_ROWS, Thinned, Thinner, UnsentRow

OCTETS = 100


def state(outbox_id: int, topic: str) -> UnsentRow:
    return UnsentRow(outbox_id, "bay_state", topic, 1, OCTETS)


def event(outbox_id: int, topic: str) -> UnsentRow:
    return UnsentRow(outbox_id, "bay_changed", topic, 0, OCTETS)


def thin(rows: list[UnsentRow], excess_rows: int) -> list[UnsentRow]:
    """Return what is left."""
    left = {row.outbox_id: row for row in rows}
    thinner = Thinner(rows[-1].outbox_id, excess_rows * OCTETS)
    steps = 0
    while not thinner.done:
        ahead = [row for at, row in sorted(left.items()) if at > thinner.after_id]
        for row in thinner.choose(ahead[:STEP_ROWS]):
            del left[row.outbox_id]
        steps += 1
        assert steps < 10_000
    return list(left.values())


def test_superseded_states_go_first_and_the_oldest_of_them() -> None:
    rows = [
        state(n, f"bay/{n % 10}/state") if n % 2 else event(n, f"bay/{n % 10}/event")
        for n in range(1, 2001)
    ]
    left = thin(rows, 400)
    assert len(left) == 1600
    assert sum(not row.retain for row in left) == 1000
    assert [row.outbox_id for row in left if row.retain] == list(range(801, 2001, 2))


def test_the_newest_state_of_each_topic_stays_whatever_the_excess() -> None:
    rows = [
        state(n, f"bay/{n % 700}/state") if n % 3 else event(n, f"bay/{n % 700}/event")
        for n in range(1, 5001)
    ]
    left = thin(rows, 5000)
    newest = {row.topic: row for row in rows if row.retain}
    assert left == sorted(newest.values())


def test_of_events_the_older_are_the_sparser_and_no_topic_is_left_out() -> None:
    rows = [event(n, f"bay/{n % 20}/event") for n in range(1, 8001)]
    left = thin(rows, 6000)
    assert len(left) == 2000
    of_topic = Counter(row.topic for row in left)
    assert len(of_topic) == 20
    assert max(of_topic.values()) <= 1.2 * min(of_topic.values())
    by_age = Counter((row.outbox_id - 1) // 2000 for row in left)
    assert by_age[0] <= by_age[1] <= by_age[2] <= by_age[3]
    kept = sorted(row.outbox_id for row in left)
    # Two are never more than three apart in a Thue-Morse sequence: three thinnings, 3³ times 20.
    assert max(b - a for a, b in itertools.pairwise(kept)) <= 27 * 20


def test_a_bay_that_is_taken_and_freed_in_turn_keeps_as_many_of_both() -> None:
    rows = [event(n, "bay/1/event") for n in range(4096)]
    left = thin(rows, 2048)
    assert Counter(row.outbox_id % 2 for row in left) == {0: 1024, 1: 1024}


def test_when_each_topic_has_one_event_the_oldest_go() -> None:
    rows = [event(n, f"bay/{n}/event") for n in range(1, 1001)]
    assert thin(rows, 990) == rows[990:]


def test_what_came_after_the_beginning_is_left_alone() -> None:
    thinner = Thinner(2, 5 * OCTETS)
    rows = [state(1, "a"), state(2, "b")]
    while not thinner.done:
        assert thinner.choose(rows) == []


class Stored:
    """The store's side of an outbox, with orders that are carried out in their turn."""

    def __init__(self, outbox: Outbox, page: int) -> None:
        self.rows: dict[int, OutboxRow] = {}
        self.outbox = outbox
        self.page = page
        self.orders: list[tuple[str, object]] = []

    def ask(self) -> None:
        if self.outbox.wants_thinning():
            self.delete()
            self.orders.append(("thin", self.outbox.next_step()))
        if self.outbox.wants_page():
            self.orders.append(("read", self.outbox.loaded_id))

    def delete(self) -> None:
        self.orders.append(("delete", self.outbox.collect()))

    def work(self) -> None:
        what, about = self.orders.pop(0)
        if what == "delete":
            for first, last in about:
                for outbox_id in range(first, last + 1):
                    del self.rows[outbox_id]
        elif what == "read":
            page = sorted(it for it in self.rows if it > about)[: self.page]
            self.outbox.add_page([self.rows[it] for it in page], last=len(page) < self.page)
        else:
            ahead = [it for it in sorted(self.rows) if about.after_id < it <= about.last_id]
            light = [
                UnsentRow(it, row.kind, row.topic, row.retain, row.octets)
                for it in ahead[:STEP_ROWS]
                for row in (self.rows[it],)
            ]
            chosen = about.choose(light)
            for row in chosen:
                del self.rows[row.outbox_id]
            self.outbox.thinned(
                Thinned(sum(row.octets for row in chosen), Counter(row.kind for row in chosen))
            )


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_the_count_is_right_and_each_last_state_arrives_in_order(
    seed: int,
) -> None:
    dice = random.Random(seed)
    outbox = Outbox((), 0, capacity=200, limit_octets=40_000)
    stored = Stored(outbox, page=60)
    last: dict[str, int] = {}
    arrived: list[OutboxRow] = []
    flying: list[int] = []
    newest = most = 0
    while newest < 8000 or len(outbox):
        away = newest % 4000 > 1500 and newest < 8000
        chance = dice.random()
        if chance < 0.4 and newest < 8000:
            new = []
            for _ in range(dice.randint(1, 30)):
                newest += 1
                place, retain = dice.randrange(30), dice.random() < 0.6
                topic = f"bay/{place}/{'state' if retain else 'event'}"
                new.append(OutboxRow(newest, "k", topic, b"x" * 50, int(retain), newest))
                if retain:
                    last[topic] = newest
            stored.rows.update((row.outbox_id, row) for row in new)
            outbox.add(new)
        elif chance < 0.42 or away:
            outbox.disconnected()
            flying.clear()
        elif chance < 0.7:
            for outbox_id in flying[: dice.randint(1, 40)]:
                outbox.acknowledge(outbox_id)
                flying.remove(outbox_id)
            stored.delete()
        else:
            taken = outbox.take(dice.randint(1, 25))
            arrived += taken
            flying += [row.outbox_id for row in taken]
        stored.ask()
        for _ in range(dice.randint(0, 3)):
            if stored.orders:
                stored.work()
        if not stored.orders and not outbox.acknowledged:
            assert len(outbox) == len(stored.rows)
            assert outbox.octets == sum(row.octets for row in stored.rows.values())
            most = max(most, outbox.octets)
    while stored.orders:
        stored.work()
    assert not stored.rows
    assert outbox.octets == 0
    assert outbox.oldest_utc_ms is None
    assert most < 60_000  # in the middle of a burst; without thinning it is ten times that
    first_seen = list(dict.fromkeys(row.outbox_id for row in arrived))
    for topic, outbox_id in last.items():
        assert outbox_id in first_seen
        of_topic = list(dict.fromkeys(row.outbox_id for row in arrived if row.topic == topic))
        assert of_topic == sorted(of_topic)


def test_depth_octets_and_age_are_told() -> None:
    outbox = Outbox((), 0)
    assert (len(outbox), outbox.octets, outbox.oldest_utc_ms) == (0, 0, None)
    rows = [OutboxRow(n, "k", "topic", b"12345", 0, 1000 + n) for n in range(1, 4)]
    outbox.add(rows)
    assert (len(outbox), outbox.octets, outbox.oldest_utc_ms) == (3, 150, 1001)
    outbox.take(2)
    outbox.acknowledge(1)
    assert (len(outbox), outbox.octets, outbox.oldest_utc_ms) == (2, 100, 1002)
    outbox.acknowledge(2)
    assert (len(outbox), outbox.octets, outbox.oldest_utc_ms) == (1, 50, 1003)


def test_a_restart_knows_what_the_store_holds() -> None:
    rows = [OutboxRow(n, "k", "topic", b"12345", 0, 1000 + n) for n in (7, 9)]
    outbox = Outbox(rows, 40, depth=5, octets=250, limit_octets=200)
    assert (len(outbox), outbox.octets, outbox.oldest_utc_ms) == (5, 250, 1007)
    assert outbox.wants_thinning()
    assert outbox.next_step().after_id == 6
    assert (outbox.oldest_utc_ms, outbox.take(5)) == (1007, [])
