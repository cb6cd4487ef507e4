"""Migrations: each in its order and once, from every version that was released."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from stoep_gateway.store.migrate import latest_version, migrate, versions

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stoep.db"


def test_migrations_run_in_order_and_once(path):
    assert versions() == sorted(set(versions()))
    assert versions()[-1] == latest_version()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for version in versions():
            migrate(connection, path, to=version)
            assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        before = connection.execute("SELECT sql FROM sqlite_schema").fetchall()
        migrate(connection, path)
        assert connection.execute("SELECT sql FROM sqlite_schema").fetchall() == before
