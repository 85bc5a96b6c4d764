"""POST /batches with hostile bodies on the real `Batches`, a real database and the shipped tools:
each is answered, and what is refused changes nothing."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmbatch.api import create_app
from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.config import load
from slurmbatch.doorbell import Doorbell
from slurmbatch.health import Health
from slurmbatch.model import ArrayState
from slurmbatch.store import Store, open_store
from slurmbatch.targets import AllowedHost
from tests.api.conftest import MAX_BODY, Api
from tests.api.fakes import FakeIdentity, FakeKeyring, FakeReadiness
from tests.api.test_bodies import FAULTY, GOOD, HOSTILE, JSON_VALUES, changed, with_slash

ETC = Path(__file__).parents[2] / "etc"


@dataclass
class Service:
    """The application on a store of its own, and all that is in it."""

    api: Api
    store: Store
    path: Path

    def dump(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            return list(database.iterdump())

    def post(self, body: Any, **headers: str) -> testing.Result:
        """Its answer, after a look whether the database is as it was if the body is refused."""
        before = self.dump()
        answer = self.api.post("/batches", body, headers=headers)
        assert answer.status_code < 500
        if answer.status_code >= 400:
            assert self.dump() == before
        return answer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    path = directory / "state" / "x.sqlite"
    (directory / "logs").mkdir()
    store = open_store(path, exclusive=True)
    offered = load(ETC / "slurmbatch.toml")
    known = {each.id: each for each in offered.filesystems}
    offer = Offer(offered.tools, known, 1000, 65_536, (AllowedHost("a"),))
    rules = Rules(directory / "logs", directory, 262_144, None, submit_wait=0.0)
    batches = Batches(store, offer, rules, Doorbell(), Health())
    app = create_app(
        batches,
        FakeIdentity(),
        FakeReadiness(),
        keyring=FakeKeyring(),
        max_body_bytes=MAX_BODY,
        draining=lambda: False,
    )
    made = Service(Api(app), store, path)
    # Something that a faulty body could do harm to.
    assert made.post(GOOD, **{"Idempotency-Key": "kept"}).status_code == 201
    yield made
    store.close()


def test_a_right_body_changes_the_database(service: Service) -> None:
    before = service.dump()
    assert service.post(GOOD).status_code == 201
    assert service.dump() != before


@pytest.mark.parametrize("key", ["", "kept", "new"])
@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bodies(service: Service, raw: bytes, key: str) -> None:
    answer = service.post(raw, **({"Idempotency-Key": key} if key else {}))
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(("path", "value", "pointer"), FAULTY)
def test_a_faulty_field_is_named(service: Service, path: str, value: Any, pointer: str) -> None:
    answer = service.post(with_slash(path, value))
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("tool_id", "../montecarlo-pi", "/tool_id"),
        ("fixed_args/samples", 0, "/fixed_args/samples"),
        ("fixed_args/samples", "'; DROP TABLE job; --", "/fixed_args/samples"),
        ("variable_args/1/seed", 2**31, "/variable_args/1/seed"),
        ("variable_args", [{}] * 1001, "/variable_args"),
        ("hardware/cpu", 2, "/hardware/cpu"),
        ("hardware/filesystems/0", "/etc", "/hardware/filesystems/0"),
        ("slurm/gpus", 1, "/slurm/gpus"),
    ],
)
def test_a_field_that_means_what_is_not_allowed(
    service: Service, path: str, value: Any, pointer: str
) -> None:
    answer = service.post(changed(path, value))
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


# --- bodies made up ------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["samples", "seed", "print", "sleep", "exit_code", "allocate", "signal", "trace", "folder", "x"]
)
VALUES = JSON_VALUES | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 100) | st.text(max_size=20)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
AMOUNTS = st.integers(0, 4) | st.integers(0, 2**63)
WORDS = st.text(max_size=5) | st.just("main")
BODIES = st.fixed_dictionaries(
    {"tool_id": st.sampled_from(["montecarlo-pi", "probe", "sweep-to-file"])},
    optional={
        "name": st.text(max_size=10),
        "fixed_args": ARGUMENTS,
        "variable_args": st.lists(ARGUMENTS, max_size=4),
        "hardware": st.fixed_dictionaries(
            {},
            optional={
                "cpu": AMOUNTS,
                "memory": AMOUNTS,
                "filesystems": st.lists(st.sampled_from(["scratch", "x"]), max_size=3),
            },
        ),
        "slurm": st.fixed_dictionaries(
            {},
            optional={
                "time_limit": AMOUNTS,
                "partition": WORDS,
                "account": WORDS,
                "qos": WORDS,
                "gpus": AMOUNTS,
            },
        ),
    },
)


@settings(max_examples=400, deadline=None)
@given(BODIES)
def test_whatever_comes_is_refused_or_can_be_read_again(
    service: Service, body: dict[str, Any]
) -> None:
    answer = service.post(json.dumps(body).encode())
    if answer.status_code != 201:
        return
    (batch,) = answer.json
    at = answer.headers["location"]
    jobs = service.api.get(f"{at}/jobs").json
    assert len(jobs) == batch["n_jobs"] == max(1, len(body.get("variable_args", [])))
    for path in (at, f"{at}/jobs/{jobs[0]['job_id']}", f"{at}/jobs/{jobs[0]['job_id']}/log"):
        assert service.api.get(path).status_code == 200
    # The database stays small, and the next dump of it quick.
    arrays = service.store.arrays
    service.store.batches.withdraw(batch["batch_id"], 0.0)
    for array in arrays.of_batch(batch["batch_id"]):
        arrays.end_all(array.pk, ArrayState.DONE, "CANCELLED: x", 0.0)
    service.store.graves.purge(0.0)
    service.store.graves.forget_tombstones(1.0)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30), st.text(max_size=10), st.text(max_size=10))
def test_whatever_is_looked_for_is_answered(
    service: Service, after: str, name: str, tool_id: str
) -> None:
    query = {"after": after, "name": name, "tool_id": tool_id}
    for path in ("/batches", "/tools", "/batches/x/jobs"):
        assert service.api.get(path, params=query).status_code < 500
