"""GET /batches/{batch_id}/reasons, and the same in the batch: what is said, and with which log."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slurmbatch import summary
from slurmbatch.api.resources.reasons import last_lines
from slurmbatch.model import Batch, Status
from slurmbatch.summary import Facts, Group
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches

BAD = "EXIT: ended with exit code 1 (FAILED)"


@pytest.fixture
def failed(batches: FakeBatches) -> Batch:
    batch = batches.add("anna", 4)
    groups = [Group(Status.FAILED, BAD, 2, "n1", 2, 1, 1), Group(Status.RUNNABLE, "LIMIT: x", 1)]
    facts = Facts(batch.batch_id, 4, batch.hardware, 30, groups)
    said = {**summary.document(facts), "expected_end": 1_763_906_587.0}
    batch = replace(batch, summary=json.dumps(said))
    batches.kept[batch.batch_id] = batch
    return batch


def test_in_the_batch(api: Api, failed: Batch) -> None:
    [batch] = api.get(f"/batches/{failed.batch_id}").json
    assert batch["reasons"] == [
        {"text": "2 of 4 jobs failed on n1: ended with exit code 1 (FAILED)", "status": "FAILED",
         "reason": BAD, "n_jobs": 2, "node": "n1", "job_id": f"{failed.batch_id}-1"},
        {"text": "1 of 4 jobs waits: each x", "status": "RUNNABLE", "reason": "LIMIT: x",
         "n_jobs": 1, "node": "", "job_id": ""},
    ]  # fmt: skip
    assert batch["expected_end"] == "2025-11-23T14:03:07Z"
    assert batch["usage"]["memory"]["asked"] == 256


def test_a_batch_that_has_said_nothing_yet(api: Api, batches: FakeBatches) -> None:
    batch = batches.add("anna")
    [shown] = api.get(f"/batches/{batch.batch_id}").json
    assert (shown["reasons"], shown["expected_end"]) == ([], "")
    assert shown["usage"]["time"] == {"asked": 1800, "p50": None, "p95": None, "max": None}
    assert api.get(f"/batches/{batch.batch_id}/reasons").json == []


def test_with_the_last_lines_of_a_log(api: Api, batches: FakeBatches, failed: Batch) -> None:
    lines = [f"line {n} \x1b[31m é" for n in range(50)]
    batches.log_file(failed, 1).write_text("\n".join(lines) + "\n")
    answer = api.get(f"/batches/{failed.batch_id}/reasons")
    assert answer.status_code == 200
    first, second = answer.json
    assert list(first) == ["text", "status", "reason", "n_jobs", "node", "job_id", "log"]
    assert first["log"].split("\n") == lines[-20:]
    assert second["log"] == ""


def test_one_without_a_log_is_told_all_the_same(api: Api, failed: Batch) -> None:
    assert [each["log"] for each in api.get(f"/batches/{failed.batch_id}/reasons").json] == ["", ""]


def test_somebody_else_s_is_not_there(api: Api, batches: FakeBatches) -> None:
    theirs = batches.add("berta")
    assert api.get(f"/batches/{theirs.batch_id}/reasons").status_code == 404


def test_looking_at_a_batch_reads_no_log(api: Api, batches: FakeBatches, failed: Batch) -> None:
    batches.calls.clear()
    api.get(f"/batches/{failed.batch_id}")
    assert batches.calls == ["get"]


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", ""), (b"one", "one"), (b"a\n\nb\n\n", "a\n\nb"), (b"\xff\n", "�"),
     (b"x" * 5000, "x" * 5000), (b"cut" * 2000 + b"\nwhole\n", "whole")],
)  # fmt: skip
def test_last_lines(data: bytes, text: str) -> None:
    assert last_lines(data) == text
