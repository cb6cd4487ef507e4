"""What waits for a context broker, and what becomes of it after each of its answers."""

import json

import pytest
from stoep_gateway.integrations.context_backlog import Answer, Backlog, answer
from stoep_gateway.publish.ngsi_ld import Entity
from stoep_gateway.store.records import ContextRow

MINUTE_MS = 60_000
FAILED = Answer(problem="it answered 500")
MALFORMED = Answer(problem="it answered 400", is_ours=True)


def row(name, version=1):
    return ContextRow(name, "container_state", b"{}", version)


def make(it):
    return [Entity("s", "Device", it.topic, {})]


def urn(name):
    return f"urn:ngsi-ld:Device:s:{name}"


def topics(batch):
    return [it.topic for it in batch.rows]


def test_only_the_newest_of_a_topic_waits():
    backlog = Backlog([row("a"), row("b")], 10)
    for version in range(2, 1000):
        backlog.add(row("a", version))
    assert len(backlog) == 2
    batch = backlog.batch(0, make)
    assert [(it.topic, it.version) for it in batch.rows] == [("a", 999), ("b", 1)]
    assert list(batch.entities) == [urn("a"), urn("b")]
    assert backlog.settle(batch, Answer(), 0) == [row("a", 999), row("b", 1)]
    assert not backlog.due(0)


def test_what_came_while_the_broker_was_asked_still_waits():
    backlog = Backlog([row("a")], 10)
    batch = backlog.batch(0, make)
    backlog.add(row("a", 2))
    assert backlog.settle(batch, Answer(), 0) == [row("a")]
    assert list(backlog.batch(0, make).rows) == [row("a", 2)]


def test_batches_are_bounded_and_told_in_the_order_of_the_rows():
    backlog = Backlog([row(str(number)) for number in range(7)], 3)
    told = []
    while backlog.due(0):
        batch = backlog.batch(0, make)
        assert len(batch.entities) <= 3
        told += backlog.settle(batch, Answer(), 0)
    assert [it.topic for it in told] == [str(number) for number in range(7)]


def test_an_entity_of_two_rows_is_told_once():
    backlog = Backlog([row("a"), row("b")], 10)
    batch = backlog.batch(0, lambda it: [*make(it), Entity("s", "OnStreetParking", "x", {})])
    assert len(batch.entities) == 3
    refused = {"urn:ngsi-ld:OnStreetParking:s:x": "no"}
    assert backlog.settle(batch, Answer(refused), 0) == []  # both are told of again


def test_after_a_failure_all_of_it_waits():
    backlog = Backlog([row("a"), row("b")], 10)
    batch = backlog.batch(0, make)
    assert backlog.settle(batch, FAILED, 0) == []
    assert topics(backlog.batch(0, make)) == ["a", "b"]


def test_a_refused_entity_waits_longer_and_longer_and_holds_up_nobody():
    backlog = Backlog([row("bad"), row("good")], 10)
    told = backlog.settle(backlog.batch(0, make), Answer({urn("bad"): "no"}), 0)
    assert told == [row("good")]
    now = 0
    pauses = []
    for _ in range(9):
        assert not backlog.due(now)
        due = backlog.next_ms()
        pauses.append((due - now) // MINUTE_MS)
        assert not backlog.due(due - 1)
        now = due
        batch = backlog.batch(now, make)
        assert topics(batch) == ["bad"]
        backlog.settle(batch, Answer({urn("bad"): "no"}), now)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 360, 360]
    backlog.add(row("bad", 2))
    assert backlog.due(now)  # a newer one may be better
    assert backlog.next_ms() is None
    backlog.settle(backlog.batch(now, make), Answer(), now)
    assert len(backlog) == 0


def test_whose_fault_a_refused_request_is_is_found_out():
    backlog = Backlog([row(str(number)) for number in range(64)], 64)
    told, requests = set(), 0
    while backlog.due(0):
        batch = backlog.batch(0, make)
        requests += 1
        bad = {"17", "40"} & set(topics(batch))
        told |= {it.topic for it in backlog.settle(batch, MALFORMED if bad else Answer(), 0)}
    assert told == {str(number) for number in range(64)} - {"17", "40"}
    assert requests < 40
    assert len(backlog) == 2


ASKED = ("urn:a", "urn:b")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"", Answer()),
        (201, b'["urn:a"]', Answer()),
        (204, b"", Answer()),
        (
            207,
            json.dumps(
                {
                    "success": ["urn:a"],
                    "errors": [
                        {
                            "entityId": "urn:b",
                            "error": {"title": "Bad", "detail": "no\nsuch \x1b[2J attribute"},
                        }
                    ],
                }
            ).encode(),
            Answer({"urn:b": "Bad: no such [2J attribute"}),
        ),
        (207, b'{"errors": [{"entityId": "urn:b"}]}', Answer({"urn:b": ""})),
        (400, b'{"title": "Invalid"}', Answer(problem="it answered 400: Invalid", is_ours=True)),
        (400, b"<html>", Answer(problem="it answered 400", is_ours=True)),
        (413, b"[]", Answer(problem="it answered 413", is_ours=True)),
        (302, b"", Answer(problem="it answered 302")),
        (404, b"", Answer(problem="it answered 404")),
        (500, b'"out of memory"', Answer(problem="it answered 500: out of memory")),
    ],
)
def test_answers(status, body, expected):
    assert answer(status, body, ASKED) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"errors": []}',
        b'{"errors": [1]}',
        b'{"errors": {"entityId": 1}}',
        b'{"errors": [{"entityId": "urn:z"}]}',
        b'{"errors": [{"entityId": null}]}',
    ],
)
def test_a_partial_answer_that_names_nobody_is_none(body):
    assert answer(207, body, ASKED).problem is not None


def test_a_wrong_token_is_explained():
    for status in (401, 403):
        assert "token_file" in str(answer(status, b"", ASKED).problem)
