"""The client and the demo on the real daemon and a real Slurm."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from slurmbatch.client import ApiError, Client
from slurmbatch.sandbox import Sandbox

pytestmark = pytest.mark.slurm
DEMO = [sys.executable, "-m", "slurmbatch", "demo"]


@pytest.fixture
def client(service: Sandbox) -> Iterator[Client]:
    with Client(service.url, str(service.api_key)) as made:
        yield made
        made.delete_all()


class TestClient:
    def test_from_submit_to_the_logs(self, client: Client) -> None:
        words = ["one", "two", "three"]
        made = client.submit("probe", name="words", variable_args=[{"print": w} for w in words])
        seen: list[int] = []
        ended = client.wait(
            made["batch_id"], 90, lambda each: seen.append(sum(each["submitted_jobs"].values()))
        )
        assert ended["submitted_jobs"]["SUCCEEDED"] == 3
        assert set(seen) == {3}
        jobs = list(client.jobs(made["batch_id"]))
        assert [client.log(job) for job in jobs] == [f"{word}\n" for word in words]
        job = client.job(made["batch_id"], jobs[0]["job_id"])
        assert job["status"] == "SUCCEEDED"
        assert client.log_bytes(job, tail=1) == b"one\n"

    def test_lists_cancels_and_deletes(self, client: Client) -> None:
        made = client.submit("probe", name="long", fixed_args={"sleep": 600})
        assert [each["batch_id"] for each in client.batches(name="long")] == [made["batch_id"]]
        assert client.cancel(made["batch_id"])["cancelled"]
        assert client.wait(made["batch_id"], 90)["submitted_jobs"]["FAILED"] == 1
        (job,) = client.jobs(made["batch_id"], status=["FAILED", "SUCCEEDED"])
        assert job["reason"].startswith("CANCELLED")
        client.delete(made["batch_id"])
        with pytest.raises(ApiError) as caught:
            client.batch(made["batch_id"])
        assert caught.value.status == 404

    def test_the_same_key_gives_the_same_batch(self, client: Client) -> None:
        first = client.submit("probe", idempotency_key="once")
        second = client.submit("probe", idempotency_key="once")
        assert first["batch_id"] == second["batch_id"]

    def test_is_told_all_mistakes(self, client: Client) -> None:
        with pytest.raises(ApiError) as caught:
            client.submit("probe", fixed_args={"sleep": "long", "color": 1}, cpu=0)
        found = {mistake["pointer"] for mistake in caught.value.errors}
        assert found == {"/hardware/cpu", "/fixed_args/sleep", "/fixed_args/color"}

    def test_knows_the_tools(self, client: Client) -> None:
        assert {tool["id"] for tool in client.tools()} >= {"montecarlo-pi", "probe"}


class TestDemo:
    def test_in_lines_where_there_is_no_terminal(self, service: Sandbox) -> None:
        command = [*DEMO, "--dir", str(service.dir), "--end-with", "make demo-down"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert "All 100 jobs have ended: 100 SUCCEEDED" in done.stdout
        assert "pi is about 3.14" in done.stdout
        shown = re.search(r"^\{\n.*?^\}", done.stdout, re.MULTILINE | re.DOTALL)
        assert shown is not None
        assert json.loads(shown[0])["status"] == "SUCCEEDED"
        for needed in (service.url, str(service.api_key), "curl", "make demo-down"):
            assert needed in done.stdout

    def test_in_bars_on_a_terminal_with_the_environment_saying_where(
        self, service: Sandbox
    ) -> None:
        env = {**os.environ, **service.variables, "TERM": "xterm", "COLUMNS": "80"}
        env.pop("NO_COLOR", None)
        controller, terminal = pty.openpty()
        with subprocess.Popen([*DEMO, "--jobs", "5"], env=env, stdout=terminal) as process:
            os.close(terminal)
            printed = b"".join(_until_the_end(controller)).decode()
        os.close(controller)
        assert process.returncode == 0
        assert re.search(r"SUCCEEDED \S*█{40}\S* +5\s", printed)
        assert "All 5 jobs have ended: 5 SUCCEEDED" in printed
        # The key of a real service is nobody's business who looks over one's shoulder.
        assert str(service.api_key) not in printed

    def test_says_what_is_missing(self) -> None:
        env = {name: value for name, value in os.environ.items() if "SLURMBATCH" not in name}
        done = subprocess.run(DEMO, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "SLURMBATCH_URL is not set" in done.stderr


def _until_the_end(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # EIO: the other side is closed
            return
        if not chunk:
            return
        yield chunk
