"""`python -m tests.benchmarks.soak --minutes N`: does the daemon's memory stay flat under work?

A daemon on a database of many jobs, on a real Slurm, with everything at once: readers of a status,
of an unchanged one, of lists, of logs, whole lists of all jobs, new batches that run, cancels and
deletes. After a warm-up, what it has at the end is compared with what it had: by a ratio, so that
it does not matter how fast the machine is.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from slurmbatch.sandbox import Sandbox
from tests.benchmarks.machine import memory_mib
from tests.benchmarks.site import Service
from tests.benchmarks.stored import Stored, make

MOST_GROWTH = 1.05
MOST_MIB = 150.0
_SAMPLES_A_MINUTE = 60
# Seconds for which slurmctld shows what has ended, and each look has it: until then there is more
# and more of it, which has to be over within the warm-up.
_MIN_JOB_AGE = 60


@dataclass
class Soak:
    """What is done again and again, each in a thread of its own, and how often it was."""

    service: Service
    stored: Stored
    done: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, minutes: float) -> list[float]:
        """MiB that the daemon has, all along."""
        deeds = (self._statuses, self._unchanged, self._lists, self._all, self._batches)
        threads = [threading.Thread(target=self._again, args=(deed,)) for deed in deeds]
        for thread in threads:
            thread.start()
        samples, ends = [], time.monotonic() + minutes * 60
        try:
            while time.monotonic() < ends and not self._over.wait(60 / _SAMPLES_A_MINUTE):
                samples.append(memory_mib(self.service.pid))
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        return samples

    def _again(self, deed: Callable[[], None]) -> None:
        while not self._over.is_set():
            try:
                deed()
            except Exception as error:
                self.troubles[repr(error)[:200]] += 1
                self._over.wait(0.5)

    def _ask(self, what: str, method: str, path: str, body: object = None) -> Any:
        status, answer, _ = self.service.call(method, path, body)
        self.done[what] += 1
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {str(answer)[:200]}")
        return answer

    def _statuses(self) -> None:
        self._ask("statuses", "GET", self.stored.path)
        number = self.done["statuses"] * 7919 % self.stored.n_jobs
        self._ask("jobs", "GET", f"{self.stored.path}/jobs/{self.stored.batch_id}-{number}")

    def _unchanged(self) -> None:
        if _read(self.service, self.stored.path, {"If-None-Match": "*"}) != (304, 0):
            raise RuntimeError("a status has changed that cannot")
        self.done["unchanged"] += 1

    def _lists(self) -> None:
        after = f"{self.stored.batch_id}-{self.done['pages'] * 1000 % self.stored.n_jobs}"
        self._ask("pages", "GET", f"{self.stored.path}/jobs?limit=200&after={after}")
        self._ask("lists of batches", "GET", "/batches?limit=20")

    def _all(self) -> None:
        status, _ = _read(self.service, f"{self.stored.path}/jobs", {})
        if status != 200:
            raise RuntimeError(f"list of all jobs: {status}")
        self.done["lists of all jobs"] += 1

    def _batches(self) -> None:
        """One that ends, one that is cancelled; what the first has printed; and gone."""
        new = {"tool_id": "probe", "variable_args": [{"print": f"job {n}"} for n in range(20)]}
        ends = self._ask("new batches", "POST", "/batches", new)[0]["batch_id"]
        stays = self._ask("new batches", "POST", "/batches",
                          {**new, "fixed_args": {"sleep": 600}})[0]["batch_id"]  # fmt: skip
        while not self._ask("looks", "GET", f"/batches/{ends}")[0]["finished_at"]:
            if self._over.wait(0.2):
                break
        else:
            self.service.text(f"/batches/{ends}/jobs/{ends}-7/log")
            self.done["logs"] += 1
        self._ask("cancels", "POST", f"/batches/{stays}/cancel")
        for each in (ends, stays):
            self._ask("deletes", "DELETE", f"/batches/{each}")


def _read(service: Service, path: str, headers: dict[str, str]) -> tuple[int, int]:
    """The status, and how many bytes came; they are not kept."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)
    try:
        connection.request("GET", path, headers={**service.headers, **headers})
        answer, size = connection.getresponse(), 0
        while portion := answer.read(1 << 16):
            size += len(portion)
        return answer.status, size
    finally:
        connection.close()


def verdict(samples: list[float]) -> dict[str, Any]:
    """The last quarter beside the second: the first is the warm-up."""
    quarter = max(1, len(samples) // 4)
    early = median(samples[quarter : 2 * quarter] or samples)
    late = median(samples[-quarter:])
    return {
        "early_mib": early,
        "late_mib": late,
        "most_mib": max(samples),
        "growth": round(late / early, 3),
        "is_flat": late / early <= MOST_GROWTH,
        "is_small": max(samples) <= MOST_MIB,
    }


def soak(minutes: float, n_jobs: int) -> dict[str, Any]:
    directory = Path(tempfile.mkdtemp(prefix="sb-soak-", dir="/tmp"))
    box = Sandbox(directory / "box", nodes=2, min_job_age=_MIN_JOB_AGE)
    try:
        box.up()
        stored = make(directory / "stored", n_jobs, box)
        with stored.daemon(box) as (service, _):
            running = Soak(service, stored)
            samples = running.run(minutes)
        return {"minutes": minutes, "jobs": n_jobs, **verdict(samples), "done": dict(running.done),
                "troubles": dict(running.troubles), "samples_mib": samples}  # fmt: skip
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="in the database")
    options = parser.parse_args()
    found = soak(options.minutes, options.jobs)
    shown = {name: value for name, value in found.items() if name != "samples_mib"}
    print(json.dumps(shown, indent=1))
    good = found["is_flat"] and found["is_small"] and not found["troubles"]
    print("flat" if good else "NOT FLAT, or in trouble")
    sys.exit(not good)


if __name__ == "__main__":
    main()
