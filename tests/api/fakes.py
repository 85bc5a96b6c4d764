"""What the HTTP side talks to, by hand: a small service in memory."""

from __future__ import annotations

import builtins
import hashlib
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slurmbatch.errors import (
    Fault,
    Forbidden,
    Invalid,
    KeyReused,
    Malformed,
    NotFound,
    SlurmbatchError,
    Unauthenticated,
)
from slurmbatch.logs import JobLog
from slurmbatch.model import (
    USUAL_SCOPES,
    ApiKey,
    Batch,
    Brief,
    Caller,
    Estimate,
    Filesystem,
    Hardware,
    HardwareLimits,
    Job,
    NewBatch,
    NewKey,
    Notification,
    Overview,
    Page,
    Parameter,
    Retry,
    Scope,
    SlurmLimits,
    SlurmOptions,
    Status,
    Tool,
    Trial,
    parse_job_id,
)

NOW = 1_763_906_587.25  # 2025-11-23T14:03:07.25Z

TOOL = Tool(
    id="montecarlo-pi",
    description="Estimates π.",
    script="#!/bin/sh\n",
    parameters=(
        Parameter("samples", "integer", "How many.", required=True, minimum=1, maximum=1e9),
        Parameter("seed", "integer", default=0),
        Parameter("mode", "string", choices=("fast", "exact"), max_length=5, pattern="[a-z]+"),
    ),
    hardware=HardwareLimits(memory=256, filesystems=("scratch",), max_cpu=8, max_memory=4096),
    slurm=SlurmLimits(SlurmOptions(time_limit=30), partitions=("main",), max_gpus=1),
)
FILESYSTEM = Filesystem("scratch", "/scratch", "Fast, and emptied weekly.", "scratch", "fs:1")

MAX_JOBS = 50_000


