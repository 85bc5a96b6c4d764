"""An answer, as it is made in a thread: in turns where it has many parts, and at little cost where
it is short."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import build_http_date

from slurmbatch.journal import get
from slurmbatch.web.waiting import Cut, Pause, put

_log = get("web")
_IN_ONE_PIECE = 64 * 1024
_TASK = "slurmbatch.task"


class _Body:
    """A body of many parts, given in turns: each turn is an iteration of its own."""

    def __init__(self, parts: Iterable[bytes], answer: Answer) -> None:
        self._whole = parts
        self._parts = iter(parts)
        self._answer = answer
        self._begins = self._paused = False

    def __iter__(self) -> Iterator[bytes]:
        self._begins, self._paused = True, False
        return self

    def __next__(self) -> bytes:
        if not self._begins and self._answer.channel.is_turn_over():
            self._paused = True
            raise Pause
        self._begins = False
        try:
            return next(self._parts)
        except Pause:
            self._answer.write(b"")  # the headers, at least: the rest may be long in coming
            self._paused = True
            raise
        except Cut as cut:
            raise ClientDisconnected from cut  # which ends the connection, and no more than that

    def close(self) -> None:
        """Called at the end of every turn, it waits for that of the last one."""
        if not self._paused:
            self.drop()

    def drop(self) -> None:
        whole, self._whole, self._parts = self._whole, (), iter(())
        close = getattr(whole, "close", None)
        if close is not None:
            close()


def resumable(app: Any) -> Any:
    """The application, whose bodies of many parts are gone on with when it is asked again."""

    def again(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        task: Answer = environ[_TASK]
        if task.body is None:
            parts: Iterable[bytes] = app(environ, start_response)
            if isinstance(parts, list):
                return parts
            task.body = _Body(parts, task)
        return task.body

    return again


class Answer(WSGITask):
    """An answer that keeps the connection also where it has no body, such as a 304.

    waitress closes it after each answer without a Content-Length, which one without a body may not
    have (RFC 9112, 6.3: it ends with its headers). And headers are made in less time, and go with
    a short body in one piece: for the answers that are asked for most, that is a good part of all.
    """

    channel: Any
    request: Any  # declared as no more than it has in common with an error
    body: _Body | None = None

    def set_close_on_finish(self) -> None:
        wishes = self.request.headers.get("CONNECTION", "").lower()
        if self.wrote_header or self.has_body or self.version != "1.1" or wishes == "close":
            super().set_close_on_finish()

    def build_response_header(self) -> bytes:
        usual = (
            self.version == "1.1" and not self.close_on_finish
            and "CONNECTION" not in self.request.headers
            and (self.content_length is not None or not self.has_body)
        )  # fmt: skip
        if not usual:
            return super().build_response_header()
        return head(self.status, self.response_headers, self.start_time)

    def write(self, data: bytes) -> None:
        whole = self.complete and not self.wrote_header and self.content_length == len(data)
        if not whole or not self.has_body or not 0 < len(data) <= _IN_ONE_PIECE:
            super().write(data)
            return
        header = self.build_response_header()
        self.wrote_header, self.content_bytes_written = True, len(data)
        self.channel.write_soon(header + data)

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[_TASK] = self
        put(environ, self.channel.server.waiting)
        return environ


def head(status: str, headers: Iterable[tuple[str, str]], at: float) -> bytes:
    """What an answer begins with, where the connection is kept."""
    # Nobody but waitress sets Date and Server; a Content-Length is there, or not due.
    lines = [f"{_named(name)}: {value}" for name, value in headers]
    text = "\r\n".join((f"HTTP/1.1 {status}", *lines, f"Date: {_date(int(at))}\r\n\r\n"))
    return text.encode("latin-1")


@lru_cache(maxsize=128)
def _named(header: str) -> str:
    """A header's name as it is usually written."""
    return "-".join(part.capitalize() for part in header.split("-"))


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return str(build_http_date(second))


class Refusal(ErrorTask):
    """What waitress itself refuses, such as a body over every limit, as a problem like all others.

    The connection is closed after it, since where the next request begins is not known.
    """

    request: Any

    def execute(self) -> None:
        error, request_id = self.request.error, secrets.token_hex(8)
        problem = {
            "type": "about:blank", "title": error.reason, "status": error.code,
            "detail": error.body, "instance": getattr(self.request, "path", ""),
            "request_id": request_id,
        }  # fmt: skip
        body = json.dumps(problem).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [
            ("Content-Type", "application/problem+json"), ("X-Request-Id", request_id),
            ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"),
        ]  # fmt: skip
        self.set_close_on_finish()
        self.content_length = len(body)
        _log.info("request refused unread", status=error.code, why=error.body,
                  request_id=request_id)  # fmt: skip
        self.write(body)
