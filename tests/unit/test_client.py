"""The client against a real HTTP server that answers what the test has written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from slurmbatch.client import (
    ApiError,
    AsyncClient,
    BatchFailed,
    Client,
    ClientError,
    NoAnswer,
    Patience,
)
from slurmbatch.client.steps import OBJECT
from tests.fakes.blocking import Blocking, plain
from tests.fakes.web_service import Reply, Service, batch, job

KEY = "sbk_some_key"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rests: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        yield server
        server.shutdown()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Any]
PATIENCE = Patience(tries=3, first=1.0, longest=30.0, outage=600.0)


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a client: one of each kind has to pass every test."""
    if request.param == "sync":

        def plain(url: str, clock: Clock, **options: Any) -> Client:
            options = {"patience": PATIENCE, "sleep": clock.sleep, **options}
            return Client(url, KEY, clock=lambda: clock.now, **options)

        yield plain
        return
    with asyncio.Runner() as runner:

        def blocking(url: str, clock: Clock, **options: Any) -> Blocking:
            async def sleep(seconds: float) -> None:
                clock.sleep(seconds)

            options = {"patience": PATIENCE, "sleep": sleep, **options}
            return Blocking(runner, AsyncClient(url, KEY, clock=lambda: clock.now, **options))

        yield blocking


@pytest.fixture
def client(make: Make, service: Service, clock: Clock) -> Iterator[Any]:
    with make(service.url, clock) as made:
        yield made


class TestSubmit:
    def test_sends_what_was_given_and_nothing_else(self, service: Service, client: Any) -> None:
        service.replies = [Reply(201, batch(SUBMITTED=2))]
        made = client.submit(
            "probe",
            name="a name",
            args={"sleep": 1},
            sweep=({"print": str(n)} for n in range(2)),
            cpu=2,
            memory="1G",
            filesystems=("scratch",),
            time_limit="1h30m",
            gpus=0,
        )
        assert made.id == made["batch_id"] == "b1"
        (asked,) = service.asked
        assert (asked.method, asked.path) == ("POST", "/batches")
        assert asked.headers["authorization"] == KEY
        assert asked.headers["content-type"] == "application/json"
        assert OBJECT in asked.headers["accept"]
        assert json.loads(asked.body) == {
            "tool_id": "probe",
            "name": "a name",
            "fixed_args": {"sleep": 1},
            "variable_args": [{"print": "0"}, {"print": "1"}],
            "hardware": {"cpu": 2, "memory": 1024, "filesystems": ["scratch"]},
            "slurm": {"time_limit": 90, "gpus": 0},
        }

    def test_only_checked(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, [{"n_jobs": 2, "expected_start": ""}])]
        assert client.dry_run("probe", {"a": 1}, sweep={"b": [1, 2]}, cpu=2)["n_jobs"] == 2
        (asked,) = service.asked
        assert (asked.method, asked.path) == ("POST", "/batches?dry_run=1")
        assert "idempotency-key" not in asked.headers
        assert json.loads(asked.body)["variable_args"] == [{"b": 1}, {"b": 2}]

    def test_after_others(self, service: Service, client: Any) -> None:
        service.replies = [Reply(201, batch("b0", RUNNING=1)), Reply(201, batch(SUBMITTED=1))]
        before = client.submit("probe")
        later = {"batch_id": "b2", "type": "afterany"}
        client.submit(
            "probe", canary=1, depends_on=[plain(before), "b1", later], max_parallel=2,
            retry={"max_attempts": 2}, notify="https://x",
        )  # fmt: skip
        sent = json.loads(service.asked[1].body)
        assert sent["max_parallel"] == 2
        assert (sent["retry"], sent["notify"]) == ({"max_attempts": 2}, {"url": "https://x"})
        assert sent["depends_on"] == ["b0", "b1", later]
        assert sent["canary"] == 1

    def test_whose_answer_is_lost_is_sent_again_under_the_same_key(
        self, service: Service, client: Any
    ) -> None:
        service.replies = [Reply(hangs_up=True), Reply(503), Reply(200, batch(SUBMITTED=1))]
        client.submit("probe")
        keys = {asked.headers["idempotency-key"] for asked in service.asked}
        assert len(service.asked) == 3
        assert len(keys) == 1
        assert len({asked.body for asked in service.asked}) == 1

    def test_a_second_one_is_another_batch(self, service: Service, client: Any) -> None:
        service.replies = [Reply(201, batch(SUBMITTED=1))] * 2
        client.submit("probe")
        client.submit("probe")
        first, second = (asked.headers["idempotency-key"] for asked in service.asked)
        assert first != second

    def test_uses_the_key_that_it_is_given(self, service: Service, client: Any) -> None:
        service.replies = [Reply(201, batch(SUBMITTED=1))]
        client.submit("probe", idempotency_key="run 7")
        assert service.asked[0].headers["idempotency-key"] == "run 7"


