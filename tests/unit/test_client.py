"""The client against a real HTTP server that answers what the test has written down."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from slurmbatch.client import ApiError, Client, ClientError, NoAnswer, Patience
from slurmbatch.client.transport import OBJECT

KEY = "sbk_some_key"


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool = False

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)


class Service(ThreadingHTTPServer):
    """Gives its replies in their order, and notes what it was asked."""

    daemon_threads = True

    def __init__(self, *, listen: bool = True) -> None:
        self.replies: list[Reply] = []
        self.asked: list[Asked] = []
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server_bind()
        if listen:
            self.listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def listen(self) -> None:
        self.server_activate()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Service

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self.command, self.path, headers, body))
        reply = self.server.replies.pop(0)
        if reply.hangs_up:
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.status != 304:
            self.wfile.write(reply.content)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


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


@pytest.fixture
def client(service: Service, clock: Clock) -> Iterator[Client]:
    with client_of(service.url, clock) as made:
        yield made


def client_of(url: str, clock: Clock) -> Client:
    patience = Patience(tries=3, first=1.0, longest=30.0)
    return Client(url, KEY, patience=patience, sleep=clock.sleep, clock=lambda: clock.now)


def batch(**counts: int) -> dict[str, Any]:
    statuses = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]
    counted = {status: counts.get(status, 0) for status in statuses}
    return {"batch_id": "b1", "n_jobs": sum(counted.values()), "submitted_jobs": counted}


class TestSubmit:
    def test_sends_what_was_given_and_nothing_else(self, service: Service, client: Client) -> None:
        service.replies = [Reply(201, batch(SUBMITTED=2))]
        made = client.submit(
            "probe",
            name="a name",
            fixed_args={"sleep": 1},
            variable_args=({"print": str(n)} for n in range(2)),
            cpu=2,
            filesystems=("scratch",),
            slurm={"time_limit": 5},
        )
        assert made["batch_id"] == "b1"
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
            "hardware": {"cpu": 2, "filesystems": ["scratch"]},
            "slurm": {"time_limit": 5},
        }

    def test_whose_answer_is_lost_is_sent_again_under_the_same_key(
        self, service: Service, client: Client
    ) -> None:
        service.replies = [Reply(hangs_up=True), Reply(503), Reply(200, batch(SUBMITTED=1))]
        client.submit("probe")
        keys = {asked.headers["idempotency-key"] for asked in service.asked}
        assert len(service.asked) == 3
        assert len(keys) == 1
        assert len({asked.body for asked in service.asked}) == 1

    def test_a_second_one_is_another_batch(self, service: Service, client: Client) -> None:
        service.replies = [Reply(201, batch(SUBMITTED=1))] * 2
        client.submit("probe")
        client.submit("probe")
        first, second = (asked.headers["idempotency-key"] for asked in service.asked)
        assert first != second

    def test_uses_the_key_that_it_is_given(self, service: Service, client: Client) -> None:
        service.replies = [Reply(201, batch(SUBMITTED=1))]
        client.submit("probe", idempotency_key="run 7")
        assert service.asked[0].headers["idempotency-key"] == "run 7"


class TestTryingAgain:
    @pytest.mark.parametrize("status", [429, 503])
    def test_rests_as_long_as_it_is_told(
        self, service: Service, client: Client, clock: Clock, status: int
    ) -> None:
        service.replies = [Reply(status, headers={"Retry-After": "7"}), Reply(200, [])]
        assert client.tools() == []
        assert clock.rests == [7.0]

    def test_rests_until_a_date(self, service: Service, client: Client, clock: Clock) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
        service.replies = [Reply(503, headers={"Retry-After": date}), Reply(200, [])]
        client.tools()
        assert 15 < clock.rests[0] <= 20

    @pytest.mark.parametrize("header", ["4000", "soon"])
    def test_rests_never_too_long(
        self, service: Service, client: Client, clock: Clock, header: str
    ) -> None:
        service.replies = [Reply(503, headers={"Retry-After": header}), Reply(200, [])]
        client.tools()
        assert 0 < clock.rests[0] <= 30

    def test_rests_longer_each_time(self, service: Service, client: Client, clock: Clock) -> None:
        service.replies = [Reply(503), Reply(503), Reply(200, [])]
        client.tools()
        first, second = clock.rests
        assert 0.5 <= first <= 1.0 <= second <= 2.0

    def test_ends_with_the_last_error(self, service: Service, client: Client, clock: Clock) -> None:
        service.replies = [Reply(503)] * 3
        with pytest.raises(ApiError) as caught:
            client.tools()
        assert caught.value.status == 503
        assert len(service.asked) == 3
        assert len(clock.rests) == 2

    @pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500, 507])
    def test_is_not_for_other_errors(self, service: Service, client: Client, status: int) -> None:
        service.replies = [Reply(status)]
        with pytest.raises(ApiError):
            client.submit("probe")
        assert len(service.asked) == 1

    def test_finds_a_service_that_comes_up_late(self) -> None:
        with Service(listen=False) as late:
            late.replies = [Reply(200, [])]

            class Waking(Clock):
                def sleep(self, seconds: float) -> None:
                    super().sleep(seconds)
                    if len(self.rests) == 2:
                        late.listen()

            clock = Waking()
            with client_of(late.url, clock) as client:
                assert client.tools() == []
            assert len(clock.rests) == 2
            late.shutdown()

    def test_gives_up_where_nobody_listens(self, clock: Clock) -> None:
        with (
            Service(listen=False) as nobody,
            client_of(nobody.url, clock) as client,
            pytest.raises(NoAnswer, match=nobody.url),
        ):
            client.tools()
        assert len(clock.rests) == 2

    def test_is_not_done_where_it_could_take_too_much(
        self, service: Service, client: Client
    ) -> None:
        service.replies = [Reply(hangs_up=True), Reply(200, b"")]
        with pytest.raises(NoAnswer):
            client.delete_all()
        assert len(service.asked) == 1

    def test_is_done_for_that_too_if_it_has_not_been_carried_out(
        self, service: Service, client: Client
    ) -> None:
        service.replies = [Reply(503), Reply(200, b"")]
        client.delete_all()
        assert [asked.method for asked in service.asked] == ["DELETE", "DELETE"]

    def test_takes_what_a_lost_delete_has_deleted_for_deleted(
        self, service: Service, client: Client
    ) -> None:
        service.replies = [Reply(hangs_up=True), Reply(404)]
        client.delete("b1")
        assert len(service.asked) == 2

    def test_but_not_what_never_was(self, service: Service, client: Client) -> None:
        service.replies = [Reply(503), Reply(404)]
        with pytest.raises(ApiError) as caught:
            client.delete("b1")
        assert caught.value.status == 404


class TestErrors:
    def test_hold_all_of_the_problem(self, service: Service, client: Client) -> None:
        mistakes = [{"pointer": "/hardware/cpu", "detail": "Expected at least 1, not 0."}]
        problem = {"title": "Not acceptable", "detail": "Some fields.", "request_id": "r1"}
        service.replies = [Reply(422, {**problem, "errors": mistakes})]
        with pytest.raises(ApiError) as caught:
            client.submit("probe", cpu=0)
        error = caught.value
        assert (error.status, error.title, error.detail) == (422, "Not acceptable", "Some fields.")
        assert error.errors == mistakes
        assert error.request_id == "r1"
        assert "/hardware/cpu: Expected at least 1" in str(error)

    def test_of_a_proxy_are_told_as_well(self, service: Service, client: Client) -> None:
        service.replies = [Reply(502, b"<h1>Bad gateway</h1>", {"X-Request-Id": "r2"})]
        with pytest.raises(ApiError, match="502 Bad Gateway: <h1>Bad gateway</h1>") as caught:
            client.tools()
        assert caught.value.request_id == "r2"

    def test_tell_that_something_else_answers(self, service: Service, client: Client) -> None:
        service.replies = [Reply(200, b"<h1>Welcome</h1>", {"Content-Type": "text/html"})]
        with pytest.raises(ClientError, match="text/html instead of JSON"):
            client.tools()

    def test_are_told_of_redirects_and_the_key_stays_here(
        self, service: Service, client: Client
    ) -> None:
        service.replies = [Reply(307, headers={"Location": f"{service.url}/elsewhere"})]
        with pytest.raises(ApiError):
            client.tools()
        assert len(service.asked) == 1

    @pytest.mark.parametrize("url", ["localhost:8765", "/batches", "ftp://localhost", "http://"])
    def test_tell_of_a_wrong_url_at_once(self, url: str) -> None:
        with pytest.raises(ClientError, match="expected a URL"):
            Client(url, KEY)


class TestPages:
    def test_are_fetched_when_they_are_needed(self, service: Service, client: Client) -> None:
        link = '</batches/b1/jobs?limit=1000&status=FAILED&after=j2>; rel="next"'
        service.replies = [
            Reply(200, [{"job_id": "j1"}, {"job_id": "j2"}], {"Link": link}),
            Reply(200, [{"job_id": "j3"}]),
        ]
        jobs = client.jobs("b1", status=["FAILED"])
        assert not service.asked
        assert [next(jobs)["job_id"], next(jobs)["job_id"]] == ["j1", "j2"]
        assert len(service.asked) == 1
        assert [job["job_id"] for job in jobs] == ["j3"]
        first, second = service.asked
        assert first.query == {"limit": ["1000"], "status": ["FAILED"]}
        assert second.query == {"limit": ["1000"], "status": ["FAILED"], "after": ["j2"]}

    def test_never_lead_the_key_elsewhere(self, service: Service, client: Client) -> None:
        link = '<http://elsewhere.example.org/other?after=b1>; rel="next"'
        service.replies = [Reply(200, [{"batch_id": "b1"}], {"Link": link}), Reply(200, [])]
        assert len(list(client.batches(tool_id="probe"))) == 1
        assert service.asked[0].query == {"limit": ["1000"], "tool_id": ["probe"]}
        assert service.asked[1].path == "/batches?after=b1"

    def test_of_one_status_or_of_several(self, service: Service, client: Client) -> None:
        service.replies = [Reply(200, [])] * 2
        list(client.jobs("b1", status="FAILED"))
        list(client.jobs("b1", status=("PENDING", "RUNNING")))
        found = [asked.query["status"] for asked in service.asked]
        assert found == [["FAILED"], ["PENDING", "RUNNING"]]


class TestWait:
    def test_tells_of_each_change_and_of_no_other_look(
        self, service: Service, client: Client, clock: Clock
    ) -> None:
        service.replies = [
            Reply(200, batch(RUNNING=2), {"ETag": 'W/"1"'}),
            Reply(304),
            Reply(200, batch(RUNNING=1, FAILED=1), {"ETag": 'W/"2"'}),
            Reply(200, batch(SUCCEEDED=1, FAILED=1), {"ETag": 'W/"3"'}),
        ]
        seen: list[dict[str, int]] = []
        ended = client.wait("b1", on_change=lambda each: seen.append(each["submitted_jobs"]))
        assert ended["submitted_jobs"]["FAILED"] == 1
        assert [each["RUNNING"] for each in seen] == [2, 1, 0]
        tags = [asked.headers.get("if-none-match") for asked in service.asked]
        assert tags == [None, 'W/"1"', 'W/"1"', 'W/"2"']
        assert clock.rests == [1.0, 1.0, 1.0]

    def test_does_not_wait_for_ever(self, service: Service, client: Client, clock: Clock) -> None:
        service.replies = [Reply(200, batch(RUNNING=1))] * 20
        with pytest.raises(TimeoutError, match="b1 has not ended within 5 s"):
            client.wait("b1", 5.0)
        assert clock.now <= 5.0

    def test_outlives_a_restart_of_the_service(self, service: Service, client: Client) -> None:
        service.replies = [
            Reply(200, batch(RUNNING=1)),
            Reply(503),
            Reply(hangs_up=True),
            Reply(200, batch(SUCCEEDED=1)),
        ]
        assert client.wait("b1")["submitted_jobs"]["SUCCEEDED"] == 1


class TestTheRest:
    def test_a_single_thing_may_come_as_an_array_of_one(
        self, service: Service, client: Client
    ) -> None:
        service.replies = [Reply(200, [batch(RUNNING=1)]), Reply(200, batch(RUNNING=1))]
        assert client.batch("b1") == client.batch("b1")

    def test_ids_cannot_lead_to_another_path(self, service: Service, client: Client) -> None:
        service.replies = [Reply(404)]
        with pytest.raises(ApiError):
            client.job("b1", "../../tools?x=1")
        assert service.asked[0].path == "/batches/b1/jobs/..%2F..%2Ftools%3Fx%3D1"

    def test_a_log_is_text_or_bytes(self, service: Service, client: Client) -> None:
        printed = b"caf\xc3\xa9 \xff\n"
        service.replies = [Reply(200, printed, {"Content-Type": "text/plain"})] * 2
        assert client.log("j1.log", tail=3) == "café \ufffd\n"
        assert client.log_bytes("j1.log") == printed
        assert [asked.path for asked in service.asked] == ["/logs/j1.log?tail=3", "/logs/j1.log"]

    def test_cancel(self, service: Service, client: Client) -> None:
        service.replies = [Reply(202, batch(RUNNING=1))]
        assert client.cancel("b1")["batch_id"] == "b1"
        assert (service.asked[0].method, service.asked[0].path) == ("POST", "/batches/b1/cancel")

    def test_a_url_may_have_a_path(self, service: Service, clock: Clock) -> None:
        service.replies = [Reply(200, [])]
        with client_of(f"{service.url}/slurm", clock) as client:
            client.tools()
        assert service.asked[0].path == "/slurm/tools"

    def test_no_proxy_stands_between_us_and_this_machine(
        self, service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Service(listen=False) as nobody:
            monkeypatch.setenv("HTTP_PROXY", nobody.url)
            service.replies = [Reply(200, [])]
            with client_of(service.url, clock) as client:
                assert client.tools() == []
