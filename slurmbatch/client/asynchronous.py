"""The client for asyncio; `sync` has the same without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import httpx

from slurmbatch.client import connection
from slurmbatch.client.errors import BatchFailed, ClientError
from slurmbatch.client.frames import frame
from slurmbatch.client.operations import (
    Operations,
    Query,
    batch_path,
    batches_query,
    escaped,
    job_path,
    jobs_query,
    new_batch,
)
from slurmbatch.client.progress import Progress
from slurmbatch.client.resources import BatchFields, JobFields
from slurmbatch.client.shapes import ENDED, ArgValue, Filesystem, Tool
from slurmbatch.client.steps import Ask, Patience, Rest, Steps
from slurmbatch.client.sweep import Sweep

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")


class AsyncClient:
    """One user's access to one service. To be closed, or used in an `async with`.

    Without a URL and a key it is what `SLURMBATCH_URL` and `SLURMBATCH_API_KEY` say, or what
    `slurmbatch login` has stored. `on_retry` is told of each try that failed and is made again, and
    of the seconds until then.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        profile: str | None = None,
        timeout: float = 30.0,
        patience: Patience | None = None,
        on_retry: Callable[[ClientError, float], object] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        target = connection.target(url, key, profile)
        self.url = target.url
        self._http = httpx.AsyncClient(**connection.options(target, timeout))
        self._timeout = timeout
        self.on_retry = on_retry
        self._sleep = sleep
        self._clock = clock
        self._ask = Operations(target.url, patience or Patience(), clock)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def submit(
        self,
        tool_id: str,
        args: Mapping[str, ArgValue] | None = None,
        *,
        sweep: Sweep | None = None,
        name: str = "",
        cpu: int | None = None,
        memory: int | str | None = None,
        filesystems: Sequence[str] | None = None,
        time_limit: int | str | timedelta | None = None,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        gpus: int | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncBatch:
        """Makes a batch of jobs that all have `args`, and of `sweep` each its own.

        A mapping of parameters to their values is a sweep of all combinations; anything else is
        taken row by row, a job for each. `memory` is MiB, or such as "4G"; `time_limit` is minutes,
        or such as "1h30m".

        Under an `idempotency_key` of yours the same call gives the same batch, also from another
        process and after a crash; without one, each call makes a batch, and makes only one.
        """
        body = new_batch(
            tool_id, args, sweep=sweep, name=name, cpu=cpu, memory=memory, filesystems=filesystems,
            time_limit=time_limit, partition=partition, account=account, qos=qos, gpus=gpus,
        )  # fmt: skip
        return await self.submit_body(body, idempotency_key=idempotency_key)

    async def submit_body(
        self, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> AsyncBatch:
        """The same with the body of a POST as the HTTP API has it."""
        return AsyncBatch(self, await self._run(self._ask.submit(body, idempotency_key)))

    def batches(
        self,
        *,
        status: str | None = None,
        tool_id: str | None = None,
        name: str | None = None,
        page: int = 100,
    ) -> AsyncIterator[AsyncBatch]:
        """Your batches, newest first, fetched a page at a time while you go through them."""
        query = batches_query(status, tool_id, name, page)
        return (AsyncBatch(self, each) async for each in self._pages("/batches", query))

    async def batch(self, batch_id: str) -> AsyncBatch:
        return AsyncBatch(self, await self._run(self._ask.one(batch_path(batch_id))))

    async def delete_all(self) -> None:
        """Makes all your batches disappear for good; whatever still runs is cancelled."""
        await self._run(self._ask.delete_all())

    async def tools(self) -> list[Tool]:
        """What you may run."""
        return cast(list[Tool], await self._run(self._ask.all("/tools")))

    async def tool(self, tool_id: str) -> Tool:
        return cast(Tool, await self._run(self._ask.one(f"/tools/{escaped(tool_id)}")))

    async def filesystems(self) -> list[Filesystem]:
        """What jobs can ask for."""
        return cast(list[Filesystem], await self._run(self._ask.all("/filesystems")))

    # --- inside ---------------------------------------------------------------------------------

    async def _run(self, steps: Steps[T]) -> T:
        """Takes the steps of an operation, and gives what comes of them."""
        take: Callable[[Any], Ask | Rest] = steps.send
        outcome: Any = None
        try:
            while True:
                step = take(outcome)
                take, outcome = steps.send, None
                if isinstance(step, Rest):
                    await self._pause(step)
                    continue
                try:
                    outcome = await self._http.request(**connection.request(step, self._timeout))
                except httpx.TransportError as error:
                    take, outcome = steps.throw, error
        except StopIteration as end:
            return cast(T, end.value)

    async def _pause(self, rest: Rest) -> None:
        if rest.because is not None and self.on_retry is not None:
            self.on_retry(rest.because, rest.seconds)
        await self._sleep(rest.seconds)

    async def _pages(self, path: str, query: Query) -> AsyncIterator[dict[str, Any]]:
        left: Query | None = query
        while left is not None:
            page = await self._run(self._ask.page(path, left))
            for each in page.elements:
                yield each
            left = page.next


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
        found = self._client._pages(f"{batch_path(self.id)}/jobs", jobs_query(status))
        return (AsyncJob(self._client, self.id, each) async for each in found)

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

    async def log(self, *, tail: int | None = None) -> str:
        """What it printed, or the last lines of it; what is no UTF-8 in it is replaced."""
        return (await self.log_bytes(tail=tail)).decode(errors="replace")

    async def log_bytes(self, *, tail: int | None = None) -> bytes:
        """The same as it is."""
        return await self._client._run(self._client._ask.log(self["log_id"], tail))

    async def follow(
        self, *, tail: int | None = None, interval: float = 1.0
    ) -> AsyncIterator[bytes]:
        """What it printed, or the last lines of it, and what it prints from then on, until it has
        ended.
        """
        client, offset = self._client, 0
        if tail is not None:
            last, offset = await client._run(client._ask.tail(self.batch_id, self.id, tail))
            yield last
        while True:
            part = await client._run(client._ask.more_of_log(self.batch_id, self.id, offset))
            if part.content:
                offset += len(part.content)
                yield part.content
            if part.is_last:
                return
            await client._run(client._ask.rest(interval, None))
