"""The server: what is slow does not keep what is short waiting, and a stop drops no answer."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from slurmbatch.config import Server
from slurmbatch.errors import SettingsError
from slurmbatch.web import Waits, Web
from slurmbatch.web.lanes import JOBS, LOGS, REST, SHORT, THREADS, lane_of
from tests.ports import free_port


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


@contextmanager
def serving(app: Any, waits: Waits | None = None, **settings: Any) -> Iterator[tuple[Web, int]]:
    port = free_port()
    web = Web(app, Server(port=port, **settings), waits)
    web.start()
    try:
        yield web, port
    finally:
        app.go_on.set()
        web.stop(time.monotonic() + 5)


def get(port: int, path: str, timeout: float = 10, method: str = "GET") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request(method, path)
    return connection.getresponse().read()


@pytest.mark.parametrize(
    ("method", "path", "lane"),
    [
        ("GET", "/batches/01m", SHORT),
        ("HEAD", "/batches/01m", SHORT),
        ("GET", "/batches/01m/jobs/01m-3", SHORT),
        ("GET", "/batches/01m/notifications", SHORT),
        ("GET", "/healthz", SHORT),
        ("GET", "/tools/probe", SHORT),
        ("GET", "/batches/01m/jobs", JOBS),
        ("HEAD", "/batches/01m/jobs", JOBS),
        ("GET", "/batches/01m/jobs/01m-3/log", LOGS),
        ("GET", "/logs/01m-3.log", LOGS),
        ("GET", "/batches/01m/reasons", LOGS),
        ("GET", "/batches", REST),
        ("GET", "/readyz", REST),
        ("POST", "/batches", REST),
        ("DELETE", "/batches/01m", REST),
        ("", "", REST),
    ],
)
def test_which_lane(method: str, path: str, lane: str) -> None:
    assert lane_of(method, path) == lane


def test_slow_answers_do_not_keep_short_ones_waiting() -> None:
    app = App()
    with serving(app, threads=2) as (_, port):
        for _ in range(6):
            threading.Thread(target=get, args=(port, "/slow", 30), daemon=True).start()
        assert app.slow.acquire(timeout=10)
        assert app.slow.acquire(timeout=10)
        for _ in range(20):
            assert get(port, "/batches/x") == b"ok"


class Streams:
    """WSGI: /batches/*/jobs are bodies of many parts, of which it counts those made and those let
    go; everything else is "ok"."""

    def __init__(self, parts: int = 1_000_000, size: int = 64 * 1024) -> None:
        self.parts, self.part = parts, b"x" * size
        self.made: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        long = path.endswith("/jobs")
        length = self.parts * len(self.part) if long else 2
        # With a length the connection is kept.
        start("200 OK", [("Content-Length", str(length))])
        return self._body(path) if long else [b"ok"]

    def _body(self, path: str) -> Iterator[bytes]:
        try:
            for _ in range(self.parts):
                self.made[path] += 1
                yield self.part
        finally:
            self.closed[path] += 1


@contextmanager
def slow_readers(port: int, paths: Iterable[str]) -> Iterator[list[socket.socket]]:
    """Each has asked, and reads nothing."""
    clients = []
    try:
        for path in paths:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.settimeout(20)
            client.connect(("127.0.0.1", port))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            clients.append(client)
        yield clients
    finally:
        for client in clients:
            client.close()


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def at_rest(app: Streams) -> Counter[str]:
    """What has been made of each, once nothing more is."""
    before, now = None, app.made.copy()
    while before != now:
        time.sleep(0.3)
        before, now = now, app.made.copy()
    return now


PATHS = [f"/batches/{number}/jobs" for number in range(20)]


def test_slow_readers_hold_no_thread() -> None:
    app = Streams()
    with serving(app, threads=1) as (_, port), slow_readers(port, PATHS):
        # All of them have been begun, though there are less threads.
        wait_for(lambda: len(app.made) == len(PATHS) > sum(THREADS.values()) + 1)
        at_rest(app)
        for path in ("/batches", "/readyz", "/batches/x", "/logs/x.log", "/healthz"):
            assert get(port, path) == b"ok"
        for method in ("POST", "DELETE"):
            assert get(port, "/batches", method=method) == b"ok"
        with slow_readers(port, ["/batches/new/jobs"]) as (newcomer,):
            assert newcomer.recv(100).startswith(b"HTTP/1.1 200")


def test_what_is_made_for_a_slow_reader_is_bounded() -> None:
    app = Streams()
    with serving(app) as (web, port), slow_readers(port, PATHS[:3]):
        wait_for(lambda: len(app.made) == 3)
        assert max(at_rest(app).values()) < app.parts
        ready = [each.total_outbufs_len for each in web._server.active_channels.values()]
        assert len(ready) == 3
        assert max(ready) < 256 * 1024 + len(app.part) + 1024


def test_a_slow_reader_gets_all_of_it() -> None:
    app = Streams(parts=200)
    with serving(app, threads=1) as (_, port), slow_readers(port, PATHS) as clients:
        wait_for(lambda: len(app.made) == len(PATHS))
        at_rest(app)
        for client in clients:
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert len(answer.read()) == app.parts * len(app.part)
        wait_for(lambda: sum(app.closed.values()) == len(PATHS))


def test_readers_at_full_speed_take_turns() -> None:
    app = Streams(size=1024)
    with serving(app) as (_, port), slow_readers(port, PATHS) as clients:
        stop = threading.Event()

        def read(client: socket.socket) -> None:
            with suppress(OSError):
                while not stop.is_set():
                    client.recv(1 << 20)

        readers = [threading.Thread(target=read, args=(each,)) for each in clients]
        for each in readers:
            each.start()
        for _ in range(3):
            app.made.clear()
            wait_for(lambda: len(app.made) == len(PATHS))
        stop.set()
        for each in readers:
            each.join(10)


@pytest.mark.parametrize("how", ["goes", "stays and reads nothing"])
def test_who_reads_no_more_is_let_go(how: str) -> None:
    app = Streams()
    timeout: dict[str, Any] = {"channel_timeout": 3} if how != "goes" else {}
    with serving(app, **timeout) as (web, port), slow_readers(port, PATHS[:3]) as clients:
        wait_for(lambda: len(app.made) == 3)
        if how == "goes":
            at_rest(app)
            for client in clients:
                client.close()
        # Asked now and then, since waitress looks for idle connections when it has to do something.
        wait_for(lambda: get(port, "/healthz") == b"ok" and sum(app.closed.values()) == 3)
        channels = web._server.active_channels
        wait_for(lambda: not any(each.is_busy() for each in list(channels.values())))


def test_requests_in_one_go_are_answered_in_order_however_slowly_read() -> None:
    app = Streams(parts=100)
    paths = ["/batches/1/jobs", "/batches", "/batches/2/jobs", "/batches/x", "/batches/3/jobs"]
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n" for path in paths]
    text = "\r\n".join(requests) + "Connection: close\r\n\r\n"
    with serving(app, threads=1) as (_, port), slow_readers(port, []) as clients:
        clients.append(client := socket.create_connection(("127.0.0.1", port), timeout=20))
        client.sendall(text.encode())
        wait_for(lambda: bool(app.made))
        at_rest(app)
        assert get(port, "/batches") == b"ok"
        answers = client.makefile("rb").read().split(b"HTTP/1.1 200 OK\r\n")[1:]
    bodies = [each.split(b"\r\n\r\n")[1] for each in answers]
    whole = app.part * app.parts
    assert bodies == [whole if path.endswith("/jobs") else b"ok" for path in paths]


def test_who_has_to_wait_for_a_thread_is_counted_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, waits = App(), Waits()
    with serving(app, waits, threads=2) as (_, port):
        for _ in range(5):
            threading.Thread(target=get, args=(port, "/slow", 30), daemon=True).start()
        wait_for(lambda: waits.depth >= 3)
        assert 3 <= waits.depth <= waits.waited <= 5
    assert "queue" not in caplog.text


def test_turns_do_not_count_as_waiting() -> None:
    app, waits = Streams(parts=50), Waits()
    with serving(app, waits) as (_, port), slow_readers(port, PATHS) as clients:
        for client in clients:
            answer = http.client.HTTPResponse(client)
            answer.begin()
            answer.read()
    assert waits.waited <= len(PATHS)


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


@contextmanager
def idle(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Connections of those who have asked once and stay, and of those who ask for nothing."""
    with ExitStack() as stack:
        made = []
        for count in range(number):
            client = socket.create_connection(("127.0.0.1", port), timeout=10)
            made.append(stack.enter_context(client))
            if count % 2:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(100)
        yield made


def test_a_thousand_idle_connections_shut_nobody_out() -> None:
    with serving(App()) as (_, port), idle(port, 1000):
        for path in ("/batches/x", "/batches", "/readyz"):
            assert get(port, path) == b"ok"


@contextmanager
def trickling(port: int, number: int) -> Iterator[threading.Event]:
    """Clients who send a byte now and then, half of them of a header, half of a body; the event is
    set once all of them have sent some."""
    head = b"POST /batches HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(number)
        ]
        for count, client in enumerate(clients):
            client.sendall(head + (b"\r\n" if count % 2 else b"X: "))
        over, all_sent = threading.Event(), threading.Event()

        def send() -> None:
            while not over.wait(0.2):
                for client in clients:
                    with suppress(OSError):
                        client.send(b"a")
                all_sent.set()

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield all_sent
        finally:
            over.set()
            thread.join(60)


def test_a_thousand_who_trickle_hold_up_nobody() -> None:
    def median(port: int) -> float:
        taken = []
        for _ in range(30):
            begun = time.monotonic()
            assert get(port, "/healthz", timeout=60) == b"ok"
            taken.append(time.monotonic() - begun)
        return sorted(taken)[len(taken) // 2]

    with serving(App()) as (_, port):
        idle_time = median(port)
        with trickling(port, 1000) as all_sent:
            assert all_sent.wait(60)
            assert median(port) < 5 + 20 * idle_time
            for path in ("/batches/x", "/batches", "/readyz"):
                assert get(port, path, timeout=60) == b"ok"


def test_who_trickles_is_let_go_and_who_is_only_slow_is_not() -> None:
    with (
        serving(App(), channel_timeout=8) as (_, port),
        socket.create_connection(("127.0.0.1", port), timeout=60) as trickler,
        socket.create_connection(("127.0.0.1", port), timeout=60) as slow,
    ):
        body = b"a" * 1024 * 8
        head = b"POST /batches HTTP/1.1\r\nHost: x\r\nContent-Length: "
        trickler.sendall(head + b"100000\r\n\r\n")
        slow.sendall(head + b"%d\r\n\r\n" % (len(body) * 20))
        deadline, gone = time.monotonic() + 60, False
        for _ in range(20):
            slow.sendall(body)
            time.sleep(0.5)
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        while not gone and time.monotonic() < deadline:
            try:
                trickler.send(b"a")
                time.sleep(0.05)
            except OSError:
                gone = True
        assert gone


def test_more_than_1024_connections_are_no_trouble() -> None:
    with serving(App(), connection_limit=3000) as (_, port), idle(port, 1100):
        assert get(port, "/batches/x") == b"ok"


def test_the_limit_counts_connections_only_and_those_beyond_wait() -> None:
    with serving(App(), connection_limit=3) as (_, port), idle(port, 2) as clients:
        assert get(port, "/batches/x") == b"ok"
        with idle(port, 1), idle(port, 1) as (waiting,):
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(100)
            clients[0].close()
            waiting.settimeout(10)
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")


def test_where_too_few_files_may_be_open_fewer_connections_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    with serving(App(), connection_limit=2000) as (web, _):
        assert web._server.adj.connection_limit == 1024 - 256 + 2


def test_who_closes_his_side_after_the_request_is_answered() -> None:
    app = App()
    with serving(app) as (_, port), socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert app.slow.acquire(timeout=10)
        time.sleep(0.2)
        app.go_on.set()
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_who_goes_before_he_is_told_to_go_on_holds_up_nobody() -> None:
    with (
        serving(App()) as (web, port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
    ):
        client.sendall(b"GET /batches HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        busy, go_on = threading.Event(), threading.Event()

        def hold_up() -> None:
            busy.set()
            go_on.wait(20)

        web._server.trigger.pull_trigger(hold_up)
        assert busy.wait(20)
        client.sendall(b"POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a reset: there is something to be read, and nobody to write to
        go_on.set()
        assert get(port, "/batches/x") == b"ok"


def test_a_taken_port_is_told_as_such() -> None:
    with serving(App()) as (_, port), pytest.raises(SettingsError, match=str(port)):
        # SO_REUSEADDR lets two bind, but not while one listens.
        Web(App(), Server(port=port))
