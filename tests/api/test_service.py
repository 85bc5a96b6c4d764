"""GET /service: the whole of it at one look, for administrators and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from slurmbatch.api import answers
from slurmbatch.batches.overview import ACTS, OUTAGES, USERS
from slurmbatch.model import Act, Caller, NewBatch
from tests.api.hostile.site import ADMIN, OWNER, VICTIM, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def asked(site: Site, who: str = "admin", path: str = "/service") -> testing.Result:
    return testing.simulate_get(site.app, path, headers={"Authorization": site.keys[who]})


def seen(site: Site) -> dict[str, Any]:
    answer = asked(site)
    assert answer.status_code == 200
    (found,) = answer.json
    return dict(found)


def busy(site: Site, user: str, n_jobs: int) -> str:
    new = NewBatch("probe", variable_args=({},) * n_jobs, cpu=1, memory=64)
    return site.batches.submit(Caller(user, "test"), new, body_hash=b"h")[0].batch_id


def test_it_has_what_is_documented_in_that_order(site: Site) -> None:
    found = seen(site)
    assert list(found) == list(answers.ServiceView.__annotations__)
    assert asked(site).headers["cache-control"] == "no-store"


def test_what_waits_to_be_handed_over_and_for_how_long(site: Site) -> None:
    nothing = {"arrays": 0, "jobs": 0, "oldest_age_seconds": None}
    assert seen(site)["intents"] == nothing
    busy(site, OWNER, 3)
    site.world.slurm.now += 30
    busy(site, VICTIM, 2)
    site.world.slurm.now += 12
    assert seen(site)["intents"] == {"arrays": 2, "jobs": 5, "oldest_age_seconds": 42}
    site.world.tick()
    assert seen(site)["intents"] == nothing


def test_who_is_busiest_by_jobs_that_have_not_ended(site: Site) -> None:
    assert seen(site)["users"] == []  # their batches have ended
    busy(site, OWNER, 2)
    gone = busy(site, VICTIM, 5)
    busy(site, VICTIM, 1)
    site.world.tick()
    site.batches.delete(Caller(VICTIM, "test"), gone)  # and runs still
    found = seen(site)
    told = [(each["user"], each["live_jobs"], each["live_batches"]) for each in found["users"]]
    assert told == [(VICTIM, 6, 2), (OWNER, 2, 1)]
    assert found["live_batches"] == 3
    assert sum(found["submitted_jobs"].values()) == 8
    assert sum(found["users"][0]["submitted_jobs"].values()) == 6


def test_there_are_ten_of_them_at_most_and_all_count_in_the_sum(site: Site) -> None:
    for number in range(USERS + 3):
        busy(site, f"user{number}", number + 1)
    found = seen(site)
    assert [each["live_jobs"] for each in found["users"]] == list(range(13, 3, -1))
    assert sum(found["submitted_jobs"].values()) == sum(range(1, USERS + 4))


def test_how_often_slurm_is_looked_at_and_for_how_long(site: Site) -> None:
    site.world.health._looked.clear()  # of those before some might be a minute old any moment
    none = {"last_minute": 0, "mean_seconds": None, "longest_seconds": None}
    assert seen(site)["looks"] == none
    site.world.health.looked(7.5)
    site.world.health.looked(0.5)
    told = {"last_minute": 2, "mean_seconds": 4.0, "longest_seconds": 7.5}
    assert seen(site)["looks"] == told


def test_outages_with_their_begin_and_end(site: Site) -> None:
    health = site.world.health
    health.failed("slurmdbd", 1_763_906_587.0, "<b>away</b>")
    health.ok("slurmdbd", 1_763_906_599.0)
    health.failed("slurmctld", 1_763_906_600.0, "refused")
    going, over = seen(site)["outages"]
    assert going == {"source": "slurmctld", "began_at": "2025-11-23T14:03:20Z", "ended_at": "",
                     "error": "refused"}  # fmt: skip
    assert over == {"source": "slurmdbd", "began_at": "2025-11-23T14:03:07Z",
                    "ended_at": "2025-11-23T14:03:19Z", "error": "<b>away</b>"}  # fmt: skip
    for begin in range(OUTAGES + 5):
        health.failed("poller", float(begin), "x")
        health.ok("poller", begin + 0.5)
    assert len(seen(site)["outages"]) == OUTAGES


def test_the_newest_of_the_audit_trail(site: Site) -> None:
    first = seen(site)["audit"][0]
    assert (first["user"], first["what"], first["outcome"]) == (ADMIN, "service.see", "done")
    assert first["credential"].startswith("key ")
    assert first["remote"]
    for number in range(ACTS + 5):
        site.store.audit.add(Act(float(number), "anna", "key.create", f"k{number}", detail="d"))
    told = seen(site)["audit"]
    assert [each["target"] for each in told] == [f"k{n}" for n in range(ACTS + 4, 4, -1)]
    assert told[0] == {
        "at": "1970-01-01T00:00:54Z", "user": "anna", "what": "key.create", "target": "k54",
        "owner": "", "outcome": "done", "credential": "", "remote": "", "request_id": "",
        "detail": "d",
    }  # fmt: skip


def test_that_somebody_has_looked_is_kept_once_in_a_while(site: Site) -> None:
    for _ in range(5):
        seen(site)
    assert len(site.store.audit.find(what="service.see")) == 1


@pytest.mark.parametrize("who", [OWNER, "reader", "admin's usual"])
def test_to_others_it_is_what_batches_of_others_are(site: Site, who: str) -> None:
    rows = site.state()
    refused, likewise = asked(site, who), asked(site, who, "/batches?user=somebody")
    assert refused.status_code == likewise.status_code == 403
    own = ("instance", "request_id")
    assert {k: v for k, v in refused.json.items() if k not in own} == {
        k: v for k, v in likewise.json.items() if k not in own
    }
    assert site.state() == rows


def test_slurm_is_asked_nothing_for_it(site: Site) -> None:
    busy(site, OWNER, 2)
    site.world.tick()
    looks, calls = site.world.health.looks, dict(site.world.slurm.calls)
    seen(site)
    assert (site.world.health.looks, dict(site.world.slurm.calls)) == (looks, calls)
