"""From stored uplinks to rows: each reading once, at its own time; bays without their minutes."""

import pytest
from stoep_gateway.assets.geometry import Inside
from stoep_gateway.assets.registry import Container
from stoep_gateway.keeping import tables
from stoep_gateway.keeping.tables import Named, Span, Uplink
from stoep_protocol import messages, schema
from stoep_protocol.messages import BayReport, BinReport, Status

HOUR_MS = 3_600_000
T0 = 1_800_000_000_000 // HOUR_MS * HOUR_MS
BIN, BAY = bytes(7) + b"\1", bytes(7) + b"\2"
CONTAINER = Container("a", "container/a", 0, 0, 1100, Inside(1000, 0), 80, "state", "event", "")
NAMED = Named({BIN: "container/a", BAY: "bay/b"}, {"container/a": CONTAINER})
ALL = Span(0, 2**53)
RADIO = '[["0016c001ff10a235",-101.2,7.5],["0016c001ff10a236",-111,3]]'


def uplink(at_ms, message, dev_eui=BIN, number=1):
    f_port, payload = messages.encode(message)
    return Uplink(number, at_ms, dev_eui, number, f_port, payload, None, 868_100_000, 5, RADIO)


def hourly(levels_mm, history=3):
    """Return a container's reports, each with the readings before it."""
    return [
        uplink(
            T0 + n * HOUR_MS,
            BinReport(
                n,
                levels_mm[n],
                4,
                history=tuple(
                    (60 * back, levels_mm[n - back], 4) for back in range(1, min(history, n) + 1)
                ),
            ),
            number=n,
        )
        for n in range(len(levels_mm))
    ]


def table(kind, uplinks, span=ALL, named=NAMED, **options):
    names = [column.name for column in tables.COLUMNS[kind]]
    return [
        dict(zip(names, row, strict=True))
        for row in tables.rows(kind, uplinks, named, span, **options)
    ]


LEVELS = [900 - 10 * n for n in range(20)]


def test_each_reading_is_there_once_though_it_came_four_times():
    rows = table("readings", hourly(LEVELS))
    assert [(it["sequence"], it["distance_mm"]) for it in rows] == list(enumerate(LEVELS))
    assert [it["time_utc"] for it in rows] == [T0 + n * HOUR_MS for n in range(20)]
    assert rows[0]["fill_pct"] == 10.0
    assert (rows[3]["dev_eui"], rows[3]["asset"]) == (BIN.hex(), "container/a")
    assert [rows[3][it] for it in ("f_cnt_up", "rssi_dbm", "snr_db", "gateways")] == [
        3,
        -101.2,
        7.5,
        2,
    ]


def test_what_was_lost_comes_at_its_own_time_with_the_next_report():
    uplinks = hourly(LEVELS)
    del uplinks[5:8]
    rows = table("readings", uplinks)
    assert sorted(it["sequence"] for it in rows) == list(range(20))
    late = [it for it in rows if it["received_utc"] != it["time_utc"]]
    assert [(it["sequence"], it["time_utc"], it["received_utc"]) for it in late] == [
        (n, T0 + n * HOUR_MS, T0 + 8 * HOUR_MS) for n in (5, 6, 7)
    ]
    assert {it["temperature_c"] for it in late} == {None}


def test_a_span_is_of_the_readings_own_times():
    uplinks = hourly(LEVELS)
    del uplinks[5:8]
    rows = table("readings", uplinks, Span(T0 + 6 * HOUR_MS, T0 + 8 * HOUR_MS))
    assert [it["sequence"] for it in rows] == [6, 7]


def test_a_device_that_stands_for_nothing_has_distances_and_no_level():
    (row,) = table("readings", hourly([5000]), named=Named({}, {}))
    assert (row["asset"], row["distance_mm"], row["fill_pct"], row["quality"]) == (
        None,
        5000,
        None,
        4,
    )


def test_emptyings_are_those_that_the_gateway_saw():
    levels = [900 - 50 * n for n in range(10)] + [950] * 3 + [900 - 50 * n for n in range(10)]
    levels += [940] * 3
    first, second = table("emptyings", hourly(levels))
    assert (first["time_utc"], first["from_pct"], first["to_pct"]) == (T0 + 10 * HOUR_MS, 55.0, 5.0)
    assert first["hours_since_emptied"] is None
    assert (second["time_utc"], second["hours_since_emptied"]) == (T0 + 23 * HOUR_MS, 13.0)


def test_times_of_bays_are_cut_to_five_minutes_unless_raw():
    at_ms = T0 + 437_123
    report = BayReport(schema.OCCUPIED, 7, 100, 4000)
    (row,) = table("bays", [uplink(at_ms, report, BAY)])
    assert row["asset"] == "bay/b"
    assert row["state"] == "occupied"
    assert {row[it] % 300_000 for it in ("time_utc", "since_utc")} == {0}
    assert row["time_utc"] <= at_ms < row["time_utc"] + 300_000
    assert row["previous_duration_s"] % 300 == 0
    (row,) = table("bays", [uplink(at_ms, report, BAY)], raw=True)
    assert row["time_utc"] == at_ms
    assert abs(at_ms - row["since_utc"] - 100_000) <= 4000


def test_uplinks_leave_bays_out_unless_raw():
    uplinks = [uplink(T0, BayReport(0, 1), BAY), *hourly([900])]
    assert [it["dev_eui"] for it in table("uplinks", uplinks)] == [BIN.hex()]
    rows = table("uplinks", uplinks, raw=True)
    assert [it["payload"] for it in rows] == [it.frm_payload.hex() for it in uplinks]


def test_what_other_makes_say_is_not_taken_for_ours_and_their_bays_are_left_out() -> None:
    named = Named(NAMED.assets, NAMED.containers, frozenset((BIN, BAY)))
    uplinks = [uplink(1_000_000, BinReport(1, 900), it) for it in (BIN, BAY)]
    assert [row["dev_eui"] for row in table("uplinks", uplinks, named=named)] == [BIN.hex()]
    assert len(table("uplinks", uplinks, named=named, raw=True)) == 2
    for kind in ("readings", "emptyings", "bays", "status"):
        assert table(kind, uplinks, named=named) == []


def test_status_is_in_words():
    status = Status((1, 2, 3), 4, 500, 3600, schema.RESET_WATCHDOG, (schema.ERROR_RADIO,), -3)
    (row,) = table("status", [uplink(T0, status)])
    assert [row[it] for it in ("firmware", "battery_mv", "reset_reason", "errors")] == [
        "1.2.3",
        3600,
        "watchdog",
        "radio",
    ]


@pytest.mark.parametrize("kind", tables.KINDS)
def test_what_cannot_be_read_is_in_the_uplinks_only(kind):
    bad = hourly([900])[0]._replace(frm_payload=b"\xff", undecodable="type", receptions="[]", dr=-1)
    rows = table(kind, [bad])
    assert len(rows) == (kind == "uplinks")
    if rows:
        assert (rows[0]["rssi_dbm"], rows[0]["dr"], rows[0]["gateways"]) == (None, None, 0)