class TestTryingAgain:
    @pytest.mark.parametrize("status", [429, 503])
    def test_rests_as_long_as_it_is_told(
        self, service: Service, client: Any, clock: Clock, status: int
    ) -> None:
        service.replies = [Reply(status, headers={"Retry-After": "7"}), Reply(200, [])]
        assert client.tools() == []
        assert clock.rests == [7.0]

    def test_rests_until_a_date(self, service: Service, client: Any, clock: Clock) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=29), usegmt=True)
        service.replies = [Reply(503, headers={"Retry-After": date}), Reply(200, [])]
        client.tools()
        assert 15 < clock.rests[0] <= 29

    @pytest.mark.parametrize("header", ["4000", "soon"])
    def test_rests_never_too_long(
        self, service: Service, client: Any, clock: Clock, header: str
    ) -> None:
        service.replies = [Reply(503, headers={"Retry-After": header}), Reply(200, [])]
        client.tools()
        assert 0 < clock.rests[0] <= 30

    def test_rests_longer_each_time(self, service: Service, client: Any, clock: Clock) -> None:
        service.replies = [Reply(503), Reply(503), Reply(200, [])]
        client.tools()
        first, second = clock.rests
        assert 0.5 <= first <= 1.0 <= second <= 2.0

    def test_ends_with_the_last_error(self, service: Service, client: Any, clock: Clock) -> None:
        service.replies = [Reply(503)] * 3
        with pytest.raises(ApiError) as caught:
            client.tools()
        assert caught.value.status == 503
        assert len(service.asked) == 3
        assert len(clock.rests) == 2

    @pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500, 507])
    def test_is_not_for_other_errors(self, service: Service, client: Any, status: int) -> None:
        service.replies = [Reply(status)]
        with pytest.raises(ApiError):
            client.submit("probe")
        assert len(service.asked) == 1

    def test_finds_a_service_that_comes_up_late(self, make: Make) -> None:
        with Service(listen=False) as late:
            late.replies = [Reply(200, [])]

            class Waking(Clock):
                def sleep(self, seconds: float) -> None:
                    super().sleep(seconds)
                    if len(self.rests) == 2:
                        late.listen()

            clock = Waking()
            with make(late.url, clock) as client:
                assert client.tools() == []
            assert len(clock.rests) == 2
            late.shutdown()

    def test_gives_up_where_nobody_listens(self, make: Make, clock: Clock) -> None:
        with (
            Service(listen=False) as nobody,
            make(nobody.url, clock) as client,
            pytest.raises(NoAnswer, match=nobody.url),
        ):
            client.tools()
        assert len(clock.rests) == 2

    def test_is_not_done_where_it_could_take_too_much(self, service: Service, client: Any) -> None:
        service.replies = [Reply(hangs_up=True), Reply(200, b"")]
        with pytest.raises(NoAnswer):
            client.delete_all()
        assert len(service.asked) == 1

    def test_is_done_for_that_too_if_it_has_not_been_carried_out(
        self, service: Service, client: Any
    ) -> None:
        service.replies = [Reply(503), Reply(200, b"")]
        client.delete_all()
        assert [asked.method for asked in service.asked] == ["DELETE", "DELETE"]

    def test_takes_what_a_lost_delete_has_deleted_for_deleted(
        self, service: Service, client: Any
    ) -> None:
        service.replies = [Reply(200, batch(RUNNING=1)), Reply(hangs_up=True), Reply(404)]
        client.batch("b1").delete()
        assert len(service.asked) == 3

    def test_but_not_what_never_was(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, batch(RUNNING=1)), Reply(503), Reply(404)]
        made = client.batch("b1")
        with pytest.raises(ApiError) as caught:
            made.delete()
        assert caught.value.status == 404


