"""The payload vectors through implementations that are not ours: cbor2, zcbor's CDDL, Node."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest
from cddl import conforms
from hypothesis import given, settings
from hypothesis import strategies as st
from payloads import (
    CDDL_RULES,
    CODEC,
    DOWNLINKS,
    ORACLES,
    PROTOCOL,
    VECTORS,
    Codec,
    any_message,
    configurations,
    items_of,
    nearly_payloads,
    plain,
    untimed,
)
from stoep_protocol import cbor, messages
from stoep_protocol.errors import DecodeError

CDDL = PROTOCOL / "stoep.cddl"
SOURCE = PROTOCOL / "codec.source.js"

each_vector = pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: v["id"])
each_malformed = pytest.mark.parametrize("vector", VECTORS["malformed"], ids=lambda v: v["id"])


def in_python(f_port: int, data: bytes) -> dict[str, Any]:
    """What our decoder says, in the codec's words."""
    try:
        return {"data": plain(messages.decode(f_port, data))}
    except DecodeError as problem:
        return {"errors": [problem.code]}


@pytest.fixture(scope="module")
def codec() -> Iterator[Codec]:
    service = Codec()
    yield service
    service.close()


# --- cbor2 -----------------------------------------------------------------------------------


@each_vector
def test_cbor2_writes_and_reads_the_vector(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    assert cbor2.dumps(items_of(vector), canonical=True) == data
    assert cbor2.loads(data) == items_of(vector)


@untimed
@given(
    st.lists(
        st.none() | st.integers(-(1 << 32), (1 << 32) - 1) | st.binary(max_size=255), max_size=23
    )
)
def test_cbor2_and_ours_write_the_same_array(items: list[int | bytes | None]) -> None:
    data = cbor.encode_array(items)
    assert data == cbor2.dumps(items, canonical=True)
    assert cbor.decode_array(data) == items


@untimed
@given(st.binary(max_size=24))
def test_what_ours_reads_cbor2_reads_as_the_same(data: bytes) -> None:
    try:
        items = cbor.decode_array(data)
    except DecodeError:
        return
    assert cbor2.loads(data) == items
    assert cbor2.dumps(items, canonical=True) == data


# --- CDDL ------------------------------------------------------------------------------------


@each_vector
def test_vector_conforms_to_the_cddl(vector: dict[str, Any]) -> None:
    assert conforms(CDDL, CDDL_RULES[vector["f_port"]], bytes.fromhex(vector["hex"]))


@settings(untimed, max_examples=30)  # zcbor takes its time
@given(any_message)
def test_every_message_conforms_to_the_cddl(message: messages.Message) -> None:
    f_port, data = messages.encode(message)
    assert conforms(CDDL, CDDL_RULES[f_port], data)


@pytest.mark.parametrize(
    "name",
    [
        "ack-refused-256",
        "ack-refused-zero",
        "bay-flags-16",
        "bay-flags-zero",
        "bay-no-item",
        "bay-three-items",
        "calibrate-at-0-cm",
        "calibrate-far",
        "calibrate-nothing",
        "calibrate-null",
        "calibrate-step-3",
        "calibrate-three-items",
        "calibrated-17-bits",
        "calibrated-bytes",
        "calibrated-negative",
        "calibrated-nothing",
        "calibrated-null",
        "calibrated-result-8",
        "calibrated-six-items",
        "configuration-mode-3",
        "configuration-ten-items",
        "distance-far",
        "distance-far-cm",
        "flaps-many",
        "head-22-bits",
        "head-negative",
        "head-null",
        "history-integer",
        "history-in-place-of-flaps",
        "no-item",
        "past-age-null",
        "past-no-age",
        "past-now",
        "past-too-old",
        "request-bytes",
        "request-empty",
        "request-for-25",
        "request-for-none",
        "request-negative",
        "request-null",
        "request-number-1024",
        "request-one-item",
        "request-three-items",
        "six-items",
        "status-errors-17",
        "status-errors-empty",
        "status-errors-integer",
        "status-margin",
        "status-nine-items",
        "status-reset-16",
        "temperature-cold",
        "temperature-hot",
    ],
)
def test_cddl_refuses_what_it_has_words_for(name: str) -> None:
    [vector] = [v for v in VECTORS["malformed"] if v["id"] == name]
    assert not conforms(CDDL, CDDL_RULES[vector["f_port"]], bytes.fromhex(vector["hex"]))


# --- codec.js --------------------------------------------------------------------------------


@each_vector
def test_codec_decodes_the_vector(codec: Codec, vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    assert codec.decode(vector["f_port"], data) == {"data": vector["message"]}


@each_malformed
def test_codec_refuses_the_malformed_with_its_code(codec: Codec, vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    assert codec.decode(vector["f_port"], data) == {"errors": [vector["code"]]}


@each_vector
def test_codec_encodes_downlinks_only(codec: Codec, vector: dict[str, Any]) -> None:
    answer = codec("encodeDownlink", data=vector["message"])
    if vector["f_port"] in DOWNLINKS:
        assert answer == {"fPort": vector["f_port"], "bytes": list(bytes.fromhex(vector["hex"]))}
    else:
        assert list(answer) == ["errors"]


def test_codec_keeps_up_and_down_apart(codec: Codec) -> None:
    for f_port in DOWNLINKS:
        assert codec("decodeUplink", fPort=f_port, bytes=[0x80]) == {"errors": ["f-port"]}
    assert codec("decodeDownlink", fPort=12, bytes=[0x80]) == {"errors": ["f-port"]}


@untimed
@given(message=any_message)
def test_codec_decodes_what_ours_encodes(codec: Codec, message: messages.Message) -> None:
    f_port, data = messages.encode(message)
    assert codec.decode(f_port, data) == in_python(f_port, data)


@untimed
@given(payload=nearly_payloads())
def test_codec_and_ours_accept_and_refuse_alike(codec: Codec, payload: tuple[int, bytes]) -> None:
    f_port, data = payload
    assert codec.decode(f_port, data) == in_python(f_port, data)


@untimed
@given(f_port=st.integers(9, 19), data=st.binary(max_size=20))
def test_codec_and_ours_agree_on_any_bytes(codec: Codec, f_port: int, data: bytes) -> None:
    assert codec.decode(f_port, data) == in_python(f_port, data)


@untimed
@given(configuration=configurations)
def test_codec_encodes_the_configurations_that_ours_does(
    codec: Codec, configuration: messages.Configuration
) -> None:
    f_port, data = messages.encode(configuration)
    given_fields = {
        name: value for name, value in plain(configuration).items() if value is not None
    }
    assert codec("encodeDownlink", data=given_fields) == {"fPort": f_port, "bytes": list(data)}
    assert codec("encodeDownlink", data=plain(configuration))["bytes"] == list(data)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"interval_min": 31}, "range"),
        ({"interval_min": 0}, "range"),
        ({"interval_min": "60"}, "type"),
        ({"interval_min": 1.5}, "type"),
        ({"interval_min": True}, "type"),
        ({"mode": 3}, "range"),
        ({"history": -1}, "range"),
        ({"intervall_min": 60}, "unknown field intervall_min"),
        ({"count": 1}, "type"),
        ({"sequence": 1024, "count": 1}, "range"),
        ({"sequence": 0, "count": 0}, "range"),
        ({"sequence": 0, "count": 1, "mode": 0}, "unknown field mode"),
        ({"sequence": 0}, "unknown field sequence"),
        ({"step": 3}, "range"),
        ({"step": None}, "type"),
        ({"step": 2, "distance_cm": 0}, "range"),
        ({"step": 2, "mode": 0}, "unknown field mode"),
        ({"distance_cm": 100}, "unknown field distance_cm"),
    ],
)
def test_codec_refuses_to_encode(codec: Codec, fields: dict[str, Any], code: str) -> None:
    assert codec("encodeDownlink", data=fields) == {"errors": [code]}


