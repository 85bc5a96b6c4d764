"""What is told of batches, and of the service as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from slurmbatch.model.people import Act
from slurmbatch.model.words import Status


@dataclass(frozen=True, slots=True)
class Outage:
    """That something we depend on, or a thread of ours, failed. `ended` None: it does so still."""

    source: str
    began: float
    ended: float | None
    error: str


@dataclass(frozen=True, slots=True)
class Busy:
    """What one user has of batches that have not ended, and their jobs by status."""

    user_id: str
    batches: int
    counts: Mapping[Status, int]

    @property
    def live(self) -> int:
        ended = self.counts[Status.SUCCEEDED] + self.counts[Status.FAILED]
        return sum(self.counts.values()) - ended


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole service at one look. `intents` are arrays that wait to be handed over, the oldest
    of them made at `oldest_intent`; `looks` the seconds that each look at Slurm of the last minute
    has taken. Users with the most live jobs, outages and acts of the newest come first."""

    at: float
    began: float
    intents: int
    intent_jobs: int
    oldest_intent: float | None
    batches: int
    counts: Mapping[Status, int]
    looks: Sequence[float]
    users: Sequence[Busy]
    outages: Sequence[Outage]
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be told: the event, and the batch as it is now."""

    delivery_id: str
    event: str
    occurred_at: float
    tries: int
    url: str
    host: str
    batch_id: str
    user_id: str
    tool_id: str
    name: str
    n_jobs: int
    cancelled: bool
    counts: Mapping[Status, int]


class DeliveryState(StrEnum):
    """What has become of a notification."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Notification:
    """One that was made, for its batch's owner: `last_at` and `last_error` are of the last try,
    `next_at` is when it is tried again."""

    event: str
    host: str
    state: DeliveryState
    attempts: int
    last_error: str
    occurred_at: float
    last_at: float | None
    next_at: float | None
