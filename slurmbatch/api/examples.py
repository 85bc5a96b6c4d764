"""An example of each body, for the OpenAPI document: a batch of two jobs, one of which has failed.

They are made of values of the model by the same views that make the real answers, so they have the
fields that those have.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from typing import Any

from slurmbatch import summary
from slurmbatch.api import problems, views
from slurmbatch.model import (
    Act,
    ApiKey,
    Batch,
    Brief,
    Busy,
    Caller,
    DeliveryState,
    Filesystem,
    Hardware,
    HardwareLimits,
    Job,
    Notification,
    Outage,
    Overview,
    Parameter,
    Scope,
    SlurmLimits,
    SlurmOptions,
    Status,
    Tool,
)

BATCH_ID = "01kas8qzrv7x2m4q0f6h9d3e5b"
PATHS = {
    "batch_id": BATCH_ID,
    "job_id": f"{BATCH_ID}-1",
    "log_id": f"{BATCH_ID}-1.log",
    "tool_id": "montecarlo-pi",
    "key_id": "7q2hxk4mzb3a",
    "file": "start.js",
}
_REQUEST_ID = "c922239b4647957c"
_MADE = 1_763_906_587.0  # 2025-11-23T14:03:07Z
_HARDWARE = Hardware(("scratch",), cpu=1, memory=64)
_OPTIONS = SlurmOptions(30, "main", "phys", "normal", 0)
_REASON = "EXIT: ended with exit code 3 (FAILED)"

NEW_BATCH = {
    "tool_id": "montecarlo-pi",
    "name": "pi, two seeds",
    "fixed_args": {"samples": 1_000_000},
    "variable_args": [{"seed": 1}, {"seed": 2}],
    "hardware": {"filesystems": ["scratch"], "cpu": 1, "memory": 64},
    "slurm": {"time_limit": 30},
}
NEW_KEY = {"name": "laptop", "scopes": ["read"], "expires_at": "2026-12-31T00:00:00Z"}
RETRY = {"indices": [1], "memory_factor": 2}
LOG = "pi is about 3.141592 (1000000 samples, seed 2)\n"


def of_answers() -> Mapping[str, Any]:
    """By the name of the operation: the single thing, or the list, or the text."""
    batch, jobs = _batch(), [_job(0, Status.SUCCEEDED, "OK: exit code 0", 0),
                             _job(1, Status.FAILED, _REASON, 3)]  # fmt: skip
    shown = views.batch(batch)
    tool = views.tool(_TOOL)
    return {
        "list_batches": [views.listed_batch(batch)],
        "get_batch": shown,
        **dict.fromkeys(("create_batch", "cancel_batch", "retry_batch"), shown),
        "list_reasons": [{**each, "log": "no such file"} for each in views.reasons(batch)],
        "list_notifications": [views.notification(_NOTIFICATION)],
        "get_statuses": views.statuses(batch, _BRIEF),
        "list_jobs": [views.listed_job(each) for each in jobs],
        "get_job": views.job(jobs[1]),
        **dict.fromkeys(("get_log_of_job", "get_log"), LOG),
        "list_tools": [tool],
        "get_tool": tool,
        "list_filesystems": [views.filesystem(_FILESYSTEM)],
        "list_keys": [views.key(_KEY, _CALLER)],
        "get_key": views.key(_KEY, _CALLER),
        "create_key": views.new_key(_KEY, _CALLER, f"sbk_{_KEY.key_id}_{'x' * 43}"),
        "get_service": views.service(_OVERVIEW),
        "get_health": {"status": "alive", "version": "0.1.0"},
        "get_readiness": _READY,
        "get_openapi": {"openapi": "3.1.0", "info": {"title": "slurmbatch", "version": "0.1.0"}},
        "get_page": "<!doctype html>",
        "get_page_part": "SwaggerUIBundle(…)",
        "get_dashboard": "<!doctype html>",
    }


def of_problem(status: int, path: str) -> dict[str, Any]:
    """The first kind of problem with this status."""
    kinds = (*problems.KINDS.values(), problems.METHOD_NOT_ALLOWED, problems.BUG)
    kind = next(each for each in kinds if each.status == status)
    made: dict[str, Any] = {
        "type": f"{problems.TYPE}{kind.name}",
        "title": kind.title,
        "status": status,
        "detail": f"{kind.title}.",
        "instance": path.format(**PATHS),
        "request_id": _REQUEST_ID,
    }
    if kind.name == "over-limit":
        made["limits"] = [{"limit": "live_jobs", "most": 1000, "used": 990, "wanted": 20}]
    if kind.name == "invalid":
        made["errors"] = [{"pointer": "/hardware/cpu", "detail": "Expected at least 1, not 0."}]
    return made


def _batch() -> Batch:
    group = summary.Group(Status.FAILED, _REASON, 1, "node2", 1, 1, 1)
    facts = summary.Facts(BATCH_ID, 2, _HARDWARE, 30, groups=(group,), n_ended=2)
    return Batch(
        batch_id=BATCH_ID, user_id="anna", tool_id="montecarlo-pi", name="pi, two seeds", n_jobs=2,
        hardware=_HARDWARE, slurm=_OPTIONS, created_at=_MADE, version=7, n_submitted=2,
        counts={**dict.fromkeys(Status, 0), Status.SUCCEEDED: 1, Status.FAILED: 1},
        finished_at=_MADE + 9, summary=json.dumps(summary.document(facts)),
    )  # fmt: skip


def _job(index: int, status: Status, reason: str, code: int) -> Job:
    return Job(
        batch_id=BATCH_ID, index=index, args={"samples": 1_000_000, "seed": index + 1},
        hardware=_HARDWARE, status=status, reason=reason, create_time=_MADE,
        start_time=_MADE + 4, stop_time=_MADE + 8, exit_code=code, signal=0,
        slurm_job_id=f"4711_{index + 1}", slurm_state="FAILED" if code else "COMPLETED",
        node_list=f"node{index + 1}", max_rss=12.5, cpu_time=3.9,
        status_since=_MADE + 9, as_of=_MADE + 9, time_limit=30,
    )  # fmt: skip


_NOTIFICATION = Notification(
    "finished",
    "https://ci.example.org:443",
    DeliveryState.PENDING,
    1,
    "it answered 503",
    _MADE + 9,
    _MADE + 10,
    _MADE + 15,
)
_TOOL = Tool(
    id="montecarlo-pi",
    description="Estimates pi from random points.",
    script="",
    parameters=(
        Parameter("samples", "integer", "How many points.", required=True, minimum=1, maximum=1e9),
        Parameter("seed", "integer", "Where to begin.", default=0),
    ),
    hardware=HardwareLimits(cpu=1, memory=64, max_cpu=4, max_memory=4096),
    slurm=SlurmLimits(SlurmOptions(30, "", "", "", 0), partitions=("main",), max_time_limit=600),
)
_FILESYSTEM = Filesystem("scratch", "/scratch", "Fast, emptied every month", "scratch")
_CALLER = Caller("anna", "key 3nfo5tc2wq6v", key_id="3nfo5tc2wq6v")
_KEY = ApiKey(
    PATHS["key_id"], "anna", b"", _MADE, 1_798_675_200.0, name="laptop",
    scopes=frozenset((Scope.READ,)), made_with="3nfo5tc2wq6v",
)  # fmt: skip
_BRIEF = Brief(b"56", array("l", [4, 4]), array("l", [8, 8]))
_COUNTS = {**dict.fromkeys(Status, 0), Status.PENDING: 40, Status.RUNNING: 16, Status.FAILED: 2}
_OVERVIEW = Overview(
    at=_MADE + 60, began=_MADE - 86_400, intents=1, intent_jobs=20, oldest_intent=_MADE + 57,
    batches=2, counts=_COUNTS, looks=(0.02, 0.04), users=(Busy("anna", 2, _COUNTS),),
    outages=(Outage("slurmdbd", _MADE - 900, _MADE - 840, "sacct: no answer in 30 seconds"),),
    acts=(Act(_MADE + 12, "anna", "batch.cancel", BATCH_ID, "anna", "done", "key 3nfo5tc2wq6v",
              "192.0.2.7", _REQUEST_ID),),
)  # fmt: skip
_UP = {"ok": True, "down_since": "", "error": ""}
_READY = {
    "status": "ready", "database": {"ok": True, "error": ""}, "slurmctld": _UP, "slurmdbd": _UP,
    "poll_age_seconds": 0.7, "looks": 4711, "backend": "commands",
    "queue": {"depth": 2, "waited": 5},
}  # fmt: skip
