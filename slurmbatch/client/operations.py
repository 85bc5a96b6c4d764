"""What can be asked of the service, each as steps (see `steps`); what it gives, as it is."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

from slurmbatch.client.errors import ApiError, ClientError
from slurmbatch.client.quantities import mebibytes, minutes
from slurmbatch.client.resources import BatchFields
from slurmbatch.client.shapes import ArgValue
from slurmbatch.client.steps import WAIT, Ask, Rest, Sender, Steps, element, value
from slurmbatch.client.sweep import Sweep, plain, rows

PAGE = 1000
# Seconds; less than the minute for which most proxies wait.
HELD = 30
RECONNECT = 1.0
_TAIL = 64 * 1024
_PLAIN = {"Accept": "text/plain, application/problem+json"}

Query = list[tuple[str, str]]
Dependency = str | BatchFields | Mapping[str, str]
"""A batch or its id, or a mapping with its `batch_id` and the `type` of the dependency."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some elements of a list, and what to ask for the next ones; None: there are no more."""

    elements: list[dict[str, Any]]
    next: Query | None


def new_batch(
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
) -> dict[str, Any]:
    """The body of a POST."""
    further = {
        "canary": canary,
        "max_parallel": max_parallel,
        "retry": None if retry is None else dict(retry),
        "notify": {"url": notify} if isinstance(notify, str) else notify,
        "depends_on": None if depends_on is None else [_parent(each) for each in depends_on],
    }
    hardware = {
        "cpu": cpu,
        "memory": None if memory is None else mebibytes(memory),
        "filesystems": None if filesystems is None else list(filesystems),
    }
    slurm = {
        "time_limit": None if time_limit is None else minutes(time_limit),
        "partition": partition,
        "account": account,
        "qos": qos,
        "gpus": gpus,
    }
    return {
        "tool_id": tool_id,
        "name": name,
        "fixed_args": plain(args or {}),
        "variable_args": rows(sweep),
        "hardware": given(hardware),
        "slurm": given(slurm),
        **given(further),
    }


