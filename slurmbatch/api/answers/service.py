"""How the service is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from slurmbatch.api.answers.parts import Counts, Time


class IntentsView(TypedDict):
    """Job arrays that wait to be handed to Slurm."""

    arrays: int
    jobs: int
    oldest_age_seconds: Annotated[int | None, Field(description="null: none waits.")]


class LooksView(TypedDict):
    """How often Slurm was asked what lives, and how long it took."""

    last_minute: Annotated[int, Field(description="Looks that ended in the last 60 seconds.")]
    mean_seconds: Annotated[float | None, Field(description="null: there were none.")]
    longest_seconds: float | None


class BusyView(TypedDict):
    """What a user has of batches that have not ended."""

    user: str
    live_jobs: Annotated[int, Field(description="That have not ended themselves.")]
    live_batches: int
    submitted_jobs: Counts


class OutageView(TypedDict):
    """That something which the service depends on, or a thread of its own, failed."""

    source: Annotated[str, Field(description="slurmctld, slurmdbd, or one of our threads.")]
    began_at: Time
    ended_at: Annotated[Time, Field(description="Empty while it goes on.")]
    error: str


class ActView(TypedDict):
    """A row of the audit trail."""

    at: Time
    user: str
    what: str
    target: str
    owner: str
    outcome: Literal["done", "refused"]
    credential: str
    remote: str
    request_id: str
    detail: str


class ServiceView(TypedDict):
    """The whole service at one look."""

    at: Time
    began_at: Annotated[Time, Field(description="When it was started: outages are kept since.")]
    intents: IntentsView
    live_batches: int
    submitted_jobs: Annotated[Counts, Field(description="Of batches that have not ended.")]
    looks: LooksView
    users: Annotated[list[BusyView], Field(description="With most live jobs; 10 at most.")]
    outages: Annotated[list[OutageView], Field(description="The newest first; 50 at most.")]
    audit: Annotated[list[ActView], Field(description="The newest first; 50 at most.")]


Report = Annotated[dict[str, Any], Field(description="How the parts of the service are.")]
