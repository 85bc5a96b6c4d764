"""What differs by Slurm's version, and Slurm's own words, in tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int]
OLDEST_TESTED: Version = (22, 5)

# Words in sbatch's errors that mean: no, and asking again will not help. Seen on 22.05 unless
# noted; slurm_errno.c has them all.
TOO_LARGE = "Invalid job array specification"
REFUSALS = (
    TOO_LARGE,
    "Invalid feature specification",
    "Invalid license specification",
    "Requested node configuration is not available",
    "Requested partition configuration not available now",
    "Invalid partition name specified",
    "No partition specified or system default partition",
    "Requested nodes not in this partition",
    "Invalid node name specified",
    "Invalid generic resource (gres) specification",
    "Invalid account or account/partition combination specified",
    "Invalid qos specification",
    "Requested time limit is invalid",
    "Time limit specification required, but not provided",
    "Memory required by task is not available",
    "Memory specification can not be satisfied",
    "CPU count per node can not be satisfied",
    "CPU count specification invalid",
    "Node count specification invalid",
    "More processors requested than permitted",
    "User's group not permitted to use this partition",
    "Job violates accounting/QOS policy",
    "Access/permission denied",
    "Invalid user id",
    "Invalid group id",
    "Invalid wckey specification",
    "Batch script is empty",
    "Batch script contains DOS line breaks",
    "Batch script contains only whitespace",
    "This does not look like a batch script",
    "contain a NULL character",
    "Job script exceeds",
    "Pathname of a file, directory or other parameter too long",
    "Job dependency problem",
    "Invalid --",
    "Invalid numeric value",
    "invalid number of",
    "too large for --",  # the same since some version before 24.11
    "unrecognized option",
)

# Words that mean: not now. They win over the refusals: a limit's name stands beside
# "Job violates accounting/QOS policy".
LIMITS_REACHED = re.compile(
    r"(?:Assoc|QOS)(?:Max|Grp)Submit\w*|Resource temporarily unavailable"
    r"|sleeping and retrying|Slurm temporarily unable to accept job"
    r"|Required partition not available"  # inactive or drained, until an administrator says so
    r"|I/O error writing script/environment to file"  # slurmctld's disk is full, say
)

# Words of an error between sbatch and slurmctld, after which nobody knows what slurmctld did.
NO_ANSWER = re.compile(
    r"[Tt]imed out|Unable to contact|Communication connection failure|Zero Bytes|standby mode"
    r"|Connection (?:refused|reset)|Transport endpoint|Unexpected message|[Aa]uthentication"
    r"|credential|not responding|message (?:receive|send) failure"
)

# Words of sudo's, after which nothing was run.
REFUSED_BY_SUDO = re.compile(
    r"sudo: (?:a password is required|unknown user|no valid sudoers)|is not allowed to execute"
    r"|is not in the sudoers file|account validation failure"
)

# What sbatch --test-only puts before Slurm's own words.
TEST_FAILED = "allocation failure: "

# sbatch sleeps by itself for up to two minutes when slurmctld is full; we would rather know.
SLEEPS_BY_ITSELF = "sleeping and retrying"

# The same two tables by number, for libslurm, whose errors are numbers of slurm_errno.h. Those are
# added to from version to version, but never change their meaning.
REFUSED_BY_NUMBER = frozenset({
    2000, 2001, 2003, 2004, 2015,  # partitions, and who may use them
    2002, 2010, 2113,  # permission, user, group
    2005, 2006, 2014, 2018, 2044, 2069,  # processors, nodes, memory
    2012,  # a path that is too long
    2029, 2048, 2072,  # features, licences, gres
    2038,  # dependency
    2045, 2050, 2057, 2066,  # account, policy, wckey, qos
    2051, 8000, 2123,  # time limit, nice
    2081,  # array
})  # fmt: skip
# EAGAIN, and ESLURM_ERROR_ON_DESC_TO_RECORD_COPY, which since 26.05 is ESLURM_MAX_JOB_COUNT: those
# for which sbatch sleeps.
BUSY_BY_NUMBER = frozenset({11, 2007})


def is_no_answer(number: int) -> bool:
    """Whether the error arose between libslurm and slurmctld: messages, sockets, credentials."""
    return 1000 <= number < 2000 or number in (2026, 2027, 2131) or 5000 <= number < 7000


def given_by_sbatch(version: str) -> dict[str, str]:
    """What sbatch of this version sets for MPI's own launchers, and libslurm does not."""
    if version_tuple(version) < (24, 11):
        return {}
    return {
        "HYDRA_BOOTSTRAP": "slurm",
        "HYDRA_LAUNCHER_EXTRA_ARGS": "--external-launcher",
        "I_MPI_HYDRA_BOOTSTRAP": "slurm",
        "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS": "--external-launcher",
        "OMPI_MCA_plm_slurm_args": "--external-launcher",
        "PRTE_MCA_plm_slurm_args": "--external-launcher",
    }


@dataclass(frozen=True, slots=True)
class Limit:
    """What does not work as well as it could on versions from `since` on and before `before`."""

    since: Version
    before: Version
    text: str


# docs/versions.md has the same, and what was seen where.
LIMITS = (
    Limit((0, 1), OLDEST_TESTED, "it is older than any version that is tested"),
    Limit(
        (0, 1), (26, 5),
        "accounting takes 128 off exit codes from 128 on: that of a job which only accounting "
        "knows any more may be wrong, unless the job has a claim (jobs.claims_dir)",
    ),
    Limit(
        (0, 1), (24, 11),
        "accounting does not tell how often Slurm has started a job: where only it knows the job "
        "any more, `attempt` may be too low",
    ),
    Limit((26, 6), (1000, 0), "it is newer than any version that is tested"),
)  # fmt: skip


def says_whose_job(version: str) -> bool:
    """Whether sbatch sends its own uid, also with a token of somebody else's. Seen on 22.05, not on
    24.11; what lies between was not tried."""
    return version_tuple(version) < (24, 11)


def limits(version: str) -> tuple[str, ...]:
    """What does not work, or not as well, on this version; of one that is not told, nothing."""
    found = version_tuple(version)
    return tuple(each.text for each in LIMITS if each.since <= found < each.before)


def ended_fields(known: tuple[str, ...], version: str) -> tuple[str, ...]:
    """The fields that accounting is asked for, the tag last. An unknown one fails the question."""
    more = ("Restarts",) if version_tuple(version) >= (24, 11) else ()
    return (*known[:-1], *more, known[-1])


def version_tuple(text: str) -> Version:
    """`slurm-wlm 22.05.8` -> (22, 5); (0, 0) where there is no version in it."""
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
