-- There while UTC is provisional: it began in that start of the machine (boot_id) at boot_ms since
-- then, as from_utc_ms.
CREATE TABLE provisional (
    boot_id TEXT NOT NULL,
    boot_ms INTEGER NOT NULL,
    from_utc_ms INTEGER NOT NULL
);

-- What was received at a provisional time, to be told when the time is known.
CREATE TABLE held (
    held_id INTEGER PRIMARY KEY,
    dev_eui BLOB NOT NULL,
    f_port INTEGER NOT NULL,
    frm_payload BLOB NOT NULL,              -- decrypted
    meta TEXT NOT NULL                      -- JSON, of its reception
);

-- The local date of the last round that was planned.
CREATE TABLE planned_round (date TEXT NOT NULL);
