"""How long a POST takes, over HTTP, with the daemon and a real Slurm. Run by `make bench`."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.client import Batch, Client
from slurmbatch.sandbox import Sandbox

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    made = Sandbox(directory)
    try:
        made.up(daemon=True)
        yield made
    finally:
        made.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("jobs", [1, 100, 1000])
def test_a_new_batch_is_answered_within_a_second(benchmark: Any, box: Sandbox, jobs: int) -> None:
    arguments = [{"print": f"job {number}"} for number in range(jobs)]
    with Client(box.url, str(box.api_key)) as client:

        def quiet() -> None:
            """The answer waits for Slurm's word, so what is measured begins with an idle Slurm."""
            client.delete_all()
            while box.run(["squeue", "--noheader"]).stdout:
                time.sleep(0.1)

        def post() -> Batch:
            return client.submit("probe", sweep=arguments)

        batch = benchmark.pedantic(post, setup=quiet, rounds=5, warmup_rounds=1)
        quiet()
    assert batch.n_jobs == jobs
    assert benchmark.stats.stats.max < 1.0