class TestErrors:
    def test_hold_all_of_the_problem(self, service: Service, client: Any) -> None:
        mistakes = [{"pointer": "/hardware/cpu", "detail": "Expected at least 1, not 0."}]
        problem = {
            "type": "urn:slurmbatch:problem:invalid", "title": "Not acceptable",
            "detail": "Some fields.", "instance": "/batches", "request_id": "r1",
        }  # fmt: skip
        service.replies = [Reply(422, {**problem, "errors": mistakes})]
        with pytest.raises(ApiError) as caught:
            client.submit("probe", cpu=0)
        error = caught.value
        assert (error.status, error.title, error.detail) == (422, "Not acceptable", "Some fields.")
        assert error.errors == mistakes
        assert (error.request_id, error.instance, error.kind) == ("r1", "/batches", "invalid")
        assert error.problem["errors"] == mistakes
        assert "/hardware/cpu: Expected at least 1" in str(error)

    def test_of_a_proxy_are_told_as_well(self, service: Service, client: Any) -> None:
        service.replies = [Reply(505, b"<h1>No</h1>", {"X-Request-Id": "r2"})]
        with pytest.raises(ApiError, match="505 HTTP Version Not Supported: <h1>No</h1>") as caught:
            client.tools()
        assert caught.value.request_id == "r2"

    def test_tell_that_something_else_answers(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, b"<h1>Welcome</h1>", {"Content-Type": "text/html"})]
        with pytest.raises(ClientError, match="text/html instead of JSON"):
            client.tools()

    def test_are_told_of_redirects_and_the_key_stays_here(
        self, service: Service, client: Any
    ) -> None:
        service.replies = [Reply(307, headers={"Location": f"{service.url}/elsewhere"})]
        with pytest.raises(ApiError):
            client.tools()
        assert len(service.asked) == 1

    @pytest.mark.parametrize("url", ["localhost:8765", "/batches", "ftp://localhost", "http://"])
    def test_tell_of_a_wrong_url_at_once(self, make: Make, clock: Clock, url: str) -> None:
        with pytest.raises(ClientError, match="expected a URL"):
            make(url, clock)


class TestPages:
    def test_are_fetched_when_they_are_needed(self, service: Service, client: Any) -> None:
        link = '</batches/b1/jobs?limit=1000&status=FAILED&after=b1-1>; rel="next"'
        service.replies = [
            Reply(200, batch(FAILED=3)),
            Reply(200, [job(0), job(1)], {"Link": link}),
            Reply(200, [job(2)]),
        ]
        jobs = client.batch("b1").jobs(status=["FAILED"])
        assert len(service.asked) == 1
        assert [next(jobs).index, next(jobs).index] == [0, 1]
        assert len(service.asked) == 2
        assert [job.index for job in jobs] == [2]
        first, second = service.asked[1:]
        assert first.query == {"limit": ["1000"], "status": ["FAILED"]}
        assert second.query == {"limit": ["1000"], "status": ["FAILED"], "after": ["b1-1"]}

    def test_never_lead_the_key_elsewhere(self, service: Service, client: Any) -> None:
        link = '<http://elsewhere.example.org/other?after=b1>; rel="next"'
        service.replies = [Reply(200, [batch()], {"Link": link}), Reply(200, [])]
        assert len(list(client.batches(tool_id="probe"))) == 1
        assert service.asked[0].query == {"limit": ["100"], "tool_id": ["probe"]}
        assert service.asked[1].path == "/batches?after=b1"

    def test_of_one_status_or_of_several(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, batch(RUNNING=1)), Reply(200, []), Reply(200, [])]
        made = client.batch("b1")
        list(made.jobs(status="FAILED"))
        list(made.jobs(status=("PENDING", "RUNNING")))
        found = [asked.query["status"] for asked in service.asked[1:]]
        assert found == [["FAILED"], ["PENDING", "RUNNING"]]


