"""A full disk and a clock that is set, under a real daemon on a real Slurm."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from slurmbatch.sandbox import Sandbox
from slurmbatch.sandbox.processes import MARK
from slurmbatch.sandbox.programs import search_path

from .conftest import Api, patient
from .gate import Gate

pytestmark = pytest.mark.slurm
REPOSITORY = Path(__file__).resolve().parents[2]


class Owned(Api):
    """A daemon of our own on a sandbox, with its database in a place of our own."""

    def __init__(self, box: Sandbox, state: Path) -> None:
        self.config = state.with_name("slurmbatch.toml")
        settings = box.paths.settings.read_text()
        (old,) = (line for line in settings.splitlines() if ".sqlite" in line)
        self.config.write_text(patient(settings.replace(old, f'path = "{state}/x.sqlite"')))
        self.config.with_name("tools.d").symlink_to(box.dir / "etc" / "tools.d")
        self.state, self.box = state, box
        self.log_file = self.config.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None
        made = subprocess.run(self.command("admin", "key", "create", "--user", "alice"),
                              capture_output=True, text=True, check=True)  # fmt: skip
        key = made.stdout.splitlines()[-1]
        self.http = httpx.Client(base_url=box.plan.url, headers={"Authorization": key}, timeout=30)

    def command(self, *words: str, by: Sequence[str] = ("slurmbatch",)) -> list[str]:
        return [sys.executable, "-m", *by, *words, "--config", str(self.config)]

    def start(self, *by: str) -> None:
        """By another program than slurmbatch itself, where one is named."""
        command = self.command("serve", by=by or ("slurmbatch",))
        env = {"PATH": search_path(), MARK: str(self.box.dir)}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stderr=log, cwd=REPOSITORY)
        self.wait(lambda: self._answers())

    def _answers(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    @staticmethod
    def wait(done: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.1)

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(20) == 0
            self.process = None


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    made = Sandbox(directory, nodes=1)
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def owned(box: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Owned]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    is_small = request.node.get_closest_marker("small_disk") is not None
    if is_small:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(state)]
        if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
            pytest.skip("mounting a small disk needs root, on a machine that lets it mount")
    daemon = None
    try:
        daemon = Owned(box, state)
        yield daemon
        daemon.end()
    finally:
        if daemon is not None and daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()
        if is_small:
            subprocess.run(["umount", "--lazy", str(state)], check=True)


@pytest.mark.small_disk
def test_a_full_disk_is_told_loses_nothing_and_mends_by_itself(owned: Owned, gate: Gate) -> None:
    owned.start()
    kept = owned.submit(tool_id="probe", fixed_args=gate.args)
    owned.until(kept, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
    fill(owned.state / "filler")
    answer = owned.post({"tool_id": "probe", "variable_args": [{"print": "x" * 1000}] * 500})
    assert answer.status_code == 507
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert owned.http.get("/readyz").status_code == 503
    assert [each["batch_id"] for each in owned.http.get("/batches").json()] == [kept]
    gate.open()  # it ends while that cannot be written down
    owned.wait(lambda: not owned.squeue("--states=pending,running"))
    (owned.state / "filler").unlink()
    assert owned.ended(kept) == {"SUCCEEDED": 1}
    owned.wait(lambda: owned.http.get("/readyz").status_code == 200)
    again = owned.submit(tool_id="probe")
    assert owned.ended(again) == {"SUCCEEDED": 1}


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_clock_that_is_set_by_an_hour_changes_no_status(
    owned: Owned, tmp_path: Path, gate: Gate, step: int
) -> None:
    """The daemon's clock alone; Slurm's goes on as it was."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    owned.start("tests.e2e.stepped", str(clock))
    stays = owned.submit(tool_id="probe", fixed_args={"sleep": 600})
    ends = owned.submit(tool_id="probe", fixed_args=gate.args)
    for batch_id in (stays, ends):
        owned.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
    # At once: the daemon reads it all the time, and must never find it empty.
    set_to = tmp_path / "set"
    set_to.write_text(str(step))
    set_to.replace(clock)
    gate.open()
    new = owned.submit(tool_id="probe")
    assert owned.ended(ends) == {"SUCCEEDED": 1}
    assert owned.ended(new) == {"SUCCEEDED": 1}
    assert owned.batch(stays)["submitted_jobs"]["RUNNING"] == 1
    assert owned.http.post(f"/batches/{stays}/cancel").status_code == 202
    assert owned.ended(stays) == {"FAILED": 1}
    moved = owned.one(f"/batches/{new}")["created_at"]
    lag = time.time() + step - time.mktime(time.strptime(moved, "%Y-%m-%dT%H:%M:%SZ"))
    assert abs(lag) < 300, "the daemon's clock was not set"


def test_more_jobs_than_its_user_may_have_submitted_go_in_pieces(owned: Owned) -> None:
    """MaxSubmitJobs, which every task of an array counts against."""
    user = pwd.getpwuid(os.getuid()).pw_name
    limit = ["sacctmgr", "-i", "modify", "user", user, "set"]
    owned.box.run([*limit, "MaxSubmitJobs=20"])
    owned.start()
    try:
        batch_id = owned.submit(tool_id="probe", variable_args=[{"print": "x"}] * 40)
        told: set[str] = set()

        def waits_for_room(batch: dict[str, object]) -> bool:
            told.add(owned.job(batch_id, 39)["reason"])
            return bool(batch["finished_at"])

        owned.until(batch_id, waits_for_room, seconds=300)
        assert owned.ended(batch_id) == {"SUCCEEDED": 40}
        assert any(each.startswith("LIMIT: ") and "SubmitJob" in each for each in told)
        assert owned.batch(batch_id)["n_submitted"] == 40
    finally:
        owned.box.run([*limit, "MaxSubmitJobs=-1"])


def test_a_refusal_of_what_slurm_has_just_accepted_is_told_in_its_jobs(owned: Owned) -> None:
    """The answer does not wait for it; once Slurm has refused the like, answers wait again."""
    body = {"tool_id": "probe", "slurm": {"qos": "brief"}}
    user = pwd.getpwuid(os.getuid()).pw_name
    may = ["sacctmgr", "-i", "modify", "user", user, "set"]
    owned.box.run(["sacctmgr", "-i", "add", "qos", "brief"])
    owned.box.run([*may, "qos+=brief"])
    owned.start()
    assert owned.ended(owned.submit(**body)) == {"SUCCEEDED": 1}
    owned.box.run([*may, "qos-=brief"])
    refused = owned.submit(**body)
    assert owned.ended(refused) == {"FAILED": 1}
    reason = owned.job(refused)["reason"]
    assert reason.startswith("REFUSED: Slurm refused it: "), reason
    assert "Invalid qos specification" in reason
    answer = owned.post(body)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:slurmbatch:problem:refused-by-slurm"
