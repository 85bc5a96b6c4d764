"""The short form of `make chaos`: each named point once, and some random chaos of a fixed seed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox
from tests.chaos.campaign import Campaign, Orders, summary, table
from tests.chaos.crowd import Habits

pytestmark = pytest.mark.slurm
SEED = os.environ.get("SEED", "1")


def _run(box: Sandbox, directory: Path, orders: Orders) -> None:
    campaign = Campaign(box, directory / "site", orders)
    try:
        verdict = campaign.run()
    finally:
        campaign.clear()
    told = table(summary(campaign, verdict))
    print(f"\n{told}")
    assert not verdict.failures, "\n".join([*verdict.failures, told, f"kept in {directory}"])


def test_every_named_point_without_claims(chaos_box: Sandbox, directory: Path) -> None:
    users = tuple(f"user{number}" for number in range(10))
    _run(chaos_box, directory, Orders(SEED, 0, claims=False, crashes=False, users=users))


def test_every_point_where_slurm_has_forgotten(chaos_box: Sandbox, directory: Path) -> None:
    users = tuple(f"user{number}" for number in range(10))
    _run(chaos_box, directory, Orders(SEED, 0, gently=False, users=users))


def test_random_chaos_with_claims(chaos_box: Sandbox, directory: Path) -> None:
    habits = Habits(pause=(0.3, 2.0), most_jobs=40, longest_nap=2.0, most_batches=40)
    orders = Orders(
        SEED, 45, every_point=False, habits=habits, pause=(0.2, 2.0), longest_outage=8.0
    )
    _run(chaos_box, directory, orders)
