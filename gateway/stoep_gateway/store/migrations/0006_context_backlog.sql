-- What the context broker has not been told of yet: the newest message of each topic.
CREATE TABLE context_backlog (
    topic TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,                  -- JSON, as it was published
    version INTEGER NOT NULL                -- a newer message of the topic has another
) WITHOUT ROWID;
