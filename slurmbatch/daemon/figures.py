"""What the daemon knows at the time of a scrape, as readings for `slurmbatch.metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slurmbatch import __version__
from slurmbatch.errors import SlurmbatchError
from slurmbatch.health import Health
from slurmbatch.metrics import Reading
from slurmbatch.store.figures import Figures
from slurmbatch.web import Waits

SOURCES = ("slurmctld", "slurmdbd", "poller", "submitter")
_Values = dict[tuple[str, ...], float]


@dataclass(slots=True)
class Readings:
    """Without the database there is less to read, and that is told."""

    figures: Figures
    health: Health
    waits: Waits
    clock: Callable[[], float] = time.time

    def __call__(self) -> Iterator[Reading]:
        yield Reading("info", "Which slurmbatch this is.", {(__version__,): 1}, ("version",))
        yield from self._health(self.clock())
        yield from self._requests()
        try:
            stored = list(self._stored(self.clock()))
        except SlurmbatchError:
            stored = []
        yield Reading("database_up", "Whether the database can be read.", {(): float(bool(stored))})
        yield from stored

    def _health(self, now: float) -> Iterator[Reading]:
        known = {name: self.health.source(name) for name in SOURCES}
        up: _Values = {(name,): float(each.down_since is None) for name, each in known.items()}
        ages: _Values = {
            (name,): max(0.0, now - each.ok_at)
            for name, each in known.items() if each.ok_at is not None
        }  # fmt: skip
        yield Reading("source_up", "Whether what we depend on answers.", up, ("source",))
        yield Reading("source_age_seconds", "How long ago it has answered last.", ages, ("source",))
        looks: _Values = {(): self.health.looks}
        yield Reading("looks", "How often slurmctld was asked what lives.", looks, counts=True)

    def _requests(self) -> Iterator[Reading]:
        yield Reading("requests_waited", "Requests that have found no thread free.",
                      {(): self.waits.waited}, counts=True)  # fmt: skip
        yield Reading("answers_aside", "Long polls and followed logs that wait for something.",
                      {(): self.waits.aside})  # fmt: skip
        yield Reading("requests_waiting_most", "How many at once at most, since the start.",
                      {(): self.waits.depth})  # fmt: skip

    def _stored(self, now: float) -> Iterator[Reading]:
        yield from self._arrays(now)
        count, jobs = self.figures.batches()
        yield Reading("batches_open", "Batches that have not ended.", {(): count})
        by_status: _Values = {(status.value,): n for status, n in jobs.items()}
        yield Reading("jobs", "Jobs of these batches, by status.", by_status, ("status",))
        count, ended = self.figures.ended()
        yield Reading("batches_ended", "Batches that have ended.", {(): count}, counts=True)
        by_end: _Values = {(status.value,): n for status, n in ended.items()}
        yield Reading("jobs_ended", "Jobs of batches that have ended, by how.", by_end, ("status",),
                      counts=True)  # fmt: skip
        waiting: _Values = {(): self.figures.waiting_to_go()}
        yield Reading("batches_deleted", "Deleted batches whose records are there yet.", waiting)
        yield Reading("notifications_pending", "Notifications that have not arrived yet.",
                      {(): self.figures.notifications()})  # fmt: skip
        sizes = self.figures.sizes()
        parts: _Values = {("file",): sizes.file, ("log",): sizes.log, ("free",): sizes.free}
        yield Reading("database_bytes", "The file, its write-ahead log, what is free in it.", parts,
                      ("part",))  # fmt: skip

    def _arrays(self, now: float) -> Iterator[Reading]:
        found = self.figures.arrays()
        found_in: _Values = {(state,): each.arrays for state, each in found.items()}
        jobs: _Values = {(state,): each.jobs for state, each in found.items()}
        ages: _Values = {(state,): max(0.0, now - each.oldest) for state, each in found.items()}
        for state in ("INTENT", "QUEUED"):  # so that a rule has a 0 to compare with
            for values in (found_in, jobs, ages):
                values.setdefault((state,), 0.0)
        about = "by state of the hand-over; INTENT has not been handed over yet."
        yield Reading("arrays_open", f"Arrays that have not ended, {about}", found_in, ("state",))
        yield Reading("arrays_open_jobs", f"Their unfinished jobs, {about}", jobs, ("state",))
        yield Reading(
            "arrays_open_age_seconds", f"The age of the oldest, {about}", ages, ("state",)
        )
