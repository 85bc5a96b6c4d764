"""One throttle for a whole batch, on a real Slurm whose arrays are small."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox

from .conftest import Api

pytestmark = pytest.mark.slurm
N_JOBS, MOST = 23, 4
TOOL = """
description = "Says when it begins and when it ends."
script = '''
#!/bin/sh
say() { echo "$1" | dd of="$trace" oflag=append conv=notrunc status=none; }
say +1
sleep "${sleep-0}"
[ -z "${gate-}" ] || until [ -e "$gate" ]; do sleep 0.1; done
say -1
'''
[[parameters]]
name = "trace"
type = "string"
[[parameters]]
name = "sleep"
type = "number"
[[parameters]]
name = "gate"
type = "string"
[hardware]
cpu = 1
memory = 16
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """Arrays have five tasks at most, and there is room for many more than may run."""
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    made = Sandbox(directory, nodes=2, cpus=16, max_array_size=6)
    try:
        made.up()
        (directory / "etc" / "tools.d" / "span.toml").write_text(TOOL)
        made.start_daemon()
        yield made
    finally:
        made.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def api(box: Sandbox) -> Iterator[Api]:
    spoken = Api(box)
    yield spoken
    spoken.http.delete("/batches")
    spoken.http.close()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    tmp_path.chmod(0o777)
    path = tmp_path / "trace"
    path.touch(mode=0o666)
    return path


def at_once(trace: Path) -> list[int]:
    """How many ran after each beginning and each end."""
    found, running = [], 0
    for step in trace.read_text().split():
        running += int(step)
        found.append(running)
    return found


def test_over_five_arrays_never_more_than_so_many_run_and_all_to_the_end(
    api: Api, trace: Path
) -> None:
    """The trap: Slurm's own throttle is one for each array. One job takes longer than all the
    others of its array: the others go on beside it."""
    jobs = [{"sleep": 6.0 if index == 2 else 0.7} for index in range(N_JOBS)]
    batch_id = api.submit(
        tool_id="span", fixed_args={"trace": str(trace)}, variable_args=jobs, max_parallel=MOST
    )
    batch = api.batch(batch_id)
    assert batch["max_parallel"] == MOST
    last = api.job(batch_id, N_JOBS - 1)
    assert last["status"] == "PENDING"
    assert last["reason"].startswith("TIME: waits for other jobs of its batch")
    tasks = api.until(batch_id, lambda each: each["n_submitted"] > 5)["n_submitted"]
    assert tasks < N_JOBS
    assert api.ended(batch_id, 180) == {"SUCCEEDED": N_JOBS}
    running = at_once(trace)
    assert len(running) == 2 * N_JOBS and running[-1] == 0
    assert 1 < max(running) <= MOST
    arrays = {api.job(batch_id, n)["slurm_job_id"].split("_")[0] for n in range(N_JOBS)}
    assert len(arrays) == 5


def test_what_is_run_again_is_throttled_with_the_rest(api: Api, trace: Path) -> None:
    gate = trace.with_name("gate")
    fixed = {"trace": str(trace), "gate": str(gate)}
    batch_id = api.submit(
        tool_id="span", fixed_args=fixed, variable_args=[{}] * 6, max_parallel=2,
        slurm={"time_limit": 1},
    )  # fmt: skip
    api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 2)
    api.http.post(f"/batches/{batch_id}/cancel")
    assert api.ended(batch_id) == {"FAILED": 6}
    trace.write_text("")
    gate.touch()
    assert api.http.post(f"/batches/{batch_id}/retry", json={}).status_code == 202
    assert api.ended(batch_id, 120) == {"SUCCEEDED": 6}
    assert max(at_once(trace)) <= 2
