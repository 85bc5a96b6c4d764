"""What can be told without waiting is told in the event loop, and like any other answer."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from slurmbatch.config import Server
from slurmbatch.web import Web
from slurmbatch.web.lanes import THREADS
from tests.unit.test_web import get, wait_for

HEADERS = [("Cache-Control", "private, no-cache"), ("ETag", 'W/"7"'), ("X-Request-Id", "one")]
TAG = 'If-None-Match: W/"7"'
Told = tuple[str, list[tuple[str, str]]]


class App:
    """WSGI: /slow waits until it is let go, and so does a batch of that name; all else is answered
    at once with the path, or with a 304 to whoever knows the tag."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.slow = threading.Semaphore(0)
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if "slow" in path:
            self.slow.release()
            self.go_on.wait(60)
        if "HTTP_IF_NONE_MATCH" in environ:
            start("304 Not Modified", HEADERS)
            return []
        body = path.encode()
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]


class AtOnce:
    """Knows all that start with /batches/same; `threads` are those that have asked."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.broken = False

    def __call__(
        self, method: str, path: str, query: str, headers: Mapping[str, str]
    ) -> Told | None:
        self.threads.append(threading.current_thread().name)
        if self.broken:
            raise ZeroDivisionError
        same = path.startswith("/batches/same") and "IF_NONE_MATCH" in headers
        return ("304 Not Modified", HEADERS) if same and method == "GET" and not query else None


def listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


@contextmanager
def serving(at_once: AtOnce | None, **settings: Any) -> Iterator[tuple[App, Web, int]]:
    app, listener = App(), listening()
    web = Web(app, Server(**settings), listener=listener, at_once=at_once)
    web.start()
    try:
        yield app, web, listener.getsockname()[1]
    finally:
        app.go_on.set()
        web.stop(time.monotonic() + 5)


@contextmanager
def client_of(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        yield client


@contextmanager
def slow_client_of(port: int) -> Iterator[socket.socket]:
    """Of whose answers little is on its way while it takes none."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.settimeout(60)
        client.connect(("127.0.0.1", port))
        yield client


def narrow(web: Web, client: socket.socket) -> Any:
    """Has little on its way to this one at the server's side, too; gives the connection there."""
    client.sendall(text("/batches/same", TAG))
    head_of(client)
    (channel,) = web._server.active_channels.values()
    channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    return channel


