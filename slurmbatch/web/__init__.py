"""waitress, tuned for this work: many short reads that must not wait behind slow answers.

`lanes` gives what is short, what is long and what changes something threads of their own; `channel`
sees to it that none of them waits for a client, and that what can be told at once needs none of
them; `answer` is what they make; `waiting` sees to it that none waits for something to happen.
"""

from __future__ import annotations

import resource
import socket
import threading
import time
from ipaddress import ip_address
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from slurmbatch.config import Server
from slurmbatch.errors import SettingsError
from slurmbatch.journal import get
from slurmbatch.web.answer import resumable
from slurmbatch.web.channel import AtOnce, Channel
from slurmbatch.web.lanes import Lanes, Waits
from slurmbatch.web.waiting import Cut, Pause, Wait, Waiting, may_go_on, may_wait

__all__ = ["Cut", "Pause", "Wait", "Waits", "Web", "listen", "may_go_on", "may_wait"]

_log = get("web")

# What is ready for a client that is slow to take it; a part of a list or a log may come on top.
_READY_BYTES = 256 * 1024
# An answer in one piece may be larger; from here on it lies in a file until it is taken.
_IN_MEMORY_BYTES = 1024 * 1024
# Open files beside the connections: the database in each thread, logs, pipes to what we start.
_OTHER_FILES = 256
# The part of the connections that one caller may have waiting for something to happen.
_SHARE = 8
# A client that has been silent for 45 seconds is asked whether it is there, and after three times
# without an answer taken for gone. Only so is one found out that waits, and was switched off.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 45),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
# What waitress counts as connections: what it listens on, and what wakes its loop.
_NO_CONNECTIONS = 2
# The address of whoever comes through a Unix socket: such sockets have none.
UNIX = "unix"


class Web:
    """waitress in a thread of its own, so that it can be stopped without dropping an answer."""

    def __init__(
        self,
        app: Any,
        server: Server,
        waits: Waits | None = None,
        listener: socket.socket | None = None,
        at_once: AtOnce | None = None,
    ) -> None:
        """`listener` is a socket that listens already; left out, the settings say where to.
        `at_once` is asked, in the event loop, before the application is in a thread."""
        limit = min(server.connection_limit, _allow_files(server.connection_limit))
        self._socket = listener or listen("server", server.host, server.port)
        waits = waits or Waits()
        self._lanes = Lanes(server.threads, waits)
        self._waiting = Waiting(max(1, limit // _SHARE), waits)
        self._server = _make_server(app, server, self._socket, limit, self._lanes)
        self._server.waiting = self._waiting
        self._server.at_once = at_once
        self.url = _url(self._socket)

    def start(self) -> None:
        self._waiting.start()
        threading.Thread(target=self._server.run, name="web", daemon=True).start()

    def ring(self) -> None:
        """Something was written to the database: whoever waits for that may go on."""
        self._waiting.ring()

    def stop(self, deadline: float) -> None:
        """Accepts nothing more and waits, until the deadline, for the answers that are due."""
        self._server.accepting = False
        self._server.pull_trigger()
        time.sleep(0.05)  # the loop has to look once more, so that nobody selects on it
        self._server.del_channel()
        self._server.socket.close()
        self._waiting.close()
        while self._busy() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._server.task_dispatcher.shutdown(timeout=max(0.1, deadline - time.monotonic()))

    def _busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        return any(each.is_busy() or each.is_awaited() for each in channels)

    def is_alive(self, timeout: float) -> bool:
        """Whether the event loop comes round, and a short read gets its turn, within the time."""
        done = threading.Event()
        self._server.trigger.pull_trigger(lambda: self._lanes.probe(done))
        return done.wait(timeout)


class _Server(TcpWSGIServer):
    """For sockets of either kind; waitress has a server for each."""

    channel_class = Channel
    active_channels: Any
    waiting: Waiting
    trigger: Any
    at_once: AtOnce | None = None
    _loop = 0  # the thread of the event loop

    def run(self) -> None:
        self._loop = threading.get_ident()
        super().run()

    def add_task(self, task: Any) -> None:
        """Told by the event loop of a request that has come, and by a thread of the next one."""
        asks = self.at_once is not None and threading.get_ident() == self._loop
        if not asks or not task.answers_at_once():
            super().add_task(task)

    def getsockname(self) -> tuple[str, Any]:
        if self.family == socket.AF_UNIX:
            return "unix", self.sockinfo[3]
        named: tuple[str, Any] = super().getsockname()
        return named

    def fix_addr(self, addr: Any) -> Any:
        return (UNIX, None) if self.family == socket.AF_UNIX else addr

    def set_socket_options(self, conn: Any) -> None:
        if self.family != socket.AF_UNIX:
            super().set_socket_options(conn)

    def maintenance(self, now: float) -> None:
        """Closes what has been idle for too long, or comes in too slowly: waitress waits with that
        until the client takes what is ready for it, which may be never, and a byte now and then is
        enough for it. Who waits for something to happen is not idle."""
        for channel in list(self.active_channels.values()):
            if channel.is_parked():
                channel.last_activity = now
        super().maintenance(now)  # type: ignore[arg-type]
        for channel in list(self.active_channels.values()):
            slow = channel.is_trickling(now, self.adj.channel_timeout)
            if slow or (channel.will_close and channel.total_outbufs_len):
                channel.handle_close()


def _make_server(app: Any, server: Server, listener: socket.socket, limit: int, lanes: Any) -> Any:
    adjustments = Adjustments(
        sockets=[listener],
        threads=server.threads,
        connection_limit=limit + _NO_CONNECTIONS,
        channel_timeout=server.channel_timeout,
        cleanup_interval=max(1, server.channel_timeout // 4),
        outbuf_high_watermark=_READY_BYTES,
        outbuf_overflow=_IN_MEMORY_BYTES,
        # One request at a time: more would be read into memory while it is answered, and who closes
        # his side after the request would be taken for gone.
        channel_request_lookahead=0,
        # select(2) knows no descriptor above 1023.
        asyncore_use_poll=True,
        # A little above ours, so that our own answer with the field's name is the one given.
        max_request_body_size=server.max_body_bytes + 65536,
        expose_tracebacks=False,
        ident=None,
        clear_untrusted_proxy_headers=True,
        **_trusted(server.trusted_proxy),
    )
    adjustments.socket_options = [*adjustments.socket_options, *_KEEPALIVE]
    where = (listener.family, listener.type, listener.proto, listener.getsockname())
    return _Server(
        resumable(app), _sock=listener, dispatcher=lanes, adj=adjustments,
        sockinfo=where, bind_socket=False,
    )  # fmt: skip


def _trusted(proxy: str | None) -> dict[str, Any]:
    """The headers of one proxy, the last before us, tell who asks; anybody else's are dropped."""
    if proxy is None:
        return {}
    address = proxy if proxy == UNIX else str(ip_address(proxy))
    return {
        "trusted_proxy": address,
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
    }


def _allow_files(connections: int) -> int:
    """Raises the soft limit of open files, of which each connection is one, as far as is needed and
    the hard one allows; gives how many connections there may be."""
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        _log.warning("fewer connections than the settings allow: too few files may be open",
                     connection_limit=connections, files=most)  # fmt: skip
    return max(1, most - _OTHER_FILES)


def _url(listener: socket.socket) -> str:
    where = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{where}"
    host, port = where[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(table: str, host: str, port: int) -> socket.socket:
    """A socket for the address of this table of the settings."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            [f"{table}: cannot listen on {host}:{port}: {error.strerror}"]
        ) from error
    return listener
