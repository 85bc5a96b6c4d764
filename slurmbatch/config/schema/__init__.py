"""The settings file: each key with its type, limits, default and description, in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from slurmbatch.config.schema.jobs import FilesystemTable, Jobs, Slurm, Tools
from slurmbatch.config.schema.login import Auth, JwtIssuer, MungeLogin
from slurmbatch.config.schema.service import Log, Metrics, Server, Store
from slurmbatch.config.schema.users import LimitKeys, Limits, Webhooks
from slurmbatch.config.section import Complaint, Section, shown

__all__ = [
    "Auth",
    "FilesystemTable",
    "Jobs",
    "JwtIssuer",
    "LimitKeys",
    "Limits",
    "Log",
    "Metrics",
    "MungeLogin",
    "Server",
    "SettingsFile",
    "Slurm",
    "Store",
    "Tools",
    "Webhooks",
]


class SettingsFile(Section):
    """The whole settings file."""

    unique: ClassVar[Mapping[str, str]] = {"filesystems": "id"}

    server: Server = Server()
    store: Store = Store()
    jobs: Jobs = Field(description="a table with at least log_dir")
    slurm: Slurm = Slurm()
    auth: Auth = Auth()
    webhooks: Webhooks = Webhooks()
    limits: Limits = Limits()
    log: Log = Log()
    metrics: Metrics = Metrics()
    tools: Tools = Tools()
    filesystems: Annotated[tuple[FilesystemTable, ...], Field(strict=False)] = ()

    def incoherent(self) -> Iterator[Complaint]:
        """Ids must also differ as names of environment variables."""
        seen: dict[str, str] = {}
        for index, filesystem in enumerate(self.filesystems):
            other = seen.setdefault(filesystem.id.replace("-", "_"), filesystem.id)
            if other != filesystem.id:
                wanted = f"an id that differs from {shown(other)} in more than - and _"
                found = shown(filesystem.id)
                yield f"filesystems[{index}].id", f"found {found}, expected {wanted}"
