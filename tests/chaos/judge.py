"""Compares what the API says of every job with the trace that the job itself has left."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.clients import NEVER, Ledger, Posted, User
from tests.chaos.faults import Faults
from tests.chaos.site import Site

# How long after the answer to a cancel or a delete, all being well, a task may still start.
STILL_STARTS = 25.0
# A job that ended so long before somebody asked for its end has ended by itself: the poll has seen
# it by then, but in an outage.
LONG_BEFORE = 30.0
_CODE = re.compile(r"ended with exit code (\d+)")


@dataclass
class Trace:
    """What one job has left: times of its starts and ends, and under which tags and ids it ran."""

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    ran_as: set[tuple[str, str]] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{len(self.starts)} starts, {len(self.ends)} ends as {sorted(self.ran_as)}"


def read_traces(site: Site) -> dict[str, Trace]:
    traces: dict[str, Trace] = defaultdict(Trace)
    for line in site.trace.read_text().splitlines():
        what, label, at, array_id, tag = line.split()
        one = traces[label]
        (one.starts if what == "start" else one.ends).append(float(at))
        one.ran_as.add((tag, array_id))
    return traces


@dataclass
class Verdict:
    """How a run went. A run has failed if one of the lists holds anything."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    rerun_by_slurm: list[str] = field(default_factory=list)
    said_lost: list[str] = field(default_factory=list)
    ended_by_slurm: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def failures(self) -> list[str]:
        named = (("lost", self.lost), ("twice", self.twice), ("duplicate", self.duplicates),
                 ("disagreement", self.disagreements), ("wrong", self.wrong))  # fmt: skip
        return [f"{name}: {text}" for name, texts in named for text in texts]


