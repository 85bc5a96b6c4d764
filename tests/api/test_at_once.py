"""That a batch is what it was is told in the server's own loop to whoever has an API key, and
all else as ever: on the real application, with real credentials, over a real socket."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jwt
import pytest

from slurmbatch.api import create_app
from slurmbatch.api.shortcut import Told
from slurmbatch.config import Server
from slurmbatch.identity import Identity
from slurmbatch.identity.keyring import Keyring
from slurmbatch.model import Caller, NewBatch
from slurmbatch.web import Web
from tests.api.fakes import FakeReadiness
from tests.api.hostile.site import ADMIN, MAX_BODY, OWNER, VICTIM, Site, id_of
from tests.unit.test_at_once import client_of, listening, rest_of, text
from tests.unit.test_identity import SECRET, SHARED


class Served:
    """The site behind two servers, of which only the first may answer at once. `at_once` says of
    each request that it was asked about whether it did; `threads`, where that was."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.at_once: list[bool] = []
        self.threads: set[str] = set()
        self.seen: list[tuple[str, str, int]] = []
        self.draining = False
        app = create_app(
            site.batches,
            Identity(site.store.keys, (SHARED,), is_admin=lambda user_id: user_id == ADMIN),
            FakeReadiness(), keyring=Keyring(site.store.keys, days=365), max_body_bytes=MAX_BODY,
            draining=lambda: self.draining,
            seen=lambda method, route, code, _: self.seen.append((method, route, code)),
        )  # fmt: skip
        self._told = app.shortcut.at_once
        listeners = [listening(), listening()]
        self._ports = [each.getsockname()[1] for each in listeners]
        self._webs = [
            Web(app, Server(), listener=listener, at_once=at_once)
            for listener, at_once in zip(listeners, (self._ask, None), strict=True)
        ]
        for web in self._webs:
            web.start()

    def _ask(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Told | None:
        told = self._told(method, path, query, headers)
        self.at_once.append(told is not None)
        self.threads.add(threading.current_thread().name)
        return told

    def ask(self, raw: bytes) -> tuple[int, bool, bytes]:
        """The status, whether it was told at once, and the answer, which is the same either way but
        for what it has of its own."""
        self.at_once.clear()
        quick, usual = (_answer(port, raw) for port in self._ports)
        assert _less_own(quick) == _less_own(usual)
        return int(quick.split(b" ", 2)[1]), self.at_once == [True], quick

    def get(self, path: str, key: str, *headers: str) -> tuple[int, bool, bytes]:
        return self.ask(text(path, f"Authorization: {key}", *headers))

    def close(self) -> None:
        for web in self._webs:
            web.stop(time.monotonic() + 5)


def _answer(port: int, raw: bytes) -> bytes:
    with client_of(port) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        return rest_of(client)


def _less_own(answer: bytes) -> bytes:
    answer = re.sub(rb'("request_id": ?)"[^"]+"', rb"\1", answer)
    return re.sub(rb"(X-Request-Id|Date): [^\r]+\r\n", rb"\1\r\n", answer)


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Served]:
    made = Served(site)
    yield made
    made.close()


@pytest.fixture
def own(served: Served) -> str:
    return f"/batches/{served.site.own}"


def tag_of(answer: bytes) -> str:
    found = re.search(rb"(?i)etag: ([^\r]+)\r\n", answer)
    assert found
    return found[1].decode()


@pytest.mark.parametrize("how", ["@", "Bearer @", "bearer   @ ", "\t@"])
@pytest.mark.parametrize("key", [OWNER, "reader"])
def test_whoever_has_a_key_is_told_at_once(served: Served, own: str, how: str, key: str) -> None:
    credential = how.replace("@", served.site.keys[key])
    status, at_once, answer = served.get(own, credential)
    assert (status, at_once) == (200, False)
    tag = tag_of(answer)
    for known in (tag, tag.removeprefix("W/"), f'W/"x", {tag}', "*"):
        status, at_once, answer = served.get(own, credential, f"If-None-Match: {known}")
        assert (status, at_once) == (304, True)
        assert tag_of(answer) == tag
    assert served.threads == {"web"}


def test_it_has_the_clients_id_or_one_of_its_own(served: Served, own: str) -> None:
    mine = served.get(own, served.site.keys[OWNER], "If-None-Match: *", "X-Request-Id: mine-1")
    assert mine[:2] == (304, True)
    assert b"\r\nX-Request-Id: mine-1\r\n" in mine[2]
    ids = set()
    for theirs in ("", "X-Request-Id: no good one"):
        *_, answer = served.get(own, served.site.keys[OWNER], "If-None-Match: *", theirs or "A: b")
        found = re.search(rb"\r\nX-Request-Id: ([0-9a-f]+)\r\n", answer)
        assert found
        ids.add(found[1])
    assert len(ids) == 2


def test_it_is_counted_like_any_other(served: Served, own: str) -> None:
    served.seen.clear()
    assert served.get(own, served.site.keys[OWNER], "If-None-Match: *")[:2] == (304, True)
    assert served.seen == [("GET", "/batches/{batch_id}", 304)] * 2


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    headers: tuple[str, ...]
    path: str = "@own@"
    method: str = "GET"
    version: str = "1.1"


