"""The Python client: HTTP only, and nothing of the server.

    with Client("https://slurmbatch.example.org", key) as client:
        batch = client.submit("montecarlo-pi", variable_args=[{"seed": 1}, {"seed": 2}])
        batch = client.wait(batch["batch_id"])

What the service gives is given as it is, as dictionaries. Where the service cannot be reached, or
says 429 or 503, a request is tried again for a while, if trying again is safe. Whatever goes wrong
is a ClientError: an ApiError, which is an answer, or NoAnswer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

from slurmbatch.client.errors import ApiError, ClientError, NoAnswer
from slurmbatch.client.shapes import (
    ArgValue,
    Batch,
    Hardware,
    Job,
    ListedBatch,
    ListedJob,
    Mistake,
    Tool,
)
from slurmbatch.client.transport import Patience, Transport, element, value

__all__ = [
    "ApiError",
    "Batch",
    "Client",
    "ClientError",
    "Hardware",
    "Job",
    "ListedBatch",
    "ListedJob",
    "Mistake",
    "NoAnswer",
    "Patience",
    "Tool",
]

ENDED = ("SUCCEEDED", "FAILED")
_PAGE = 1000


class Client:
    """One user's access to one service. To be closed, or used in a `with`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 30.0,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = Transport(url, key, timeout, patience or Patience(), sleep)
        self._send = self._transport.send
        self._sleep = sleep
        self._clock = clock

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- batches --------------------------------------------------------------------------------

    def submit(
        self,
        tool_id: str,
        *,
        name: str = "",
        fixed_args: Mapping[str, ArgValue] | None = None,
        variable_args: Iterable[Mapping[str, ArgValue]] = (),
        cpu: int | None = None,
        memory: int | None = None,
        filesystems: Sequence[str] | None = None,
        slurm: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Makes a batch, with a job for each element of `variable_args`, or one if there is none.

        Under an `idempotency_key` of yours the same call gives the same batch, also from another
        process and after a crash; without one, each call makes a batch, and makes only one.
        """
        hardware = {"cpu": cpu, "memory": memory, "filesystems": filesystems}
        body: dict[str, Any] = {
            "tool_id": tool_id,
            "name": name,
            "fixed_args": dict(fixed_args or {}),
            "variable_args": [dict(each) for each in variable_args],
            "hardware": {part: value for part, value in hardware.items() if value is not None},
            "slurm": dict(slurm or {}),
        }
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return cast(Batch, element(self._send("POST", "/batches", json=body, headers=headers)))

    def batches(
        self, *, status: str | None = None, tool_id: str | None = None, name: str | None = None
    ) -> Iterator[ListedBatch]:
        """Your batches, newest first, fetched a page at a time while you go through them."""
        wanted = [("status", status), ("tool_id", tool_id), ("name", name)]
        for each in self._pages("/batches", [(k, v) for k, v in wanted if v is not None]):
            yield cast(ListedBatch, each)

    def batch(self, batch_id: str) -> Batch:
        return cast(Batch, element(self._send("GET", f"/batches/{_id(batch_id)}")))

    def cancel(self, batch_id: str) -> Batch:
        """Ends what has not ended of it; the records stay."""
        return cast(Batch, element(self._send("POST", f"/batches/{_id(batch_id)}/cancel")))

    def delete(self, batch_id: str) -> None:
        """Makes the batch disappear for good; whatever still runs of it is cancelled."""
        try:
            self._send("DELETE", f"/batches/{_id(batch_id)}")
        except ApiError as error:
            # It is gone since the try whose answer was lost.
            if not (error.in_doubt and error.status == httpx.codes.NOT_FOUND):
                raise

    def delete_all(self) -> None:
        """Does so with all your batches."""
        # A second time it could take a batch along that was made after the first.
        self._send("DELETE", "/batches", repeatable=False)

    def wait(
        self,
        batch_id: str,
        timeout: float | None = None,
        on_change: Callable[[Batch], object] | None = None,
        *,
        interval: float = 1.0,
    ) -> Batch:
        """Waits until all jobs have ended; looks every `interval` seconds.

        `on_change` is called with the batch as it is at first, and with each change. Raises
        TimeoutError after `timeout` seconds; the batch goes on all the same.
        """
        deadline = None if timeout is None else self._clock() + timeout
        path, tag = f"/batches/{_id(batch_id)}", ""
        while True:
            known = {"If-None-Match": tag} if tag else {}
            response = self._send("GET", path, headers=known)
            if response.status_code != httpx.codes.NOT_MODIFIED:
                batch, tag = cast(Batch, element(response)), response.headers.get("ETag", "")
                if on_change is not None:
                    on_change(batch)
                if sum(batch["submitted_jobs"][status] for status in ENDED) == batch["n_jobs"]:
                    return batch
            if deadline is not None and self._clock() + interval > deadline:
                raise TimeoutError(f"batch {batch_id} has not ended within {timeout:g} s")
            self._sleep(interval)

    # --- jobs, logs and tools -------------------------------------------------------------------

    def jobs(self, batch_id: str, *, status: str | Sequence[str] = ()) -> Iterator[ListedJob]:
        """The jobs of a batch in index order, all or those of a status or several; paged."""
        statuses = [status] if isinstance(status, str) else status
        pages = self._pages(f"/batches/{_id(batch_id)}/jobs", [("status", s) for s in statuses])
        for each in pages:
            yield cast(ListedJob, each)

    def job(self, batch_id: str, job_id: str) -> Job:
        return cast(Job, element(self._send("GET", f"/batches/{_id(batch_id)}/jobs/{_id(job_id)}")))

    def log(self, job: ListedJob | str, *, tail: int | None = None) -> str:
        """What a job printed, or the last lines of it; what is no UTF-8 in it is replaced."""
        return self.log_bytes(job, tail=tail).decode(errors="replace")

    def log_bytes(self, job: ListedJob | str, *, tail: int | None = None) -> bytes:
        """The same as it is. `job` is a job, or a `log_id`."""
        log_id = job if isinstance(job, str) else job["log_id"]
        params = [] if tail is None else [("tail", str(tail))]
        headers = {"Accept": "text/plain, application/problem+json"}
        return self._send("GET", f"/logs/{_id(log_id)}", params=params, headers=headers).content

    def tools(self) -> list[Tool]:
        """What you may run."""
        return cast(list[Tool], value(self._send("GET", "/tools")))

    # --- inside ---------------------------------------------------------------------------------

    def _pages(self, path: str, params: Sequence[tuple[str, str]]) -> Iterator[Any]:
        query = [*params, ("limit", str(_PAGE))]
        while query:
            response = self._send("GET", path, params=query)
            yield from value(response)
            # Only its query: the key never goes to where a Link points, and a proxy may have
            # given the service another path.
            link = response.links.get("next", {}).get("url", "")
            query = parse_qsl(urlsplit(link).query)


def _id(text: str) -> str:
    return quote(text, safe="")
