"""Each part of Slurm dead, and hung, under a real daemon: nothing is lost, nothing is untrue."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slurmbatch.sandbox import Sandbox

from .conftest import Api
from .gate import Gate

pytestmark = pytest.mark.slurm
PATIENCE = 120.0
# Far above what an answer from the database takes, and below any time limit on Slurm.
AT_ONCE = 15.0
SHORT = {"server": "submit_wait = 1\n", "slurm": "command_timeout = 16\nsubmit_timeout = 16\n"}
# Accounting that is away makes ends come late, but the service can work.
SEEN_AS = {"slurmctld": "slurmctld", "munged": "slurmctld",
           "slurmdbd": "slurmdbd", "mariadbd": "slurmdbd"}  # fmt: skip
HOW = {"dead": signal.SIGKILL, "hung": signal.SIGSTOP}


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """One whose slurmctld soon forgets, so that accounting is needed; its daemon is impatient."""
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    made = Sandbox(directory, nodes=1, min_job_age=2)
    try:
        made.up()
        made.start_daemon()
        made.stop_daemon()
        settings = made.paths.settings.read_text()
        for table, more in SHORT.items():
            settings = settings.replace(f"[{table}]\n", f"[{table}]\n{more}")
        made.paths.settings.write_text(settings)
        made.start_daemon()
        yield made
    finally:
        made.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def patient(box: Sandbox) -> Iterator[Api]:
    spoken = Api(box)
    spoken.http.timeout = httpx.Timeout(AT_ONCE)
    yield spoken
    spoken.http.delete("/batches")
    spoken.http.close()


def until(done: Callable[[], Any], words: Callable[[], str] = str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := done()):
        assert time.monotonic() < deadline, f"it did not come about {words()}"
        time.sleep(0.2)
    return found


def is_ready(api: Api) -> bool:
    return api.http.get("/readyz").status_code == 200


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("part", SEEN_AS)
def test_an_outage(patient: Api, part: str, how: str, gate: Gate) -> None:
    api, box = patient, patient.box
    until(lambda: is_ready(api))
    stays, cancelled, deleted = (
        api.submit(tool_id="probe", fixed_args={"sleep": 600}) for _ in range(3)
    )
    ends = api.submit(tool_id="probe", fixed_args=gate.args)
    for batch_id in (stays, cancelled, deleted, ends):
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
    doomed = {api.job(batch_id)["slurm_job_id"] for batch_id in (cancelled, deleted)}
    waits = held(api)
    if part == "slurmctld" and how == "dead":
        # What it has not saved yet it would forget, which is another test's matter.
        time.sleep(10)
    box.kill(part, HOW[how], wait=how == "dead")
    try:
        if SEEN_AS[part] == "slurmdbd":
            miss_the_end(api, gate)
        else:
            gate.open()
        assert api.http.post(f"/batches/{cancelled}/cancel").status_code == 202
        assert api.http.delete(f"/batches/{deleted}").status_code == 200
        during_it(api, SEEN_AS[part], stays, ends)
        assert api.http.get(f"/batches/{deleted}").status_code == 404
        assert api.job(waits)["reason"].startswith("HELD: ")
    finally:
        if how == "hung":
            box.kill(part, signal.SIGCONT, wait=False)
        box.start(part)
    until(lambda: is_ready(api))
    new = api.batch(api.http.get("/batches", params={"name": "new"}).json()[0]["batch_id"])
    for batch_id in (ends, new["batch_id"]):
        assert api.ended(batch_id, seconds=PATIENCE) == {"SUCCEEDED": 1}
    fresh = api.until(stays, lambda each: not each["stale_since"], PATIENCE)
    assert fresh["submitted_jobs"]["RUNNING"] == 1
    assert api.ended(cancelled, seconds=PATIENCE) == {"FAILED": 1}
    assert api.job(cancelled)["reason"].startswith("CANCELLED: cancelled by request")
    assert api.job(waits)["reason"].startswith("HELD: ")
    alive = {api.job(batch_id)["slurm_job_id"] for batch_id in (stays, waits)}
    shown: set[str] = set()

    def as_it_should_be() -> bool:
        nonlocal shown
        shown = {row.split("|")[0] for row in api.squeue("--array")}
        return alive <= shown and shown.isdisjoint(doomed)

    until(as_it_should_be, lambda: f"{shown} in Slurm, with {alive} and without {doomed} wanted")


def held(api: Api) -> str:
    """A batch that waits for a whole node, and then somebody holds it."""
    cpus = int(api.box.run(["sinfo", "-h", "-o", "%c"]).stdout.split()[0])
    batch_id = api.submit(tool_id="probe", hardware={"cpu": cpus, "memory": 16})
    api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNABLE"] == 1)
    api.box.run(["scontrol", "hold", api.job(batch_id)["slurm_job_id"]])
    until(lambda: api.job(batch_id)["reason"].startswith("HELD: "))
    return batch_id


def miss_the_end(api: Api, gate: Gate) -> None:
    """The daemon sleeps until slurmctld has forgotten what has ended, so that it needs accounting.

    Otherwise squeue tells all, and an accounting that is away is not even noticed.
    """
    pid = api.box.pid("slurmbatch")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        gate.open()
        until(lambda: len(api.squeue("--states=all")) == 4)
    finally:
        os.kill(pid, signal.SIGCONT)


def during_it(api: Api, source: str, stays: str, ends: str) -> None:
    """Until the outage is told of, and for a while after that."""

    def told() -> bool:
        look(api, stays, ends)
        ready = api.http.get("/readyz")
        assert ready.status_code == 200 or source == "slurmctld"
        return not ready.json()[source]["ok"] and bool(api.batch(stays)["stale_since"])

    posted = api.post({"tool_id": "probe", "name": "new"}, **{"Idempotency-Key": f"new-{stays}"})
    assert posted.status_code == 201
    until(told, lambda: f"{api.http.get('/readyz').json()}, {api.batch(ends)}")
    for _ in range(10):
        look(api, stays, ends)
        time.sleep(0.2)


def look(api: Api, stays: str, ends: str) -> None:
    """Nothing has changed to what nobody has seen."""
    assert api.batch(stays)["submitted_jobs"]["RUNNING"] == 1
    assert api.batch(ends)["submitted_jobs"]["FAILED"] == 0
    assert api.http.get("/healthz").status_code == 200
