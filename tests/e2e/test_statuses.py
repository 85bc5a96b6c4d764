"""Each status and reason, brought about in a real Slurm: what it is called, and what it says.

All of it at once, in one Slurm with as many limits as can be: some of it takes Slurm half a minute.
Time limits, memory, signals, exit codes and cancelling are in test_main_job.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.sandbox import Sandbox

from .conftest import Api

pytestmark = pytest.mark.slurm
CONF = """\
SlurmdTimeout=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=quick Nodes=node[1-2] MaxTime=600 State=UP PriorityTier=50 PreemptMode=OFF
PartitionName=drained Nodes=node3 MaxTime=600 State=UP
PartitionName=shut Nodes=node1 MaxTime=600 State=DOWN
PartitionName=low Nodes=node4 MaxTime=600 State=UP PriorityTier=1
PartitionName=high Nodes=node4 MaxTime=600 State=UP PriorityTier=100 PreemptMode=OFF
PartitionName=dies Nodes=node5 MaxTime=600 State=UP
PartitionName=falls Nodes=node6 MaxTime=600 State=UP
PartitionName=full Nodes=node7 MaxTime=600 State=UP
"""
RARE = """
[[filesystems]]
id = "rare"
path = "/tmp"
licence = "scratch:900"
"""
# Safe to be run again, so Slurm requeues it; it never ends by itself.
AGAIN = """
description = "runs until it is ended"
requeue = true
script = '''
#!/bin/sh
sleep 600
'''
[hardware]
cpu = 1
memory = 64
"""
LIMITS = (
    "add qos single MaxJobsPerUser=1",
    "add qos little MaxTRESPerJob=cpu=1",
    "add account phys",
    "modify account phys set GrpJobs=1",
    "add user @ account=phys",
    "modify user @ set qos+=single,little",
)
WAITS = {"cpu": 1, "memory": 64}


class Provoked(Api):
    """The service, and the batches of each situation by its name."""

    def __init__(self, box: Sandbox) -> None:
        super().__init__(box)
        self.batches: dict[str, str] = {}

    def make(self, name: str, *, tool: str = "probe", n: int = 1, cpu: int = 1,
             args: dict[str, Any] | None = None, filesystems: list[str] | None = None,
             **slurm: Any) -> str:  # fmt: skip
        given = {"sleep": 600} if tool == "probe" and args is None else args or {}
        self.batches[name] = self.submit(
            tool_id=tool, name=name, fixed_args=given, variable_args=[{}] * n,
            hardware={"cpu": cpu, "memory": 64, "filesystems": filesystems or []},
            slurm={"partition": "quick", "time_limit": 30, **slurm},
        )  # fmt: skip
        return self.batches[name]

    def of(self, name: str, index: int = 0) -> dict[str, Any]:
        return self.job(self.batches[name], index)

    def scontrol(self, *words: str) -> None:
        self.box.run(["scontrol", *words], cwd="/")

    def update(self, name: str, change: str) -> None:
        self.scontrol("update", f"jobid={self.array(name)}", change)

    def array(self, name: str) -> str:
        """Slurm's id of the array of a batch."""
        return self.slurm_id(name).partition("_")[0]

    def slurm_id(self, name: str, index: int = 0) -> str:
        """Slurm's id of a job, once it has one and is released."""
        return str(self.when(name, lambda job: job["slurm_job_id"]
                             and job["status"] != "SUBMITTED", index)["slurm_job_id"])  # fmt: skip

    def when(self, name: str, true: Callable[[dict[str, Any]], Any], index: int = 0,
             seconds: float = 120) -> dict[str, Any]:  # fmt: skip
        deadline = time.monotonic() + seconds
        while not true(job := self.of(name, index)):
            told = {key: job[key] for key in ("status", "reason", "slurm_state", "attempt")}
            assert time.monotonic() < deadline, (name, told)
            time.sleep(0.2)
        return job

    def said(self, name: str, status: str, kind: str, *words: str, index: int = 0)\
            -> dict[str, Any]:  # fmt: skip
        """The job of the situation, once it is so and says so."""
        job = self.when(name, lambda job: (job["status"], job["reason"].split(":")[0])
                        == (status, kind), index)  # fmt: skip
        for word in words:
            assert word in job["reason"], job["reason"]
        return job

    def runs(self, name: str, index: int = 0) -> dict[str, Any]:
        return self.when(name, lambda job: job["status"] == "RUNNING", index)


