"""The schema, one step a version. `PRAGMA user_version` is the number of steps taken."""

from __future__ import annotations

V1 = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE api_key (
    key_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL
) WITHOUT ROWID;

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
);
CREATE INDEX batch_of_user ON batch (user_id, batch_id) WHERE deleted_at IS NULL;
CREATE INDEX batch_deleted ON batch (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE idempotency (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    batch_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (user_id, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_batch ON idempotency (batch_id);

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
);
CREATE INDEX array_of_batch ON array (batch);
CREATE INDEX array_open ON array (state, pk) WHERE state NOT IN ('DONE', 'REFUSED');

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
    restarts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, idx)
) WITHOUT ROWID;
CREATE UNIQUE INDEX job_of_array ON job (array, task);

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
    node_list TEXT NOT NULL,
    PRIMARY KEY (batch, idx, attempt)
) WITHOUT ROWID;

CREATE TABLE tombstone (
    tag TEXT PRIMARY KEY,
    batch_id TEXT NOT NULL,
    slurm_job_id INTEGER,
    buried_at REAL NOT NULL
) WITHOUT ROWID;
"""

# What is cancelled is an array, since a job of it may be run again in another one. An array may ask
# for other hardware than its batch did (NULL: the same), and wait until it may be handed over.
V2 = """
ALTER TABLE array ADD COLUMN cancelled_at REAL;
ALTER TABLE array ADD COLUMN gate TEXT NOT NULL DEFAULT '';
ALTER TABLE array ADD COLUMN memory INTEGER;
ALTER TABLE array ADD COLUMN time_limit INTEGER;
ALTER TABLE array ADD COLUMN exclude TEXT NOT NULL DEFAULT '';
UPDATE array SET cancelled_at = (SELECT cancelled_at FROM batch WHERE batch.pk = array.batch);

ALTER TABLE batch ADD COLUMN canary INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN retry TEXT NOT NULL DEFAULT '';

ALTER TABLE job ADD COLUMN earlier INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN free INTEGER NOT NULL DEFAULT 0;

ALTER TABLE attempt ADD COLUMN array INTEGER;
ALTER TABLE attempt ADD COLUMN task INTEGER;
UPDATE attempt SET (array, task) = (SELECT job.array, job.task FROM job
    WHERE job.batch = attempt.batch AND job.idx = attempt.idx);
"""

# What a job used and where its time went. `usage_due`: when accounting is to be asked what it used;
# NULL: it has been, or there is nothing to ask.
V3 = """
ALTER TABLE job ADD COLUMN never_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN expected_start REAL;
ALTER TABLE job ADD COLUMN max_rss REAL;
ALTER TABLE job ADD COLUMN cpu_time REAL;
ALTER TABLE job ADD COLUMN usage_due REAL;
ALTER TABLE job ADD COLUMN status_since REAL;
ALTER TABLE job ADD COLUMN spent_0 REAL NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN spent_1 REAL NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN spent_2 REAL NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN spent_3 REAL NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN spent_4 REAL NOT NULL DEFAULT 0;
CREATE INDEX job_usage_due ON job (usage_due) WHERE usage_due IS NOT NULL;
ALTER TABLE array ADD COLUMN expected_start REAL;
ALTER TABLE attempt ADD COLUMN max_rss REAL;
ALTER TABLE attempt ADD COLUMN cpu_time REAL;
"""

# What a run used may be told after its job has been put back.
V4 = """
ALTER TABLE attempt ADD COLUMN usage_due REAL;
CREATE INDEX attempt_usage_due ON attempt (usage_due) WHERE usage_due IS NOT NULL;
"""

# A batch of a million jobs waits in a thousand arrays, of which the first few are looked at.
V5 = """
CREATE INDEX array_intent ON array (batch, ordinal, cancelled_at) WHERE state = 'INTENT';
"""

# Why the jobs of a batch wait or have failed, and what those used that succeeded, counted; and what
# the batch says of it.
V6 = """
CREATE TABLE reason (
    batch INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    node TEXT NOT NULL,
    n INTEGER NOT NULL,
    example INTEGER,
    PRIMARY KEY (batch, status, reason, node)
) WITHOUT ROWID;
INSERT INTO reason SELECT batch, status, reason, iif(status = 6, node_list, ''), count(*),
    iif(status = 6, min(idx), NULL)
    FROM job WHERE status IN (1, 2, 6) AND reason != '' GROUP BY 1, 2, 3, 4;