def test_codec_is_small() -> None:
    assert CODEC.stat().st_size < 4096


def needs(program: str) -> str:
    node = shutil.which("node")
    if node is None or not (ORACLES / "node_modules" / program).is_dir():
        pytest.fail(f"needs Node and {program}: npm ci --prefix tests/oracles")
    return node


def test_codec_is_strict_es5() -> None:
    node = needs("acorn")
    subprocess.run([node, ORACLES / "is_es5.js", CODEC, SOURCE], check=True, timeout=60)


def test_codec_is_made_from_its_source() -> None:
    node = needs("terser")
    made = subprocess.run(
        [node, "node_modules/terser/bin/terser", SOURCE, "--config-file", "codec.terser.json"],
        cwd=ORACLES,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert made.stdout.strip() == CODEC.read_text().strip(), (
        "codec.source.js has changed: npm run codec --prefix tests/oracles"
    )


def test_codec_source_behaves_as_what_is_made_from_it() -> None:
    source = Codec(SOURCE)
    try:
        for vector in VECTORS["vectors"]:
            data = bytes.fromhex(vector["hex"])
            assert source.decode(vector["f_port"], data) == {"data": vector["message"]}
        for vector in VECTORS["malformed"]:
            data = bytes.fromhex(vector["hex"])
            assert source.decode(vector["f_port"], data) == {"errors": [vector["code"]]}
    finally:
        source.close()
