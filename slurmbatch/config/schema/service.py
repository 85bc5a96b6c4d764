"""The service itself: where it listens, what it keeps, logs and counts."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field

from slurmbatch.config.section import AbsolutePath, AnyPath, Complaint, Section, shown


class Server(Section):
    """Where and how the service listens."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on. Put a proxy that speaks TLS in front of it.",
    )
    port: int = Field(default=8765, ge=1, le=65535, description="The TCP port to listen on.")
    threads: int = Field(
        default=8, ge=1, le=256, description="Requests that are worked on at a time."
    )
    max_body_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description=(
            "A larger request body is refused with 413. Memory does not grow with it: a million "
            "jobs have some 40 MB."
        ),
    )
    connection_limit: int = Field(
        default=4096, ge=1, description="Connections that may be open at a time; further ones wait."
    )
    channel_timeout: int = Field(
        default=60,
        ge=1,
        description=(
            "Seconds after which a connection is closed that is idle, or takes no answer; or on "
            "which a request comes in at less than 1 KiB a second."
        ),
    )
    submit_wait: float = Field(
        default=3.0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds for which the answer to a new batch waits for Slurm's word on it.",
    )
    precedent: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description=(
            "Seconds for which Slurm's having accepted a batch spares the like that wait: of the "
            "same user, tool, hardware and Slurm options, and about as many jobs. 0: each waits."
        ),
    )
    trusted_proxy: str | None = Field(
        default=None,
        examples=["unix"],
        description=(
            "The IP address of the proxy in front, or `unix` for whoever may connect to a Unix "
            "socket. X-Forwarded-For, -Proto and -Host count only if they come from there, and of "
            "several hops only the last. Left out: they never do."
        ),
    )

    def incoherent(self) -> Iterator[Complaint]:
        if self.trusted_proxy not in (None, "unix"):
            try:
                ip_address(str(self.trusted_proxy))
            except ValueError:
                yield (
                    "trusted_proxy",
                    f"found {shown(self.trusted_proxy)}, expected one IP address, or unix",
                )


class Store(Section):
    """The database."""

    path: AbsolutePath = Field(
        default=Path("/var/lib/slurmbatch/slurmbatch.sqlite"),
        description="The SQLite file, on a local disk (SQLite does not work on NFS).",
    )
    keep_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description=(
            "Days after its end for which a batch is kept; then it is removed, with what it "
            "printed. Left out: until it is deleted."
        ),
        examples=[365],
    )
    audit_rows: int = Field(
        default=500_000,
        ge=1000,
        le=100_000_000,
        description=(
            "How many acts the audit trail keeps, the newest ones; and none for longer than "
            "keep_days."
        ),
    )


class Log(Section):
    """What the service itself logs."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are written."
    )


class Metrics(Section):
    """What Prometheus may ask, at /metrics on an address of its own. Without a port: nothing."""

    host: str = Field(default="127.0.0.1", min_length=1, description="The address to listen on.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="The TCP port to listen on.", examples=[9465]
    )
    token_file: AnyPath | None = Field(
        default=None,
        description=(
            "A token that has to be sent (Authorization: Bearer), at least 16 characters, in a "
            "file that only its owner can read. Relative to this file, absolute, or a credential "
            "as for auth.jwt. Left out: whoever reaches the port may ask."
        ),
        examples=["metrics.token"],
    )

    def incoherent(self) -> Iterator[Complaint]:
        if self.token_file is not None and self.port is None:
            yield "port", "found nothing beside token_file, expected a port"
