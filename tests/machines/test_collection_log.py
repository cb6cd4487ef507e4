"""A city's own log: the tables that cities have, and every mistake in them at once."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stoep_gateway.collections.log_file import Site, Style, read
from stoep_gateway.store.records import CollectionRow

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NOW_MS = 1_770_000_000_000  # 2026-02-02T02:40:00Z
SITE = Site(
    {"bank-1": "Marktplein, glas", "bank-2": "bank-2", "b3": "Twice", "b4": "twice"},
    AMSTERDAM,
    NOW_MS,
)


def ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def told(text: str, **style: object) -> list[CollectionRow]:
    log = read("log.csv", text, SITE, Style(**style))  # type: ignore[arg-type]
    assert log.mistakes == []
    assert not log.broken
    return log.rows


def wrong(text: str, **style: object) -> list[str]:
    log = read("log.csv", text, SITE, Style(**style))  # type: ignore[arg-type]
    return [str(it).removeprefix("log.csv") for it in log.mistakes]


def test_a_dutch_spreadsheet() -> None:
    text = (
        "Containernummer;Datum;Tijd;Vulgraad;Gewicht;Wagen;Opmerking\r\n"
        'Marktplein, glas;31-01-2026;6:15;80 %;120,5;W1;"ja; goed"\r\n'
        ";;;;;;\r\n"
        "BANK-2;1-2-2026;;;;;\r\n"
    )
    log = read("log.csv", text, SITE)
    assert log.mistakes == []
    assert log.rows == [
        CollectionRow("bank-1", ms("2026-01-31T06:15+01:00"), "log", 80.0, None, "W1", 120.5),
        CollectionRow("bank-2", ms("2026-02-01T12:00+01:00"), "log", date_only=1),
    ]
    assert log.unused == ("Opmerking",)


@pytest.mark.parametrize(
    ("said", "utc"),
    [
        ("2026-01-31 06:15", "2026-01-31T05:15Z"),
        ("2026-01-31T06:15:30", "2026-01-31T05:15:30Z"),
        ("2026-01-31 06:15:30.5", "2026-01-31T05:15:30Z"),
        ("2026-01-31T06:15Z", "2026-01-31T06:15Z"),
        ("2026-01-31T06:15:00-05:00", "2026-01-31T11:15Z"),
        ("31/01/2026 06:15", "2026-01-31T05:15Z"),
        ("31.01.2026, 6.15", "2026-01-31T05:15Z"),
        ("2025-07-01 06:15", "2025-07-01T04:15Z"),  # summer time
        ("2025-10-26 02:30", "2025-10-26T00:30Z"),  # comes twice: the first
    ],
)
def test_times_as_people_write_them(said: str, utc: str) -> None:
    (row,) = told(f"container;time\nbank-1;{said}\n")
    assert (row.at_utc_ms, row.date_only) == (ms(utc), 0)


def test_a_header_may_say_that_it_is_utc_and_the_month_may_come_first() -> None:
    (row,) = told("container,time_utc\nbank-1,2026-01-31 06:15\n")
    assert row.at_utc_ms == ms("2026-01-31T06:15Z")
    (row,) = told("container,time\nbank-1,01/31/2026 06:15\n", month_first=True)
    assert row.at_utc_ms == ms("2026-01-31T05:15Z")


def test_columns_of_other_names_are_said() -> None:
    text = "Bin ID|Emptied at|Vol %|x\nbank-1|2026-01-31 06:15|30|1\n"
    named = {"container": "bin id", "time": "Emptied At", "from_pct": "Vol %"}
    (row,) = told(text, columns=named)
    assert row.from_pct == 30
    assert wrong(text, columns=named | {"truck": "Vol"}) == [
        ':1: has no column "Vol" (did you mean "Vol %"?)'
    ]
    assert wrong("a,b\n1,2\n") == [
        ":1: no column is the container: say which, --columns container=HEADER; there are a, b",
        ":1: no column is the time: say which, --columns time=HEADER; there are a, b",
    ]


WRITE = "write 2026-01-31 06:00 or 31-01-2026 06:00, or the date alone"
NO_NUMBER = "is no number: with . or , before decimals, and no other sign"
MISTAKES = (  # a row, what is said of it, the column
    ("nowhere,2026-01-31 06:00", '"nowhere" is no container of the configuration', "A"),
    ("twice,2026-01-31 06:00", '"twice" is the name of b3, b4: write the id', "A"),
    (",2026-01-31 06:00", "no container is named", "A"),
    (
        "bank-1,13/31/2026",
        f'"13/31/2026" is no time: {WRITE}; where the month comes first, --month-first',
        "B",
    ),
    ("bank-1,", f"no time is said: {WRITE}", "B"),
    (
        "bank-1,2026-02-03 6:00",
        '"2026-02-03 6:00" has not come yet (times without an offset are in Europe/Amsterdam)',
        "B",
    ),
    ("bank-1,2026-02-03", "2026-02-03 has not come yet", "B"),
    ("bank-1,1926-01-31 06:00", "1926-01-31 is not of the years 2000 to 2999", "B"),
    ("bank-1,2026-01-31 26:00", f'"2026-01-31 26:00" is no time: {WRITE}', "B"),
    ("bank-1,2026-01-31,half", f'"half" {NO_NUMBER}', "C"),
    ("bank-1,2026-01-31,121", '"121" is not from 0 to 120', "C"),
    ("bank-1,2026-01-31,10,20", "from 10 to 20 % is no emptying", "D"),
    ("bank-1,2026-01-31,,," + 65 * "t", "a truck's name has at most 64 characters", "E"),
    ("bank-1,2026-01-31,,,,-1", '"-1" is not from 0 to 100000', "F"),
    ('bank-1,2026-01-31,,,,"1.234,5"', f'"1.234,5" {NO_NUMBER}', "F"),
    ("bank-1,2026-01-31,,,,nan", f'"nan" {NO_NUMBER}', "F"),
)
HEADER = "container,time,from_pct,to_pct,truck,weight_kg"


def test_all_mistakes_at_once_with_line_and_column_and_what_helps() -> None:
    rows = [it for it, _, _ in MISTAKES]
    log = read("log.csv", "\n".join([HEADER, *rows, "bank-1,2026-01-31"]), SITE)
    headers = dict(zip("ABCDEF", HEADER.split(","), strict=True))
    assert [str(it) for it in log.mistakes] == [
        f'log.csv:{line}: {what} (column {column}, "{headers[column]}")'
        for line, (_, what, column) in enumerate(MISTAKES, 2)
    ]
    assert (len(log.rows), log.broken) == (1, False)


def test_a_name_that_is_nearly_one_is_hinted_at() -> None:
    (told_of,) = wrong("container,time\nMarktplein glas,2026-01-31")
    assert '(did you mean "marktplein, glas"?)' in told_of


def test_rows_that_contradict_each_other_are_mistakes_and_equal_ones_count_once() -> None:
    text = f"{HEADER}\n" + "".join(
        f"bank-1,2026-01-30 06:00,,,,{end}\n" for end in ("1", "2", "1", "1,5")
    )
    log = read("log.csv", text, SITE)
    assert [str(it) for it in log.mistakes] == [
        "log.csv:3: says otherwise of the emptying on line 2: only one can be right",
        "log.csv:5: has 7 values, and the heading 6: a value with ',' is in quotes",
    ]
    assert (len(log.rows), log.double) == (1, 1)


def test_a_decimal_sign_that_was_said_is_the_only_one() -> None:
    text = 'container,time,weight_kg\nbank-1,2026-01-31,"1,5"\n'
    assert told(text, decimal=",")[0].weight_kg == 1.5
    assert wrong(text, decimal=".") == [
        ':2: "1,5" is no number: with . before decimals, and no other sign (column C, "weight_kg")'
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", ": is empty: its first line says the columns"),
        ('container,time\nbank-1,2026-01-31\nbank-1,"2026', ":3: this is not a table: "),
        ("container,time,time\nbank-1,2026-01-31,x", ':1: "time" is the heading of more than one'),
    ],
)
def test_what_is_no_table_is_told(text: str, what: str) -> None:
    assert what in wrong(text)[0]
    assert read("log.csv", text, SITE).broken


def test_what_a_spreadsheet_was_guarded_from_is_the_same_again() -> None:
    (row,) = told("container,time,truck\nbank-1,2026-01-31,'=A1\n")
    assert row.truck == "=A1"
    (row,) = told("container,time,truck\nbank-1,2026-01-31,'s Morgens\n")
    assert row.truck == "'s Morgens"


@settings(max_examples=60)
@given(st.text(alphabet="cont,;:\"\n 0123456789-/TZ%='abk", max_size=120), st.booleans())
def test_any_text_is_read_or_told_of(text: str, headed: bool) -> None:
    head = "container,time,from_pct,truck,weight_kg\n" if headed else ""
    log = read("log.csv", head + text, SITE)
    for row in log.rows:
        assert row.container in SITE.containers
        assert row.at_utc_ms <= NOW_MS + 86_400_000
    assert len({row[:2] for row in log.rows}) == len(log.rows)
    if headed and text.strip(', ;\n"'):
        assert log.rows or log.mistakes or log.broken
