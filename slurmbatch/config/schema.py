"""The settings file: each key with its type, limits, default and description, in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slurmbatch.config.issuers import address_mistakes, rule_mistakes
from slurmbatch.config.keys import algorithm_mistakes
from slurmbatch.config.section import (
    AbsolutePath,
    AnyPath,
    Complaint,
    Groups,
    LogPath,
    Section,
    Texts,
    shown,
)

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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


class JwtIssuer(Section):
    """Somebody whose tokens (Bearer JWT) are accepted. Repeat the table for several.

    The algorithms are of one family: HS256, HS384, HS512 with a `secret_file`; or with a
    `public_key_file` or a `jwks_url` RS256 to RS512 and PS256 to PS512, or ES256, ES384, ES512, or
    EdDSA. The user is what the claim says, or what `user_pattern` or `users` make of it.
    """

    exactly_one: ClassVar[tuple[str, ...]] = ("secret_file", "public_key_file", "jwks_url")
    samples: ClassVar[tuple[Mapping[str, object], ...]] = (
        {
            "issuer": "https://login.example.org",
            "audience": "slurmbatch",
            "algorithms": ["RS256"],
            "public_key_file": "login.example.org.pem",
        },
        {
            "issuer": "https://portal.example.org",
            "audience": "slurmbatch",
            "algorithms": ["HS256"],
            "secret_file": "portal.example.org.secret",
        },
        {
            "issuer": "https://id.example.org/realms/hpc",
            "audience": "slurmbatch",
            "algorithms": ["ES256"],
            "jwks_url": "https://id.example.org/realms/hpc/protocol/openid-connect/certs",
        },
    )

    issuer: str = Field(min_length=1, description="The token's `iss`, exactly.")
    audience: str = Field(min_length=1, description="What the token's `aud` must hold.")
    algorithms: Texts = Field(
        min_length=1, description="The signatures that are accepted, all of one family."
    )
    public_key_file: AnyPath | None = Field(
        default=None,
        description=(
            "The public key in PEM, or a set of them (JWKS). Relative to this file, or absolute."
        ),
    )
    secret_file: AnyPath | None = Field(
        default=None,
        description=(
            "The shared secret, at least as long as the hash (32 bytes for HS256), in a file that "
            "only its owner can read. Line ends at its end do not count. What begins with "
            "$CREDENTIALS_DIRECTORY/ is a credential of the systemd unit (LoadCredential=)."
        ),
    )
    jwks_url: str | None = Field(
        default=None,
        max_length=2000,
        description=(
            "Where the issuer publishes its keys (JWKS): https. Asked every five minutes; while it "
            "is away, the keys that are known stay good."
        ),
    )
    jwks_http: bool = Field(
        default=False,
        description="Whether that may be http, of this very machine: for trying things out.",
    )
    user_claim: str = Field(
        default="sub", min_length=1, description="The claim that names the user on this cluster."
    )
    user_pattern: str = Field(
        default="",
        max_length=500,
        description=(
            "A regular expression for all of the claim, with one group: that is the user. A claim "
            "that does not match is nobody's. Left out: the claim itself is the user."
        ),
        examples=["([a-z][a-z0-9]*)@example[.]org"],
    )
    users: dict[str, str] = Field(
        default={},
        description="Or else: the user for each claim, and no other has one.",
    )
    leeway: int = Field(
        default=30, ge=0, le=30, description="Seconds by which clocks may differ; at most 30."
    )

    def incoherent(self) -> Iterator[Complaint]:
        named = ("public_key_file", "jwks_url")
        public_key = next((each for each in named if getattr(self, each) is not None), "")
        has_secret = self.secret_file is not None
        yield from algorithm_mistakes(self.algorithms, has_secret, public_key)
        yield from address_mistakes(self.jwks_url, self.jwks_http)
        yield from rule_mistakes(self.user_pattern, self.users)


class MungeLogin(Section):
    """Who has an account on the cluster comes in with it, by munge: for `slurmbatch login` on one
    of its machines. Off without `urls`.
    """

    urls: Texts = Field(
        default=(),
        description=(
            "The addresses of this service, as users log in to it. A credential has to be made for "
            "one of them."
        ),
        examples=[["https://slurmbatch.example.org"]],
    )
    socket: AbsolutePath | None = Field(
        default=None,
        description="The socket of munged. Left out: the usual one.",
        examples=["/run/munge/munge.socket.2"],
    )


class Auth(Section):
    """Who may come in, besides those with an API key."""

    unique: ClassVar[Mapping[str, str]] = {"jwt": "issuer"}

    admins: Texts = Field(
        default=(),
        description=(
            "Users who may see and cancel batches of others, with a key that has the scope admin, "
            "a token, or munge. All that they do with it is in the audit trail."
        ),
        examples=[["root-anna"]],
    )
    admin_groups: Texts = Field(
        default=(),
        description="Groups of the system whose members may do so, too.",
        examples=[["slurm-admins"]],
    )
    key_days: int = Field(
        default=365,
        ge=1,
        le=36_500,
        description="Days for which an API key lasts at most that users make for themselves.",
    )
    munge: MungeLogin = MungeLogin()
    jwt: Annotated[tuple[JwtIssuer, ...], Field(strict=False)] = Field(
        default=(), description="The issuers of tokens."
    )


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
