"""Honest clients: each asks until it is answered, and remembers what it was told."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.site import Site

# Answers that mean: try again.
LATER = (429, 503, 507)
NEVER = float("inf")


@dataclass
class Posted:
    """A batch as its user knows it. Times are seconds since the epoch."""

    label: str
    user: str
    codes: list[int]
    naps: list[float]
    refused: bool = False  # by design: it asks for what Slurm will not give
    asked_at: float = NEVER
    batch_id: str = ""
    acknowledged_at: float = NEVER
    cancel_asked_at: float = NEVER
    cancelled_at: float = NEVER
    delete_asked_at: float = NEVER
    deleted_at: float = NEVER

    @property
    def is_whole(self) -> bool:
        """Whether all of it is to run: nobody has asked for its end."""
        return not self.refused and min(self.cancel_asked_at, self.delete_asked_at) == NEVER

    def body(self) -> dict[str, Any]:
        jobs = [
            {"job": index, "nap": nap, "code": code}
            for index, (nap, code) in enumerate(zip(self.naps, self.codes, strict=True))
        ]
        slurm = {"partition": "nowhere"} if self.refused else {}
        return {"tool_id": "trace", "name": self.label, "fixed_args": {"label": self.label},
                "variable_args": jobs, "slurm": slurm}  # fmt: skip


@dataclass
class Ledger:
    """What the users were told, and what was wrong with it. For all threads."""

    posted: dict[str, Posted] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    answers: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, posted: Posted) -> None:
        with self._lock:
            self.posted[posted.label] = posted

    def all(self) -> list[Posted]:
        with self._lock:
            return list(self.posted.values())

    def complain(self, text: str) -> None:
        with self._lock:
            self.wrong.append(f"{time.strftime('%H:%M:%S', time.gmtime())}Z {text}")

    def count(self, *, retry: bool) -> None:
        with self._lock:
            self.answers += not retry
            self.retries += retry


class User:
    """One user's way to the service, with a memory of what was asked and answered."""

    def __init__(self, site: Site, name: str, ledger: Ledger, patience: float = 240.0) -> None:
        self.name = name
        self.ledger = ledger
        self.http = httpx.Client(
            base_url=site.url, headers={"Authorization": site.keys[name]}, timeout=20,
            trust_env=False,
        )  # fmt: skip
        self._patience = patience
        self._in_doubt = False

    def insist(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """Asks until there is an answer; None (and a complaint) if there is none for long."""
        deadline = time.monotonic() + self._patience
        self._in_doubt = False
        while time.monotonic() < deadline:
            try:
                response = self.http.request(method, path, **request)
            except httpx.TransportError as error:
                self._in_doubt |= not isinstance(error, httpx.ConnectError)
            else:
                if response.status_code not in LATER:
                    self.ledger.count(retry=False)
                    return response
            self.ledger.count(retry=True)
            time.sleep(0.2)
        self.ledger.complain(f"{method} {path}: no answer in {self._patience:.0f} s")
        return None

    def post(self, posted: Posted) -> bool:
        """Posts the batch, with its label as the idempotency key; False where it is not kept."""
        posted.asked_at = time.time()
        self.ledger.add(posted)
        answer = self.insist(
            "POST", "/batches", json=posted.body(), headers={"Idempotency-Key": posted.label}
        )
        if answer is not None and answer.status_code in (200, 201):
            posted.batch_id = answer.json()[0]["batch_id"]
            posted.acknowledged_at = time.time()
            return True
        if answer is not None and not (posted.refused and answer.status_code == 422):
            self.ledger.complain(f"POST {posted.label}: {answer.status_code} {answer.text[:300]}")
        return False

    def cancel(self, posted: Posted) -> None:
        posted.cancel_asked_at = min(posted.cancel_asked_at, time.time())
        answer = self.insist("POST", f"/batches/{posted.batch_id}/cancel")
        if answer is not None and answer.status_code == 202:
            posted.cancelled_at = min(posted.cancelled_at, time.time())
        elif answer is not None:
            self.ledger.complain(f"cancel {posted.label}: {answer.status_code} {answer.text[:300]}")

    def delete(self, posted: Posted) -> None:
        posted.delete_asked_at = min(posted.delete_asked_at, time.time())
        answer = self.insist("DELETE", f"/batches/{posted.batch_id}")
        if answer is None:
            return
        if answer.status_code == 200 or (answer.status_code == 404 and self._in_doubt):
            posted.deleted_at = time.time()
        else:
            self.ledger.complain(f"delete {posted.label}: {answer.status_code} {answer.text[:300]}")

    def look(self, path: str) -> httpx.Response | None:
        """One question; None where it was not answered just now."""
        try:
            response = self.http.get(path)
        except httpx.TransportError:
            return None
        return None if response.status_code in LATER else response


@dataclass(frozen=True)
class Habits:
    """What the users of a run are like."""

    pause: tuple[float, float] = (0.5, 3.0)
    most_jobs: int = 60
    longest_nap: float = 3.0
    cancels: float = 0.12
    deletes: float = 0.12
    most_batches: int = 1_000_000


class Crowd:
    """All users at once, each in a thread, each with decisions of its own from the seed."""

    def __init__(self, site: Site, ledger: Ledger, seed: str, habits: Habits) -> None:
        self.users = {name: User(site, name, ledger) for name in site.users}
        self._ledger = ledger
        self._habits = habits
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._live, args=(user, random.Random(f"{seed}/{name}")))
            for name, user in self.users.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Each ends after its present request is answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _live(self, user: User, rng: random.Random) -> None:
        number, most = 0, self._habits.most_batches // len(self.users)
        while not self._stop.wait(rng.uniform(*self._habits.pause)):
            draw, pick = rng.random(), rng.random()
            mine = [
                each
                for each in self._ledger.all()
                if each.user == user.name and each.batch_id and each.is_whole
            ][-5:]
            one = mine[int(pick * len(mine))] if mine else None
            if one is not None and draw < self._habits.cancels:
                user.cancel(one)
            elif one is not None and draw < self._habits.cancels + self._habits.deletes:
                user.delete(one)
            elif number < most:
                number += 1
                user.post(self._new(user.name, number, rng))

    def _new(self, user: str, number: int, rng: random.Random) -> Posted:
        n_jobs = rng.choice((1, 2, 3, 5, 8, 20, 21, rng.randint(1, self._habits.most_jobs)))
        codes = [0 if rng.random() < 0.85 else rng.randint(1, 100) for _ in range(n_jobs)]
        naps = [round(self._habits.longest_nap * rng.random() ** 2, 2) for _ in range(n_jobs)]
        refused = rng.random() < 0.03
        return Posted(f"{user}.{number}", user, codes, naps, refused)
