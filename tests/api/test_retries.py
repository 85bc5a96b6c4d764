"""POST /batches/{batch_id}/retry, as a request."""

from __future__ import annotations

from typing import Any

import pytest

from slurmbatch.model import Retry
from slurmbatch.states import END_CLASSES
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches


@pytest.fixture
def path(batches: FakeBatches) -> str:
    return f"/batches/{batches.add('anna', 4).batch_id}/retry"


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}])
def test_without_a_body_it_is_all_that_failed(
    api: Api, batches: FakeBatches, path: str, headers: dict[str, str]
) -> None:
    answer = api.ask("POST", path, headers=headers)
    assert answer.status_code == 202
    assert answer.json[0]["batch_id"] in path
    assert batches.retried == [(Retry(), None, b"")]


def test_all_of_it(api: Api, batches: FakeBatches, path: str) -> None:
    body = {
        "indices": [3, 1, 3], "memory_factor": 2, "time_factor": 1.5,
        "exclude_failed_nodes": True, "exclude_nodes": ["n1", "gpu-[01-10,12].site"],
    }  # fmt: skip
    answer = api.post(f"{path}?reason=TIMEOUT&reason=MEMORY", body,
                      headers={"Idempotency-Key": "k"})  # fmt: skip
    assert answer.status_code == 202
    wanted, key, body_hash = batches.retried[0]
    assert key == "k"
    assert len(body_hash) == 32
    assert wanted == Retry(
        frozenset({"TIMEOUT", "MEMORY"}), frozenset({1, 3}), 2.0, 1.5, True,
        ("n1", "gpu-[01-10,12].site"),
    )  # fmt: skip


def test_a_key_stands_for_all_that_was_asked(api: Api, batches: FakeBatches, path: str) -> None:
    other = f"/batches/{batches.add('anna', 4).batch_id}/retry"
    key = {"Idempotency-Key": "k"}
    for where, body in [
        (path, {}), (f"{path}?reason=EXIT", {}), (f"{path}?reason=NODE", {}),
        (path, {"indices": []}), (other, {}), (path, {"memory_factor": 2}),
    ]:  # fmt: skip
        assert api.post(where, body, headers=key).status_code == 202
    assert len({body_hash for _, _, body_hash in batches.retried}) == 6
    api.post(f"{path}?reason=NODE&reason=EXIT", {}, headers=key)
    api.post(f"{path}?reason=EXIT&reason=NODE", {}, headers=key)
    assert batches.retried[-1] == batches.retried[-2]
    assert api.post(path, {}, headers={"Idempotency-Key": "x" * 256}).status_code == 400


def test_every_mistake_at_once(api: Api, batches: FakeBatches, path: str) -> None:
    body: dict[str, Any] = {
        "indices": [0, -1, "2", True], "memory_factor": 0.5, "time_factor": 101,
        "exclude_failed_nodes": "yes", "exclude_nodes": ["n1", "n1 --uid=0", "-x", "n[1", 7],
        "cpu": 3,
    }  # fmt: skip
    answer = api.post(path, body)
    assert answer.status_code == 422
    told = {each["pointer"]: each["detail"] for each in answer.json["errors"]}
    assert told == {
        "/indices/1": "Expected at least 0, not -1.",
        "/indices/2": "Expected a whole number, not a string.",
        "/indices/3": "Expected a whole number, not true.",
        "/memory_factor": "Expected at least 1, not 0.5.",
        "/time_factor": "Expected at most 100, not 101.",
        "/exclude_failed_nodes": "Expected true or false, not a string.",
        "/exclude_nodes/1": "Expected the name of a node, or a list such as n[1-3,7].",
        "/exclude_nodes/2": "Expected the name of a node, or a list such as n[1-3,7].",
        "/exclude_nodes/3": "Expected the name of a node, or a list such as n[1-3,7].",
        "/exclude_nodes/4": "Expected a string, not 7.",
        "/cpu": "There is no such field here; there are: indices, memory_factor, time_factor, "
                "exclude_failed_nodes, exclude_nodes.",
    }  # fmt: skip
    assert batches.retried == []


@pytest.mark.parametrize("body", [[], "x", 7, None])
def test_a_body_that_is_no_object(api: Api, batches: FakeBatches, path: str, body: Any) -> None:
    assert api.post(path, body).status_code == 422
    assert batches.retried == []


def test_a_body_that_cannot_be_read(api: Api, batches: FakeBatches, path: str) -> None:
    assert api.post(path, b"{").status_code == 400
    assert api.ask("POST", path, body=b"{}").status_code == 415
    assert api.ask("POST", path, headers={"Content-Type": "text/plain"}).status_code == 415
    assert batches.retried == []


def test_a_class_that_is_none_of_an_end(api: Api, batches: FakeBatches, path: str) -> None:
    for word in ("CAPACITY", "timeout", "", "OK"):
        answer = api.post(f"{path}?reason=EXIT&reason={word}", {})
        assert answer.status_code == 400, word
        assert "CANARY, CANCELLED, DEADLINE, DEPENDENCY, EXIT, " in answer.json["detail"]
    assert batches.retried == []
    for word in END_CLASSES:
        assert api.post(f"{path}?reason={word}", {}).status_code == 202


def test_what_belongs_to_others_does_not_exist(api: Api, path: str) -> None:
    api.user = "berta"
    theirs, none = api.post(path, {}), api.post("/batches/nothing/retry", {})
    assert theirs.status_code == none.status_code == 404
    assert theirs.json["detail"] == none.json["detail"]


def test_the_log_of_a_run(api: Api, batches: FakeBatches) -> None:
    batch = batches.add("anna", 1)
    batches.log_file(batch).write_text("one\n")
    for address in (f"/logs/{batch.batch_id}-0.log",
                    f"/batches/{batch.batch_id}/jobs/{batch.batch_id}-0/log"):  # fmt: skip
        assert api.get(f"{address}?attempt=1").text == "one\n"
        assert api.get(f"{address}?attempt=2").status_code == 404
        for wrong in ("0", "x", "-1", "1000001"):
            assert api.get(f"{address}?attempt={wrong}").status_code == 400
