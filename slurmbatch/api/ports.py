"""What the HTTP side needs from the rest: the composition root hands it over."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator
from typing import Any, Protocol

from slurmbatch.errors import Fault
from slurmbatch.logs import JobLog
from slurmbatch.model import (
    ApiKey,
    Batch,
    Brief,
    Caller,
    Filesystem,
    Job,
    NewBatch,
    NewKey,
    Notification,
    Overview,
    Page,
    Retry,
    Status,
    Tool,
    Trial,
)


class Batches(Protocol):
    """What a caller may ask for; raises the errors of `slurmbatch.errors`."""

    def tools(self, caller: Caller) -> list[Tool]: ...
    def tool(self, caller: Caller, tool_id: str) -> Tool: ...
    def filesystems(self, caller: Caller) -> builtins.list[Filesystem]: ...
    def max_jobs(self, caller: Caller, idempotency_key: str | None) -> int | None: ...
    def check(
        self, caller: Caller, new: NewBatch, known: Collection[str] = ()
    ) -> builtins.list[Fault]: ...
    def try_out(self, caller: Caller, new: NewBatch) -> Trial: ...
    def submit(
        self,
        caller: Caller,
        new: NewBatch,
        *,
        idempotency_key: str | None,
        body_hash: bytes,
        request_id: str,
    ) -> tuple[Batch, bool]: ...
    def list(
        self, caller: Caller, page: Page, user: str | None
    ) -> tuple[builtins.list[Batch], str | None]: ...
    def list_etag(self, caller: Caller, page: Page, user: str | None) -> str: ...
    def get(self, caller: Caller, batch_id: str) -> Batch: ...
    def etag(self, caller: Caller, batch_id: str) -> str: ...
    def earlier(self, caller: Caller, idempotency_key: str, body_hash: bytes) -> Batch | None: ...
    def cancel(self, caller: Caller, batch_id: str, *, request_id: str) -> Batch: ...
    def retry(
        self,
        caller: Caller,
        batch_id: str,
        wanted: Retry,
        *,
        idempotency_key: str | None,
        body_hash: bytes,
        request_id: str,
    ) -> Batch: ...
    def delete(self, caller: Caller, batch_id: str, *, request_id: str) -> None: ...
    def delete_all(self, caller: Caller, *, request_id: str) -> int: ...
    def jobs(
        self,
        caller: Caller,
        batch_id: str,
        *,
        statuses: frozenset[Status],
        after: str | None,
        limit: int | None,
    ) -> Iterator[Job]: ...
    def brief(self, caller: Caller, batch_id: str) -> Brief: ...
    def job(self, caller: Caller, batch_id: str, job_id: str) -> Job: ...
    def notifications(self, caller: Caller, batch_id: str) -> builtins.list[Notification]: ...
    def forbidden(self, caller: Caller, what: str, *, request_id: str) -> None: ...
    def overview(self, caller: Caller) -> Overview: ...
    def log_of(
        self, caller: Caller, batch_id: str, job_id: str, attempt: int | None
    ) -> tuple[JobLog, bool]: ...


class Identity(Protocol):
    """Tells who a caller is. `authenticate` raises Unauthenticated, and logs why; `known` gives
    None, and says nothing. So does `by_key`, and for all but API keys that are no
    administrator's: it waits for nothing and nobody."""

    def authenticate(self, header: str | None) -> Caller: ...
    def known(self, header: str | None) -> Caller | None: ...
    def by_key(self, header: str | None) -> Caller | None: ...


class Keyring(Protocol):
    """A caller's own API keys; raises the errors of `slurmbatch.errors`."""

    def create(self, caller: Caller, new: NewKey, *, request_id: str) -> tuple[ApiKey, str]: ...
    def all(self, caller: Caller) -> list[ApiKey]: ...
    def one(self, caller: Caller, key_id: str) -> ApiKey: ...
    def revoke(self, caller: Caller, key_id: str, *, request_id: str) -> None: ...


class Readiness(Protocol):
    """How the service is: alive, and able to work."""

    def healthz(self) -> dict[str, Any]: ...
    def readyz(self) -> tuple[bool, dict[str, Any]]: ...