class Judge:
    """`slurm_crashed`: whether slurmctld was killed with -9, which makes Slurm itself forget."""

    def __init__(self, site: Site, ledger: Ledger, faults: Faults, *, slurm_crashed: bool) -> None:
        self._site = site
        self._ledger = ledger
        self._faults = faults
        self._crashed = slurm_crashed
        self._traces = read_traces(site)
        self._verdict = Verdict(wrong=list(ledger.wrong))

    def judge(self, users: dict[str, User]) -> Verdict:
        for posted in self._ledger.all():
            if posted.delete_asked_at < NEVER:
                self._deleted(posted)
            elif posted.batch_id:
                self._batch(posted, users[posted.user])
            elif posted.refused:
                self._never_ran(posted)
        self._duplicates()
        self._strangers()
        self._records()
        self._queue()
        return self._verdict

    # --- one batch ------------------------------------------------------------------------------

    def _batch(self, posted: Posted, user: User) -> None:
        answer = user.look(f"/batches/{posted.batch_id}/jobs")
        if answer is None or answer.status_code != 200:
            self._verdict.lost.append(f"{posted.label}: the batch {posted.batch_id} is gone")
            return
        jobs: Sequence[dict[str, Any]] = answer.json()
        if [job["args"]["job"] for job in jobs] != list(range(len(posted.codes))):
            self._verdict.disagreements.append(f"{posted.label}: not the jobs that were posted")
        for job in jobs:
            self._job(posted, job)

    def _job(self, posted: Posted, job: dict[str, Any]) -> None:
        label = f"{posted.label}-{job['args']['job']}"
        trace = self._traces.get(label, Trace())
        kind = job["reason"].partition(":")[0] if job["status"] == "FAILED" else job["status"]
        self._verdict.statuses[kind] += 1
        self._starts(label, trace)
        self._started_late(label, trace, posted.cancelled_at, "cancelled")
        if kind == "LOST":
            self._verdict.said_lost.append(f"{label}: {job['reason']} ({trace})")
        if posted.is_whole and self._is_slurm_s_own_end(job, trace):
            self._verdict.ended_by_slurm.append(f"{label}: {job['reason']!r}, {trace}")
        elif posted.is_whole and not trace.starts and not self._may_be_lost(job):
            self._verdict.lost.append(f"{label}: {job['status']} {job['reason']!r}, {trace}")
        elif not self._agree(posted, kind, trace, job, posted.codes[job["args"]["job"]]):
            self._verdict.disagreements.append(
                f"{label}: {job['status']} {job['reason']!r}, {trace}"
            )

    def _is_slurm_s_own_end(self, job: dict[str, Any], trace: Trace) -> bool:
        """Where munged is away while a job is launched, or slurmctld was killed, slurmd has all of
        its array cancelled, also what is pending, runs or has ended. Without claims there is nobody
        who knows better; with them it is known of what has ended (see docs/handover.md)."""
        reason = job["reason"]
        by_us = reason.startswith("CANCELLED: cancelled by request")
        if self._site.claims:
            told = self._crashed and reason.startswith("CANCELLED: ") and not trace.ends
        else:
            told = "(CANCELLED" in reason or "(NODE_FAIL" in reason
        return told and not by_us

    def _was_killed(self, job: dict[str, Any]) -> bool:
        """Whether it has noted that a signal ended it, which Slurm does not know after a crash."""
        noted = "as it noted itself" in job["reason"]
        return self._crashed and noted and job["exit_code"] in (128 + 9, 128 + 15)

    def _may_be_lost(self, job: dict[str, Any]) -> bool:
        """Whether one that has not run is told as lost by right. With claims, only one that Slurm
        ended between its claim and the first thing that its tool did: nobody can tell that from one
        that was at work."""
        if not self._site.claims:
            return str(job["reason"]).startswith("LOST: ")
        return str(job["reason"]).startswith("LOST: had begun when Slurm") and self._crashed

    def _agree(
        self, posted: Posted, kind: str, trace: Trace, job: dict[str, Any], code: int
    ) -> bool:
        whole = bool(trace.starts) and len(trace.ends) == len(trace.starts)
        if kind == "SUCCEEDED":
            return whole and code == 0
        if kind == "EXIT":
            said = _CODE.search(job["reason"])
            if self._was_killed(job):
                return bool(trace.starts) and not whole
            return whole and said is not None and int(said[1]) == code == job["exit_code"]
        if kind == "CANCELLED":
            asked = min(posted.cancel_asked_at, posted.delete_asked_at)
            return not posted.is_whole and not (whole and max(trace.ends) < asked - LONG_BEFORE)
        if kind == "REFUSED":
            return posted.refused and not trace.starts
        if kind == "LOST" and not trace.starts:
            return True  # it is said that it may not have run, and it has not
        return kind == "LOST" and self._crashed and not (whole and self._site.claims)

    def _starts(self, label: str, trace: Trace) -> None:
        if len(trace.starts) > 1:
            one_submission = len(trace.ran_as) == 1
            by_slurm = one_submission and self._crashed and not self._site.claims
            (self._verdict.rerun_by_slurm if by_slurm else self._verdict.twice).append(
                f"{label}: {trace}"
            )

    def _deleted(self, posted: Posted) -> None:
        since = min(posted.deleted_at, posted.delete_asked_at + 3600)
        for index in range(len(posted.codes)):
            label = f"{posted.label}-{index}"
            trace = self._traces.get(label, Trace())
            self._starts(label, trace)
            self._started_late(label, trace, since, "deleted")

    def _started_late(self, label: str, trace: Trace, since: float, what: str) -> None:
        for start in trace.starts:
            if start > max(since, self._faults.last_end(start)) + STILL_STARTS:
                self._verdict.wrong.append(
                    f"{label}: started {start - since:.0f} s after its batch was {what}"
                )

    def _never_ran(self, posted: Posted) -> None:
        for index in range(len(posted.codes)):
            if self._traces.get(f"{posted.label}-{index}", Trace()).starts:
                self._verdict.disagreements.append(f"{posted.label}-{index}: refused, but it ran")

    # --- the whole ------------------------------------------------------------------------------

    def _duplicates(self) -> None:
        """Tags of which two submissions have run."""
        ids: dict[str, set[str]] = defaultdict(set)
        for trace in self._traces.values():
            for tag, array_id in trace.ran_as:
                ids[tag].add(array_id)
        for tag, found in ids.items():
            if len(found) > 1:
                self._verdict.duplicates.append(f"{tag} ran as {sorted(found)}")

    def _strangers(self) -> None:
        known = {f"{posted.label}-{index}" for posted in self._ledger.all()
                 for index in range(len(posted.codes))}  # fmt: skip
        self._verdict.wrong += [f"{label} was never posted" for label in self._traces
                                if label not in known]  # fmt: skip

    def _records(self) -> None:
        with closing(sqlite3.connect(f"file:{self._site.database}?mode=ro", uri=True)) as db:
            (check,) = db.execute("PRAGMA integrity_check").fetchone()
            (left,) = db.execute(
                "SELECT count(*) FROM batch WHERE deleted_at IS NOT NULL"
            ).fetchone()
            open_arrays = db.execute(
                "SELECT tag, state FROM array WHERE state NOT IN ('DONE', 'REFUSED')"
            ).fetchall()
        if check != "ok":
            self._verdict.wrong.append(f"database: {check}")
        if left:
            self._verdict.wrong.append(f"{left} deleted batches still have records")
        self._verdict.wrong += [f"array {tag} is still {state}" for tag, state in open_arrays]

    def _queue(self) -> None:
        self._verdict.wrong += [f"still in Slurm: {row}" for row in self._site.queue()]
