"""What jobs printed, as it is: bytes, sent as text that no browser may take for anything else."""

from __future__ import annotations

from collections.abc import Iterator

import falcon

from slurmbatch.api import query, render, waiting
from slurmbatch.api.following import CHUNK, Followed, Follower
from slurmbatch.api.ranges import NO_END, select, select_growing
from slurmbatch.api.resources import OfBatches
from slurmbatch.errors import NotFound
from slurmbatch.logs import OpenLog, open_log, tail_lines
from slurmbatch.model import job_id as id_of_job
from slurmbatch.model import parse_log_id

MAX_TAIL = 10_000
MAX_ATTEMPT = 1_000_000


class LogOfJob(OfBatches):
    """/batches/{batch_id}/jobs/{job_id}/log"""

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, batch_id: str, job_id: str
    ) -> None:
        caller, attempt = req.context.caller, query.whole(req, "attempt", most=MAX_ATTEMPT)
        follower = Follower(
            req.env,
            req.context.user_id,
            lambda: self._batches.log_of(caller, batch_id, job_id, attempt),
        )
        _serve(req, resp, follower)


class LogById(LogOfJob):
    """/logs/{log_id}"""

    def on_get(self, req: falcon.Request, resp: falcon.Response, log_id: str) -> None:  # type: ignore[override]
        parsed = parse_log_id(log_id)
        if parsed is None:
            raise NotFound
        super().on_get(req, resp, parsed[0], id_of_job(*parsed))


def _serve(req: falcon.Request, resp: falcon.Response, follower: Follower) -> None:
    tail = query.whole(req, "tail", most=MAX_TAIL)
    follows = query.flag(req, "follow") and req.method == "GET"
    job_log, has_ended = follower.look()
    if follows and not has_ended:
        waiting.require(req)
    opened = open_log(job_log)
    resp.content_type = "text/plain; charset=utf-8"
    resp.set_header("Accept-Ranges", "bytes")
    if follows:
        with opened or OpenLog(-1, 0) as log:
            _follow(req, resp, follower, log, tail)
    elif opened is None:
        resp.data = b""
    else:
        _send(req, resp, opened, tail)


def _send(req: falcon.Request, resp: falcon.Response, opened: OpenLog, tail: int | None) -> None:
    """What is there of the log now."""
    try:
        part = None if tail else select(_range(req), opened.size)
        start, end = part or (_start(opened, tail), opened.size)
    except BaseException:
        opened.close()
        raise
    if part is not None:
        _tell_part(resp, start, end - 1, str(opened.size))
    resp.set_stream(_Chunks(opened, start, end), end - start)


def _follow(
    req: falcon.Request, resp: falcon.Response, follower: Follower, log: OpenLog, tail: int | None
) -> None:
    """What is there, and what comes: of a range up to its end, if it has one."""
    part = None if tail else select_growing(_range(req), log.size)
    start, end = part or (_start(log, tail), NO_END)
    if part is not None:
        _tell_part(resp, start, end - 1, "*")
    packed = part is None and render.takes_gzip(req)
    if packed:
        resp.set_header("Content-Encoding", "gzip")
    resp.set_header("Vary", render.VARY)
    resp.set_header("X-Accel-Buffering", "no")  # asks proxies of nginx's kind not to hold it back
    resp.stream = Followed(follower, start, end, packed=packed)


def _start(log: OpenLog, tail: int | None) -> int:
    return tail_lines(log.fd, log.size, tail) if tail else 0


def _range(req: falcon.Request) -> str | None:
    # It counts for GET only, and there is no validator that an If-Range could match.
    ranged = req.method == "GET" and req.get_header("If-Range") is None
    return req.get_header("Range") if ranged else None


def _tell_part(resp: falcon.Response, first: int, last: int, size: str) -> None:
    resp.status = falcon.HTTP_206
    resp.set_header("Content-Range", f"bytes {first}-{last}/{size}")


class _Chunks:
    """The bytes [at, end) of an open log, which is closed with it.

    The end is where the log ended when it was opened. A log that has become shorter ends early;
    the server then closes the connection, because it has promised more.
    """

    def __init__(self, opened: OpenLog, at: int, end: int) -> None:
        self._opened = opened
        self._at = at
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self._opened.read_at(self._at, min(CHUNK, self._end - self._at))
        if not chunk:
            raise StopIteration
        self._at += len(chunk)
        return chunk

    def close(self) -> None:
        self._opened.close()