class TestWait:
    @pytest.fixture
    def made(self, service: Service, client: Any) -> Any:
        service.replies = [Reply(200, batch(RUNNING=2))]
        made = client.batch("b1")
        service.asked.clear()
        return made

    def test_tells_of_each_change_and_of_no_other_look(
        self, service: Service, made: Any, clock: Clock
    ) -> None:
        service.replies = [
            Reply(200, batch(RUNNING=2), {"ETag": 'W/"1"'}),
            Reply(304),
            Reply(200, batch(RUNNING=1, FAILED=1), {"ETag": 'W/"2"'}),
            Reply(200, batch(SUCCEEDED=1, FAILED=1), {"ETag": 'W/"3"'}),
        ]
        seen: list[int] = []
        ended = made.wait(on_change=lambda each: seen.append(each.counts["RUNNING"]))
        assert ended.counts["FAILED"] == made.counts["FAILED"] == 1
        assert seen == [2, 1, 0]
        tags = [asked.headers.get("if-none-match") for asked in service.asked]
        assert tags == [None, 'W/"1"', 'W/"1"', 'W/"2"']
        assert [asked.query.get("wait") for asked in service.asked] == [
            None,
            ["30"],
            ["30"],
            ["30"],
        ]
        assert clock.rests == [1.0, 1.0, 1.0]

    def test_asks_again_at_once_where_the_answer_was_held_back(
        self, service: Service, made: Any, clock: Clock
    ) -> None:
        class Held(Reply):
            @property
            def content(self) -> bytes:
                clock.now += 30.0
                return super().content

        running, ended = batch(RUNNING=1), batch(SUCCEEDED=1)
        service.replies = [
            Reply(200, running, {"ETag": '"1"'}), Held(200, running, {"ETag": '"2"'}),
            Reply(200, ended, {"ETag": '"3"'}),
        ]  # fmt: skip
        made.wait(100.0)
        assert [asked.query.get("wait") for asked in service.asked] == [None, ["30"], ["30"]]

    def test_is_told_at_once_that_there_are_answers_again(
        self, make: Make, service: Service, clock: Clock
    ) -> None:
        told: list[str] = []
        with make(service.url, clock, on_retry=lambda *_: told.append("trouble")) as client:
            getattr(client, "_target", client).on_answer = lambda: told.append("answer")
            service.replies = [
                Reply(200, batch(RUNNING=1)), Reply(200, batch(RUNNING=1), {"ETag": '"1"'}),
                Reply(hangs_up=True), Reply(304), Reply(200, batch(SUCCEEDED=1)),
            ]  # fmt: skip
            client.batch("b1").wait()
        assert told == ["answer", "answer", "trouble", "answer", "answer"]
        waits = [asked.query.get("wait") for asked in service.asked[2:]]
        assert waits == [["30"], None, ["30"]]

    def test_never_has_an_answer_held_back_beyond_its_time(
        self, service: Service, made: Any, clock: Clock
    ) -> None:
        tagged = Reply(200, batch(RUNNING=1), {"ETag": '"1"'})
        service.replies = [tagged, *[Reply(304)] * 20]
        with pytest.raises(TimeoutError):
            made.wait(3.5)
        assert [asked.query.get("wait") for asked in service.asked] == [None, ["2"], ["1"], None]

    def test_does_not_wait_for_ever(self, service: Service, made: Any, clock: Clock) -> None:
        service.replies = [Reply(200, batch(RUNNING=1))] * 20
        with pytest.raises(TimeoutError, match="has not ended in time"):
            made.wait(5.0)
        assert clock.now <= 5.0

    def test_outlives_a_restart_of_the_service(self, service: Service, made: Any) -> None:
        service.replies = [
            Reply(200, batch(RUNNING=1)),
            Reply(503),
            Reply(hangs_up=True),
            Reply(502),
            Reply(503),
            Reply(200, batch(SUCCEEDED=1)),
        ]
        assert made.wait().succeeded()

    def test_does_not_outlive_it_for_ever(self, service: Service, made: Any, clock: Clock) -> None:
        service.replies = [Reply(503)] * 100
        with pytest.raises(ApiError):
            made.wait()
        assert 500 < clock.now <= 700

    def test_of_what_has_to_succeed(self, service: Service, made: Any) -> None:
        service.replies = [Reply(200, batch(SUCCEEDED=1, FAILED=1))]
        with pytest.raises(BatchFailed, match="1 of 2 jobs of b1 failed") as caught:
            made.wait(check=True)
        assert caught.value.batch.id == "b1"

    def test_gives_each_job_once_as_they_end(self, service: Service, made: Any) -> None:
        service.replies = [
            Reply(200, batch(RUNNING=2), {"ETag": '"1"'}),
            Reply(200, batch(RUNNING=1, FAILED=1), {"ETag": '"2"'}),
            Reply(200, [job(1, "FAILED")]),
            Reply(200, batch(SUCCEEDED=1, FAILED=1), {"ETag": '"3"'}),
            Reply(200, [job(0), job(1, "FAILED")]),
        ]
        assert [each.index for each in made.as_completed()] == [1, 0]


