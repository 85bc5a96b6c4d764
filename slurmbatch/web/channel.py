"""A connection, and the answers on it: no thread ever waits for a client.

waitress lets the thread that makes an answer wait, without a limit, while the client has not taken
what is there of it already. Here such an answer is put aside instead, with no thread, and taken up
again once the client has read on. An answer of many parts is put aside, too, when others wait for
its thread: they take turns, a part each.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from slurmbatch.journal import get

_log = get("web")
_TASK = "slurmbatch.task"


class _Pause(BaseException):
    """Leaves an answer in the middle. Not an Exception, which waitress would take for a failure."""

    def __init__(self, answer: _Answer) -> None:
        self.answer = answer


class _Body:
    """A body of many parts, given in turns: each turn is an iteration of its own."""

    def __init__(self, parts: Iterable[bytes], answer: _Answer) -> None:
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
            raise _Pause(self._answer)
        self._begins = False
        return next(self._parts)

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
        task: _Answer = environ[_TASK]
        if task.body is None:
            parts: Iterable[bytes] = app(environ, start_response)
            if isinstance(parts, list):
                return parts
            task.body = _Body(parts, task)
        return task.body

    return again


class _Answer(WSGITask):
    """An answer that keeps the connection also where it has no body, such as a 304.

    waitress closes it after each answer without a Content-Length, which one without a body may not
    have (RFC 9112, 6.3: it ends with its headers).
    """

    channel: Any
    request: Any  # declared as no more than it has in common with an error
    body: _Body | None = None

    def set_close_on_finish(self) -> None:
        wishes = self.request.headers.get("CONNECTION", "").lower()
        if self.wrote_header or self.has_body or self.version != "1.1" or wishes == "close":
            super().set_close_on_finish()

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[_TASK] = self
        return environ


class _Refusal(ErrorTask):
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


class Channel(HTTPChannel):
    """A connection whose answer can be put aside.

    The request is then put aside, too, so that waitress takes the connection for one that has been
    answered: it sends what is there of the answer, and closes the connection if the client has
    taken nothing for the channel's timeout.
    """

    server: Any  # whose dispatcher is `Lanes`
    requests_lock: Any
    error_task_class = _Refusal
    _aside: Any = None  # the requests meanwhile; set and taken with both locks held
    _begun: _Answer | None = None  # what was put aside in the middle

    def task_class(self, _channel: object, request: Any) -> _Answer:  # type: ignore[override]
        """What is to serve the request, each time that waitress does."""
        begun, self._begun = self._begun, None
        return begun or _Answer(self, request)

    def is_busy(self) -> bool:
        """Whether an answer is due."""
        return bool(self.requests or self._aside or self.total_outbufs_len)

    # --- in a thread of its lane ----------------------------------------------------------------

    def service(self) -> None:
        """One turn of the first request."""
        if self.connected and self._is_full():  # of answers to the requests before
            self._put_aside()
            return
        begun = self._begun
        try:
            super().service()
        except _Pause as pause:
            self._begun = pause.answer
            self._put_aside()
        else:
            if begun is not None and begun.body is not None:
                begun.body.drop()  # where the client has gone in the meantime, nobody has done it

    def is_turn_over(self) -> bool:
        """Whether the answer has to leave its thread: to wait for the client, or to others."""
        return self._is_full() or self.server.task_dispatcher.others_wait(self)

    def _is_full(self) -> bool:
        return bool(self.total_outbufs_len > self.adj.outbuf_high_watermark)

    def _has_room(self) -> bool:
        return bool(self.total_outbufs_len <= self.adj.outbuf_high_watermark // 2)

    def _put_aside(self) -> None:
        # With the lock: what is sent from now on is seen by handle_write, what was sent, here.
        with self.requests_lock, self.outbuf_lock:
            if self.connected and not self._has_room():
                self._aside, self.requests = self.requests, []
                return
        self.server.task_dispatcher.resume(self)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Where waitress waits for the client. Nothing to do: see `service`."""

    # --- in the event loop ----------------------------------------------------------------------

    def handle_write(self) -> None:
        super().handle_write()
        if self._has_room():
            self._take_up()

    def handle_close(self) -> None:
        super().handle_close()
        self._take_up()

    def _take_up(self) -> None:
        with self.requests_lock, self.outbuf_lock:
            if self._aside is None:
                return
            self.requests, self._aside = self._aside, None
        self.server.task_dispatcher.resume(self)
