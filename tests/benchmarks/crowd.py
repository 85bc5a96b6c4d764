"""Many connections that want nothing, or want it slowly, while others ask for a status."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks.load import Counted
from tests.benchmarks.machine import cpu_seconds, load_average, memory_mib
from tests.benchmarks.site import Service

IDLE, SLOW, BUSY = 1_000, 100, 4
_PAUSE = 0.25
# The first two have a lane of their own, the others share theirs with whatever changes something.
_READS = (
    ("status", "{}"), ("healthz", "/healthz"), ("list", "/batches?limit=10"), ("readyz", "/readyz"),
)  # fmt: skip


def crowd(service: Service, path: str, seconds: float) -> list[dict[str, object]]:
    """Short reads and others with nobody else, beside idle connections, and beside slow ones."""
    _allow_files(IDLE + SLOW + 200)
    found = []
    for name, others in (
        ("nobody else", contextlib.nullcontext),
        (f"{IDLE} idle connections", lambda: _idle(service)),
        (f"{SLOW} that send a byte now and then", lambda: _slow_senders(service)),
        (f"{BUSY} that read a long list at full speed", lambda: _busy_readers(service, path)),
        (f"{SLOW} that read a long list slowly", lambda: _slow_readers(service, path)),
    ):
        with others():
            for what, where in _READS:
                target = service.target(what, where.format(path))
                found.append(_plain(name, what, target.run(4, seconds), service))
    return found


def _plain(others: str, what: str, turn: Counted, service: Service) -> dict[str, object]:
    return {
        "beside": others,
        "read": what,
        "clients": 4,
        "requests_per_second": round(turn.rate, 1),
        "p50_ms": turn.p50,
        "p99_ms": turn.p99,
        "errors": turn.errors,
        "memory_mib": memory_mib(service.pid),
        "load_average": load_average(),
    }


def _connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=10)


def _head(service: Service, path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {service.key}\r\n\r\n"
    ).encode()


@contextmanager
def _idle(service: Service) -> Iterator[None]:
    """Each has asked once and stays."""
    with ExitStack() as stack:
        for _ in range(IDLE):
            connection = stack.enter_context(_connect(service))
            connection.sendall(_head(service, "/healthz"))
            connection.recv(65536)
        yield


@contextmanager
def _slow_senders(service: Service) -> Iterator[None]:
    """Each sends its request a byte at a time."""
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(service)) for _ in range(SLOW)]
        text = _head(service, "/healthz") * 100

        def once(step: int) -> None:
            for connection in connections:
                connection.send(text[step : step + 1])

        with _again_and_again(once):
            yield


@contextmanager
def _slow_readers(service: Service, path: str) -> Iterator[None]:
    """Each asks for all jobs of a batch, and takes a kilobyte of it at a time."""
    with ExitStack() as stack, selectors.DefaultSelector() as ready:
        for _ in range(SLOW):
            connection = stack.enter_context(_connect(service))
            connection.sendall(_head(service, f"{path}/jobs"))
            ready.register(connection, selectors.EVENT_READ, connection)

        def once(_step: int) -> None:
            for key, _ in ready.select(0):
                key.data.recv(1024)

        with _again_and_again(once):
            _until_quiet(service.pid)
            yield


@contextmanager
def _busy_readers(service: Service, path: str) -> Iterator[None]:
    """Each asks for all jobs of a batch, again and again, in a process of its own."""
    command = ["wrk", "-t1", f"-c{BUSY}", "-d60s", "--timeout", "60s",
               "-H", f"Authorization: {service.key}",
               f"http://127.0.0.1:{service.port}{path}/jobs"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _until_quiet(pid: int, within: float = 20) -> None:
    """Until the server has as much ready for each as it holds, and waits for them."""
    ends, before = time.monotonic() + within, cpu_seconds(pid)
    while time.monotonic() < ends:
        time.sleep(0.5)
        now = cpu_seconds(pid)
        if now - before < 0.1:
            return
        before = now


@contextmanager
def _again_and_again(once: object) -> Iterator[None]:
    assert callable(once)
    stop = threading.Event()

    def loop() -> None:
        step = 0
        with contextlib.suppress(OSError):
            while not stop.wait(_PAUSE):
                once(step)
                step += 1

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