@pytest.fixture(scope="module")
def all_of_it() -> Iterator[Provoked]:
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory, nodes=7, extra_conf=CONF)
    try:
        box.up()
        for line in LIMITS:
            user = box.run(["id", "-un"]).stdout.strip()
            words = [user if word == "@" else word for word in line.split()]
            box.run(["sacctmgr", "-i", *words])
        settings = box.paths.settings.read_text()
        settings = settings.replace("[slurm]\n", "[slurm]\nabsence_grace = 3.0\n")
        box.paths.settings.write_text(settings + RARE)
        (directory / "etc" / "tools.d" / "again.toml").write_text(AGAIN)
        box.start_daemon()
        made = Provoked(box)
        provoke(made)
        yield made
        made.http.close()
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


def provoke(all_of_it: Provoked) -> None:
    """Brings all of it about; whatever takes Slurm its time is begun first."""
    made, box = all_of_it, all_of_it.box
    box.run(["scontrol", "update", "nodename=node3", "state=drain", "reason=test"])
    without_its_directories(made)
    for name, tool, partition in (("node", "probe", "dies"), ("node-again", "again", "falls")):
        made.make(name, tool=tool, partition=partition)
    for name, tool in (("preempted", "probe"), ("preempted-again", "again")):
        made.make(name, tool=tool, partition="low", cpu=8)
    made.make("in-the-way", partition="full", cpu=16)
    for name in ("node", "node-again", "preempted", "preempted-again", "in-the-way"):
        made.runs(name)
    box.kill("slurmd-node5", signal.SIGKILL)
    box.kill("slurmd-node6", signal.SIGKILL)
    made.make("first", partition="high", cpu=16)
    made.make("expected", partition="full", cpu=16)
    made.make("drained", partition="drained")
    made.make("shut", partition="shut")
    made.make("licence", n=2, filesystems=["rare"])
    made.make("qos", n=2, qos="single")
    made.make("association", n=2, account="phys")
    made.make("too-large", cpu=2, qos="little")
    for name in ("held", "held-by-admin", "later", "pending-one", "depends", "never", "throttled"):
        made.make(name, n=3 if name in ("pending-one", "throttled") else 1, partition="shut")
    made.make("admin", n=2)
    made.make("mixed", n=4, args={"print": "the last words", "exit_code": 7})
    made.make("good", n=2, args={"allocate": 40, "sleep": 6})
    made.scontrol("uhold", made.array("held"))
    made.scontrol("hold", made.array("held-by-admin"))
    made.update("later", "starttime=now+1hour")
    made.update("depends", f"dependency=afterok:{made.slurm_id('in-the-way')}")
    made.update("never", f"dependency=afterok:{made.slurm_id('no-directory')}")
    made.update("throttled", "arraytaskthrottle=1")
    made.update("throttled", "partition=quick")
    box.run(["scancel", f"{made.array('pending-one')}_2"])
    made.runs("admin")
    box.run(["scancel", made.array("admin")])


def without_its_directories(made: Provoked) -> None:
    """Two jobs whose directories are taken away while they wait in Slurm."""
    for name in ("no-directory", "no-log"):
        made.make(name, partition="drained", args={})
        made.array(name)
    work = made.box.paths.work
    logs = made.box.dir / "logs" / made.batches["no-log"]
    for each, name in ((logs, "no-log"), (work, "no-directory")):
        away = each.rename(each.with_name(f"{each.name}.away"))
        each.touch()  # or a newer Slurm makes the directory
        made.update(name, "partition=quick")
        made.when(name, lambda job: job["status"] == "FAILED")
        each.unlink()
        away.rename(each)


