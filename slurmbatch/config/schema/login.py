"""Who is let in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from slurmbatch.config.issuers import address_mistakes, rule_mistakes
from slurmbatch.config.keys import algorithm_mistakes
from slurmbatch.config.section import AbsolutePath, AnyPath, Complaint, Section, Texts


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
