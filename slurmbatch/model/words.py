"""What statuses, states and limits are called."""

from __future__ import annotations

from enum import StrEnum

ArgValue = str | int | float | bool
# The most that Slurm takes as it is meant. More it cuts off without a word: 4294967297 CPUs become
# one, and a time limit that does not fit, in seconds and rounded up to a whole minute, into 31 bits
# becomes a minute, or none at all.
MAX_CPU = 65_533
MAX_MEMORY = 2**31 - 1
MAX_TIME_LIMIT = (2**31 - 60) // 60
MAX_GPUS = 65_535
# Of retries: how often a job may be run at most, and how many times more it may ask for at once.
MAX_ATTEMPTS = 20
MAX_FACTOR = 100
MAX_PARALLEL = 2**31 - 1


class Status(StrEnum):
    """The documented vocabulary, in the order in which a job moves through it."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED)


class ArrayState(StrEnum):
    """How far the hand-over of one Slurm job array has come.

    BLOCKED: on our disk only, and not to be handed over yet; its gate says what it waits for.
    INTENT: on our disk only, or of unknown fate. HELD: Slurm has it, held, under a known id.
    RELEASING: we are about to let it go, or have. QUEUED: seen not held. DONE: every task ended.
    REFUSED: Slurm will not have it.
    """

    BLOCKED = "BLOCKED"
    INTENT = "INTENT"
    HELD = "HELD"
    RELEASING = "RELEASING"
    QUEUED = "QUEUED"
    DONE = "DONE"
    REFUSED = "REFUSED"


class Gate(StrEnum):
    """What a blocked array waits for. CANARY: the success of the first jobs of its batch. PARENTS:
    the batches that its own depends on. THROTTLE: other arrays of its batch."""

    CANARY = "canary"
    PARENTS = "parents"
    THROTTLE = "throttle"
