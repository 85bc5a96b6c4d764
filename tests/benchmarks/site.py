"""The cluster that everything is measured on: a sandbox with two batches that stay alive."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurmbatch.sandbox import Sandbox
from tests.benchmarks.load import Target

SLURM_DAEMONS = ("slurmctld", "slurmdbd", "mariadbd")


@dataclass
class Service:
    """A daemon of ours: where it answers, with which key, as which process."""

    port: int
    key: str
    pid: int

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self.key}

    def target(self, name: str, path: str, **headers: str) -> Target:
        return Target(
            name,
            f"http://127.0.0.1:{self.port}{path}",
            {**self.headers, **headers},
            pids={"own": self.pid},
        )

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any, dict[str, str]]:
        """One request on a connection of its own: status, JSON, headers."""
        status, content, names = self._ask(method, path, body)
        return status, json.loads(content or b"null"), names

    def text(self, path: str) -> str:
        """What a job has printed, say."""
        return self._ask("GET", path, None)[1].decode()

    def _ask(self, method: str, path: str, body: object) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {**self.headers,
                               "Content-Type": "application/json"})  # fmt: skip
            answer = connection.getresponse()
            content = answer.read()
            names = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, content, names
        finally:
            connection.close()

    def post(self, n_jobs: int, memory: int = 64) -> str:
        """A new batch of so many jobs; gives its id."""
        status, made, _ = self.call("POST", "/batches", new_batch(n_jobs, memory))
        if status != 201:
            raise RuntimeError(f"POST of {n_jobs} jobs: {status} {made}")
        return str(made[0]["batch_id"])


@dataclass(frozen=True, slots=True)
class Live:
    """A batch that lives in Slurm, one array of it, each of its tasks a record of its own."""

    batch_id: str
    n_jobs: int
    slurm_job: int

    @property
    def path(self) -> str:
        return f"/batches/{self.batch_id}"


@dataclass
class Site:
    box: Sandbox
    service: Service

    def slurm_pids(self) -> dict[str, int]:
        found = {name: self.box.pid(name) for name in SLURM_DAEMONS}
        return {name: pid for name, pid in found.items() if pid is not None}

    def live(self, n_jobs: int) -> Live:
        """Posts a batch and makes it one that lasts, without a single process.

        Slurm keeps the tasks of an array in one record until they differ. Those of a real array
        do, once they run: so they get a begin time of their own, all but the last.
        """
        batch_id = self.service.post(n_jobs)
        path = f"/batches/{batch_id}/jobs/{batch_id}-0"
        until(lambda: bool(self.service.call("GET", path)[1][0]["slurm_job_id"]))
        job = int(self.service.call("GET", path)[1][0]["slurm_job_id"].partition("_")[0])
        until(lambda: "Held" not in self.box.run(["squeue", "-hj", str(job), "-o%r"]).stdout)
        which = f"{job}_[1-{n_jobs - 1}]"
        self.box.run(["scontrol", "update", f"jobid={which}", "StartTime=now+1day"], timeout=120)
        seen = self.box.run(["squeue", "-hj", str(job), "-o%i"]).stdout.splitlines()
        if len(seen) < n_jobs:
            raise RuntimeError(f"{len(seen)} records for {n_jobs} tasks")
        return Live(batch_id, n_jobs, job)

    def settle(self, live: Live) -> None:
        """Until our daemon has seen that all of it waits, and has nothing more to write."""
        self._settled(live)

    def _settled(self, live: Live) -> None:
        def seen() -> bool:
            counts = self.service.call("GET", live.path)[1][0]["submitted_jobs"]
            return bool(counts["PENDING"] >= live.n_jobs - 1)

        until(seen, within=60)


@contextmanager
def site(tools: Mapping[str, str] | None = None, *, idle: bool = True) -> Iterator[Site]:
    """Up with the daemon on the defaults of its settings, and gone. `tools`: more of them, by name;
    `idle`: the nodes start nothing."""
    directory = Path(tempfile.mkdtemp(prefix="sb-bench-", dir="/tmp"))
    box = Sandbox(directory / "box", nodes=1, max_array_size=10_001, max_job_count=400_000)
    try:
        box.up()
        if idle:
            box.run(["scontrol", "update", "nodename=ALL", "state=drain", "reason=bench"])
        for name, text in (tools or {}).items():
            (box.dir / "etc" / "tools.d" / f"{name}.toml").write_text(text)
        box.paths.settings.write_text(_settings(box.paths.settings.read_text()))
        box.start_daemon()
        pid = box.pid("slurmbatch")
        assert pid is not None
        yield Site(box, Service(box.plan.http_port, str(box.api_key), pid))
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


def _settings(text: str) -> str:
    """The defaults, but for room for ten thousand jobs in one array."""
    return text.replace(
        "poll_interval = 0.5\npoll_interval_most = 2.0\n", "max_script_bytes = 2097152\n"
    )


def new_batch(n_jobs: int, memory: int = 64) -> dict[str, Any]:
    return {
        "tool_id": "probe",
        "fixed_args": {"sleep": 60},
        "variable_args": [{"print": f"job {number}"} for number in range(n_jobs)],
        "hardware": {"cpu": 1, "memory": memory},
    }


def until(true: Any, within: float = 30) -> None:
    ends = time.monotonic() + within
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError("it did not come to be")
        time.sleep(0.1)
