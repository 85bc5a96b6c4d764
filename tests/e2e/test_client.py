"""The Python client, of both kinds, on the real daemon and a real Slurm."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from slurmbatch.client import ApiError, AsyncClient, Client
from slurmbatch.sandbox import Sandbox
from tests.e2e.gate import Gate
from tests.fakes.blocking import Blocking

pytestmark = pytest.mark.slurm


@pytest.fixture(params=["sync", "async"])
def client(service: Sandbox, request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "sync":
        with Client(service.url, str(service.api_key)) as plain:
            yield plain
            plain.delete_all()
        return
    there = AsyncClient(service.url, str(service.api_key))
    with asyncio.Runner() as runner, Blocking(runner, there) as blocking:
        yield blocking
        blocking.delete_all()


def test_from_submit_to_the_logs(client: Any) -> None:
    words = ["one", "two", "three"]
    made = client.submit("probe", name="words", sweep={"print": words})
    seen: list[int] = []
    ended = made.wait(90, on_change=lambda each: seen.append(sum(each.counts.values())))
    assert ended.succeeded()
    assert set(seen) == {3}
    jobs = list(made.jobs())
    assert [job.log() for job in jobs] == [f"{word}\n" for word in words]
    assert [job.args["print"] for job in jobs] == words
    job = made.job(0)
    assert (job.status, job.exit_code, job["attempt"]) == ("SUCCEEDED", 0, 1)
    assert job.start_time <= job.stop_time
    assert job.log_bytes(tail=1) == b"one\n"


def test_jobs_as_they_end_and_what_they_print_meanwhile(client: Any, gate: Gate) -> None:
    made = client.submit(
        "probe", {"print": "hello"}, sweep=[{"trace": str(gate)}, {"exit_code": 3}]
    )
    ending = made.as_completed(90)
    first = next(ending)
    gate.open()
    (second,) = ending
    assert [first.index, second.index] == [1, 0]
    assert first.reason.startswith("EXIT")
    assert b"".join(made.job(0).follow()) == b"hello\n"


def test_lists_cancels_and_deletes(client: Any) -> None:
    made = client.submit("probe", {"sleep": 600}, name="long")
    assert [each.id for each in client.batches(name="long")] == [made.id]
    assert made.cancel()["cancelled"]
    assert made.wait(90).counts["FAILED"] == 1
    (job,) = made.jobs(status=["FAILED", "SUCCEEDED"])
    assert job.reason.startswith("CANCELLED")
    made.delete()
    with pytest.raises(ApiError) as caught:
        client.batch(made.id)
    assert (caught.value.status, caught.value.kind) == (404, "not-found")


def test_the_same_key_gives_the_same_batch(client: Any) -> None:
    key = uuid.uuid4().hex
    first = client.submit("probe", idempotency_key=key)
    second = client.submit("probe", idempotency_key=key)
    assert first.id == second.id


def test_is_told_all_mistakes(client: Any) -> None:
    with pytest.raises(ApiError) as caught:
        client.submit("probe", {"sleep": "long", "color": 1}, cpu=0)
    found = {mistake["pointer"] for mistake in caught.value.errors}
    assert found == {"/hardware/cpu", "/fixed_args/sleep", "/fixed_args/color"}


def test_knows_what_is_offered(client: Any) -> None:
    assert {tool["id"] for tool in client.tools()} >= {"montecarlo-pi", "probe"}
    assert {each["name"] for each in client.tool("probe")["parameters"]} >= {"sleep", "print"}
    assert "scratch" in {each["id"] for each in client.filesystems()}
