"""From POST to the end, on a real Slurm, in all the ways a batch can go."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from slurmbatch.sandbox import Sandbox

from .conftest import Api

pytestmark = pytest.mark.slurm
STATUSES = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class TestABatch:
    def test_of_100_jobs_over_curl_from_post_to_succeeded(self, api: Api) -> None:
        service = api.box
        curl = shutil.which("curl")
        assert curl, "curl is needed (Debian package: curl)"

        def call(*more: str) -> list[dict[str, object]]:
            command = [curl, "-sS", "--fail-with-body", "-H",
                       f"Authorization: Bearer {service.api_key}", *more]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found: list[dict[str, object]] = json.loads(done.stdout)
            return found

        body = {
            "tool_id": "montecarlo-pi",
            "name": "pi, 100 seeds",
            "fixed_args": {"samples": 1000},
            "variable_args": [{"seed": seed} for seed in range(100)],
            "hardware": {"filesystems": ["scratch"], "cpu": 1, "memory": 64},
        }
        url = f"{service.url}/batches"
        (made,) = call("-H", "Content-Type: application/json", "-d", json.dumps(body), url)
        assert made["n_jobs"] == 100
        seen = []
        for _ in range(600):
            (batch,) = call(f"{url}/{made['batch_id']}")
            counts = batch["submitted_jobs"]
            assert isinstance(counts, dict)
            assert sum(counts.values()) == 100
            seen.append(counts)
            if batch["finished_at"]:
                break
            time.sleep(0.1)
        assert seen[-1] == {**dict.fromkeys(STATUSES, 0), "SUCCEEDED": 100}
        jobs = call(f"{url}/{made['batch_id']}/jobs")
        assert [job["args"] for job in jobs] == [{"samples": 1000, "seed": n} for n in range(100)]

    def test_each_response_field_by_field(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="probe",
            fixed_args={"print": "hello"},
            variable_args=[{"exit_code": 0}, {"exit_code": 3}],
            hardware={"filesystems": ["scratch"], "cpu": 2, "memory": 70},
        )
        api.ended(batch_id)
        (listed,) = api.http.get("/batches").json()
        assert list(listed)[:4] == ["batch_id", "tool_id", "n_jobs", "hardware"]
        assert list(listed["hardware"]) == ["filesystems", "cpu", "memory"]
        batch = api.batch(batch_id)
        assert list(batch)[:6] == [
            "batch_id", "tool_id", "n_jobs", "hardware", "n_submitted", "submitted_jobs"
        ]  # fmt: skip
        assert batch["hardware"] == {"filesystems": ["scratch"], "memory": 70, "cpu": 2}
        assert list(batch["hardware"]) == ["filesystems", "memory", "cpu"]
        assert list(batch["submitted_jobs"]) == STATUSES
        assert batch["n_submitted"] == 2
        jobs = api.http.get(f"/batches/{batch_id}/jobs").json()
        for index, element in enumerate(jobs):
            assert list(element)[:3] == ["job_id", "log_id", "args"]
            assert element["args"] == {"print": "hello", "exit_code": [0, 3][index]}
            job = api.one(f"/batches/{batch_id}/jobs/{element['job_id']}")
            assert list(job)[:9] == [
                "job_id", "log_id", "hardware", "args", "status", "reason",
                "create_time", "start_time", "stop_time",
            ]  # fmt: skip
            assert list(job["hardware"]) == ["filesystems", "memory", "cpu"]
            times = [job["create_time"], job["start_time"], job["stop_time"]]
            assert all(TIME.fullmatch(each) for each in times)
            assert times == sorted(times)
            assert api.http.get(f"/logs/{element['log_id']}").text == "hello\n"
        assert api.job(batch_id, 1)["reason"] == "EXIT: ended with exit code 3 (FAILED)"

    def test_a_job_that_has_not_started_has_empty_strings_for_its_times(self, api: Api) -> None:
        batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 60}, variable_args=[{}] * 100)
        waiting = api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNABLE"] > 0)
        assert waiting["submitted_jobs"]["RUNNING"] <= 64
        job = api.job(batch_id, 99)
        assert (job["status"], job["start_time"], job["stop_time"]) == ("RUNNABLE", "", "")
        assert job["reason"].startswith("CAPACITY: ")

    def test_without_arguments_is_one_job(self, api: Api) -> None:
        batch_id = api.submit(tool_id="probe")
        assert api.ended(batch_id) == {"SUCCEEDED": 1}
        assert len(api.http.get(f"/batches/{batch_id}/jobs").json()) == 1


class TestEnds:
    def test_failed_with_its_exit_code(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="probe", variable_args=[{"exit_code": n} for n in (1, 127, 128, 137, 255)]
        )
        assert api.ended(batch_id) == {"FAILED": 5}
        for index, code in enumerate((1, 127, 128, 137, 255)):
            job = api.job(batch_id, index)
            assert job["reason"].startswith(f"EXIT: ended with exit code {code}")
            assert job["exit_code"] == code

    def test_failed_by_a_signal(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="probe", variable_args=[{"signal": "KILL"}, {"signal": "SEGV"}]
        )
        assert api.ended(batch_id) == {"FAILED": 2}
        assert api.job(batch_id, 0)["reason"].startswith("SIGNAL: was ended by signal SIGKILL (9)")
        assert "SIGSEGV" in api.job(batch_id, 1)["reason"]

    def test_failed_over_its_memory(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="probe", fixed_args={"allocate": 300, "sleep": 20}, hardware={"memory": 64}
        )
        assert api.ended(batch_id) == {"FAILED": 1}
        assert api.job(batch_id)["reason"].startswith(
            "MEMORY: used more than the 64 MiB it asked for"
        )

    def test_failed_over_its_time_limit_and_tried_again_with_more(
        self, api: Api, tmp_path: Path
    ) -> None:
        # Slurm looks at time limits every half a minute, so this one takes a while.
        tried, failed = (
            api.submit(tool_id=tool, fixed_args=args, slurm={"time_limit": 1, "partition": "main"})
            for tool, args in (("slow", {"flag": str(tmp_path / "f")}), ("probe", {"sleep": 300}))
        )
        assert api.ended(failed, seconds=150) == {"FAILED": 1}
        assert api.job(failed)["reason"].startswith(
            "TIMEOUT: ran longer than its time limit of 1 minute"
        )
        assert api.ended(tried) == {"SUCCEEDED": 1}
        job = api.job(tried)
        assert (job["attempt"], job["time_limit"]) == (2, 2)
        (kept,) = job["attempts"]
        assert kept["reason"].startswith("TIMEOUT: ")
        assert (kept["time_limit"], kept["slurm_state"]) == (1, "TIMEOUT")

    def test_cancelled(self, api: Api) -> None:
        batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 60}, variable_args=[{}] * 80)
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] > 0)
        answer = api.http.post(f"/batches/{batch_id}/cancel")
        assert answer.status_code == 202
        assert api.ended(batch_id) == {"FAILED": 80}
        assert api.squeue("--states=PENDING,RUNNING") == []
        reasons = Counter(
            job["reason"].split("(")[0].strip()
            for job in (api.job(batch_id, n) for n in range(0, 80, 10))
        )
        assert all(reason.startswith("CANCELLED: cancelled by request") for reason in reasons)

    def test_deleted_is_gone_at_once_and_soon_from_squeue(self, api: Api) -> None:
        batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 60}, variable_args=[{}] * 80)
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] > 0)
        answer = api.http.delete(f"/batches/{batch_id}")
        assert (answer.status_code, answer.content) == (200, b"")
        for path in ("", "/jobs", f"/jobs/{batch_id}-0", f"/jobs/{batch_id}-0/log"):
            assert api.http.get(f"/batches/{batch_id}{path}").status_code == 404
        assert api.http.get("/batches").json() == []
        assert api.http.delete(f"/batches/{batch_id}").status_code == 404
        deadline = time.monotonic() + 90
        while api.squeue("--states=PENDING,RUNNING,COMPLETING"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        while _rows(api.box, "SELECT count(*) FROM batch WHERE batch_id = ?", batch_id) != 0:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def test_all_deleted(self, api: Api) -> None:
        for _ in range(3):
            api.submit(tool_id="probe", fixed_args={"sleep": 60})
        assert api.http.delete("/batches").status_code == 200
        assert api.http.get("/batches").json() == []


class TestRequeues:
    def test_a_tool_that_is_safe_to_run_again_keeps_its_attempts(self, api: Api) -> None:
        batch_id = api.submit(tool_id="again")
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
        slurm_id = api.job(batch_id)["slurm_job_id"]
        # Slurm says that it runs before its script has begun.
        api.until(batch_id, lambda _: api.log(batch_id).startswith("run 0"))
        api.box.run(["scontrol", "requeue", slurm_id])
        back = api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 0)
        assert back["submitted_jobs"]["FAILED"] == 0
        waiting = api.job(batch_id)
        assert waiting["status"] == "PENDING"
        # Slurm would let it wait for some minutes, but at once is too soon: while the run before is
        # still ending on the node, 24.11 fails the new one, with exit code 1.
        for _ in range(20):
            update = ["scontrol", "update", f"jobid={slurm_id}", "starttime=now+3"]
            api.box.run(update, check=False)
            time.sleep(4)
            if api.batch(batch_id)["finished_at"]:
                break
        assert api.ended(batch_id) == {"SUCCEEDED": 1}
        job = api.job(batch_id)
        assert job["attempt"] == 2
        assert [each["attempt"] for each in job["attempts"]] == [1]
        assert api.log(batch_id).splitlines()[0] == "run 0"
        assert api.log(batch_id).splitlines()[-1] == "run 1"

    def test_one_that_is_not_is_never_requeued_by_slurm(self, api: Api) -> None:
        batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 60})
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
        shown = api.box.run(["scontrol", "show", "job", api.job(batch_id)["slurm_job_id"]]).stdout
        assert "Requeue=0" in shown


class TestSize:
    def test_3000_jobs_are_three_arrays_of_1000(self, api: Api) -> None:
        batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 60}, variable_args=[{}] * 3000)
        batch = api.until(batch_id, lambda each: each["n_submitted"] == 3000)
        assert batch["n_jobs"] == 3000
        out = api.box.run(
            ["squeue", "--noheader", "--array", "--states=PENDING,RUNNING", "--format=%F"]
        ).stdout
        assert sorted(Counter(out.split()).values()) == [1000, 1000, 1000]
        assert len(api.http.get(f"/batches/{batch_id}/jobs").json()) == 3000

    def test_big_arguments_are_split_so_that_scripts_stay_small(self, api: Api) -> None:
        text = "x" * 15_000
        batch_id = api.submit(
            tool_id="probe", variable_args=[{"print": f"{n}{text}"} for n in range(40)]
        )
        assert api.ended(batch_id) == {"SUCCEEDED": 40}
        arrays = _rows(api.box, "SELECT count(*) FROM array a JOIN batch b ON b.pk = a.batch"
                                " WHERE batch_id = ?", batch_id)  # fmt: skip
        assert isinstance(arrays, int) and arrays >= 3
        for index in (0, 20, 39):
            assert api.log(batch_id, index) == f"{index}{text}\n"


class TestWhatAToolSees:
    def test_any_text_survives(self, api: Api) -> None:
        texts = ["it's", '"q" $(date) `id` ${HOME}', "back\\slash\\n", "tab\there", "é 漢字 🐍",
                 "-n", "*", "a;b|c&d", "#!x", "%a %%", " lead and trail "]  # fmt: skip
        batch_id = api.submit(tool_id="probe", variable_args=[{"print": each} for each in texts])
        assert api.ended(batch_id) == {"SUCCEEDED": len(texts)}
        for index, text in enumerate(texts):
            assert api.log(batch_id, index) == f"{text}\n"

    def test_a_file_on_a_filesystem_that_it_asked_for(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="sweep-to-file",
            variable_args=[{"x": 2}, {"x": 3}],
            hardware={"filesystems": ["scratch", "project"]},
        )
        assert api.ended(batch_id) == {"SUCCEEDED": 2}
        results = api.box.dir / "fs" / "scratch" / "sweep-to-file" / batch_id
        assert sorted(file.name for file in results.iterdir()) == ["0.json", "1.json"]

    def test_filesystems_become_a_constraint_and_licences(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="probe",
            fixed_args={"sleep": 30},
            hardware={"filesystems": ["scratch", "project"]},
        )
        job = api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1) and api.job(
            batch_id
        )
        shown = api.box.run(["scontrol", "show", "job", job["slurm_job_id"]]).stdout
        assert "Features=scratch&project" in shown
        assert "Licenses=project:1" in shown


class TestRefusals:
    def test_slurm_s_own_words_and_nothing_is_kept(self, api: Api) -> None:
        answer = api.post({"tool_id": "probe", "slurm": {"partition": "nowhere"}})
        assert answer.status_code == 422
        problem = answer.json()
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "Invalid partition name specified" in problem["detail"]
        assert api.http.get("/batches").json() == []

    @pytest.mark.parametrize(
        ("slurm", "words"),
        [
            ({"account": "nobody"}, "Invalid account or account/partition combination"),
            ({"qos": "nothing"}, "Invalid qos specification"),
        ],
    )
    def test_what_slurm_will_not_have(self, api: Api, slurm: dict[str, object], words: str) -> None:
        answer = api.post({"tool_id": "probe", "slurm": slurm})
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"]
        assert api.http.get("/batches").json() == []

    @pytest.mark.parametrize(
        ("hardware", "slurm"),
        [
            ({"cpu": 9999}, {}),
            ({}, {"partition": "short", "time_limit": 600}),
        ],
    )
    def test_the_impossible_that_slurm_accepts_is_explained(
        self, api: Api, hardware: dict[str, int], slurm: dict[str, object]
    ) -> None:
        sane = {"cpu": 1, "memory": 64}
        batch_id = api.submit(tool_id="probe", hardware={**sane, **hardware}, slurm=slurm)
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNABLE"] == 1)
        assert api.job(batch_id)["reason"].startswith("MISCONFIGURED: asks for ")

    def test_every_fault_at_once_and_the_database_unchanged(self, api: Api) -> None:
        before = _settled(api.box)
        answer = api.post(
            {
                "tool_id": "probe",
                "fixed_args": {"sleep": "long", "colour": "red"},
                "variable_args": [{"exit_code": 0}, {"exit_code": "x"}],
                "hardware": {"filesystems": ["scratch", "tape"], "cpu": 0, "memory": "much"},
                "slurm": {"time_limit": -1, "user": "root"},
                "owner": "root",
            }
        )
        assert answer.status_code == 422
        pointers = {fault["pointer"] for fault in answer.json()["errors"]}
        assert pointers == {
            "/fixed_args/sleep", "/fixed_args/colour", "/variable_args/1/exit_code",
            "/hardware/filesystems/1", "/hardware/cpu", "/hardware/memory", "/slurm/time_limit",
            "/slurm/user", "/owner",
        }  # fmt: skip
        unknown = next(e for e in answer.json()["errors"] if e["pointer"].endswith("systems/1"))
        assert "project" in unknown["detail"]
        assert "scratch" in unknown["detail"]
        assert _dump(api.box) == before

    def test_an_idempotency_key_makes_one_batch(self, api: Api) -> None:
        body = {"tool_id": "probe", "name": "once"}
        first = api.post(body, **{"Idempotency-Key": "k-1"})
        again = api.post(body, **{"Idempotency-Key": "k-1"})
        other = api.post({**body, "name": "twice"}, **{"Idempotency-Key": "k-1"})
        assert [first.status_code, again.status_code, other.status_code] == [201, 200, 422]
        assert first.json()[0]["batch_id"] == again.json()[0]["batch_id"]
        assert len(api.http.get("/batches").json()) == 1


class TestTheDaemon:
    def test_a_second_one_says_who_holds_the_database(self, service: Sandbox) -> None:
        command = [sys.executable, "-m", "slurmbatch", "serve", "--config",
                   str(service.dir / "etc" / "slurmbatch.toml")]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode != 0
        assert f"pid {service.pid('slurmbatch')}" in done.stderr

    def test_sigterm_finishes_what_it_has_and_exits_0_in_time(self, api: Api) -> None:
        batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 3}, variable_args=[{}] * 5)
        pid = api.box.pid("slurmbatch")
        assert pid is not None
        begun = time.monotonic()
        api.box.kill("slurmbatch", signal.SIGTERM)
        assert time.monotonic() - begun < 10
        assert api.box.pid("slurmbatch") is None
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{api.box.url}/healthz", timeout=2)
        log = (api.box.dir / "log" / "slurmbatch.log").read_text()
        assert "stopped" in log.splitlines()[-1]
        api.box.start_daemon()
        assert api.ended(batch_id) == {"SUCCEEDED": 5}

    def test_killed_at_once_after_the_answer_it_loses_nothing(self, api: Api) -> None:
        for _ in range(3):
            batch_id = api.submit(tool_id="probe", variable_args=[{}] * 20)
            api.box.kill("slurmbatch", signal.SIGKILL)
            api.box.start_daemon()
            assert api.ended(batch_id) == {"SUCCEEDED": 20}
            tag = _rows(api.box, "SELECT tag FROM array a JOIN batch b ON b.pk = a.batch"
                                 " WHERE batch_id = ?", batch_id)  # fmt: skip
            named = [row for row in api.squeue("--array", "--states=all") if f"|{tag}|" in row]
            assert Counter(row.split("|")[2] for row in named) == {"COMPLETED": 20}

    def test_ready_and_alive_without_credentials(self, service: Sandbox) -> None:
        assert httpx.get(f"{service.url}/healthz").status_code == 200
        assert httpx.get(f"{service.url}/readyz").json()["status"] == "ready"
        assert httpx.get(f"{service.url}/batches").status_code == 401

    def test_one_line_an_event_with_what_is_needed_to_follow_it(self, api: Api) -> None:
        answer = api.post({"tool_id": "probe"}, **{"X-Request-Id": "trace-me-1"})
        batch_id = answer.json()[0]["batch_id"]
        api.ended(batch_id)
        file = api.box.dir / "log" / "slurmbatch.log"
        ours: list[str] = []

        def told() -> bool:  # in the log a moment after it can be seen
            nonlocal ours
            ours = [line for line in file.read_text().splitlines() if batch_id in line]
            return any('event="batch ended"' in line for line in ours)

        api.until(batch_id, lambda _: told())
        assert any('event="batch accepted"' in line and "trace-me-1" in line for line in ours)
        assert any("slurm_job=" in line and "trace-me-1" in line for line in ours)
        assert str(api.box.api_key) not in file.read_text()


def _rows(box: Sandbox, query: str, *values: str) -> int | str:
    """The one value that a query gives, read beside the daemon."""
    path = box.dir / "state" / "slurmbatch" / "slurmbatch.sqlite"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found: int | str = connection.execute(query, values).fetchone()[0]
        return found
    finally:
        connection.close()


def _settled(box: Sandbox) -> list[tuple[object, ...]]:
    """All that is kept, once what earlier tests have deleted is gone."""
    deadline = time.monotonic() + 60
    while any(kept := _dump(box, ("batch", "array", "job"))):
        assert time.monotonic() < deadline, kept
        time.sleep(0.1)
    return _dump(box)


def _dump(
    box: Sandbox, tables: Sequence[str] = ("batch", "array", "job", "idempotency", "api_key")
) -> list[tuple[object, ...]]:
    path = box.dir / "state" / "slurmbatch" / "slurmbatch.sqlite"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        found = [row for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
        # When a key was used is noted now and then.
        return [tuple(dict(row, used_at=None).values()) for row in found]
    finally:
        connection.close()
