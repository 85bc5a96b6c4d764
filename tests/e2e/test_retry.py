"""Failed jobs that are run again, on a real Slurm."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.sandbox import Sandbox

from .conftest import Api
from .gate import Gate

pytestmark = pytest.mark.slurm
# Fails until a file is there, and says on which node, with how much memory and time it runs.
MOODY = """
description = "fails until it is told otherwise"
script = '''
#!/bin/sh
echo "run on $SLURM_JOB_NODELIST with ${SLURM_MEM_PER_NODE:-?} MiB"
[ -z "${nap-}" ] || sleep "$nap"
[ -e "$flag" ] || exit 7
'''
[[parameters]]
name = "flag"
type = "string"
required = true
[[parameters]]
name = "nap"
type = "number"
[hardware]
cpu = 1
memory = 64
max_memory = 200
[slurm]
time_limit = 5
max_time_limit = 8
"""


# Takes more than it may, but not a second time if it may have more.
HUNGRY = """
description = "takes memory, and then what time it is told to"
script = '''
#!/bin/sh
awk -v mib="$mib" 'BEGIN { s = "x"; while (length(s) < 1048576) s = s s
    for (i = 0; i < mib; i++) held[i] = s i; system("sleep 4") }'
sleep "${nap-0}"
'''
[[parameters]]
name = "mib"
type = "integer"
required = true
[[parameters]]
name = "nap"
type = "number"
[hardware]
cpu = 1
memory = 64
max_memory = 300
[retry]
max_attempts = 3
memory_factor = 2
"""
# A partition whose jobs take those of the other ones.
PREEMPTING = """
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP DefMemPerCPU=10 PriorityTier=10
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    """A sandbox of its own, with tools for this."""
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory, extra_conf=PREEMPTING)
    try:
        box.up()
        tools, settings = directory / "etc" / "tools.d", directory / "etc" / "slurmbatch.toml"
        (tools / "moody.toml").write_text(MOODY)
        (tools / "hungry.toml").write_text(HUNGRY)
        settings.write_text(
            settings.read_text().replace("[slurm]\n", "[slurm]\nabsence_grace = 3\n")
        )
        box.start_daemon()
        yield box
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def api(site: Sandbox) -> Iterator[Api]:
    spoken = Api(site)
    yield spoken
    spoken.http.delete("/batches")
    spoken.http.close()


def retry(api: Api, batch_id: str, body: Any = None, query: str = "", **headers: str) -> Any:
    return api.http.post(f"/batches/{batch_id}/retry{query}", json=body, headers=headers)


def moody(api: Api, tmp_path: Path, n_jobs: int = 3, **more: Any) -> tuple[str, list[Path]]:
    """A batch each of whose jobs fails until its file is there, and those files."""
    flags = [tmp_path / str(number) for number in range(n_jobs)]
    flags[0].touch()
    batch_id = api.submit(
        tool_id="moody", variable_args=[{"flag": str(flag)} for flag in flags], **more
    )
    return batch_id, flags


