"""`python -m tests.benchmarks.dashboards`: what a hundred open dashboards cost.

Half of them show the list of batches, half one batch with all of its jobs; each asks what the real
one asks, as often, on a connection of its own. Once while nothing changes, once while the batch
runs; beside both the same time without any of them. What Slurm was asked is Slurm's own count.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.machine import cpu_seconds, load_average, memory_mib
from tests.benchmarks.questions import counts, difference
from tests.benchmarks.site import Service, Site, site

DASHBOARDS, EVERY = 100, 2.0
JOBS, LARGE = 2_000, 100_000


@dataclass
class Tab:
    """A dashboard: its view, and with it what it asks for when that has changed."""

    service: Service
    path: str
    then: str = ""
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)

    def look(self, found: Counter[str]) -> None:
        if self._get(self.path, found) == 200 and self.then:
            self._get(self.then, found)

    def _get(self, path: str, found: Counter[str]) -> int:
        known = {"If-None-Match": self.known[path]} if path in self.known else {}
        headers = {**self.service.headers, "Accept-Encoding": "gzip", **known}
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        found["bytes"] += len(answer.read())
        found[str(answer.status)] += 1
        self.known[path] = answer.headers["ETag"]
        return answer.status


def watched(at: Site, tabs: list[Tab], seconds: float) -> dict[str, Any]:
    """Each tab looks once in EVERY seconds, one after the other."""
    found: Counter[str] = Counter()
    asked, used, began = counts(at), cpu_seconds(at.service.pid), time.monotonic()
    due = began
    turns: list[Tab | None] = [*tabs] or [None]
    while time.monotonic() < began + seconds:
        for tab in turns:
            due += EVERY / max(1, len(tabs))
            if tab is not None:
                tab.look(found)
            time.sleep(max(0.0, due - time.monotonic()))
    passed = time.monotonic() - began
    return {
        "dashboards": len(tabs),
        "cpu_percent": round(100 * (cpu_seconds(at.service.pid) - used) / passed, 1),
        "memory_mib": memory_mib(at.service.pid),
        "slurm_asked_a_minute": round(60 * sum(difference(asked, counts(at)).values()) / passed, 1),
        "answers": dict(found),
        "load_average": load_average(),
    }


def large(service: Service) -> dict[str, Any]:
    """All jobs of a large batch in brief: when they are made, and for the next one who asks."""
    path = f"/batches/{service.post(LARGE)}/statuses"
    found: dict[str, Any] = {"jobs": LARGE}
    for name in ("first_ms", "next_ms"):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        began = time.monotonic()
        connection.request("GET", path, headers={**service.headers, "Accept-Encoding": "gzip"})
        body = connection.getresponse().read()
        found[name] = round((time.monotonic() - began) * 1000, 1)
        connection.close()
    found |= {"bytes": len(gzip.decompress(body)), "bytes_sent": len(body)}
    return found


def measure(seconds: float) -> dict[str, Any]:
    with site(idle=False) as at:
        batch_id = at.service.post(JOBS)
        path = f"/batches/{batch_id}"
        half = range(DASHBOARDS // 2)
        tabs = [Tab(at.service, "/batches?limit=50") for _ in half]
        tabs += [Tab(at.service, path, f"{path}/statuses") for _ in half]
        found: dict[str, Any] = {"jobs": JOBS}
        for name, shown in (("without", []), ("with", tabs)):
            found[f"while_it_runs_{name}"] = watched(at, shown, seconds)
        at.service.call("DELETE", path)
        tabs = [Tab(at.service, "/batches?limit=50") for _ in range(DASHBOARDS)]
        for name, shown in (("without", []), ("with", tabs)):
            found[f"while_nothing_changes_{name}"] = watched(at, shown, seconds)
        found["all_jobs_in_brief"] = large(at.service)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of each of four windows")
    print(json.dumps(measure(parser.parse_args().seconds), indent=2))


if __name__ == "__main__":
    main()
