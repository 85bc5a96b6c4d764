"""What the users of a run have asked for, and what they were told."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

NEVER = float("inf")
# MiB that a job has, and may have at most, by the tool that all batches are of.
MEMORY, MAX_MEMORY = 16, 64


def class_of(told: Mapping[str, Any]) -> str:
    """Of the reason of a job, or of an attempt."""
    return str(told["reason"]).partition(":")[0]


def kind_of(job: Mapping[str, Any]) -> str:
    """The class where it has failed, else the status."""
    return class_of(job) if job["status"] == "FAILED" else str(job["status"])


@dataclass(frozen=True)
class Wait:
    """What a batch waits for: another one of its user's, and how (`afterok` and so on)."""

    parent: Posted
    how: str

    def body(self) -> str | dict[str, str]:
        if self.how == "afterok":
            return self.parent.batch_id
        return {"batch_id": self.parent.batch_id, "type": self.how}


@dataclass
class Cancel:
    asked_at: float
    done_at: float = NEVER


@dataclass
class Again:
    """A request to run failed jobs again. `failed`: the classes of those that had failed just
    before it, by index; `indices`, `reason`: what of them is meant, None and "" for all."""

    key: str
    failed: Mapping[int, str]
    indices: frozenset[int] | None = None
    reason: str = ""
    asked_at: float = NEVER
    answered_at: float = NEVER
    is_acknowledged: bool = False
    is_refused: bool = False  # nothing of the selection had failed

    @property
    def jobs(self) -> frozenset[int]:
        """Which ones it has to run again, for all that its user knows. What has failed between the
        look and the request may come on top."""
        return frozenset(
            index for index, kind in self.failed.items()
            if self.selects(index) and self.reason in ("", kind)
        )  # fmt: skip

    def selects(self, index: int) -> bool:
        return self.indices is None or index in self.indices

    def body(self) -> dict[str, Any]:
        """As arguments of a request."""
        body = {} if self.indices is None else {"json": {"indices": sorted(self.indices)}}
        return {**body, "params": {"reason": self.reason} if self.reason else {}}


@dataclass(frozen=True)
class Policy:
    """By which a batch's jobs are run again by themselves."""

    max_attempts: int
    memory_factor: int
    node_failures: bool = False

    def more_than(self, memory: int) -> int:
        """What a job has in the attempt after one with so much; the same: there is none."""
        return min(MAX_MEMORY, memory * self.memory_factor)

    def body(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Posted:
    """A batch as its user knows it. Times are seconds since the epoch.

    A job fails with its code in so many of its runs as `heals` says, and then succeeds. With less
    memory than it `needs` (MiB) Slurm kills it.
    """

    label: str
    user: str
    codes: list[int]
    naps: list[float]
    refused: bool = False  # by design: it asks for what Slurm will not give
    heals: dict[int, int] = field(default_factory=dict)
    waits: tuple[Wait, ...] = ()
    canary: int = 0
    max_parallel: int | None = None
    policy: Policy | None = None
    needs: dict[int, int] = field(default_factory=dict)
    asked_at: float = NEVER
    batch_id: str = ""
    acknowledged_at: float = NEVER
    is_invalid: bool = False  # it was told to be a mistake
    cancels: list[Cancel] = field(default_factory=list)
    retries: list[Again] = field(default_factory=list)
    delete_asked_at: float = NEVER
    deleted_at: float = NEVER

    @property
    def is_whole(self) -> bool:
        """Whether all of it is to run: nobody has asked for its end."""
        return not self.refused and not self.cancels and self.delete_asked_at == NEVER

    @property
    def can_be_ended(self) -> bool:
        """Whether it is whole, or goes on after a retry."""
        last = self.cancels[-1].asked_at if self.cancels else 0.0
        goes_on = not self.cancels or any(each.asked_at > last for each in self.retries)
        return not self.refused and self.delete_asked_at == NEVER and goes_on

    @property
    def era(self) -> int:
        """Another one with each retry; odd while one is under way."""
        retries = list(self.retries)
        return len(retries) + sum(each.answered_at < NEVER for each in retries)

    @property
    def is_asked_in_vain(self) -> bool:
        """Whether it may be told to be a mistake: what it waits for is being deleted."""
        return any(each.parent.delete_asked_at < NEVER for each in self.waits)

    def body(self) -> dict[str, Any]:
        jobs: list[dict[str, Any]] = [
            {"job": index, "nap": nap, "code": code}
            for index, (nap, code) in enumerate(zip(self.naps, self.codes, strict=True))
        ]
        for index, runs in self.heals.items():
            jobs[index]["fails"] = runs
        for index, memory in self.needs.items():
            jobs[index]["needs"] = memory
        slurm = {"partition": "nowhere"} if self.refused else {}
        body: dict[str, Any] = {
            "tool_id": "trace", "name": self.label, "fixed_args": {"label": self.label},
            "variable_args": jobs, "slurm": slurm,
        }  # fmt: skip
        if self.waits:
            body["depends_on"] = [each.body() for each in self.waits]
        if self.canary:
            body["canary"] = self.canary
        if self.max_parallel:
            body["max_parallel"] = self.max_parallel
        if self.policy:
            body["retry"] = self.policy.body()
        return body


@dataclass
class Ledger:
    """What the users were told, and what was wrong with it. For all threads."""

    posted: dict[str, Posted] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    answers: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, posted: Posted) -> None:
        with self._lock:
            self.posted[posted.label] = posted

    def all(self) -> list[Posted]:
        with self._lock:
            return list(self.posted.values())

    def of(self, user: str) -> list[Posted]:
        """The batches that the user has."""
        return [each for each in self.all() if each.user == user and each.batch_id]

    def complain(self, text: str) -> None:
        with self._lock:
            self.wrong.append(f"{time.strftime('%H:%M:%S', time.gmtime())}Z {text}")

    def count(self, *, retry: bool) -> None:
        with self._lock:
            self.answers += not retry
            self.retries += retry