class Operations(Sender):
    """The API, from the other side."""

    def submit(self, body: Mapping[str, Any], idempotency_key: str | None) -> Steps[dict[str, Any]]:
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return element((yield from self.send(Ask("POST", "/batches", json=body, headers=headers))))

    def dry_run(self, body: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        ask = Ask("POST", "/batches", params=[("dry_run", "1")], json=body)
        return element((yield from self.send(ask)))

    def one(self, path: str) -> Steps[dict[str, Any]]:
        return element((yield from self.send(Ask("GET", path))))

    def all(self, path: str) -> Steps[Any]:
        return value((yield from self.send(Ask("GET", path))))

    def dashboard(self) -> Steps[str]:
        try:
            yield from self.send(Ask("GET", "/ui/", headers={"Accept": "text/html"}))
        except ApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            raise ClientError(f"The service at {self.base_url} has no dashboard.") from error
        return f"{self.base_url.rstrip('/')}/ui/"

    def cancel(self, batch_id: str) -> Steps[dict[str, Any]]:
        return element((yield from self.send(Ask("POST", f"{batch_path(batch_id)}/cancel"))))

    def delete(self, batch_id: str) -> Steps[None]:
        try:
            yield from self.send(Ask("DELETE", batch_path(batch_id)))
        except ApiError as error:
            # It is gone since the try whose answer was lost.
            if not (error.in_doubt and error.status == httpx.codes.NOT_FOUND):
                raise

    def delete_all(self) -> Steps[None]:
        # A second time it could take a batch along that was made after the first.
        yield from self.send(Ask("DELETE", "/batches"), repeatable=False)

    def create_key(self, body: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        # Of one whose answer got lost nobody would know the secret: no second is made by itself.
        ask = Ask("POST", "/keys", json=body)
        return element((yield from self.send(ask, repeatable=False)))

    def revoke_key(self, key_id: str) -> Steps[None]:
        yield from self.send(Ask("DELETE", f"/keys/{escaped(key_id)}"))

    def page(self, path: str, query: Query) -> Steps[Page]:
        response = yield from self.send(Ask("GET", path, params=query))
        # Only its query: the key never goes to where a Link points, and a proxy may have
        # given the service another path.
        link = response.links.get("next", {}).get("url", "")
        return Page(value(response), parse_qsl(urlsplit(link).query) or None)

    def change(
        self, batch_id: str, tag: str, interval: float, deadline: float | None
    ) -> Steps[tuple[dict[str, Any], str]]:
        """The batch as soon as it is not what the tag says, and the tag of what it is now.

        Raises TimeoutError if that would be after the deadline.
        """
        headers = {"If-None-Match": tag} if tag else {}
        while True:
            asked_at, held = self.clock(), self._held(deadline)
            params = [(WAIT, str(held))] if tag and held else []
            ask = Ask("GET", batch_path(batch_id), params, headers=headers, extra_time=held)
            response = yield from self.send(ask, waiting=True)
            if response.status_code != httpx.codes.NOT_MODIFIED:
                return element(response), response.headers.get("ETag", "")
            # A service that has too many waiting, or goes down, does not hold the answer back.
            if self.clock() - asked_at < interval:
                yield from self.rest(interval, deadline)

    def _held(self, deadline: float | None) -> int:
        left = HELD if deadline is None else max(0.0, deadline - self.clock())
        return min(HELD, int(left))

    def rest(self, interval: float, deadline: float | None) -> Steps[None]:
        if deadline is not None and self.clock() + interval > deadline:
            raise TimeoutError("the batch has not ended in time; it goes on all the same")
        yield Rest(interval)

    def retry(
        self,
        batch_id: str,
        reasons: Iterable[str],
        body: Mapping[str, Any],
        idempotency_key: str | None,
    ) -> Steps[dict[str, Any]]:
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        params = [("reason", each) for each in reasons]
        ask = Ask("POST", f"{batch_path(batch_id)}/retry", params, given(body), headers)
        return element((yield from self.send(ask)))

    def log(self, log_id: str, tail: int | None, attempt: int | None) -> Steps[bytes]:
        wanted = given({"tail": tail, "attempt": attempt})
        params = [(name, str(number)) for name, number in wanted.items()]
        ask = Ask("GET", f"/logs/{escaped(log_id)}", params=params, headers=_PLAIN)
        return (yield from self.send(ask)).content

    def tail(self, batch_id: str, job_id: str, lines: int) -> Steps[tuple[bytes, int]]:
        """The last lines of its log, and where in the log they end, so that one can go on there."""
        size = _TAIL
        while True:
            headers = {**_PLAIN, "Range": f"bytes=-{size}"}
            ask = Ask("GET", f"{job_path(batch_id, job_id)}/log", headers=headers)
            response = yield from self.send(ask, waiting=True)
            content, start = response.content, first_byte(response)
            kept = b"".join(content.splitlines(keepends=True)[-lines:])
            if len(kept) < len(content) or start == 0:
                return kept, start + len(content)
            size *= 4

    def growing_log(self, batch_id: str, job_id: str, offset: int) -> Steps[httpx.Response]:
        """What the job has printed since then, and what it prints until it ends; to be read while
        it comes.
        """
        headers = {**_PLAIN, "Range": f"bytes={offset}-"} if offset else _PLAIN
        ask = Ask(
            "GET", f"{job_path(batch_id, job_id)}/log", [("follow", "1")], headers=headers,
            extra_time=HELD, is_stream=True,
        )  # fmt: skip
        try:
            return (yield from self.send(ask, waiting=True))
        except ApiError as error:
            if not offset or error.status != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
        # It is shorter by now: the job runs anew, and so does its log.
        return (yield from self.growing_log(batch_id, job_id, 0))


def new_key(name: str, scopes: Sequence[str] | None, expires_at: datetime | None) -> dict[str, Any]:
    """The body of a POST to /keys."""
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at: expected a time with its zone, such as datetime.now(UTC)")
    until = None if expires_at is None else expires_at.isoformat(timespec="seconds")
    return {"name": name, **given({"scopes": scopes and list(scopes), "expires_at": until})}


def _parent(dependency: Dependency) -> str | dict[str, str]:
    if isinstance(dependency, BatchFields):
        return dependency.id
    return dependency if isinstance(dependency, str) else dict(dependency)


def first_byte(response: httpx.Response) -> int:
    """Where in the whole what has come of it begins."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else 0


def batch_path(batch_id: str) -> str:
    return f"/batches/{escaped(batch_id)}"


def job_path(batch_id: str, job_id: str) -> str:
    return f"{batch_path(batch_id)}/jobs/{escaped(job_id)}"


def batches_query(status: str | None, tool_id: str | None, name: str | None, limit: int) -> Query:
    wanted = [("status", status), ("tool_id", tool_id), ("name", name), ("limit", str(limit))]
    return [(key, given) for key, given in wanted if given is not None]


def jobs_query(status: str | Iterable[str]) -> Query:
    statuses = [status] if isinstance(status, str) else status
    return [*(("status", each) for each in statuses), ("limit", str(PAGE))]


def escaped(text: str) -> str:
    return quote(text, safe="")


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: option for name, option in options.items() if option is not None}
