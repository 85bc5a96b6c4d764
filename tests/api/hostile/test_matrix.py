"""Every route, asked by everybody: what is one's own, what is somebody else's, and what neither an
old key nor one for looking only may do."""

from __future__ import annotations

from typing import Any

import pytest
from falcon import testing

from tests.api.conftest import Api
from tests.api.hostile.site import ADMIN, OWN_MARK, OWNER, VICTIM, Site, id_of
from tests.api.hostile.written import GOOD
from tests.api.test_openapi import routes

WHO = ("owner", "stranger", "admin", "admin's usual", "reader", "expired", "revoked", "nobody")
# By whom what the owner has is asked for: admins see and cancel for others, with a key for that.
READ_OWN = (200, 404, 200, 404, 200, 401, 401, 401)
CHANGE_OWN = (200, 404, 404, 404, 403, 401, 401, 401)
READ = (200, 200, 200, 200, 200, 401, 401, 401)
CHANGE = (200, 200, 200, 200, 403, 401, 401, 401)
MAKE = (201, 201, 201, 201, 403, 401, 401, 401)
OPEN = (200,) * 8
MATRIX: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/batches"): READ,
    ("POST", "/batches"): MAKE,
    ("DELETE", "/batches"): CHANGE,
    ("GET", "/batches/{batch_id}"): READ_OWN,
    ("DELETE", "/batches/{batch_id}"): CHANGE_OWN,
    ("POST", "/batches/{batch_id}/cancel"): (202, 404, 202, 404, 403, 401, 401, 401),
    ("POST", "/batches/{batch_id}/retry"): (202, 404, 404, 404, 403, 401, 401, 401),
    ("GET", "/batches/{batch_id}/reasons"): READ_OWN,
    ("GET", "/batches/{batch_id}/notifications"): READ_OWN,
    ("GET", "/batches/{batch_id}/statuses"): READ_OWN,
    ("GET", "/batches/{batch_id}/jobs"): READ_OWN,
    ("GET", "/batches/{batch_id}/jobs/{job_id}"): READ_OWN,
    ("GET", "/batches/{batch_id}/jobs/{job_id}/log"): READ_OWN,
    ("GET", "/logs/{log_id}"): READ_OWN,
    ("GET", "/tools"): READ,
    ("GET", "/tools/{tool_id}"): READ,
    ("GET", "/filesystems"): READ,
    ("GET", "/keys"): READ,
    ("POST", "/keys"): MAKE,
    ("GET", "/keys/{key_id}"): (200, 404, 404, 404, 200, 401, 401, 401),
    ("DELETE", "/keys/{key_id}"): CHANGE_OWN,
    ("GET", "/service"): (403, 403, 200, 403, 403, 401, 401, 401),
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/{file}"): OPEN,
    ("GET", "/ui"): (308,) * 8,
    ("GET", "/ui/{file}"): OPEN,
}
BODIES: dict[tuple[str, str], Any] = {("POST", "/batches"): GOOD, ("POST", "/keys"): {"name": "x"}}
FILES = {"/docs/{file}": "start.js", "/ui/{file}": "app.js"}


def test_every_route_is_in_it(site: Site) -> None:
    assert set(MATRIX) == routes(Api(site.app))


class Asked:
    """One request of the matrix, at what the owner has, and what it changed."""

    def __init__(
        self, site: Site, method: str, route: str, who: str, *, looks: bool = True
    ) -> None:
        site.renew()
        self.site, self.method, self.route, self.who = site, method, route, who
        self.throwaway = site.key(OWNER) if "key_id" in route else site.keys[OWNER]
        self.names = {
            "batch_id": site.own, "job_id": f"{site.own}-0", "log_id": f"{site.own}-0.log",
            "tool_id": "probe", "key_id": id_of(self.throwaway), "file": FILES.get(route, ""),
        }  # fmt: skip
        self.before = self.state() if looks else None
        self.answer = self.ask(method, route.format(**self.names))

    def ask(self, method: str, path: str) -> testing.Result:
        key = {"owner": OWNER, "stranger": VICTIM}.get(self.who, self.who)
        headers = {} if key == "nobody" else {"Authorization": self.site.keys[key]}
        body = BODIES.get((self.method, self.route))
        return testing.simulate_request(
            self.site.app, method, path, headers=headers, json=body
        )  # fmt: skip

    def state(self) -> Any:
        """What an administrator wants to do is kept, also where it is refused."""
        rows, files = self.site.state()
        kept = ('INSERT INTO "audit"', 'INSERT INTO "sqlite_sequence"')
        is_admin = self.who in ("admin", "admin's usual")
        return [row for row in rows if not (is_admin and row.startswith(kept))], files


CELLS = [
    (method, route, who, expected)
    for (method, route), row in MATRIX.items()
    for who, expected in zip(WHO, row, strict=True)
]


@pytest.mark.parametrize(("method", "route", "who", "expected"), CELLS)
def test_each(site: Site, method: str, route: str, who: str, expected: int) -> None:
    asked = Asked(site, method, route, who)
    assert asked.answer.status_code == expected
    if expected >= 400 or method == "GET":
        assert asked.state() == asked.before
    if who not in ("owner", "reader") and not (who == "admin" and expected < 300):
        told = asked.answer.text
        assert OWN_MARK not in told
        # A refusal tells the path again that was asked for, and no more.
        own = asked.route.format(**asked.names).count(site.own)
        assert told.count(site.own) <= (own if expected >= 400 else 0)
    if expected == 404:
        nothing = {name: value.replace(site.own, "0" * 26) for name, value in asked.names.items()}
        nothing["key_id"] = "a" * 12
        never = asked.ask(method, route.format(**nothing))
        assert never.status_code == 404
        assert same(never.json, nothing) == same(asked.answer.json, asked.names)
        assert dict_of(never.headers) == dict_of(asked.answer.headers)


def same(problem: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Without what stands in the path, and in each request alone."""
    instance = problem["instance"]
    for name, value in names.items():
        instance = instance.replace(value, name) if value else instance
    return {**problem, "instance": instance, "request_id": ""}


def dict_of(headers: Any) -> dict[str, str]:
    return {
        name: value for name, value in headers.items()
        if name not in ("x-request-id", "content-length")
    }  # fmt: skip


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("route", [route for method, route in MATRIX if method == "GET"])
def test_head_tells_no_more(site: Site, route: str, who: str) -> None:
    asked = Asked(site, "GET", route, who, looks=False)
    head = asked.ask("HEAD", route.format(**asked.names))
    assert head.status_code == asked.answer.status_code
    assert head.content == b""


def test_deleting_all_is_deleting_one_s_own(site: Site) -> None:
    for who in ("stranger", "admin", "admin's usual"):
        asked = Asked(site, "DELETE", "/batches", who)
        assert asked.answer.status_code == 200
        assert site.store.batches.get(OWNER, site.own) is not None


def test_what_an_administrator_sees_of_others_is_kept(site: Site) -> None:
    Asked(site, "GET", "/batches/{batch_id}", "admin")
    kept = [row for row in site.state()[0] if row.startswith('INSERT INTO "audit"')]
    assert any("batch.see" in row and site.own in row and ADMIN in row for row in kept)
