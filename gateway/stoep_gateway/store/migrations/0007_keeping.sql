-- How far each rule of [retention] is through with the uplinks.
CREATE TABLE retention (
    rule TEXT PRIMARY KEY,
    uplink_id INTEGER NOT NULL
) WITHOUT ROWID;

-- When this database was brought back from a copy, and the AppNonce up to which all may have been
-- given by what was lost.
CREATE TABLE restored (
    restored_utc_ms INTEGER NOT NULL,
    copied_utc_ms INTEGER NOT NULL,
    app_nonce INTEGER NOT NULL
);
