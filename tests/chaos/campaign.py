"""A whole run: users, faults and a watcher at once, then quiet, then the judgement."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurmbatch.sandbox import Sandbox
from tests.chaos.crowd import Crowd, Habits
from tests.chaos.faults import ORDERS, Faults, Keeper, Storm
from tests.chaos.judge import Judge, Verdict
from tests.chaos.ledger import Ledger
from tests.chaos.points import ITSELF, Plan
from tests.chaos.scenarios import (
    AT_ITS_COMMIT,
    BY_A_BATCH,
    BY_A_CRASH,
    GENTLE,
    NOT_PLAIN,
    Range,
    settle,
    unshot,
)
from tests.chaos.site import Site
from tests.chaos.watch import Watcher


@dataclass(frozen=True)
class Orders:
    """What kind of run it is to be. Without `crashes` slurmctld is never killed with -9.

    `every_point`: what luck has not shot at is shot at in the end; `gently`: at those points, too,
    that are on the way of every batch, and not only where Slurm has forgotten something.
    """

    seed: str
    seconds: float
    claims: bool = True
    crashes: bool = True
    every_point: bool = True
    gently: bool = True
    settle: float = 240.0
    users: Sequence[str] = ("alice", "bob", "carol", "dave")
    pause: tuple[float, float] = (0.5, 4.0)
    longest_outage: float = 10.0
    habits: Habits = field(default_factory=Habits)


class Campaign:
    """One run on a sandbox that is up, in a directory of its own."""

    def __init__(self, box: Sandbox, root: Path, orders: Orders) -> None:
        self.orders = orders
        self.site = Site(box, root, claims=orders.claims, users=orders.users)
        self.ledger = Ledger()
        spared = frozenset() if orders.crashes else frozenset({"kill slurmctld"})
        self.faults = Faults(self.site, spared=spared)
        self.crowd = Crowd(self.site, self.ledger, orders.seed, orders.habits)
        self.watcher = Watcher(self.crowd.users, self.ledger, self.faults.is_down)
        self.storm = Storm(
            self.faults, random.Random(f"{orders.seed}/storm"), self._shoot, pause=orders.pause,
            longest_outage=orders.longest_outage,
        )  # fmt: skip
        self.keeper = Keeper(self.site, random.Random(f"{orders.seed}/keeper"))
        self.range = Range(self.site, self.ledger, self.faults)
        self._shooters: list[threading.Thread] = []
        self._deck: list[str] = []

    def run(self) -> Verdict:
        """All of it. The daemon has ended when this returns."""
        self.site.start()
        self.watcher.start()
        try:
            if self.orders.seconds:
                self._chaos()
            if self.orders.every_point:
                self._rest_of_the_points()
            self.faults.mend_all()
            self.site.start()
            self._settle()
            if self.orders.habits.policies:
                self._fail_nodes()
                self._settle()
        finally:
            self.watcher.stop()
        verdict = Judge(self.site, self.ledger, self.faults).judge(self.crowd.users)
        if self.site.end() != 0:
            verdict.wrong.append("the daemon did not end well on SIGTERM")
        return verdict

    def clear(self) -> None:
        """Leaves Slurm as it was found, however the run went."""
        self.site.end()
        self.faults.mend_all()
        self.site.box.run(["scancel", "--me"], check=False)

    def _chaos(self) -> None:
        for actor in (self.keeper, self.crowd, self.storm):
            actor.start()
        try:
            time.sleep(self.orders.seconds)
        finally:
            self.storm.stop()
            for thread in self._shooters:
                thread.join()
            self.site.gun.unload()
            self.site.forget_order()
            try:
                self.faults.mend_all()
            finally:
                self.crowd.stop()
                self.keeper.stop()
            self.site.start()

    def _settle(self) -> None:
        left = settle(self.watcher.unfinished, self.faults, self.orders.settle)
        for posted in left:
            self.ledger.complain(f"{posted.label}: has not ended ({posted.batch_id})")
        self._wait_purged(240.0)

    def _fail_nodes(self) -> None:
        """When all else has ended, as it takes all that runs on a node along."""
        for point in AT_ITS_COMMIT:
            if not self.range.fail_a_node(point):
                self.ledger.complain(f"{point} was never reached by a node that failed")
            self._settle()

    def _rest_of_the_points(self) -> None:
        fields = self.range
        crashing = BY_A_CRASH if self.orders.crashes and self.orders.claims else ()
        for what in ORDERS if self.orders.gently else ():
            if not fields.order(what):
                self.ledger.complain(f"sbatch was never run: {what}")
        gentle = self._points if self.orders.gently else ()
        for point in unshot(self.site, (*gentle, *crashing)):
            # What depends on how fast slurmctld answers, or saves its state, may need more tries.
            if not any(fields.shoot(point) for _ in range(6)):
                self.ledger.complain(f"{point} was never reached")
        fields.finish()

    @property
    def _points(self) -> Sequence[str]:
        return GENTLE if self.orders.habits.are_plain else (*GENTLE, *NOT_PLAIN)

    def _wait_purged(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while (self._unpurged() or self.site.queue()) and time.monotonic() < deadline:
            self.faults.renew_nodes()
            time.sleep(0.5)

    def _unpurged(self) -> int:
        with closing(sqlite3.connect(f"file:{self.site.database}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT count(*) FROM batch WHERE deleted_at IS NOT NULL").fetchone()
        return int(rows[0])

    # --- shots at random points -----------------------------------------------------------------

    def _shoot(self, rng: random.Random) -> None:
        """Loads the gun for a point, and has somebody wait for what comes of it."""
        if self.site.gun.is_loaded:
            return
        if not self._deck:
            self._deck = [*self._points]
            rng.shuffle(self._deck)
        point = self._deck.pop()
        hit = rng.choice((1, 1, 2, 3)) if point in BY_A_BATCH else 1
        draw, seconds = rng.random(), self.orders.longest_outage * rng.random() ** 2
        controller = self.site.box.pid("slurmctld")
        targets = [(ITSELF, int(signal.SIGKILL))]
        how = ""
        if draw < 0.3 and controller is not None:
            how = "kill" if self.orders.crashes and draw < 0.15 else "hang"
            number = signal.SIGKILL if how == "kill" else signal.SIGSTOP
            targets = [(controller, int(number))] + (targets if draw % 0.02 < 0.01 else [])
        self.site.gun.load(Plan(point, hit, targets))
        thread = threading.Thread(target=self._wait_shot, args=(point, how, len(targets), seconds))
        self._shooters.append(thread)
        thread.start()

    def _wait_shot(self, point: str, how: str, n_targets: int, seconds: float) -> None:
        before = time.monotonic()
        while self.site.gun.is_loaded and time.monotonic() - before < 10:
            time.sleep(0.05)
        if self.site.gun.is_loaded:
            self.site.gun.unload()
            return
        if how:
            self.faults.noted("slurmctld", how)
            self.storm.mend_later("slurmctld", seconds)
        if not how or n_targets > 1:
            self.faults.count("kill daemon at a point")


# --- telling ----------------------------------------------------------------------------------


def summary(campaign: Campaign, verdict: Verdict) -> dict[str, Any]:
    posted = campaign.ledger.all()
    kinds = campaign.faults.kinds
    points: dict[str, int] = {}
    for point in campaign.site.gun.fired():
        points[point] = points.get(point, 0) + 1
    return {
        "seed": campaign.orders.seed,
        "claims": campaign.orders.claims,
        "slurmctld_killed_with_9": campaign.orders.crashes,
        "batches": len(posted),
        "jobs": sum(len(each.codes) for each in posted),
        "cancelled": sum(bool(each.cancels) for each in posted),
        "deleted": sum(each.deleted_at < float("inf") for each in posted),
        **_not_plain(campaign, verdict),
        "answers": campaign.ledger.answers,
        "tries_without_an_answer": campaign.ledger.retries,
        "looks": campaign.watcher.looks,
        "faults": sum(kinds.values()),
        "faults_by_kind": dict(sorted(kinds.items())),
        "shots_by_point": dict(sorted(points.items())),
        "statuses": dict(sorted(verdict.statuses.items())),
        "lost": len(verdict.lost),
        "twice": len(verdict.twice),
        "duplicates_that_ran": len(verdict.duplicates),
        "duplicates_ended_before_they_ran": campaign.site.log.read_text().count(
            "duplicate submission ended"
        ),
        "disagreements": len(verdict.disagreements),
        "otherwise_wrong": len(verdict.wrong),
        "said_lost": len(verdict.said_lost),
        "ended_by_slurm_itself": len(verdict.ended_by_slurm),
        "run_again_by_slurm_itself": len(verdict.rerun_by_slurm),
    }


def _not_plain(campaign: Campaign, verdict: Verdict) -> dict[str, Any]:
    """How many batches wait for others, or for themselves; and what was run again."""
    posted = campaign.ledger.all()
    if campaign.orders.habits.are_plain:
        return {}
    hows = Counter(wait.how for each in posted if each.batch_id for wait in each.waits)
    retries = [again for each in posted for again in each.retries if again.is_acknowledged]
    return {
        "depend": dict(sorted(hows.items())),
        "on_what_is_deleted": sum(each.is_invalid and bool(each.waits) for each in posted),
        "with_a_canary": sum(each.canary > 0 for each in posted),
        "with_a_throttle": sum(each.max_parallel is not None for each in posted),
        "retries": len(retries),
        "jobs_run_again": sum(len(again.jobs) for again in retries),
        "with_a_policy": sum(each.policy is not None for each in posted),
        "attempts_before_the_last_by_policy": dict(sorted(verdict.attempts.items())),
    }


def table(rows: dict[str, Any]) -> str:
    flat: list[tuple[str, Any]] = []
    for name, value in rows.items():
        if isinstance(value, dict):
            flat += [(f"{name}: {key}", count) for key, count in value.items()]
        else:
            flat.append((name, value))
    width = max(len(name) for name, _ in flat)
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {value}" for name, value in flat)


def save(campaign: Campaign, verdict: Verdict, rows: dict[str, Any]) -> None:
    told = {**rows, "failures": verdict.failures, "said_lost_of": verdict.said_lost,
            "ended_by_slurm": verdict.ended_by_slurm,
            "run_again_by_slurm": verdict.rerun_by_slurm}  # fmt: skip
    (campaign.site.root / "summary.json").write_text(json.dumps(told, indent=2) + "\n")
