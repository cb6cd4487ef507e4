-- The plan of each date: of a past one the last that was in force on it.
CREATE TABLE round_plan (
    date TEXT PRIMARY KEY,                  -- local
    provisional INTEGER NOT NULL,
    planned_utc_ms INTEGER NOT NULL,
    emptying_eur REAL NOT NULL,             -- running costs when the day began
    emptying_pct REAL NOT NULL,
    decided INTEGER NOT NULL,               -- the last decision that it regards
    plan TEXT NOT NULL                      -- JSON
) WITHOUT ROWID;

-- What people decided of the rounds of a date; a sender's id is taken once.
CREATE TABLE decision (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- plans refer to it: never used again
    date TEXT NOT NULL,
    sender TEXT NOT NULL,
    id TEXT NOT NULL,
    said TEXT NOT NULL,                     -- JSON
    UNIQUE (sender, id)
);
