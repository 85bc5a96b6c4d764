"""From what Slurm reports of an array to what has changed in its jobs: pure.

A status moves forward; back it goes only on what slurmctld itself shows (a requeue). Where Slurm
may still requeue a job (its node failed, it was preempted), the end counts only after a grace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slurmbatch import states
from slurmbatch.claims import Claim
from slurmbatch.model import ArraySpec, ArrayState, JobChange, JobReport, KnownJob, Status
from slurmbatch.script import NOT_RUN_AGAIN
from slurmbatch.states import Context, Verdict

ORDER = {
    Status.SUBMITTED: 0,
    Status.PENDING: 1,
    Status.RUNNABLE: 1,
    Status.STARTING: 2,
    Status.RUNNING: 3,
    Status.SUCCEEDED: 4,
    Status.FAILED: 4,
}
WAITING = frozenset({Status.PENDING, Status.RUNNABLE})
_KILLED = frozenset({9, 125})
# Ends that slurmctld takes from the node; what it ends itself it knows of.
_TOLD_BY_NODES = frozenset({"COMPLETED", "FAILED"})
# Ends that Slurm may have made up, or taken from another job.
_MADE_UP = _TOLD_BY_NODES | {"NODE_FAIL", "CANCELLED"}
_NOT_LAUNCHED = 53
_CODES_OF_A_CANCELLATION = frozenset({128 + 9, 128 + 15})
# How long a slurmstepd may go on telling a new slurmctld of a job that the old one has forgotten.
_TOLD_LATE = 300.0
# Within how many seconds slurmctld ends all tasks of an array that it is told to cancel.
_AT_ONCE = 10.0


@dataclass
class Memory:
    """What the poller remembers of one array between ticks; losing it only costs time.

    `seen`: the array and what slurmctld showed of it. `missing`: that was not all that has not
    ended. `doubtful`: since when a task's end might still be undone. `absent`: since when both
    sources, in health, have not shown a task.
    """

    seen: tuple[ArrayState, bool, Sequence[JobReport]] | None = None
    missing: bool = False
    doubtful: dict[int, float] = field(default_factory=dict)
    absent: dict[int, float] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        return not self.missing and not self.doubtful and not self.absent


@dataclass(frozen=True, slots=True)
class Situation:
    """What holds for all jobs of an array in one tick.

    `now` is the time of day, `elapsed` the reading of a clock that nobody sets, for the grace.
    `ran_out` looks into a task's log; `claim` at its claim, None if there is none to look at.
    """

    array: ArraySpec
    now: float
    elapsed: float
    grace: float
    service_uid: int
    ran_out: Callable[[int], bool]
    claim: Callable[[KnownJob], Claim | None]
    unknown: Callable[[JobReport], None]

    def context(self, report: JobReport | None, known: KnownJob) -> Context:
        stopped = report is not None and report.exit_code == NOT_RUN_AGAIN
        claim = self.claim(known) if stopped else None
        return Context(
            hardware=self.array.hardware,
            slurm=self.array.slurm,
            last=known.status,
            ours_held=self.array.state in (ArrayState.HELD, ArrayState.RELEASING),
            cancelled=self.array.cancel,
            service_uid=self.service_uid,
            out_of_memory=_was_killed(report) and self.ran_out(known.task),
            not_run_again=claim is not None and claim.again,
            not_claimed=claim is not None and not claim.started,
            now=self.now,
        )


def by_task(reports: Iterable[JobReport], wanted: Mapping[int, KnownJob]) -> dict[int, JobReport]:
    """The report of each wanted task: its own row beats a range, which may be out of date."""
    found: dict[int, JobReport] = {}
    for report in sorted(reports, key=lambda each: not each.is_range):
        for first, last in report.tasks:
            if last - first < len(wanted):
                tasks: Iterable[int] = range(first, last + 1)
            else:
                tasks = (task for task in wanted if first <= task <= last)
            found.update((task, report) for task in tasks if task in wanted)
    return found


def expected_start(reports: Iterable[JobReport]) -> float | None:
    """When Slurm expects the first of an array's tasks that share a row to start, if it says."""
    starts = [row.start_time for row in reports if row.is_range and row.start_time is not None]
    return min(starts, default=None)


def change(
    report: JobReport, known: KnownJob, situation: Situation, memory: Memory
) -> JobChange | None:
    """What the report changes for a job; None if nothing, or if it is no verdict."""
    noted = _noted(report, known, situation)
    if noted is not None:
        return noted
    verdict = states.explain(report, situation.context(report, known))
    if verdict is None:
        if states.unknown_words(report):
            situation.unknown(report)
        return None
    if verdict.status.ended and not verdict.final and not _past_doubt(known, situation, memory):
        return None
    if verdict.status.ended:
        memory.doubtful.pop(known.task, None)
    elif report.source != "live" and ORDER[verdict.status] <= ORDER[known.status]:
        return None  # while slurmctld cannot be asked, what waits is not told anew
    else:
        memory.doubtful.pop(known.task, None)
    new = _changed(report, known, verdict)
    same = (new.status, new.reason, new.slurm_state, new.restarts, new.expected_start) == (
        known.status, known.reason, known.slurm_state, known.restarts, known.expected_start
    )  # fmt: skip
    return None if same else new


