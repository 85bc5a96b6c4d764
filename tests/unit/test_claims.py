"""Claims: a job that is started twice runs once, and its end is known without Slurm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from slurmbatch import script
from slurmbatch.claims import KEPT, Claim, Claims
from slurmbatch.model import Tool
from slurmbatch.script import NOT_RUN_AGAIN, Setting

TAG = "sb-x-1"


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    (tmp_path / "claims").mkdir()
    made = Claims(tmp_path / "claims")
    made.prepare(TAG)
    return made


def run(
    claims: Claims, tmp_path: Path, body: str, task: int = 1, restarts: int | None = None
) -> subprocess.CompletedProcess[str]:
    """The job script of a one-task array, run as slurmd would."""
    tool = Tool("t", "", script=f"#!/bin/sh\n{body}\n")
    setting = Setting("b", {}, tmp_path, {}, claims.root / TAG)
    text = script.render(
        tool, setting, [script.task(n, {"OUT": str(tmp_path / "out")}) for n in range(3)]
    )
    hurry = tmp_path / "bin" / "sleep"
    hurry.parent.mkdir(exist_ok=True)
    hurry.write_text("#!/bin/sh\nexec /bin/sleep 0.01\n")
    hurry.chmod(0o755)
    path = f"{hurry.parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "SLURM_ARRAY_TASK_ID": str(task)}
    if restarts is not None:
        environment["SLURM_RESTART_COUNT"] = str(restarts)
    return subprocess.run(
        ["bash", "-c", text], env=environment, capture_output=True, text=True, check=False
    )


def runs(tmp_path: Path) -> int:
    out = tmp_path / "out"
    return len(out.read_text().splitlines()) if out.exists() else 0


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_a_second_start_gives_the_first_exit_code_and_does_not_run(
    claims: Claims, tmp_path: Path, code: int
) -> None:
    body = f'echo ran >> "$OUT"; exit {code}'
    assert run(claims, tmp_path, body).returncode == code
    found = claims.look(TAG, 1)
    assert found == Claim(True, code)
    assert found.ended_at == (claims.root / TAG / "1" / "code").stat().st_mtime
    again = run(claims, tmp_path, body)
    assert again.returncode == code
    assert "ended before" in again.stderr
    assert runs(tmp_path) == 1


def test_a_run_whose_end_is_unknown_is_not_repeated(claims: Claims, tmp_path: Path) -> None:
    body = 'echo ran >> "$OUT"; kill -9 $PPID; sleep 1'
    run(claims, tmp_path, body)
    assert claims.look(TAG, 1) == Claim(True)
    again = run(claims, tmp_path, body)
    assert again.returncode == NOT_RUN_AGAIN
    assert claims.look(TAG, 1) == Claim(True, None, again=True)
    assert runs(tmp_path) == 1


def test_a_requeue_by_a_slurmctld_that_was_killed_is_no_new_run(
    claims: Claims, tmp_path: Path
) -> None:
    body = 'echo ran >> "$OUT"; exit 3'
    run(claims, tmp_path, body)
    assert run(claims, tmp_path, body, restarts=1).returncode == 3
    assert runs(tmp_path) == 1


def test_tasks_do_not_stand_in_each_others_way(claims: Claims, tmp_path: Path) -> None:
    for task in (1, 2, 3):
        assert run(claims, tmp_path, 'echo ran >> "$OUT"', task).returncode == 0
    assert runs(tmp_path) == 3


def test_without_its_directory_a_job_does_not_run_unfenced(claims: Claims, tmp_path: Path) -> None:
    (claims.root / TAG).rmdir()
    done = run(claims, tmp_path, 'echo ran >> "$OUT"')
    assert done.returncode == NOT_RUN_AGAIN
    assert "cannot be made" in done.stderr
    assert runs(tmp_path) == 0


def test_a_tool_that_handles_sigterm_is_let_finish(claims: Claims, tmp_path: Path) -> None:
    body = "trap 'echo saved >> \"$OUT\"; exit 7' TERM; kill -TERM $PPID; kill -TERM $$; sleep 5"
    assert run(claims, tmp_path, body).returncode == 7
    assert (tmp_path / "out").read_text() == "saved\n"


def test_what_has_not_started_and_what_cannot_be_seen(claims: Claims) -> None:
    assert claims.look(TAG, 1) == Claim(False)
    assert claims.look("sb-x-other", 1) is None


def test_a_code_that_is_none_is_not_believed(claims: Claims) -> None:
    place = claims.root / TAG / "1"
    place.mkdir()
    for text in ("", "x\n", "12", "1234\n", "-1\n"):
        (place / "code").write_text(text)
        assert claims.look(TAG, 1) == Claim(True, None)


def test_old_ones_go_unless_their_array_lives(claims: Claims) -> None:
    claims.prepare("sb-x-2")
    (claims.root / "other").mkdir()
    now = (claims.root / TAG).stat().st_mtime + KEPT + 10
    assert claims.sweep(now - 20, lambda tag: False) == 0
    assert claims.sweep(now, lambda tag: tag == TAG) == 1
    assert sorted(each.name for each in claims.root.iterdir()) == ["other", TAG]
