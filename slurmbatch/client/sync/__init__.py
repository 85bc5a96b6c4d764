"""The client for programs that wait for each answer; `asynchronous` has the same for asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx

from slurmbatch.client import connection
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
from slurmbatch.client.sync.resources import Batch, Job

__all__ = ["Batch", "Client", "Job"]

T = TypeVar("T")


class Client:
    """One user's access to one service. To be closed, or used in a `with`.

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
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        target = connection.target(url, key, profile)
        self.url = target.url
        self._http = httpx.Client(**connection.options(target, timeout))
        self._timeout = timeout
        self.on_retry = on_retry
        self.on_answer: Callable[[], object] | None = None
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
        canary: int | None = None,
        depends_on: Iterable[Dependency] | None = None,
        max_parallel: int | None = None,
        retry: Mapping[str, Any] | None = None,
        notify: str | Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
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
        return self.submit_body(body, idempotency_key=idempotency_key)

    def submit_body(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Batch:
        """The same with the body of a POST as the HTTP API has it."""
        return Batch(self, self._run(self._ask.submit(body, idempotency_key)))

    def dry_run(
        self, tool_id: str, args: Mapping[str, ArgValue] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Has all checked that `submit` would be given, and Slurm asked; makes no batch.

        Gives what the batch would be like, and when Slurm would start it.
        """
        return self.dry_run_body(new_batch(tool_id, args, **options))

    def dry_run_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The same with the body of a POST as the HTTP API has it."""
        return self._run(self._ask.dry_run(body))

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

    def keys(self) -> list[Key]:
        """Your API keys, the newest first, never their secrets."""
        return cast(list[Key], self._run(self._ask.all("/keys")))

    def create_key(
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
        return cast(NewKey, self._run(steps))

    def revoke_key(self, key_id: str) -> None:
        """Makes a key useless, and whatever was made with it."""
        self._run(self._ask.revoke_key(key_id))

    def dashboard(self) -> str:
        """The address of the service's pages for people; raises ClientError if it has none."""
        return self._run(self._ask.dashboard())

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
                    outcome = self._answer(step)
                except httpx.TransportError as error:
                    take, outcome = steps.throw, error
        except StopIteration as end:
            return cast(T, end.value)

    def _answer(self, ask: Ask) -> httpx.Response:
        request = self._http.build_request(**connection.request(ask, self._timeout))
        response = self._http.send(request, stream=ask.is_stream)
        if self.on_answer is not None:
            self.on_answer()
        if ask.is_stream and not response.is_success:
            response.read()
        return response

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
