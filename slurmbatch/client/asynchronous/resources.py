"""Batches and jobs, and what can be done with them; `slurmbatch.client.asynchronous` gives them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from slurmbatch.client.errors import BatchFailed
from slurmbatch.client.frames import frame
from slurmbatch.client.operations import (
    RECONNECT,
    batch_path,
    first_byte,
    job_path,
    jobs_query,
)
from slurmbatch.client.progress import Progress
from slurmbatch.client.resources import BatchFields, JobFields
from slurmbatch.client.shapes import ENDED, Notification, Reason

if TYPE_CHECKING:
    import pandas

    from slurmbatch.client.asynchronous import AsyncClient


class AsyncBatch(BatchFields):
    """A batch: its fields as it was last looked at, and what can be done with it."""

    def __init__(self, client: AsyncClient, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._client = client

    async def refresh(self) -> Self:
        """Looks again."""
        self._fields = await self._client._run(self._client._ask.one(batch_path(self.id)))
        return self

    async def changes(
        self, timeout: float | None = None, *, interval: float = 1.0
    ) -> AsyncIterator[Self]:
        """The batch as it is now, and again after each change, until all jobs have ended."""
        client, tag = self._client, ""
        deadline = None if timeout is None else client._clock() + timeout
        while True:
            self._fields, tag = await client._run(
                client._ask.change(self.id, tag, interval, deadline)
            )
            yield self
            if self.done():
                return
            await client._run(client._ask.rest(interval, deadline))

    async def wait(
        self,
        timeout: float | None = None,
        *,
        progress: bool = False,
        check: bool = False,
        on_change: Callable[[Self], object] | None = None,
        interval: float = 1.0,
    ) -> Self:
        """Waits until all jobs have ended.

        `progress` draws a bar meanwhile. With `check` it raises BatchFailed if a job has failed.
        Raises TimeoutError after `timeout` seconds; the batch goes on all the same.
        """
        with ExitStack() as stack:
            show = stack.enter_context(Progress()).show if progress else None
            async for state in self.changes(timeout, interval=interval):
                for each in (show, on_change):
                    if each is not None:
                        each(state)
        if check and not self.succeeded():
            raise BatchFailed(self)
        return self

    async def reasons(self) -> list[Reason]:
        """Why its jobs wait or have failed, the most frequent reason first."""
        path = f"{batch_path(self.id)}/reasons"
        return cast(list[Reason], await self._client._run(self._client._ask.all(path)))

    async def notifications(self) -> list[Notification]:
        """What has become of each notification that was made of it, the newest first."""
        path = f"{batch_path(self.id)}/notifications"
        return cast(list[Notification], await self._client._run(self._client._ask.all(path)))

    async def retry(
        self,
        *,
        reason: str | Sequence[str] = (),
        indices: Sequence[int] | None = None,
        memory_factor: float | None = None,
        time_factor: float | None = None,
        exclude_failed_nodes: bool | None = None,
        exclude_nodes: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Self:
        """Runs its failed jobs again under the same ids: all, or those that failed for a `reason`
        such as "TIMEOUT", or with these indices. With a factor, so many times the memory or the
        time that they had.
        """
        reasons = [reason] if isinstance(reason, str) else reason
        body = {
            "indices": indices,
            "memory_factor": memory_factor,
            "time_factor": time_factor,
            "exclude_failed_nodes": exclude_failed_nodes,
            "exclude_nodes": exclude_nodes,
        }
        steps = self._client._ask.retry(self.id, reasons, body, idempotency_key)
        self._fields = await self._client._run(steps)
        return self

    async def cancel(self) -> Self:
        """Ends what has not ended of it; the records stay."""
        self._fields = await self._client._run(self._client._ask.cancel(self.id))
        return self

    async def delete(self) -> None:
        """Makes it disappear for good; whatever still runs of it is cancelled."""
        await self._client._run(self._client._ask.delete(self.id))

    def jobs(self, *, status: str | Sequence[str] = ()) -> AsyncIterator[AsyncJob]:
        """Its jobs in index order, all or those of a status or several, fetched a page at a time
        while you go through them.
        """
        client, batch_id = self._client, self.id
        found = client._pages(f"{batch_path(batch_id)}/jobs", jobs_query(status))
        return (AsyncJob(client, batch_id, each) async for each in found)

    async def job(self, job: int | str) -> AsyncJob:
        """One of them, by its index or its id, with all its fields."""
        job_id = f"{self.id}-{job}" if isinstance(job, int) else job
        fields = await self._client._run(self._client._ask.one(job_path(self.id, job_id)))
        return AsyncJob(self._client, self.id, fields)

    async def as_completed(
        self, timeout: float | None = None, *, interval: float = 1.0
    ) -> AsyncIterator[AsyncJob]:
        """Each job once, as they end."""
        seen: set[str] = set()
        async for state in self.changes(timeout, interval=interval):
            if state.n_ended > len(seen):
                async for job in self.jobs(status=ENDED):
                    if job.id not in seen:
                        seen.add(job.id)
                        yield job

    async def to_dataframe(self, *, status: str | Sequence[str] = ()) -> pandas.DataFrame:
        """Its jobs as a table of pandas, an argument a column."""
        return frame([job async for job in self.jobs(status=status)])


class AsyncJob(JobFields):
    """A job: its fields as it was last looked at, and what it printed."""

    def __init__(self, client: AsyncClient, batch_id: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._client = client
        self.batch_id = batch_id

    async def refresh(self) -> Self:
        """Looks again; then it has all its fields, which in a list it has not."""
        path = job_path(self.batch_id, self.id)
        self._fields = await self._client._run(self._client._ask.one(path))
        return self

    async def log(self, *, tail: int | None = None, attempt: int | None = None) -> str:
        """What it printed, or the last lines of it; what is no UTF-8 in it is replaced.

        `attempt`: in an earlier run, by its number.
        """
        return (await self.log_bytes(tail=tail, attempt=attempt)).decode(errors="replace")

    async def log_bytes(self, *, tail: int | None = None, attempt: int | None = None) -> bytes:
        """The same as it is."""
        return await self._client._run(self._client._ask.log(self["log_id"], tail, attempt))

    async def follow(self, *, tail: int | None = None) -> AsyncIterator[bytes]:
        """What it printed, or the last lines of it, and what it prints from then on, until it has
        ended.
        """
        client, offset = self._client, 0
        if tail is not None:
            last, offset = await client._run(client._ask.tail(self.batch_id, self.id, tail))
            yield last
        while True:
            response = await client._run(client._ask.growing_log(self.batch_id, self.id, offset))
            offset = first_byte(response)
            try:
                async for chunk in response.aiter_bytes():
                    offset += len(chunk)
                    yield chunk
                return
            except httpx.TransportError:
                # It broke off: taken up again where that was, after a rest.
                await client._run(client._ask.rest(RECONNECT, None))
            finally:
                await response.aclose()