class TestRetry:
    def test_failed_jobs_run_again_under_the_same_ids_and_their_logs_are_kept(
        self, api: Api, tmp_path: Path
    ) -> None:
        batch_id, flags = moody(api, tmp_path)
        assert api.ended(batch_id) == {"SUCCEEDED": 1, "FAILED": 2}
        before, etag = api.job(batch_id, 1), api.http.get(f"/batches/{batch_id}").headers["ETag"]
        for flag in flags:
            flag.touch()
        answer = retry(api, batch_id, {"memory_factor": 2, "time_factor": 1.2})
        assert answer.status_code == 202
        (batch,) = answer.json()
        assert batch["finished_at"] == ""
        # Slurm may have taken them by the time that it is answered.
        assert batch["n_submitted"] in (1, 3)
        assert batch["submitted_jobs"]["SUCCEEDED"] == 1
        assert batch["submitted_jobs"]["FAILED"] == 0
        assert api.http.get(f"/batches/{batch_id}").headers["ETag"] != etag
        assert api.ended(batch_id) == {"SUCCEEDED": 3}
        assert api.batch(batch_id)["n_submitted"] == 3
        job = api.job(batch_id, 1)
        assert job["job_id"] == before["job_id"]
        assert (job["attempt"], job["exit_code"], job["status"]) == (2, 0, "SUCCEEDED")
        assert (job["hardware"]["memory"], job["time_limit"]) == (128, 6)
        (kept,) = job["attempts"]
        assert (kept["exit_code"], kept["memory"], kept["time_limit"]) == (7, 64, 5)
        same = ("reason", "slurm_job_id", "node_list", "start_time", "stop_time", "signal")
        assert {name: kept[name] for name in same} == {name: before[name] for name in same}
        assert job["slurm_job_id"] != before["slurm_job_id"]
        log = f"/batches/{batch_id}/jobs/{batch_id}-1/log"
        assert api.http.get(f"{log}?attempt=1").text.endswith("with 64 MiB\n")
        assert api.http.get(f"{log}?attempt=2").text.endswith("with 128 MiB\n")
        assert api.http.get(log).text.endswith("with 128 MiB\n")
        assert api.http.get(f"/logs/{batch_id}-1.log?attempt=1&tail=1").text.startswith("run on ")
        assert api.http.get(f"{log}?attempt=3").status_code == 404
        assert api.job(batch_id, 0)["attempt"] == 1

    def test_the_tool_s_maximum_is_the_most(self, api: Api, tmp_path: Path) -> None:
        batch_id, _ = moody(api, tmp_path, 2)
        api.ended(batch_id)
        assert retry(api, batch_id, {"memory_factor": 9, "time_factor": 9}).status_code == 202
        assert api.ended(batch_id) == {"SUCCEEDED": 1, "FAILED": 1}
        job = api.job(batch_id, 1)
        assert (job["hardware"]["memory"], job["time_limit"]) == (200, 8)
        assert api.log(batch_id, 1).endswith("with 200 MiB\n")

    def test_not_on_the_nodes_where_they_failed(self, api: Api, tmp_path: Path) -> None:
        batch_id, _ = moody(api, tmp_path, 2)
        api.ended(batch_id)
        seen = []
        for _ in range(3):
            seen.append(api.job(batch_id, 1)["node_list"])
            body = {"exclude_failed_nodes": True, "exclude_nodes": seen}
            assert retry(api, batch_id, body).status_code == 202
            api.ended(batch_id)
        job = api.job(batch_id, 1)
        assert len({*seen, job["node_list"]}) == 4
        assert f"run on {job['node_list']} " in api.log(batch_id, 1)

    def test_a_node_that_slurm_does_not_know_is_told_and_can_be_retried(
        self, api: Api, tmp_path: Path
    ) -> None:
        batch_id, flags = moody(api, tmp_path, 2)
        api.ended(batch_id)
        flags[1].touch()
        assert retry(api, batch_id, {"exclude_nodes": ["nowhere"]}).status_code == 202
        assert api.ended(batch_id) == {"SUCCEEDED": 1, "FAILED": 1}
        reason = api.job(batch_id, 1)["reason"]
        assert reason.startswith("REFUSED: ")
        assert "Invalid node name specified" in reason
        assert retry(api, batch_id, query="?reason=REFUSED").status_code == 202
        assert api.ended(batch_id) == {"SUCCEEDED": 2}
        assert api.job(batch_id, 1)["attempt"] == 2

    def test_a_selection_and_what_it_leaves(self, api: Api, tmp_path: Path) -> None:
        batch_id = api.submit(
            tool_id="probe", variable_args=[{"exit_code": 3}, {"signal": "KILL"}, {"exit_code": 4}]
        )
        api.ended(batch_id)
        kinds = {api.job(batch_id, index)["reason"].split(":")[0] for index in range(3)}
        assert "EXIT" in kinds
        assert retry(api, batch_id, query="?reason=TIMEOUT&reason=NODE").status_code == 409
        assert retry(api, batch_id, {"indices": [9]}).json()["errors"][0]["pointer"] == "/indices"
        assert retry(api, batch_id, {"indices": [2]}).status_code == 202
        api.ended(batch_id)
        assert [api.job(batch_id, index)["attempt"] for index in range(3)] == [1, 1, 2]

    def test_the_same_request_again_is_carried_out_once(self, api: Api, tmp_path: Path) -> None:
        batch_id, _ = moody(api, tmp_path, 2)
        api.ended(batch_id)
        key = {"Idempotency-Key": f"again-{batch_id}"}
        for _ in range(3):
            assert retry(api, batch_id, {}, **key).status_code == 202
        api.ended(batch_id)
        assert retry(api, batch_id, {}, **key).status_code == 202
        job = api.job(batch_id, 1)
        assert (job["status"], job["attempt"]) == ("FAILED", 2)
        assert retry(api, batch_id, {"memory_factor": 2}, **key).status_code == 422

    def test_while_parts_still_run_and_when_all_of_it_is_deleted(
        self, api: Api, tmp_path: Path
    ) -> None:
        flag = tmp_path / "flag"
        batch_id = api.submit(tool_id="moody", variable_args=[
            {"flag": str(flag), "nap": 120}, {"flag": str(flag)}])  # fmt: skip
        api.until(batch_id, lambda each: each["submitted_jobs"]["FAILED"] == 1)
        flag.touch()
        assert retry(api, batch_id).status_code == 202
        api.until(batch_id, lambda each: each["submitted_jobs"]["SUCCEEDED"] == 1)
        assert api.job(batch_id, 0)["status"] in ("STARTING", "RUNNING")
        assert api.http.delete(f"/batches/{batch_id}").status_code == 200
        assert retry(api, batch_id).status_code == 404

    def test_a_cancelled_batch_goes_on(self, api: Api, tmp_path: Path) -> None:
        flag = tmp_path / "flag"
        batch_id = api.submit(tool_id="moody", fixed_args={"flag": str(flag), "nap": 60},
                              variable_args=[{}] * 2)  # fmt: skip
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 2)
        assert retry(api, batch_id).status_code == 409
        api.http.post(f"/batches/{batch_id}/cancel")
        assert api.ended(batch_id) == {"FAILED": 2}
        answer = retry(api, batch_id, {"indices": [0]}, "?reason=CANCELLED")
        assert answer.json()[0]["cancelled"] is False
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
        assert api.job(batch_id, 1)["status"] == "FAILED"
        api.http.post(f"/batches/{batch_id}/cancel")
        assert api.ended(batch_id) == {"FAILED": 2}
        assert api.job(batch_id, 0)["attempt"] == 2

    def test_killed_at_once_after_the_answer_it_is_made_once(
        self, api: Api, tmp_path: Path
    ) -> None:
        trace = tmp_path / "trace"
        batch_id = api.submit(
            tool_id="probe", fixed_args={"trace": str(trace), "exit_code": 3},
            variable_args=[{"print": str(number)} for number in range(10)],
        )  # fmt: skip
        api.ended(batch_id)
        for runs in (2, 3):
            key = {"Idempotency-Key": f"{batch_id}-{runs}"}
            assert retry(api, batch_id, {}, **key).status_code == 202
            api.box.kill("slurmbatch", signal.SIGKILL)
            api.box.start_daemon()
            assert retry(api, batch_id, {}, **key).status_code == 202
            assert api.ended(batch_id) == {"FAILED": 10}
            assert Counter(trace.read_text().split()) == {str(n): runs for n in range(10)}
            assert {api.job(batch_id, n)["attempt"] for n in range(10)} == {runs}


