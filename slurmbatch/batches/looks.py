"""What a caller sees: of the store alone, and marked where it may be out of date."""

from __future__ import annotations

import builtins
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from slurmbatch.batches.others import Others
from slurmbatch.batches.overview import overview
from slurmbatch.batches.rules import Rules
from slurmbatch.errors import Malformed, NotFound
from slurmbatch.health import Health
from slurmbatch.logs import JobLog
from slurmbatch.model import (
    ALL_BATCHES,
    Batch,
    Brief,
    Caller,
    Job,
    Notification,
    Overview,
    Page,
    Status,
    etag,
    parse_job_id,
)
from slurmbatch.places import log_parts
from slurmbatch.store import Store, is_id

# While one of these is down, what is shown may be out of date.
_SOURCES_OF_STATUS = ("slurmctld", "slurmdbd", "poller")


class Looks:
    """Raises the errors of `slurmbatch.errors`; whatever belongs to others is NotFound."""

    def __init__(
        self, store: Store, rules: Rules, health: Health, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._rules, self._health = store, rules, health
        self._clock = clock
        self._began = clock()
        self._others = Others(store, clock)

    def list(
        self, caller: Caller, page: Page = ALL_BATCHES, user: str | None = None
    ) -> tuple[list[Batch], str | None]:
        """The page, and the batch id after which the next one begins, if there is one.

        `user`: those of somebody else, for administrators. Raises Malformed, Forbidden.
        """
        found = self._store.batches.list(*self._seen(caller, page, user))
        marked = [self._marked(batch) for batch in found]
        if page.limit is None or len(marked) <= page.limit:
            return marked, None
        return marked[: page.limit], marked[page.limit - 1].batch_id

    def list_etag(self, caller: Caller, page: Page = ALL_BATCHES, user: str | None = None) -> str:
        """Changes with whatever `list` gives, without reading more than that."""
        found = self._store.batches.versions(*self._seen(caller, page, user))
        stale = self._stale_since()
        told = (f"{one}:{etag(version, None if end else stale)}" for one, version, end in found)
        return hashlib.sha256(" ".join(told).encode()).hexdigest()[:24]

    def _seen(self, caller: Caller, page: Page, user: str | None) -> tuple[str, Page]:
        """Whose batches, and one more than are wanted: it tells whether there is a next page."""
        if page.after is not None and not is_id(page.after):
            raise Malformed("after: expected the id of a batch.")
        more = page if page.limit is None else replace(page, limit=page.limit + 1)
        return self._others.listed(caller, user), more

    def get(self, caller: Caller, batch_id: str) -> Batch:
        return self._of(self._others.seen(caller, batch_id), batch_id)

    def _of(self, user_id: str, batch_id: str) -> Batch:
        batch = self._store.batches.get(user_id, batch_id)
        if batch is None:
            raise NotFound
        return self._marked(batch)

    def _marked(self, batch: Batch) -> Batch:
        since = None if batch.finished_at else self._stale_since()
        return batch if since is None else replace(batch, stale_since=since)

    def _stale_since(self) -> float | None:
        downs = [self._health.source(name).down_since for name in _SOURCES_OF_STATUS]
        polled = self._health.source("poller").ok_at
        if polled is None:
            downs.append(self._began)
        elif self._clock() - polled > self._rules.poll_late:
            downs.append(polled)
        return min((since for since in downs if since is not None), default=None)

    def notifications(self, caller: Caller, batch_id: str) -> builtins.list[Notification]:
        """Those that were made of it so far, newest first."""
        owner = self.get(caller, batch_id).user_id
        return self._store.outbox.of_batch(owner, batch_id)

    def etag(self, caller: Caller, batch_id: str) -> str:
        """What `get` would give as the batch's etag, without reading more than that."""
        found = self._store.batches.version(self._others.seen(caller, batch_id), batch_id)
        if found is None:
            raise NotFound
        version, finished = found
        return etag(version, None if finished else self._stale_since())

    def jobs(
        self,
        caller: Caller,
        batch_id: str,
        *,
        statuses: frozenset[Status] = frozenset(),
        after: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        batch, index = self.get(caller, batch_id), -1
        if after is not None:
            parsed = parse_job_id(after)
            if parsed is None or parsed[0] != batch_id:
                raise Malformed("after: expected the id of a job of this batch.")
            index = parsed[1]
        return self._store.batches.jobs(batch, statuses=statuses, after=index, limit=limit)

    def brief(self, caller: Caller, batch_id: str) -> Brief:
        """All its jobs in brief; of no job where the batch has just been deleted."""
        owner = self._others.seen(caller, batch_id)
        return self._store.batches.brief(owner, batch_id)

    def job(self, caller: Caller, batch_id: str, job_id: str) -> Job:
        parsed = parse_job_id(job_id)
        if parsed is None or parsed[0] != batch_id:
            raise NotFound
        owner = self._others.seen(caller, batch_id)
        job = self._store.batches.job(owner, batch_id, parsed[1])
        if job is None:
            raise NotFound
        return replace(job, as_of=self._clock())

    def log_of(
        self, caller: Caller, batch_id: str, job_id: str, attempt: int | None = None
    ) -> tuple[JobLog, bool]:
        """Where the log of the job's last run, or of this one, is, and whether that has ended."""
        parsed = parse_job_id(job_id)
        if parsed is None or parsed[0] != batch_id:
            raise NotFound
        owner = self._others.seen(caller, batch_id)
        place = self._store.batches.place(owner, *parsed, attempt)
        if place is None:
            raise NotFound
        parts = log_parts(batch_id, place.ordinal, place.generation, place.task)
        owner_uid = os.getuid() if place.uid is None else place.uid
        return JobLog(self._rules.log_dir, parts, owner_uid), place.has_ended

    def overview(self, caller: Caller) -> Overview:
        """The whole service, for administrators. Raises Forbidden."""
        self._others.overlooks(caller)
        return overview(self._store, self._health, self._clock())
