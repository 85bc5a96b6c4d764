"""The tables as peewee models. They name no database: each query is bound when it is run."""

from __future__ import annotations

from peewee import (
    AutoField,
    BlobField,
    CompositeKey,
    FloatField,
    IntegerField,
    Model,
    TextField,
)


class MetaRow(Model):
    key = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "meta"


class ApiKeyRow(Model):
    key_id = TextField(primary_key=True)
    user_id = TextField()
    secret_hash = BlobField()
    created_at = FloatField()
    expires_at = FloatField(null=True)
    revoked_at = FloatField(null=True)
    name = TextField()
    scopes = TextField()
    used_at = FloatField(null=True)
    made_with = TextField()

    class Meta:
        table_name = "api_key"


class BatchRow(Model):
    pk = AutoField()
    batch_id = TextField()
    user_id = TextField()
    tool_id = TextField()
    name = TextField()
    n_jobs = IntegerField()
    filesystems = TextField()
    cpu = IntegerField()
    memory = IntegerField()
    slurm = TextField()
    fixed_args = TextField()
    request_id = TextField()
    created_at = FloatField()
    version = IntegerField()
    n_submitted = IntegerField()
    n_status_0 = IntegerField()
    n_status_1 = IntegerField()
    n_status_2 = IntegerField()
    n_status_3 = IntegerField()
    n_status_4 = IntegerField()
    n_status_5 = IntegerField()
    n_status_6 = IntegerField()
    canary = IntegerField()
    retry = TextField()
    cancelled_at = FloatField(null=True)
    deleted_at = FloatField(null=True)
    finished_at = FloatField(null=True)
    summary = TextField()
    depends_on = TextField()
    max_parallel = IntegerField(null=True)
    args_bytes = IntegerField()
    uid = IntegerField(null=True)

    class Meta:
        table_name = "batch"


class IdempotencyRow(Model):
    user_id = TextField()
    key = TextField()
    body_hash = BlobField()
    batch_id = TextField()
    created_at = FloatField()

    class Meta:
        table_name = "idempotency"
        primary_key = CompositeKey("user_id", "key")


class ArrayRow(Model):
    pk = AutoField()
    batch = IntegerField()
    ordinal = IntegerField()
    generation = IntegerField()
    tag = TextField()
    n_tasks = IntegerField()
    n_unfinished = IntegerField()
    state = TextField()
    slurm_job_id = IntegerField(null=True)
    submitted_at = FloatField(null=True)
    tries = IntegerField()
    tried_at = FloatField(null=True)
    next_try_at = FloatField()
    waiting = TextField()
    released_at = FloatField(null=True)
    released_boot = TextField()
    created_at = FloatField()
    cancelled_at = FloatField(null=True)
    gate = TextField()
    memory = IntegerField(null=True)
    time_limit = IntegerField(null=True)
    exclude = TextField()
    throttle = IntegerField(null=True)
    throttle_told = TextField()
    expected_start = FloatField(null=True)

    class Meta:
        table_name = "array"


class JobRow(Model):
    batch = IntegerField()
    idx = IntegerField()
    array = IntegerField()
    task = IntegerField()
    args = TextField()
    status = IntegerField()
    reason = TextField()
    slurm_state = TextField()
    start_time = FloatField(null=True)
    stop_time = FloatField(null=True)
    exit_code = IntegerField(null=True)
    signal = IntegerField(null=True)
    node_list = TextField()
    restarts = IntegerField()
    earlier = IntegerField()
    counted = IntegerField()
    free = IntegerField()
    never_runs = IntegerField()
    expected_start = FloatField(null=True)
    max_rss = FloatField(null=True)
    cpu_time = FloatField(null=True)
    status_since = FloatField(null=True)
    spent_0 = FloatField()
    spent_1 = FloatField()
    spent_2 = FloatField()
    spent_3 = FloatField()
    spent_4 = FloatField()

    class Meta:
        table_name = "job"
        primary_key = CompositeKey("batch", "idx")


class TombstoneRow(Model):
    tag = TextField(primary_key=True)
    batch_id = TextField()
    slurm_job_id = IntegerField(null=True)
    buried_at = FloatField()
    uid = IntegerField(null=True)

    class Meta:
        table_name = "tombstone"