class TestCanary:
    def test_the_others_go_when_the_first_have_succeeded(self, api: Api, tmp_path: Path) -> None:
        gates = [Gate(tmp_path / name) for name in ("one", "two")]
        first_ones = [gate.args for gate in gates]
        batch_id = api.submit(tool_id="probe", canary=2, variable_args=[*first_ones, *[{}] * 4])
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 2)
        waits = api.job(batch_id, 5)
        assert (waits["status"], waits["slurm_job_id"]) == ("PENDING", "")
        assert waits["reason"].startswith("CANARY: waits for the first jobs of its batch")
        batch = api.batch(batch_id)
        assert (batch["canary"], batch["n_submitted"]) == (2, 2)
        for gate in gates:
            gate.open()
        assert api.ended(batch_id) == {"SUCCEEDED": 6}
        first = [api.job(batch_id, index)["stop_time"] for index in (0, 1)]
        others = [api.job(batch_id, index)["start_time"] for index in range(2, 6)]
        assert max(first) <= min(others)

    def test_none_of_them_runs_if_one_of_the_first_fails_until_it_is_retried(
        self, api: Api, tmp_path: Path
    ) -> None:
        flag = tmp_path / "flag"
        batch_id = api.submit(
            tool_id="moody", canary=1, fixed_args={"flag": str(flag)}, variable_args=[{}] * 4
        )
        assert api.ended(batch_id) == {"FAILED": 4}
        assert api.batch(batch_id)["n_submitted"] == 1
        job = api.job(batch_id, 3)
        assert job["reason"].startswith("CANARY: not run, because ")
        assert (job["slurm_job_id"], job["start_time"]) == ("", "")
        assert api.log(batch_id, 3) == ""
        flag.touch()
        assert retry(api, batch_id).status_code == 202
        assert api.ended(batch_id) == {"SUCCEEDED": 4}
        assert [api.job(batch_id, index)["attempt"] for index in range(4)] == [2, 1, 1, 1]

    def test_cancelled_and_deleted_while_they_wait(self, api: Api, tmp_path: Path) -> None:
        batch_id, other = (
            api.submit(tool_id="probe", canary=1, variable_args=[{"sleep": 60}] * 3)
            for _ in range(2)
        )
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
        api.http.post(f"/batches/{batch_id}/cancel")
        assert api.ended(batch_id) == {"FAILED": 3}
        assert api.job(batch_id, 2)["reason"].startswith("CANCELLED: ")
        api.http.delete(f"/batches/{other}")
        assert api.http.get(f"/batches/{other}").status_code == 404

    def test_not_more_first_ones_than_there_are_others(self, api: Api) -> None:
        answer = api.post({"tool_id": "probe", "canary": 2, "variable_args": [{}, {}]})
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"pointer": "/canary",
             "detail": "Expected fewer than all jobs of the batch, of which there are 2."}
        ]  # fmt: skip


