"""From Slurm's states, flags and reasons to ours. The table is in `states.table`.

An unknown word is never a verdict: the last known status stands.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from slurmbatch.model import Hardware, JobReport, SlurmOptions, Status
from slurmbatch.states.table import (
    BAD,
    BASES,
    BY_THE_BASE,
    CLASS_OF,
    END_CLASSES,
    END_SENTENCES,
    ENDS,
    FLAG_ROWS,
    HELD_WHEN_HELD,
    NEVER_RUNS_ADVICE,
    OK,
    REASON_CLASSES,
    REASON_SENTENCES,
    RU,
    SENTENCES,
    ST,
    P,
    R,
    reason_class,
)

__all__ = ["ENDS", "END_CLASSES", "Context", "Verdict", "explain", "reason_class", "unknown_words"]


@dataclass(frozen=True, slots=True)
class Context:
    """What we know of a job and Slurm does not say.

    `ours_held`: we have not released it yet. `cancelled`: we were asked to end it. `out_of_memory`:
    its log ends in Slurm's message that it was killed for its memory. `not_run_again`: Slurm
    started it a second time, and its claim kept it from running. `not_claimed`: it could not make
    its claim, and so did not run.
    """

    hardware: Hardware
    slurm: SlurmOptions
    last: Status = Status.SUBMITTED
    ours_held: bool = False
    cancelled: bool = False
    service_uid: int | None = None
    out_of_memory: bool = False
    not_run_again: bool = False
    not_claimed: bool = False
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a report means. `final`: nothing that Slurm says later changes it, but a requeue."""

    status: Status
    kind: str
    reason: str
    final: bool = False
    never_runs: bool = False


def explain(report: JobReport, context: Context) -> Verdict | None:
    """What the report means, or None where it is no verdict and the last known status stands."""
    words = report.flags | {report.state}
    base = report.state if report.state in BASES else ""
    if unknown_words(report):
        return None
    for flags, bases, status, kind in FLAG_ROWS:
        if flags is HELD_WHEN_HELD and not _held(report):
            continue
        if words & flags and (bases is None or base in bases):
            final = kind == "REVOKED"
            return Verdict(status, kind, _text(kind, SENTENCES[kind], _named(words)), final)
    if base in ENDS:
        return _ended(report, base, context)
    if base == "RUNNING":
        return _running(report)
    if base == "SUSPENDED":
        return Verdict(RU, "SUSPENDED", _text("SUSPENDED", SENTENCES["SUSPENDED"], base))
    return _pending(report, context) if base == "PENDING" else None


def unknown_words(report: JobReport) -> frozenset[str]:
    """State or flag words of the report that are not in the table."""
    flags = frozenset().union(*(row[0] for row in FLAG_ROWS)) | BY_THE_BASE
    return (report.flags | {report.state}) - flags - BASES


def lost(context: Context, *, started: bool = False) -> Verdict:
    """For a job that neither squeue nor sacct knows, both asked in health and past the grace."""
    if context.cancelled:
        return cancelled_running() if started else _cancelled("by request, before it started", "")
    return Verdict(
        BAD,
        "LOST",
        "LOST: Slurm no longer knows this job and has no record of its end; it may not have run",
        final=True,
    )


def cut_off() -> Verdict:
    """For a job that had begun when Slurm cancelled its array by mistake, after its own crash."""
    text = "had begun when Slurm, after a crash of its own, cancelled all of its array by mistake"
    return Verdict(BAD, "LOST", _text("LOST", text, "CANCELLED"), final=True)


def cancelled_running() -> Verdict:
    """For a job that has run, was to be ended by us, and of whose end Slurm has no record."""
    return _cancelled("by request", "")


def from_claim(code: int, told: str = "") -> Verdict:
    """For a job that has left its exit code itself, where Slurm has lost the job, or `told` another
    end."""
    known = f"Slurm says {told}" if told else "Slurm has no record of its end"
    note = f"as it noted itself, {known}"
    if code == 0:
        return Verdict(OK, "OK", f"OK: ended with exit code 0 ({note})", True)
    return Verdict(BAD, "EXIT", _text("EXIT", _exit_text(code), note), True)


def vanished(context: Context) -> Verdict:
    """For a pending task that is gone while its array is known: Slurm keeps no record of those."""
    if context.cancelled:
        return _cancelled("by request, before it started", "")
    return _cancelled("outside of this service, before it started", "")


def _held(report: JobReport) -> bool:
    return report.priority == 0 or reason_class(report.reason.strip()) == "HELD"


def _named(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))


def _text(kind: str, sentence: str, slurm_words: str) -> str:
    return f"{kind}: {sentence} ({slurm_words})" if slurm_words else f"{kind}: {sentence}"


def _running(report: JobReport) -> Verdict:
    if report.reason == "Prolog":
        return Verdict(ST, "STARTING", _text("STARTING", SENTENCES["STARTING"], "Prolog"))
    where = f"runs on {report.node_list}" if report.node_list else "runs"
    return Verdict(RU, "RUNNING", _text("RUNNING", where, ""))


