-- The configuration that each device shall have, and what it has said of it.
CREATE TABLE device_configuration (
    dev_eui BLOB PRIMARY KEY,
    payload BLOB NOT NULL,                  -- what is wanted, as it is sent
    wanted_utc_ms INTEGER NOT NULL,         -- since when
    since_utc_ms INTEGER NOT NULL,          -- when it came to be in force, pending or refused
    told_hash INTEGER,                      -- of what the device last said is in force
    told_utc_ms INTEGER,
    refused INTEGER NOT NULL,               -- why it did not take what is wanted, or 0
    tries INTEGER NOT NULL,                 -- downlinks since it has last been another
    next_utc_ms INTEGER NOT NULL            -- not to be sent again before
) WITHOUT ROWID;