class TestPolicy:
    """Of the ends that a policy knows, only the time limit's is not here: it takes a while."""

    def watched(self, api: Api, batch_id: str) -> set[str]:
        """The statuses that its first job is seen in until the batch has ended."""
        seen = set()

        def look(batch: dict[str, Any]) -> bool:
            seen.add(api.job(batch_id)["status"])
            return bool(batch["finished_at"])

        api.until(batch_id, look)
        return seen

    def test_out_of_memory_it_is_run_again_with_more_and_never_seen_failed(self, api: Api) -> None:
        batch_id = api.submit(tool_id="hungry", fixed_args={"mib": 150})
        shown = api.batch(batch_id)["retry"]
        assert shown == {
            "max_attempts": 3, "node_failures": False, "memory_factor": 2.0, "time_factor": None
        }  # fmt: skip
        assert "FAILED" not in self.watched(api, batch_id)
        job = api.job(batch_id)
        assert (job["status"], job["attempt"], job["hardware"]["memory"]) == ("SUCCEEDED", 3, 256)
        assert [each["memory"] for each in job["attempts"]] == [64, 128]
        assert {each["reason"].partition(":")[0] for each in job["attempts"]} == {"MEMORY"}

    def test_up_to_the_tool_s_maximum(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="hungry", fixed_args={"mib": 400}, hardware={"memory": 200},
            retry={"max_attempts": 9},
        )  # fmt: skip
        assert api.ended(batch_id) == {"FAILED": 1}
        job = api.job(batch_id)
        assert (job["attempt"], job["hardware"]["memory"]) == (2, 300)
        assert job["reason"].startswith("MEMORY: used more than the 300 MiB")

    def test_a_node_that_fails_or_a_job_that_is_preempted_costs_no_attempt(self, api: Api) -> None:
        batch_id = api.submit(
            tool_id="moody", fixed_args={"flag": "/nowhere", "nap": 60},
            retry={"node_failures": True}, hardware={"cpu": 4},
        )  # fmt: skip
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
        first = api.job(batch_id)
        node = f"nodename={first['node_list']}"
        api.box.run(["scontrol", "update", node, "state=down", "reason=test"])
        # Killed again and again until it has seen that, it makes one retry of it.
        deadline = time.monotonic() + 90
        while api.job(batch_id)["attempt"] == 1 and time.monotonic() < deadline:
            api.box.kill("slurmbatch", signal.SIGKILL)
            api.box.start_daemon()
            time.sleep(4)
        api.until(batch_id, lambda _: api.job(batch_id)["attempt"] == 2)
        # slurmd may have registered again meanwhile, and there is nothing left to resume.
        api.box.run(["scontrol", "update", node, "state=resume"], check=False)
        api.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] == 1)
        second = api.job(batch_id)
        whole = ["sbatch", "-phigh", "-w", second["node_list"], "--exclusive", "-o/dev/null"]
        api.box.run([*whole, "--wrap", "sleep 1"])
        api.until(batch_id, lambda _: api.job(batch_id)["attempt"] == 3)
        kinds = [each["slurm_state"] for each in api.job(batch_id)["attempts"]]
        assert kinds == ["NODE_FAIL", "PREEMPTED"]
        assert api.batch(batch_id)["submitted_jobs"]["FAILED"] == 0
        api.http.post(f"/batches/{batch_id}/cancel")
        assert api.ended(batch_id) == {"FAILED": 1}
        assert api.job(batch_id)["attempt"] == 3

    def test_what_makes_no_sense_is_told_all_at_once(self, api: Api) -> None:
        answer = api.post({
            "tool_id": "probe",
            "retry": {"max_attempts": 21, "memory_factor": 1, "time_factor": "2", "on": ["EXIT"]},
        })  # fmt: skip
        assert answer.status_code == 422
        told = {each["pointer"]: each["detail"] for each in answer.json()["errors"]}
        assert told == {
            "/retry/max_attempts": "Expected at most 20, not 21.",
            "/retry/memory_factor": "Expected more than 1, not 1.",
            "/retry/time_factor": "Expected a number, not a string.",
            "/retry/on": "There is no such field here; there are: max_attempts, node_failures, "
                         "memory_factor, time_factor.",
        }  # fmt: skip
        answer = api.post({"tool_id": "probe", "retry": {"memory_factor": 2}})
        assert answer.json()["errors"][0]["pointer"] == "/retry/max_attempts"
