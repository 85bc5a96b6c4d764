"""What the service gives beside batches and jobs: its fields, as types. It may add more of them."""

from __future__ import annotations

from typing import Any, TypedDict

ArgValue = str | int | float | bool
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
ENDED = ("SUCCEEDED", "FAILED")


class Hardware(TypedDict):
    """What each job has; memory in MiB."""

    filesystems: list[str]
    cpu: int
    memory: int


class Parameter(TypedDict):
    """What may be passed to a tool. null or an empty value: no such limit."""

    name: str
    type: str
    description: str
    required: bool
    default: ArgValue | None
    minimum: float | None
    maximum: float | None
    max_length: int | None
    pattern: str
    choices: list[ArgValue]


class Tool(TypedDict):
    """What can be run."""

    id: str
    description: str
    parameters: list[Parameter]
    hardware: dict[str, Any]
    slurm: dict[str, Any]


class Filesystem(TypedDict):
    """What jobs can ask for."""

    id: str
    path: str
    description: str


class Key(TypedDict):
    """An API key of yours; times are "" where there is none. `current`: it is the one you use."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str
    last_used_at: str
    revoked_at: str
    current: bool


class NewKey(Key):
    """One that has just been made: `key` is all of it, and is shown this once."""

    key: str


class Notification(TypedDict):
    """What somebody was to be told of a batch; `state` is pending, delivered or given_up."""

    event: str
    host: str
    state: str
    attempts: int
    last_error: str
    occurred_at: str
    last_at: str
    next_at: str


class Reason(TypedDict):
    """Why some jobs of a batch wait or have failed; `text` is all of it in words.

    `job_id`: one of those that failed; `log`: what that printed last; `node`: where all of them
    failed.
    """

    text: str
    status: str
    reason: str
    n_jobs: int
    node: str
    job_id: str
    log: str


class Mistake(TypedDict):
    """One mistake in what was sent: a JSON pointer to it, and what was expected."""

    pointer: str
    detail: str
