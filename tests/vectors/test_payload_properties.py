"""What holds for every payload: one encoding, nothing but DecodeError, and the limits of bytes."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from payloads import (
    F_PORTS,
    any_message,
    bay_reports,
    bin_reports,
    distances,
    intervals,
    nearly_payloads,
    qualities,
    reports,
    untimed,
)
from stoep_protocol import messages, schema
from stoep_protocol.calibration import STEP_CAR, STEP_ECHOES, Calibrated, echo
from stoep_protocol.errors import DecodeError
from stoep_protocol.history import gap_code
from stoep_protocol.messages import BayReport, BinReport, Status, decode, encode, fit, split
from stoep_protocol.reports import duration_s, full_sequence, readings

US915_DR0 = 11


def rounded(distance_mm: int | None) -> int | None:
    return None if distance_mm is None else (distance_mm + 5) // 10 * 10


def as_received(message: messages.Message) -> messages.Message:
    """The message as its encoding can tell it."""
    if isinstance(message, BinReport):
        return BinReport(
            message.sequence % schema.SEQUENCE_MODULUS,
            message.distance_mm,
            message.quality,
            message.flags,
            message.temperature_c,
            message.flaps,
            tuple((age, rounded(mm), quality) for age, mm, quality in message.history),
            message.age_min,
        )
    if isinstance(message, BayReport):
        previous = message.previous_duration_s
        return BayReport(
            message.state,
            message.change_count,
            duration_s(messages.duration_code(message.age_s)),
            None if previous is None else duration_s(messages.duration_code(previous)),
            message.flags,
        )
    return message


@untimed
@given(any_message)
def test_messages_come_back(message: messages.Message) -> None:
    f_port, data = encode(message)
    received = decode(f_port, data)
    assert received == as_received(message)
    assert encode(received) == (f_port, data)


@untimed
@given(nearly_payloads() | st.tuples(st.integers(-1, 256), st.binary(max_size=64)))
def test_bytes_are_the_one_encoding_of_a_message_or_a_decode_error(
    payload: tuple[int, bytes],
) -> None:
    f_port, data = payload
    try:
        message = decode(f_port, data)
    except DecodeError:
        return
    assert encode(message) == (f_port, data)


def test_no_short_payload_raises_anything_else() -> None:
    """All payloads of up to two bytes, and all arrays of one item of three bytes."""
    for f_port in F_PORTS:
        for length in (0, 1, 2):
            for octets in itertools.product(range(256), repeat=length):
                try:
                    message = decode(f_port, bytes(octets))
                except DecodeError:
                    continue
                assert encode(message) == (f_port, bytes(octets))


@untimed
@given(any_message)
def test_every_part_of_a_message_is_refused(message: messages.Message) -> None:
    f_port, data = encode(message)
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            decode(f_port, data[:length])


@untimed
@given(bay_reports)
def test_durations_are_right_to_three_percent_or_two_seconds(report: BayReport) -> None:
    received = decode(*encode(report))
    assert isinstance(received, BayReport)
    end = duration_s(254)
    for sent, got in (
        (report.age_s, received.age_s),
        (report.previous_duration_s, received.previous_duration_s),
    ):
        if sent is not None and got is not None:
            assert abs(min(sent, end) - got) <= max(2, sent / 32)


# --- limits of bytes -------------------------------------------------------------------------

DISTANCES = (None, 0, 9, 10, 230, 240, 255, 256, 2560, 9999, 10_000)
TEMPERATURES = (None, -40, -15, -14, 0, 33, 34, 85)
FLAPS = (None, 0, 23, 24, 255)
HEADS = ((0, 0, 0), (65_535, 4, 7), (1023, 0, 7), (1024, 4, 0), (0, 0, 8), (65_535, 4, 255))


def extreme_reports(history: tuple[tuple[int, int | None, int], ...] = ()) -> list[BinReport]:
    return [
        BinReport(sequence, distance, quality, flags, temperature, flaps, history)
        for (sequence, quality, flags), distance, temperature, flaps in itertools.product(
            HEADS, DISTANCES, TEMPERATURES, FLAPS
        )
    ]


def longer(report: BinReport) -> int:
    """How many bytes an alarm takes."""
    return 2 if report.flags >= schema.LID_OPEN else 0


def test_bin_report_without_history_takes_at_most_11_bytes_and_an_alarm_two() -> None:
    sizes = [len(encode(report)[1]) - longer(report) for report in extreme_reports()]
    assert max(sizes) == 11


@pytest.mark.parametrize("interval", [1, 60, 720, 1920])
def test_bin_report_with_three_past_readings_takes_at_most_18_bytes(interval: int) -> None:
    # Readings of which none is near the one before: the long token each.
    history = ((interval, 0, 4), (2 * interval, None, 0), (3 * interval, 10_000, 4))
    sizes = [len(encode(report)[1]) - longer(report) for report in extreme_reports(history)]
    assert max(sizes) == 18


@untimed
@given(
    bin_reports(max_history=0).filter(lambda report: not report.age_min),
    intervals,
    st.tuples(
        st.tuples(distances, qualities),
        st.tuples(distances, qualities),
        st.tuples(distances, qualities),
    ),
)
def test_no_report_at_a_regular_interval_exceeds_its_limit(
    report: BinReport, interval: int, past: tuple[tuple[int | None, int], ...]
) -> None:
    assert len(encode(report)[1]) <= 11 + longer(report)
    report.history = tuple(
        ((number + 1) * interval, distance, quality)
        for number, (distance, quality) in enumerate(past)
    )
    assert len(encode(report)[1]) <= 18 + longer(report)


@untimed
@given(bin_reports(max_history=3))
def test_a_gap_that_is_not_regular_costs_at_most_two_bytes_each(report: BinReport) -> None:
    ages = [report.age_min, *(age for age, _, _ in report.history)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ages)]
    irregular = sum(later != earlier for earlier, later in itertools.pairwise(gaps))
    if gaps and not gap_code(gaps[0]):
        irregular += 1
    assert len(encode(report)[1]) <= 18 + longer(report) + 2 * irregular


@untimed
@given(bay_reports)
def test_bay_report_takes_at_most_7_bytes(report: BayReport) -> None:
    assert len(encode(report)[1]) <= (7 if report.flags else 6)


def test_answers_to_a_calibration_fit_everywhere_but_the_third_place_of_echoes() -> None:
    widest = schema.DISTANCE_MAX_MM // 10
    for said in (None, widest):
        places = (said, *[echo(widest, 30)] * 3)
        sizes = [len(encode(Calibrated(STEP_ECHOES, 5, places[:n]))[1]) for n in (3, 4)]
        assert sizes[0] <= US915_DR0 < sizes[1] <= US915_DR0 + 3
    for result in range(8):
        assert len(encode(Calibrated(STEP_CAR, result, (65_535, 65_535)))[1]) <= US915_DR0


def test_largest_bay_report_takes_7_bytes() -> None:
    for state, count, duration in itertools.product(
        (schema.FREE, schema.UNCERTAIN), (0, 16_383), (None, 0, 1 << 30)
    ):
        report = BayReport(state, count, 1 << 30, duration, 15)
        assert len(encode(report)[1]) <= 7


@untimed
@given(reports, st.integers(US915_DR0, 60))
def test_every_report_splits_into_what_fits(message: messages.Message, room: int) -> None:
    parts = split(message, room)
    for part in parts:
        assert len(encode(part)[1]) <= room
    if len(encode(message)[1]) <= room:
        assert parts == [message]


@untimed
@given(bin_reports(), st.integers(US915_DR0, 60))
def test_split_report_holds_the_same_readings(report: BinReport, room: int) -> None:
    whole = readings(report, report.sequence + 65_536)
    listed = []
    newest = whole[0][0]
    for part in split(report, room):
        received = decode(*encode(part))
        assert isinstance(received, BinReport)
        newest = full_sequence(newest, received.sequence)
        listed.extend(readings(received, newest))
        newest = listed[-1][0]
    assert listed[0] == whole[0]
    assert [(n, age, rounded(mm), q) for n, age, mm, q in whole[1:]] == listed[1:]


@untimed
@given(bin_reports(), st.integers(US915_DR0, 60))
def test_fit_keeps_the_longest_history_that_fits(report: BinReport, room: int) -> None:
    fitted = fit(report, room)
    assert isinstance(fitted, BinReport)
    kept = len(fitted.history)
    assert len(encode(fitted)[1]) <= room
    assert fitted.history == report.history[:kept]
    if (fitted.flags, fitted.flaps) != (report.flags, report.flaps):
        assert longer(report)
        assert (kept, fitted.flaps) == (0, None)
        kept_flags = report.flags % schema.LID_OPEN if report.age_min else report.flags
        assert fitted.flags == kept_flags
        fitted.flags, fitted.flaps = report.flags, report.flaps
        assert len(encode(fitted)[1]) > room
    elif kept < len(report.history):
        fitted.history = report.history[: kept + 1]
        assert len(encode(fitted)[1]) > room


@untimed
@given(st.builds(Status, errors=st.lists(st.integers(0, 255), max_size=16).map(tuple)))
def test_split_status_keeps_its_errors_in_order(status: Status) -> None:
    parts = split(status, US915_DR0)
    assert sum((part.errors for part in parts if isinstance(part, Status)), ()) == status.errors


@untimed
@given(
    st.integers(0, 1 << 20),
    st.integers(-511, 511),
    st.integers(0, 5000),
)
def test_full_sequence_bears_an_expectation_that_is_wrong_by_511(
    newest: int, wrong: int, advance: int
) -> None:
    full = newest + advance
    expectation = advance - wrong
    assume(full >= schema.SEQUENCE_MODULUS // 2)
    assert full_sequence(newest, full % schema.SEQUENCE_MODULUS, expectation) == full
