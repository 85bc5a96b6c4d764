"""A head node dies, or is only cut off, and a second one goes on from a copy of its database: every
job runs once, every status is true, and the first one hands nothing over any more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slurmbatch.daemon import SUPERSEDED
from slurmbatch.sandbox import Sandbox
from slurmbatch.sandbox.processes import MARK
from slurmbatch.sandbox.programs import search_path
from tests.e2e.alone import answers, wait_until
from tests.ports import free_port

# The daemons find Slurm's commands by themselves, as they are installed.
pytestmark = [pytest.mark.slurm, pytest.mark.installed]

TOOL = """\
description = "Leaves a line, and takes its time."
script = '''
#!/bin/bash
echo "$label-$job" >> {trace}
sleep "$nap"
[ -z "$gate" ] || until [ -e "$gate" ]; do sleep 0.2; done
exit "$code"
'''
hardware = {{cpu = 1, memory = 16}}
parameters = [
    {{name = "label", type = "string", required = true}},
    {{name = "job", type = "integer", required = true}},
    {{name = "nap", type = "number", default = 0}},
    {{name = "code", type = "integer", default = 0}},
    {{name = "gate", type = "string", default = ""}},
]
"""
SETTINGS = """\
[server]
port = {port}
submit_wait = 0
[store]
path = "{own}/state/x.sqlite"
[jobs]
log_dir = "{shared}/logs"
work_dir = "{shared}"
[slurm]
conf = "{slurm_conf}"
absence_grace = 8
poll_interval = 0.5
poll_interval_most = 2.0
[tools]
dir = "{shared}/tools.d"
"""
PATIENCE = 120


class Head:
    """A head node: its daemon, its settings, its own disk. What the nodes see is shared."""

    def __init__(self, box: Sandbox, root: Path, name: str) -> None:
        self.box, self.root, self.own, self.port = box, root, root / name, free_port()
        self.own.mkdir()
        self.config, self.log = self.own / "slurmbatch.toml", self.own / "log"
        self.url = f"http://127.0.0.1:{self.port}"
        self.config.write_text(
            SETTINGS.format(port=self.port, own=self.own, shared=root,
                            slurm_conf=box.paths.slurm_conf)
        )  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=60)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "slurmbatch", *arguments, "--config", str(self.config)]

    def admin(self, *arguments: str) -> str:
        done = subprocess.run(self.command("admin", *arguments), capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def launch(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("serve"), stdout=log, stderr=log,
                env={**os.environ, "PATH": search_path(), MARK: str(self.box.dir)},
            )  # fmt: skip
        return self.process

    def start(self, key: str | None = None) -> str:
        process = self.launch()
        wait_until(lambda: process.poll() is not None or answers(self.url), PATIENCE)
        assert process.poll() is None, self.log.read_text()
        key = key or self.admin("key", "create", "--user", "alice").splitlines()[-1]
        self.http.headers["Authorization"] = key
        return key

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            if number == signal.SIGKILL:
                self.process.wait(30)

    def post(self, label: str, n_jobs: int, nap: float = 0.0, code: int = 0, gate: str = "") -> str:
        fixed = {"label": label, "nap": nap, "code": code, "gate": gate}
        answer = self.http.post("/batches", json={
            "tool_id": "trace", "fixed_args": fixed,
            "variable_args": [{"job": n} for n in range(n_jobs)],
        })  # fmt: skip
        assert answer.status_code == 201, answer.text
        return str(answer.json()[0]["batch_id"])

    def batch(self, batch_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/batches/{batch_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()[0])

    def counts(self, batch_id: str) -> dict[str, int]:
        return {key: n for key, n in self.batch(batch_id)["submitted_jobs"].items() if n}

    def until(self, batch_id: str, done: Callable[[dict[str, Any]], bool]) -> None:
        wait_until(lambda: done(self.batch(batch_id)), PATIENCE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("logs", "tools.d"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "trace").touch()
    (tmp_path / "tools.d/trace.toml").write_text(TOOL.format(trace=tmp_path / "trace"))
    return tmp_path


@pytest.fixture
def heads(service: Sandbox, root: Path) -> Iterator[tuple[Head, Head]]:
    made = Head(service, root, "first"), Head(service, root, "second")
    yield made
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.kill()
        each.http.close()


def ran(root: Path) -> Counter[str]:
    return Counter((root / "trace").read_text().split())


def has_ended(batch: dict[str, Any]) -> bool:
    return bool(batch["finished_at"])


def refused(head: Head) -> str:
    """Started again, it ends by itself and says why."""
    before = head.log.stat().st_size
    assert head.launch().wait(PATIENCE) == SUPERSEDED
    return head.log.read_bytes()[before:].decode()


@pytest.mark.parametrize("copy", ["backup", "files"])
def test_the_first_one_dies_and_another_goes_on_from_a_copy(
    heads: tuple[Head, Head], root: Path, copy: str
) -> None:
    first, second = heads
    key = first.start()
    ended, failed = first.post("ended", 2), first.post("failed", 1, code=3)
    for each in (ended, failed):
        first.until(each, has_ended)
    running = first.post("running", 3, gate=str(root / "gate"))
    first.until(running, lambda each: each["submitted_jobs"]["RUNNING"] > 0)
    gone = first.post("gone", 1, nap=300)
    first.until(gone, lambda each: each["n_submitted"] == 1)
    assert first.http.delete(f"/batches/{gone}").status_code == 200
    accepted = first.post("accepted", 3, nap=1)
    if copy == "backup":
        first.admin("backup", str(root / "copy"))
        time.sleep(2)  # so that the copy is older than what the first one knew at its end
        first.kill()
        (second.own / "state").mkdir(mode=0o700)
        shutil.copy(root / "copy", second.own / "state/x.sqlite")
    else:
        first.kill()
        shutil.copytree(first.own / "state", second.own / "state")
    second.start(key)
    (root / "gate").touch()
    for each in (running, accepted):
        second.until(each, has_ended)
    assert second.counts(ended) == {"SUCCEEDED": 2}
    assert second.counts(failed) == {"FAILED": 1}
    assert second.counts(running) == second.counts(accepted) == {"SUCCEEDED": 3}
    assert second.http.get(f"/batches/{gone}").status_code == 404
    wait_until(lambda: not in_slurm(second), PATIENCE)
    # Whoever sends a batch again gets what was accepted, and new ones are.
    after = second.post("after", 1)
    second.until(after, has_ended)
    told = refused(first)
    assert "has taken over" in told
    assert "take-over" in told
    wanted = Counter({f"{label}-{n}": 1 for label, jobs in
                      (("ended", 2), ("failed", 1), ("running", 3), ("accepted", 3), ("after", 1))
                      for n in range(jobs)})  # fmt: skip
    found = ran(root)
    found.pop("gone-0", None)  # it may have begun before it was cancelled
    assert found == wanted
    assert answers(second.url)
    second.admin("check")


def in_slurm(head: Head) -> list[str]:
    """What Slurm has under names of this database's."""
    (mark,) = (head.root / "logs").glob(".head-*")
    instance = mark.name.removeprefix(".head-")
    rows = head.box.run(["squeue", "--noheader", "--format=%i|%j|%T"]).stdout.splitlines()
    return [row for row in rows if f"|sb-{instance}-" in row]


def test_one_that_was_only_stopped_finds_out_and_ends(heads: tuple[Head, Head], root: Path) -> None:
    first, second = heads
    key = first.start()
    labels = [f"b{n}" for n in range(4)]
    batches = [first.post(label, 3, nap=0.5) for label in labels]
    # Somewhere in the hand-over; what it has begun is not known to the copy.
    first.kill(signal.SIGSTOP)
    shutil.copytree(first.own / "state", second.own / "state")
    second.start(key)
    for each in batches[:2]:
        second.until(each, has_ended)
    first.kill(signal.SIGCONT)
    assert first.process is not None
    assert first.process.wait(PATIENCE) == SUPERSEDED
    assert "another daemon has taken over" in first.log.read_text()
    for each in batches:
        second.until(each, has_ended)
        assert second.counts(each) == {"SUCCEEDED": 3}
    wait_until(lambda: not in_slurm(second), PATIENCE)
    assert ran(root) == Counter({f"{label}-{n}": 1 for label in labels for n in range(3)})
    refused(first)
    assert answers(second.url)
