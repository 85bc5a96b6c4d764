"""Every answer, field by field, against the documented API: names, order, types."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slurmbatch.model import (
    Attempt,
    DeliveryState,
    Dependency,
    DependencyType,
    Notification,
    Status,
)
from tests.api.conftest import Api
from tests.api.fakes import NOW, FakeBatches

OBJECT = "application/vnd.slurmbatch.object+json"
STATUSES = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]

# As documented, and what follows the documented fields. A nested dict is in order too.
SLURM = {"time_limit": int, "partition": str, "account": str, "qos": str, "gpus": int}
POLICY = {
    "max_attempts": int, "node_failures": bool, "memory_factor": object, "time_factor": object,
}  # fmt: skip
BATCH_ADDED = {
    "name": str, "created_at": str, "finished_at": str, "cancelled": bool, "slurm": SLURM,
    "stale_since": str,
}  # fmt: skip
LISTED_BATCH = {
    "batch_id": str,
    "tool_id": str,
    "n_jobs": int,
    "hardware": {"filesystems": [str], "cpu": int, "memory": int},
    **BATCH_ADDED,
    "submitted_jobs": dict.fromkeys(STATUSES, int),
    "canary": int,
    "retry": POLICY,
    "user": str,
}
HARDWARE = {"filesystems": [str], "memory": int, "cpu": int}
REASON = {
    "text": str, "status": str, "reason": str, "n_jobs": int, "node": str, "job_id": str,
}  # fmt: skip
NOTIFICATION = {
    "event": str, "host": str, "state": str, "attempts": int, "last_error": str,
    "occurred_at": str, "last_at": str, "next_at": str,
}  # fmt: skip
SPREAD = {"asked": object, "p50": object, "p95": object, "max": object}
USAGE = {"n_jobs": int, "memory": SPREAD, "cpu": SPREAD, "time": SPREAD, "suggestions": [str]}
BATCH = {
    "batch_id": str,
    "tool_id": str,
    "n_jobs": int,
    "hardware": HARDWARE,
    "n_submitted": int,
    "submitted_jobs": dict.fromkeys(STATUSES, int),
    **BATCH_ADDED,
    "version": str,
    "canary": int,
    "reasons": [REASON],
    "usage": USAGE,
    "expected_end": str,
    "depends_on": [{"batch_id": str, "type": str}],
    "retry": POLICY,
    "max_parallel": int,
    "user": str,
}
ARGS = {"samples": int, "seed": int}
LISTED_JOB = {
    "job_id": str, "log_id": str, "args": ARGS,
    "status": str, "reason": str, "index": int, "create_time": str, "start_time": str,
    "stop_time": str, "exit_code": int,
}  # fmt: skip
ATTEMPT = {
    "attempt": int, "reason": str, "slurm_state": str, "start_time": str, "stop_time": str,
    "exit_code": int, "signal": int, "node_list": str, "slurm_job_id": str, "max_rss": object,
    "cpu_time": object, "memory": int, "time_limit": object,
}  # fmt: skip
JOB = {
    "job_id": str,
    "log_id": str,
    "hardware": HARDWARE,
    "args": ARGS,
    "status": str,
    "reason": str,
    "create_time": str,
    "start_time": str,
    "stop_time": str,
    "batch_id": str, "index": int, "exit_code": int, "signal": int, "slurm_job_id": str,
    "slurm_state": str, "node_list": str, "attempt": int, "attempts": [ATTEMPT],
    "never_runs": bool, "expected_start": str, "elapsed": int, "max_rss": float, "cpu_time": float,
    "time_in_status": dict.fromkeys(STATUSES[:5], int),
    "time_limit": object,
}  # fmt: skip
TOOL = {
    "id": str,
    "description": str,
    "parameters": [
        {
            "name": str, "type": str, "description": str, "required": bool, "default": object,
            "minimum": object, "maximum": object, "max_length": object, "pattern": str,
            "choices": [str],
        }
    ],
    "hardware": {
        "filesystems": [str], "cpu": object, "memory": int, "max_cpu": int, "max_memory": int,
    },
    "slurm": {
        "default": SLURM, "partitions": [str], "accounts": [str], "qos": [str],
        "max_time_limit": object, "max_gpus": int,
    },
    "retry": POLICY,
}  # fmt: skip
FILESYSTEM = {"id": str, "path": str, "description": str}


def fits(value: Any, shape: Any, at: str = "") -> None:
    """Names and their order, and types that are exact: a bool is no number."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), at
        assert list(value) == list(shape), at
        for name, below in shape.items():
            fits(value[name], below, f"{at}/{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), at
        for index, each in enumerate(value):
            fits(each, shape[0], f"{at}/{index}")
    elif shape is not object:
        assert type(value) is shape, at


@pytest.fixture
def ended(batches: FakeBatches) -> str:
    """A batch with everything there is to know of it."""
    batch = batches.add(
        "anna", 3, name="pi", n_submitted=3, version=7, finished_at=1_763_906_700.0,
        counts={Status.SUCCEEDED: 2, Status.FAILED: 1},
        depends_on=(Dependency("01a", DependencyType.AFTERANY),), max_parallel=3,
    )  # fmt: skip
    jobs = batches.jobs_of[batch.batch_id]
    jobs[2] = replace(
        jobs[2], status=Status.FAILED, reason="EXIT: it ended with exit code 3", exit_code=3,
        signal=0, start_time=1_763_906_590.0, stop_time=1_763_906_600.9, slurm_job_id="12_3",
        slurm_state="FAILED", node_list="node1", max_rss=12.5, cpu_time=3.25, attempt=2,
        spent={Status.SUBMITTED: 1.4, Status.RUNNING: 10.6}, attempts=(Attempt(
            1, "NODE: its node failed", "NODE_FAIL", 1_763_906_588.0, 1_763_906_589.0, 0, 0,
            "node2", "12_3"),),
    )  # fmt: skip
    return batch.batch_id


def test_the_list_of_batches(api: Api, ended: str) -> None:
    answer = api.get("/batches")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    fits(answer.json, [LISTED_BATCH])
    assert answer.json == [
        {
            "batch_id": ended,
            "tool_id": "montecarlo-pi",
            "n_jobs": 3,
            "hardware": {"filesystems": ["scratch"], "cpu": 2, "memory": 256},
            "name": "pi",
            "created_at": "2025-11-23T14:03:07Z",
            "finished_at": "2025-11-23T14:05:00Z",
            "cancelled": False,
            "slurm": {
                "time_limit": 30, "partition": "main", "account": "phys", "qos": "normal",
                "gpus": 0,
            },
            "stale_since": "",
            "submitted_jobs": {
                "SUBMITTED": 0, "PENDING": 0, "RUNNABLE": 0, "STARTING": 0, "RUNNING": 0,
                "SUCCEEDED": 2, "FAILED": 1,
            },
            "canary": 0,
            "retry": {
                "max_attempts": 1, "node_failures": False, "memory_factor": None,
                "time_factor": None,
            },
            "user": "anna",
        }
    ]  # fmt: skip


def test_a_dry_run(api: Api) -> None:
    answer = api.post("/batches?dry_run=1", {
        "tool_id": "montecarlo-pi", "fixed_args": {"samples": 1}, "hardware": {"cpu": 1},
    })  # fmt: skip
    assert answer.status_code == 200
    (trial,) = answer.json
    assert list(trial) == [
        "tool_id", "n_jobs", "hardware", "name", "slurm", "canary", "depends_on", "retry",
        "max_parallel", "n_arrays", "expected_start", "expected_nodes", "reason",
    ]  # fmt: skip
    fits(trial["hardware"], HARDWARE)
    fits(trial["slurm"], SLURM)
    fits(trial["retry"], POLICY)
    assert trial["n_arrays"] == 2
    assert trial["expected_start"] == "2025-11-23T14:03:07Z"
    assert (trial["expected_nodes"], trial["reason"]) == ("node[1-2]", "LIMIT: no room")


def test_nothing_is_an_empty_array(api: Api, batches: FakeBatches) -> None:
    batches.add("berta")
    assert api.get("/batches").json == []


def test_a_batch(api: Api, ended: str) -> None:
    answer = api.get(f"/batches/{ended}")
    assert answer.status_code == 200
    fits(answer.json, [BATCH])
    [batch] = answer.json
    assert batch["hardware"] == {"filesystems": ["scratch"], "memory": 256, "cpu": 2}
    assert batch["n_submitted"] == 3
    assert batch["submitted_jobs"] == {
        "SUBMITTED": 0, "PENDING": 0, "RUNNABLE": 0, "STARTING": 0, "RUNNING": 0, "SUCCEEDED": 2,
        "FAILED": 1,
    }  # fmt: skip
    assert sum(batch["submitted_jobs"].values()) == batch["n_jobs"]


def test_a_batch_that_has_just_begun(api: Api, batches: FakeBatches) -> None:
    batch = batches.add("anna", slurm=replace(batches.add("anna").slurm, time_limit=None))
    [shown] = api.get(f"/batches/{batch.batch_id}").json
    assert shown["finished_at"] == ""
    assert shown["slurm"]["time_limit"] is None


def test_the_jobs(api: Api, ended: str) -> None:
    answer = api.get(f"/batches/{ended}/jobs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert [list(job) for job in answer.json] == [list(LISTED_JOB)] * 3
    assert [job["index"] for job in answer.json] == [0, 1, 2]
    fits(answer.json[2], LISTED_JOB)
    first = answer.json[0]
    assert first == {
        "job_id": f"{ended}-0", "log_id": f"{ended}-0.log", "args": {"samples": 10, "seed": 0},
        "status": "SUBMITTED", "reason": "", "index": 0, "create_time": "2025-11-23T14:03:07Z",
        "start_time": "", "stop_time": "", "exit_code": None,
    }  # fmt: skip


def test_a_job_that_failed(api: Api, ended: str) -> None:
    answer = api.get(f"/batches/{ended}/jobs/{ended}-2")
    assert answer.status_code == 200
    fits(answer.json, [JOB])
    [job] = answer.json
    assert job["status"] == "FAILED"
    assert job["reason"] == "EXIT: it ended with exit code 3"
    assert job["create_time"] == "2025-11-23T14:03:07Z"
    assert job["start_time"] == "2025-11-23T14:03:10Z"
    assert job["stop_time"] == "2025-11-23T14:03:20Z"
    assert (job["exit_code"], job["signal"], job["slurm_job_id"]) == (3, 0, "12_3")
    assert (job["elapsed"], job["max_rss"], job["cpu_time"]) == (11, 12.5, 3.25)
    assert job["time_in_status"] == {
        "SUBMITTED": 1, "PENDING": 0, "RUNNABLE": 0, "STARTING": 0, "RUNNING": 11,
    }  # fmt: skip
    [attempt] = job["attempts"]
    assert (attempt["attempt"], attempt["slurm_job_id"], attempt["max_rss"]) == (1, "12_3", None)


def test_a_job_that_waits(api: Api, ended: str) -> None:
    [job] = api.get(f"/batches/{ended}/jobs/{ended}-0").json
    assert list(job) == list(JOB)
    assert (job["start_time"], job["stop_time"], job["node_list"]) == ("", "", "")
    assert (job["exit_code"], job["signal"]) == (None, None)
    assert (job["elapsed"], job["max_rss"], job["cpu_time"]) == (None, None, None)
    assert (job["never_runs"], job["expected_start"]) == (False, "")


def test_a_job_that_never_runs_and_one_whose_start_is_expected(
    api: Api, batches: FakeBatches, ended: str
) -> None:
    jobs = batches.jobs_of[ended]
    jobs[0] = replace(jobs[0], status=Status.PENDING, never_runs=True, as_of=NOW + 7,
                      status_since=NOW, spent={Status.SUBMITTED: 2.0})  # fmt: skip
    jobs[1] = replace(jobs[1], status=Status.RUNNABLE, expected_start=NOW + 60)
    [never] = api.get(f"/batches/{ended}/jobs/{ended}-0").json
    assert never["never_runs"] is True
    assert never["time_in_status"] == {
        "SUBMITTED": 2, "PENDING": 7, "RUNNABLE": 0, "STARTING": 0, "RUNNING": 0,
    }  # fmt: skip
    [expected] = api.get(f"/batches/{ended}/jobs/{ended}-1").json
    assert expected["expected_start"] == "2025-11-23T14:04:07Z"


def test_the_tools(api: Api) -> None:
    answer = api.get("/tools")
    fits(answer.json, [TOOL])
    assert api.get("/tools/montecarlo-pi").json == answer.json
    assert "#!/bin" not in answer.text
    [tool] = answer.json
    assert tool["parameters"][0]["required"] is True
    assert tool["parameters"][2]["choices"] == ["fast", "exact"]
    assert tool["hardware"]["cpu"] is None


def test_the_filesystems(api: Api) -> None:
    answer = api.get("/filesystems")
    fits(answer.json, [FILESYSTEM])
    assert answer.json == [
        {"id": "scratch", "path": "/scratch", "description": "Fast, and emptied weekly."}
    ]


@pytest.mark.parametrize("path", ["/batches/{}", "/batches/{}/jobs/{}-1", "/tools/montecarlo-pi"])
@pytest.mark.parametrize(
    ("accept", "is_object"),
    [
        (OBJECT, True),
        (f"{OBJECT}, */*", True),
        (f"application/json;q=0.5, {OBJECT}", True),
        (f"{OBJECT};q=0.1, application/json", False),
        (f"{OBJECT};q=0", False),
        ("application/json", False),
        ("*/*", False),
        ("text/html", False),
        ("", False),
        ("nonsense;;;", False),
        ("application/*", False),
    ],
)
def test_one_object_for_those_who_ask(
    api: Api, ended: str, path: str, accept: str, is_object: bool
) -> None:
    answer = api.get(path.format(ended, ended), headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert isinstance(answer.json, dict) is is_object
    assert answer.headers["content-type"] == (OBJECT if is_object else "application/json")
    whole = api.get(path.format(ended, ended)).json
    assert ([answer.json] if is_object else answer.json) == whole


def test_lists_are_arrays_even_then(api: Api, ended: str) -> None:
    for path in ("/batches", f"/batches/{ended}/jobs", "/tools", "/filesystems"):
        answer = api.get(path, headers={"Accept": OBJECT})
        assert isinstance(answer.json, list)
        assert answer.headers["content-type"] == "application/json"


def test_errors_are_never_arrays(api: Api) -> None:
    assert isinstance(api.get("/batches/none").json, dict)
    assert isinstance(api.get("/batches/none", headers={"Accept": OBJECT}).json, dict)


def test_text_of_any_kind_survives(api: Api, batches: FakeBatches) -> None:
    name = 'ünï "\\ \u2028 😀 </script> \udc80'
    batch = batches.add("anna", name=name)
    answer = api.get(f"/batches/{batch.batch_id}")
    assert answer.json[0]["name"] == name
    assert "ünï" in answer.text


def test_the_notifications_of_a_batch(api: Api, batches: FakeBatches, ended: str) -> None:
    path = f"/batches/{ended}/notifications"
    assert api.get(path).json == []
    batches.told[ended] = [
        Notification("finished", "ci.example.org", DeliveryState.PENDING, 1, "it answered 503",
                     1_763_906_700.0, 1_763_906_701.0, 1_763_906_706.0),
        Notification("first_failure", "ci.example.org", DeliveryState.DELIVERED, 1, "",
                     1_763_906_600.0, 1_763_906_601.0, None),
    ]  # fmt: skip
    answer = api.get(path)
    fits(answer.json, [NOTIFICATION])
    assert [each["state"] for each in answer.json] == ["pending", "delivered"]
    assert [each["next_at"] for each in answer.json] == ["2025-11-23T14:05:06Z", ""]
    theirs = batches.add("berta").batch_id
    assert api.get(f"/batches/{theirs}/notifications").status_code == 404
