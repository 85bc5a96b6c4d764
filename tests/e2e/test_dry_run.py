"""A dry run, on a real Slurm: it says when, and has nothing of it."""

from __future__ import annotations

import time

import pytest

from .conftest import Api

pytestmark = pytest.mark.slurm


def dry(api: Api, **body: object) -> tuple[int, dict[str, object]]:
    answer = api.http.post("/batches", params={"dry_run": "1"}, json={"tool_id": "probe", **body})
    found = answer.json()
    return answer.status_code, found[0] if isinstance(found, list) else found


def test_slurm_says_when_and_where_and_nothing_is_kept(api: Api) -> None:
    status, trial = dry(api, variable_args=[{}] * 2500, max_parallel=7)
    assert status == 200
    assert (trial["n_jobs"], trial["n_arrays"], trial["max_parallel"]) == (2500, 3, 7)
    assert str(trial["expected_start"]).endswith("Z") and trial["expected_nodes"]
    assert trial["reason"] == ""
    assert api.http.get("/batches").json() == []
    assert not [line for line in api.squeue("--states=pending,running") if "|sb-" in line]


@pytest.mark.parametrize(
    ("slurm", "words"),
    [
        ({"partition": "nowhere"}, "Invalid partition name specified"),
        ({"qos": "nowhere"}, "Invalid qos specification"),
        ({"account": "nobody"}, "Invalid account or account/partition combination specified"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words(
    api: Api, slurm: dict[str, str], words: str
) -> None:
    status, problem = dry(api, slurm=slurm)
    assert status == 422
    assert problem["type"] == "urn:slurmbatch:problem:refused-by-slurm"
    assert words in str(problem["detail"]) and "allocation failure" not in str(problem["detail"])


def test_all_mistakes_are_told_as_for_a_batch(api: Api) -> None:
    status, problem = dry(api, hardware={"cpu": 0}, depends_on=["x"], max_parallel=0)
    assert status == 422
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert {each["pointer"] for each in errors} == {
        "/hardware/cpu", "/depends_on/0", "/max_parallel",
    }  # fmt: skip


def test_a_slurmctld_that_hangs_is_a_503_in_time_and_others_are_answered(api: Api) -> None:
    began = time.monotonic()
    api.box.kill("slurmctld", 19)
    try:
        status, problem = dry(api)
        assert status == 503, problem
        assert problem["type"] == "urn:slurmbatch:problem:slurm-unreachable"
        assert api.http.get("/batches").status_code == 200
    finally:
        api.box.kill("slurmctld", 18)
    assert time.monotonic() - began < 60
    deadline = time.monotonic() + 90
    while dry(api)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(1)
