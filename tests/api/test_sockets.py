"""The same over a real socket and a real waitress: framing, chunks, lies about lengths."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from waitress.server import create_server

from tests.api.conftest import MAX_BODY, Api
from tests.api.fakes import FakeBatches

GOOD = json.dumps({"tool_id": "montecarlo-pi", "hardware": {"cpu": 1}}).encode()
JSON = {"Authorization": "key anna", "Content-Type": "application/json"}


@pytest.fixture
def port(api: Api) -> Iterator[int]:
    server: Any = create_server(
        api.app, host="127.0.0.1", port=0, threads=2, max_request_body_size=2 * MAX_BODY
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    yield int(server.effective_port)
    server.task_dispatcher.shutdown()  # whose threads pull the trigger, too
    # As pull_trigger does, but so that nobody closes it while it is pulled.
    with server.trigger.lock:
        server.trigger.thunks.append(server.close)
        server.trigger._physical_pull()
    thread.join(60)
    assert not thread.is_alive()


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, {**JSON, **(headers or {})})
        answer = connection.getresponse()
        return answer, answer.read()


def raw(port: int, text: bytes) -> bytes:
    """Everything that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def test_a_batch_in_chunks(port: int, batches: FakeBatches) -> None:
    parts = iter([GOOD[:10], GOOD[10:]])
    answer, _ = ask(port, "POST", "/batches", parts)
    assert answer.status == 201
    assert len(batches.submitted) == 1


def test_too_much_in_chunks(port: int, batches: FakeBatches) -> None:
    parts = iter([b" " * 1024] * (MAX_BODY // 1024 + 1))
    answer, text = ask(port, "POST", "/batches", parts)
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert str(MAX_BODY) in json.loads(text)["detail"]
    assert batches.calls == []


def test_too_much_at_once(port: int) -> None:
    answer, text = ask(port, "POST", "/batches", b" " * (MAX_BODY + 1))
    assert answer.status == 413
    assert json.loads(text)["status"] == 413


@pytest.mark.parametrize("length", [b"99999999999999", b"-1", b"x", b"1, 2"])
def test_lengths_that_lie(port: int, batches: FakeBatches, length: bytes) -> None:
    text = raw(
        port,
        b"POST /batches HTTP/1.1\r\nHost: x\r\nAuthorization: key anna\r\n"
        b"Content-Type: application/json\r\nContent-Length: " + length + b"\r\n\r\n{}",
    )
    assert text.split(b" ")[1] in (b"400", b"413")
    assert batches.calls == []


def test_head_keeps_the_connection(port: int, batches: FakeBatches) -> None:
    batch = batches.add("anna", 3)
    batches.log_file(batch).write_bytes(b"x" * 1000)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        for path in (f"/batches/{batch.batch_id}", f"/logs/{batch.batch_id}-0.log"):
            connection.request("HEAD", path, headers=JSON)
            head = connection.getresponse()
            assert (head.status, head.read()) == (200, b"")
            connection.request("GET", path, headers=JSON)
            got = connection.getresponse()
            assert int(head.headers["Content-Length"]) == len(got.read())


def test_a_long_list_of_jobs(port: int, batches: FakeBatches) -> None:
    batch_id = batches.add("anna", 3000).batch_id
    answer, text = ask(port, "GET", f"/batches/{batch_id}/jobs")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert len(json.loads(text)) == 3000
    answer, text = ask(port, "HEAD", f"/batches/{batch_id}/jobs")
    assert (answer.status, text) == (200, b"")


def test_a_long_list_as_gzip(port: int, batches: FakeBatches) -> None:
    path = f"/batches/{batches.add('anna', 3000).batch_id}/jobs"
    _, plain = ask(port, "GET", path)
    answer, text = ask(port, "GET", path, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(text) == plain


@pytest.fixture
def log_file(batches: FakeBatches) -> Path:
    file = batches.log_file(batches.add("anna"))
    file.write_bytes(os.urandom(300_000))
    return file


def test_a_range_of_a_log(port: int, log_file: Path) -> None:
    path = f"/logs/{log_file.parent.name}-0.log"
    answer, content = ask(port, "GET", path, headers={"Range": "bytes=100000-199999"})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == "bytes 100000-199999/300000"
    assert content == log_file.read_bytes()[100_000:200_000]


def test_a_log_that_shrinks_while_it_is_sent(port: int, log_file: Path) -> None:
    with log_file.open("r+b") as file:
        file.truncate(1 << 30)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"GET /logs/" + log_file.parent.name.encode() + b"-0.log HTTP/1.1\r\n"
            b"Host: x\r\nAuthorization: key anna\r\n\r\n"
        )
        received = len(connection.recv(1000))
        with log_file.open("r+b") as file:
            file.truncate(0)
        while part := connection.recv(1 << 20):
            received += len(part)
    assert received < 1 << 29


def test_going_down_lets_connections_go(port: int, drain: list[bool], batches: FakeBatches) -> None:
    drain.append(True)
    for path, status in (("/batches", 503), ("/healthz", 200)):
        answer, text = ask(port, "GET", path)
        assert answer.status == status
        assert answer.headers["Connection"] == "close"
        assert json.loads(text)
    assert batches.calls == []