# --- waiting --------------------------------------------------------------------------------------


def test_held_by_its_owner(all_of_it: Provoked) -> None:
    all_of_it.said("held", "PENDING", "HELD", "by its owner", "(JobHeldUser)")


def test_held_by_an_administrator(all_of_it: Provoked) -> None:
    all_of_it.said("held-by-admin", "PENDING", "HELD", "by an administrator", "(JobHeldAdmin)")


def test_begin_time(all_of_it: Provoked) -> None:
    job = all_of_it.said("later", "PENDING", "TIME", "begin time", "(BeginTime)")
    assert job["expected_start"] > job["create_time"]


def test_throttle(all_of_it: Provoked) -> None:
    batch = all_of_it.until(
        all_of_it.batches["throttled"], lambda each: each["submitted_jobs"]["PENDING"] == 2
    )
    assert batch["submitted_jobs"]["RUNNING"] == 1
    all_of_it.said(
        "throttled", "PENDING", "TIME", "may run at once", "(JobArrayTaskLimit)", index=2
    )


def test_dependency(all_of_it: Provoked) -> None:
    all_of_it.said("depends", "PENDING", "DEPENDENCY", "depends on", "(Dependency)")


def test_a_dependency_that_can_never_be_fulfilled_is_told(all_of_it: Provoked) -> None:
    job = all_of_it.said("never", "PENDING", "NEVER", "will never run", "submit it again")
    assert job["never_runs"]


def test_licence(all_of_it: Provoked) -> None:
    all_of_it.said("licence", "RUNNABLE", "CAPACITY", "waits for a licence", "(Licenses)", index=1)


def test_drained_node(all_of_it: Provoked) -> None:
    all_of_it.said("drained", "RUNNABLE", "CAPACITY", "down, drained or reserved")


def test_partition_down(all_of_it: Provoked) -> None:
    all_of_it.said("shut", "RUNNABLE", "CAPACITY", "closed for starting jobs", "(PartitionDown)")


def test_association_limit_names_the_account(all_of_it: Provoked) -> None:
    all_of_it.said("association", "RUNNABLE", "LIMIT", "account phys", "AssocGrpJobsLimit", index=1)


def test_qos_limit(all_of_it: Provoked) -> None:
    all_of_it.said("qos", "RUNNABLE", "LIMIT", "shared limit", "QOSMaxJobsPerUserLimit", index=1)


def test_a_job_beyond_its_qos_may_wait_for_ever_and_says_so(all_of_it: Provoked) -> None:
    all_of_it.said("too-large", "RUNNABLE", "MISCONFIGURED", "for ever", "QOSMaxCpuPerJobLimit")


def test_slurm_s_expected_start_is_told(all_of_it: Provoked) -> None:
    job = all_of_it.when("expected", lambda job: job["expected_start"])
    assert job["status"] == "RUNNABLE"
    assert job["expected_start"] > all_of_it.of("in-the-way")["start_time"]
    assert (job["elapsed"], job["never_runs"]) == (None, False)
    assert sum(job["time_in_status"].values()) > 0


# --- ends -----------------------------------------------------------------------------------------


def test_a_node_that_is_killed(all_of_it: Provoked) -> None:
    job = all_of_it.said("node", "FAILED", "NODE", "node5", "(NODE_FAIL)")
    assert (job["node_list"], job["attempt"]) == ("node5", 1)


def test_a_node_that_is_killed_under_a_job_that_is_run_again(all_of_it: Provoked) -> None:
    """accounting says NODE_FAIL for a moment, which is no end."""
    job = all_of_it.when("node-again", lambda job: job["attempt"] == 2)
    assert job["status"] in ("PENDING", "RUNNABLE")
    (before,) = job["attempts"]
    assert (before["attempt"], before["node_list"]) == (1, "node6")
    assert before["reason"].startswith("REQUEUED: ")
    assert job["time_in_status"]["RUNNING"] > 0