def _pending(report: JobReport, context: Context) -> Verdict | None:
    if context.ours_held:
        return None
    word = report.reason.strip()
    if word not in CLASS_OF:
        word = re.split(r"[,(:]", word, maxsplit=1)[0].strip()
    if report.source == "accounting":
        return _pending_by_eligible(report, word, context)
    if word in ("", "None", "(null)"):
        if report.priority == 0:
            return Verdict(P, "HELD", _text("HELD", SENTENCES["HELD"], "priority 0"))
        return None
    kind = reason_class(word)
    if kind == "OTHER" and report.priority == 0:
        kind = "HELD"
    return _by_reason(report, word, kind, context)


def _by_reason(report: JobReport, word: str, kind: str, context: Context) -> Verdict:
    status = REASON_CLASSES[kind][0] if kind in REASON_CLASSES else R
    sentence = REASON_SENTENCES.get(word) or SENTENCES.get(kind) or "waits"
    if kind == "LIMIT" and context.slurm.account and word.startswith("Assoc"):
        sentence += f" (account {context.slurm.account})"
    never = kind == "NEVER"
    if never and word in REASON_SENTENCES:
        sentence += NEVER_RUNS_ADVICE
    text = _text(kind, sentence, report.reason.strip())
    return Verdict(status, kind, text, never_runs=never)


def _pending_by_eligible(report: JobReport, word: str, context: Context) -> Verdict:
    """By accounting alone, whose reason may be an old one: it counts if it agrees with the time."""
    eligible, kind = report.eligible_time, reason_class(word)
    status = P if eligible is None or eligible > context.now else R
    if kind in REASON_CLASSES and REASON_CLASSES[kind][0] is status:
        return _by_reason(report, word, kind, context)
    if status is P:
        return Verdict(P, "TIME", "TIME: is not eligible to run yet")
    return Verdict(R, "CAPACITY", _text("CAPACITY", SENTENCES["CAPACITY"], "from accounting alone"))


def _ended(report: JobReport, base: str, context: Context) -> Verdict:
    final = ENDS[base]
    if base == "COMPLETED":
        return Verdict(OK, "OK", "OK: ended with exit code 0", final)
    if base == "CANCELLED":
        return _cancelled(*_cancelled_by(report, context))
    if base == "FAILED":
        return _failed(report, context)
    kind, sentence = END_SENTENCES[base]
    node, memory = report.node_list or "unknown", context.hardware.memory
    limit = report.time_limit or context.slurm.time_limit
    minutes = f" of {limit} minute{'s' if limit != 1 else ''}" if limit else ""
    text = sentence.format(node=node, memory=memory, limit=minutes)
    return Verdict(BAD, kind, _text(kind, text, base), final)


def _failed(report: JobReport, context: Context) -> Verdict:
    if context.out_of_memory:
        text = END_SENTENCES["OUT_OF_MEMORY"][1].format(memory=context.hardware.memory)
        return Verdict(BAD, "MEMORY", _text("MEMORY", text, "FAILED"), True)
    if context.not_run_again:
        text = "Slurm lost sight of its first run and started it again; it was not run twice"
        return Verdict(BAD, "LOST", _text("LOST", text, "FAILED"), True)
    if context.not_claimed:
        text = "its claim could not be made on the node; nothing ran"
        return Verdict(BAD, "NODE", _text("NODE", text, f"FAILED {report.exit_code}:0"), True)
    if report.signal == 53:  # accounting has 0:53, slurmctld 15:53
        text = "its log or working directory could not be opened on the node; nothing ran"
        return Verdict(BAD, "NODE", _text("NODE", text, "FAILED 0:53"), True)
    if report.signal:
        text = f"was ended by signal {signal_name(report.signal)}"
        return Verdict(BAD, "SIGNAL", _text("SIGNAL", text, "FAILED"), True)
    code = report.exit_code
    text = _exit_text(code) if code else "failed, and Slurm gives no exit code"
    return Verdict(BAD, "EXIT", _text("EXIT", text, "FAILED"), True)


def _exit_text(code: int) -> str:
    """With a hint where a shell has passed on the signal that ended what it ran."""
    by_signal = f", as after signal {signal_name(code - 128)}" if 128 < code < 160 else ""
    return f"ended with exit code {code}{by_signal}"


def signal_name(number: int) -> str:
    """`9` -> `SIGKILL (9)`."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return str(number)


def _cancelled_by(report: JobReport, context: Context) -> tuple[str, str]:
    if context.cancelled:
        return "by request", "CANCELLED"
    uid = report.cancelled_by
    if uid is None:
        return "outside of this service", "CANCELLED"
    if uid == 0:
        return "by an administrator", "CANCELLED by 0"
    if uid in (context.service_uid, report.uid):
        return "by its own account, outside of this service", f"CANCELLED by {uid}"
    return f"by the user with the id {uid}", f"CANCELLED by {uid}"


def _cancelled(how: str, words: str) -> Verdict:
    return Verdict(BAD, "CANCELLED", _text("CANCELLED", f"cancelled {how}", words), True)
