"""From Slurm's words to ours: the whole of the table, one row one test."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmbatch import states
from slurmbatch.model import Hardware, JobReport, SlurmOptions, Status
from slurmbatch.states import Context, Verdict, explain, unknown_words
from slurmbatch.states.table import BASES, CLASS_OF, REASON_CLASSES

NOW = 1_800_000_000.0
CONTEXT = Context(
    Hardware((), 1, 256),
    SlurmOptions(time_limit=5, account="phys"),
    service_uid=990,
    now=NOW,
)
REASON = re.compile(r"[A-Z]+: .+", re.DOTALL)


def report(state: str, *flags: str, **fields: Any) -> JobReport:
    row = JobReport(7, ((1, 1),), False, state, "live", frozenset(flags), priority=1000, uid=990)
    return replace(row, **fields)


def said(row: JobReport, context: Context = CONTEXT) -> Verdict:
    """The verdict, which there must be, with a reason in the documented form."""
    verdict = explain(row, context)
    assert verdict is not None, row
    assert REASON.fullmatch(verdict.reason), verdict
    assert verdict.reason.startswith(f"{verdict.kind}: ")
    return verdict


def row_id(value: object) -> str | None:
    if isinstance(value, frozenset):
        return "+".join(sorted(value))
    return str(value).replace(" ", "-") if isinstance(value, str | Status) else None


# --- base states --------------------------------------------------------------------------------

ENDINGS = [
    ("COMPLETED", {}, Status.SUCCEEDED, "OK", True, "exit code 0"),
    ("FAILED", {"exit_code": 3, "signal": 0}, Status.FAILED, "EXIT", True, "exit code 3"),
    ("FAILED", {"exit_code": 0, "signal": 11}, Status.FAILED, "SIGNAL", True, "SIGSEGV (11)"),
    ("FAILED", {"exit_code": 0, "signal": 53}, Status.FAILED, "NODE", True, "0:53"),
    ("FAILED", {"exit_code": 15, "signal": 53}, Status.FAILED, "NODE", True, "0:53"),
    ("FAILED", {"exit_code": 137, "signal": 0}, Status.FAILED, "EXIT", True, "137, as after signal "
     "SIGKILL (9)"),
    ("FAILED", {"exit_code": 0, "signal": 0}, Status.FAILED, "EXIT", True, "no exit code"),
    ("FAILED", {}, Status.FAILED, "EXIT", True, "no exit code"),
    ("FAILED", {"exit_code": 0, "signal": 77}, Status.FAILED, "SIGNAL", True, "signal 77"),
    ("CANCELLED", {}, Status.FAILED, "CANCELLED", True, "outside of this service"),
    ("TIMEOUT", {}, Status.FAILED, "TIMEOUT", True, "limit of 5 minutes"),
    ("DEADLINE", {}, Status.FAILED, "DEADLINE", True, "limit of 5 minutes"),
    ("OUT_OF_MEMORY", {}, Status.FAILED, "MEMORY", True, "256 MiB"),
    ("NODE_FAIL", {"node_list": "node3"}, Status.FAILED, "NODE", False, "node3"),
    ("BOOT_FAIL", {"node_list": "node3"}, Status.FAILED, "NODE", False, "node3"),
    ("PREEMPTED", {}, Status.FAILED, "PREEMPTED", False, "higher priority"),
]  # fmt: skip


@pytest.mark.parametrize("source", ["live", "accounting"])
@pytest.mark.parametrize(("state", "fields", "status", "kind", "final", "words"), ENDINGS)
def test_an_end(
    state: str, fields: dict[str, Any], status: Status, kind: str, final: bool, words: str,
    source: str,
) -> None:  # fmt: skip
    verdict = said(report(state, source=source, **fields))
    assert (verdict.status, verdict.kind, verdict.final) == (status, kind, final)
    assert words in verdict.reason


LIVING = [
    ("RUNNING", {}, Status.RUNNING, "RUNNING"),
    ("RUNNING", {"node_list": "node1"}, Status.RUNNING, "RUNNING"),
    ("RUNNING", {"reason": "Prolog"}, Status.STARTING, "STARTING"),
    ("SUSPENDED", {}, Status.RUNNING, "SUSPENDED"),
]


@pytest.mark.parametrize(("state", "fields", "status", "kind"), LIVING)
def test_a_living_base(state: str, fields: dict[str, Any], status: Status, kind: str) -> None:
    verdict = said(report(state, **fields))
    assert (verdict.status, verdict.kind, verdict.final) == (status, kind, False)


def test_every_base_state_is_looked_at() -> None:
    assert {row[0] for row in ENDINGS} == set(states.ENDS)
    assert set(states.ENDS) | {"PENDING", "RUNNING", "SUSPENDED"} == BASES


@pytest.mark.parametrize(
    ("limit", "words"),
    [(1, "limit of 1 minute and"), (90, "limit of 90 minutes and"), (None, "limit and")],
)
def test_a_timeout_names_the_limit_that_accounting_has(limit: int | None, words: str) -> None:
    context = replace(CONTEXT, slurm=SlurmOptions())
    assert words in said(report("TIMEOUT", time_limit=limit), context).reason


CANCELLERS = [
    ({"cancelled_by": 0}, {}, "by an administrator (CANCELLED by 0)"),
    ({"cancelled_by": 990}, {}, "by its own account, outside of this service (CANCELLED by 990)"),
    ({"cancelled_by": 4321}, {}, "by the user with the id 4321 (CANCELLED by 4321)"),
    ({"cancelled_by": 4321, "uid": 4321}, {}, "by its own account"),
    ({"cancelled_by": None}, {}, "outside of this service (CANCELLED)"),
    ({"cancelled_by": 990}, {"cancelled": True}, "cancelled by request (CANCELLED)"),
    ({"cancelled_by": None}, {"cancelled": True}, "cancelled by request (CANCELLED)"),
]


@pytest.mark.parametrize(("fields", "context", "words"), CANCELLERS)
def test_who_cancelled(fields: dict[str, Any], context: dict[str, Any], words: str) -> None:
    assert words in said(report("CANCELLED", **fields), replace(CONTEXT, **context)).reason


def test_a_job_killed_for_its_memory_fails_for_that() -> None:
    row, context = report("FAILED", exit_code=0, signal=9), replace(CONTEXT, out_of_memory=True)
    assert said(row, context).reason.startswith("MEMORY: used more than the 256 MiB")
    assert said(row).kind == "SIGNAL"


def test_a_job_that_its_claim_kept_from_running_twice_is_lost() -> None:
    context = replace(CONTEXT, not_run_again=True)
    assert said(report("FAILED", exit_code=121, signal=0), context).kind == "LOST"


# --- flags --------------------------------------------------------------------------------------

FLAGS = [
    ("REVOKED", "", Status.FAILED, "REVOKED"),
    ("SPECIAL_EXIT", "", Status.PENDING, "HELD"),
    ("REQUEUE_HOLD", "", Status.PENDING, "HELD"),
    ("RESV_DEL_HOLD", "", Status.PENDING, "HELD"),
    ("EXPEDITING", "", Status.RUNNABLE, "CAPACITY"),
    ("REQUEUED", "", Status.PENDING, "REQUEUED"),
    ("REQUEUE_FED", "", Status.PENDING, "REQUEUED"),
    ("COMPLETING", "PENDING", Status.PENDING, "REQUEUED"),
    ("CONFIGURING", "", Status.STARTING, "STARTING"),
    ("CONFIGURING", "RUNNING", Status.STARTING, "STARTING"),
    ("POWER_UP_NODE", "", Status.STARTING, "STARTING"),
    ("POWER_UP_NODE", "RUNNING", Status.STARTING, "STARTING"),
    ("COMPLETING", "", Status.RUNNING, "ENDING"),
    ("COMPLETING", "RUNNING", Status.RUNNING, "ENDING"),
    ("STAGE_OUT", "", Status.RUNNING, "ENDING"),
    ("STOPPED", "", Status.RUNNING, "SUSPENDED"),
    ("STOPPED", "SUSPENDED", Status.RUNNING, "SUSPENDED"),
    *[(flag, end, status, kind) for end in sorted(states.ENDS) for flag, status, kind in (
        ("COMPLETING", Status.RUNNING, "ENDING"),
        ("STAGE_OUT", Status.RUNNING, "ENDING"),
        ("REQUEUED", Status.PENDING, "REQUEUED"),
        ("REQUEUE_FED", Status.PENDING, "REQUEUED"),
        ("SPECIAL_EXIT", Status.PENDING, "HELD"),
        ("REQUEUE_HOLD", Status.PENDING, "HELD"),
        ("RESV_DEL_HOLD", Status.PENDING, "HELD"),
    )],
]  # fmt: skip


@pytest.mark.parametrize(("flag", "base", "status", "kind"), FLAGS, ids=row_id)
def test_a_flag_over_a_base(flag: str, base: str, status: Status, kind: str) -> None:
    """Text shows the flag in place of the base, JSON and the library both of them."""
    row = report(base, flag) if base else report(flag)
    verdict = said(row)
    assert (verdict.status, verdict.kind) == (status, kind)
    assert verdict.final == (flag == "REVOKED")
    assert flag in verdict.reason


ORDER = [
    (("REVOKED", "SPECIAL_EXIT"), Status.FAILED),
    (("SPECIAL_EXIT", "EXPEDITING"), Status.PENDING),
    (("REQUEUE_HOLD", "CONFIGURING"), Status.PENDING),
    (("EXPEDITING", "REQUEUED"), Status.RUNNABLE),
    (("REQUEUED", "CONFIGURING"), Status.PENDING),
    (("REQUEUED", "COMPLETING"), Status.PENDING),
    (("CONFIGURING", "COMPLETING"), Status.STARTING),
    (("COMPLETING", "STOPPED"), Status.RUNNING),
]


@pytest.mark.parametrize(("flags", "status"), ORDER, ids=lambda value: str(value))
def test_of_two_flags_the_first_of_the_table_counts(flags: tuple[str, str], status: Status) -> None:
    assert said(report("RUNNING", *flags)).status is status


@pytest.mark.parametrize("flag", ["LAUNCH_FAILED", "RECONFIG_FAIL", "GETENV_FAILED"])
class TestFailedLaunch:
    @pytest.mark.parametrize(
        "fields", [{"priority": 0}, {"reason": "JobHeldAdmin"}, {"reason": "JobHeldUser"}]
    )
    def test_held_while_it_is_held(self, flag: str, fields: dict[str, Any]) -> None:
        verdict = said(report("PENDING", flag, **fields))
        assert (verdict.status, verdict.kind) == (Status.PENDING, "HELD")

    def test_being_held_comes_before_being_requeued(self, flag: str) -> None:
        assert said(report("PENDING", flag, "REQUEUED", priority=0)).kind == "HELD"

    def test_else_by_the_base(self, flag: str) -> None:
        assert said(report("PENDING", flag, reason="Priority")).status is Status.RUNNABLE
        assert said(report("RUNNING", flag)).status is Status.RUNNING
        assert said(report("FAILED", flag, priority=0, exit_code=1)).status is Status.FAILED


@pytest.mark.parametrize("flag", ["RESIZING", "SIGNALING", "UPDATE_DB"])
def test_a_flag_that_says_nothing_leaves_it_to_the_base(flag: str) -> None:
    assert said(report("RUNNING", flag)).status is Status.RUNNING
    assert said(report("COMPLETED", flag)).status is Status.SUCCEEDED
    assert said(report("PENDING", flag, reason="Priority")).status is Status.RUNNABLE
    assert explain(report(flag), CONTEXT) is None
    assert not unknown_words(report(flag))


# --- pending reasons ----------------------------------------------------------------------------

REASONS = {
    ("DEPENDENCY", Status.PENDING): ["Dependency"],
    ("NEVER", Status.PENDING): [
        "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS", "BurstBufferOperation",
        "BadConstraints",
    ],
    ("HELD", Status.PENDING): [
        "JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "ReservationDeleted",
        "ReservationInvalid", "launch failed requeued held", "job requeued in held state",
    ],
    ("TIME", Status.PENDING): [
        "BeginTime", "Reservation", "JobArrayTaskLimit", "Cleaning", "BurstBufferStageIn",
        "BurstBufferResources", "FedJobLock",
    ],
    ("CAPACITY", Status.RUNNABLE): [
        "Priority", "Resources", "Licenses", "MpiPortsBusy", "NvidiaImexChannels",
        "MaxPoweredUpNodes", "ReqNodeNotAvail", "NodeDown", "SchedDefer", "Constraints",
        "PartitionDown", "PartitionInactive", "PartitionNodeLimit",
        "ReqNodeNotAvail, UnavailableNodes:node[1-2]",
        "ReqNodeNotAvail, May be reserved for other job",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
        "partitions",
    ],
    ("LIMIT", Status.RUNNABLE): [
        "QOSJobLimit", "AssociationJobLimit", "QOSUsageThreshold",
        "AssocGrpCpuLimit", "AssocGrpMemLimit", "AssocGrpNodeLimit", "AssocGrpJobsLimit",
        "AssocGrpSubmitJobsLimit", "AssocGrpWallLimit", "AssocGrpCPUMinutesLimit",
        "AssocGrpCPURunMinutesLimit", "AssocGrpMemMinutes", "AssocGrpGRES",
        "AssocGrpGRESRunMinutes", "AssocMaxJobsLimit", "QOSGrpCpuLimit", "QOSGrpMemLimit",
        "QOSGrpCPUMinutesLimit", "QOSGrpBilling", "QOSMaxJobsPerUserLimit",
        "QOSMaxCpuPerUserLimit", "QOSMaxNodePerUserLimit", "QOSMaxMemoryPerUser",
        "QOSMaxJobsPerAccountLimit", "QOSMaxGRESPerAccount", "QOSMaxSubmitJobPerUserLimit",
    ],
    ("MISCONFIGURED", Status.RUNNABLE): [
        "PartitionTimeLimit", "PartitionConfig", "AccountNotAllowed", "QOSNotAllowed",
        "MaxMemPerLimit", "AccountingPolicy",
        "AssocMaxCpuPerJobLimit", "AssocMaxNodePerJobLimit", "AssocMaxWallDurationPerJobLimit",
        "AssocMaxCPUMinutesPerJobLimit", "AssocMaxGRESMinutesPerJob", "QOSMaxCpuPerJobLimit",
        "QOSMaxCpuPerNode", "QOSMaxMemoryPerNode", "QOSMaxWallDurationPerJobLimit",
        "QOSMaxCPUMinutesPerJobLimit", "QOSMinCpuNotSatisfied", "QOSMinGRES", "QOSMinMemory",
        "Job's account not permitted to use this partition (closed allows a not b)",
        "Job's QOS not permitted to use this partition (closed allows a not b)",
    ],
    ("STARTING", Status.STARTING): ["Prolog"],
    ("OTHER", Status.RUNNABLE): ["AssocMaxSubmitJobLimit", "SomethingNew", "Nodes are asleep"],
}  # fmt: skip
REASON_ROWS = [(kind, status, word) for (kind, status), words in REASONS.items() for word in words]


@pytest.mark.parametrize(("kind", "status", "word"), REASON_ROWS, ids=row_id)
def test_a_pending_reason(kind: str, status: Status, word: str) -> None:
    verdict = said(report("PENDING", reason=word))
    assert (verdict.kind, verdict.status) == (kind, status)
    assert verdict.reason.endswith(f"({word})")
    assert verdict.never_runs == (kind == "NEVER")
    assert not verdict.final


def test_every_reason_of_the_table_is_looked_at() -> None:
    tested = {row[2].split(" (")[0].split(",")[0] for row in REASON_ROWS}
    assert set(CLASS_OF) <= tested


@pytest.mark.parametrize("word", REASON_CLASSES["NEVER"][1])
def test_what_never_runs_says_so(word: str) -> None:
    verdict = said(report("PENDING", reason=word))
    assert verdict.never_runs
    assert "will never run" in verdict.reason
    assert verdict.reason.count("cancel it and submit it again, corrected") == 1


def test_a_limit_names_the_account() -> None:
    assert "account phys" in said(report("PENDING", reason="AssocGrpCpuLimit")).reason
    assert "account phys" not in said(report("PENDING", reason="QOSGrpCpuLimit")).reason


@pytest.mark.parametrize("word", ["None", "", "(null)", " None "])
def test_no_reason_yet_is_no_verdict(word: str) -> None:
    assert explain(report("PENDING", reason=word), CONTEXT) is None


@pytest.mark.parametrize("word", ["None", "", "(null)", "some text of slurmctld's"])
def test_priority_0_is_held(word: str) -> None:
    verdict = said(report("PENDING", reason=word, priority=0))
    assert (verdict.status, verdict.kind) == (Status.PENDING, "HELD")


def test_priority_0_does_not_hide_a_reason() -> None:
    """A job that waits for its begin time has no priority yet either."""
    assert said(report("PENDING", reason="BeginTime", priority=0)).kind == "TIME"


def test_what_we_hold_ourselves_is_still_submitted() -> None:
    context = replace(CONTEXT, ours_held=True)
    assert explain(report("PENDING", reason="JobHeldUser", priority=0), context) is None
    assert said(report("PENDING", reason="JobHeldUser", priority=0)).kind == "HELD"
    assert said(report("RUNNING"), context).status is Status.RUNNING
    assert said(report("CANCELLED"), context).status is Status.FAILED


# --- accounting alone ---------------------------------------------------------------------------

ELIGIBLE = [
    ("None", None, Status.PENDING, "TIME"),
    ("None", NOW + 60, Status.PENDING, "TIME"),
    ("None", NOW - 60, Status.RUNNABLE, "CAPACITY"),
    ("", NOW - 60, Status.RUNNABLE, "CAPACITY"),
    ("BeginTime", NOW + 60, Status.PENDING, "TIME"),
    ("BeginTime", NOW - 60, Status.RUNNABLE, "CAPACITY"),
    ("Dependency", None, Status.PENDING, "DEPENDENCY"),
    ("Dependency", NOW - 60, Status.RUNNABLE, "CAPACITY"),
    ("DependencyNeverSatisfied", None, Status.PENDING, "NEVER"),
    ("JobHeldUser", None, Status.PENDING, "HELD"),
    ("Licenses", NOW - 60, Status.RUNNABLE, "CAPACITY"),
    ("Licenses", None, Status.PENDING, "TIME"),
    ("AssocGrpCpuLimit", NOW - 60, Status.RUNNABLE, "LIMIT"),
    ("SomethingNew", NOW - 60, Status.RUNNABLE, "CAPACITY"),
]


@pytest.mark.parametrize(("word", "eligible", "status", "kind"), ELIGIBLE)
def test_by_accounting_alone_the_eligible_time_decides(
    word: str, eligible: float | None, status: Status, kind: str
) -> None:
    row = report("PENDING", reason=word, eligible_time=eligible, source="accounting", priority=None)
    verdict = said(row)
    assert (verdict.status, verdict.kind) == (status, kind)


# --- words that are not in the table ------------------------------------------------------------

UNKNOWN = [
    "", "FIGURING", "CONFIGURING2", "COMPLETE", "COMPLETED+", "OUT_OF_ME", "CANCELLED+",
    "completed", "FAILEDX", "NOT_COMPLETED", "RUNNING PENDING", "TIMEOUTS", "EXPIRED", "?", "0",
]  # fmt: skip


@pytest.mark.parametrize("word", UNKNOWN)
def test_an_unknown_word_is_no_verdict(word: str) -> None:
    for source in ("live", "accounting"):
        assert explain(report(word, source=source), CONTEXT) is None
    assert unknown_words(report(word)) == {word}


@pytest.mark.parametrize("state", sorted(BASES))
def test_an_unknown_flag_is_no_verdict_either(state: str) -> None:
    row = report(state, "NEW_FLAG", reason="Priority", exit_code=1)
    assert explain(row, CONTEXT) is None
    assert unknown_words(row) == {"NEW_FLAG"}


@given(st.text(max_size=20), st.frozensets(st.text(max_size=20), max_size=2), st.text(max_size=30))
def test_no_text_becomes_an_end_unless_it_is_one(
    state: str, flags: frozenset[str], reason: str
) -> None:
    verdict = explain(report(state, *flags, reason=reason), CONTEXT)
    known = state in BASES or not unknown_words(report(state, *flags))
    assert verdict is None or known


# --- jobs that Slurm says nothing of ------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "status", "kind"),
    [
        (states.lost(CONTEXT), Status.FAILED, "LOST"),
        (states.lost(replace(CONTEXT, cancelled=True)), Status.FAILED, "CANCELLED"),
        (states.vanished(CONTEXT), Status.FAILED, "CANCELLED"),
        (states.vanished(replace(CONTEXT, cancelled=True)), Status.FAILED, "CANCELLED"),
        (states.from_claim(0), Status.SUCCEEDED, "OK"),
        (states.from_claim(4), Status.FAILED, "EXIT"),
        (states.from_claim(137), Status.FAILED, "EXIT"),
    ],
)
def test_an_end_that_slurm_does_not_report(verdict: Verdict, status: Status, kind: str) -> None:
    assert (verdict.status, verdict.kind, verdict.final) == (status, kind, True)
    assert REASON.fullmatch(verdict.reason)


def test_only_we_know_that_a_vanished_job_was_cancelled_by_request() -> None:
    assert "by request" in states.vanished(replace(CONTEXT, cancelled=True)).reason
    assert "outside of this service" in states.vanished(CONTEXT).reason
