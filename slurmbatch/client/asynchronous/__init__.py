"""The client for asyncio; `sync` has the same without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx

from slurmbatch.client import connection
from slurmbatch.client.asynchronous.resources import AsyncBatch, AsyncJob
from slurmbatch.client.errors import ClientError
from slurmbatch.client.operations import (
    Dependency,
    Operations,
    Query,
    batch_path,
    batches_query,
    escaped,
    new_batch,
    new_key,
)
from slurmbatch.client.shapes import ArgValue, Filesystem, Key, NewKey, Tool
from slurmbatch.client.steps import Ask, Patience, Rest, Steps
from slurmbatch.client.sweep import Sweep

__all__ = ["AsyncBatch", "AsyncClient", "AsyncJob"]

T = TypeVar("T")


class AsyncClient:
    """One user's access to one service. To be closed, or used in an `async with`.

    Without a URL and a key it is what `SLURMBATCH_URL` and `SLURMBATCH_API_KEY` say, or what
    `slurmbatch login` has stored. `on_retry` is told of each try that failed and is made again, and
    of the seconds until then; `on_answer` is called with each answer, whatever it says.
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
        self.on_answer: Callable[[], object] | None = None
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
        canary: int | None = None,
        depends_on: Iterable[Dependency] | None = None,
        max_parallel: int | None = None,
        retry: Mapping[str, Any] | None = None,
        notify: str | Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncBatch:
        """Makes a batch of jobs that all have `args`, and of `sweep` each its own.

        A mapping of parameters to their values is a sweep of all combinations; anything else is
        taken row by row, a job for each. `memory` is MiB, or such as "4G"; `time_limit` is minutes,
        or such as "1h30m". The first `canary` jobs go first, the others when those have succeeded.
        `depends_on` are batches that have to succeed before, `max_parallel` bounds how many jobs
        run at once, `retry` is a policy for what fails, `notify` an address to tell of the end.

        Under an `idempotency_key` of yours the same call gives the same batch, also from another
        process and after a crash; without one, each call makes a batch, and makes only one.
        """
        body = new_batch(
            tool_id, args, sweep=sweep, name=name, cpu=cpu, memory=memory, filesystems=filesystems,
            time_limit=time_limit, partition=partition, account=account, qos=qos, gpus=gpus,
            canary=canary, depends_on=depends_on, max_parallel=max_parallel, retry=retry,
            notify=notify,
        )  # fmt: skip
        return await self.submit_body(body, idempotency_key=idempotency_key)

    async def submit_body(
        self, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> AsyncBatch:
        """The same with the body of a POST as the HTTP API has it."""
        return AsyncBatch(self, await self._run(self._ask.submit(body, idempotency_key)))

    async def dry_run(
        self, tool_id: str, args: Mapping[str, ArgValue] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Has all checked that `submit` would be given, and Slurm asked; makes no batch.

        Gives what the batch would be like, and when Slurm would start it.
        """
        return await self.dry_run_body(new_batch(tool_id, args, **options))

    async def dry_run_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The same with the body of a POST as the HTTP API has it."""
        return await self._run(self._ask.dry_run(body))

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

    async def keys(self) -> list[Key]:
        """Your API keys, the newest first, never their secrets."""
        return cast(list[Key], await self._run(self._ask.all("/keys")))

    async def create_key(
        self,
        name: str = "",
        *,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Makes a key, which is shown this once: good for no more, and for no longer, than the one
        that is used for it, and revoked with that.
        """
        steps = self._ask.create_key(new_key(name, scopes, expires_at))
        return cast(NewKey, await self._run(steps))

    async def revoke_key(self, key_id: str) -> None:
        """Makes a key useless, and whatever was made with it."""
        await self._run(self._ask.revoke_key(key_id))

    async def dashboard(self) -> str:
        """The address of the service's pages for people; raises ClientError if it has none."""
        return await self._run(self._ask.dashboard())

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
                    outcome = await self._answer(step)
                except httpx.TransportError as error:
                    take, outcome = steps.throw, error
        except StopIteration as end:
            return cast(T, end.value)

    async def _answer(self, ask: Ask) -> httpx.Response:
        request = self._http.build_request(**connection.request(ask, self._timeout))
        response = await self._http.send(request, stream=ask.is_stream)
        if self.on_answer is not None:
            self.on_answer()
        if ask.is_stream and not response.is_success:
            await response.aread()
        return response

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
