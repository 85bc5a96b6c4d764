"""Compares what the API says of every job with the trace that the job itself has left."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.attempts import Told, matched, told_of
from tests.chaos.clients import User
from tests.chaos.faults import Faults
from tests.chaos.ledger import NEVER, Ledger, Posted, kind_of
from tests.chaos.rules import Case, broken
from tests.chaos.site import Site
from tests.chaos.traces import Run, Trace, read_traces

# How long after the answer to a cancel or a delete, all being well, a task may still start.
STILL_STARTS = 25.0
# A job that ended so long before somebody asked for its end has ended by itself: the poll has seen
# it by then, but in an outage.
LONG_BEFORE = 30.0
_CODE = re.compile(r"ended with exit code (\d+)")
# Not run, because others have failed; whether they have is for the rules to say.
_NOT_RUN = ("DEPENDENCY", "CANARY")
# Of what had made its claim, and was not to be run a second time.
_HAD_CLAIMED = ("LOST: had begun when Slurm", "LOST: Slurm lost sight of its first run")


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
    attempts: Counter[str] = field(
        default_factory=Counter
    )  # before the last, where there is a policy

    @property
    def failures(self) -> list[str]:
        named = (("lost", self.lost), ("twice", self.twice), ("duplicate", self.duplicates),
                 ("disagreement", self.disagreements), ("wrong", self.wrong))  # fmt: skip
        return [f"{name}: {text}" for name, texts in named for text in texts]


class Judge:
    """Of a run that is over."""

    def __init__(self, site: Site, ledger: Ledger, faults: Faults) -> None:
        self._site = site
        self._ledger = ledger
        self._faults = faults
        # Killed with -9, slurmctld itself forgets.
        self._crashes = faults.crashes()
        self._crashed = bool(self._crashes)
        self._traces = read_traces(site.trace.read_text().splitlines())
        self._verdict = Verdict(wrong=list(ledger.wrong))

    def judge(self, users: Mapping[str, User]) -> Verdict:
        cases = {each.label: self._case(each, users[each.user]) for each in self._ledger.all()}
        for case in cases.values():
            self._batch(case)
        self._verdict.wrong += broken(cases, self._crashes)
        self._duplicates()
        self._strangers()
        self._records()
        self._queue()
        return self._verdict

    def _case(self, posted: Posted, user: User) -> Case:
        labels = [f"{posted.label}-{index}" for index in range(len(posted.codes))]
        traces = [self._traces.get(label, Trace()) for label in labels]
        is_told = posted.batch_id and posted.delete_asked_at == NEVER
        return Case(posted, traces, told_of(posted, user) if is_told else None)

    # --- one batch ------------------------------------------------------------------------------

    def _batch(self, case: Case) -> None:
        posted = case.posted
        for index, trace in enumerate(case.traces):
            self._starts(case, index, trace)
        if posted.is_invalid:
            self._never_ran(case)
        elif posted.batch_id and posted.delete_asked_at == NEVER:
            if case.told is None:
                self._verdict.lost.append(f"{posted.label}: the batch {posted.batch_id} is gone")
                return
            if [job["args"]["job"] for job in case.told] != list(range(len(posted.codes))):
                self._verdict.disagreements.append(f"{posted.label}: not the jobs that were posted")
            for index, job in enumerate(case.told):
                self._job(case, index, job)

    def _never_ran(self, case: Case) -> None:
        for index, _ in case.starts():
            self._verdict.disagreements.append(f"{case.label(index)}: refused, but it ran")

    def _starts(self, case: Case, index: int, trace: Trace) -> None:
        label, posted = case.label(index), case.posted
        for run in trace.runs:
            if len(run.starts) > 1:
                # The same submission again, which nothing of ours does: after a crash, or where
                # munged died while slurmd confirmed a launch, which makes slurmd ask for a requeue.
                by_slurm = len(run.ids) == 1 and not self._site.claims
                (self._verdict.rerun_by_slurm if by_slurm else self._verdict.twice).append(
                    f"{label}: {run}"
                )
        if len(trace.runs) > 1 and not case.retries and posted.policy is None:
            self._verdict.twice.append(f"{label}: {' and '.join(map(str, trace.runs))}")
        for cancel in posted.cancels:
            self._started_late(case, label, trace, cancel.done_at, "cancelled")
        if posted.delete_asked_at < NEVER:
            since = min(posted.deleted_at, posted.delete_asked_at + 3600)
            self._started_late(case, label, trace, since, "deleted")

    def _started_late(self, case: Case, label: str, trace: Trace, since: float, what: str) -> None:
        for start in trace.starts:
            again = any(since <= each.asked_at <= start for each in case.retries)
            late = start > max(since, self._faults.last_end(start)) + STILL_STARTS
            if late and not again:
                self._verdict.wrong.append(
                    f"{label}: started {start - since:.0f} s after its batch was {what}"
                )

    # --- one job, with all of its attempts --------------------------------------------------------

    def _job(self, case: Case, index: int, job: Mapping[str, Any]) -> None:
        self._verdict.statuses[kind_of(job)] += 1
        label = case.label(index)
        pairs, strays = matched(job, case.traces[index])
        if case.retries or case.posted.policy is not None:
            self._verdict.wrong += [f"{label}: {run}, which is no attempt of it" for run in strays]
            self._number(case, label, job)
        for told, run in pairs:
            self._attempt(case, index, told, run)

    def _number(self, case: Case, label: str, job: Mapping[str, Any]) -> None:
        """After a crash Slurm may have counted starts that were none. How many a policy may make
        is for the rules to say."""
        number, before = job["attempt"], [each["attempt"] for each in job["attempts"]]
        if sorted(set(before)) != before or before[-1:] >= [number]:
            self._verdict.disagreements.append(f"{label}: attempt {number} after {before}")
        too_many = number > 1 + len(case.retries) and case.posted.policy is None
        if not self._crashed and (before != list(range(1, number)) or too_many):
            self._verdict.disagreements.append(
                f"{label}: attempt {number} after {before}, with {len(case.retries)} retries"
            )

    def _attempt(self, case: Case, index: int, told: Told, run: Run) -> None:
        posted, label = case.posted, case.label(index)
        text = f"{label}: attempt {told.number}, {told.status} {told.reason!r}, {run}"
        if told.kind == "LOST":
            self._verdict.said_lost.append(text)
        if posted.policy is not None and not told.is_last:
            self._verdict.attempts[told.kind] += 1
        if run.memory and told.memory not in (0, run.memory):
            self._verdict.disagreements.append(f"{text}, told with {told.memory} MiB")
        if self._failed_with_its_node(posted, told, run):
            return
        if posted.is_whole and self._is_slurm_s_own_end(told, run):
            self._verdict.ended_by_slurm.append(text)
        elif told.kind in _NOT_RUN and told.is_last:
            if run.starts:
                self._verdict.disagreements.append(text)
        elif posted.is_whole and not run.starts and not self._may_be_lost(told):
            self._verdict.lost.append(text)
        elif not self._agree(case, index, told, run):
            self._verdict.disagreements.append(text)

    def _failed_with_its_node(self, posted: Posted, told: Told, run: Run) -> bool:
        """By right, in an attempt before the last: a node was said to be down, or slurmctld has
        forgotten what ran there."""
        may_be = self._crashed or self._faults.kinds["fail a node"] > 0
        is_again = posted.policy is not None and posted.policy.node_failures and not told.is_last
        return may_be and is_again and told.kind == "NODE" and not run.is_whole

    def _is_slurm_s_own_end(self, told: Told, run: Run) -> bool:
        """Where munged is away while a job is launched, or slurmctld was killed, slurmd has all of
        its array cancelled, also what is pending, runs or has ended. Without claims there is nobody
        who knows better; with them it is known of what has ended (see docs/handover.md)."""
        by_us = told.reason.startswith("CANCELLED: cancelled by request")
        if self._site.claims:
            is_so = self._crashed and told.reason.startswith("CANCELLED: ") and not run.ends
        else:
            is_so = "(CANCELLED" in told.reason or "(NODE_FAIL" in told.reason
        return is_so and not by_us

    def _was_killed(self, told: Told) -> bool:
        """Whether a signal ended it, as it has noted in its claim: no job has such a code of its
        own. After a crash Slurm ends what it has forgotten; it does not know of that, or knows it
        from the claim, which the job has found when it was started again."""
        noted = self._crashed and self._site.claims and told.kind == "EXIT"
        return noted and told.exit_code in (128 + 9, 128 + 15)

    def _may_be_lost(self, told: Told) -> bool:
        """Whether one that has not run is told as lost by right. With claims, only one that Slurm
        ended between its claim and the first thing that its tool did: nobody can tell that from one
        that was at work."""
        if not self._site.claims:
            return told.reason.startswith("LOST: ")
        had_begun = told.reason.startswith(_HAD_CLAIMED) and self._crashed
        return had_begun or self._was_killed(told)

    def _agree(self, case: Case, index: int, told: Told, run: Run) -> bool:
        posted, kind = case.posted, told.kind
        if kind == "SUCCEEDED":
            return run.is_whole and 0 in run.codes and self._can_end(posted, index, 0)
        if kind == "EXIT":
            said = _CODE.search(told.reason)
            if self._was_killed(told):
                return not run.is_whole
            code = int(said[1]) if said is not None else 0
            return (
                run.is_whole and code == told.exit_code != 0 and code in run.codes
                and self._can_end(posted, index, code)
            )  # fmt: skip
        if kind == "CANCELLED":
            return self._was_cancelled(case, index, run)
        if kind == "NODE":
            return self._crashed and self._site.claims and not run.is_whole
        if kind == "MEMORY":
            return self._ran_out(posted, index, run)
        if kind == "REFUSED":
            return posted.refused and not run.starts
        if kind == "LOST" and not run.starts:
            return True  # it is said that it may not have run, and it has not
        return kind == "LOST" and self._is_forgotten(told, run)

    def _is_forgotten(self, told: Told, run: Run) -> bool:
        """Whether one that has run may be told as lost. With claims, one that has noted no end by
        then: it was killed, or it still ran when Slurm had started it again. Without them only
        Slurm knows how it has ended, and what slurmdbd has taken is gone if it, or its MariaDB, is
        killed just then."""
        if self._site.claims:
            return self._crashed and not (run.is_whole and max(run.ends) < told.stop)
        kills = self._faults.kinds
        return self._crashed or kills["kill mariadbd"] + kills["kill slurmdbd"] > 0

    def _ran_out(self, posted: Posted, index: int, run: Run) -> bool:
        """Whether it was killed for its memory: it needs more than it had, and has not come to its
        end."""
        return bool(run.starts) and not run.is_whole and posted.needs.get(index, 0) > run.memory

    def _can_end(self, posted: Posted, index: int, code: int) -> bool:
        return code == posted.codes[index] or (code == 0 and index in posted.heals)

    def _was_cancelled(self, case: Case, index: int, run: Run) -> bool:
        """By request, of this run: what was asked before the retry that has led to it is over."""
        led_here = [each.asked_at for each in case.retries
                    if index in each.jobs and each.asked_at <= run.begins < NEVER]  # fmt: skip
        asked = [each.asked_at for each in case.posted.cancels
                 if each.asked_at >= max(led_here, default=0.0)]  # fmt: skip
        return any(not (run.is_whole and max(run.ends) < each - LONG_BEFORE) for each in asked)

    # --- the whole ------------------------------------------------------------------------------

    def _duplicates(self) -> None:
        """Tags of which two submissions have run."""
        ids: dict[str, set[str]] = defaultdict(set)
        for trace in self._traces.values():
            for tag, run in trace.by_tag.items():
                ids[tag] |= run.ids
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
