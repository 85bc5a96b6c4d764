"""The application on fakes, and a client that holds every answer to what all answers have."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from slurmbatch.api import create_app
from slurmbatch.api.shortcut import App
from tests.api.fakes import FakeBatches, FakeIdentity, FakeKeyring, FakeReadiness
from tests.api.hostile.site import Site

MAX_BODY = 64 * 1024
PROBLEM = ["type", "title", "status", "detail", "instance", "request_id"]


@dataclass
class Api:
    """Asks the application as a user; checks what every single response must have."""

    app: App
    user: str | None = "anna"
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any
    ) -> testing.Result:
        own = {"Authorization": f"key {self.user}"} if self.user else {}
        answer = testing.simulate_request(
            self.app, method, path, headers={**own, **self.headers, **(headers or {})}, **options
        )
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] in ("no-store", "private, no-cache")
        if answer.status_code >= 400 and method != "HEAD":
            check_problem(answer, path)
        return answer

    def get(self, path: str, **options: Any) -> testing.Result:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> testing.Result:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.ask("POST", path, headers=headers, body=raw, **options)

    def delete(self, path: str, **options: Any) -> testing.Result:
        return self.ask("DELETE", path, **options)


def check_problem(answer: testing.Result, path: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert list(problem)[:6] == PROBLEM
    assert problem["status"] == answer.status_code
    assert problem["type"].startswith("urn:slurmbatch:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].isascii()
    assert problem["request_id"] == answer.headers["x-request-id"]
    for each in problem.get("errors", []):
        assert list(each) == ["pointer", "detail"]
        assert each["pointer"] == "" or each["pointer"].startswith("/")
        assert "Input should" not in each["detail"]
        assert "Not acceptable" not in each["detail"]


@pytest.fixture
def batches(tmp_path: Path) -> FakeBatches:
    root = tmp_path / "logs"
    root.mkdir()
    return FakeBatches(root, os.getuid())


@pytest.fixture
def readiness() -> FakeReadiness:
    return FakeReadiness()


@pytest.fixture
def drain() -> list[bool]:
    """Goes down once something is in it."""
    return []


@pytest.fixture
def keyring() -> FakeKeyring:
    return FakeKeyring()


@pytest.fixture
def api(
    batches: FakeBatches, readiness: FakeReadiness, keyring: FakeKeyring, drain: list[bool]
) -> Api:
    app = create_app(
        batches, FakeIdentity(), readiness, keyring=keyring, max_body_bytes=MAX_BODY,
        draining=lambda: bool(drain),
    )  # fmt: skip
    return Api(app)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The real application with users, keys and batches of theirs, as they are for those who mean
    harm."""
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()
