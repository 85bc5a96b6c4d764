"""Jobs, and Slurm, that they are handed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slurmbatch.config.section import (
    AbsolutePath,
    AnyPath,
    Complaint,
    Groups,
    LogPath,
    Section,
    shown,
)

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Jobs(Section):
    """What jobs may be, and where they leave what they print."""

    log_dir: LogPath = Field(
        description=(
            "The directory for what jobs print, one file a job. The nodes must see it under the "
            "same path. No % and no backslash in it, because Slurm would expand them."
        ),
        examples=["/var/spool/slurmbatch/logs"],
    )
    work_dir: AbsolutePath | None = Field(
        default=None,
        description="The directory in which jobs start. Left out: the home of the jobs' user.",
        examples=["/home/slurmbatch"],
    )
    max_jobs_per_batch: int = Field(
        default=100_000, ge=1, le=10_000_000, description="A batch of more jobs is refused."
    )
    max_args_bytes: int = Field(
        default=65_536,
        ge=1,
        description="The most bytes that all argument values of one job may have.",
    )
    claims_dir: AbsolutePath | None = Field(
        default=None,
        description=(
            "A directory that all nodes share, where a job notes that it has started, so that it "
            "never runs twice even if Slurm forgets that it ran. Left out: no notes."
        ),
        examples=["/var/spool/slurmbatch/claims"],
    )


class Slurm(Section):
    """How to reach Slurm, and how patient to be with it."""

    backend: Literal["auto", "commands", "pyslurm"] = Field(
        default="auto",
        description=(
            "The way to Slurm: its commands, or the library pyslurm. auto: pyslurm where it is "
            "installed and of the cluster's version, else the commands."
        ),
    )
    conf: AbsolutePath | None = Field(
        default=None,
        description="The slurm.conf to use. Left out: Slurm finds its own.",
        examples=["/etc/slurm/slurm.conf"],
    )
    bin_dir: AbsolutePath | None = Field(
        default=None,
        description=(
            "The directory with sbatch, squeue and the others, for jobs, too. Left out: as in PATH."
        ),
        examples=["/usr/bin"],
    )
    run_as: Literal["service", "sudo", "slurm-jwt"] = Field(
        default="service",
        description=(
            "As whom jobs run. service: all as the account of the service. sudo, slurm-jwt: as the "
            "Unix account that has the user's name, by a rule of sudo's or with tokens for Slurm's "
            "auth/jwt; the service's account must be an Operator in Slurm then (docs/running.md)."
        ),
    )
    jwt_key_file: AnyPath | None = Field(
        default=None,
        description=(
            "The key of Slurm's auth/jwt (jwt_key), for slurm-jwt, in a file that only its owner "
            "can read. Whoever has it is anybody on the cluster. As `secret_file` of an issuer."
        ),
        examples=["/etc/slurmbatch/jwt_hs256.key"],
    )
    command_timeout: Seconds = Field(
        default=20.0, description="Seconds after which a question to Slurm counts as unanswered."
    )
    submit_timeout: Seconds = Field(
        default=30.0, description="Seconds after which a submission's fate counts as unknown."
    )
    poll_interval: Seconds = Field(
        default=1.0,
        description=(
            "The least seconds between two looks at the jobs: those while something is about to "
            "change. Longer while nothing does, and when Slurm is slow."
        ),
    )
    poll_interval_most: Seconds = Field(
        default=15.0, description="The most seconds between two looks at the jobs."
    )
    absence_grace: Seconds = Field(
        default=60.0,
        description="Seconds for which a job that Slurm shows nowhere is still believed to live.",
    )
    max_script_bytes: int = Field(
        default=262_144,
        ge=32_768,
        le=4_194_304,
        description="The most bytes of one job script; larger arrays are split.",
    )
    array_size: int | None = Field(
        default=None,
        ge=1,
        description="The most jobs in one Slurm array. Left out: as many as Slurm allows.",
        examples=[1000],
    )

    def incoherent(self) -> Iterator[Complaint]:
        least, most = self.poll_interval, self.poll_interval_most
        if most < least:
            yield "poll_interval_most", f"found {most}, expected at least {least}, poll_interval"
        if self.run_as == "slurm-jwt" and self.jwt_key_file is None:
            yield "jwt_key_file", "found nothing, expected a file, for run_as = 'slurm-jwt'"
        if self.runs_as_persons and self.backend == "pyslurm":
            yield (
                "backend",
                f"found 'pyslurm' with run_as = {shown(self.run_as)}, expected commands",
            )

    @property
    def runs_as_persons(self) -> bool:
        return self.run_as != "service"


class FilesystemTable(Section):
    """A filesystem that a batch may ask for. Repeat the table for several.

    At least one of `feature` and `licence` says what it means to Slurm.
    """

    samples: ClassVar[tuple[Mapping[str, object], ...]] = (
        {
            "id": "scratch",
            "path": "/scratch",
            "description": "Fast, shared by all nodes, emptied every month",
            "feature": "scratch",
        },
    )

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="How batches name it.")
    path: AbsolutePath = Field(
        description="Where the nodes have it; jobs see it as SLURMBATCH_FS_ID."
    )
    description: str = Field(default="", description="For the users.")
    feature: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_.-]+)?$",
        description="The node feature that stands for it (--constraint).",
    )
    licence: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_.@-]+(:[1-9][0-9]{0,8})?)?$",
        description="The licence that each job takes (--licenses): `name` or `name:count`.",
        examples=["scratch:1"],
    )
    groups: Groups | None = Field(
        default=None,
        description=(
            "The Unix groups whose members see it and may use it. Left out: everybody. For all "
            "others it is as if it were not there."
        ),
        examples=[["chemistry"]],
    )

    def incoherent(self) -> Iterator[Complaint]:
        if not self.feature and not self.licence:
            yield "feature or licence", "found neither, expected at least one of them"


class Tools(Section):
    """What users may run: one file for each tool, in a directory."""

    dir: AnyPath = Field(
        default=Path("tools.d"),
        description="The directory with a TOML file for each tool. Relative to this file.",
    )
