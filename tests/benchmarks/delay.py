"""How long after a job has started or ended the API says so, with jobs that really run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from slurmbatch.config import load
from tests.benchmarks.machine import load_average
from tests.benchmarks.site import Service, site

JOBS, LOOKS_A_SECOND, WITHIN = 40, 20, 120.0
TOOL = """
description = "notes when it starts and when it ends"
script = '''
#!/bin/sh
date +%s%N
sleep "$nap"
date +%s%N
'''
[hardware]
cpu = 1
memory = 16
[[parameters]]
name = "nap"
type = "number"
"""


@dataclass
class Seen:
    """When each job was first seen at work, and at its end, by its number."""

    running: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)

    def note(self, jobs: list[dict[str, Any]]) -> None:
        now = time.time()
        for number, job in enumerate(jobs):
            if job["status"] == "RUNNING":
                self.running.setdefault(number, now)
            elif job["status"] in ("SUCCEEDED", "FAILED"):
                self.ended.setdefault(number, now)


def delay() -> dict[str, object]:
    """On a cluster of its own, with the defaults of the settings."""
    with site(tools={"stamp": TOOL}, idle=False) as place:
        batch_id = _post(place.service)
        seen = _watch(place.service, f"/batches/{batch_id}/jobs")
        found = sorted(_delays(place.service, batch_id, seen))
        return _told(found, load(place.box.paths.settings).slurm.poll_interval)


def _post(service: Service) -> str:
    # Spread over some seconds, so that no look sees more than a few of the ends.
    naps = [1 + round(number * 0.618 % 1 * 6, 2) for number in range(JOBS)]
    body = {"tool_id": "stamp", "variable_args": [{"nap": nap} for nap in naps]}
    status, made, _ = service.call("POST", "/batches", body)
    if status != 201:
        raise RuntimeError(f"POST: {status} {made}")
    return str(made[0]["batch_id"])


def _watch(service: Service, path: str) -> Seen:
    seen, ends = Seen(), time.monotonic() + WITHIN
    while len(seen.ended) < JOBS:
        if time.monotonic() > ends:
            raise TimeoutError(f"{len(seen.ended)} of {JOBS} jobs have ended")
        seen.note(service.call("GET", path)[1])
        time.sleep(1 / LOOKS_A_SECOND)
    return seen


def _delays(service: Service, batch_id: str, seen: Seen) -> Iterator[float]:
    for number in range(JOBS):
        log = service.text(f"/batches/{batch_id}/jobs/{batch_id}-{number}/log")
        started, ended = (int(each) / 1e9 for each in log.split())
        if number in seen.running:
            yield seen.running[number] - started
        yield seen.ended[number] - ended


def _told(delays: list[float], interval: float) -> dict[str, object]:
    def at(share: float) -> float:
        return delays[min(len(delays) - 1, int(share * len(delays)))]

    return {
        "jobs": JOBS,
        "changes_seen": len(delays),
        "poll_interval_seconds": interval,
        "median_seconds": round(at(0.5), 3),
        "p99_seconds": round(at(0.99), 3),
        "median_per_interval": round(at(0.5) / interval, 3),
        "load_average": load_average(),
    }
