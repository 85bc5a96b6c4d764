"""Batches of any size in one POST: how long they take, what memory, and who waits meanwhile.

The daemon has no Slurm here: what is measured is the way from the request to the disk.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.machine import forget_peak, memory_mib
from tests.benchmarks.processes import running, until_answered
from tests.benchmarks.site import Service
from tests.ports import free_port

MOST = 2_000_000
TOOL = """\
description = "Does nothing."
script = "#!/bin/sh\\ntrue\\n"
[[parameters]]
name = "seed"
type = "integer"
[[parameters]]
name = "name"
type = "string"
max_length = 100
[hardware]
cpu = 1
memory = 1
"""


def large(directory: Path, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Each size on the same daemon, the small ones first."""
    with alone(directory) as service:
        return [_measure(service, directory, n_jobs) for n_jobs in sizes]


@contextmanager
def alone(directory: Path, more: str = "") -> Iterator[Service]:
    """A daemon that takes large batches, and whose Slurm is not there."""
    (directory / "bin").mkdir(parents=True)
    (directory / "tools.d").mkdir()
    (directory / "tools.d" / "t.toml").write_text(TOOL)
    config, port = directory / "slurmbatch.toml", free_port()
    config.write_text(
        f"[server]\nport = {port}\nmax_body_bytes = {1 << 30}\n"
        f'[store]\npath = "{directory}/state/x.sqlite"\n'
        f'[jobs]\nlog_dir = "{directory}/logs"\nmax_jobs_per_batch = {MOST}\n{more}'
        f'[slurm]\nbackend = "commands"\nbin_dir = "{directory}/bin"\n'
        f'[tools]\ndir = "{directory}/tools.d"\n'
    )
    command = [sys.executable, "-m", "slurmbatch"]
    key = subprocess.run(
        [*command, "admin", "key", "create", "--user", "bench", "--config", str(config)],
        capture_output=True, text=True, check=True,
    ).stdout.split()[-1]  # fmt: skip
    serve = [*command, "serve", "--config", str(config)]
    with running(serve, os.environ, directory / "log") as process:
        until_answered(port, "/healthz")
        yield Service(port, key, process.pid)


def write_body(path: Path, n_jobs: int) -> int:
    """A body of so many jobs, in a file; gives its size."""
    with path.open("w") as file:
        file.write('{"tool_id": "t", "variable_args": [\n')
        for first in range(0, n_jobs, 1000):
            jobs = (json.dumps({"seed": n, "name": f"job {n}"})
                    for n in range(first, min(first + 1000, n_jobs)))  # fmt: skip
            file.write(",\n".join(jobs) + (",\n" if first + 1000 < n_jobs else "]}\n"))
    return path.stat().st_size


def post(service: Service, body: Path, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=600)
    try:
        with body.open("rb") as file:
            connection.request(
                "POST", "/batches", file,
                {**service.headers, "Content-Type": "application/json",
                 "Content-Length": str(body.stat().st_size), **headers},
            )  # fmt: skip
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _measure(service: Service, directory: Path, n_jobs: int) -> dict[str, Any]:
    body = directory / "body.json"
    size = write_body(body, n_jobs)
    forget_peak(service.pid)
    with _watchers(service) as waits:
        began = time.monotonic()
        status, made = post(service, body)
        took = time.monotonic() - began
    if status != 201 or made[0]["n_jobs"] != n_jobs:
        raise RuntimeError(f"a batch of {n_jobs} jobs: {status} {str(made)[:300]}")
    return {
        "jobs": n_jobs,
        "body_mib": round(size / 2**20, 1),
        "seconds": round(took, 3),
        "peak_mib": memory_mib(service.pid, "VmHWM"),
        "resident_mib": memory_mib(service.pid),
        **{f"{name}_ms": {"median": round(median(each), 1), "most": round(max(each), 1)}
           for name, each in waits.items() if each},
    }  # fmt: skip


@contextmanager
def _watchers(service: Service) -> Iterator[dict[str, list[float]]]:
    """Others meanwhile, one who reads and one who writes: the milliseconds that theirs take."""
    waits: dict[str, list[float]] = {"read": [], "write": []}
    over = threading.Event()

    def ask(name: str, path: str) -> None:
        while not over.wait(0.02):
            began = time.monotonic()
            service.call("GET", path)
            waits[name].append((time.monotonic() - began) * 1000)

    # /readyz writes to the database, at most once a second.
    threads = [threading.Thread(target=ask, args=each)
               for each in (("read", "/tools/t"), ("write", "/readyz"))]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        yield waits
    finally:
        over.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="sb-large-") as made_here:
        wanted = [int(each) for each in sys.argv[1:]] or [1, 10_000, 100_000, 1_000_000]
        for each in large(Path(made_here) / "x", wanted):
            print(json.dumps(each), flush=True)
