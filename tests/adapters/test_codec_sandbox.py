"""Codecs of other makes in their process: what they are given, and what they cannot do."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import pytest
from stoep_gateway.integrations.codecs.sandbox import CodecError, Sandbox

HOUR_MS = 3_600_000


def codec(body: str) -> str:
    return "function decodeUplink(input) { %s }" % body  # noqa: UP031 (braces)


SOURCES = {
    "echo": codec("return {data: {bytes: input.bytes, port: input.fPort, at: input.recvTime}}"),
    "remembers": "var calls = 0;"
    + codec(
        "Object.prototype.calls = ({}).calls + 1 || 1; JSON.stringify = () => 'mine';"
        "Array.prototype.join = null; return {data: {calls: ++calls, all: ({}).calls}}"
    ),
    "sees": codec(
        "return ['require', 'process', 'std', 'os', 'fetch', 'print', 'console', 'setTimeout',"
        " 'Worker', 'scriptArgs'].filter(name => name in globalThis)"
    ),
    "loops": codec("while (true) { try { while (true); } catch (e) {} }"),
    "regex": codec("return /^(a+)+$/.test('a'.repeat(40) + 'b')"),
    "native": codec("return Array(2**32 - 1).join('')"),
    "allocates": codec("const all = []; while (true) all.push(new Array(1000).fill(1))"),
    "bytes": codec("return new Uint8Array(1e9).length"),
    "recurses": codec("return decodeUplink(input)"),
    "huge": codec("return {data: 'x'.repeat(1e6)}"),
    "deep": codec("let all = []; for (let i = 0; i < 1500; i++) all = [all]; return all"),
    "circular": codec("const all = {}; all.all = all; return all"),
    "halved": codec("return {data: '\\ud800'}"),
    "nothing": codec(""),
    "function": codec("return () => 1"),
    "throws": codec("throw new Error('bad\\nbytes')"),
    "not": "const decode = 1",
    "syntax": "function decodeUplink( {",
    "first": "while (true);",
    "first native": "Array(2**32 - 1).join('')",
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    it = Sandbox(SOURCES)
    yield it
    it.stop()


@pytest.fixture
def ask(sandbox: Sandbox) -> Callable[..., object]:
    def ask(name: str, now_ms: int = 0) -> object:
        return sandbox.decode(name, 85, b"\x01\xff", 1_700_000_000_123, now_ms)

    return ask


def test_a_codec_gets_what_ts013_says(ask: Callable[..., object]) -> None:
    data = {"bytes": [1, 255], "port": 85, "at": "2023-11-14T22:13:20.123Z"}
    assert ask("echo") == {"data": data}


def test_a_codec_sees_nothing_but_the_language(ask: Callable[..., object]) -> None:
    assert ask("sees") == []


def test_nothing_stays_from_one_uplink_to_the_next(ask: Callable[..., object]) -> None:
    for _ in range(3):
        assert ask("remembers") == {"data": {"calls": 1, "all": 1}}
    assert ask("echo") != "mine"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("loops", "codec_timeout"),
        ("regex", "codec_timeout"),
        ("native", "codec_killed"),
        ("allocates", "codec_memory"),
        ("bytes", "codec_memory"),
        ("recurses", "codec_error"),
        ("huge", "codec_output"),
        ("deep", "codec_error"),
        ("circular", "codec_error"),
        ("halved", "codec_output"),
        ("nothing", "codec_output"),
        ("function", "codec_output"),
        ("throws", "codec_error"),
        ("not", "codec_error"),
        ("syntax", "codec_error"),
        ("first", "codec_timeout"),
        ("first native", "codec_killed"),
    ],
)
def test_what_a_codec_must_not_do_is_named_and_harms_no_other(
    name: str, code: str, ask: Callable[..., object]
) -> None:
    before = time.process_time()
    for _ in range(2):
        with pytest.raises(CodecError) as raised:
            ask(name, 0)
        assert raised.value.code in (code, "codec_disabled")
        assert "\n" not in str(raised.value)
        assert ask("echo")
    assert time.process_time() - before < 0.5  # whatever it burns, it is not our time


def test_one_that_overruns_is_left_alone_for_an_hour(ask: Callable[..., object]) -> None:
    def code(name: str, now_ms: int) -> str:
        with pytest.raises(CodecError) as raised:
            ask(name, now_ms)
        return raised.value.code

    assert [code("loops", 5) for _ in range(4)] == ["codec_timeout"] * 3 + ["codec_disabled"]
    assert [code("native", 5) for _ in range(2)] == ["codec_killed", "codec_disabled"]
    assert code("native", 5 + HOUR_MS - 1) == "codec_disabled"
    assert code("native", 5 + HOUR_MS) == "codec_killed"
    assert code("loops", 5 + HOUR_MS) == "codec_timeout"
    assert ask("echo", 5)


def test_one_that_breaks_while_it_is_made_ready_is_blamed_itself() -> None:
    # The second context is made after the first answer, and never ends.
    once = codec("return {data: 1}") + "if (Date.now() > %d) Array(2**32 - 1).join('');"
    late = Sandbox({"late": once % (time.time() * 1000 + 700), "echo": SOURCES["echo"]})
    try:
        with contextlib.suppress(CodecError):
            while late.decode("late", 1, b"", 0, 0):
                assert late.decode("echo", 1, b"", 0, 0)
        with pytest.raises(CodecError) as raised:
            late.decode("late", 1, b"", 0, 0)
        assert raised.value.code == "codec_disabled"
        assert late.decode("echo", 1, b"", 0, 0)
    finally:
        late.stop()


def test_other_codecs_are_taken_and_get_another_chance(
    sandbox: Sandbox, ask: Callable[..., object]
) -> None:
    with pytest.raises(CodecError, match="ended"):
        ask("native")
    sandbox.replace({**SOURCES, "native": codec("return 7")})
    assert ask("native") == 7
    assert ask("echo")


def test_it_ends_with_us_and_knows_nothing_of_us(
    sandbox: Sandbox, ask: Callable[..., object]
) -> None:
    assert ask("echo")
    process = sandbox._process
    assert process is not None
    with open(f"/proc/{process.pid}/environ", "rb") as file:  # noqa: PTH123
        assert b"PATH" not in file.read()
    links = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in (0, 1)}  # noqa: PTH115
    assert all(link.startswith("pipe:") for link in links)
    sandbox.stop()
    assert process.returncode is not None
    assert ask("echo")  # and it starts anew when it is needed
