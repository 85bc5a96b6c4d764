"""For each named point something that makes the daemon come by there, and be shot.

They need no luck: each arms the gun, does what leads to the point, and waits for the shot.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.clients import User
from tests.chaos.faults import Faults
from tests.chaos.ledger import MAX_MEMORY, MEMORY, Ledger, Policy, Posted, Wait
from tests.chaos.points import ITSELF, Plan
from tests.chaos.site import MAX_ARRAY_SIZE, Site


def _both(*calls: str) -> tuple[str, ...]:
    return tuple(f"{call}:{when}" for call in calls for when in ("before", "after"))


# On the way of every batch, in the order of that way.
BY_A_BATCH = _both(
    "batches.create", "database.commit", "database.sync", "arrays.trying", "slurm.submit",
    "arrays.accepted", "slurm.find", "arrays.releasing", "slurm.release", "arrays.queued",
    "slurm.live", "arrays.apply",
)  # fmt: skip
BY_ACCOUNTING = _both("slurm.ended")
BY_NO_REPLY = _both("arrays.waits")
BY_A_REFUSAL = _both("arrays.end_all", "batches.withdraw")
BY_A_CANCEL = _both("batches.cancel", "slurm.cancel")
BY_A_DELETE = _both("batches.delete", "graves.purge")
BY_A_GATE = _both("gates.keep", "gates.met", "gates.open", "gates.settle")
BY_A_RETRY = _both("retries.retry")
BY_A_THROTTLE = _both("slurm.throttle", "throttles.told")
# In the transaction that writes an end and what a policy makes of it, and after its commit.
AT_ITS_COMMIT = ("policy.apply:after", "policy.commit:after")
BY_A_POLICY = ("policy.due:after", "policy.apply:before", *AT_ITS_COMMIT)
# Only where Slurm has forgotten something.
BY_A_CRASH = _both("arrays.submit_again", "arrays.submit_part_again", "arrays.held_again")

GENTLE = (*BY_A_BATCH, *BY_ACCOUNTING, *BY_NO_REPLY, *BY_A_REFUSAL, *BY_A_CANCEL, *BY_A_DELETE)

# Where batches wait for others, are run again, or have a throttle or a policy.
NOT_PLAIN = (*BY_A_GATE, *BY_A_RETRY, *BY_A_THROTTLE, *BY_A_POLICY)


class Range:
    """Where one point after the other is shot at; starts the daemon itself, so no Keeper beside.

    The users take turns, since of one user's batches a later one waits for an earlier one.
    """

    def __init__(self, site: Site, ledger: Ledger, faults: Faults, patience: float = 40.0) -> None:
        self._site = site
        self._ledger = ledger
        self._faults = faults
        self._patience = patience
        self._users = [User(site, name, ledger) for name in site.users]
        self._turn = 0
        self._threads: list[threading.Thread] = []

    def shoot(self, point: str, targets: Sequence[tuple[int, int]] | None = None) -> bool:
        """Has the daemon shot there, and starts it again; False where the point was not hit."""
        if point in BY_A_CRASH:
            return self._after_a_crash(point)
        if point in BY_ACCOUNTING:
            self._restart(hide_ended=True)
        before = self._prepare(point)
        self._load(point, targets)
        self._in_background(before)
        done = self._wait_shot(point)
        self._site.forget_order()
        self._site.hide_ended = False
        self._site.start()
        return done

    def order(self, what: str) -> bool:
        """Has sbatch behave badly once; False where no sbatch was run."""
        self._site.order(what)
        self._in_background(self._post)
        deadline = time.monotonic() + self._patience
        while self._site.is_ordered and time.monotonic() < deadline:
            time.sleep(0.02)
        if what == "unread":
            self._site.wait_dead(self._patience)
            self._site.start()
        self._faults.count(f"sbatch {what}")
        return not self._site.is_ordered

    def fail_a_node(self, point: str) -> bool:
        """Has the node of a job fail whose policy runs it again for that, and the daemon shot when
        it does so; False where it did not. Nothing else may be in Slurm meanwhile."""
        user = self._next_user()
        posted = self._new(user, nap=12.0, n_jobs=1)
        posted.policy = Policy(2, 2, node_failures=True)
        user.post(posted)
        node = self._node_of(user, posted)
        self._load(point, None)
        if node:
            self._faults.fail_node(node)
        done = self._wait_shot(point)
        self._site.start()
        return done

    def finish(self) -> None:
        """Waits for what is still being asked."""
        for thread in self._threads:
            thread.join()

    # --- what leads to a point ------------------------------------------------------------------

    def _prepare(self, point: str) -> Callable[[], object]:
        """What is to be done once the gun is loaded."""
        user = self._next_user()
        if point in BY_NO_REPLY:
            self._site.order("no-reply")
        if point in BY_A_REFUSAL:
            return lambda: user.post(self._new(user, refused=True))
        if point in BY_A_CANCEL or point in BY_A_DELETE:
            posted = self._new(user, nap=30.0)
            user.post(posted)
            ends = user.cancel if point in BY_A_CANCEL else user.delete
            return lambda: ends(posted)
        if point in BY_A_GATE:
            return self._before_a_gate(user)
        if point in BY_A_RETRY:
            failed = self._new(user)
            user.post(failed)
            self._wait_ended(user, failed)
            return lambda: user.retry(failed)
        if point in BY_A_THROTTLE:
            # The last array has but a part of the throttle until jobs of the first have ended.
            most = MAX_ARRAY_SIZE - 1
            wide = self._new(user, nap=1.5, n_jobs=most + 5)
            wide.max_parallel = most + 2
            return lambda: user.post(wide)
        if point in BY_A_POLICY:
            hungry = self._new(user)
            hungry.policy, hungry.needs = Policy(3, 2), {0: 2 * MEMORY, 1: MAX_MEMORY}
            return lambda: user.post(hungry)
        return lambda: user.post(self._new(user))

    def _before_a_gate(self, user: User) -> Callable[[], object]:
        parent, child = self._new(user, nap=1.0), self._new(user)
        child.waits = (Wait(parent, "afterany"),)
        user.post(parent)
        return lambda: user.post(child)

    def _node_of(self, user: User, posted: Posted) -> str:
        """Where its only job runs; empty where it does not begin to."""
        path = f"/batches/{posted.batch_id}/jobs/{posted.batch_id}-0"
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            answer = user.look(path)
            if answer is not None and answer.json()[0]["status"] == "RUNNING":
                return str(answer.json()[0]["node_list"])
            time.sleep(0.2)
        return ""

    def _wait_ended(self, user: User, posted: Posted) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            answer = user.look(f"/batches/{posted.batch_id}")
            if answer is not None and answer.json()[0]["finished_at"]:
                return
            time.sleep(0.2)

    def _post(self) -> None:
        user = self._next_user()
        user.post(self._new(user))

    def _new(self, user: User, nap: float = 0.2, n_jobs: int = 2, *, refused: bool = False)\
            -> Posted:  # fmt: skip
        self._turn += 1
        codes = [0] * (n_jobs - 1) + [self._turn % 100]
        return Posted(f"{user.name}.range.{self._turn}", user.name, codes, [nap] * n_jobs, refused)

    def _next_user(self) -> User:
        self._turn += 1
        return self._users[self._turn % len(self._users)]

    def _in_background(self, what: Callable[[], object]) -> None:
        thread = threading.Thread(target=what)
        thread.start()
        self._threads.append(thread)

    # --- the shot -------------------------------------------------------------------------------

    def _load(self, point: str, targets: Sequence[tuple[int, int]] | None) -> None:
        self._site.gun.load(Plan(point, targets=targets or ((ITSELF, signal.SIGKILL),)))

    def _wait_shot(self, point: str) -> bool:
        deadline = time.monotonic() + self._patience
        while self._site.gun.is_loaded and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._site.gun.is_loaded:
            self._site.gun.unload()
            return False
        self._site.wait_dead(10)
        self._faults.count("kill daemon at a point")
        return self._site.gun.fired()[-1:] == [point]

    def _restart(self, *, hide_ended: bool) -> None:
        self._site.end()
        self._site.hide_ended = hide_ended
        self._site.start()

    # --- where Slurm forgets --------------------------------------------------------------------

    def _after_a_crash(self, point: str) -> bool:
        """slurmctld dies, and comes back as it was before a step; what follows is shot at."""
        step = {"arrays.submit_again": "arrays.accepted:after",
                "arrays.submit_part_again": "slurm.release:before",
                "arrays.held_again": "arrays.queued:after"}[point.partition(":")[0]]  # fmt: skip
        user = self._next_user()
        posted = self._new(user, nap=2.0)
        if step == "arrays.queued:after":
            self._load("arrays.releasing:before", None)
            self._in_background(lambda: user.post(posted))
            self._wait_shot("arrays.releasing:before")
        time.sleep(6)  # slurmctld saves what it knows every five seconds
        with self._state_kept():
            controller = self._site.box.pid("slurmctld")
            assert controller is not None
            self._load(step, ((controller, signal.SIGKILL), (ITSELF, signal.SIGKILL)))
            self._site.start()
            if step != "arrays.queued:after":
                self._in_background(lambda: user.post(posted))
            crashed = self._wait_shot(step)
            self._faults.noted("slurmctld", "kill")
        self._faults.mend_all()
        self._load(point, None)
        self._site.start()
        done = crashed and self._wait_shot(point)
        self._site.gun.unload()
        self._site.start()
        return done

    @contextmanager
    def _state_kept(self) -> Iterator[None]:
        """What slurmctld saves meanwhile is lost, as if it had died before it could."""
        state = self._site.box.dir / "state/slurmctld"
        kept = self._site.root / "state-of-slurmctld"
        _copied(state, kept)
        yield
        deadline = time.monotonic() + 10
        while self._site.box.pid("slurmctld") is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        shutil.rmtree(state)
        kept.rename(state)


def _copied(state: Path, to: Path) -> None:
    """slurmctld goes on writing to it, and what it takes away meanwhile makes a copy fail."""
    deadline = time.monotonic() + 60
    while True:
        try:
            shutil.copytree(state, to, ignore=shutil.ignore_patterns("*.new", "*.old"))
            return
        except shutil.Error:
            shutil.rmtree(to)
            if time.monotonic() > deadline:
                raise


def unshot(site: Site, points: Sequence[str]) -> list[str]:
    fired = set(site.gun.fired())
    return [point for point in points if point not in fired]


def settle(look: Callable[[], list[Posted]], faults: Faults, patience: float) -> list[Posted]:
    """Waits until all batches have ended, as long as some end within `patience` seconds; gives
    those that have not."""
    fewest, deadline = float("inf"), 0.0
    while left := look():
        if len(left) < fewest:
            fewest, deadline = len(left), time.monotonic() + patience
        if time.monotonic() > deadline:
            break
        faults.resume_nodes()
        faults.renew_nodes()
        faults.renew_silent_nodes()
        time.sleep(0.5)
    return left