def _noted(report: JobReport, known: KnownJob, situation: Situation) -> JobChange | None:
    """The end that a job has noted itself, where Slurm has made up another one.

    A slurmctld that is killed forgets the ends of its last seconds. It takes such a job for
    running, and for dead with its node when it finds nothing of it there, or for cancelled when it
    is asked to cancel it; or it starts the job again, and calls it cancelled, or failed without a
    code, when slurmd will not launch a second copy. And it may take the end of a job that it has
    forgotten for that of one that was given the same number.
    """
    if report.state not in _MADE_UP or (report.state == "FAILED" and report.signal):
        return None
    claim = situation.claim(known)
    if claim is None or claim.code is None:
        return None
    ended_at = claim.ended_at or report.end_time
    if report.state == "CANCELLED" and not _is_of_before(claim.code, ended_at, report):
        return None
    if report.state == "NODE_FAIL" and _is_by_signal(claim.code, ended_at, report):
        return None
    if report.state in _TOLD_BY_NODES and not _contradicts(claim.code, report, known, situation):
        return None
    return _as_noted(report, known, situation, claim.code, ended_at)


def _as_noted(
    report: JobReport, known: KnownJob, situation: Situation, code: int, ended_at: float | None
) -> JobChange:
    end = _end(known, states.from_claim(code, report.state), situation, code)
    start = None if _is_before(ended_at, known.start_time) else known.start_time
    return replace(end, slurm_state=report.state, start_time=start, stop_time=ended_at,
                   node_list=report.node_list)  # fmt: skip


def _contradicts(code: int, report: JobReport, known: KnownJob, situation: Situation) -> bool:
    """Whether the code is not the one that the end tells of, which is not the job's own then.

    Some releases of Slurm drop bit 7 of a code: 137 is told as 9. What was killed for its memory
    has noted a signal's code, and Slurm tells of it as it likes.
    """
    told = 0 if report.state == "COMPLETED" else report.exit_code or None
    return code != told and not (_was_killed(report) and situation.ran_out(known.task))


def _is_of_before(code: int, ended_at: float | None, report: JobReport) -> bool:
    """Whether a job that Slurm calls cancelled had ended by itself before that.

    One that is cancelled while it runs notes its code after that, and mostly the signal's.
    """
    if _is_before(ended_at, report.start_time):
        return True
    by_itself = code not in _CODES_OF_A_CANCELLATION and report.end_time is not None
    return by_itself and _is_before(ended_at, report.end_time)


def _is_by_signal(code: int, ended_at: float | None, report: JobReport) -> bool:
    """Whether a job that Slurm calls failed with its node noted no end of its own, but the signal
    that it was ended with for that: slurmd sends one where the node is only said to be down."""
    return code in _CODES_OF_A_CANCELLATION and not _is_before(ended_at, report.end_time)


def _is_before(one: float | None, other: float | None) -> bool:
    # Slurm's times are whole seconds.
    return one is not None and other is not None and one < other - 1.0


def may_be_untrue(
    report: JobReport, *, ours: bool, fenced: bool, has_run: Callable[[], bool | None],
    booted: Callable[[], str | None], swept: Callable[[JobReport], bool] = lambda _: False,
) -> bool:  # fmt: skip
    """Whether the end may be none of this job's, which then has not run.

    A slurmctld that is killed gives the numbers again that it has forgotten. The slurmstepd of a
    forgotten job goes on telling of its end, and is believed of the new job, which slurmd has not
    even launched; or slurmd takes the new job for the old one, will not launch it, and has all of
    its array cancelled. And a job whose launch was lost on the way fails with its node when that
    registers.

    `ours`: we have cancelled it. `fenced`: it has a claim, so it can be submitted again if it never
    started. `has_run`: whether the job has left any sign of itself, None where that is not certain;
    `booted`, asked for after that: when slurmctld was started, in seconds since the epoch, or None
    where that could not be asked. `swept`: whether it went with one that was not launched.
    """
    if report.state == "NODE_FAIL":
        return fenced and not has_run()
    told_by_node = report.state in _TOLD_BY_NODES and report.signal != _NOT_LAUNCHED
    cancelled = report.state == "CANCELLED" and not ours
    # One that was pending when somebody else cancelled it has no node.
    if cancelled and not report.node_list:
        cancelled = fenced and swept(report)
    if not told_by_node and not cancelled:
        return False
    sign = has_run()
    if sign or (told_by_node and sign is False):
        return not sign
    return _is_near_a_start(report, booted)


def _is_near_a_start(report: JobReport, booted: Callable[[], str | None]) -> bool:
    """Whether an end may be due to a start of slurmctld; True where that could not be asked."""
    boot_time = booted()
    if boot_time is None:
        return True
    if report.end_time is None or not boot_time.isdigit():
        return False
    # Also before that start: it may not have been the first one since.
    return abs(report.end_time - int(boot_time)) < _TOLD_LATE


