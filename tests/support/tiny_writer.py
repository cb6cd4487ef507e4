"""A gateway in miniature, right or wrong as asked: proves that the power-cut instrument can fail.

usage: tiny_writer.py WAY DATABASE PORT ROWS

Each row is stored in SQLite and then published to PORT, as PUBLISH packets without a conversation.
"""

from __future__ import annotations

import json
import random
import socket
import sqlite3
import sys
from pathlib import Path

from mqtt_wire import encode_publish

# journal mode, synchronous, and whether the publish waits for the commit
WAYS = {
    "full": ("WAL", "FULL", True),
    "extra-delete": ("DELETE", "EXTRA", True),
    "off": ("WAL", "OFF", True),
    "normal": ("WAL", "NORMAL", True),
    "full-delete": ("DELETE", "FULL", True),
    "early": ("WAL", "FULL", False),
}


def main(way: str, database: Path, port: int, rows: int) -> None:
    journal_mode, synchronous, waits = WAYS[way]
    database.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 20")
    connection.execute("CREATE TABLE outbox (event_id TEXT PRIMARY KEY, topic TEXT, payload BLOB)")
    chance = random.Random(way)
    with socket.create_connection(("127.0.0.1", port)) as broker:
        for number in range(rows):
            event_id = f"event-{number}"
            filling = "x" * chance.choice((10, 300, 6000))  # less than a page, and more than one
            payload = json.dumps({"event_id": event_id, "filling": filling}).encode()
            packet = encode_publish("tiny/state", payload, number + 1)
            connection.execute("BEGIN IMMEDIATE")
            if not waits:
                broker.sendall(packet)
            row = (event_id, "tiny/state", payload)
            connection.execute("INSERT INTO outbox VALUES (?, ?, ?)", row)
            connection.execute("COMMIT")
            if waits:
                broker.sendall(packet)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
