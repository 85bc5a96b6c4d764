"""Databases of any size, made through the store itself, and a daemon of their own on each."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slurmbatch.identity import new_key
from slurmbatch.model import Batch, Hardware, JobChange, SlurmOptions, Status
from slurmbatch.sandbox import Sandbox
from slurmbatch.store import NewArray, Store, new_id, open_store
from slurmbatch.store.usage import Used
from tests.benchmarks.processes import running, until_answered
from tests.benchmarks.site import Service
from tests.ports import free_port

ARRAY = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """A database with one batch, of which every job has ended and it is known what it used, and the
    settings for its daemon."""

    settings: Path
    port: int
    key: str
    batch_id: str
    n_jobs: int
    seconds: float

    @property
    def path(self) -> str:
        return f"/batches/{self.batch_id}"

    @contextmanager
    def daemon(self, box: Sandbox) -> Iterator[tuple[Service, float]]:
        """Runs it; gives also how long it took from its start to its first answer to a read."""
        command = [sys.executable, "-m", "slurmbatch", "serve", "--config", str(self.settings)]
        env = {**os.environ, **box.env}
        began = time.monotonic()
        with running(command, env, self.settings.with_suffix(".log")) as process:
            service = Service(self.port, self.key, process.pid)
            until_answered(self.port, self.path, service.headers)
            yield service, time.monotonic() - began


def make(directory: Path, n_jobs: int, box: Sandbox) -> Stored:
    """Makes the database and the settings."""
    directory.mkdir(mode=0o700)
    database, settings, port = directory / "jobs.sqlite", directory / "settings.toml", free_port()
    text = box.paths.settings.read_text()
    text = text.replace(f"port = {box.plan.http_port}\n", f"port = {port}\n")
    settings.write_text(re.sub(r'(?m)^path = ".*\.sqlite"$', f'path = "{database}"', text))
    began = time.monotonic()
    store = open_store(database, exclusive=True)
    try:
        kept, key = new_key("demo", None, time.time())
        store.keys.add_key(kept)
        batch_id = add_batch(store, n_jobs)
        end_all(store, batch_id)
    finally:
        store.close()
    return Stored(settings, port, key, batch_id, n_jobs, round(time.monotonic() - began, 1))


def add_batch(store: Store, n_jobs: int, first_slurm_job: int = 1_000_000) -> str:
    """A batch that Slurm has accepted, in arrays of a thousand; gives its id."""
    now, batch_id = time.time(), new_id()
    batch = Batch(
        batch_id=batch_id, user_id="demo", tool_id="probe", name="many", n_jobs=n_jobs,
        hardware=Hardware((), 1, 64), slurm=SlurmOptions(), created_at=now, version=1,
        n_submitted=0, counts={Status.SUBMITTED: n_jobs},
    )  # fmt: skip
    arrays = [NewArray(f"sb-bench-{batch_id}-{number}", min(ARRAY, n_jobs - number * ARRAY))
              for number in range(-(-n_jobs // ARRAY))]  # fmt: skip
    store.batches.create(
        batch,
        fixed_args={"sleep": 60},
        variable_args=({"print": f"job {number}"} for number in range(n_jobs)),
        arrays=arrays,
    )
    for number, array in enumerate(store.arrays.of_batch(batch_id)):
        store.arrays.accepted(array.pk, first_slurm_job + number, now)
        store.arrays.releasing(array.pk, "", now)
        store.arrays.queued(array.pk, "")
    return batch_id


def end_all(store: Store, batch_id: str) -> None:
    """Nine in ten have succeeded, and what they used is known, so that a daemon has nothing to ask
    Slurm for."""
    now = time.time()
    arrays = store.arrays.of_batch(batch_id)
    for start in range(0, len(arrays), 20):
        store.arrays.apply(
            {array.pk: [_end(task, now) for task in range(1, array.n_tasks + 1)]
             for array in arrays[start : start + 20]},
            now,
        )  # fmt: skip
    while dues := store.usage.due(math.inf, 20 * ARRAY):
        store.usage.keep([Used(each, 120.0, 50.0) for each in dues], now)


def _end(task: int, now: float) -> JobChange:
    failed = task % 10 == 0
    return JobChange(
        task=task,
        status=Status.FAILED if failed else Status.SUCCEEDED,
        reason="EXIT: ended with exit code 3" if failed else "",
        slurm_state="FAILED" if failed else "COMPLETED",
        start_time=now - 60,
        stop_time=now,
        exit_code=3 if failed else 0,
        signal=0,
        node_list="node1",
    )
