"""/keys, and what credentials are good for."""

from __future__ import annotations

from typing import Any

import pytest

from slurmbatch.api import operations
from slurmbatch.model import Caller, NewKey, Scope
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches, FakeKeyring

READ_ONLY = {"Authorization": "key anna read"}
SUBMIT_ONLY = {"Authorization": "key anna submit"}
# A key may give itself up: for that one the keyring decides.
WRITES = [
    each for each in operations.OPERATIONS
    if each.method in ("POST", "DELETE") and each.name != "revoke_key"
]  # fmt: skip
FIELDS = [
    "key_id", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at", "current",
]  # fmt: skip


def test_a_key_is_made_shown_once_listed_and_revoked(api: Api) -> None:
    made = api.post("/keys", {"name": "laptop"})
    assert made.status_code == 201
    (key,) = made.json
    assert list(key) == [*FIELDS, "key"]
    assert made.headers["location"] == f"/keys/{key['key_id']}"
    (listed,) = api.get("/keys").json
    assert list(listed) == FIELDS
    assert api.get(made.headers["location"]).json == [listed]
    gone = api.delete(made.headers["location"])
    assert (gone.status_code, gone.content) == (200, b"")
    assert api.get("/keys").json[0]["revoked_at"]


def test_without_a_body_it_is_as_it_comes(api: Api, keyring: FakeKeyring) -> None:
    assert api.ask("POST", "/keys").status_code == 201
    assert keyring.asked == [NewKey()]


def test_what_was_asked_for_is_read(api: Api, keyring: FakeKeyring) -> None:
    body = {"name": "ü", "scopes": ["read", "submit"], "expires_at": "2026-12-31T01:00:00+01:00"}
    assert api.post("/keys", body).status_code == 201
    scopes = frozenset((Scope.READ, Scope.SUBMIT))
    assert keyring.asked == [NewKey("ü", scopes, 1_798_675_200.0)]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ([], [""]),
        ({"user_id": "root"}, ["/user_id"]),
        ({"secret_hash": "x", "key_id": "y"}, ["/key_id", "/secret_hash"]),
        ({"name": "a\nb"}, ["/name"]),
        ({"name": "a" * 101}, ["/name"]),
        ({"name": 1, "scopes": "read", "expires_at": 7}, ["/expires_at", "/name", "/scopes"]),
        ({"scopes": []}, ["/scopes"]),
        ({"scopes": ["root"]}, ["/scopes/0"]),
        ({"scopes": ["read"] * 4}, ["/scopes"]),
        ({"expires_at": "tomorrow", "name": "\x00"}, ["/expires_at", "/name"]),
        ({"expires_at": "2026-12-31"}, ["/expires_at"]),
        ({"expires_at": "2026-12-31T00:00:00"}, ["/expires_at"]),
        ({"expires_at": "9" * 41}, ["/expires_at"]),
    ],
)  # fmt: skip
def test_all_mistakes_are_told(
    api: Api, keyring: FakeKeyring, body: Any, pointers: list[str]
) -> None:
    answer = api.post("/keys", body)
    assert answer.status_code == 422
    assert sorted(each["pointer"] for each in answer.json["errors"]) == pointers
    assert keyring.asked == []


def test_a_strangers_key_is_not_there(api: Api, keyring: FakeKeyring) -> None:
    key_id = keyring.create(Caller("berta", ""), NewKey())[0].key_id
    for method in ("GET", "DELETE"):
        theirs = api.ask(method, f"/keys/{key_id}").json
        never = api.ask(method, "/keys/key7").json
        for answer in (theirs, never):
            del answer["request_id"], answer["instance"]
        assert theirs == never
    assert keyring.kept[key_id].revoked_at is None


class TestScopes:
    @pytest.mark.parametrize("operation", WRITES, ids=lambda each: each.name)
    def test_one_that_may_only_look_changes_nothing(
        self, api: Api, batches: FakeBatches, keyring: FakeKeyring, operation: Any
    ) -> None:
        batch_id = batches.add("anna").batch_id
        path = operation.path.format(batch_id=batch_id, job_id=f"{batch_id}-0", key_id="x")
        answer = api.ask(operation.method, path, headers=READ_ONLY)
        assert answer.status_code == 403
        assert answer.json["type"] == "urn:slurmbatch:problem:forbidden"
        assert "scope submit" in answer.json["detail"]
        told = answer.headers["www-authenticate"]
        assert told.endswith('error="insufficient_scope", scope="submit"')
        assert batches.calls == []
        assert keyring.asked == []
        told = answer.headers["x-request-id"]
        assert batches.forbade == [("anna", f"{operation.method} {operation.path}", told)]

    def test_it_sees_what_there_is(self, api: Api, batches: FakeBatches) -> None:
        batch_id = batches.add("anna").batch_id
        for path in ("/batches", f"/batches/{batch_id}", "/tools", "/keys"):
            assert api.get(path, headers=READ_ONLY).status_code == 200

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_one_that_may_only_submit_sees_nothing(
        self, api: Api, batches: FakeBatches, method: str
    ) -> None:
        batch_id = batches.add("anna").batch_id
        etag = api.get(f"/batches/{batch_id}").headers["etag"]
        for more in ({}, {"If-None-Match": etag}):
            asked = {**SUBMIT_ONLY, **more}
            assert api.ask(method, f"/batches/{batch_id}", headers=asked).status_code == 403
        assert (
            api.ask("POST", f"/batches/{batch_id}/cancel", headers=SUBMIT_ONLY).status_code == 202
        )

    def test_what_needs_no_credentials_needs_no_scope(self, api: Api) -> None:
        assert api.get("/healthz", headers=SUBMIT_ONLY).status_code == 200


class TestAdministrators:
    def test_list_for_others(self, api: Api, batches: FakeBatches) -> None:
        batch_id = batches.add("berta").batch_id
        assert api.get("/batches?user=berta").status_code == 403
        assert "scope admin" in api.get("/batches?user=berta").json["detail"]
        assert api.get("/batches?user=anna").json == []
        admin = {"Authorization": "key anna read admin"}
        (found,) = api.get("/batches?user=berta", headers=admin).json
        assert (found["batch_id"], found["user"]) == (batch_id, "berta")
