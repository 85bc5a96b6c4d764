"""What the users of a run do: each in a thread, each with decisions of its own from the seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.chaos.actors import Actor
from tests.chaos.clients import User
from tests.chaos.ledger import MAX_MEMORY, MEMORY, NEVER, Ledger, Policy, Posted, Wait
from tests.chaos.site import Site

# MiB: once or twice more than there is at first, and more than there ever is.
NEEDS = (2 * MEMORY, 2 * MEMORY, MAX_MEMORY, 2 * MAX_MEMORY)


@dataclass(frozen=True)
class Habits:
    """What the users of a run are like. How many of the batches wait for others (`depends`), have a
    `canary`, a throttle or a retry policy, and of what is done how much is to cancel, delete or
    retry one."""

    pause: tuple[float, float] = (0.5, 3.0)
    most_jobs: int = 60
    longest_nap: float = 3.0
    cancels: float = 0.12
    deletes: float = 0.12
    most_batches: int = 1_000_000
    depends: float = 0.0
    canaries: float = 0.0
    throttles: float = 0.0
    retries: float = 0.0
    policies: float = 0.0

    @property
    def are_plain(self) -> bool:
        return not (
            self.depends or self.canaries or self.throttles or self.retries or self.policies
        )


class Crowd(Actor):
    """All users at once. Stopped, each ends after its present request is answered."""

    def __init__(self, site: Site, ledger: Ledger, seed: str, habits: Habits) -> None:
        self.users = {name: User(site, name, ledger) for name in site.users}
        self._also = {name: User(site, name, ledger) for name in site.users}
        self._ledger = ledger
        self._habits = habits
        super().__init__(
            *(partial(self._live, user, f"{seed}/{name}") for name, user in self.users.items())
        )

    def _live(self, user: User, seed: str) -> None:
        # What is not plain is drawn apart, so that without it a seed means what it always did.
        rng, more = random.Random(seed), random.Random(f"{seed}/more")
        number, most = 0, self._habits.most_batches // len(self.users)
        while not self._stop.wait(rng.uniform(*self._habits.pause)):
            draw, pick = rng.random(), rng.random()
            mine = [each for each in self._ledger.of(user.name) if each.can_be_ended][-5:]
            one = mine[int(pick * len(mine))] if mine else None
            ends = self._habits.cancels + self._habits.deletes
            if one is not None and draw < self._habits.cancels:
                user.cancel(one)
            elif one is not None and draw < ends:
                user.delete(one)
            elif one is not None and draw < ends + self._habits.retries:
                self._retry(user, more)
            elif number < most:
                number += 1
                posted = self._new(user.name, number, rng)
                if self._habits.are_plain:
                    user.post(posted)
                else:
                    self._vary(posted, more)
                    self._post_while(user, posted, self._meanwhile(posted, more))

    def _new(self, user: str, number: int, rng: random.Random) -> Posted:
        n_jobs = rng.choice((1, 2, 3, 5, 8, 20, 21, rng.randint(1, self._habits.most_jobs)))
        codes = [0 if rng.random() < 0.85 else rng.randint(1, 100) for _ in range(n_jobs)]
        naps = self._naps(n_jobs, rng)
        refused = rng.random() < 0.03
        return Posted(f"{user}.{number}", user, codes, naps, refused)

    def _naps(self, n_jobs: int, rng: random.Random) -> list[float]:
        return [round(self._habits.longest_nap * rng.random() ** 2, 2) for _ in range(n_jobs)]

    # --- batches that wait, for others or for themselves -----------------------------------------

    def _vary(self, posted: Posted, rng: random.Random) -> None:
        # Half of them succeed at once, or hardly any that waits for others would ever run.
        if rng.random() < 0.5:
            posted.codes = [0] * len(posted.codes)
        if rng.random() < self._habits.depends:
            self._depend(posted, rng)
        n_jobs = len(posted.codes)
        posted.heals = {
            index: rng.choice((1, 1, 2))
            for index, code in enumerate(posted.codes) if code and rng.random() < 0.7
        }  # fmt: skip
        if n_jobs > 1 and rng.random() < self._habits.canaries:
            posted.canary = rng.randint(1, min(3, n_jobs - 1))
        if rng.random() < self._habits.throttles:
            # In some ten rounds it is through.
            posted.max_parallel = max(rng.choice((1, 2, 3, 5, 21)), n_jobs // 10)
        if rng.random() < self._habits.policies:
            self._take_memory(posted, rng)

    def _take_memory(self, posted: Posted, rng: random.Random) -> None:
        """Some of its jobs need more than they have at first: so much that they get it soon, or
        never."""
        n_jobs = len(posted.codes)
        posted.policy = Policy(rng.choice((2, 3, 3, 5)), rng.choice((2, 2, 4)), rng.random() < 0.5)
        hungry = rng.sample(range(n_jobs), rng.randint(1, min(n_jobs, 8)))
        posted.needs = {index: rng.choice(NEEDS) for index in hungry}

    def _depend(self, posted: Posted, rng: random.Random) -> None:
        """On one or two of the user's last batches. A deleted one is a mistake, so seldom."""
        with_deleted = rng.random() < 0.2
        mine = [each for each in self._ledger.of(posted.user)
                if with_deleted or each.delete_asked_at == NEVER][-6:]  # fmt: skip
        parents = rng.sample(mine, min(len(mine), rng.choice((1, 1, 2))))
        hows = [
            rng.choice(("afterok", "afterany", "aftercorr")),
            rng.choice(("afterok", "afterany")),
        ]
        posted.waits = tuple(map(Wait, parents, hows))
        if parents and hows[0] == "aftercorr":
            n_jobs = len(parents[0].codes)
            posted.codes = [0 if rng.random() < 0.85 else 7 for _ in range(n_jobs)]
            posted.naps = self._naps(n_jobs, rng)

    def _meanwhile(self, posted: Posted, rng: random.Random) -> Callable[[], None] | None:
        """What the user does to a batch that the new one waits for, at the very same time."""
        draw, ends_it = rng.random(), rng.random() < 0.5
        if not posted.waits or draw > 0.25 or not posted.waits[0].parent.can_be_ended:
            return None
        also, parent = self._also[posted.user], posted.waits[0].parent
        return lambda: also.cancel(parent) if ends_it else also.delete(parent)

    def _post_while(self, user: User, posted: Posted, meanwhile: Callable[[], None] | None) -> None:
        thread = threading.Thread(target=meanwhile or (lambda: None))
        thread.start()
        user.post(posted)
        thread.join()

    # --- once more --------------------------------------------------------------------------------

    def _retry(self, user: User, rng: random.Random) -> None:
        pick, draw = rng.random(), rng.random()
        # Of those of which something may have failed.
        mine = [each for each in self._ledger.of(user.name)
                if not each.refused and each.delete_asked_at == NEVER
                and (any(each.codes) or each.cancels or each.waits)][-12:]  # fmt: skip
        if not mine:
            return
        posted = mine[int(pick * len(mine))]
        some = [index for index in range(len(posted.codes)) if rng.random() < 0.5] or [0]
        if draw < 0.6:
            user.retry(posted)
        elif draw < 0.75:
            user.retry(posted, reason="EXIT")
        else:
            user.retry(posted, indices=some)