def text(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def head_of(client: socket.socket) -> bytes:
    """Up to the end of the next answer's headers, byte by byte."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += (part := client.recv(1))
        assert part, received
    return received


def rest_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def undated(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]+ GMT\r\n", b"Date: then\r\n", answer)


def test_it_is_the_same_answer_and_the_connection_goes_on() -> None:
    at_once, answers = AtOnce(), []
    for way in (None, at_once):
        with serving(way) as (app, _, port), client_of(port) as client:
            for _ in range(3):
                client.sendall(text("/batches/same", TAG))
                answers.append(undated(head_of(client)))
            assert len(app.asked) == (0 if way else 3)
            client.sendall(text("/batches/x", "Connection: close"))
            assert rest_of(client).endswith(b"\r\n\r\n/batches/x")
    assert answers == answers[:1] * 6
    assert answers[0].startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b"Date: then\r\n" in answers[0]
    assert set(at_once.threads) == {"web"}


def test_no_thread_is_needed_for_it() -> None:
    with serving(AtOnce(), threads=1) as (app, web, port), client_of(port) as client:
        paths = {"/slow": 1, "/batches/slow": 1, "/batches/slow/jobs": THREADS["jobs"],
                 "/logs/slow": THREADS["logs"]}  # fmt: skip
        for path, count in paths.items():
            for _ in range(count):
                threading.Thread(target=get, args=(port, path, 60), daemon=True).start()
                assert app.slow.acquire(timeout=60)
        for _ in range(100):
            client.sendall(text("/batches/same", TAG))
            assert head_of(client).startswith(b"HTTP/1.1 304")
        assert not web.is_alive(0.2)  # nobody else is answered meanwhile


def test_in_several_pieces_it_is_the_same() -> None:
    with serving(AtOnce()) as (app, _, port), client_of(port) as client:
        for part in (b"GET /batches/same HT", b"TP/1.1\r\nHost: x\r\n", f"{TAG}\r\n\r".encode()):
            client.sendall(part)
            time.sleep(0.05)
        client.sendall(b"\n")
        assert head_of(client).startswith(b"HTTP/1.1 304")
        assert app.asked == []


@pytest.mark.parametrize(
    "asked",
    [
        text("/batches/same", TAG, version="1.0"),
        text("/batches/same", TAG, "Connection: close"),
        text("/batches/same", TAG, "Connection: keep-alive"),
        text("/batches/same", TAG, "Content-Length: 2") + b"{}",
        text("/batches/same", TAG, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        text("/batches/same?a=b", TAG),
        text("/batches/same", TAG, method="HEAD"),
        text("/batches/other", TAG),
    ],
)
def test_all_else_is_answered_in_a_thread(asked: bytes) -> None:
    answers = []
    for way in (AtOnce(), None):
        with serving(way) as (app, _, port), client_of(port) as client:
            client.sendall(asked)
            client.shutdown(socket.SHUT_WR)
            answers.append(undated(rest_of(client)))
            assert len(app.asked) == 1
    assert answers[0].startswith(b"HTTP/1.")
    assert b" 304 Not Modified\r\n" in answers[0]
    assert answers[0] == answers[1]


def test_what_the_server_refuses_is_refused() -> None:
    asked = text("/batches/same", TAG, "No colon here")
    with serving(AtOnce()) as (app, _, port), client_of(port) as client:
        client.sendall(asked)
        assert rest_of(client).startswith(b"HTTP/1.0 400")
        assert app.asked == []


def test_trouble_is_told_in_a_thread() -> None:
    at_once = AtOnce()
    at_once.broken = True
    with serving(at_once) as (app, _, port), client_of(port) as client:
        for _ in range(2):
            client.sendall(text("/batches/same", TAG))
            assert head_of(client).startswith(b"HTTP/1.1 304")
        assert len(app.asked) == len(at_once.threads) == 2


def test_in_one_go_with_others_all_are_answered_in_order() -> None:
    same, other = text("/batches/same", TAG), text("/batches/other")
    slow = text("/batches/slow", "Content-Length: 2", method="POST") + b"{}"
    last = text("/batches/last", "Connection: close")
    asked = [same, same, other, same, slow, same, same, last]
    with serving(AtOnce()) as (app, _, port), client_of(port) as client:
        client.sendall(b"".join(asked))
        assert app.slow.acquire(timeout=60)
        app.go_on.set()
        answers = re.split(rb"(?=HTTP/1\.1 )", rest_of(client))[1:]
    told = [each.split(b"\r\n\r\n")[1] or each[9:12] for each in answers]
    assert told == [b"304", b"304", b"/batches/other", b"304", b"/batches/slow", b"304", b"304",
                    b"/batches/last"]  # fmt: skip


def test_who_takes_none_of_it_holds_up_nobody_and_is_let_go() -> None:
    with serving(AtOnce(), channel_timeout=4) as (_, web, port), slow_client_of(port) as client:
        channel = narrow(web, client)
        client.setblocking(False)
        asked, sent = text("/batches/same", TAG) * 100, 0
        # Until nothing more is read of what he sends: nor is anything made for him any more.
        with pytest.raises(BlockingIOError):
            for _ in range(100_000):
                sent += client.send(asked[sent % len(asked) :])
                time.sleep(0)
        wait_for(lambda: channel.total_outbufs_len > 0 or not channel.connected)
        assert channel.total_outbufs_len < 256 * 1024
        for _ in range(20):
            assert get(port, "/batches/x") == b"/batches/x"
        # Asked now and then, since waitress looks when it has something to do.
        wait_for(lambda: get(port, "/x") == b"/x" and not channel.connected)


def test_who_takes_it_late_gets_all_of_it() -> None:
    asked, count = text("/batches/same", TAG), 5000
    with serving(AtOnce()) as (_, web, port), slow_client_of(port) as client:
        channel = narrow(web, client)
        client.sendall(asked)
        one = head_of(client)
        sender = threading.Thread(target=client.sendall, args=(asked * count,), daemon=True)
        sender.start()
        wait_for(lambda: channel.total_outbufs_len > 0)
        received = b""
        while len(received) < len(one) * count:
            received += (part := client.recv(1 << 20))
            assert part
        sender.join(60)
        assert undated(received) == undated(one) * count


def test_whoever_was_answered_so_is_not_waited_for_at_the_end() -> None:
    with serving(AtOnce()) as (_, web, port), client_of(port) as client:
        client.sendall(text("/batches/same", TAG))
        head_of(client)
        (channel,) = web._server.active_channels.values()
        wait_for(lambda: not channel.is_busy())
        assert not channel.is_awaited()
