"""waitress, tuned for this work: many short reads that must not wait behind slow answers.

Two lanes of threads. Short reads (one row of the database) have one thread: more would only
contend for the interpreter's lock, and be slower together. What may take its time (a new batch
that waits for Slurm's word, lists and logs that stream to a slow client) has threads of its own,
so that even when all of those are taken a status is answered at once.
"""

from __future__ import annotations

import json
import re
import resource
import secrets
import socket
import threading
import time
from typing import Any

import waitress.server
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from slurmbatch.config import Server
from slurmbatch.errors import SettingsError
from slurmbatch.journal import get

_log = get("web")

SHORT_READ_THREADS = 1
# The request line of what is one indexed read: health, one batch, one job, what is offered.
_SHORT = re.compile(
    r"/(?:healthz|openapi\.json|tools(?:/[^/]+)?|filesystems|batches/[^/]+(?:/jobs/[^/]+)?)"
)


class Lanes(ThreadedTaskDispatcher):
    """A dispatcher with a lane for short reads beside its own threads."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._short = ThreadedTaskDispatcher()
        self._short.set_thread_count(SHORT_READ_THREADS)
        self.set_thread_count(threads)

    def add_task(self, task: Any) -> None:
        request = task.requests[0]
        # A request that could not be parsed has neither.
        if is_short(getattr(request, "command", ""), getattr(request, "path", "")):
            self._short.add_task(task)
        else:
            super().add_task(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """Both lanes; see waitress."""
        ends = time.monotonic() + timeout
        done = self._short.shutdown(cancel_pending, timeout)  # type: ignore[arg-type]
        left = max(0.1, ends - time.monotonic())
        return bool(super().shutdown(cancel_pending, left)) and bool(done)  # type: ignore[arg-type]


def is_short(method: str, path: str) -> bool:
    """Whether the answer is a short read."""
    return method in ("GET", "HEAD") and _SHORT.fullmatch(path) is not None


class _Answer(WSGITask):
    """An answer that keeps the connection also where it has no body, such as a 304.

    waitress closes it after each answer without a Content-Length, which one without a body may not
    have (RFC 9112, 6.3: it ends with its headers).
    """

    request: Any  # declared as no more than it has in common with an error

    def set_close_on_finish(self) -> None:
        wishes = self.request.headers.get("CONNECTION", "").lower()
        if self.wrote_header or self.has_body or self.version != "1.1" or wishes == "close":
            super().set_close_on_finish()


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


class _Channel(HTTPChannel):
    task_class = _Answer
    error_task_class = _Refusal


class Web:
    """waitress in a thread of its own, so that it can be stopped without dropping an answer."""

    def __init__(self, app: Any, server: Server) -> None:
        _allow_files(server.connection_limit + 256)
        self._socket = _listen(server.host, server.port)
        self._server = _make_server(app, server, self._socket)
        self._server.channel_class = _Channel
        host = f"[{server.host}]" if ":" in server.host else server.host
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"

    def start(self) -> None:
        threading.Thread(target=self._server.run, name="web", daemon=True).start()

    def stop(self, deadline: float) -> None:
        """Accepts nothing more and waits, until the deadline, for the answers that are due."""
        self._server.accepting = False
        self._server.pull_trigger()
        time.sleep(0.05)  # the loop has to look once more, so that nobody selects on it
        self._server.del_channel()
        self._server.socket.close()
        while self._busy() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._server.task_dispatcher.shutdown(timeout=max(0.1, deadline - time.monotonic()))

    def _busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        return any(each.requests or each.total_outbufs_len for each in channels)


def _make_server(app: Any, server: Server, listener: socket.socket) -> Any:
    # Any: with one socket it is never the MultiSocketServer of its declared type.
    return waitress.server.create_server(
        app,
        _dispatcher=Lanes(server.threads),
        sockets=[listener],
        threads=server.threads,
        connection_limit=server.connection_limit,
        channel_timeout=server.channel_timeout,
        cleanup_interval=max(1, server.channel_timeout // 4),
        # select(2) knows no descriptor above 1023.
        asyncore_use_poll=True,
        # A little above ours, so that our own answer with the field's name is the one given.
        max_request_body_size=server.max_body_bytes + 65536,
        expose_tracebacks=False,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )


def _allow_files(wanted: int) -> None:
    """Raises the soft limit of open files as far as the hard one allows: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            [f"server: cannot listen on {host}:{port}: {error.strerror}"]
        ) from error
    return listener
