"""What the tests of the payload share: vectors, plain forms of messages, strategies, the codec.

The plain form of a message is what codec.js gives for it and what tests/vectors/payload.json
holds: a dict of the fields with `type`, lists for tuples.
"""

import json
import pathlib
import shutil
import subprocess
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from stoep_protocol import calibration, messages, schema
from stoep_protocol.calibration import Calibrate, Calibrated
from stoep_protocol.history import gap_min
from stoep_protocol.messages import BayReport, BinReport, Configuration, ConfigurationAck, Status
from stoep_protocol.requests import ReadingsRequest

TESTS = pathlib.Path(__file__).parent.parent
PROTOCOL = pathlib.Path(messages.__file__).parent
CODEC = PROTOCOL / "codec.js"
ORACLES = TESTS / "oracles"
VECTORS = json.loads((TESTS / "vectors" / "payload.json").read_text())

# The machine may be busy: how long an example takes says nothing about the code.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DOWNLINKS = (
    schema.F_PORT_CONFIGURATION,
    schema.F_PORT_READINGS_REQUEST,
    schema.F_PORT_CALIBRATE,
)
F_PORTS = range(schema.F_PORT_BIN, schema.F_PORT_CALIBRATED + 1)
CDDL_RULES = {
    schema.F_PORT_BIN: "bin-report",
    schema.F_PORT_BIN_PAST: "bin-past-report",
    schema.F_PORT_BAY: "bay-report",
    schema.F_PORT_STATUS: "status",
    schema.F_PORT_CONFIGURATION: "configuration",
    schema.F_PORT_CONFIGURATION_ACK: "configuration-ack",
    schema.F_PORT_READINGS_REQUEST: "readings-request",
    schema.F_PORT_CALIBRATE: "calibrate",
    schema.F_PORT_CALIBRATED: "calibrated",
}
_TYPES = {
    BinReport: "bin",
    BayReport: "bay",
    Status: "status",
    Configuration: "configuration",
    ConfigurationAck: "configuration_ack",
    ReadingsRequest: "readings_request",
    Calibrate: "calibrate",
    Calibrated: "calibrated",
}


def plain(message: messages.Message) -> dict[str, Any]:
    fields = {name: getattr(message, name) for name in message.__slots__}
    if isinstance(message, BinReport):
        fields["history"] = [
            {"age_min": age, "distance_mm": distance, "quality": quality}
            for age, distance, quality in message.history
        ]
    listed = {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}
    return {"type": _TYPES[type(message)], **listed}


def from_bits(text: str) -> bytes:
    """Bytes of a text of ones and zeros in groups."""
    digits = text.replace(" ", "")
    assert len(digits) % 8 == 0, text
    return bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))


def items_of(vector: dict[str, Any]) -> list[int | bytes | None]:
    """The array of a vector, its byte strings made from their bits or their hex."""
    return [
        item
        if not isinstance(item, dict)
        else from_bits(item["bits"])
        if "bits" in item
        else bytes.fromhex(item["bytes"])
        for item in vector["items"]
    ]


