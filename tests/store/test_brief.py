"""All jobs in brief, and the versions of a list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.model import JobChange, Page, Status
from slurmbatch.store import Store, brief, open_store
from tests.store.test_store import NOW, make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "slurmbatch.sqlite", exclusive=True)
    yield opened
    opened.close()


def end(store: Store, batch_id: str, index: int, started: float, stopped: float) -> None:
    """Of a batch of one array."""
    pk = store.arrays.of_batch(batch_id)[0].pk
    change = JobChange(index + 1, Status.FAILED, "X", start_time=started, stop_time=stopped)
    store.arrays.apply({pk: [change]}, NOW + 100)


@pytest.mark.parametrize("jobs_a_read", [1, 3, 5, 100])
def test_each_job_has_its_digit_and_its_times(
    store: Store, monkeypatch: pytest.MonkeyPatch, jobs_a_read: int
) -> None:
    monkeypatch.setattr(brief, "_JOBS_A_READ", jobs_a_read)
    batch_id = make(store, 5, per_array=5)
    end(store, batch_id, 3, NOW + 7.9, NOW + 20)
    end(store, batch_id, 4, NOW - 60, NOW + 20)  # a clock of Slurm's that is behind ours
    found = store.batches.brief("alice", batch_id)
    assert found.statuses == b"00066"
    assert list(found.started) == [-1, -1, -1, 7, 0]
    assert list(found.stopped) == [-1, -1, -1, 20, 20]


def test_others_get_nothing_of_it(store: Store) -> None:
    batch_id = make(store)
    assert store.batches.brief("bob", batch_id).statuses == b""
    store.batches.delete("alice", batch_id, NOW)
    assert store.batches.brief("alice", batch_id).statuses == b""


def test_versions_are_those_of_the_list(store: Store) -> None:
    first, second = make(store, name="one", per_array=10), make(store, name="two")
    make(store, user="bob")
    told = store.batches.versions("alice")
    assert [each[0] for each in told] == [second, first]
    assert store.batches.versions("alice", Page(limit=1)) == told[:1]
    assert store.batches.versions("alice", Page(after=second)) == told[1:]
    assert store.batches.versions("alice", Page(name="one")) == told[1:]
    assert store.batches.versions("alice", Page(tool_id="other")) == []
    assert store.batches.versions("alice", Page(status=Status.FAILED)) == []
    end(store, first, 0, NOW, NOW)
    (changed,) = store.batches.versions("alice", Page(status=Status.FAILED))
    assert changed[0] == first
    assert changed[1] > told[1][1]
    store.batches.delete("alice", second, NOW)
    assert [each[0] for each in store.batches.versions("alice")] == [first]
