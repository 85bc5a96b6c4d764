"""One run: brings everything up, measures part after part, takes everything down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks import bars, machine
from tests.benchmarks.backends import backends
from tests.benchmarks.crowd import crowd
from tests.benchmarks.delay import delay
from tests.benchmarks.large import large
from tests.benchmarks.lists import whole_list
from tests.benchmarks.load import Target
from tests.benchmarks.peers import FORK_THREADS, Peers
from tests.benchmarks.questions import questions
from tests.benchmarks.reads import Cells, Row, in_turns, slow
from tests.benchmarks.scale import LARGE, SMALL, Scale
from tests.benchmarks.site import Live, Service, Site, site
from tests.benchmarks.stored import Stored, make
from tests.benchmarks.ticks import ticks
from tests.benchmarks.writes import writes

Say = Callable[[str], None]
STARTS = 3


@dataclass
class Run:
    """What the parts share, and what they have found."""

    scale: Scale
    place: Site
    peers: Peers
    stack: ExitStack
    say: Say
    cells: Cells = field(default_factory=Cells)
    found: dict[str, Any] = field(default_factory=dict)
    bare: list[Target] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.place.box.dir.parent

    def all(self) -> dict[str, Any]:
        began = time.monotonic()
        self.found = {"scale": self.scale.name, "machine": machine.about(),
                      "load_average": {"before": machine.load_average()}}  # fmt: skip
        lives = self._fill()
        few, many = self._make_stored()
        with few.daemon(self.place.box) as (one, _), many.daemon(self.place.box) as (two, _):
            self._reads(lives, ((one, few), (two, many)))
            self.found["daemon"]["memory_after_reads_mib"] = machine.memory_mib(two.pid)
            self.say("lists of all jobs")
            self.found["lists"] = [whole_list(one, few.path, few.n_jobs),
                                   whole_list(two, many.path, many.n_jobs)]  # fmt: skip
            self.say("a status beside idle, busy and slow connections")
            self.found["crowd"] = crowd(two, many.path, self.scale.seconds)
        self._slow_reads(lives)
        self._asking(lives[0])
        self._large()
        self.say("how soon the API tells of a change in Slurm")
        self.found["delay"] = delay()
        self.found["reads"] = self.cells.plain()
        self.found["bars"] = [each.plain() for each in self._bars()]
        self.found["load_average"]["after"] = machine.load_average()
        self.found["seconds"] = round(time.monotonic() - began)
        return self.found

    def _fill(self) -> tuple[Live, Live]:
        self.say(f"batches of {SMALL:,} and {LARGE:,} jobs in Slurm")
        lives = self.place.live(SMALL), self.place.live(LARGE)
        for live in lives:
            self.place.settle(live)
        watch = machine.CpuWatch({"own": self.place.service.pid, **self.place.slurm_pids()})
        time.sleep(self.scale.window / 2)
        self.found["idle_cpu_per_second"] = {
            name: round(used / (self.scale.window / 2), 3) for name, used in watch.used().items()
        }
        return lives

    def _make_stored(self) -> tuple[Stored, Stored]:
        n_jobs, box = self.scale.stored_jobs, self.place.box
        self.say(f"databases of {SMALL:,} and {n_jobs:,} jobs")
        few, many = (make(self.directory / f"stored-{n}", n, box) for n in (SMALL, n_jobs))
        starts = [self._start(many) for _ in range(STARTS)]
        self.found["daemon"] = {
            "start_seconds": round(median(starts), 3),
            "starts_seconds": [round(each, 3) for each in starts],
            "made_in_seconds": many.seconds,
        }
        return few, many

    def _reads(self, lives: tuple[Live, Live], stored: Sequence[tuple[Service, Stored]]) -> None:
        self.say("reads, ours and a constant body")
        (small, large), service = lives, self.place.service
        _, _, headers = service.call("GET", small.path)
        for threads in self.scale.bare_threads:
            size = int(headers["content-length"])
            self.bare.append(self.peers.app("bare", threads, "/status", size))
        job = f"{small.path}/jobs/{small.batch_id}-500"
        unchanged = {"If-None-Match": headers["etag"]}
        rows = [  # side by side what is compared
            *(Row(target, 0) for target in self.bare),
            Row(service.target("status", small.path), SMALL),
            Row(service.target("status 304", small.path, **unchanged), SMALL),
            Row(service.target("status", large.path), LARGE),
            *(Row(one.target("status, stored", it.path), it.n_jobs) for one, it in stored),
            Row(service.target("job", job), SMALL),
            Row(service.target("list of 20 batches", "/batches?limit=20"), 0),
        ]
        in_turns(self.cells, rows, self.scale.clients, self.scale.rounds, self.scale.seconds,
                 self.place.slurm_pids())  # fmt: skip

    def _slow_reads(self, lives: tuple[Live, ...]) -> None:
        scale, watched = self.scale, self.place.slurm_pids()
        for live in lives:
            self.say(f"the same of {live.n_jobs:,} tasks by squeue, sacct and slurmrestd")
            forking = [self.peers.app(kind, FORK_THREADS, f"/{live.slurm_job}")
                       for kind in ("squeue", "sacct")]  # fmt: skip
            for target in forking:
                slow(self.cells, live.n_jobs, partial(_open, target), scale, watched)
            rest = partial(self.peers.slurmrestd, live.slurm_job)
            slow(self.cells, live.n_jobs, rest, scale, watched)

    def _asking(self, live: Live) -> None:
        self.say("how often Slurm is asked")
        self.found["questions"] = questions(self.place, live, self.scale.window)
        self.say("new batches")
        self.found["writes"] = writes(self.place, (1, SMALL, LARGE), self.scale.posts)
        self.say(f"looks of the poller at {self.scale.live_tasks:,} live tasks")
        self.found["ticks"] = ticks(self.directory / "ticks", self.scale.live_tasks)

    def _large(self) -> None:
        sizes = self.scale.large_batches
        self.say(f"batches of up to {sizes[-1]:,} jobs in one POST")
        self.found["large"] = large(self.directory / "large", sizes)
        self.say("the commands beside pyslurm")
        self.found["backends"] = backends(self.place.box, SMALL // 2, 2 * self.scale.posts - 1)

    def _start(self, stored: Stored) -> float:
        with stored.daemon(self.place.box) as (_, seconds):
            return seconds

    def _bars(self) -> list[bars.Bar]:
        scale = self.scale
        return [
            *bars.of_reads(
                self.cells, scale.clients, [each.name for each in self.bare], scale.stored_jobs
            ),
            *bars.of_the_rest(self.found, scale.stored_jobs),
        ]


def _open(target: Target) -> AbstractContextManager[Target]:
    """One that runs already, and goes on."""
    return nullcontext(target)


def run(scale: Scale, say: Say) -> dict[str, Any]:
    say("a private Slurm")
    with site() as place, ExitStack() as stack:
        logs = place.box.dir.parent / "peers"
        logs.mkdir()
        return Run(scale, place, Peers(place.box, stack, logs), stack, say).all()
