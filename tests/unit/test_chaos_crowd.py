"""What the users of a chaos run decide: from the seed alone, and of every kind."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

from tests.chaos.crowd import Crowd, Habits
from tests.chaos.ledger import MAX_MEMORY, MEMORY, NEVER, Cancel, Ledger, Posted

ALL = Habits(depends=0.5, canaries=0.5, throttles=0.5, retries=0.5, policies=0.5)
SITE = cast(Any, SimpleNamespace(users=("alice",), url="http://x", keys={"alice": "k"}))


def made(seed: str, habits: Habits = ALL) -> list[Posted]:
    """One batch after the other, of which some are cancelled, and some deleted."""
    ledger = Ledger()
    crowd = Crowd(SITE, ledger, seed, habits)
    rng, more = random.Random(seed), random.Random(f"{seed}/more")
    for number in range(1, 101):
        posted = crowd._new("alice", number, rng)
        if not habits.are_plain:
            crowd._vary(posted, more)
        posted.batch_id = f"id-{number}"
        ledger.add(posted)
        if number % 7 == 0:
            posted.cancels.append(Cancel(1.0, 2.0))
        if number % 5 == 0:
            posted.delete_asked_at = 1.0
    return ledger.all()


def test_the_same_seed_makes_the_same() -> None:
    bodies = [each.body() for each in made("1")]
    assert bodies == [each.body() for each in made("1")]
    assert bodies != [each.body() for each in made("2")]


def test_batches_are_of_every_kind() -> None:
    batches = made("1")
    hows = {wait.how for each in batches for wait in each.waits}
    assert hows == {"afterok", "afterany", "aftercorr"}
    parents = [wait.parent for each in batches for wait in each.waits]
    assert any(each.cancels for each in parents)
    assert any(each.delete_asked_at < NEVER for each in parents)
    for kind in ("canary", "max_parallel", "heals", "waits", "policy"):
        n_such = sum(bool(getattr(each, kind)) for each in batches)
        assert 0 < n_such < len(batches), kind


def test_they_are_such_as_the_service_takes() -> None:
    for each in made("1"):
        body = each.body()
        n_jobs = len(body["variable_args"])
        assert body.get("canary", 0) < n_jobs
        for wait in each.waits:
            assert wait.how != "aftercorr" or len(wait.parent.codes) == n_jobs
        named = [wait.parent.batch_id for wait in each.waits]
        assert len(set(named)) == len(named)
        heals = {job["job"] for job in body["variable_args"] if "fails" in job}
        assert heals == set(each.heals)


def test_of_those_with_a_policy_some_jobs_need_more_than_they_have_at_first() -> None:
    policies = [(each.policy, each.needs) for each in made("1") if each.policy is not None]
    for policy, needs in policies:
        assert needs and all(memory > MEMORY for memory in needs.values())
        assert policy.more_than(MEMORY) > MEMORY
    every = {memory for _, needs in policies for memory in needs.values()}
    assert any(memory > MAX_MEMORY for memory in every)
    assert any(memory <= MAX_MEMORY for memory in every)
    assert {policy.node_failures for policy, _ in policies} == {True, False}
    without = [each for each in made("1") if each.policy is None]
    assert without and not any(each.needs for each in without)
    for each in made("1"):
        body = each.body()
        assert ("retry" in body) == (each.policy is not None)
        told = {job["job"]: job["needs"] for job in body["variable_args"] if "needs" in job}
        assert told == each.needs


def test_plain_ones_are_plain() -> None:
    plain = {"tool_id", "name", "fixed_args", "variable_args", "slurm"}
    assert all(set(each.body()) == plain for each in made("1", Habits()))


def test_what_was_cancelled_can_be_ended_again_only_after_a_retry() -> None:
    (posted,) = made("1", Habits())[:1]
    assert posted.can_be_ended
    posted.cancels.append(Cancel(5.0, 6.0))
    assert not posted.can_be_ended and not posted.is_whole
    posted.retries.append(cast(Any, SimpleNamespace(asked_at=7.0)))
    assert posted.can_be_ended and not posted.is_whole
