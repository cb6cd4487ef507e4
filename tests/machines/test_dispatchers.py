"""Who may decide of rounds over MQTT, how often, and what he is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_road import NOW, town
from stoep_gateway.config import Config
from stoep_gateway.config_dispatch import DispatcherConfig, read_dispatchers, token_of
from stoep_gateway.errors import FatalError
from stoep_gateway.planning.dispatch import Answer, Decision, Dispatch, Word
from stoep_gateway.planning.dispatchers import Command, Dispatchers, Refusal, answer_message
from stoep_gateway.reloading import needs_restart
from street import checked

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
SAID = {"token": TOKEN, "id": "1", "action": "include", "container": "c1", "date": "2026-10-20"}


@pytest.fixture
def dispatchers() -> Dispatchers:
    return Dispatchers("town", {"office": TOKEN, "driver-1": OTHER})


def read(
    dispatchers: Dispatchers,
    said: object,
    topic: str = "stoep/v1/town/plan/office/command",
    now_ms: int = 0,
    **more: Any,
) -> Command | Refusal:
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    return dispatchers.read(topic, payload, now_ms, **{"retained": False} | more)


def test_a_command(dispatchers: Dispatchers) -> None:
    assert dispatchers.topics == (
        "stoep/v1/town/plan/office/command",
        "stoep/v1/town/plan/driver-1/command",
    )
    assert read(dispatchers, SAID) == Command(
        "office", Word(id="1", action="include", container="c1", date="2026-10-20")
    )


@pytest.mark.parametrize(
    ("said", "more", "counted", "answer"),
    [
        (SAID, {"topic": "stoep/v1/town/plan/mayor/command"}, "command_of_nobody", None),
        (SAID, {"retained": True}, "command_retained", None),
        (SAID | {"token": OTHER}, {}, "command_unauthorised", ("1", "not authorised")),
        (SAID | {"token": None}, {}, "command_unauthorised", ("1", "not authorised")),
        (SAID | {"token": TOKEN + "\n"}, {}, "command_unauthorised", ("1", "not authorised")),
        (SAID | {"token": "\ud800"}, {}, "command_unauthorised", ("1", "not authorised")),
        (SAID | {"token": "é", "id": "a b"}, {}, "command_unauthorised", ("", "not authorised")),
        (
            SAID,
            {"topic": "stoep/v1/town/plan/driver-1/command"},
            "command_unauthorised",
            ("1", "not authorised"),
        ),
        (b"{" * 4097, {}, "command_too_large", ("", "it is too large")),
        (b"\xff", {}, "command_malformed", ("", "it is no JSON")),
        (b"[" * 4000, {}, "command_malformed", ("", "it is no JSON")),
        ([TOKEN], {}, "command_malformed", ("", "it is no JSON object")),
        (SAID | {"wish": 1}, {}, "command_malformed", ("1", "a member that a decision does not")),
        (SAID | {"id": TOKEN * 3}, {}, "command_malformed", ("", "id must be")),
        (SAID | {"date": None}, {}, "command_malformed", ("1", "date is missing")),
    ],
)
def test_what_is_no_command(
    dispatchers: Dispatchers, said: object, more: dict[str, Any], counted: str, answer: Any
) -> None:
    refused = read(dispatchers, said, **more)
    assert isinstance(refused, Refusal)
    assert refused.counted == counted
    assert TOKEN not in repr(refused)
    if answer is None:
        assert refused.answer is None
    else:
        assert refused.answer is not None
        assert (refused.answer.id, refused.answer.result) == (answer[0], "refused")
        assert str(refused.answer.reason).startswith(answer[1])


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return town(tmp_path_factory.mktemp("road"), {1: 1}, trucks=2)


STRANGE = st.sampled_from(
    [
        "\ud800",
        "\x00",
        "",
        "c1",
        "t1",
        "dump",
        "done",
        "undo",
        "2026-10-20",
        "2026-10-20T04:00:00Z",
        "9999-12-31",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-W43-2",
    ]
)
VALUES = st.none() | st.integers() | st.floats() | STRANGE | st.lists(st.none(), max_size=2)
NAMES = [*SAID, "truck", "place", "fill_pct", "weight_kg", "time_utc", "x"]


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.sets(st.sampled_from(list(SAID))))
def test_whatever_comes_is_answered(road: Config, said: dict[str, Any], right: set[str]) -> None:
    said |= {name: SAID[name] for name in right} | {"token": TOKEN}
    found = read(Dispatchers("town", {"office": TOKEN}), said)
    answer = found.answer if isinstance(found, Refusal) else None
    if isinstance(found, Command):
        answer = Dispatch().decide(found.word, "dispatcher/office", road, NOW)
    assert answer is not None
    checked(answer_message("town", "office", answer, NOW))


@given(st.binary(max_size=100))
def test_whatever_octets_come_are_read(payload: bytes) -> None:
    found = read(Dispatchers("town", {"office": TOKEN}), payload)
    assert isinstance(found, Refusal)


def test_too_many_commands_are_refused_and_a_stranger_takes_nobody_s_place(
    dispatchers: Dispatchers,
) -> None:
    wrong = SAID | {"token": OTHER}
    answers = [read(dispatchers, wrong) for _ in range(1000)]
    assert sum(isinstance(it, Refusal) and it.answer is not None for it in answers) == 10
    results = [read(dispatchers, SAID) for _ in range(302)]
    assert sum(isinstance(it, Command) for it in results) == 300
    last = results[-1]
    assert isinstance(last, Refusal)
    assert last.counted == "command_too_many"
    assert isinstance(read(dispatchers, SAID, now_ms=499), Refusal)
    assert isinstance(read(dispatchers, SAID, now_ms=500), Command)
    assert isinstance(read(dispatchers, SAID, now_ms=600), Refusal)


def test_answers_fit_their_schema() -> None:
    decision = Decision(1, "2026-10-20", "dispatcher/office", "1", 5, "done", "c1", "t1")
    for answer in (
        Answer("1", "accepted", None, decision, "done"),
        Answer("1", "known", None, decision, None),
        Answer("", "refused", "not authorised"),
    ):
        message = answer_message("town", "office", answer, 1_792_468_800_000)
        values = checked(message)
        assert message.topic == "stoep/v1/town/plan/office/answer"
        assert (values["id"], values["result"]) == (answer.id or None, answer.result)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "of 0 characters"),
        (TOKEN[1:], "of 31 characters"),
        ("x" * 257, "of 257 characters"),
        (f"{TOKEN} {TOKEN}", "holds no token"),
        (f"{TOKEN}\n{TOKEN}", "holds no token"),
        (TOKEN + "é", "holds no token"),
    ],
)
def test_a_token_has_to_be_one(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as told:
        token_of(text)
    assert TOKEN[:8] not in str(told.value)


def test_tokens_come_from_files_and_from_the_environment(tmp_path: Any) -> None:
    path = tmp_path / "office.token"
    path.write_text(f"{TOKEN}\n")
    office = DispatcherConfig.model_validate({"id": "office", "token_file": str(path)})
    driver = DispatcherConfig(id="driver", token_env="STOEP_DRIVER")
    environ = {"STOEP_DRIVER": OTHER}
    assert read_dispatchers([office, driver], environ) == {"office": TOKEN, "driver": OTHER}
    for broken, why in (
        ({}, 'dispatcher.. "driver": STOEP_DRIVER is not set'),
        ({"STOEP_DRIVER": TOKEN[:9]}, "STOEP_DRIVER holds a token of 9 characters"),
    ):
        with pytest.raises(FatalError, match=why) as told:
            read_dispatchers([office, driver], broken)
        assert TOKEN[:8] not in str(told.value)
    path.unlink()
    with pytest.raises(FatalError, match=r"office.token cannot be read: No such file"):
        read_dispatchers([office], {})
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(FatalError, match="holds no token"):
        read_dispatchers([office], {})


def test_other_dispatchers_need_a_restart(road: Config) -> None:
    more = road.model_copy(update={"dispatchers": (DispatcherConfig(id="a", token_env="A"),)})
    assert needs_restart(road, more) == ["[[dispatcher]]"]
