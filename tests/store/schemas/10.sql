BEGIN TRANSACTION;
CREATE TABLE api_key (
    key_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL
) WITHOUT ROWID;
INSERT INTO "api_key" VALUES('k1aaaaaaaaaa','alice',X'2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B',1800000000.0,NULL,NULL);
INSERT INTO "api_key" VALUES('k2bbbbbbbbbb','bob',X'2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B',1800000000.0,1900000000.0,1800000100.0);
CREATE TABLE array (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    batch INTEGER NOT NULL REFERENCES batch (pk),
    ordinal INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    tag TEXT NOT NULL UNIQUE,
    n_tasks INTEGER NOT NULL,
    n_unfinished INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'INTENT',
    slurm_job_id INTEGER,
    submitted_at REAL,
    tries INTEGER NOT NULL DEFAULT 0,
    tried_at REAL,
    next_try_at REAL NOT NULL DEFAULT 0,
    waiting TEXT NOT NULL DEFAULT '',
    released_at REAL,
    released_boot TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL
, cancelled_at REAL, gate TEXT NOT NULL DEFAULT '', memory INTEGER, time_limit INTEGER, exclude TEXT NOT NULL DEFAULT '', expected_start REAL, throttle INTEGER, throttle_told TEXT NOT NULL DEFAULT '');
INSERT INTO "array" VALUES(1,1,0,1,'sb-k7x2m4-a',2,0,'DONE',101,1800000001.0,1,1800000001.0,0.0,'',1800000002.0,'1799999999',1800000000.0,NULL,'',NULL,NULL,'',NULL,NULL,'');
INSERT INTO "array" VALUES(2,2,0,1,'sb-k7x2m4-b',2,2,'INTENT',NULL,NULL,3,1800000015.0,1800000045.0,'MaxJobCount',NULL,'',1800000010.0,NULL,'',NULL,NULL,'',NULL,NULL,'');
INSERT INTO "array" VALUES(3,3,0,1,'sb-k7x2m4-c',2,2,'QUEUED',102,1800000021.0,1,1800000021.0,0.0,'',1800000022.0,'1799999999',1800000020.0,1800000080.0,'',NULL,NULL,'',NULL,NULL,'');
INSERT INTO "array" VALUES(4,4,0,1,'sb-k7x2m4-d',1,1,'QUEUED',103,1800000031.0,1,1800000031.0,0.0,'',1800000032.0,'1799999999',1800000030.0,NULL,'',NULL,NULL,'',NULL,NULL,'');
CREATE TABLE attempt (
    batch INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    slurm_state TEXT NOT NULL,
    start_time REAL,
    stop_time REAL,
    exit_code INTEGER,
    signal INTEGER,
    node_list TEXT NOT NULL, array INTEGER, task INTEGER, max_rss REAL, cpu_time REAL, usage_due REAL,
    PRIMARY KEY (batch, idx, attempt)
) WITHOUT ROWID;
INSERT INTO "attempt" VALUES(1,1,1,'NODE_FAIL: its node failed','NODE_FAIL',1800000003.0,1800000005.0,0,0,'n3',1,1,NULL,NULL,NULL);
CREATE TABLE batch (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    tool_id TEXT NOT NULL,
    name TEXT NOT NULL,
    n_jobs INTEGER NOT NULL,
    filesystems TEXT NOT NULL,
    cpu INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    slurm TEXT NOT NULL,
    fixed_args TEXT NOT NULL,
    request_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    n_submitted INTEGER NOT NULL DEFAULT 0,
    n_status_0 INTEGER NOT NULL,
    n_status_1 INTEGER NOT NULL DEFAULT 0,
    n_status_2 INTEGER NOT NULL DEFAULT 0,
    n_status_3 INTEGER NOT NULL DEFAULT 0,
    n_status_4 INTEGER NOT NULL DEFAULT 0,
    n_status_5 INTEGER NOT NULL DEFAULT 0,
    n_status_6 INTEGER NOT NULL DEFAULT 0,
    cancelled_at REAL,
    deleted_at REAL,
    finished_at REAL
, canary INTEGER NOT NULL DEFAULT 0, retry TEXT NOT NULL DEFAULT '', summary TEXT NOT NULL DEFAULT '', n_ran INTEGER NOT NULL DEFAULT 0, ran_seconds REAL NOT NULL DEFAULT 0, last_start REAL, depends_on TEXT NOT NULL DEFAULT '[]', max_parallel INTEGER);
INSERT INTO "batch" VALUES(1,'01jzzzzzzzzzzzzzzzzzzzzz01','alice','t','pi, “two” seeds',2,'["scratch"]',2,256,'{"partition":"main","account":"","qos":"","time_limit":30,"gpus":0}','{"samples":10}','r-1',1800000000.0,5,2,0,0,0,0,0,1,1,NULL,NULL,1800000060.0,0,'','',0,0.0,NULL,'[]',NULL);
INSERT INTO "batch" VALUES(2,'01jzzzzzzzzzzzzzzzzzzzzz02','alice','t','',2,'[]',1,64,'{"partition":"","account":"","qos":"","time_limit":null,"gpus":0}','{}','r-2',1800000010.0,1,0,2,0,0,0,0,0,0,NULL,NULL,NULL,0,'','',0,0.0,NULL,'[["01jzzzzzzzzzzzzzzzzzzzzz03","afterok"]]',NULL);
INSERT INTO "batch" VALUES(3,'01jzzzzzzzzzzzzzzzzzzzzz03','bob','t','x',2,'[]',1,64,'{"partition":"","account":"","qos":"","time_limit":null,"gpus":0}','{}','r-3',1800000020.0,4,2,0,1,0,0,1,0,0,1800000080.0,NULL,NULL,0,'','',0,0.0,NULL,'[]',3);
INSERT INTO "batch" VALUES(4,'01jzzzzzzzzzzzzzzzzzzzzz04','bob','t','gone',1,'[]',1,64,'{"partition":"","account":"","qos":"","time_limit":null,"gpus":0}','{}','r-4',1800000030.0,2,1,0,0,0,0,1,0,0,NULL,1800000090.0,NULL,0,'','',0,0.0,NULL,'[]',NULL);
CREATE TABLE dependency (
    batch INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    parent_id TEXT NOT NULL,
    type TEXT NOT NULL,
    is_met INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, ordinal)
) WITHOUT ROWID;
INSERT INTO "dependency" VALUES(2,0,3,'01jzzzzzzzzzzzzzzzzzzzzz03','afterok',0);
CREATE TABLE gate (
    batch INTEGER PRIMARY KEY,
    due INTEGER NOT NULL DEFAULT 1
);
INSERT INTO "gate" VALUES(2,0);
CREATE TABLE idempotency (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    batch_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (user_id, key)
) WITHOUT ROWID;
INSERT INTO "idempotency" VALUES('alice','my-first',X'00FF','01jzzzzzzzzzzzzzzzzzzzzz01',1800000000.0);
CREATE TABLE job (
    batch INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    array INTEGER NOT NULL,
    task INTEGER NOT NULL,
    args TEXT NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    slurm_state TEXT NOT NULL DEFAULT '',
    start_time REAL,
    stop_time REAL,
    exit_code INTEGER,
    signal INTEGER,
    node_list TEXT NOT NULL DEFAULT '',
    restarts INTEGER NOT NULL DEFAULT 0, earlier INTEGER NOT NULL DEFAULT 0, counted INTEGER NOT NULL DEFAULT 0, free INTEGER NOT NULL DEFAULT 0, never_runs INTEGER NOT NULL DEFAULT 0, expected_start REAL, max_rss REAL, cpu_time REAL, usage_due REAL, status_since REAL, spent_0 REAL NOT NULL DEFAULT 0, spent_1 REAL NOT NULL DEFAULT 0, spent_2 REAL NOT NULL DEFAULT 0, spent_3 REAL NOT NULL DEFAULT 0, spent_4 REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, idx)
) WITHOUT ROWID;
INSERT INTO "job" VALUES(1,0,1,0,'{"seed":1}',5,'','COMPLETED',1800000010.0,1800000050.0,0,0,'n1',0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,0.0);
INSERT INTO "job" VALUES(1,1,1,1,'{"seed":2}',6,'EXIT_CODE: it ended with 3','FAILED',1800000010.0,1800000060.0,3,0,'n2',1,0,0,0,0,NULL,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,0.0);
INSERT INTO "job" VALUES(2,0,2,0,'{}',0,'','',NULL,NULL,NULL,NULL,'',0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,0.0);
INSERT INTO "job" VALUES(2,1,2,1,'{}',0,'','',NULL,NULL,NULL,NULL,'',0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,0.0);
INSERT INTO "job" VALUES(3,0,3,0,'{}',4,'','RUNNING',1800000030.0,NULL,NULL,NULL,'n1',0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,0.0);
INSERT INTO "job" VALUES(3,1,3,1,'{}',1,'HELD: by its user','PENDING',NULL,NULL,NULL,NULL,'',0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,0.0);
INSERT INTO "job" VALUES(4,0,4,0,'{}',4,'','RUNNING',1800000040.0,NULL,NULL,NULL,'n2',0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,0.0);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('instance','k7x2m4');
CREATE TABLE outbox (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery_id TEXT NOT NULL UNIQUE,
    batch INTEGER NOT NULL REFERENCES webhook (batch) ON DELETE CASCADE,
    event TEXT NOT NULL,
    occurred_at REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL DEFAULT 0
);
INSERT INTO "outbox" VALUES(1,'00112233445566778899aabbccddeeff',1,'finished',1800000060.0,2,1800000100.0);
CREATE TABLE reason (
    batch INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    node TEXT NOT NULL,
    n INTEGER NOT NULL,
    example INTEGER,
    PRIMARY KEY (batch, status, reason, node)
) WITHOUT ROWID;
INSERT INTO "reason" VALUES(1,6,'EXIT_CODE: it ended with 3','n2',1,1);
INSERT INTO "reason" VALUES(3,1,'HELD: by its user','',1,NULL);
CREATE TABLE tombstone (
    tag TEXT PRIMARY KEY,
    batch_id TEXT NOT NULL,
    slurm_job_id INTEGER,
    buried_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "tombstone" VALUES('sb-k7x2m4-z','01jzzzzzzzzzzzzzzzzzzzzz00',99,1800000000.0);
CREATE TABLE usage (
    batch INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    n INTEGER NOT NULL,
    most REAL NOT NULL,
    PRIMARY KEY (batch, kind, bucket)
) WITHOUT ROWID;
CREATE TABLE webhook (
    batch INTEGER PRIMARY KEY REFERENCES batch (pk) ON DELETE CASCADE,
    url TEXT NOT NULL,
    host TEXT NOT NULL,
    finished INTEGER NOT NULL,
    first_failure INTEGER NOT NULL
);
INSERT INTO "webhook" VALUES(1,'https://hooks.example.org/x','hooks.example.org',1,1);
CREATE INDEX batch_of_user ON batch (user_id, batch_id) WHERE deleted_at IS NULL;
CREATE INDEX batch_deleted ON batch (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX idempotency_batch ON idempotency (batch_id);
CREATE INDEX array_of_batch ON array (batch);
CREATE INDEX array_open ON array (state, pk) WHERE state NOT IN ('DONE', 'REFUSED');
CREATE UNIQUE INDEX job_of_array ON job (array, task);
CREATE INDEX job_usage_due ON job (usage_due) WHERE usage_due IS NOT NULL;
CREATE INDEX attempt_usage_due ON attempt (usage_due) WHERE usage_due IS NOT NULL;
CREATE INDEX array_intent ON array (batch, ordinal, cancelled_at) WHERE state = 'INTENT';
CREATE INDEX dependency_on ON dependency (parent);
CREATE INDEX gate_due ON gate (batch) WHERE due > 0;
CREATE INDEX outbox_due ON outbox (next_try_at);
CREATE INDEX outbox_batch ON outbox (batch);
CREATE TRIGGER tell_finished AFTER UPDATE OF finished_at ON batch
WHEN OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL
BEGIN
    INSERT INTO outbox (delivery_id, batch, event, occurred_at)
    SELECT lower(hex(randomblob(16))), batch, 'finished', NEW.finished_at
    FROM webhook WHERE batch = NEW.pk AND finished;
END;
CREATE TRIGGER tell_first_failure AFTER UPDATE OF n_status_6 ON batch
WHEN OLD.n_status_6 = 0 AND NEW.n_status_6 > 0
BEGIN
    INSERT INTO outbox (delivery_id, batch, event, occurred_at)
    SELECT lower(hex(randomblob(16))), batch, 'first_failure',
        (julianday('now') - 2440587.5) * 86400.0
    FROM webhook WHERE batch = NEW.pk AND first_failure;
END;
CREATE INDEX batch_open ON batch (pk) WHERE finished_at IS NULL;
CREATE INDEX batch_finished ON batch (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX array_sharing ON array (batch)
    WHERE throttle IS NOT NULL AND state NOT IN ('DONE', 'REFUSED');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('batch',4);
INSERT INTO "sqlite_sequence" VALUES('array',4);
INSERT INTO "sqlite_sequence" VALUES('outbox',1);
COMMIT;
PRAGMA user_version = 10;
