"""A database of each schema that there has been, with one of everything in it.

The text of each is kept in `schemas/`, so that a step that was released is never changed later;
`python -m tests.store.schemas` writes those that are not there yet.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from slurmbatch.store.migrations import MIGRATIONS

PLACE = Path(__file__).with_suffix("")
# Which batches there are: one that has ended, one that waits, one that runs, one that was deleted.
ENDED, WAITS, RUNS, DELETED = (f"01jzzzzzzzzzzzzzzzzzzzzz0{n}" for n in range(1, 5))
SECRET_HASH = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"

# What each step has brought, as the releases of its time have written it.
ROWS: dict[int, str] = {
    1: f"""
INSERT INTO meta VALUES ('instance', 'k7x2m4');
INSERT INTO api_key (key_id, user_id, secret_hash, created_at, expires_at, revoked_at)
    VALUES ('k1aaaaaaaaaa', 'alice', x'{SECRET_HASH}', 1800000000.0, NULL, NULL),
    ('k2bbbbbbbbbb', 'bob', x'{SECRET_HASH}', 1800000000.0, 1900000000.0, 1800000100.0);

INSERT INTO batch (pk, batch_id, user_id, tool_id, name, n_jobs, filesystems, cpu, memory, slurm,
    fixed_args, request_id, created_at, version, n_submitted, n_status_0, n_status_1, n_status_2,
    n_status_3, n_status_4, n_status_5, n_status_6, cancelled_at, deleted_at, finished_at)
    VALUES (1, '{ENDED}', 'alice', 't', 'pi, “two” seeds', 2, '["scratch"]', 2, 256,
    '{{"partition":"main","account":"","qos":"","time_limit":30,"gpus":0}}', '{{"samples":10}}',
    'r-1', 1800000000.0, 5, 2, 0, 0, 0, 0, 0, 1, 1, NULL, NULL, 1800000060.0),
    (2, '{WAITS}', 'alice', 't', '', 2, '[]', 1, 64,
    '{{"partition":"","account":"","qos":"","time_limit":null,"gpus":0}}', '{{}}',
    'r-2', 1800000010.0, 1, 0, 2, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL),
    (3, '{RUNS}', 'bob', 't', 'x', 2, '[]', 1, 64,
    '{{"partition":"","account":"","qos":"","time_limit":null,"gpus":0}}', '{{}}',
    'r-3', 1800000020.0, 4, 2, 0, 1, 0, 0, 1, 0, 0, 1800000080.0, NULL, NULL),
    (4, '{DELETED}', 'bob', 't', 'gone', 1, '[]', 1, 64,
    '{{"partition":"","account":"","qos":"","time_limit":null,"gpus":0}}', '{{}}',
    'r-4', 1800000030.0, 2, 1, 0, 0, 0, 0, 1, 0, 0, NULL, 1800000090.0, NULL);
INSERT INTO idempotency VALUES ('alice', 'my-first', x'00ff', '{ENDED}', 1800000000.0);

INSERT INTO array (pk, batch, ordinal, generation, tag, n_tasks, n_unfinished, state, slurm_job_id,
    submitted_at, tries, tried_at, next_try_at, waiting, released_at, released_boot, created_at)
    VALUES (1, 1, 0, 1, 'sb-k7x2m4-a', 2, 0, 'DONE', 101, 1800000001.0, 1, 1800000001.0, 0, '',
    1800000002.0, '1799999999', 1800000000.0),
    (2, 2, 0, 1, 'sb-k7x2m4-b', 2, 2, 'INTENT', NULL, NULL, 3, 1800000015.0, 1800000045.0,
    'MaxJobCount', NULL, '', 1800000010.0),
    (3, 3, 0, 1, 'sb-k7x2m4-c', 2, 2, 'QUEUED', 102, 1800000021.0, 1, 1800000021.0, 0, '',
    1800000022.0, '1799999999', 1800000020.0),
    (4, 4, 0, 1, 'sb-k7x2m4-d', 1, 1, 'QUEUED', 103, 1800000031.0, 1, 1800000031.0, 0, '',
    1800000032.0, '1799999999', 1800000030.0);

INSERT INTO job (batch, idx, array, task, args, status, reason, slurm_state, start_time, stop_time,
    exit_code, signal, node_list, restarts)
    VALUES (1, 0, 1, 0, '{{"seed":1}}', 5, '', 'COMPLETED', 1800000010.0, 1800000050.0,
    0, 0, 'n1', 0),
    (1, 1, 1, 1, '{{"seed":2}}', 6, 'EXIT_CODE: it ended with 3', 'FAILED', 1800000010.0,
    1800000060.0, 3, 0, 'n2', 1),
    (2, 0, 2, 0, '{{}}', 0, '', '', NULL, NULL, NULL, NULL, '', 0),
    (2, 1, 2, 1, '{{}}', 0, '', '', NULL, NULL, NULL, NULL, '', 0),
    (3, 0, 3, 0, '{{}}', 4, '', 'RUNNING', 1800000030.0, NULL, NULL, NULL, 'n1', 0),
    (3, 1, 3, 1, '{{}}', 1, 'HELD: by its user', 'PENDING', NULL, NULL, NULL, NULL, '', 0),
    (4, 0, 4, 0, '{{}}', 4, '', 'RUNNING', 1800000040.0, NULL, NULL, NULL, 'n2', 0);
INSERT INTO attempt (batch, idx, attempt, reason, slurm_state, start_time, stop_time, exit_code,
    signal, node_list)
    VALUES (1, 1, 1, 'NODE_FAIL: its node failed', 'NODE_FAIL', 1800000003.0, 1800000005.0,
    0, 0, 'n3');
INSERT INTO tombstone VALUES ('sb-k7x2m4-z', '01jzzzzzzzzzzzzzzzzzzzzz00', 99, 1800000000.0);
""",
    7: f"""
UPDATE batch SET depends_on = '[["{RUNS}","afterok"]]' WHERE pk = 2;
INSERT INTO dependency VALUES (2, 0, 3, '{RUNS}', 'afterok', 0);
INSERT INTO gate VALUES (2, 0);
""",
    8: """
INSERT INTO webhook VALUES (1, 'https://hooks.example.org/x', 'hooks.example.org', 1, 1);
INSERT INTO outbox (pk, delivery_id, batch, event, occurred_at, tries, next_try_at)
    VALUES (1, '00112233445566778899aabbccddeeff', 1, 'finished', 1800000060.0, 2, 1800000100.0);
""",
    10: "UPDATE batch SET max_parallel = 3 WHERE pk = 3;",
}


def text_of(schema: int) -> str:
    """As it was kept, or as it would be."""
    kept = PLACE / f"{schema}.sql"
    return kept.read_text() if kept.exists() else made(schema)


def made(schema: int) -> str:
    """Rows come with the step that has brought their table, so that later steps find them there."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for step in range(1, schema + 1):
            connection.executescript(MIGRATIONS[step - 1])
            connection.executescript(ROWS.get(step, ""))
        return "\n".join([*connection.iterdump(), f"PRAGMA user_version = {schema};", ""])


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for each in range(1, len(MIGRATIONS) + 1):
        (PLACE / f"{each}.sql").write_text(text_of(each))
