"""How often a caller may ask: a minute's worth at once, then one by one; what is left is told."""

from __future__ import annotations

import pytest

from slurmbatch.api import create_app
from slurmbatch.api.rates import KEPT_AT_MOST, Buckets
from tests.api.conftest import MAX_BODY, Api
from tests.api.fakes import FakeBatches, FakeIdentity, FakeKeyring, FakeReadiness


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buckets(clock: Clock) -> Buckets:
    return Buckets(clock)


class TestBuckets:
    def test_a_minute_s_worth_at_once_and_no_more(self, buckets: Buckets) -> None:
        taken = [buckets.take("anna", 6) for _ in range(8)]
        assert [each.is_over for each in taken] == [False] * 6 + [True] * 2
        assert [each.remaining for each in taken] == [5, 4, 3, 2, 1, 0, 0, 0]
        assert taken[5].reset == 60
        assert taken[6].reset == 10

    def test_it_fills_again_evenly(self, buckets: Buckets, clock: Clock) -> None:
        for _ in range(6):
            buckets.take("anna", 6)
        clock.now += 9.9
        assert buckets.take("anna", 6).is_over
        clock.now += 0.1
        assert not buckets.take("anna", 6).is_over
        assert buckets.take("anna", 6).is_over
        clock.now += 3600
        assert buckets.take("anna", 6).remaining == 5

    def test_in_the_long_run_it_is_exact(self, buckets: Buckets, clock: Clock) -> None:
        passed = 0
        for _ in range(60_000):
            clock.now += 0.01
            passed += not buckets.take("anna", 60).is_over
        assert passed == 60 + 600 or passed == 60 + 599

    def test_users_are_apart(self, buckets: Buckets) -> None:
        buckets.take("anna", 1)
        assert buckets.take("anna", 1).is_over
        assert not buckets.take("bert", 1).is_over

    def test_a_lowered_limit_leaves_no_debt_beyond_one_bucket(
        self, buckets: Buckets, clock: Clock
    ) -> None:
        for _ in range(600):
            buckets.take("anna", 600)
        clock.now += 10
        assert not buckets.take("anna", 6).is_over

    def test_what_is_given_back_may_be_taken_again(self, buckets: Buckets) -> None:
        for _ in range(20):
            assert not buckets.take("anna", 1).is_over
            buckets.give_back("anna", 1)

    def test_memory_has_a_bound(self, buckets: Buckets, clock: Clock) -> None:
        for number in range(KEPT_AT_MOST + 10):
            buckets.take(f"user{number}", 1)
            clock.now += 0.0001
        assert len(buckets) <= KEPT_AT_MOST
        clock.now += 3600
        for number in range(KEPT_AT_MOST):
            buckets.take(f"other{number}", 1)
        assert len(buckets) <= KEPT_AT_MOST


@pytest.fixture
def refused() -> list[str]:
    return []


@pytest.fixture
def limited(batches: FakeBatches, refused: list[str]) -> Api:
    app = create_app(
        batches, FakeIdentity(), FakeReadiness(), keyring=FakeKeyring(), max_body_bytes=MAX_BODY,
        draining=lambda: False, requests_per_minute={"anna": 3, "bert": 0}.get,
        refused=refused.append,
    )  # fmt: skip
    return Api(app)


class TestRequests:
    def test_what_is_left_is_told_and_then_it_is_refused(
        self, limited: Api, batches: FakeBatches, refused: list[str]
    ) -> None:
        for left in ("2", "1", "0"):
            answer = limited.get("/tools")
            assert answer.status_code == 200
            assert answer.headers["ratelimit-limit"] == "3"
            assert answer.headers["ratelimit-remaining"] == left
        assert refused == []
        asked = len(batches.calls)
        answer = limited.get("/tools")
        assert answer.status_code == 429
        assert answer.json["type"] == "urn:slurmbatch:problem:over-limit"
        (told,) = answer.json["limits"]
        assert told == {"limit": "requests_per_minute", "most": 3, "used": 3, "wanted": 1}
        assert 1 <= int(answer.headers["retry-after"]) <= 20
        assert answer.headers["ratelimit-remaining"] == "0"
        assert len(batches.calls) == asked
        assert refused == ["requests_per_minute"]

    def test_nothing_is_made_by_what_is_refused(self, limited: Api, batches: FakeBatches) -> None:
        for _ in range(3):
            limited.get("/tools")
        assert limited.post("/batches", {"tool_id": "montecarlo-pi"}).status_code == 429
        assert limited.delete("/batches").status_code == 429
        assert batches.submitted == []
        assert "delete_all" not in batches.calls

    def test_that_nothing_has_changed_costs_nothing(
        self, limited: Api, batches: FakeBatches
    ) -> None:
        path = f"/batches/{batches.add('anna').batch_id}"
        etag = limited.get(path).headers["etag"]
        for _ in range(10):
            assert limited.get(path, headers={"If-None-Match": etag}).status_code == 304
            again = limited.get(f"{path}?wait=0", headers={"If-None-Match": etag})
            assert again.status_code == 304
        assert limited.get("/tools").headers["ratelimit-remaining"] == "1"

    def test_who_has_no_limit_is_told_of_none(self, limited: Api) -> None:
        for user in ("bert", "carl"):
            limited.user = user
            for _ in range(5):
                answer = limited.get("/tools")
                assert answer.status_code == 200
                assert "ratelimit-limit" not in answer.headers

    def test_what_needs_no_credentials_is_not_counted(self, limited: Api) -> None:
        for _ in range(3):
            limited.get("/tools")
        limited.user = None
        assert limited.get("/healthz").status_code == 200
        assert limited.get("/tools").status_code == 401
