-- Who told of an emptying: a container's sensor, the city's log, a driver. One may be told by all.
CREATE TABLE collection (
    container TEXT NOT NULL,                -- its id
    at_utc_ms INTEGER NOT NULL,             -- of a date alone its local noon
    source TEXT NOT NULL CHECK (source IN ('sensor', 'log', 'driver')),
    from_pct REAL,
    to_pct REAL,
    truck TEXT,
    weight_kg REAL,
    date_only INTEGER NOT NULL DEFAULT 0,
    after_utc_ms INTEGER,                   -- a sensor's level before: it was emptied after that
    PRIMARY KEY (container, at_utc_ms, source)
) WITHOUT ROWID;
CREATE INDEX collection_by_time ON collection (at_utc_ms);

-- What became of the stops that were planned for a local date.
CREATE TABLE outcome (
    date TEXT NOT NULL PRIMARY KEY,
    stops TEXT NOT NULL                     -- JSON
) WITHOUT ROWID;
