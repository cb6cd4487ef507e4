-- Sessions change only when a device joins; their counters with every uplink. Apart, the rows that
-- change are few bytes each and lie on few pages, which is what an SD card has to write.
CREATE TABLE device_session (
    session_id INTEGER PRIMARY KEY AUTOINCREMENT, -- uplinks refer to it for ever: never used again
    dev_eui BLOB NOT NULL,
    dev_addr INTEGER NOT NULL,
    nwk_s_key BLOB NOT NULL,
    app_s_key BLOB NOT NULL,
    app_nonce INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,             -- 1 once an uplink has come on this session
    created_utc_ms INTEGER NOT NULL
);

CREATE TABLE frame_counter (
    session_id INTEGER PRIMARY KEY REFERENCES device_session ON DELETE CASCADE,
    f_cnt_up INTEGER NOT NULL,              -- the last one accepted, -1 before the first
    f_cnt_down INTEGER NOT NULL             -- the next one to use
);

-- Every DevNonce that a device ever used, with the AppNonce it was answered with.
CREATE TABLE dev_nonce (
    dev_eui BLOB NOT NULL,
    dev_nonce INTEGER NOT NULL,
    app_nonce INTEGER NOT NULL,
    joined_utc_ms INTEGER NOT NULL,
    PRIMARY KEY (dev_eui, dev_nonce)
) WITHOUT ROWID;

-- One row per accepted uplink. A payload that cannot be decoded stays here as it came.
CREATE TABLE uplink (
    uplink_id INTEGER PRIMARY KEY,
    received_utc_ms INTEGER NOT NULL,
    dev_eui BLOB NOT NULL,
    session_id INTEGER NOT NULL,
    f_cnt_up INTEGER NOT NULL,
    f_port INTEGER,
    frm_payload BLOB NOT NULL,              -- decrypted
    undecodable TEXT,                       -- the code, NULL for a good one
    freq_hz INTEGER NOT NULL,
    dr INTEGER NOT NULL,
    receptions TEXT NOT NULL                -- JSON [[gateway EUI, RSSI in dBm, SNR in dB], …], best first
);

-- Messages on their way to the broker, gone once it has acknowledged them.
CREATE TABLE outbox (
    outbox_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    created_utc_ms INTEGER NOT NULL
);

-- What is known of each container and bay: the starting point of its next message.
CREATE TABLE latest (
    asset TEXT PRIMARY KEY,                 -- container/ID or bay/ID
    state TEXT NOT NULL                     -- JSON
) WITHOUT ROWID;

CREATE TABLE gateway (
    gateway_eui BLOB PRIMARY KEY,
    last_seen_utc_ms INTEGER NOT NULL,
    stat TEXT NOT NULL                      -- JSON, as the forwarder sent it
) WITHOUT ROWID;
