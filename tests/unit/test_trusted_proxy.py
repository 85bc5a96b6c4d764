"""Who asks, where a proxy stands in front: told by the one that is trusted, by nobody else."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.config import Server
from slurmbatch.web import Web

SPOOFED = {
    "X-Forwarded-For": "203.0.113.7, 198.51.100.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "slurm.example.org",
}
OURS = "127.0.0.1"


def told(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST")
    more = [name for name in environ if "FORWARDED" in name]
    body = "|".join([*(str(environ[name]) for name in names), *more]).encode()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(listener: socket.socket, trusted_proxy: str | None) -> Iterator[None]:
    web = Web(told, Server(trusted_proxy=trusted_proxy), listener=listener)
    web.start()
    try:
        yield
    finally:
        web.stop(time.monotonic() + 5)


def ask(listener: socket.socket, headers: dict[str, str]) -> list[str]:
    connection = http.client.HTTPConnection("here", timeout=30)
    connection.sock = socket.socket(listener.family)
    connection.sock.settimeout(30)
    connection.sock.connect(listener.getsockname())
    connection.request("GET", "/healthz", headers={"Host": "here", **headers})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    return text.split("|")


@pytest.fixture(params=["tcp", "unix"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    is_unix = request.param == "unix"
    with socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET) as made:
        made.bind(str(tmp_path / "http") if is_unix else (OURS, 0))
        made.listen(8)
        yield made


def is_unix(listener: socket.socket) -> bool:
    return listener.family == socket.AF_UNIX


def test_the_trusted_one_is_believed_in_what_it_has_put_there_itself(
    listener: socket.socket,
) -> None:
    with serving(listener, "unix" if is_unix(listener) else OURS):
        address, scheme, host, *_ = ask(listener, SPOOFED)
        # The hop before is what the client says of itself.
        assert (address, scheme, host) == ("198.51.100.9", "https", "slurm.example.org")
        assert ask(listener, {"X-Forwarded-For": "2001:db8::1"})[0] == "2001:db8::1"
        # Other headers of the kind are nobody's.
        others = {"Forwarded": "for=203.0.113.7", "X-Forwarded-Port": "1", "X-Forwarded-By": "x"}
        assert ask(listener, others)[1:] == ["http", "here"]


@pytest.mark.parametrize("trusted", [None, "192.0.2.1", "::1", "the other kind"])
def test_anybody_else_is_not(listener: socket.socket, trusted: str | None) -> None:
    if trusted == "the other kind":
        trusted = OURS if is_unix(listener) else "unix"
    with serving(listener, trusted):
        own = "unix" if is_unix(listener) else OURS
        assert ask(listener, {**SPOOFED, "Forwarded": "for=203.0.113.7"}) == [own, "http", "here"]
