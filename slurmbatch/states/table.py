"""The one table: Slurm's states, flags and reasons, and the words that we explain them with.

Sources: slurm.h (`enum job_states`, the `JOB_*` flags, `enum job_state_reason`), squeue(1),
sacct(1), 22.05 to 26.05.
"""

from __future__ import annotations

import re

from slurmbatch.model import Status

P, R, ST, RU = Status.PENDING, Status.RUNNABLE, Status.STARTING, Status.RUNNING
OK, BAD = Status.SUCCEEDED, Status.FAILED


# Base states that end a job. False: Slurm may still requeue it, so the end counts only once
# squeue has not shown the job for a while.
ENDS = {
    "COMPLETED": True,
    "FAILED": True,
    "CANCELLED": True,
    "TIMEOUT": True,
    "DEADLINE": True,
    "OUT_OF_MEMORY": True,
    "NODE_FAIL": False,
    "BOOT_FAIL": False,
    "PREEMPTED": False,
}
BASES = frozenset(ENDS) | {"PENDING", "RUNNING", "SUSPENDED"}

# These mean "held" only while the job is held.
HELD_WHEN_HELD = frozenset({"LAUNCH_FAILED", "RECONFIG_FAIL", "GETENV_FAILED"})
# Flags that decide before the base does, in this order: (flags, bases or None for any, status,
# reason class). Text output shows a flag instead of the base, so the base may be unknown: "".
FLAG_ROWS: tuple[tuple[frozenset[str], frozenset[str] | None, Status, str], ...] = (
    (frozenset({"REVOKED"}), None, BAD, "REVOKED"),
    (frozenset({"SPECIAL_EXIT", "REQUEUE_HOLD", "RESV_DEL_HOLD"}), None, P, "HELD"),
    (HELD_WHEN_HELD, frozenset({"PENDING", ""}), P, "HELD"),
    (frozenset({"EXPEDITING"}), None, R, "CAPACITY"),
    (frozenset({"REQUEUED", "REQUEUE_FED"}), None, P, "REQUEUED"),
    (frozenset({"COMPLETING"}), frozenset({"PENDING"}), P, "REQUEUED"),
    (frozenset({"CONFIGURING", "POWER_UP_NODE"}), None, ST, "STARTING"),
    (frozenset({"COMPLETING"}), frozenset(ENDS) | {"", "RUNNING"}, RU, "ENDING"),
    (frozenset({"STAGE_OUT"}), None, RU, "ENDING"),
    (frozenset({"STOPPED"}), None, RU, "SUSPENDED"),
)
# Flags that say nothing of their own. Without a base beside them they are no verdict.
BY_THE_BASE = frozenset({"RESIZING", "SIGNALING", "UPDATE_DB"}) | HELD_WHEN_HELD

# Pending reasons, by class. Anything that is not here is OTHER. Where slurmctld has a text of its
# own for a job, squeue shows that in place of the reason: those with spaces, up to a comma or (.
REASON_CLASSES: dict[str, tuple[Status, tuple[str, ...]]] = {
    "DEPENDENCY": (P, ("Dependency",)),
    "NEVER": (
        P,
        (
            "DependencyNeverSatisfied",
            "InvalidAccount",
            "InvalidQOS",
            "BurstBufferOperation",
            "BadConstraints",
        ),
    ),
    "HELD": (
        P,
        (
            "JobHeldUser",
            "JobHeldAdmin",
            "JobHoldMaxRequeue",
            "ReservationDeleted",
            "ReservationInvalid",
            "launch failed requeued held",
            "job requeued in held state",
        ),
    ),
    "TIME": (
        P,
        (
            "BeginTime",
            "Reservation",
            "JobArrayTaskLimit",
            "Cleaning",
            "BurstBufferStageIn",
            "BurstBufferResources",
            "FedJobLock",
        ),
    ),
    "CAPACITY": (
        R,
        (
            "Priority",
            "Resources",
            "Licenses",
            "MpiPortsBusy",
            "NvidiaImexChannels",
            "MaxPoweredUpNodes",
            "ReqNodeNotAvail",
            "NodeDown",
            "SchedDefer",
            "Constraints",
            "PartitionDown",
            "PartitionInactive",
            "PartitionNodeLimit",
            "Nodes required for job are DOWN",
        ),
    ),
    "MISCONFIGURED": (
        R,
        (
            "PartitionTimeLimit",
            "PartitionConfig",
            "AccountNotAllowed",
            "QOSNotAllowed",
            "MaxMemPerLimit",
            "AccountingPolicy",
            "Job's account not permitted to use this partition",
            "Job's QOS not permitted to use this partition",
        ),
    ),
    "LIMIT": (R, ("QOSJobLimit", "AssociationJobLimit", "QOSUsageThreshold")),
    "STARTING": (ST, ("Prolog",)),
}
CLASS_OF = {word: name for name, (_, words) in REASON_CLASSES.items() for word in words}
_LIMITS = re.compile(r"^(Assoc|QOS)[A-Z]")
_ASKS_TOO_MUCH = re.compile(r"PerJob|PerNode|MaxWall|Min(?!utes)")
_ROOM_TAKEN = re.compile(r"Grp|MaxJobs|PerUser|PerAccount")

