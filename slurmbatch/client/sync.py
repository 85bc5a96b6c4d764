"""The client for programs that wait for each answer; `asynchronous` has the same for asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


class Client:
    """One user's access to one service. To be closed, or used in a `with`.

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
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        target = connection.target(url, key, profile)
        self.url = target.url
        self._http = httpx.Client(**connection.options(target, timeout))
        self._timeout = timeout
        self.on_retry = on_retry
        self._sleep = sleep
        self._clock = clock
        self._ask = Operations(target.url, patience or Patience(), clock)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def submit(
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
    ) -> Batch:
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
        return self.submit_body(body, idempotency_key=idempotency_key)

    def submit_body(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Batch:
        """The same with the body of a POST as the HTTP API has it."""
        return Batch(self, self._run(self._ask.submit(body, idempotency_key)))

    def batches(
        self,
        *,
        status: str | None = None,
        tool_id: str | None = None,
        name: str | None = None,
        page: int = 100,
    ) -> Iterator[Batch]:
        """Your batches, newest first, fetched a page at a time while you go through them."""
        query = batches_query(status, tool_id, name, page)
        return (Batch(self, each) for each in self._pages("/batches", query))

    def batch(self, batch_id: str) -> Batch:
        return Batch(self, self._run(self._ask.one(batch_path(batch_id))))

    def delete_all(self) -> None:
        """Makes all your batches disappear for good; whatever still runs is cancelled."""
        self._run(self._ask.delete_all())

    def tools(self) -> list[Tool]:
        """What you may run."""
        return cast(list[Tool], self._run(self._ask.all("/tools")))

    def tool(self, tool_id: str) -> Tool:
        return cast(Tool, self._run(self._ask.one(f"/tools/{escaped(tool_id)}")))

    def filesystems(self) -> list[Filesystem]:
        """What jobs can ask for."""
        return cast(list[Filesystem], self._run(self._ask.all("/filesystems")))

    # --- inside ---------------------------------------------------------------------------------

    def _run(self, steps: Steps[T]) -> T:
        """Takes the steps of an operation, and gives what comes of them."""
        take: Callable[[Any], Ask | Rest] = steps.send
        outcome: Any = None
        try:
            while True:
                step = take(outcome)
                take, outcome = steps.send, None
                if isinstance(step, Rest):
                    self._pause(step)
                    continue
                try:
                    outcome = self._http.request(**connection.request(step, self._timeout))
                except httpx.TransportError as error:
                    take, outcome = steps.throw, error
        except StopIteration as end:
            return cast(T, end.value)

    def _pause(self, rest: Rest) -> None:
        if rest.because is not None and self.on_retry is not None:
            self.on_retry(rest.because, rest.seconds)
        self._sleep(rest.seconds)

    def _pages(self, path: str, query: Query) -> Iterator[dict[str, Any]]:
        left: Query | None = query
        while left is not None:
            page = self._run(self._ask.page(path, left))
            yield from page.elements
            left = page.next


class Batch(BatchFields):
    """A batch: its fields as it was last looked at, and what can be done with it."""

    def __init__(self, client: Client, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._client = client

    def refresh(self) -> Self:
        """Looks again."""
        self._fields = self._client._run(self._client._ask.one(batch_path(self.id)))
        return self

    def changes(self, timeout: float | None = None, *, interval: float = 1.0) -> Iterator[Self]:
        """The batch as it is now, and again after each change, until all jobs have ended."""
        client, tag = self._client, ""
        deadline = None if timeout is None else client._clock() + timeout
        while True:
            self._fields, tag = client._run(client._ask.change(self.id, tag, interval, deadline))
            yield self
            if self.done():
                return
            client._run(client._ask.rest(interval, deadline))

    def wait(
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
            for state in self.changes(timeout, interval=interval):
                for each in (show, on_change):
                    if each is not None:
                        each(state)
        if check and not self.succeeded():
            raise BatchFailed(self)
        return self

    def cancel(self) -> Self:
        """Ends what has not ended of it; the records stay."""
        self._fields = self._client._run(self._client._ask.cancel(self.id))
        return self

    def delete(self) -> None:
        """Makes it disappear for good; whatever still runs of it is cancelled."""
        self._client._run(self._client._ask.delete(self.id))

    def jobs(self, *, status: str | Sequence[str] = ()) -> Iterator[Job]:
        """Its jobs in index order, all or those of a status or several, fetched a page at a time
        while you go through them.
        """
        found = self._client._pages(f"{batch_path(self.id)}/jobs", jobs_query(status))
        return (Job(self._client, self.id, each) for each in found)

    def job(self, job: int | str) -> Job:
        """One of them, by its index or its id, with all its fields."""
        job_id = f"{self.id}-{job}" if isinstance(job, int) else job
        fields = self._client._run(self._client._ask.one(job_path(self.id, job_id)))
        return Job(self._client, self.id, fields)

    def as_completed(self, timeout: float | None = None, *, interval: float = 1.0) -> Iterator[Job]:
        """Each job once, as they end."""
        seen: set[str] = set()
        for state in self.changes(timeout, interval=interval):
            if state.n_ended > len(seen):
                for job in self.jobs(status=ENDED):
                    if job.id not in seen:
                        seen.add(job.id)
                        yield job

    def to_dataframe(self, *, status: str | Sequence[str] = ()) -> pandas.DataFrame:
        """Its jobs as a table of pandas, an argument a column."""
        return frame(self.jobs(status=status))


class Job(JobFields):
    """A job: its fields as it was last looked at, and what it printed."""

    def __init__(self, client: Client, batch_id: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._client = client
        self.batch_id = batch_id

    def refresh(self) -> Self:
        """Looks again; then it has all its fields, which in a list it has not."""
        path = job_path(self.batch_id, self.id)
        self._fields = self._client._run(self._client._ask.one(path))
        return self

    def log(self, *, tail: int | None = None) -> str:
        """What it printed, or the last lines of it; what is no UTF-8 in it is replaced."""
        return self.log_bytes(tail=tail).decode(errors="replace")

    def log_bytes(self, *, tail: int | None = None) -> bytes:
        """The same as it is."""
        return self._client._run(self._client._ask.log(self["log_id"], tail))

    def follow(self, *, tail: int | None = None, interval: float = 1.0) -> Iterator[bytes]:
        """What it printed, or the last lines of it, and what it prints from then on, until it has
        ended.
        """
        client, offset = self._client, 0
        if tail is not None:
            last, offset = client._run(client._ask.tail(self.batch_id, self.id, tail))
            yield last
        while True:
            part = client._run(client._ask.more_of_log(self.batch_id, self.id, offset))
            if part.content:
                offset += len(part.content)
                yield part.content
            if part.is_last:
                return
            client._run(client._ask.rest(interval, None))