def not_launched(
    rows: Iterable[JobReport], has_run: Callable[[int, JobReport], bool | None]
) -> list[float]:
    """When tasks of an array ended, or are about to, that slurmd seems not to have launched: they
    had a node, have been cancelled, and have left no sign of themselves."""
    return [
        row.end_time
        for row in rows
        if row.state in ("CANCELLED", "COMPLETING") and row.node_list and not row.is_range
        and row.end_time is not None and not has_run(row.tasks[0][0], row)
    ]  # fmt: skip


def swept_along(report: JobReport, refused: Iterable[float]) -> bool:
    """Whether a task was cancelled along with one that was not launched, and by nobody's wish: not
    by somebody of whom Slurm tells, but for root, which slurmd asks as."""
    if report.state != "CANCELLED" or report.end_time is None:
        return False
    if report.cancelled_by not in (None, 0, os.getuid()):
        return False
    return any(abs(report.end_time - at) <= _AT_ONCE for at in refused)


def had_begun(
    report: JobReport, known: KnownJob, situation: Situation, booted: Callable[[], str | None]
) -> bool:
    """Whether one that was swept along (see `swept_along`) was at work, or has been."""
    claim = situation.claim(known)
    if situation.array.cancel or claim is None or not claim.started:
        return False
    return _is_near_a_start(report, booted) and _noted(report, known, situation) is None


def cut_off(
    report: JobReport, known: KnownJob, situation: Situation, memory: Memory
) -> JobChange | None:
    """The end of one that had begun when it was swept along; None: it may still note its own."""
    claim = situation.claim(known)
    code = claim.code if claim is not None else None
    if claim is not None and code is not None and code not in _CODES_OF_A_CANCELLATION:
        return _as_noted(report, known, situation, code, claim.ended_at)
    if not _past_doubt(known, situation, memory):
        return None
    return _changed(report, known, states.cut_off())


def is_gone(known: KnownJob, situation: Situation, memory: Memory, times: int = 1) -> bool:
    """Whether a task that neither source shows has been so for all of the grace, or so many of
    it."""
    since = memory.absent.setdefault(known.task, situation.elapsed)
    return situation.elapsed - since >= times * situation.grace


def cancelled_elsewhere(known: KnownJob, situation: Situation) -> JobChange:
    """For a task that is gone while Slurm knows its array: it keeps no record of those."""
    return _end(known, states.vanished(situation.context(None, known)), situation)


def noted_end(known: KnownJob, situation: Situation) -> JobChange | None:
    """The end that the job has noted itself, if it has."""
    claim = situation.claim(known)
    if claim is None or claim.code is None:
        return None
    # A signal that it was sent, with nobody there to tell that it was for our asking.
    cancelled = situation.array.cancel and claim.code in _CODES_OF_A_CANCELLATION
    verdict = states.cancelled_running() if cancelled else states.from_claim(claim.code)
    return _end(known, verdict, situation, claim.code)


def without_a_record(known: KnownJob, situation: Situation) -> JobChange:
    """For a task that has run, and whose end neither Slurm nor the job has told."""
    return _end(known, states.lost(situation.context(None, known), started=True), situation)


def lost(known: KnownJob, situation: Situation) -> JobChange | None:
    """For a task whose array Slurm has lost. None: by its claim it never started."""
    context = situation.context(None, known)
    noted = noted_end(known, situation)
    if noted is not None:
        return noted
    claim = situation.claim(known)
    if claim is None or claim.started or context.cancelled:
        started = claim is not None and claim.started
        return _end(known, states.lost(context, started=started), situation)
    return None


def _end(
    known: KnownJob, verdict: Verdict, situation: Situation, code: int | None = None
) -> JobChange:
    return JobChange(
        known.task,
        verdict.status,
        verdict.reason,
        known.slurm_state,
        known.start_time,
        situation.now,
        exit_code=code,
        restarts=known.restarts,
    )


def _changed(report: JobReport, known: KnownJob, verdict: Verdict) -> JobChange:
    started = verdict.status.ended or verdict.status is Status.RUNNING
    ended = verdict.status.ended
    # Of tasks in one row Slurm tells when the first of them starts: that is kept with the array.
    by_itself = verdict.status in WAITING and report.source == "live" and not report.is_range
    return JobChange(
        task=known.task,
        status=verdict.status,
        reason=verdict.reason,
        slurm_state=report.state,
        start_time=(report.start_time or known.start_time) if started else None,
        stop_time=report.end_time if ended else None,
        exit_code=report.exit_code if ended else None,
        signal=report.signal if ended else None,
        node_list=report.node_list,
        restarts=known.restarts if report.restarts is None else report.restarts,
        never_runs=verdict.never_runs,
        expected_start=report.start_time if by_itself else None,
    )


def _past_doubt(known: KnownJob, situation: Situation, memory: Memory) -> bool:
    since = memory.doubtful.setdefault(known.task, situation.elapsed)
    return situation.elapsed - since >= situation.grace


def _was_killed(report: JobReport | None) -> bool:
    if report is None or report.state != "FAILED":
        return False
    return report.signal in _KILLED or report.exit_code in (125, 137, 9)
