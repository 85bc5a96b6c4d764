"""What users may have, and have told to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from slurmbatch.config.section import AnyPath, Complaint, Section, Texts


class WebhookHost(Section):
    """A host that notifications may be sent to. Repeat the table for several.

    Only https, and only to addresses of the public internet, unless it says otherwise.
    """

    samples: ClassVar[tuple[Mapping[str, object], ...]] = ({"name": "ci.example.org"},)

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$|^[0-9A-Fa-f:]+$",
        description="The host as it stands in the address, exactly.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="The port. Left out: that of https (443), or of http (80).",
        examples=[8443],
    )
    allow_http: bool = Field(
        default=False, description="Whether it may be told without TLS, so that all can listen."
    )
    allow_private: bool = Field(
        default=False,
        description=(
            "Whether it may be at an address of a private network, this machine's own included. "
            "Users then reach whatever listens there, on this port."
        ),
    )


class Webhooks(Section):
    """Notifications of what becomes of batches, which users ask for. Off unless both are there."""

    secret_file: AnyPath | None = Field(
        default=None,
        description=(
            "What notifications are signed with: `whsec_` and 24 to 64 random bytes in base64, in "
            "a file that only its owner can read. As `secret_file` of an issuer."
        ),
        examples=["webhook.secret"],
    )
    hosts: Annotated[tuple[WebhookHost, ...], Field(strict=False)] = Field(
        default=(), description="The hosts that may be told."
    )

    def incoherent(self) -> Iterator[Complaint]:
        if bool(self.hosts) != (self.secret_file is not None):
            there, missing = ("hosts", "secret_file") if self.hosts else ("secret_file", "hosts")
            yield missing, f"found {there} without it, expected both or neither"


class LimitKeys(Section):
    """The keys that `[limits]` and its exceptions share."""

    live_jobs: int | None = Field(
        default=None,
        ge=0,
        description="Jobs of one user that have not ended. 0, or left out: no limit.",
        examples=[100_000],
    )
    live_batches: int | None = Field(
        default=None,
        ge=0,
        description="Batches of one user that have not ended. 0, or left out: no limit.",
        examples=[1000],
    )
    stored_bytes: int | None = Field(
        default=None,
        ge=0,
        description=(
            "Bytes of arguments, as they were sent, of all batches of one user, until those are "
            "deleted. 0, or left out: no limit."
        ),
        examples=[1_000_000_000],
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=0,
        le=6_000_000,
        description=(
            "Requests of one user in a minute, as many as that at once; those that are answered "
            "with 304 do not count. 0, or left out: no limit."
        ),
        examples=[6000],
    )


class LimitsException(LimitKeys):
    """Other limits for some users. Repeat the table for several.

    The first one that names a user, or a group of theirs, counts; what it leaves out is as for all.
    """

    samples: ClassVar = ({"users": ["portal"], "live_jobs": 0},)

    users: Texts = Field(default=(), description="The users it is for.")
    groups: Texts = Field(default=(), description="Unix groups whose members it is for.")

    def incoherent(self) -> Iterator[Complaint]:
        if not self.users and not self.groups:
            yield "users or groups", "found neither, expected at least one of them"


class Limits(LimitKeys):
    """What one user may take up, and how often they may ask. Tools have limits of their own."""

    exceptions: Annotated[tuple[LimitsException, ...], Field(strict=False)] = ()
