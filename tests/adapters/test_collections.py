"""Emptyings in the store: written with what else happens, each once, read while a gateway runs."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from stoep_gateway.store.latest import read_collections, read_outcomes
from stoep_gateway.store.records import CollectionRow, OutcomeRow, Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store

SEALER = Sealer(bytes(32))
VECTORS = Path(__file__).parents[1] / "vectors"

SEEN = CollectionRow("a", 1000, "sensor", 80.0, 2.0)
LOGGED = CollectionRow("a", 1000, "log", None, None, "t1", 61.5)
TOLD = CollectionRow("b", 2000, "driver", date_only=0)


async def written(path: Path, *records: Record) -> None:
    store = Store(path, lambda check_value: SEALER)
    await store.open()
    done = asyncio.Event()
    for record in records:
        store.submit(record)
    store.submit(Record(), done.set)
    await done.wait()
    await store.close()


async def test_the_same_row_twice_is_one_with_what_was_said_last(tmp_path):
    path = tmp_path / "stoep.db"
    corrected = LOGGED._replace(weight_kg=63.0)
    await written(path, Record(collections=(TOLD, SEEN, LOGGED)), Record(collections=(corrected,)))
    assert read_collections(path, 0, 3000) == [corrected, SEEN, TOLD]
    assert read_collections(path, 1000, 2000) == [corrected, SEEN]
    assert read_collections(path, 1001, 2000) == []


async def test_what_one_source_told_can_be_forgotten(tmp_path):
    path = tmp_path / "stoep.db"
    later = LOGGED._replace(at_utc_ms=2000)
    forget = Record(forgotten_collections=(("log", 1000, 2000),))
    await written(path, Record(collections=(SEEN, LOGGED, later)), forget)
    assert read_collections(path, 0, 3000) == [SEEN, later]


async def test_an_outcome_is_replaced_by_the_next_of_its_date(tmp_path):
    path = tmp_path / "stoep.db"
    first, second = OutcomeRow("2026-01-31", "[]"), OutcomeRow("2026-01-31", "[1]")
    await written(path, Record(outcomes=(first,)), Record(outcomes=(first, second)))
    assert read_outcomes(path, "2026-01-01", "2026-01-31") == {"2026-01-31": "[1]"}
    assert read_outcomes(path, "2026-02-01", "2026-12-31") == {}


def test_an_older_database_has_no_collections(tmp_path):
    path = tmp_path / "stoep.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((VECTORS / "store_version_10.sql").read_text(encoding="utf-8"))
    assert read_collections(path, 0, 3000) == []
    assert read_outcomes(path, "2026-01-01", "2026-12-31") == {}