class TestOnRetry:
    def test_is_told_why_and_for_how_long(self, make: Make, service: Service, clock: Clock) -> None:
        told: list[tuple[str, float]] = []
        service.replies = [Reply(503, headers={"Retry-After": "2"}), Reply(200, [])]
        on_retry = lambda error, seconds: told.append((str(error), seconds))  # noqa: E731
        with make(service.url, clock, on_retry=on_retry) as client:
            client.tools()
        assert told == [("503 Service Unavailable: null", 2.0)]


class TestLogs:
    def test_are_text_or_bytes(self, service: Service, client: Any) -> None:
        printed = b"caf\xc3\xa9 \xff\n"
        answer = Reply(200, printed, {"Content-Type": "text/plain"})
        service.replies = [Reply(200, batch(SUCCEEDED=1)), Reply(200, job(0)), answer, answer]
        found = client.batch("b1").job(0)
        assert found.log(tail=3) == "café \ufffd\n"
        assert found.log_bytes() == printed
        paths = [asked.path for asked in service.asked[1:]]
        assert paths == ["/batches/b1/jobs/b1-0", "/logs/b1-0.log?tail=3", "/logs/b1-0.log"]

    def test_of_an_earlier_run(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, batch(SUCCEEDED=1)), Reply(200, job(0)), Reply(200, b"one\n")]
        assert client.batch("b1").job(0).log(attempt=1) == "one\n"
        assert service.asked[-1].path == "/logs/b1-0.log?attempt=1"


class TestFollowing:
    @pytest.fixture
    def found(self, service: Service, client: Any) -> Any:
        service.replies = [Reply(200, batch(RUNNING=1)), Reply(200, job(0, "RUNNING"))]
        found = client.batch("b1").job(0)
        service.asked.clear()
        return found

    def test_takes_a_broken_connection_up_where_it_broke(
        self, service: Service, found: Any, clock: Clock
    ) -> None:
        broken = {"Content-Length": "100"}
        service.replies = [
            Reply(200, b"one\n", broken),
            Reply(503),
            Reply(hangs_up=True),
            Reply(206, b"two\n", {**broken, "Content-Range": "bytes 4-99/*"}),
            Reply(206, b"three\n", {"Content-Range": "bytes 8-99/*"}),
        ]
        assert b"".join(found.follow()) == b"one\ntwo\nthree\n"
        assert {asked.path for asked in service.asked} == {"/batches/b1/jobs/b1-0/log?follow=1"}
        ranges = [asked.headers.get("range") for asked in service.asked]
        assert ranges == [None, "bytes=4-", "bytes=4-", "bytes=4-", "bytes=8-"]
        assert len(clock.rests) == 4

    def test_begins_anew_where_the_log_does(self, service: Service, found: Any) -> None:
        service.replies = [
            Reply(200, b"first run\n", {"Content-Length": "100"}), Reply(416), Reply(200, b"2nd\n"),
        ]  # fmt: skip
        assert b"".join(found.follow()) == b"first run\n2nd\n"

    @pytest.mark.parametrize(
        ("tail", "expected"), [(2, b"5\n6"), (1, b"6"), (9, b"1\n2\n3\n4\n5\n6")]
    )
    def test_begins_with_the_last_lines(
        self, service: Service, found: Any, tail: int, expected: bytes
    ) -> None:
        whole = b"1\n2\n3\n4\n5\n6"
        first = Reply(206, whole, {"Content-Range": f"bytes 0-{len(whole) - 1}/{len(whole)}"})
        service.replies = [first, Reply(206, b"\n7\n", {"Content-Range": "bytes 11-99/*"})]
        assert b"".join(found.follow(tail=tail)) == expected + b"\n7\n"
        assert service.asked[1].headers["range"] == "bytes=11-"

    def test_looks_further_back_for_long_lines(self, service: Service, found: Any) -> None:
        line = b"x" * 65_535 + b"\n"
        service.replies = [
            Reply(206, line, {"Content-Range": "bytes 131072-196607/196608"}),
            Reply(206, line * 3, {"Content-Range": "bytes 0-196607/196608"}),
            Reply(206, b"", {"Content-Range": "bytes 196608-999999/*"}),
        ]
        assert b"".join(found.follow(tail=2)) == line * 2
        ranges = [asked.headers["range"] for asked in service.asked]
        assert ranges == ["bytes=-65536", "bytes=-262144", "bytes=196608-"]


