"""A connection, and the answers on it: no thread ever waits for a client.

waitress lets the thread that makes an answer wait, without a limit, while the client has not taken
what is there of it already. Here such an answer is put aside instead, with no thread, and taken up
again once the client has read on. An answer of many parts is put aside, too, when others wait for
its thread: they take turns, a part each. And so is one that waits for something to happen.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import build_http_date

from slurmbatch.journal import get
from slurmbatch.web.waiting import Cut, Pause, Wait, Waiting, put

_log = get("web")
_IN_ONE_PIECE = 64 * 1024
_TASK = "slurmbatch.task"
# The least bytes a second of a request that takes longer than a client may be silent.
_LEAST_RATE = 1024
# For how long, at the end, a request is waited for on a connection that has just been taken, and
# the rest of one that has begun to arrive.
_FIRST_REQUEST, _REST_OF_REQUEST = 1.0, 2.0


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
        # Nobody but waitress sets Date and Server; a Content-Length is there, or not due.
        lines = [f"{_named(name)}: {value}" for name, value in self.response_headers]
        date = _date(int(self.start_time))
        text = "\r\n".join((f"HTTP/1.1 {self.status}", *lines, f"Date: {date}\r\n\r\n"))
        return text.encode("latin-1")

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


@lru_cache(maxsize=128)
def _named(header: str) -> str:
    """A header's name as it is usually written."""
    return "-".join(part.capitalize() for part in header.split("-"))


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return str(build_http_date(second))


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
    _is_parked = False  # whether it is aside until something happens, and not until there is room
    _has_more = False  # of the client's, unread: what it wants next, while this answer waits
    _answer: _Answer | None = None  # the one that is being made
    _begun: _Answer | None = None  # what was put aside in the middle
    _served = False  # whether there was a request at all
    _began, _arrived = 0.0, 0  # of the request that is on its way

    def task_class(self, _channel: object, request: Any) -> _Answer:  # type: ignore[override]
        """What is to serve the request, each time that waitress does."""
        begun, self._begun = self._begun, None
        self._answer = begun or _Answer(self, request)
        return self._answer

    def is_busy(self) -> bool:
        """Whether an answer is due."""
        return bool(self.requests or self._aside or self.total_outbufs_len)

    def received(self, data: bytes) -> bool:
        before = self.request
        taken = bool(super().received(data))
        if self.request is not before:
            self._began, self._arrived = time.time(), 0
        self._arrived += len(data)
        return taken

    def is_trickling(self, now: float, patience: float) -> bool:
        """Whether a request comes in so slowly that it seems to be meant to stay. While another one
        is answered nothing is read, and none can come."""
        if self.request is None or self.is_busy():
            self._began, self._arrived = now, 0
        return now - self._began > patience + self._arrived / _LEAST_RATE

    def is_awaited(self) -> bool:
        """Whether a request is on its way, which nobody but us can answer."""
        now = time.time()
        if self.request is not None:
            return now - self.last_activity < _REST_OF_REQUEST
        return not self._served and now - self.creation_time < _FIRST_REQUEST

    # --- in a thread of its lane ----------------------------------------------------------------

    def service(self) -> None:
        """One turn of the first request."""
        self._served = True
        if self.connected and self._is_full():  # of answers to the requests before
            self._put_aside()
            return
        begun = self._begun
        try:
            super().service()
        except Pause as pause:
            self._begun = self._answer
            self._rest(pause.wait)
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

    def _rest(self, wait: Wait | None) -> None:
        if wait is None or self._is_full():
            self._put_aside()
        elif not self._park(wait):
            self.server.task_dispatcher.resume(self)

    def _park(self, wait: Wait) -> bool:
        """Puts the answer aside until it is woken; False if it must not wait any more."""
        with self.requests_lock, self.outbuf_lock:
            if not self.connected:
                return False
            self._aside, self.requests = self.requests, []
            self._is_parked, self._has_more = True, False
        if not self._waiting.park(self, wait) or not self.connected:
            self.wake()
        # The loop has to see that there may be something to send, or a client that has gone.
        self.server.pull_trigger()
        return True

    @property
    def _waiting(self) -> Waiting:
        waiting: Waiting = self.server.waiting
        return waiting

    def wake(self) -> None:
        """What the answer waits for has come, or its time."""
        self._waiting.leave(self)
        self._take_up()

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Where waitress waits for the client. Nothing to do: see `service`."""

    # --- in the event loop ----------------------------------------------------------------------

    def is_parked(self) -> bool:
        """Whether it waits for something to happen, and has sent all that there is until then."""
        return self._is_parked and not self.total_outbufs_len

    def readable(self) -> bool:
        if self._is_parked:  # asked of each of hundreds whenever the loop comes round
            return not self._has_more
        return bool(super().readable())

    def handle_read(self) -> None:
        if self._is_parked:
            self._look_for_its_end()
        else:
            super().handle_read()

    def _look_for_its_end(self) -> None:
        """A client that has closed its side while its answer waits is taken for gone. What it may
        want next stays unread."""
        ours: Any = self.socket
        try:
            self._has_more = bool(ours.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return
        except OSError:
            self._has_more = False
        if not self._has_more:
            self.handle_close()

    def handle_write(self) -> None:
        super().handle_write()
        if self._has_room() and not self._is_parked:
            self._take_up()

    def handle_close(self) -> None:
        super().handle_close()
        # Nothing can be put aside any more. waitress may hold the lock for requests here, which
        # must not be asked for in vain: it finds out that a client has gone while it tells it
        # to go on (`Expect: 100-continue`).
        if self._aside is not None:
            self.wake()

    def _take_up(self) -> None:
        with self.requests_lock, self.outbuf_lock:
            if self._aside is None:
                return
            self.requests, self._aside = self._aside, None
            self._is_parked = False
        self.server.task_dispatcher.resume(self)
