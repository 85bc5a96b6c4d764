"""Every hostile request by hand, over a real socket, at the real server: it is refused, nothing is
changed by it, nothing of another's is told, and nobody is left waiting."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from slurmbatch.config import Server
from slurmbatch.web import Web
from tests.api.hostile.bodies import bodies
from tests.api.hostile.corpus import HARMLESS, REFUSED
from tests.api.hostile.site import MARK, MAX_BODY, OWNER, Site
from tests.api.hostile.written import GOOD, filled, post, request
from tests.ports import free_port

# Of HTTP's own refusals that are no 4xx: what a proxy would have to know, and a version.
_NOT_IMPLEMENTED = (501, 505)


class Served:
    """The site behind the server; `ask` gives status and answer, and 0 where it hangs up."""

    def __init__(self, site: Site) -> None:
        self.site = site
        server = Server(port=free_port(), max_body_bytes=MAX_BODY)
        self.port = server.port
        self.web = Web(site.app, server, at_once=site.app.shortcut.at_once)
        self.web.start()
        self._look = sqlite3.connect(site.path)
        self.look()

    def ask(self, raw: bytes) -> tuple[int, bytes]:
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=60)) as client:
            received = b""
            try:
                client.sendall(filled(raw, self.site.names()))
                client.shutdown(socket.SHUT_WR)
                while part := client.recv(1 << 16):
                    received += part
            except TimeoutError:
                raise
            except OSError:
                pass  # it was refused before all of it was sent
        return (int(received.split(b" ", 2)[1]) if received else 0), received

    def look(self) -> None:
        """From here on nothing is to change."""
        self._writes = self._look.execute("PRAGMA data_version").fetchone()[0]
        self._rows, self._files = self.site.state()

    def is_unchanged(self) -> bool:
        """Whether database and files are as they were."""
        writes = self._look.execute("PRAGMA data_version").fetchone()[0]
        if writes != self._writes:
            self._writes = writes
            if self.site.state()[0] != self._rows:
                return False
        return self.site.files() == self._files

    def close(self) -> None:
        self._look.close()
        self.web.stop(time.monotonic() + 5)


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Served]:
    made = Served(site)
    yield made
    made.close()


def harmless(served: Served, raw: bytes) -> tuple[int, bytes]:
    status, answer = served.ask(raw)
    assert status < 500 or status in _NOT_IMPLEMENTED
    assert served.is_unchanged()
    asked = filled(raw, served.site.names())
    for secret in (MARK, served.site.theirs, "Traceback", served.site.keys[OWNER]):
        # A refusal tells the path again that was asked for, and no more.
        told = asked.count(secret.encode()) if status >= 400 else 0
        assert answer.count(secret.encode()) <= told
    return status, answer


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(served: Served, raw: bytes) -> None:
    status, answer = harmless(served, raw)
    assert status == 0 or status >= 400
    head, _, body = answer.partition(b"\r\n\r\n")
    if status and body:
        assert b"\r\ncontent-type: application/problem+json" in head.lower()
        assert json.loads(body)["status"] == status


@pytest.mark.parametrize("raw", HARMLESS.values(), ids=HARMLESS.keys())
def test_it_does_no_harm(served: Served, raw: bytes) -> None:
    harmless(served, raw)


def test_the_same_without_the_poison_is_answered(served: Served) -> None:
    for target in ("/batches/@own@", "/logs/@own@-0.log", "/tools/probe", "/batches/@own@/jobs"):
        assert served.ask(request("GET", target))[0] == 200
    assert served.ask(post(GOOD))[0] == 201
    assert not served.is_unchanged()
    served.look()


def test_it_is_large() -> None:
    assert len(REFUSED) >= 1000
    assert len(dict(bodies())) >= 500
