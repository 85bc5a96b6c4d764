"""What is told of a batch before anything is set up for it is what is told else."""

from __future__ import annotations

from typing import Any

import pytest
from falcon import testing

from slurmbatch import journal
from slurmbatch.api import create_app
from slurmbatch.api.render import OBJECT
from slurmbatch.api.shortcut import Shortcut
from slurmbatch.errors import StoreUnavailable
from slurmbatch.model import Caller
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches, FakeIdentity, FakeKeyring, FakeReadiness


@pytest.fixture
def path(batches: FakeBatches) -> str:
    return f"/batches/{batches.add('anna').batch_id}"


def both_ways(api: Api, monkeypatch: pytest.MonkeyPatch, *asked: Any, **options: Any) -> Any:
    """The answer, which is the same without the shortcut but for the request's id."""
    with monkeypatch.context() as without:
        without.setattr(Shortcut, "in_turn", lambda *_: None)
        usual = api.ask(*asked, **options)
    quick = api.ask(*asked, **options)
    assert quick.status_code == usual.status_code
    assert _less_id(quick) == _less_id(usual)
    theirs, ours = ({name.lower(): value for name, value in each.headers.items()}
                    for each in (usual, quick))  # fmt: skip
    for headers in (theirs, ours):
        headers.pop("x-request-id")
    assert ours == theirs
    return quick


def is_short(api: Api, monkeypatch: pytest.MonkeyPatch, *asked: Any, **options: Any) -> bool:
    """Whether the request is answered by the shortcut."""
    told: list[bool] = []
    whole = Shortcut.in_turn

    def in_turn(shortcut: Shortcut, env: Any) -> Any:
        answer = whole(shortcut, env)
        told.append(answer is not None)
        return answer

    with monkeypatch.context() as watched:
        watched.setattr(Shortcut, "in_turn", in_turn)
        api.ask(*asked, **options)
    return told == [True]


def _less_id(answer: testing.Result) -> Any:
    if answer.status_code < 400 or not answer.content:
        return answer.content
    return {**answer.json, "request_id": ""}


TAGS = [None, 'W/"1"', '"1"', '"0", W/"1"', "*", 'W/"2"', "1", "", '"']


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?wait=0", "?nonsense=1"])
def test_the_same_either_way(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch, tag: str | None, method: str, query: str
) -> None:
    asked: dict[str, Any] = {"headers": {} if tag is None else {"If-None-Match": tag}}
    both_ways(api, monkeypatch, method, path + query, **asked)
    plain = method == "GET" and not query
    assert is_short(api, monkeypatch, method, path + query, **asked) is plain


@pytest.mark.parametrize("accept", [
    "*/*", "application/json", "text/html", OBJECT, f"{OBJECT};q=0.1, */*", f"{OBJECT};q=0",
    OBJECT.upper(), "",
])  # fmt: skip
def test_in_either_form(api: Api, path: str, monkeypatch: pytest.MonkeyPatch, accept: str) -> None:
    both_ways(api, monkeypatch, "GET", path, headers={"Accept": accept})


@pytest.mark.parametrize("coding", ["gzip", "identity", "gzip;q=0", "*", "br"])
@pytest.mark.parametrize("length", [1, 2000])
def test_as_gzip_where_it_pays(
    api: Api, batches: FakeBatches, monkeypatch: pytest.MonkeyPatch, coding: str, length: int
) -> None:
    long = f"/batches/{batches.add('anna', name='x' * length).batch_id}"
    asked = {"headers": {"Accept-Encoding": coding}}
    answer = both_ways(api, monkeypatch, "GET", long, **asked)
    packed = length > 1000 and coding in ("gzip", "*")
    assert (answer.headers.get("content-encoding") == "gzip") is packed
    assert is_short(api, monkeypatch, "GET", long, **asked) is not packed


def test_what_is_limited_is_counted(batches: FakeBatches, readiness: FakeReadiness) -> None:
    app = create_app(
        batches, FakeIdentity(), readiness, keyring=FakeKeyring(), max_body_bytes=1000,
        draining=lambda: False, requests_per_minute={"anna": 2}.get,
    )  # fmt: skip
    path = f"/batches/{batches.add('anna').batch_id}"
    answers = [Api(app).get(path) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-remaining"] == "1"


@pytest.mark.parametrize("user", ["berta", None])
def test_strangers_and_unknown_batches(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    api.user = user
    for each in (path, "/batches/unknown", path + "/", "/batches/"):
        for headers in ({"If-None-Match": "*"}, {}):
            answer = both_ways(api, monkeypatch, "GET", each, headers=headers)
            assert answer.status_code == (401 if user is None else 404)


def test_trouble_is_told_as_ever(
    api: Api, path: str, batches: FakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches.broken = StoreUnavailable()
    answer = both_ways(api, monkeypatch, "GET", path, headers={"If-None-Match": "*"})
    assert answer.status_code == 503
    batches.broken = ZeroDivisionError()
    answer = both_ways(api, monkeypatch, "GET", path, headers={"If-None-Match": "*"})
    assert answer.status_code == 500


def test_while_the_service_goes_down_it_is_refused(
    api: Api, path: str, drain: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    drain.append(True)
    answer = both_ways(api, monkeypatch, "GET", path, headers={"If-None-Match": "*"})
    assert answer.status_code == 503


def test_it_has_the_clients_id_and_is_logged_at_debug(
    api: Api, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"headers": {"If-None-Match": "*", "X-Request-Id": "mine-1"}}
    assert api.get(path, **asked).headers["x-request-id"] == "mine-1"
    journal.configure("debug")
    try:
        assert api.get(path, **asked).status_code == 304
    finally:
        journal.configure("info")
    assert "request served" in capsys.readouterr().err


def test_it_is_counted_like_any_other(
    path: str, batches: FakeBatches, readiness: FakeReadiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, int]] = []
    app = create_app(
        batches, FakeIdentity(), readiness, keyring=FakeKeyring(),
        max_body_bytes=1000, draining=lambda: False,
        seen=lambda method, route, code, seconds: seen.append((method, route, code)),
    )  # fmt: skip
    both_ways(Api(app), monkeypatch, "GET", path, headers={"If-None-Match": "*"})
    both_ways(Api(app), monkeypatch, "GET", path)
    assert seen == [("GET", "/batches/{batch_id}", code) for code in (304, 304, 200, 200)]


def test_credentials_that_are_refused_are_told_of_once(
    api: Api, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = testing.simulate_get(api.app, path, headers={"If-None-Match": "*"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]


class Counting(FakeIdentity):
    """How often it is found out who asks."""

    times = 0

    def authenticate(self, header: str | None) -> Caller:
        self.times += 1
        return super().authenticate(header)


def test_who_asks_is_found_out_once(
    path: str, batches: FakeBatches, readiness: FakeReadiness
) -> None:
    """Also where the answer is left to the usual way: a token's signature takes its time."""
    identity = Counting()
    app = create_app(
        batches, identity, readiness, keyring=FakeKeyring(), max_body_bytes=1000,
        draining=lambda: False,
    )  # fmt: skip
    assert isinstance(Api(app).get(path, headers={"Accept": OBJECT}).json, dict)
    assert identity.times == 1