def test_preempted(all_of_it: Provoked) -> None:
    all_of_it.said("preempted", "FAILED", "PREEMPTED", "higher priority")


def test_preempted_and_run_again(all_of_it: Provoked) -> None:
    job = all_of_it.when("preempted-again", lambda job: job["attempt"] == 2)
    assert job["status"] in ("PENDING", "RUNNABLE")


def test_cancelled_by_an_administrator(all_of_it: Provoked) -> None:
    """Of the whole array; in the tests root is both the administrator and the account."""
    for index in (0, 1):
        job = all_of_it.said("admin", "FAILED", "CANCELLED", index=index)
        assert "administrator" in job["reason"] or "outside of this service" in job["reason"]


def test_one_pending_task_that_is_cancelled_outside_of_us_has_no_record(
    all_of_it: Provoked,
) -> None:
    all_of_it.said("pending-one", "FAILED", "CANCELLED", "outside of this service", index=1)
    for index in (0, 2):
        all_of_it.said("pending-one", "RUNNABLE", "CAPACITY", "(PartitionDown)", index=index)


def test_a_missing_working_directory_is_no_success_in_another_one(all_of_it: Provoked) -> None:
    job = all_of_it.said("no-directory", "FAILED", "EXIT", "exit code 1")
    assert "no working directory on" in all_of_it.log(all_of_it.batches["no-directory"])
    assert job["exit_code"] == 1


def test_a_log_directory_that_is_not_there_is_explained(all_of_it: Provoked) -> None:
    """Slurm says 0:53 and no more."""
    job = all_of_it.said("no-log", "FAILED", "NODE", "log or working directory", "0:53")
    assert all_of_it.log(all_of_it.batches["no-log"]) == ""
    assert job["signal"] == 53


# --- the batch as a whole -------------------------------------------------------------------------


def test_why_they_failed_with_the_last_words_of_one(all_of_it: Provoked) -> None:
    batch_id = all_of_it.batches["mixed"]
    assert all_of_it.ended(batch_id) == {"FAILED": 4}
    (reason, *_) = all_of_it.batch(batch_id)["reasons"]
    assert reason["reason"] == "EXIT: ended with exit code 7 (FAILED)"
    assert reason["text"].startswith("4 of 4 jobs failed")
    (told,) = all_of_it.http.get(f"/batches/{batch_id}/reasons").json()
    assert told == {**reason, "log": "the last words"}


def test_why_they_wait(all_of_it: Provoked) -> None:
    reasons = all_of_it.batch(all_of_it.batches["licence"])["reasons"]
    assert [(each["status"], each["n_jobs"]) for each in reasons] == [("RUNNABLE", 1)]
    assert reasons[0]["text"].startswith("1 of 2 jobs waits: each waits for a licence")


def test_what_was_used_of_what_was_asked_for(all_of_it: Provoked) -> None:
    """It comes from accounting, some seconds after the end."""
    batch_id = all_of_it.batches["good"]
    assert all_of_it.ended(batch_id) == {"SUCCEEDED": 2}
    usage = all_of_it.until(batch_id, lambda each: each["usage"]["n_jobs"] == 2)["usage"]
    assert 40 <= usage["memory"]["p50"] <= usage["memory"]["max"] < 64
    assert usage["time"]["asked"] == 1800
    assert 5 <= usage["time"]["max"] < 30
    assert any("min would do" in each for each in usage["suggestions"])
    job = all_of_it.of("good")
    assert job["max_rss"] <= usage["memory"]["max"]
    assert job["cpu_time"] > 0
    assert job["elapsed"] >= 5
    # Slurm's times are whole seconds: a start may lie before the look that saw it wait, by one.
    times = job["time_in_status"]
    assert abs(job["elapsed"] - times["STARTING"] - times["RUNNING"]) <= 2