CREATE TABLE usage (
    batch INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    n INTEGER NOT NULL,
    most REAL NOT NULL,
    PRIMARY KEY (batch, kind, bucket)
) WITHOUT ROWID;

ALTER TABLE batch ADD COLUMN summary TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN n_ran INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN ran_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN last_start REAL;
"""

# Arrays that may not be handed over yet. `due` counts what has happened that may change that. A
# parent's row is not referred to: it may be gone before its child's.
V7 = """
ALTER TABLE batch ADD COLUMN depends_on TEXT NOT NULL DEFAULT '[]';

CREATE TABLE dependency (
    batch INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    parent_id TEXT NOT NULL,
    type TEXT NOT NULL,
    is_met INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, ordinal)
) WITHOUT ROWID;
CREATE INDEX dependency_on ON dependency (parent);

CREATE TABLE gate (
    batch INTEGER PRIMARY KEY,
    due INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX gate_due ON gate (batch) WHERE due > 0;
"""

# Who wants to be told of what, and what is to be told: written with the change itself, in the same
# transaction, whoever writes that, so that no crash loses it.
V8 = """
CREATE TABLE webhook (
    batch INTEGER PRIMARY KEY REFERENCES batch (pk) ON DELETE CASCADE,
    url TEXT NOT NULL,
    host TEXT NOT NULL,
    finished INTEGER NOT NULL,
    first_failure INTEGER NOT NULL
);
CREATE TABLE outbox (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery_id TEXT NOT NULL UNIQUE,
    batch INTEGER NOT NULL REFERENCES webhook (batch) ON DELETE CASCADE,
    event TEXT NOT NULL,
    occurred_at REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL DEFAULT 0
);
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
"""

# For metrics, and for what is kept for so long and no longer.
V9 = """
CREATE INDEX batch_open ON batch (pk) WHERE finished_at IS NULL;
CREATE INDEX batch_finished ON batch (finished_at) WHERE finished_at IS NOT NULL;
"""

# One throttle for all arrays of a batch: the share of each, and what Slurm was told of it last.
V10 = """
ALTER TABLE batch ADD COLUMN max_parallel INTEGER;
ALTER TABLE array ADD COLUMN throttle INTEGER;
ALTER TABLE array ADD COLUMN throttle_told TEXT NOT NULL DEFAULT '';
CREATE INDEX array_sharing ON array (batch)
    WHERE throttle IS NOT NULL AND state NOT IN ('DONE', 'REFUSED');
"""

# What a key is called, what it is good for, when it was last used, and which key it was made with.
V11 = """
ALTER TABLE api_key ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN scopes TEXT NOT NULL DEFAULT 'read submit';
ALTER TABLE api_key ADD COLUMN used_at REAL;
ALTER TABLE api_key ADD COLUMN made_with TEXT NOT NULL DEFAULT '';
CREATE INDEX api_key_user ON api_key (user_id, created_at);
CREATE INDEX api_key_made_with ON api_key (made_with) WHERE made_with != '';
"""

# What has become of each notification stays, for as long as its batch does.
V12 = """
ALTER TABLE outbox ADD COLUMN state TEXT NOT NULL DEFAULT 'pending';
ALTER TABLE outbox ADD COLUMN last_error TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN last_at REAL;
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (next_try_at) WHERE state = 'pending';
"""

# Who did what to what.
V13 = """
CREATE TABLE audit (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    user_id TEXT NOT NULL,
    what TEXT NOT NULL,
    target TEXT NOT NULL,
    owner TEXT NOT NULL,
    outcome TEXT NOT NULL,
    credential TEXT NOT NULL,
    remote TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail TEXT NOT NULL
);
"""

# What there is of one user's, for their limits.
V14 = """
ALTER TABLE batch ADD COLUMN args_bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX batch_live ON batch (user_id, tool_id) WHERE finished_at IS NULL;
CREATE INDEX batch_bytes ON batch (user_id, args_bytes) WHERE args_bytes > 0;
"""

# As whom the jobs of a batch run; NULL: as the service's own account, as all did before.
V15 = """
ALTER TABLE batch ADD COLUMN uid INTEGER;
ALTER TABLE tombstone ADD COLUMN uid INTEGER;
"""

MIGRATIONS: tuple[str, ...] = (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12, V13, V14, V15)