class TestTheRest:
    def test_a_single_thing_may_come_as_an_array_of_one(
        self, service: Service, client: Any
    ) -> None:
        service.replies = [Reply(200, [batch(RUNNING=1)]), Reply(200, batch(RUNNING=1))]
        assert client.batch("b1").counts == client.batch("b1").counts

    def test_ids_cannot_lead_to_another_path(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, batch(RUNNING=1)), Reply(404)]
        made = client.batch("b1")
        with pytest.raises(ApiError):
            made.job("../../tools?x=1")
        assert service.asked[1].path == "/batches/b1/jobs/..%2F..%2Ftools%3Fx%3D1"

    def test_cancel(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, batch(RUNNING=1)), Reply(202, batch(FAILED=1))]
        assert client.batch("b1").cancel().counts["FAILED"] == 1
        assert (service.asked[1].method, service.asked[1].path) == ("POST", "/batches/b1/cancel")

    def test_retry(self, service: Service, client: Any) -> None:
        again = Reply(202, batch(SUBMITTED=1))
        service.replies = [Reply(200, batch(FAILED=1)), again, Reply(hangs_up=True), again]
        made = client.batch("b1")
        assert made.retry().counts["SUBMITTED"] == 1
        made.retry(
            reason=["TIMEOUT", "MEMORY"], indices=[0], memory_factor=2, exclude_failed_nodes=True
        )
        first, second, third = service.asked[1:]
        assert (first.path, json.loads(first.body)) == ("/batches/b1/retry", {})
        assert third.path == "/batches/b1/retry?reason=TIMEOUT&reason=MEMORY"
        assert json.loads(third.body) == {
            "indices": [0], "memory_factor": 2, "exclude_failed_nodes": True,
        }  # fmt: skip
        keys = [asked.headers["idempotency-key"] for asked in (first, second, third)]
        assert keys[0] != keys[1] == keys[2]

    def test_what_is_offered(self, service: Service, client: Any) -> None:
        service.replies = [Reply(200, [{"id": "scratch"}]), Reply(200, [{"id": "a/b"}])]
        assert client.filesystems()[0]["id"] == "scratch"
        assert client.tool("a/b")["id"] == "a/b"
        assert [asked.path for asked in service.asked] == ["/filesystems", "/tools/a%2Fb"]

    def test_ones_own_keys(self, service: Service, client: Any) -> None:
        service.replies = [
            Reply(201, [{"key_id": "k1", "key": "sbk_k1_x"}]), Reply(201, [{"key_id": "k2"}]),
            Reply(200, [{"key_id": "k1"}]), Reply(200),
        ]  # fmt: skip
        until = datetime(2026, 12, 31, tzinfo=UTC)
        assert client.create_key("laptop", scopes=("read",), expires_at=until)["key"] == "sbk_k1_x"
        client.create_key()
        assert client.keys()[0]["key_id"] == "k1"
        client.revoke_key("k/1")
        first, second, *_, last = service.asked
        assert json.loads(first.body) == {
            "name": "laptop", "scopes": ["read"], "expires_at": "2026-12-31T00:00:00+00:00",
        }  # fmt: skip
        assert json.loads(second.body) == {"name": ""}
        assert (last.method, last.path) == ("DELETE", "/keys/k%2F1")

    def test_a_key_is_not_made_twice(self, service: Service, client: Any) -> None:
        service.replies = [Reply(502), Reply(201, [{"key_id": "k1"}])]
        with pytest.raises(ApiError):
            client.create_key()
        assert len(service.asked) == 1
        with pytest.raises(ValueError, match="zone"):
            client.create_key(expires_at=datetime(2026, 12, 31))

    def test_a_url_may_have_a_path(self, make: Make, service: Service, clock: Clock) -> None:
        service.replies = [Reply(200, [])]
        with make(f"{service.url}/slurm", clock) as client:
            client.tools()
        assert service.asked[0].path == "/slurm/tools"

    def test_no_proxy_stands_between_us_and_this_machine(
        self, make: Make, service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Service(listen=False) as nobody:
            monkeypatch.setenv("HTTP_PROXY", nobody.url)
            service.replies = [Reply(200, [])]
            with make(service.url, clock) as client:
                assert client.tools() == []

    def test_a_batch_is_known_by_its_id(self, service: Service) -> None:
        service.replies = [Reply(200, batch(RUNNING=1)), Reply(200, batch(FAILED=1))]
        with Client(service.url, KEY) as client:
            assert len({client.batch("b1"), client.batch("b1")}) == 1
