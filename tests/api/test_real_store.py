"""Bodies of all kinds against the real rules and the real database, not their stand-ins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmbatch.api import create_app
from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.config import load
from tests.api.fakes import FakeIdentity, FakeReadiness
from tests.api.test_bodies import HOSTILE
from tests.unit.world import World

SETTINGS = Path(__file__).resolve().parents[2] / "etc" / "slurmbatch.toml"
RELAXED = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Service:
    """The API over real `Batches`, with the tools that are shipped as examples."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory)
        shipped = load(SETTINGS)
        offer = Offer(shipped.tools, {each.id: each for each in shipped.filesystems}, 1000, 65536)
        rules = Rules(directory / "logs", None, 262_144, None, 0.0)
        world = self.world
        batches = Batches(world.store, offer, rules, world.doorbell, world.health)
        app = create_app(
            batches, FakeIdentity(), FakeReadiness(), max_body_bytes=200_000, draining=bool
        )
        headers = {"Authorization": "key anna", "Content-Type": "application/json"}
        self.client = testing.TestClient(app, headers=headers)

    def dump(self) -> list[str]:
        return list(self.world.store._db.writer.connection().iterdump())

    def post(self, raw: bytes, **headers: str) -> Any:
        answer = self.client.simulate_post("/batches", body=raw, headers=headers)
        assert answer.status_code < 500, (raw[:300], answer.text)
        return answer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("service"))
    yield made
    made.world.store.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_and_changes_nothing(service: Service, name: str) -> None:
    before = service.dump()
    for headers in ({}, {"Idempotency-Key": "a"}):
        answer = service.post(HOSTILE[name], **headers)
        assert 400 <= answer.status_code < 500
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert service.dump() == before


NAMES = st.sampled_from(["samples", "seed", "print", "sleep", "exit_code", "allocate", "signal",
                         "trace", "folder", "x"])  # fmt: skip
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
                   st.integers(0, 100))  # fmt: skip
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
LARGE = st.integers(0, 2**63) | st.integers(1, 64)
BODIES = st.fixed_dictionaries(
    {"tool_id": st.sampled_from(["montecarlo-pi", "probe", "sweep-to-file"])},
    optional={
        "name": st.text(max_size=10),
        "fixed_args": ARGUMENTS,
        "variable_args": st.lists(ARGUMENTS, max_size=4),
        "hardware": st.fixed_dictionaries(
            {},
            optional={
                "cpu": LARGE, "memory": LARGE,
                "filesystems": st.lists(st.sampled_from(["scratch", "x"]), max_size=3),
            },
        ),
        "slurm": st.fixed_dictionaries(
            {},
            optional={
                "time_limit": LARGE, "gpus": LARGE, "partition": st.text(max_size=5),
                "account": st.text(max_size=5), "qos": st.text(max_size=5),
            },
        ),
    },
)  # fmt: skip


@RELAXED
@given(BODIES)
def test_any_body_is_kept_whole_or_refused_whole(service: Service, body: dict[str, Any]) -> None:
    before = service.dump()
    answer = service.post(json.dumps(body).encode())
    if answer.status_code != 201:
        assert answer.status_code in (400, 422)
        assert service.dump() == before
        return
    (batch,) = answer.json
    path = f"/batches/{batch['batch_id']}"
    jobs = service.client.simulate_get(f"{path}/jobs").json
    assert len(jobs) == batch["n_jobs"] == max(1, len(body.get("variable_args", [])))
    for job in jobs:
        for place in ("", "/log"):
            found = service.client.simulate_get(f"{path}/jobs/{job['job_id']}{place}")
            assert found.status_code == 200
    assert service.client.simulate_delete(path).status_code == 200
    service.world.submitter.tick(service.world.slurm.now)


@RELAXED
@given(st.text(max_size=30), st.text(max_size=10), st.text(max_size=10))
def test_any_query_is_answered_or_refused(
    service: Service, after: str, name: str, tool_id: str
) -> None:
    for path in ("/batches", "/tools", "/batches/x/jobs"):
        params = {"after": after, "name": name, "tool_id": tool_id}
        assert service.client.simulate_get(path, params=params).status_code < 500
