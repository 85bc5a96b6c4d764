"""A connection, and the answers on it: no thread ever waits for a client.

waitress lets the thread that makes an answer wait, without a limit, while the client has not taken
what is there of it already. Here such an answer is put aside instead, with no thread, and taken up
again once the client has read on. An answer of many parts is put aside, too, when others wait for
its thread: they take turns, a part each. And so is one that waits for something to happen. What can
be told without waiting for anything needs no thread at all: see `AtOnce`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from waitress.channel import ClientDisconnected, HTTPChannel

from slurmbatch.web.answer import Answer, Refusal, head
from slurmbatch.web.waiting import Pause, Wait, Waiting

# Gives the status and the headers of an answer without a body, where that can be told without
# waiting for anything, from a request's method, path, query, and headers, which are named as WSGI
# has them but for `HTTP_`. None: a thread is needed. Only requests that know something already
# (`If-None-Match`) have such answers, and no others are asked for.
AtOnce = Callable[[str, str, str, Mapping[str, str]], tuple[str, list[tuple[str, str]]] | None]
# The least bytes a second of a request that takes longer than a client may be silent.
_LEAST_RATE = 1024
# For how long, at the end, a request is waited for on a connection that has just been taken, and
# the rest of one that has begun to arrive.
_FIRST_REQUEST, _REST_OF_REQUEST = 1.0, 2.0


class Channel(HTTPChannel):
    """A connection whose answer can be put aside.

    The request is then put aside, too, so that waitress takes the connection for one that has been
    answered: it sends what is there of the answer, and closes the connection if the client has
    taken nothing for the channel's timeout.
    """

    server: Any  # whose dispatcher is `Lanes`
    requests_lock: Any
    error_task_class = Refusal
    _aside: Any = None  # the requests meanwhile; set and taken with both locks held
    _is_parked = False  # whether it is aside until something happens, and not until there is room
    _has_more = False  # of the client's, unread: what it wants next, while this answer waits
    _answer: Answer | None = None  # the one that is being made
    _begun: Answer | None = None  # what was put aside in the middle
    _served = False  # whether there was a request at all
    _began, _arrived = 0.0, 0  # of the request that is on its way

    def task_class(self, _channel: object, request: Any) -> Answer:  # type: ignore[override]
        """What is to serve the request, each time that waitress does."""
        begun, self._begun = self._begun, None
        self._answer = begun or Answer(self, request)
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

    def answers_at_once(self) -> bool:
        """Whether the request that has just come has been answered, with no need of a thread.

        waitress holds the lock for requests. No thread has anything to do with this connection
        just now, and all answers to earlier requests have been sent.
        """
        request = self.requests[0]
        answer = self._told_at_once(request) if self._is_plain(request) else None
        if answer is None:
            return False
        self.requests, self._served = [], True
        with suppress(ClientDisconnected):
            self.write_soon(answer)
        if self.total_outbufs_len:
            # The rest of it lies in a buffer that grows until it is let go of: as after `service`.
            self.current_outbuf_count = self.adj.outbuf_high_watermark
        return True

    def _is_plain(self, request: Any) -> bool:
        """Whether the request has a tag, no body, and no wish about the connection."""
        headers = request.headers
        return "IF_NONE_MATCH" in headers and not (
            request.error or request.version != "1.1" or request.body_rcv is not None
            or self.total_outbufs_len or "CONNECTION" in headers or "EXPECT" in headers
        )  # fmt: skip

    def _told_at_once(self, request: Any) -> bytes | None:
        at_once: AtOnce = self.server.at_once
        try:
            told = at_once(request.command, request.path, request.query, request.headers)
            return None if told is None else head(*told, time.time())
        except Exception:
            return None  # it will be told the usual way

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