@dataclass
class FakeBatches:
    """Batches of several users; `broken` is raised by whatever is asked next."""

    root: Path
    owner_uid: int
    kept: dict[str, Batch] = field(default_factory=dict)
    jobs_of: dict[str, list[Job]] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    retried: list[tuple[Retry, str | None, bytes]] = field(default_factory=list)
    submitted: list[NewBatch] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    told: dict[str, list[Notification]] = field(default_factory=dict)
    forbade: list[tuple[str, str, str]] = field(default_factory=list)
    broken: Exception | None = None
    broken_submit: SlurmbatchError | None = None
    broken_rows: SlurmbatchError | None = None

    def add(self, user: str, n_jobs: int = 1, **changes: Any) -> Batch:
        """Keep a batch of this user's, its jobs all submitted."""
        batch = replace(
            Batch(
                batch_id=f"01BATCH{len(self.kept):05}",
                user_id=user,
                tool_id=TOOL.id,
                name="",
                n_jobs=n_jobs,
                hardware=Hardware(("scratch",), cpu=2, memory=256),
                slurm=SlurmOptions(30, "main", "phys", "normal", 0),
                created_at=NOW,
                version=1,
                n_submitted=0,
                counts={status: n_jobs * (status is Status.SUBMITTED) for status in Status},
            ),
            **changes,
        )
        self.kept[batch.batch_id] = batch
        self.jobs_of[batch.batch_id] = [
            Job(batch.batch_id, index, {"samples": 10, "seed": index}, batch.hardware,
                Status.SUBMITTED, "", batch.created_at)
            for index in range(n_jobs)
        ]  # fmt: skip
        return batch

    def log_file(self, batch: Batch, index: int = 0) -> Path:
        directory = self.root / batch.batch_id
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f"{index}.log"

    def _asked(self, what: str) -> None:
        self.calls.append(what)
        if self.broken is not None:
            raise self.broken

    def _own(self, caller: Caller, batch_id: str) -> Batch:
        batch = self.kept.get(batch_id)
        if batch is None or batch.user_id != caller.user_id:
            raise NotFound
        return batch

    def tools(self, caller: Caller) -> list[Tool]:
        self._asked("tools")
        return [TOOL]

    def tool(self, caller: Caller, tool_id: str) -> Tool:
        self._asked("tool")
        if tool_id != TOOL.id:
            raise NotFound
        return TOOL

    def filesystems(self, caller: Caller) -> builtins.list[Filesystem]:
        self._asked("filesystems")
        return [FILESYSTEM]

    def check(
        self, caller: Caller, new: NewBatch, known: Collection[str] = ()
    ) -> builtins.list[Fault]:
        self._asked("check")
        faults = []
        if new.tool_id != TOOL.id:
            faults.append(Fault("/tool_id", "There is no such tool."))
        if new.cpu is None:
            faults.append(Fault("/hardware/cpu", "A number of CPUs is needed."))
        for at, args in [("/fixed_args", new.fixed_args)] + [
            (f"/variable_args/{index}", each) for index, each in enumerate(new.variable_args)
        ]:
            names = [name for name in args if TOOL.parameter(name) is None]
            faults += [Fault(f"{at}/{name}", "There is no such argument.") for name in names]
        return [
            fault
            for fault in faults
            if not any(fault.pointer == at or fault.pointer.startswith(f"{at}/") for at in known)
        ]

    def max_jobs(self, caller: Caller, idempotency_key: str | None) -> int | None:
        return None if (caller.user_id, idempotency_key) in self.keys else MAX_JOBS

    def earlier(self, caller: Caller, idempotency_key: str, body_hash: bytes) -> Batch | None:
        earlier = self.keys.get((caller.user_id, idempotency_key))
        if earlier is not None and earlier[0] != body_hash:
            raise KeyReused
        return self.kept[earlier[1]] if earlier is not None else None

    def try_out(self, caller: Caller, new: NewBatch) -> Trial:
        self._asked("try_out")
        if self.broken_submit is not None:
            raise self.broken_submit
        if self.check(caller, new):
            raise Invalid(self.check(caller, new))
        batch = self.add(caller.user_id, max(1, len(new.variable_args)), name=new.name)
        del self.kept[batch.batch_id]
        return Trial(batch, 2, Estimate(NOW, "node[1-2]"), "LIMIT: no room")

    def submit(
        self,
        caller: Caller,
        new: NewBatch,
        *,
        idempotency_key: str | None,
        body_hash: bytes,
        request_id: str,
    ) -> tuple[Batch, bool]:
        self._asked("submit")
        self.request_ids.append(request_id)
        if self.broken_submit is not None:
            raise self.broken_submit
        if self.check(caller, new):
            raise Invalid(self.check(caller, new))
        self.submitted.append(new)
        batch = self.add(caller.user_id, max(1, len(new.variable_args)), name=new.name)
        if idempotency_key is not None:
            self.keys[caller.user_id, idempotency_key] = (body_hash, batch.batch_id)
        return batch, True

    def list(
        self, caller: Caller, page: Page, user: str | None
    ) -> tuple[builtins.list[Batch], str | None]:
        self._asked("list")
        if user not in (None, caller.user_id) and not caller.is_admin:
            raise Forbidden(Scope.ADMIN)
        found = [
            batch
            for batch in sorted(self.kept.values(), key=lambda each: each.batch_id, reverse=True)
            if batch.user_id == (user or caller.user_id)
            and (page.status is None or batch.counts[page.status])
            and page.tool_id in (None, batch.tool_id)
            and page.name in (None, batch.name)
            and (page.after is None or batch.batch_id < page.after)
        ]
        if page.limit is None or len(found) <= page.limit:
            return found, None
        return found[: page.limit], found[page.limit - 1].batch_id

    def list_etag(self, caller: Caller, page: Page, user: str | None) -> str:
        found, after = self.list(caller, page, user)
        return hashlib.sha256(repr((found, after)).encode()).hexdigest()[:24]

    def brief(self, caller: Caller, batch_id: str) -> Brief:
        self._asked("brief")
        jobs = self.jobs_of[self._own(caller, batch_id).batch_id]
        statuses = "".join(str(list(Status).index(job.status)) for job in jobs).encode()
        none = array("l", [-1] * len(jobs))
        return Brief(statuses, none, none)

    def get(self, caller: Caller, batch_id: str) -> Batch:
        self._asked("get")
        return self._own(caller, batch_id)

    def etag(self, caller: Caller, batch_id: str) -> str:
        self._asked("etag")
        return self._own(caller, batch_id).etag

    def cancel(self, caller: Caller, batch_id: str, *, request_id: str) -> Batch:
        self._asked("cancel")
        self.request_ids.append(request_id)
        self.kept[batch_id] = replace(self._own(caller, batch_id), cancelled_at=NOW)
        return self.kept[batch_id]

    def retry(
        self,
        caller: Caller,
        batch_id: str,
        wanted: Retry,
        *,
        idempotency_key: str | None,
        body_hash: bytes,
        request_id: str,
    ) -> Batch:
        self._asked("retry")
        batch = self._own(caller, batch_id)
        self.request_ids.append(request_id)
        self.retried.append((wanted, idempotency_key, body_hash))
        return batch

    def delete(self, caller: Caller, batch_id: str, *, request_id: str) -> None:
        self._asked("delete")
        self.request_ids.append(request_id)
        del self.kept[self._own(caller, batch_id).batch_id]

    def delete_all(self, caller: Caller, *, request_id: str) -> int:
        self._asked("delete_all")
        self.request_ids.append(request_id)
        gone = [each.batch_id for each in self.kept.values() if each.user_id == caller.user_id]
        for batch_id in gone:
            del self.kept[batch_id]
        return len(gone)

    def jobs(
        self,
        caller: Caller,
        batch_id: str,
        *,
        statuses: frozenset[Status],
        after: str | None,
        limit: int | None,
    ) -> Iterator[Job]:
        self._asked("jobs")
        self._own(caller, batch_id)
        index = -1
        if after is not None:
            parsed = parse_job_id(after)
            if parsed is None or parsed[0] != batch_id:
                raise Malformed("after: expected the id of a job of this batch.")
            index = parsed[1]
        found = (job for job in self._rows(batch_id) if job.index > index)
        chosen = (job for job in found if not statuses or job.status in statuses)
        return iter([job for job, _ in zip(chosen, range(limit), strict=False)]
                    if limit is not None else chosen)  # fmt: skip

    def _rows(self, batch_id: str) -> Iterator[Job]:
        """Read while they are asked for, as from a database."""
        if self.broken_rows is not None:
            raise self.broken_rows
        yield from self.jobs_of[batch_id]

    def job(self, caller: Caller, batch_id: str, job_id: str) -> Job:
        self._asked("job")
        self._own(caller, batch_id)
        for job in self.jobs_of[batch_id]:
            if job.job_id == job_id:
                return job
        raise NotFound

    def notifications(self, caller: Caller, batch_id: str) -> builtins.list[Notification]:
        batch = self._own(caller, batch_id)
        return self.told.get(batch.batch_id, [])

    def forbidden(self, caller: Caller, what: str, *, request_id: str) -> None:
        self.forbade.append((caller.user_id, what, request_id))

    def overview(self, caller: Caller) -> Overview:
        self._asked("overview")
        if not caller.is_admin:
            raise Forbidden(Scope.ADMIN)
        return Overview(NOW, NOW, 0, 0, None, 0, dict.fromkeys(Status, 0), (), (), (), ())

    def log_of(
        self, caller: Caller, batch_id: str, job_id: str, attempt: int | None
    ) -> tuple[JobLog, bool]:
        job = self.job(caller, batch_id, job_id)
        if attempt not in (None, job.attempt):
            raise NotFound
        place = JobLog(self.root, (batch_id, f"{job.index}.log"), self.owner_uid)
        return place, job.status in (Status.SUCCEEDED, Status.FAILED)


