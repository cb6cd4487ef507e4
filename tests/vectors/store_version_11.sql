PRAGMA user_version = 11;
BEGIN TRANSACTION;
CREATE TABLE airtime (
    ends_utc_ms INTEGER NOT NULL,
    gateway_eui BLOB NOT NULL,
    freq_hz INTEGER NOT NULL,
    airtime_us INTEGER NOT NULL,
    PRIMARY KEY (ends_utc_ms, gateway_eui, freq_hz)
) WITHOUT ROWID;
INSERT INTO "airtime" VALUES(1300,X'0000000000000000',868100000,50000);
CREATE TABLE context_backlog (
    topic TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,                  -- JSON, as it was published
    version INTEGER NOT NULL                -- a newer message of the topic has another
) WITHOUT ROWID;
CREATE TABLE decision (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- plans refer to it: never used again
    date TEXT NOT NULL,
    sender TEXT NOT NULL,
    id TEXT NOT NULL,
    said TEXT NOT NULL,                     -- JSON
    UNIQUE (sender, id)
);
INSERT INTO "decision" VALUES(1,'2026-10-20','user/operator','a','{}');
CREATE TABLE "dev_nonce" (
    dev_eui BLOB NOT NULL,
    dev_nonce INTEGER NOT NULL,
    app_nonce INTEGER NOT NULL,
    joined_utc_ms INTEGER NOT NULL,
    forgiven INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dev_eui, app_nonce)
) WITHOUT ROWID;
INSERT INTO "dev_nonce" VALUES(X'70B3D57ED0000001',5,7,1000,0);
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
, lat REAL, lon REAL, make TEXT) WITHOUT ROWID;
INSERT INTO "device" VALUES(X'70B3D57ED0000001',X'0000000000000000',X'7365616C6564',NULL,NULL,NULL,NULL,'1.0.3','A',1,1,'lid one','container/a',1000,2000,NULL,NULL,NULL);
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
INSERT INTO "device_configuration" VALUES(X'70B3D57ED0000001',X'81181E',1,2,NULL,NULL,0,1,3);
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
INSERT INTO "device_session" VALUES(1,X'70B3D57ED0000001',637534209,X'E81E39D25AC012735C0F531056BE5702FC5151B1F9D9F0D2536BC3EAF7F7D1A25C733652EFAF445103D63A4B',X'19B051EC6856F012C99CAFB3866F5D567EF029C7474EFE13F7C5DB3F0DF01F7479BE0A7610E464AC18BBF775',7,1,1000);
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
INSERT INTO "downlink" VALUES(3,X'70B3D57ED0000001',13,X'81181E',0,0,1500,NULL,1);
CREATE TABLE forecast (
    about TEXT NOT NULL PRIMARY KEY,
    learned TEXT NOT NULL                   -- JSON
) WITHOUT ROWID;
INSERT INTO "forecast" VALUES('container/a','{}');
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
CREATE TABLE held (
    held_id INTEGER PRIMARY KEY,
    dev_eui BLOB NOT NULL,
    f_port INTEGER NOT NULL,
    frm_payload BLOB NOT NULL,              -- decrypted
    meta TEXT NOT NULL                      -- JSON, of its reception
);
CREATE TABLE latest (
    asset TEXT PRIMARY KEY,                 -- container/ID or bay/ID
    state TEXT NOT NULL                     -- JSON
) WITHOUT ROWID;
INSERT INTO "latest" VALUES('container/a','{"sequence":41,"measured_ms":1200}');
CREATE TABLE mac_state (
    session_id INTEGER PRIMARY KEY REFERENCES device_session ON DELETE CASCADE,
    state TEXT NOT NULL                     -- JSON
);
INSERT INTO "mac_state" VALUES(1,'{}');
CREATE TABLE outbox (
    outbox_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    created_utc_ms INTEGER NOT NULL
);
INSERT INTO "outbox" VALUES(8,'kind','topic/8',X'7B7D',1,1200);
CREATE TABLE planned_round (date TEXT NOT NULL);
INSERT INTO "planned_round" VALUES('2026-10-20');
CREATE TABLE provisional (
    boot_id TEXT NOT NULL,
    boot_ms INTEGER NOT NULL,
    from_utc_ms INTEGER NOT NULL
);
CREATE TABLE restored (
    restored_utc_ms INTEGER NOT NULL,
    copied_utc_ms INTEGER NOT NULL,
    app_nonce INTEGER NOT NULL
);
INSERT INTO "restored" VALUES(5000,4000,99);
CREATE TABLE retention (
    rule TEXT PRIMARY KEY,
    uplink_id INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "retention" VALUES('bay',17);
CREATE TABLE round_plan (
    date TEXT PRIMARY KEY,                  -- local
    provisional INTEGER NOT NULL,
    planned_utc_ms INTEGER NOT NULL,
    emptying_eur REAL NOT NULL,             -- running costs when the day began
    emptying_pct REAL NOT NULL,
    decided INTEGER NOT NULL,               -- the last decision that it regards
    plan TEXT NOT NULL                      -- JSON
) WITHOUT ROWID;
INSERT INTO "round_plan" VALUES('2026-10-20',0,1792468800000,11.5,71.5,1,'{}');
INSERT INTO "round_plan" VALUES('2026-10-21',1,1792468800000,11.25,71.25,1,'{}');
CREATE TABLE sealing (check_value BLOB NOT NULL);
INSERT INTO "sealing" VALUES(X'90E129952DF8E110EC01083DDF6A1230');
CREATE TABLE source_device (
    source TEXT NOT NULL,
    dev_eui BLOB NOT NULL,
    state TEXT NOT NULL,                    -- JSON
    PRIMARY KEY (source, dev_eui)
) WITHOUT ROWID;
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
INSERT INTO "uplink" VALUES(1,1200,X'70B3D57ED0000001',1,41,12,X'81190E10',NULL,868100000,5,'[]');
CREATE UNIQUE INDEX dev_nonce_once ON dev_nonce (dev_eui, dev_nonce) WHERE NOT forgiven;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('device_session',1);
INSERT INTO "sqlite_sequence" VALUES('downlink',3);
INSERT INTO "sqlite_sequence" VALUES('decision',1);
COMMIT;
