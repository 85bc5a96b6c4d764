"""What jobs printed, as it is: bytes, sent as text that no browser may take for anything else."""

from __future__ import annotations

from collections.abc import Iterator

import falcon

from slurmbatch.api import query
from slurmbatch.api.ranges import select
from slurmbatch.api.resources import OfBatches
from slurmbatch.logs import JobLog, OpenLog, open_log, tail_lines

MAX_TAIL = 10_000
_CHUNK = 64 * 1024


class LogOfJob(OfBatches):
    """/batches/{batch_id}/jobs/{job_id}/log"""

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, batch_id: str, job_id: str
    ) -> None:
        _serve(req, resp, self._batches.log_path(req.context.caller, batch_id, job_id))


class LogById(OfBatches):
    """/logs/{log_id}"""

    def on_get(self, req: falcon.Request, resp: falcon.Response, log_id: str) -> None:
        _serve(req, resp, self._batches.log_path_by_id(req.context.caller, log_id))


def _serve(req: falcon.Request, resp: falcon.Response, job_log: JobLog) -> None:
    tail = query.whole(req, "tail", most=MAX_TAIL)
    opened = open_log(job_log)
    resp.content_type = "text/plain; charset=utf-8"
    resp.set_header("Accept-Ranges", "bytes")
    if opened is None:
        resp.data = b""
        return
    try:
        start, end = _part(req, resp, opened, tail)
    except BaseException:
        opened.close()
        raise
    resp.set_stream(_Chunks(opened, start, end), end - start)


def _part(
    req: falcon.Request, resp: falcon.Response, opened: OpenLog, tail: int | None
) -> tuple[int, int]:
    if tail is not None:
        return tail_lines(opened.fd, opened.size, tail), opened.size
    # A range counts for GET only, and there is no validator that an If-Range could match.
    ranged = req.method == "GET" and req.get_header("If-Range") is None
    part = select(req.get_header("Range"), opened.size) if ranged else None
    if part is None:
        return 0, opened.size
    resp.status = falcon.HTTP_206
    resp.set_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{opened.size}")
    return part


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
        chunk = self._opened.read_at(self._at, min(_CHUNK, self._end - self._at))
        if not chunk:
            raise StopIteration
        self._at += len(chunk)
        return chunk

    def close(self) -> None:
        self._opened.close()