@dataclass
class FakeKeyring:
    """Keys of several users."""

    kept: dict[str, ApiKey] = field(default_factory=dict)
    asked: list[NewKey] = field(default_factory=list)

    def create(self, caller: Caller, new: NewKey, *, request_id: str = "") -> tuple[ApiKey, str]:
        self.asked.append(new)
        key_id = f"key{len(self.kept)}"
        self.kept[key_id] = ApiKey(key_id, caller.user_id, b"", NOW, name=new.name)
        return self.kept[key_id], f"sbk_{key_id}_secret"

    def all(self, caller: Caller) -> list[ApiKey]:
        return [each for each in self.kept.values() if each.user_id == caller.user_id]

    def one(self, caller: Caller, key_id: str) -> ApiKey:
        found = self.kept.get(key_id)
        if found is None or found.user_id != caller.user_id:
            raise NotFound
        return found

    def revoke(self, caller: Caller, key_id: str, *, request_id: str = "") -> None:
        self.kept[key_id] = replace(self.one(caller, key_id), revoked_at=NOW)


class FakeIdentity:
    """`key <user>` in the header is that user; `key <user> read` one who may only look."""

    def authenticate(self, header: str | None) -> Caller:
        scheme, _, rest = (header or "").partition(" ")
        user, _, scopes = rest.partition(" ")
        if scheme != "key" or not user:
            raise Unauthenticated
        named = frozenset(map(Scope, scopes.split()))
        return Caller(user, f"key of {user}", named or USUAL_SCOPES)

    def known(self, header: str | None) -> Caller | None:
        try:
            return self.authenticate(header)
        except Unauthenticated:
            return None

    def by_key(self, header: str | None) -> Caller | None:
        caller = self.known(header)
        return None if caller is None or caller.is_admin else caller


@dataclass
class FakeReadiness:
    ready: bool = True

    def healthz(self) -> dict[str, Any]:
        return {"state": "alive"}

    def readyz(self) -> tuple[bool, dict[str, Any]]:
        return self.ready, {"database": "ok", "slurmctld": "ok" if self.ready else "down"}
