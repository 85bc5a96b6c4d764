"""The whole of it: the daemon as a process of its own, on a real Slurm, asked over HTTP."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slurmbatch.sandbox import Sandbox
from tests.e2e.alone import Site
from tests.e2e.browser import Dashboard, launched
from tests.e2e.gate import Gate
from tests.e2e.systemd import Manager

# A tool that is safe to run again: Slurm may requeue it.
AGAIN = """
description = "says which run it is, and takes its time for the first one"
requeue = true
script = '''
#!/bin/sh
echo "run ${SLURM_RESTART_COUNT:-0}"
[ -n "${SLURM_RESTART_COUNT:-}" ] || sleep 60
'''
[hardware]
cpu = 1
memory = 64
"""

# Talks to both its outputs, and takes its time in between.
CHATTY = """
description = "counts to three, loudly"
script = '''
#!/bin/sh
for each in 1 2 3; do
    echo "out $each"
    echo "err $each" >&2
    sleep 1
done
printf 'no end of line'
'''
[hardware]
cpu = 1
memory = 64
"""

# Runs into its time limit, but not a second time.
SLOW = """
description = "sleeps, unless a file is there, and makes it"
script = '''
#!/bin/sh
[ -e "$flag" ] && exit 0
touch "$flag"
sleep 300
'''
[[parameters]]
name = "flag"
type = "string"
required = true
[hardware]
cpu = 1
memory = 64
[slurm]
max_time_limit = 2
[retry]
max_attempts = 2
time_factor = 3
"""


# Every text that a tool may declare, as somebody would write it who wants to be taken for markup.
NASTY = """
description = '<img src=x onerror="window.hacked=1">'
script = '''
#!/bin/sh
exit 0
'''
[[parameters]]
name = "text"
type = "string"
description = '<script>window.hacked=1</script>'
default = '"><img src=x onerror="window.hacked=1">'
choices = ['"><img src=x onerror="window.hacked=1">', "javascript:window.hacked=1"]
[hardware]
cpu = 1
memory = 64
"""

# Of whom nobody else makes keys.
OVERSEER = "overseer"
TOOLS = {"again": AGAIN, "chatty": CHATTY, "slow": SLOW, "nasty": NASTY}


class Api:
    """The documented API, spoken plainly: no client of ours in between."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.http = httpx.Client(
            base_url=box.url, headers={"Authorization": str(box.api_key)}, timeout=30
        )

    def post(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        return self.http.post("/batches", json=body, headers=headers)

    def submit(self, **body: Any) -> str:
        """Posts a batch that has to be accepted; gives its id."""
        answer = self.post(body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()[0]["batch_id"])

    def one(self, path: str) -> dict[str, Any]:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        (element,) = answer.json()
        return dict(element)

    def batch(self, batch_id: str) -> dict[str, Any]:
        return self.one(f"/batches/{batch_id}")

    def job(self, batch_id: str, index: int = 0) -> dict[str, Any]:
        return self.one(f"/batches/{batch_id}/jobs/{batch_id}-{index}")

    def log(self, batch_id: str, index: int = 0) -> str:
        return self.http.get(f"/batches/{batch_id}/jobs/{batch_id}-{index}/log").text

    def until(self, batch_id: str, done: Callable[[dict[str, Any]], bool], seconds: float = 90)\
            -> dict[str, Any]:  # fmt: skip
        """Looks at the batch until it is as wanted."""
        deadline = time.monotonic() + seconds
        while True:
            batch = self.batch(batch_id)
            assert sum(batch["submitted_jobs"].values()) == batch["n_jobs"]
            if done(batch):
                return batch
            assert time.monotonic() < deadline, batch
            time.sleep(0.1)

    def ended(self, batch_id: str, seconds: float = 90) -> dict[str, int]:
        """Waits for the end of every job; gives how many ended how."""
        batch = self.until(batch_id, lambda each: bool(each["finished_at"]), seconds)
        return {status: n for status, n in batch["submitted_jobs"].items() if n}

    def squeue(self, *options: str) -> list[str]:
        out = self.box.run(["squeue", "--noheader", "--format=%i|%j|%T|%r", *options]).stdout
        return out.splitlines()


def patient(settings: str) -> str:
    """Waits long enough for Slurm's word to be in an answer, on whatever machine."""
    return settings.replace("[server]\n", "[server]\nsubmit_wait = 20\n", 1)


@pytest.fixture(scope="session")
def service() -> Iterator[Sandbox]:
    """A sandbox with the daemon on it, up once for all end-to-end tests."""
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory)
    try:
        box.up()
        for name, text in TOOLS.items():
            (directory / "etc" / "tools.d" / f"{name}.toml").write_text(text)
        settings = patient(box.paths.settings.read_text())
        box.paths.settings.write_text(f'{settings}\n[auth]\nadmins = ["{OVERSEER}"]\n')
        box.start_daemon()
        yield box
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def overseer(service: Sandbox) -> str:
    """The key of an administrator, good for all that such may do."""
    scopes = [f"--scope={each}" for each in ("read", "submit", "admin")]
    done = subprocess.run(
        [sys.executable, "-m", "slurmbatch", "admin", "key", "create", "--user", OVERSEER,
         *scopes, "--config", str(service.paths.settings)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


@pytest.fixture
def api(service: Sandbox) -> Iterator[Api]:
    spoken = Api(service)
    yield spoken
    spoken.http.delete("/batches")
    spoken.http.close()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as each:
        yield each


@pytest.fixture
def dashboard(browser: Any, service: Sandbox) -> Iterator[Dashboard]:
    each = Dashboard(browser, service)
    yield each
    try:
        each.check()
    finally:
        each.context.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    each = Manager(tmp_path, Site(tmp_path))
    yield each
    each.close()