# One sentence a class; a reason of its own below where the class would be too vague.
SENTENCES = {
    "DEPENDENCY": "waits for another job",
    "NEVER": "will never run as it is; cancel it and submit it again, corrected",
    "HELD": "is held, by its owner or an administrator, and waits to be released",
    "TIME": "waits for a time or a throttle, not for room",
    "CAPACITY": "could run now and waits for its turn or for room",
    "MISCONFIGURED": "asks for more than it may have here, so it may wait for ever",
    "LIMIT": "could run, but the running jobs already use all that a shared limit allows",
    "STARTING": "has its nodes, which are being made ready",
    "REQUEUED": "was put back into the queue by Slurm and will run again",
    "SUSPENDED": "is suspended and keeps its place",
    "ENDING": "has ended and is being cleaned up; its exit code is not final yet",
    "REVOKED": "was withdrawn by another cluster of the federation",
}
REASON_SENTENCES = {
    "Priority": "waits for its turn: jobs of higher priority come first",
    "Resources": "is next in line and waits for enough free CPUs, memory or nodes",
    "Licenses": "waits for a licence that others are using",
    "ReqNodeNotAvail": "waits for nodes that are down, drained or reserved",
    "NodeDown": "waits for a node that is down",
    "PartitionDown": "waits because its partition is closed for starting jobs",
    "PartitionInactive": "waits because its partition is inactive",
    "PartitionNodeLimit": "asks for a number of nodes that its partition does not give just now",
    "Dependency": "waits for the jobs that it depends on",
    "DependencyNeverSatisfied": "will never run: a job that it depends on did not end as required",
    "InvalidAccount": "will never run: its account is not valid any more",
    "InvalidQOS": "will never run: its QOS is not valid any more",
    "BadConstraints": "will never run: no node fulfils what it asks for",
    "JobHeldUser": "is held by its owner and waits to be released",
    "JobHeldAdmin": "is held by an administrator and waits to be released",
    "JobHoldMaxRequeue": "is held because Slurm has requeued it too often",
    "launch failed requeued held": "could not be started, was requeued, and is held",
    "job requeued in held state": "was requeued, is held, and waits to be released",
    "Nodes required for job are DOWN": "waits for nodes that are down, drained or reserved",
    "BeginTime": "waits for its begin time",
    "JobArrayTaskLimit": "waits because as many tasks of its array run as may run at once",
    "Reservation": "waits for its reservation to begin",
    "Cleaning": "waits until its previous run has been cleaned up",
    "PartitionTimeLimit": "asks for more time than its partition gives, so it may wait for ever",
    "PartitionConfig": "asks for what its partition does not have, so it may wait for ever",
    "AccountNotAllowed": "may not use its partition with this account, so it may wait for ever",
    "QOSNotAllowed": "may not use its partition with this QOS, so it may wait for ever",
    "Job's account not permitted to use this partition": (
        "may not use its partition with this account, so it may wait for ever"
    ),
    "Job's QOS not permitted to use this partition": (
        "may not use its partition with this QOS, so it may wait for ever"
    ),
    "MaxMemPerLimit": "asks for more memory than is allowed, so it may wait for ever",
}
# Follows a sentence of its own of a job that never runs; the one of the class says it itself.
NEVER_RUNS_ADVICE = "; cancel it and submit it again, corrected"
# What to do about it, for those who wait: one line a class.
ADVICE = {
    "DEPENDENCY": "Nothing, as long as the jobs that it depends on may still end as required.",
    "NEVER": "Cancel it, and submit it again, corrected.",
    "HELD": "Ask whoever holds it to release it, or cancel it.",
    "TIME": "Nothing: it goes on by itself.",
    "CAPACITY": "Nothing. One that asks for less memory, time or CPUs mostly starts sooner.",
    "LIMIT": "Nothing: it goes on as the running jobs under the same limit end.",
    "MISCONFIGURED": (
        "Cancel it, and submit it again with less, or with another partition, account or QOS. If "
        "that was right, ask an administrator."
    ),
    "STARTING": "Nothing.",
    "OTHER": "Ask an administrator, with the word in the brackets.",
}
# Why a job of these classes may wait although Slurm has nothing of it.
OURS = {
    "DEPENDENCY": (
        "A job whose batch names others in `depends_on` is not in Slurm before those have ended as "
        "required: its reason names them, and how far they are. Once they can't any more, it ends "
        "`FAILED`, class `DEPENDENCY`."
    ),
    "TIME": (
        "A job whose batch has a `max_parallel` waits in Slurm, under a throttle of its array, or "
        "is not handed over yet."
    ),
}
END_SENTENCES = {
    "TIMEOUT": ("TIMEOUT", "ran longer than its time limit{limit} and was ended"),
    "DEADLINE": (
        "DEADLINE",
        "could not end before its deadline with its time limit{limit}, and was ended",
    ),
    "OUT_OF_MEMORY": ("MEMORY", "used more than the {memory} MiB it asked for and was killed"),
    "NODE_FAIL": ("NODE", "its node failed while it ran: {node}"),
    "BOOT_FAIL": ("NODE", "its node could not be booted: {node}"),
    "PREEMPTED": ("PREEMPTED", "was ended to make room for a job of higher priority"),
}

# How a job can fail, in one word each: what Slurm tells, and what we do.
END_CLASSES = frozenset(kind for kind, _ in END_SENTENCES.values()) | {
    "CANARY", "CANCELLED", "DEPENDENCY", "EXIT", "LOST", "REFUSED", "REVOKED", "SIGNAL",
}  # fmt: skip


def reason_class(word: str) -> str:
    """The class of a pending reason: `CAPACITY`, `LIMIT`, …; `OTHER` for a word we do not know."""
    if word in CLASS_OF:
        return CLASS_OF[word]
    if _LIMITS.match(word):
        if _ASKS_TOO_MUCH.search(word):
            return "MISCONFIGURED"
        if _ROOM_TAKEN.search(word):
            return "LIMIT"
    return "OTHER"