class Codec:
    """codec.js in one Node process; a call is a line out and a line in."""

    def __init__(self, path: pathlib.Path = CODEC) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.fail("needs Node: sudo apt install nodejs")
        self._node = subprocess.Popen(
            [node, str(ORACLES / "codec_host.js"), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, function: str, **given: Any) -> dict[str, Any]:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps([function, given]) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        assert line, "the Node process has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def decode(self, f_port: int, data: bytes) -> dict[str, Any]:
        function = "decodeDownlink" if f_port in DOWNLINKS else "decodeUplink"
        return self(function, fPort=f_port, bytes=list(data))

    def close(self) -> None:
        self._node.communicate(timeout=10)


def _within(table: tuple[tuple[str, int, int], ...], name: str) -> st.SearchStrategy[int]:
    for field, lowest, highest in table:
        if field == name:
            return st.integers(lowest, highest) | st.sampled_from((lowest, highest))
    raise KeyError(name)


distances = st.none() | _within(schema.BIN, "distance_mm")
qualities = _within(schema.BIN, "quality")
intervals = st.integers(1, 63).map(gap_min)


@st.composite
def histories(
    draw: st.DrawFn, age_min: int = 0, max_size: int = schema.HISTORY_MAX
) -> tuple[tuple[int, int | None, int], ...]:
    """Earlier readings: often smooth and regular, now and then neither."""
    interval = draw(intervals)
    level = draw(st.integers(0, schema.DISTANCE_MAX_MM))
    quality = draw(qualities)
    history = []
    for _ in range(draw(st.integers(0, max_size))):
        gap = draw(st.sampled_from((interval,) * 6 + (0, 1, 61, 3071)))
        age_min += gap
        level = min(max(level + draw(st.integers(-120, 280)), 0), schema.DISTANCE_MAX_MM)
        kind = draw(st.integers(0, 5))
        if age_min > schema.AGE_MAX_MIN:
            break
        history.append(
            (age_min, level, quality) if kind else (age_min, draw(distances), draw(qualities))
        )
    return tuple(history)


@st.composite
def bin_reports(draw: st.DrawFn, max_history: int = schema.HISTORY_MAX) -> BinReport:
    age_min = draw(st.sampled_from((0, 0, 1, 255, 65_535)) | st.integers(0, schema.AGE_MAX_MIN))
    return BinReport(
        draw(_within(schema.BIN, "sequence")),
        draw(distances),
        draw(qualities),
        draw(_within(schema.BIN, "flags")),
        None if age_min else draw(st.none() | _within(schema.BIN, "temperature_c")),
        None if age_min else draw(st.none() | _within(schema.BIN, "flaps")),
        draw(histories(age_min, max_history)),
        age_min,
    )


bay_reports = st.builds(
    BayReport,
    _within(schema.BAY, "state"),
    _within(schema.BAY, "change_count"),
    _within(schema.BAY, "age_s") | st.integers(0, 3_000_000),
    st.none() | _within(schema.BAY, "previous_duration_s") | st.integers(0, 3_000_000),
    _within(schema.BAY, "flags"),
)
firmware_versions = st.tuples(st.integers(0, 15), st.integers(0, 63), st.integers(0, 63))
statuses = st.builds(
    Status,
    firmware=st.none() | firmware_versions,
    errors=st.lists(st.integers(0, 255), max_size=schema.ERRORS_MAX).map(tuple),
    **{
        name: st.none() | _within(schema.STATUS, name)
        for name, _, _ in schema.STATUS
        if name != "firmware"
    },
)
configurations = st.builds(
    Configuration,
    **{
        name: st.none()
        | (intervals if name == "interval_min" else _within(schema.CONFIGURATION, name))
        for name, _, _ in schema.CONFIGURATION
    },
)
acks = st.builds(ConfigurationAck, st.integers(0, 0xFFFF), st.integers(0, 255))
steps = _within(calibration.CALIBRATE, "step")
values = st.integers(0, calibration.VALUE_MAX)
calibrated = st.builds(
    Calibrated,
    steps,
    st.integers(0, calibration.RESULT_MAX),
    st.just(())
    | st.tuples(values)
    | st.tuples(st.none() | values, values)
    | st.tuples(st.none() | values, st.none() | values, values, values),
)
reports = bin_reports() | bay_reports | statuses | acks
readings_requests = st.builds(
    ReadingsRequest,
    _within(schema.READINGS_REQUEST, "sequence"),
    _within(schema.READINGS_REQUEST, "count"),
)
calibrates = st.builds(Calibrate, steps, st.none() | _within(calibration.CALIBRATE, "distance_cm"))
any_message = reports | configurations | readings_requests | calibrates | calibrated


@st.composite
def nearly_payloads(draw: st.DrawFn) -> tuple[int, bytes]:
    """An fPort and bytes that are, or were once, a payload: most of them are wrong a little."""
    f_port, data = messages.encode(draw(any_message))
    kind = draw(st.integers(0, 5))
    octets = bytearray(data)
    place = draw(st.integers(0, len(octets)))
    if kind == 0:
        f_port = draw(st.integers(0, 30))
    elif kind == 1:
        del octets[place:]
    elif kind == 2:
        octets[place:place] = draw(st.binary(min_size=1, max_size=3))
    elif kind == 3 and place < len(octets):
        octets[place] ^= 1 << draw(st.integers(0, 7))
    elif kind == 4:
        # Well-formed and deterministic, so that it is the schema that has to refuse.
        items = cbor2.loads(data)
        place = draw(st.integers(0, len(items)))
        items[place : place + draw(st.integers(0, 1))] = [
            draw(
                st.none()
                | st.integers(-(1 << 32), (1 << 32) - 1)
                | st.integers(-1, 256)
                | st.binary(max_size=12)
            )
        ]
        octets[:] = cbor2.dumps(items, canonical=True)
    return f_port, bytes(octets)
