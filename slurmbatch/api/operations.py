"""Every endpoint in words: what it takes and what it answers. The OpenAPI document is made of this,
and query parameters that do not stand here are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slurmbatch.api import answers, newkeys, query, render, retries, shapes
from slurmbatch.api.resources.batches import MAX_WAIT
from slurmbatch.api.resources.logs import MAX_ATTEMPT, MAX_TAIL
from slurmbatch.model import Status
from slurmbatch.states import END_CLASSES

TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a request header."""

    name: str
    schema: Mapping[str, Any]
    description: str
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: what it holds (a shape of `answers`), and the headers beyond those of all."""

    description: str
    shape: Any = None
    many: bool = False
    plain: bool = False
    media: str = render.JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `problems` are the statuses beyond those that all can have."""

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    problems: tuple[int, ...] = ()
    public: bool = False
    tag: str = "batches"
    body_needed: bool = True


_STATUS = {"type": "string", "enum": [status.value for status in Status]}
_STRING = {"type": "string"}
_PAGE = {"type": "integer", "minimum": 1, "maximum": query.MAX_PAGE}
_LIMIT = Parameter("limit", _PAGE, "At most so many, with a Link to the next page; else all.")
_KEY = Parameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "The same key and body give the same batch again, also years later.",
    "header",
)
_RETRY_KEY = Parameter(
    "Idempotency-Key", _KEY.schema, "The same request with the same key is carried out once.",
    "header",
)  # fmt: skip
_REASON = {"type": "string", "enum": sorted(END_CLASSES)}
_DRY_RUN = Parameter(
    "dry_run", {"enum": ["0", "1"]},
    "1: only check it, and ask Slurm; nothing is kept, and the key is not looked at.",
)  # fmt: skip
_NONE_MATCH = Parameter(
    "If-None-Match", _STRING, "The ETag of what is known already: 304 if it is still so.", "header"
)
_SINCE = Parameter("since", _STRING, "The version that is known already: 304 if it is still so.")
_WAIT = Parameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": MAX_WAIT},
    "Seconds for which to wait with that 304 for something to change; then the answer comes at "
    "once.",
)
_FOLLOW = Parameter(
    "follow",
    {"type": "integer", "enum": [0, 1]},
    "1: go on with what the job prints from now on, until it has ended.",
)
_RANGE = Parameter("Range", _STRING, "One range of bytes, as RFC 9110.", "header")
_TAIL = Parameter(
    "tail",
    {"type": "integer", "minimum": 1, "maximum": MAX_TAIL},
    "Only the last lines, so many of them.",
)
_ATTEMPT = Parameter(
    "attempt",
    {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPT},
    "The log of this run; left out: of the last one.",
)
_LOG: dict[str, Any] = {
    "answers": {
        200: Answer(
            "Stdout and stderr together; empty if the job has printed nothing yet.",
            media=TEXT,
            headers=("Accept-Ranges", "Content-Length"),
        ),
        206: Answer(
            "The range that was asked for.",
            media=TEXT,
            headers=("Accept-Ranges", "Content-Length", "Content-Range"),
        ),
    },
    "parameters": (_TAIL, _ATTEMPT, _FOLLOW, _RANGE),
    "problems": (400, 404, 409, 416),
    "tag": "logs",
}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/batches", "list_batches", "List your batches, newest first",
        {
            200: Answer("The batches.", answers.ListedBatch, many=True, headers=("Link", "ETag")),
            304: Answer("The batches are what they were.", headers=("ETag", "Vary")),
        },
        (
            _LIMIT,
            Parameter("after", _STRING, "Begin after the batch of this id."),
            Parameter("status", _STATUS, "Only batches with a job of this status."),
            Parameter("tool_id", _STRING, "Only batches of this tool."),
            Parameter("name", _STRING, "Only batches of this name."),
            Parameter("user", _STRING, "For administrators: the batches of this user instead."),
            _NONE_MATCH,
        ),
        problems=(400,),
    ),
    Operation(
        "POST", "/batches", "create_batch", "Make a batch: it is on disk when the answer comes",
        {
            201: Answer("The new batch.", answers.BatchView, headers=("Location",)),
            200: Answer(
                "The batch that this Idempotency-Key has made before; or of a dry run what the "
                "batch would be, without Location.",
                answers.BatchView | answers.TrialView, headers=("Location",),
            ),
        },
        (_KEY, _DRY_RUN), shapes.NewBatchBody, (400, 409, 413, 415, 422, 507),
    ),
    Operation(
        "DELETE", "/batches", "delete_batches",
        "Delete all your batches: what runs of them is cancelled",
        {200: Answer("They are gone. The body is empty.")}, problems=(400, 507),
    ),
    Operation(
        "GET", "/batches/{batch_id}", "get_batch", "Look at a batch",
        {
            200: Answer("The batch.", answers.BatchView, headers=("ETag",)),
            304: Answer("It is as you know it. The body is empty.", headers=("ETag",)),
        },
        (_SINCE, _WAIT, _NONE_MATCH), problems=(400, 404),
    ),
    Operation(
        "DELETE", "/batches/{batch_id}", "delete_batch",
        "Delete a batch: what runs of it is cancelled",
        {200: Answer("It is gone. The body is empty.")}, problems=(400, 404, 507),
    ),
    Operation(
        "POST", "/batches/{batch_id}/cancel", "cancel_batch",
        "Cancel what has not ended; the records stay",
        {202: Answer("The batch.", answers.BatchView)}, problems=(400, 404, 409, 507),
    ),
    Operation(
        "POST", "/batches/{batch_id}/retry", "retry_batch",
        "Run failed jobs again, under the same ids",
        {202: Answer("The batch.", answers.BatchView)},
        (
            _RETRY_KEY,
            Parameter("reason", {"type": "array", "items": _REASON},
                      "Only jobs that failed like this, or like one of these: it may be repeated."),
        ),
        retries.RetryBody, (400, 404, 409, 413, 415, 422, 507), body_needed=False,
    ),
    Operation(
        "GET", "/batches/{batch_id}/reasons", "list_reasons",
        "See why jobs wait or have failed, with the last lines of one such log",
        {200: Answer("The reasons.", answers.ReasonWithLog, many=True)}, problems=(400, 404),
    ),
    Operation(
        "GET", "/batches/{batch_id}/notifications", "list_notifications",
        "See what has become of the notifications of a batch, the newest first",
        {200: Answer("The notifications.", answers.NotificationView, many=True)},
        problems=(400, 404),
    ),
    Operation(
        "GET", "/batches/{batch_id}/statuses", "get_statuses",
        "See all jobs of a batch in brief: their statuses, and when each began and ended",
        {
            200: Answer("All jobs in brief.", answers.StatusesView, headers=("ETag",)),
            304: Answer("The batch is what it was.", headers=("ETag", "Vary")),
        },
        (_NONE_MATCH,), problems=(400, 404),
    ),
    Operation(
        "GET", "/batches/{batch_id}/jobs", "list_jobs", "List the jobs of a batch, in index order",
        {200: Answer("The jobs.", answers.ListedJob, many=True, headers=("Link",))},
        (
            _LIMIT,
            Parameter("after", _STRING, "Begin after the job of this id."),
            Parameter("status", {"type": "array", "items": _STATUS},
                      "Only jobs of this status, or of one of these: it may be repeated."),
        ),
        problems=(400, 404), tag="jobs",
    ),
    Operation(
        "GET", "/batches/{batch_id}/jobs/{job_id}", "get_job", "Look at a job",
        {
            200: Answer("The job.", answers.JobView, headers=("ETag",)),
            304: Answer("The job is what it was.", headers=("ETag", "Vary")),
        },
        (_NONE_MATCH,), problems=(400, 404), tag="jobs",
    ),
    Operation(
        "GET", "/batches/{batch_id}/jobs/{job_id}/log", "get_log_of_job",
        "Read what a job printed", **_LOG,
    ),
    Operation("GET", "/logs/{log_id}", "get_log", "Read what a job printed, by log_id", **_LOG),
    Operation(
        "GET", "/tools", "list_tools", "List what you may run",
        {200: Answer("The tools.", answers.ToolView, many=True)}, problems=(400,), tag="catalogue",
    ),
    Operation(
        "GET", "/tools/{tool_id}", "get_tool", "Look at a tool",
        {200: Answer("The tool.", answers.ToolView)}, problems=(400, 404), tag="catalogue",
    ),
    Operation(
        "GET", "/filesystems", "list_filesystems", "List what may stand in hardware.filesystems",
        {200: Answer("The filesystems.", answers.FilesystemView, many=True)},
        problems=(400,), tag="catalogue",
    ),
    Operation(
        "GET", "/keys", "list_keys", "List your API keys, newest first; never their secrets",
        {200: Answer("The keys.", answers.KeyView, many=True)}, problems=(400,), tag="keys",
    ),
    Operation(
        "POST", "/keys", "create_key", "Make an API key, which is shown this once",
        {201: Answer("The key.", answers.NewKeyView, headers=("Location",))}, (),
        newkeys.NewKeyBody, (400, 409, 413, 415, 422, 507), tag="keys", body_needed=False,
    ),
    Operation(
        "GET", "/keys/{key_id}", "get_key", "Look at one of your API keys",
        {200: Answer("The key.", answers.KeyView)}, problems=(400, 404), tag="keys",
    ),
    Operation(
        "DELETE", "/keys/{key_id}", "revoke_key",
        "Revoke one of your API keys, and whatever was made with it",
        {200: Answer("It works no more. The body is empty.")}, problems=(400, 404, 507),
        tag="keys",
    ),
    Operation(
        "GET", "/service", "get_service", "For administrators: see the whole service at one look",
        {200: Answer("All of it.", answers.ServiceView)}, problems=(400,), tag="service",
    ),
    Operation(
        "GET", "/healthz", "get_health", "Ask whether the service is alive",
        {200: Answer("It is.", answers.Report, plain=True)}, public=True, tag="service",
    ),
    Operation(
        "GET", "/readyz", "get_readiness", "Ask whether the service is able to work",
        {200: Answer("It is.", answers.Report, plain=True)}, public=True, tag="service",
    ),
    Operation(
        "GET", "/openapi.json", "get_openapi", "Read this document",
        {200: Answer("OpenAPI 3.1.", answers.Report, plain=True)}, public=True, tag="service",
    ),
    Operation(
        "GET", "/docs", "get_page", "Read this document as a page",
        {200: Answer("The page.", media="text/html", headers=("ETag", "Vary"))},
        public=True, tag="service",
    ),
    Operation(
        "GET", "/docs/{file}", "get_page_part", "Get what that page consists of",
        {200: Answer("A script, or a style.", media="text/javascript", headers=("ETag", "Vary"))},
        problems=(404,), public=True, tag="service",
    ),
    Operation(
        "GET", "/ui", "get_dashboard_place", "Be led to the dashboard",
        {308: Answer("It is at the same path with a slash.", headers=("Location",))},
        public=True, tag="service",
    ),
    Operation(
        "GET", "/ui/{file}", "get_dashboard", "Get the dashboard: with no name, the page itself",
        {200: Answer("The page, a script, a style or a picture.", media="text/html",
                     headers=("ETag", "Vary"))},
        problems=(404,), public=True, tag="service",
    ),
)  # fmt: skip


def query_names() -> dict[tuple[str, str], tuple[str, ...]]:
    """The query parameters of each endpoint, by method and path."""
    return {
        (each.method, each.path): tuple(p.name for p in each.parameters if p.place == "query")
        for each in OPERATIONS
    }
