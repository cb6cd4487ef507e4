"""The outbox's order, in flight and over lost connections; the store beyond its memory."""

import random

from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.store.records import OutboxRow


def rows(first: int, last: int) -> list[OutboxRow]:
    return [OutboxRow(n, "k", f"topic/{n % 3}", b"{}", 0, 0) for n in range(first, last + 1)]


def ids(taken: list[OutboxRow]) -> list[int]:
    return [row.outbox_id for row in taken]


def test_rows_go_out_in_their_order_once():
    outbox = Outbox((), 0)
    outbox.add(rows(1, 3))
    outbox.add(rows(4, 5))
    assert ids(outbox.take(4)) == [1, 2, 3, 4]
    assert ids(outbox.take(4)) == [5]
    assert outbox.take(4) == []
    assert outbox.in_flight == 5
    assert len(outbox) == 5


def test_only_what_the_broker_has_is_deleted():
    outbox = Outbox((), 0)
    outbox.add(rows(1, 6))
    outbox.take(6)
    for outbox_id in (2, 1, 5, 3):
        outbox.acknowledge(outbox_id)
    assert outbox.acknowledged == 4
    assert outbox.collect() == ((1, 3), (5, 5))
    assert outbox.collect() == ()
    assert len(outbox) == 2


def test_an_acknowledgement_of_nothing_in_flight_is_ignored():
    outbox = Outbox((), 0)
    outbox.add(rows(1, 1))
    outbox.acknowledge(1)
    outbox.acknowledge(99)
    assert outbox.collect() == ()
    assert len(outbox) == 1


def test_after_a_lost_connection_all_in_flight_go_again_before_the_rest():
    outbox = Outbox((), 0)
    outbox.add(rows(1, 5))
    outbox.take(4)
    outbox.acknowledge(2)
    outbox.disconnected()
    assert outbox.in_flight == 0
    assert ids(outbox.take(9)) == [1, 3, 4, 5]


def test_a_restart_begins_with_what_the_store_holds():
    outbox = Outbox(rows(7, 9), 9)
    assert ids(outbox.take(9)) == [7, 8, 9]
    outbox.add(rows(10, 10))
    assert ids(outbox.take(9)) == [10]


def test_a_restart_with_more_in_the_store_than_one_page():
    outbox = Outbox(rows(1, 4), 10, capacity=4)
    assert len(outbox) == 10
    assert not outbox.wants_page()
    outbox.add(rows(11, 12))
    assert ids(outbox.take(3)) == [1, 2, 3]
    assert outbox.wants_page()
    assert not outbox.wants_page()
    assert outbox.loaded_id == 4
    outbox.add_page(rows(5, 8))
    assert ids(outbox.take(9)) == [4, 5, 6, 7, 8]
    assert outbox.wants_page()
    outbox.add_page(rows(9, 12))
    assert not outbox.wants_page()
    assert ids(outbox.take(9)) == [9, 10, 11, 12]
    outbox.add(rows(13, 13))  # memory and store are level again: no detour
    assert ids(outbox.take(9)) == [13]


def test_an_outage_keeps_memory_small_and_loses_nothing():
    outbox = Outbox((), 0, capacity=10)
    outbox.add(rows(1, 500))
    assert len(outbox) == 500
    assert len(outbox.take(500)) == 10


def test_a_page_that_overlaps_what_came_meanwhile():
    outbox = Outbox((), 0, capacity=4)
    outbox.add(rows(1, 6))
    outbox.take(4)
    assert outbox.wants_page()
    outbox.add(rows(7, 8))  # committed before the page is read, so they are in it, too
    outbox.add_page(rows(5, 8))
    assert ids(outbox.take(9)) == [5, 6, 7, 8]
    outbox.add(rows(9, 9))
    assert ids(outbox.take(9)) == [9]


def test_whatever_happens_every_row_arrives_and_each_topic_keeps_its_order():
    dice = random.Random(5)
    outbox = Outbox((), 0, capacity=20)
    stored: dict[int, OutboxRow] = {}
    arrived: list[int] = []
    flying: list[int] = []
    newest = 0
    while newest < 3000 or stored:
        event = dice.random()
        if event < 0.3 and newest < 3000:
            new = rows(newest + 1, newest + dice.randint(1, 30))
            newest = new[-1].outbox_id
            stored.update((row.outbox_id, row) for row in new)
            outbox.add(new)
        elif event < 0.33:
            outbox.disconnected()
            flying.clear()
        elif event < 0.6 and flying:
            for outbox_id in flying[: dice.randint(1, 40)]:
                outbox.acknowledge(outbox_id)
                flying.remove(outbox_id)
            for first, last in outbox.collect():
                for outbox_id in range(first, last + 1):
                    del stored[outbox_id]
        else:
            taken = ids(outbox.take(dice.randint(1, 25)))
            assert taken == sorted(taken)
            flying += taken
            arrived += taken
        if outbox.wants_page():
            page = sorted(outbox_id for outbox_id in stored if outbox_id > outbox.loaded_id)[:15]
            outbox.add_page([stored[outbox_id] for outbox_id in page])
    first_seen = list(dict.fromkeys(arrived))
    assert first_seen == list(range(1, newest + 1))
    assert len(outbox) == 0
