PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE dev_nonce (
    dev_eui BLOB NOT NULL,
    dev_nonce INTEGER NOT NULL,
    app_nonce INTEGER NOT NULL,
    joined_utc_ms INTEGER NOT NULL,
    PRIMARY KEY (dev_eui, dev_nonce)
) WITHOUT ROWID;
INSERT INTO "dev_nonce" VALUES(X'70B3D57ED0000001',5,7,1000);
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
INSERT INTO "device_session" VALUES(1,X'70B3D57ED0000001',637534209,X'6E6E6E6E6E6E6E6E6E6E6E6E6E6E6E6E',X'61616161616161616161616161616161',7,1,1000);
CREATE TABLE frame_counter (
    session_id INTEGER PRIMARY KEY REFERENCES device_session ON DELETE CASCADE,
    f_cnt_up INTEGER NOT NULL,              -- the last one accepted, -1 before the first
    f_cnt_down INTEGER NOT NULL             -- the next one to use
);
INSERT INTO "frame_counter" VALUES(1,41,9);
CREATE TABLE gateway (
    gateway_eui BLOB PRIMARY KEY,
    last_seen_utc_ms INTEGER NOT NULL,
    stat TEXT NOT NULL                      -- JSON, as the forwarder sent it
) WITHOUT ROWID;
INSERT INTO "gateway" VALUES(X'70B3D57ED0000001',1,'{}');
CREATE TABLE latest (
    asset TEXT PRIMARY KEY,                 -- container/ID or bay/ID
    state TEXT NOT NULL                     -- JSON
) WITHOUT ROWID;
INSERT INTO "latest" VALUES('container/a','{"n":1}');
CREATE TABLE outbox (
    outbox_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    created_utc_ms INTEGER NOT NULL
);
INSERT INTO "outbox" VALUES(8,'kind','topic/8',X'7B2261223A317D',1,3000);
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
INSERT INTO "uplink" VALUES(41,2000,X'70B3D57ED0000001',1,41,10,X'8101',NULL,868100000,5,'[]');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('device_session',1);
COMMIT;
