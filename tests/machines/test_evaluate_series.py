"""Recorded series as text: what is understood, what is skipped and why; and what is remembered."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_tools.evaluate import series
from stoep_tools.evaluate.course import Course, Spacing, sparkline
from stoep_tools.evaluate.series import BadRow, Row, Unusable

KNOWN = {
    "device": "text",
    "time_utc": "time",
    "distance_cm": "number",
    "emptied": "flag",
}
REQUIRED = ("device", "time_utc")
T0_MS = 1_767_225_600_000  # 2026-01-01


def read(text):
    lines = io.StringIO(text, newline=None)
    head = series.heading(lines, KNOWN, REQUIRED)
    return head, list(series.rows(lines, head, REQUIRED))


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-01-01", T0_MS),
        ("2026-01-01T00:00:00Z", T0_MS),
        ("2026-01-01 00:00:00.250", T0_MS + 250),
        ("2026-01-01T02:00+02:00", T0_MS),
        ("20260101T000000Z", T0_MS),
        ("1767225600", T0_MS),
        ("1767225600.5", T0_MS + 500),
        ("1767225600000", T0_MS),
    ],
)
def test_a_time_is_iso_8601_or_an_epoch(text, at_ms):
    _, (row,) = read(f"device,time_utc,distance_cm\na,{text},1\n")
    assert row.values["time_utc"] == at_ms


@pytest.mark.parametrize(
    "text",
    ["yesterday", "20260101", "31.01.2026 06:00", "0", "1e99", "9999-12-31", "", "0001-01-01"],
)
def test_what_is_no_time_is_said_and_skipped(text):
    _, (row, good) = read(f"device,time_utc\na,{text}\na,2026-01-01\n")
    assert (row.line, row.kind) == (2, "not a time")
    assert isinstance(good, Row)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("device,time_utc,distance_cm\na,2026-01-01,12.5\n", 12.5),
        ("device;time_utc;distance_cm\na;2026-01-01;12,5\n", 12.5),
        ("device;time_utc;distance_cm\na;2026-01-01;12.5\n", 12.5),
        ("device\ttime_utc\tdistance_cm\na\t2026-01-01\t12,5\n", 12.5),
        ("sep=;\ndevice;time_utc;distance_cm\na;2026-01-01;-0,5\n", -0.5),
        ("Device, Time UTC ,Distance-cm\r\na, 2026-01-01 , 1e2\r\n", 100.0),
        ('"dev_eui","time","distance_cm"\n"a","2026-01-01",".5"\n', 0.5),
        ("\n\n  \ndevice,time_utc,distance_cm\n\na,2026-01-01,\n", None),
        ("device,time_utc,distance_cm\na,2026-01-01,1.1953370392241411,,\n", 1.1953370392241411),
    ],
    ids=range(9),
)
def test_separators_decimal_commas_quotes_and_empty_lines(text, values):
    _, (row,) = read(text)
    assert row.values == {"device": "a", "time_utc": T0_MS, "distance_cm": values}


@pytest.mark.parametrize(
    ("row", "kind", "says"),
    [
        ("a,2026-01-01,x,0", "not a number", "distance_cm is not a number: 'x'"),
        ("a,2026-01-01,nan,0", "not a number", "distance_cm is not a number: 'nan'"),
        ("a,2026-01-01,1_0,0", "not a number", "'1_0'"),
        ('a,2026-01-01,"12,5",0', "not a number", "'12,5'"),
        ("a,2026-01-01,1,2", "not 0 or 1", "emptied is not 0 or 1: '2'"),
        ("a,2026-01-01,1", "wrong number of values", "has 3 values, the heading 4 columns"),
        ("a,2026-01-01,12,5,0", "wrong number of values", "a decimal comma?"),
        (",2026-01-01,1,0", "not a name", "device is not a name: ''"),
        ("\x1b[2J,2026-01-01,1,0", "not a name", r"'\x1b[2J'"),
        ('"a,2026-01-01,1,0', "not CSV", "quotation mark"),
        ("a\ufffd,2026-01-01,1,0", "not UTF-8", "save the file as UTF-8"),
        ("a" * 9000, "too long", "8192"),
        ("a" * 20000 + ",2026-01-01,1,0", "too long", "8192"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_spoils_no_other(row, kind, says):
    text = f"device,time_utc,distance_cm,emptied\na,2026-01-01,1,0\n{row}\na,2026-01-02,1,1\n"
    _, (before, bad, after) = read(text)
    assert isinstance(before, Row)
    assert (bad.line, bad.kind) == (3, kind)
    assert says in bad.message
    assert after.line == 4
    assert after.values["emptied"] is True


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", 'no column "device" in its line 1; there may be: device, time_utc'),
        ("\ndevice,distance_cm\n", 'no column "time_utc" in its line 2'),
        ("device,time_utc,Time UTC\n", 'the column "time_utc" twice'),
        ("PK\x03\x04\0\0", "is no text"),
        ("x" * 9000, "longer than any heading"),
    ],
)
def test_a_heading_that_is_none_says_what_there_may_be(text, says):
    with pytest.raises(Unusable, match=says):
        read(text)


def test_columns_that_are_not_known_are_named_with_what_may_be_meant():
    head, (row,) = read("device,time_utc,distnce_cm,colour\na,2026-01-01,5,red\n")
    assert head.unused == ("distnce_cm (did you mean distance_cm?)", "colour")
    assert set(row.values) == {"device", "time_utc"}


@given(st.text(max_size=300) | st.text(alphabet='a,;"\n\r\t0 ', max_size=300))
def test_any_text_is_rows_or_bad_rows(text):
    lines = io.StringIO("device,time_utc,distance_cm,emptied\n" + text, newline=None)
    head = series.heading(lines, KNOWN, REQUIRED)
    last = 1
    for row in series.rows(lines, head, REQUIRED):
        assert isinstance(row, Row | BadRow)
        assert row.line > last
        last = row.line


@given(st.text(max_size=100))
def test_any_heading_is_one_or_says_why_not(text):
    try:
        head = series.heading(io.StringIO(text, newline=None), KNOWN, REQUIRED)
    except Unusable:
        return
    assert set(REQUIRED) <= set(head.names())


@given(st.lists(st.tuples(st.integers(0, 10**10), st.floats(0, 100)), min_size=1, max_size=200))
def test_a_course_keeps_least_most_and_mean_in_little_room(steps):
    course, at_ms = Course(), 0
    for step_ms, value in steps:
        at_ms += step_ms
        course.add(at_ms, value)
    summary = course.summary()
    values = [value for _, value in steps]
    assert summary["min"] == round(min(values), 2)
    assert summary["max"] == round(max(values), 2)
    assert summary["mean"] == pytest.approx(sum(values) / len(values), abs=0.01)
    assert 1 <= len(summary["means"]) <= 48
    assert len(sparkline(summary["means"], 100)) == len(summary["means"])


def test_a_sparkline_goes_from_nothing_to_the_top():
    assert sparkline([0.0, 50.0, None, 100.0, 250.0], 100) == "▁▅ ██"


def test_rows_are_missing_where_an_interval_is_as_long_as_several():
    spacing = Spacing()
    for minutes in (60, 60, 61, 120, 59, 300, 60):
        spacing.add(minutes * 60_000)
    assert 58 * 60_000 < spacing.usual_ms() < 62 * 60_000
    assert spacing.missing() == 1 + 4


def test_of_one_row_none_is_missing():
    assert (Spacing().usual_ms(), Spacing().missing()) == (None, None)


def test_rows_that_come_as_they_come_have_none_missing():
    spacing = Spacing()
    for minutes in (60, 5, 17, 60, 2, 33, 8, 21):
        spacing.add(minutes * 60_000)
    assert (spacing.usual_ms(), spacing.missing()) == (None, None)
