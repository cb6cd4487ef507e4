-- Devices that `stoep device` manages. Keys are sealed with the gateway's own key.
CREATE TABLE device (
    dev_eui BLOB PRIMARY KEY,
    join_eui BLOB NOT NULL,
    app_key BLOB,                           -- sealed; NULL for a device that does not join
    dev_addr INTEGER,                       -- these three for one that was personalised (ABP)
    nwk_s_key BLOB,                         -- sealed
    app_s_key BLOB,                         -- sealed
    source TEXT,                            -- the other network server that it belongs to
    lorawan TEXT NOT NULL,
    device_class TEXT NOT NULL,
    adr INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    name TEXT,
    asset TEXT,
    created_utc_ms INTEGER NOT NULL,
    changed_utc_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What a device has accepted by MAC command; rewritten only when it changes.
CREATE TABLE mac_state (
    session_id INTEGER PRIMARY KEY REFERENCES device_session ON DELETE CASCADE,
    state TEXT NOT NULL                     -- JSON
);

-- Downlinks that have not ended.
CREATE TABLE downlink (
    downlink_id INTEGER PRIMARY KEY AUTOINCREMENT, -- names its events for ever: never used again
    dev_eui BLOB NOT NULL,
    f_port INTEGER NOT NULL,
    frm_payload BLOB NOT NULL,              -- plain
    confirmed INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    created_utc_ms INTEGER NOT NULL,
    expires_utc_ms INTEGER,
    attempts INTEGER NOT NULL               -- frames made of it so far
);

-- What is known of each device of another network server: its place in the stream of uplinks.
CREATE TABLE source_device (
    source TEXT NOT NULL,
    dev_eui BLOB NOT NULL,
    state TEXT NOT NULL,                    -- JSON
    PRIMARY KEY (source, dev_eui)
) WITHOUT ROWID;

-- A device that was flashed anew draws its DevNonces again. Those that were forgiven count no more,
-- but an AppNonce is never given twice.
CREATE TABLE dev_nonce_2 (
    dev_eui BLOB NOT NULL,
    dev_nonce INTEGER NOT NULL,
    app_nonce INTEGER NOT NULL,
    joined_utc_ms INTEGER NOT NULL,
    forgiven INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dev_eui, app_nonce)
) WITHOUT ROWID;
INSERT INTO dev_nonce_2 SELECT dev_eui, dev_nonce, app_nonce, joined_utc_ms, 0 FROM dev_nonce;
DROP TABLE dev_nonce;
ALTER TABLE dev_nonce_2 RENAME TO dev_nonce;
CREATE UNIQUE INDEX dev_nonce_once ON dev_nonce (dev_eui, dev_nonce) WHERE NOT forgiven;

-- What gateways have sent in sub-bands with a duty cycle: an hour of it counts after a restart, too.
CREATE TABLE airtime (
    ends_utc_ms INTEGER NOT NULL,
    gateway_eui BLOB NOT NULL,
    freq_hz INTEGER NOT NULL,
    airtime_us INTEGER NOT NULL,
    PRIMARY KEY (ends_utc_ms, gateway_eui, freq_hz)
) WITHOUT ROWID;

-- The check value by which a wrong sealing key is recognised.
CREATE TABLE sealing (check_value BLOB NOT NULL);
