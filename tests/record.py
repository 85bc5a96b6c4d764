"""Records what squeue, sacct and scontrol of the installed Slurm print, for test_parse.py.

    .venv/bin/python -m tests.record

brings up a sandbox of its own, makes each situation below happen in it, and writes the raw output
to tests/recorded/VERSION/. It takes two minutes, since a time limit is at least one minute.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm import parse

NONCE = "0123456789abcdef"
RECORDED = Path(__file__).parent / "recorded"
STUBBORN = "trap '' TERM\nfor i in 1 2 3 4 5 6 7 8 9; do sleep 1; done"
GREEDY = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60"


@dataclass(frozen=True)
class Situation:
    """A job, what is done to it, and the words in squeue (a pattern) that show it has come about.

    In `then`, JOB stands for the array's id and TASK for that of its first task; in `options`,
    `@NAME` is the id of a situation before it.
    """

    name: str
    options: Sequence[str]
    script: str
    until: str
    then: Sequence[Sequence[str]] = ()
    shown: str = ""


SITUATIONS = (
    Situation("timeout", ["--array=1", "--time=1"], "sleep 200", "TIMEOUT"),
    Situation("held", ["--array=1-10", "--hold"], "true", "JobHeldUser"),
    Situation("held-one-task", ["--array=1", "--hold"], "true", "JobHeldUser"),
    Situation("begin", ["--array=1-2", "--begin=now+1hour"], "true", "BeginTime"),
    Situation("licence", ["--array=1-2", "--licenses=scratch:900"], "sleep 60", "Licenses"),
    Situation("dependency", ["--array=1-3", "--dependency=afterok:@timeout"], "true",
              "Dependency"),
    Situation("account", ["--array=1-2", "--partition=closed"], "true",
              "not permitted|PartitionConfig"),
    Situation("too-long", ["--array=1-2", "--partition=short", "--time=100"], "true",
              "PartitionTimeLimit"),
    Situation("too-many-cpus", ["--array=1-2", "--hold", "--cpus-per-task=99"], "true",
              "JobHeldUser", [["scontrol", "release", "JOB"]], "PartitionConfig"),
    Situation("throttled", ["--array=1-20%3"], "sleep 60", "JobArrayTaskLimit"),
    Situation("gaps", ["--array=1-1000", "--hold"], "true", "JobHeldUser",
              [["scancel", "JOB_2", "JOB_4", "JOB_[500-600]", "JOB_999"]]),
    Situation("running", ["--array=1-2"], "sleep 60", "RUNNING"),
    Situation("succeeded", ["--array=1-3"], "true", "COMPLETED"),
    Situation("failed", ["--array=1"], "exit 3", "FAILED"),
    Situation("never", ["--array=1-2", "--dependency=afterok:@failed"], "true",
              "DependencyNeverSatisfied"),
    Situation("exit137", ["--array=1"], "exit 137", "FAILED"),
    Situation("signal", ["--array=1"], "kill -9 $$", "FAILED"),
    Situation("memory", ["--array=1", "--mem=50"], GREEDY, "FAILED"),
    Situation("no-log", ["--array=1", "--output=/dev/null/%a"], "true", "FAILED"),
    Situation("completing", ["--array=1"], STUBBORN, "RUNNING", [["scancel", "JOB"]],
              "COMPLETING"),
    Situation("cancelled", ["--array=1"], "sleep 60", "RUNNING", [["scancel", "JOB"]],
              "CANCELLED"),
    Situation("cancelled-pending", ["--array=1-10", "--hold"], "true", "JobHeldUser",
              [["scancel", "JOB"]], "CANCELLED"),
    Situation("requeued", ["--array=1", "--requeue"], "sleep 60", "RUNNING",
              [["scontrol", "requeue", "TASK"]], "PENDING"),
    Situation("requeue-held", ["--array=1", "--requeue"], "sleep 60", "RUNNING",
              [["scontrol", "requeuehold", "TASK"]], "PENDING"),
    Situation("special-exit", ["--array=1", "--requeue"], "sleep 60", "RUNNING",
              [["scontrol", "requeuehold", "state=SpecialExit", "TASK"]], "SPECIAL_EXIT"),
    Situation("suspended", ["--array=1"], "sleep 60", "RUNNING",
              [["scontrol", "suspend", "JOB"]], "SUSPENDED"),
    Situation("forged-name", ["--array=1-2", "--hold"], "true", "JobHeldUser"),
)  # fmt: skip
CLOSED = "PartitionName=closed Nodes=ALL MaxTime=60 State=UP AllowAccounts=theirs"
FORGED = "x\n1|" + f"{NONCE[::-1]}" + "|1|COMPLETED|a|b"


class Recorder:
    """One sandbox and the directory that its output goes to."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.ids: dict[str, str] = {}
        version = re.search(r"\d+\.\d+", box.run(["scontrol", "--version"]).stdout)
        assert version
        self.target = RECORDED / version[0]
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir(parents=True)

    def ask(self, *command: str) -> str:
        env = {**self.box.env, "LC_ALL": "C", "TZ": "UTC", "SLURM_TIME_FORMAT": "%s",
               "SLURM_BITSTR_LEN": "0"}  # fmt: skip
        return self.box.run(command, env=env).stdout

    def squeue(self, job: str) -> str:
        fields = ",".join(f"{name}:|{NONCE}|" for name in parse.LIVE_FIELDS)
        return self.ask("squeue", "-h", "--states=all", f"--Format={fields}", f"--jobs={job}")

    def sacct(self, job: str) -> str:
        fields = ",".join(parse.ENDED_FIELDS)
        return self.ask("sacct", "-X", "-n", "-P", f"--delimiter=|{NONCE}|", f"--format={fields}",
                        f"--jobs={job}")  # fmt: skip

    def make(self, each: Situation) -> str:
        options = [re.sub(r"@(\w+)", lambda m: self.ids[m[1]], word) for word in each.options]
        name = FORGED if each.name == "forged-name" else each.name
        script = f"#!/bin/bash\n{each.script}\n"
        command = ["sbatch", "--parsable", f"--job-name={name}", "--output=/dev/null",
                   *options]  # fmt: skip
        self.ids[each.name] = self.box.run(command, input=script).stdout.strip()
        return self.ids[each.name]

    def record(self, each: Situation, job: str) -> None:
        self.until(lambda: re.search(each.until, self.squeue(job)), each.name)
        for command in each.then:
            words = {"TASK": f"{job}_1"}
            self.box.run([words.get(w, w).replace("JOB", job) for w in command], check=False)
        shown = each.shown or each.until
        self.until(lambda: re.search(shown, self.squeue(job)), each.name)
        (self.target / f"squeue-{each.name}.txt").write_text(self.squeue(job))
        self.record_accounting(each.name, job)

    def record_accounting(self, name: str, job: str) -> None:
        """What sacct says in the end, and, where it is seen, its half-written row before that."""
        deadline = time.monotonic() + 4
        while f"{job}_" not in (text := self.sacct(job)) and time.monotonic() < deadline:
            if text:
                (self.target / f"sacct-{name}-early.txt").write_text(text)
            time.sleep(0.2)
        time.sleep(0.5)
        (self.target / f"sacct-{name}.txt").write_text(self.sacct(job))

    @staticmethod
    def until(condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} did not come about")
            time.sleep(0.05)


def main() -> None:
    box = Sandbox(tempfile.mkdtemp(prefix="sb-", dir="/tmp"), extra_conf=CLOSED)
    box.up()
    box.run(["sacctmgr", "-i", "add", "account", "theirs"])
    try:
        recorder = Recorder(box)
        slow, *others = SITUATIONS
        started = recorder.make(slow)
        for each in others:
            recorder.record(each, recorder.make(each))
            print(each.name, flush=True)
        recorder.record(slow, started)
        (recorder.target / "config.txt").write_text(recorder.ask("scontrol", "show", "config"))
    finally:
        box.down()


if __name__ == "__main__":
    main()