KNOWN = "If-None-Match: *"
CASES = [
    Case("an old tag", 200, ("Authorization: @anna@", 'If-None-Match: W/"0"')),
    Case("no tag", 200, ("Authorization: @anna@", "If-None-Match:")),
    Case("an unknown batch", 404, ("Authorization: @anna@", KNOWN), "/batches/unknown"),
    Case("no batch", 404, ("Authorization: @anna@", KNOWN), "/batches/"),
    Case("below a batch", 404, ("Authorization: @anna@", KNOWN), "@own@/"),
    Case("another's batch", 404, ("Authorization: @victor@", KNOWN)),
    Case("an administrator", 304, ("Authorization: @admin@", KNOWN)),
    Case("an administrator's usual key", 404, ("Authorization: @admin's usual@", KNOWN)),
    Case("an expired key", 401, ("Authorization: @expired@", KNOWN)),
    Case("a revoked key", 401, ("Authorization: @revoked@", KNOWN)),
    Case("a wrong secret", 401, ("Authorization: @anna@x", KNOWN)),
    Case("another's secret", 401, ("Authorization: @mixed@", KNOWN)),
    Case("two keys", 401, ("Authorization: @anna@ @anna@", KNOWN)),
    Case("another scheme", 401, ("Authorization: Basic @anna@", KNOWN)),
    Case("nobody", 401, (KNOWN,)),
    Case("a token", 304, ("Authorization: Bearer @token@", KNOWN)),
    Case("a token of nobody's", 401, ("Authorization: Bearer @token@x", KNOWN)),
    Case("munge", 401, ("Authorization: munge MUNGE:AwQDAAA=:", KNOWN)),
    Case("a wait", 304, ("Authorization: @anna@", KNOWN), "@own@?wait=0"),
    Case("an unknown parameter", 400, ("Authorization: @anna@", KNOWN), "@own@?nonsense=1"),
    Case("HEAD", 304, ("Authorization: @anna@", KNOWN), method="HEAD"),
    Case("another method", 405, ("Authorization: @anna@", KNOWN), method="PUT"),
    Case("an old version", 304, ("Authorization: @anna@", KNOWN), version="1.0"),
    Case("closing", 304, ("Authorization: @anna@", KNOWN, "Connection: close")),
    Case("a list", 200, ("Authorization: @anna@", KNOWN, "Accept-Encoding: x"), "@own@/jobs"),
]


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
def test_all_else_is_told_as_ever(served: Served, own: str, case: Case) -> None:
    keys, now = served.site.keys, time.time()
    claims = {"iss": SHARED.issuer, "aud": SHARED.audience, "sub": OWNER, "exp": now + 600,
              "iat": now - 10}  # fmt: skip
    names = {**keys, "own": own, "token": jwt.encode(claims, SECRET, "HS256"),
             "mixed": f"sbk_{id_of(keys[VICTIM])}_{keys[OWNER].split('_', 2)[2]}"}  # fmt: skip

    def filled(text: str) -> str:
        for name, value in names.items():
            text = text.replace(f"@{name}@", value)
        return text

    headers = [filled(each) for each in case.headers]
    raw = text(filled(case.path), *headers, method=case.method, version=case.version)
    status, at_once, _ = served.ask(raw)
    assert (status, at_once) == (case.status, False)


def test_what_an_administrator_looks_at_is_kept(served: Served) -> None:
    batch_id = served.site.new_batch(OWNER, "looked at")
    for _ in range(2):
        assert served.get(f"/batches/{batch_id}", served.site.keys["admin"], KNOWN)[0] == 304
    (act,) = served.site.store.audit.find(target=batch_id, what="batch.see")
    assert (act.owner, act.remote) == (OWNER, "127.0.0.1")


def test_what_has_changed_is_told_from_then_on(served: Served) -> None:
    site, key, anna = served.site, served.site.keys[OWNER], Caller(OWNER, "test")
    new = NewBatch("probe", fixed_args={}, variable_args=({},), cpu=1, memory=64)
    batch_id = site.batches.submit(anna, new, body_hash=b"h")[0].batch_id
    path = f"/batches/{batch_id}"
    tag = tag_of(served.get(path, key)[2])
    assert served.get(path, key, f"If-None-Match: {tag}")[:2] == (304, True)
    site.batches.cancel(anna, batch_id)
    status, at_once, answer = served.get(path, key, f"If-None-Match: {tag}")
    assert (status, at_once) == (200, False)
    assert served.get(path, key, f"If-None-Match: {tag_of(answer)}")[:2] == (304, True)
    site.batches.delete(anna, batch_id)
    assert served.get(path, key, f"If-None-Match: {tag_of(answer)}")[:2] == (404, False)


def test_a_key_that_is_revoked_is_good_for_nothing_from_then_on(served: Served, own: str) -> None:
    key = served.site.key(OWNER)
    assert served.get(own, key, KNOWN)[:2] == (304, True)
    served.site.store.keys.revoke_key(id_of(key), time.time())
    assert served.get(own, key, KNOWN)[:2] == (401, False)


def test_while_the_service_goes_down_it_is_refused(served: Served, own: str) -> None:
    served.draining = True
    try:
        assert served.get(own, served.site.keys[OWNER], KNOWN)[:2] == (503, False)
    finally:
        served.draining = False
