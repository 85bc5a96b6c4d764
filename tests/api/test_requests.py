"""Methods, credentials, query parameters, pages, caching, errors, and the access log."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slurmbatch import errors, journal
from slurmbatch.api import problems, render
from slurmbatch.model import Status
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches, FakeReadiness

PRIVATE = [
    "/batches", "/batches/{}", "/batches/{}/jobs", "/batches/{}/jobs/{}-0",
    "/batches/{}/jobs/{}-0/log", "/logs/{}-0.log", "/tools", "/tools/montecarlo-pi",
    "/filesystems",
]  # fmt: skip
PUBLIC = ["/healthz", "/readyz", "/openapi.json"]


@pytest.fixture
def batch_id(batches: FakeBatches) -> str:
    return batches.add("anna", 4).batch_id


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PRIVATE, "/no/such/path", "/"])
def test_no_credentials(api: Api, batches: FakeBatches, path: str) -> None:
    api.user = None
    answer = api.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert batches.calls == []


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public(api: Api, path: str) -> None:
    api.user = None
    assert api.get(path).status_code == 200
    assert api.get(path).headers["content-type"] == "application/json"


def test_what_belongs_to_others_does_not_exist(
    api: Api, batches: FakeBatches, batch_id: str
) -> None:
    other = batches.add("berta", 1).batch_id
    for method, path in [
        *(("GET", path) for path in PRIVATE if "{}" in path),
        ("DELETE", "/batches/{}"),
        ("POST", "/batches/{}/cancel"),
        ("POST", "/batches/{}/retry"),
    ]:
        theirs = api.ask(method, path.format(other, other))
        none = api.ask(method, path.format("01NONE", "01NONE"))
        assert theirs.status_code == none.status_code == 404
        same = {"instance": "", "request_id": ""}
        assert {**theirs.json, **same} == {**none.json, **same}
    assert other in batches.kept


# --- methods -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PRIVATE, *PUBLIC])
def test_head_is_get_without_the_body(api: Api, batch_id: str, path: str) -> None:
    path = path.format(batch_id, batch_id)
    got, head = api.get(path), api.ask("HEAD", path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "etag", "vary"):
        assert head.headers.get(name) == got.headers.get(name)


def test_head_of_nothing(api: Api) -> None:
    assert api.ask("HEAD", "/batches/none").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/batches", {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}),
        ("PATCH", "/batches/x", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("GET", "/batches/x/cancel", {"POST", "OPTIONS"}),
        ("POST", "/batches/x/jobs", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/tools", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_methods_that_are_not_there(api: Api, method: str, path: str, allowed: set[str]) -> None:
    answer = api.ask(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path", ["/", "/batch", "/batches/", "/batches/x/again", "/batches/x/jobs/y/z"]
)
def test_paths_that_are_not_there(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json["instance"] == path


def test_a_path_of_odd_characters(api: Api) -> None:
    answer = api.get("/batches/%0a%22%3Cscript%3E%C3%BC%FF")
    assert answer.status_code == 404
    assert answer.json["instance"].startswith("/batches/%0A%22%3Cscript%3E%C3%BC")


# --- cancel and delete ---------------------------------------------------------------------------


def test_cancel(api: Api, batches: FakeBatches, batch_id: str) -> None:
    answer = api.post(f"/batches/{batch_id}/cancel")
    assert answer.status_code == 202
    assert answer.json[0]["batch_id"] == batch_id
    assert answer.json[0]["cancelled"] is True


def test_delete_one(api: Api, batches: FakeBatches, batch_id: str) -> None:
    answer = api.delete(f"/batches/{batch_id}", headers={"X-Request-Id": "d-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/plain")
    assert batches.kept == {}
    assert batches.request_ids == ["d-1"]
    assert api.delete(f"/batches/{batch_id}").status_code == 404


def test_delete_all(api: Api, batches: FakeBatches, batch_id: str) -> None:
    theirs = batches.add("berta").batch_id
    answer = api.delete("/batches")
    assert (answer.status_code, answer.content) == (200, b"")
    assert list(batches.kept) == [theirs]


# --- query parameters and pages ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "word"),
    [
        ("/batches", "limit=0", "limit"),
        ("/batches", "limit=-1", "limit"),
        ("/batches", "limit=x", "limit"),
        ("/batches", "limit=", "limit"),
        ("/batches", "limit=1.0", "limit"),
        ("/batches", "limit=%D9%A1", "limit"),
        ("/batches", "limit=10001", "limit"),
        ("/batches", "limit=" + "9" * 5000, "limit"),
        ("/batches", "limit=1&limit=2", "limit"),
        ("/batches", "status=running", "status"),
        ("/batches", "status=", "status"),
        ("/batches", "status=RUNNING&status=FAILED", "status"),
        ("/batches", "limt=1", "limt"),
        ("/batches", "owner=berta", "owner"),
        ("/batches/{}", "limit=1", "limit"),
        ("/batches/{}/jobs", "status=DONE", "status"),
        ("/batches/{}/jobs", "status=RUNNING&status=x", "status"),
        ("/batches/{}/jobs", "limit=0", "limit"),
        ("/batches/{}/jobs", "after=nonsense", "after"),
        ("/batches/{}/jobs/{}-0", "x=1", "x"),
        ("/batches/{}/jobs/{}-0/log", "follow=yes", "follow"),
        ("/batches/{}", "wait=56", "wait"),
        ("/batches/{}", "since=1&since=2", "since"),
        ("/batches/{}/jobs/{}-0/log", "tail=0", "tail"),
        ("/batches/{}/jobs/{}-0/log", "tail=10001", "tail"),
        ("/logs/{}-0.log", "tail=all", "tail"),
        ("/tools", "q=1", "q"),
        ("/filesystems", "q=1", "q"),
    ],
)
def test_query_parameters_that_are_wrong(
    api: Api, batch_id: str, path: str, query: str, word: str
) -> None:
    answer = api.get(f"{path.format(batch_id, batch_id)}?{query}")
    assert answer.status_code == 400
    assert word in answer.json["detail"]


def test_writing_takes_no_parameters(api: Api, batches: FakeBatches, batch_id: str) -> None:
    for method, path in [
        ("DELETE", "/batches?status=FAILED"),
        ("DELETE", f"/batches/{batch_id}?force=1"),
        ("POST", f"/batches/{batch_id}/cancel?now=1"),
        ("POST", "/batches?limit=1"),
    ]:
        assert api.ask(method, path).status_code == 400
    assert list(batches.kept) == [batch_id]


def test_filters_of_batches(api: Api, batches: FakeBatches) -> None:
    batches.add("anna", name="a")
    batches.add("anna", name="ü &=", tool_id="probe", counts=dict.fromkeys(Status, 1))

    def names(query: str) -> list[str]:
        return [each["name"] for each in api.get(f"/batches?{query}").json]

    assert names("") == ["ü &=", "a"]
    assert names("status=RUNNING") == ["ü &="]
    assert names("tool_id=montecarlo-pi") == ["a"]
    assert names("name=%C3%BC+%26%3D") == ["ü &="]
    assert names("name=none") == []


def next_path(link: str) -> str:
    found = re.fullmatch(r'<(/[^>]*)>; rel="next"', link)
    assert found
    return found[1]


def test_pages_of_batches(api: Api, batches: FakeBatches) -> None:
    ids = [batches.add("anna", name="x &y").batch_id for _ in range(5)]
    seen: list[str] = []
    path = "/batches?limit=2&name=x+%26y"
    for _ in range(3):
        answer = api.get(path)
        seen += [each["batch_id"] for each in answer.json]
        if "link" in answer.headers:
            path = next_path(answer.headers["link"])
            assert "limit=2" in path
            assert "name=x+%26y" in path
            assert path.count("after=") == 1
    assert seen == ids[::-1]
    assert "link" not in answer.headers


def test_pages_of_jobs(api: Api, batches: FakeBatches) -> None:
    batch_id = batches.add("anna", 5).batch_id
    jobs = batches.jobs_of[batch_id]
    jobs[1] = replace(jobs[1], status=Status.RUNNING)
    path = f"/batches/{batch_id}/jobs?status=SUBMITTED&status=FAILED&limit=2"
    first = api.get(path)
    assert [each["index"] for each in first.json] == [0, 2]
    second = api.get(next_path(first.headers["link"]))
    assert [each["index"] for each in second.json] == [3, 4]
    assert "link" not in second.headers
    third = api.get(f"/batches/{batch_id}/jobs?after={batch_id}-4")
    assert third.json == []


def test_statuses_of_jobs(api: Api, batches: FakeBatches, batch_id: str) -> None:
    jobs = batches.jobs_of[batch_id]
    jobs[1] = replace(jobs[1], status=Status.RUNNING)
    jobs[2] = replace(jobs[2], status=Status.FAILED)
    answer = api.get(f"/batches/{batch_id}/jobs?status=RUNNING&status=FAILED")
    assert [each["status"] for each in answer.json] == ["RUNNING", "FAILED"]


def test_the_first_job_of_a_list_does_not_wait_for_more() -> None:
    asked = []

    def jobs() -> Iterator[int]:
        for number in range(3):
            asked.append(number)
            yield number

    chunks = render.array_chunks(jobs())
    assert next(chunks) == b"[0"
    assert asked == [0]
    assert b"".join(chunks) == b",1,2]"


@pytest.mark.parametrize("n_jobs", [0, 1, 249, 250, 251, 1000])
def test_any_number_of_jobs_is_one_array(api: Api, batches: FakeBatches, n_jobs: int) -> None:
    batch_id = batches.add("anna", n_jobs).batch_id
    answer = api.get(f"/batches/{batch_id}/jobs")
    assert [each["index"] for each in answer.json] == list(range(n_jobs))
    assert "content-length" not in answer.headers


# --- caching -------------------------------------------------------------------------------------


def test_a_batch_that_is_known_already(api: Api, batches: FakeBatches, batch_id: str) -> None:
    path = f"/batches/{batch_id}"
    tag = api.get(path).headers["etag"]
    assert tag == 'W/"1"'
    batches.calls.clear()
    for known in (tag, '"1"', f'"0", {tag}', "*"):
        answer = api.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert set(batches.calls) == {"etag"}
    batches.kept[batch_id] = replace(batches.kept[batch_id], version=2)
    answer = api.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    for unknown in ('"11"', "1", 'W/"', "", "nonsense"):
        assert api.get(path, headers={"If-None-Match": unknown}).status_code == 200


def test_what_is_gone_is_not_unchanged(api: Api) -> None:
    assert api.get("/batches/none", headers={"If-None-Match": "*"}).status_code == 404


# --- errors --------------------------------------------------------------------------------------

ERRORS: list[tuple[Exception, int, str]] = [
    (errors.Malformed(), 400, "malformed"),
    (errors.Forbidden("submit"), 403, "forbidden"),
    (errors.AccountRefused(), 403, "account-refused"),
    (errors.NotFound(), 404, "not-found"),
    (errors.Conflict(), 409, "conflict"),
    (errors.LogUnreadable(), 409, "log-unreadable"),
    (errors.TooLarge(), 413, "too-large"),
    (errors.UnsupportedMediaType(), 415, "unsupported-media-type"),
    (errors.RangeNotSatisfiable(7), 416, "range-not-satisfiable"),
    (errors.Invalid([errors.Fault("/x", "no")]), 422, "invalid"),
    (errors.OverLimit([errors.Reached("live_jobs", 5, 5, 1)], 30, "full"), 429, "over-limit"),
    (errors.KeyReused(), 422, "key-reused"),
    (errors.RefusedBySlurm(), 422, "refused-by-slurm"),
    (errors.Unavailable(), 503, "unavailable"),
    (errors.StoreUnavailable(), 503, "unavailable"),
    (errors.SlurmUnreachable(), 503, "slurm-unreachable"),
    (errors.StoreFull(), 507, "store-full"),
]


@pytest.mark.parametrize(("error", "status", "name"), ERRORS, ids=lambda each: str(each)[:20])
def test_errors(api: Api, batches: FakeBatches, error: Any, status: int, name: str) -> None:
    batches.broken = error
    answer = api.get("/batches")
    assert answer.status_code == status
    assert answer.json["type"] == f"urn:slurmbatch:problem:{name}"
    assert answer.json["detail"] == error.detail
    assert ("retry-after" in answer.headers) is (status in (429, 503))
    assert ("limits" in answer.json) is (status == 429)
    assert ("errors" in answer.json) is (name == "invalid")
    if status == 416:
        assert answer.headers["content-range"] == "bytes */7"


@pytest.mark.parametrize("query", ["", "?limit=10", "?status=FAILED"])
@pytest.mark.parametrize("n_jobs", [0, 1, 1000])
def test_trouble_while_jobs_are_read(
    api: Api, batches: FakeBatches, query: str, n_jobs: int
) -> None:
    batch = batches.add("anna", n_jobs)
    batches.broken_rows = errors.StoreUnavailable()
    answer = api.get(f"/batches/{batch.batch_id}/jobs{query}")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_every_kind_of_error_was_looked_at() -> None:
    tested = {type(error) for error, _, _ in ERRORS} | {errors.Unauthenticated}
    assert set(problems.KINDS) <= tested


@pytest.mark.parametrize(
    "error", [RuntimeError("secret\nwords"), errors.SlurmbatchError("inner words"), KeyError("k")]
)
def test_a_bug_tells_nothing_but_to_the_log(
    api: Api, batches: FakeBatches, log: io.StringIO, error: Exception
) -> None:
    batches.broken = error
    answer = api.get("/batches", headers={"X-Request-Id": "r-1"})
    assert answer.status_code == 500
    assert "words" not in answer.text
    assert "Traceback" not in answer.text
    [bug, access] = log.getvalue().splitlines()
    assert " error event=" in bug
    assert 'traceback="Traceback (most recent call last):\\n' in bug
    assert "request_id=r-1" in bug
    assert "status=500" in access


def test_errors_have_nothing_of_another_answer(api: Api, batches: FakeBatches) -> None:
    answer = api.get("/batches/none", headers={"If-None-Match": '"1"'})
    assert "etag" not in answer.headers
    assert answer.json["status"] == 404


# --- ids of requests, and the log ----------------------------------------------------------------


def test_the_clients_own_request_id(api: Api) -> None:
    answer = api.get("/tools", headers={"X-Request-Id": "abc-1.2_X"})
    assert answer.headers["x-request-id"] == "abc-1.2_X"


@pytest.mark.parametrize("theirs", ["", "a b", "x" * 65, "ä", "a\tb", 'a"b', "a,b", "<x>"])
def test_request_ids_that_are_not_taken_over(api: Api, theirs: str) -> None:
    answer = api.get("/tools", headers={"X-Request-Id": theirs})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


def test_one_line_a_request(api: Api, log: io.StringIO, batches: FakeBatches) -> None:
    journal.configure("debug", log)
    batch_id = batches.add("anna", 600).batch_id
    jobs = api.get(f"/batches/{batch_id}/jobs", headers={"X-Request-Id": "r-1"})
    api.ask("HEAD", f"/batches/{batch_id}/jobs")
    api.get("/healthz")
    api.get("/readyz")
    first, second = (line for line in log.getvalue().splitlines() if "/jobs" in line)
    for field in (
        'event="request served"', "method=GET", f"path=/batches/{batch_id}/jobs", "status=200",
        "user=anna", f"bytes={len(jobs.content)}", "request_id=r-1",
    ):  # fmt: skip
        assert f" {field}" in first
    assert re.search(r" ms=\d+\.\d ", first)
    assert "method=HEAD" in second
    assert "bytes=0" in second


def test_a_read_that_went_well_is_no_event(api: Api, log: io.StringIO) -> None:
    api.get("/tools")
    assert log.getvalue() == ""
    api.get("/tools/nope")
    assert "status=404" in log.getvalue()


def test_the_request_id_goes_with_the_request(api: Api, log: io.StringIO) -> None:
    api.get("/tools/nope", headers={"X-Request-Id": "r-1"})
    journal.get("t").info("something else")
    assert ["r-1" in line for line in log.getvalue().splitlines()] == [True, False]


def test_no_request_forges_a_line(api: Api, log: io.StringIO) -> None:
    api.user = "x\ny"
    api.get("/batches/%0a2026-01-01T00:00:00Z%20info%20event=forged%1b%5b31m%E2%80%AE")
    [line] = log.getvalue().splitlines()
    assert 'path="/batches/\\n2026-01-01T00:00:00Z info event=forged\\u001b[31m\\u202e"' in line
    assert 'user="x\\ny"' in line
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_the_authorization_is_never_logged(api: Api, log: io.StringIO) -> None:
    api.ask("GET", "/batches", headers={"Authorization": "Bearer very-secret"})
    assert "very-secret" not in log.getvalue()


# --- the service itself --------------------------------------------------------------------------


def test_ready(api: Api) -> None:
    assert api.get("/readyz").json == {"database": "ok", "slurmctld": "ok"}


def test_not_ready(api: Api, readiness: FakeReadiness) -> None:
    readiness.ready = False
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json["slurmctld"] == "down"
    assert api.get("/healthz").json == {"state": "alive"}


def test_going_down(api: Api, batches: FakeBatches, drain: list[bool]) -> None:
    drain.append(True)
    for path in ("/batches", "/tools", "/readyz", "/no/such/path"):
        answer = api.get(path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    assert batches.calls == []
    assert api.get("/healthz").status_code == 200
