"""The server: what is slow does not keep what is short waiting, and a stop drops no answer."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slurmbatch.config import Server
from slurmbatch.errors import SettingsError
from slurmbatch.web import Web, is_short


class App:
    """WSGI: /slow waits until it is let go, everything else answers at once, /same with a 304."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.slow = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/slow"):
            self.slow.release()
            self.go_on.wait(20)
        if environ["PATH_INFO"] == "/same":
            start("304 Not Modified", [("ETag", '"1"')])
            return []
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(app: App, **settings: Any) -> Iterator[tuple[Web, int]]:
    port = free_port()
    web = Web(app, Server(port=port, **settings))
    web.start()
    try:
        yield web, port
    finally:
        app.go_on.set()
        web.stop(time.monotonic() + 5)


def get(port: int, path: str, timeout: float = 10) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request("GET", path)
    return connection.getresponse().read()


@pytest.mark.parametrize(
    ("method", "path", "short"),
    [
        ("GET", "/batches/01m", True),
        ("HEAD", "/batches/01m", True),
        ("GET", "/batches/01m/jobs/01m-3", True),
        ("GET", "/healthz", True),
        ("GET", "/tools/probe", True),
        ("GET", "/batches", False),
        ("GET", "/batches/01m/jobs", False),
        ("GET", "/batches/01m/jobs/01m-3/log", False),
        ("GET", "/logs/01m-3.log", False),
        ("POST", "/batches", False),
        ("DELETE", "/batches/01m", False),
        ("", "", False),
    ],
)
def test_what_is_short(method: str, path: str, short: bool) -> None:
    assert is_short(method, path) is short


def test_slow_answers_do_not_keep_short_ones_waiting() -> None:
    app = App()
    with serving(app, threads=2) as (_, port):
        for _ in range(6):
            threading.Thread(target=get, args=(port, "/slow", 30), daemon=True).start()
        assert app.slow.acquire(timeout=10)
        assert app.slow.acquire(timeout=10)
        for _ in range(20):
            assert get(port, "/batches/x") == b"ok"


def test_an_answer_without_a_body_keeps_the_connection() -> None:
    with serving(App()) as (_, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.connect()
        ours = connection.sock
        for _ in range(3):
            connection.request("GET", "/same")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (304, b"")
            assert answer.headers["Connection"] is None
        assert connection.sock is ours
        connection.request("GET", "/same", headers={"Connection": "close"})
        assert connection.getresponse().headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("POST /batches HTTP/1.1", f"Content-Length: {10**9}", 413),
        ("GET /batches HTTP/1.1", "X-Long: " + "x" * 300_000, 431),
        ("GET /batches HTTP/1.1", "No colon here", 400),
    ],
)
def test_what_the_server_itself_refuses_is_a_problem_too(
    request_line: str, headers: str, status: int
) -> None:
    with serving(App()) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(f"{request_line}\r\nHost: x\r\n{headers}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(client)
            answer.begin()
            problem = json.loads(answer.read())
        assert answer.status == problem["status"] == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["X-Request-Id"] == problem["request_id"]
        assert problem["detail"] and problem["title"]


def test_a_stop_finishes_what_is_under_way_and_takes_nothing_new() -> None:
    app, answers = App(), []
    with serving(app, threads=2) as (web, port):
        asker = threading.Thread(target=lambda: answers.append(get(port, "/slow", 30)))
        asker.start()
        assert app.slow.acquire(timeout=10)
        stopper = threading.Thread(target=web.stop, args=(time.monotonic() + 15,))
        stopper.start()
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except ConnectionRefusedError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("it still takes connections")
        app.go_on.set()
        asker.join(10)
        stopper.join(10)
        assert answers == [b"ok"]
        assert not stopper.is_alive()


def test_more_than_1024_connections_are_no_trouble() -> None:
    with serving(App(), connection_limit=3000) as (_, port):
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(1100)]
        try:
            assert get(port, "/batches/x") == b"ok"
        finally:
            for each in idle:
                each.close()


def test_a_taken_port_is_told_as_such() -> None:
    with serving(App()) as (_, port), pytest.raises(SettingsError, match=str(port)):
        # SO_REUSEADDR lets two bind, but not while one listens.
        Web(App(), Server(port=port))
