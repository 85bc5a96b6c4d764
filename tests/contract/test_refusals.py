"""Every refusal that we take for one is provoked on a real Slurm, if it can be, and so are limits.

A job that is submitted held is not compared with the nodes, so `EnforcePartLimits=ALL` has to be
set for some of them; what no node could ever run is then told by the reason it waits for.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import pytest

from slurmbatch.errors import SlurmBusy, SlurmRefused
from slurmbatch.model import MAX_CPU, MAX_MEMORY, MAX_TIME_LIMIT, SlurmOptions
from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm import quirks
from slurmbatch.slurm.port import SubmitRequest
from tests.contract.sites import AT_HOME, STRANGER, RealSite

pytestmark = pytest.mark.slurm


def options(**changes: Any) -> dict[str, Any]:
    return {"options": replace(SlurmOptions(time_limit=20), **changes)}


# What is asked for, and Slurm's word for why not: one row for each refusal, at least. A bar stands
# between the words of different versions.
PROVOKED: list[tuple[str, dict[str, Any]]] = [
    ("Invalid job array specification", {"n_tasks": 1001}),
    ("Invalid feature specification", {"features": ("nowhere",)}),
    ("Invalid license specification", {"licences": ("nothing:1",)}),
    ("Invalid license specification", {"licences": ("scratch:100000",)}),
    ("Invalid partition name specified", options(partition="nowhere")),
    ("Invalid node name specified", {"exclude": "node1,nowhere"}),
    ("Invalid generic resource (gres) specification", options(gpus=1)),
    ("Invalid account or account/partition combination specified", options(account="nobodys")),
    ("Invalid account or account/partition combination specified", options(partition="closed")),
    ("Invalid qos specification", options(qos="nothing")),
    ("Requested time limit is invalid", options(partition="short", time_limit=61)),
    ("Time limit specification required, but not provided", options(time_limit=None)),
    ("Memory required by task is not available", {**options(partition="little"), "memory": 101}),
    ("Node count specification invalid", options(partition="wide")),
    ("More processors requested than permitted", {"cpu": 10_000}),
    ("Job violates accounting/QOS policy", {**options(qos="tiny"), "cpu": 2}),
    ("Access/permission denied", options(partition="reserved")),
    ("Batch script is empty", {"script": ""}),
    ("Batch script contains only whitespace", {"script": " \n\n"}),
    ("Batch script contains DOS line breaks", {"script": "#!/bin/sh\r\ntrue\r\n"}),
    ("This does not look like a batch script", {"script": "true\n"}),
    ("contain a NULL character", {"script": "#!/bin/sh\ntrue \0\n"}),
    ("Pathname of a file, directory or other parameter too long", {"tag": "x" * 2000}),
    ("Pathname of a file, directory or other parameter too long",
     {"script": "#!/bin/sh\n" + "#" * 5_000_000}),
    ("Pathname of a file, directory or other parameter too long",
     {"work_dir": PurePath("/" + "x" * 5000)}),
    ("Invalid --", {"memory": -1}),
    ("Invalid numeric value", {"cpu": 0}),
    ("invalid number of|too large for --", {"cpu": 10**12}),
]  # fmt: skip
NO_DEFAULT = "No partition specified or system default partition"
BY_ANOTHER = "User's group not permitted to use this partition"
NOT_HERE = {
    "Requested node configuration is not available": "a held job is not compared with the nodes",
    "Requested partition configuration not available now": "likewise",
    "Requested nodes not in this partition": "we never name nodes",
    "Memory specification can not be satisfied": "we ask for memory by the node alone",
    "CPU count per node can not be satisfied": "we never ask for CPUs by the node",
    "CPU count specification invalid": "likewise",
    "Invalid user id": "sbatch gives its own",
    "Invalid group id": "sbatch gives its own",
    "Invalid wckey specification": "the sandbox has none",
    "Job script exceeds": "since 23.02; before, it is the pathname that is too long",
    "Job dependency problem": "we name no dependencies yet",
    "unrecognized option": "every version that we know takes our options",
}


@pytest.fixture(scope="module")
def site(strict: Sandbox) -> Iterator[RealSite]:
    """One with a QOS that allows nearly nothing, and refuses rather than lets wait."""
    made = RealSite(strict)
    for command in (
        ["add", "qos", "tiny", "Flags=DenyOnLimit", "MaxTRESPerJob=cpu=1",
         "MaxSubmitJobsPerUser=3"],
        ["modify", "user", pwd.getpwuid(os.getuid()).pw_name, "set", "qos+=tiny"],
    ):  # fmt: skip
        strict.run(["sacctmgr", "-i", *command])
    made.until(lambda: accepts(made, made.request(n=1, **options(qos="tiny"))))
    yield made
    made.close()


def accepts(site: RealSite, request: SubmitRequest) -> bool:
    """Whether it is accepted; if so, it is cancelled."""
    try:
        site.slurm.cancel(site.submit(request))
    except SlurmRefused:
        return False
    return True


def test_every_refusal_is_provoked_or_it_is_said_why_not() -> None:
    told = {word for words, _ in PROVOKED for word in words.split("|")} | {BY_ANOTHER, NO_DEFAULT}
    assert told | set(NOT_HERE) == set(quirks.REFUSALS)
    assert not told & set(NOT_HERE)


@pytest.mark.parametrize(
    ("words", "asked"), PROVOKED, ids=[f"{words}-{'+'.join(asked)}" for words, asked in PROVOKED]
)
def test_a_refusal(site: RealSite, words: str, asked: dict[str, Any]) -> None:
    request = replace(site.request(n=2), **asked)
    with pytest.raises(SlurmRefused) as raised:
        site.submit(request)
    assert any(word in raised.value.detail for word in words.split("|"))
    assert not site.slurm.find(request.tag)


def test_without_a_default_partition_one_has_to_be_named(site: RealSite) -> None:
    shown = site.box.run(["sinfo", "-h", "-o", "%P"]).stdout.split()
    (default,) = (each.rstrip("*") for each in shown if each.endswith("*"))
    change = ["scontrol", "update", f"partitionname={default}"]
    site.box.run([*change, "default=no"])
    try:
        with pytest.raises(SlurmRefused, match=NO_DEFAULT):
            site.submit(replace(site.request(), **options()))
    finally:
        site.box.run([*change, "default=yes"])
    assert accepts(site, replace(site.request(), **options()))


def test_a_group_that_may_not_use_a_partition(site: RealSite, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can submit as somebody else")
    site.box.run(["sacctmgr", "-i", "add", "user", STRANGER, *AT_HOME])
    as_stranger = site.as_user(pwd.getpwnam(STRANGER).pw_uid, tmp_path)
    request = site.request(work_dir=PurePath("/tmp"), **options(partition="groups"))
    told: list[str] = []

    def refused() -> bool:
        with pytest.raises(SlurmRefused) as raised:
            as_stranger.submit(request)
        told.append(raised.value.detail)
        return BY_ANOTHER in told[-1]

    site.until(refused)  # slurmctld hears of the new user a moment later
    assert all("Invalid account" in words for words in told[:-1])


def test_a_user_whom_the_accounting_does_not_know(site: RealSite, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can submit as somebody else")
    request = site.request(work_dir=PurePath("/tmp"))
    with pytest.raises(SlurmRefused, match="Invalid account"):
        site.as_user(12_345, tmp_path).submit(request)


def test_a_partition_that_is_drained_may_come_back(site: RealSite) -> None:
    with pytest.raises(SlurmBusy, match="Required partition not available"):
        site.submit(site.request(**options(partition="drained")))


def test_a_limit_of_a_qos(site: RealSite) -> None:
    request = site.request(n=4, **options(qos="tiny"))
    with pytest.raises(SlurmBusy, match="QOSMaxSubmitJobPerUserLimit"):
        site.submit(request)
    assert accepts(site, replace(request, n_tasks=3))


@pytest.mark.parametrize(
    ("whose", "limit", "words"),
    [
        ("user", "MaxSubmitJobs", "AssocMaxSubmitJobLimit"),
        ("account", "GrpSubmitJobs", "AssocGrpSubmitJobsLimit"),
    ],
)
def test_a_limit_of_an_association(site: RealSite, whose: str, limit: str, words: str) -> None:
    name = pwd.getpwuid(os.getuid()).pw_name if whose == "user" else "demo"
    request = site.request(n=6)

    def limited() -> bool:
        try:
            site.slurm.cancel(site.submit(request))
        except SlurmBusy as busy:
            assert words in busy.detail
            return True
        return False

    site.box.run(["sacctmgr", "-i", "modify", whose, name, "set", f"{limit}=5"])
    try:
        site.until(limited)  # slurmctld hears of it a moment later
        assert accepts(site, replace(request, n_tasks=5))
    finally:
        site.box.run(["sacctmgr", "-i", "modify", whose, name, "set", f"{limit}=-1"])
    site.until(lambda: not limited())


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"cpu": 99}, "PartitionConfig"),
        ({"cpu": 17}, "BadConstraints"),
        ({"memory": 10**7}, "BadConstraints"),
    ],
)
def test_what_no_node_can_run_is_accepted_and_says_why_it_waits(
    cluster: Sandbox, asked: dict[str, Any], reason: str
) -> None:
    lenient = RealSite(cluster)
    request = replace(lenient.request(), **asked)
    number = lenient.run(request)
    lenient.until(lambda: {row.reason for row in lenient.live(request.tag)} == {reason})
    lenient.slurm.cancel(number)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"cpu": MAX_CPU}, f"CPUs/Task={MAX_CPU}"),
        ({"memory": MAX_MEMORY}, "MinMemoryNode=2P"),
        (options(time_limit=MAX_TIME_LIMIT), "TimeLimit=24855-03:13:00"),
    ],
)
def test_the_largest_numbers_are_taken_as_they_are(
    cluster: Sandbox, asked: dict[str, Any], shown: str
) -> None:
    lenient = RealSite(cluster)
    number = lenient.submit(replace(lenient.request(n=1), **asked))
    try:
        told = cluster.run(["scontrol", "show", "job", str(number)]).stdout.split()
        assert shown in told
    finally:
        lenient.slurm.cancel(number)
