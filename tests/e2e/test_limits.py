"""Limits of the settings in a running daemon whose Slurm is not there: told, counted, read anew."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.alone import Site, wait_until
from tests.ports import free_port

LIMITS = """\
[metrics]
port = {port}
[limits]
live_jobs = {live_jobs}
requests_per_minute = 600
[[limits.exceptions]]
users = ["bob"]
live_jobs = 0
"""


class Limited:
    def __init__(self, directory: Path) -> None:
        self.directory, self.metrics_port = directory, free_port()
        self.site = Site(directory)
        self.allow(2)
        self.alice, self.bob = self.site.key(), self.key_of("bob")
        self.process = self.site.start()

    def allow(self, live_jobs: int) -> None:
        more = LIMITS.format(port=self.metrics_port, live_jobs=live_jobs)
        self.site.write(self.directory, self.directory / "logs", more)

    def key_of(self, user: str) -> str:
        made = subprocess.run(
            self.site.command("admin", "key", "create", "--user", user),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return made.stdout.splitlines()[-1]

    def post(self, key: str, n_jobs: int) -> httpx.Response:
        body: dict[str, Any] = {"tool_id": "t", "variable_args": [{}] * n_jobs}
        return httpx.post(
            f"{self.site.url}/batches", json=body, headers={"Authorization": key}, timeout=60
        )

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60).text


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Limited]:
    made = Limited(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


def test_a_limit_is_told_counted_and_read_anew(limited: Limited) -> None:
    made = limited.post(limited.alice, 2)
    assert made.status_code == 201
    assert made.headers["RateLimit-Limit"] == "600"
    full = limited.post(limited.alice, 1)
    assert full.status_code == 429
    assert int(full.headers["Retry-After"]) > 0
    assert full.json()["limits"] == [{"limit": "live_jobs", "most": 2, "used": 2, "wanted": 1}]
    assert limited.post(limited.alice, 3).status_code == 422
    assert limited.post(limited.bob, 5).status_code == 201
    assert 'slurmbatch_requests_over_limit_total{limit="live_jobs"} 1.0' in limited.metrics()
    limited.allow(20)
    limited.process.send_signal(signal.SIGHUP)
    wait_until(lambda: limited.post(limited.alice, 1).status_code == 201)
