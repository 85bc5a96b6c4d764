"""How often Slurm is asked, by its own count, while many people look at many batches."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from slurmbatch.api.operations import OPERATIONS
from slurmbatch.sandbox import Sandbox

from .conftest import Api

pytestmark = pytest.mark.slurm
USERS = ("alice", "bob", "carol")
BATCHES, READERS, SECONDS = 20, 6, 8.0
_COUNT = re.compile(r"^\s+(\w+)\s*\(\s*\d+\)\s+count:\s*(\d+)", re.MULTILINE)
# All that slurmctld may be asked about jobs, with and without a filter.
SQUEUE = ("REQUEST_JOB_INFO", "REQUEST_JOB_USER_INFO", "REQUEST_JOB_INFO_SINGLE")
SACCT, CONFIG = ("DBD_GET_JOBS_COND",), ("REQUEST_BUILD_INFO",)


def counts(box: Sandbox) -> Counter[str]:
    """Messages that slurmctld and slurmdbd have got, by their kind."""
    found: Counter[str] = Counter()
    for command in (["sdiag"], ["sacctmgr", "show", "stats"]):
        text = box.run(command).stdout.partition("statistics by user")[0]
        found.update({name: int(count) for name, count in _COUNT.findall(text)})
    return found


def looks(box: Sandbox) -> int:
    return int(httpx.get(f"{box.url}/readyz", timeout=60).json()["looks"])


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def callers(api: Api) -> Iterator[list[Api]]:
    made = []
    for user in USERS:
        done = subprocess.run(
            [sys.executable, "-m", "slurmbatch", "admin", "key", "create", "--user", user,
             "--config", str(api.box.paths.settings)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        one = Api(api.box)
        one.http.headers["Authorization"] = done.stdout.splitlines()[-1]
        made.append(one)
    yield made
    for one in made:
        one.http.delete("/batches")
        one.http.close()


def fill(callers: list[Api]) -> list[tuple[Api, str]]:
    """Batches that go on for long, one of them with a job that Slurm does not show any more."""
    found = []
    for number in range(BATCHES):
        caller = callers[number % len(callers)]
        jobs = [{"print": f"job {job}"} for job in range(3 if number else 200)]
        batch_id = caller.submit(tool_id="probe", fixed_args={"sleep": 300}, variable_args=jobs,
                                 hardware={"cpu": 1, "memory": 16})  # fmt: skip
        found.append((caller, batch_id))
    for caller, batch_id in found:
        caller.until(batch_id, lambda each: each["submitted_jobs"]["SUBMITTED"] == 0)
    caller, batch_id = found[0]
    array = str(caller.job(batch_id)["slurm_job_id"]).partition("_")[0]
    caller.box.run(["scancel", f"{array}_[200]"])
    until(lambda: not caller.squeue(f"--jobs={array}_200", "--states=all"))
    return found


def paths(batch_id: str, caller: Api) -> list[str]:
    job = caller.job(batch_id)
    known = {"batch_id": batch_id, "job_id": job["job_id"], "log_id": job["log_id"] or "none",
             "tool_id": "probe", "file": "start.js", "key_id": "none"}  # fmt: skip
    return [each.path.format(**known) for each in OPERATIONS if each.method == "GET"]


def read(batches: list[tuple[Api, str]], ends: threading.Event, done: Counter[int]) -> None:
    for caller, batch_id in batches * 1000:
        for path in paths(batch_id, caller):
            if ends.is_set():
                return
            done[caller.http.get(path).status_code] += 1


def test_two_a_look_at_most_whoever_reads(callers: list[Api]) -> None:
    box = callers[0].box
    batches = fill(callers)
    settled = looks(box) + 3
    until(lambda: looks(box) >= settled)
    ends, statuses = threading.Event(), [Counter[int]() for _ in range(READERS)]
    readers = [threading.Thread(target=read, args=(batches[i:] + batches[:i], ends, statuses[i]))
               for i in range(READERS)]  # fmt: skip
    looks_before, before, began = looks(box), counts(box), time.monotonic()
    for reader in readers:
        reader.start()
    ends.wait(SECONDS)
    ends.set()
    for reader in readers:
        reader.join()
    asked, looked = counts(box) - before, looks(box) - looks_before
    minutes = (time.monotonic() - began) / 60

    reads = sum(map(Counter.total, statuses))
    assert reads > 10 * looked > 0
    assert not any(status >= 500 for each in statuses for status in each)

    def total(kinds: tuple[str, ...]) -> int:
        return sum(asked[kind] for kind in kinds)

    # Of a look that had begun before, the questions may come after.
    assert 0 < total(SQUEUE) <= looked + 1
    assert 0 < total(SACCT) <= looked + 1
    assert total(CONFIG) <= minutes + 1
    assert total(SQUEUE) + total(SACCT) + total(CONFIG) <= 2 * (looked + 1)
