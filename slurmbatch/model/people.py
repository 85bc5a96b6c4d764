"""Who asks, with what, and what is kept of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class Scope(StrEnum):
    """What credentials are good for. READ: to look. SUBMIT: to change something of one's own.
    ADMIN: what administrators may do beside that."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


USUAL_SCOPES = frozenset((Scope.READ, Scope.SUBMIT))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `credential` names the key or the token's issuer, for logs; it is no secret.

    `scopes`: what they may do with it. `key_id`: of the API key, if it is one, which stops to work
    at `expires_at`. `remote`: the address that the request came from. `once`: the
    credential is used up with this.
    """

    user_id: str
    credential: str
    scopes: frozenset[Scope] = USUAL_SCOPES
    key_id: str = ""
    expires_at: float | None = None
    remote: str = field(default="", compare=False)
    once: bool = field(default=False, compare=False)

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class Act:
    """What the audit trail keeps: who did what to what, from where, with which credential.

    `what`: its kind, such as `batch.cancel`. `target`: the id of what it was done to; `owner`:
    whose that is.
    """

    at: float
    user_id: str
    what: str
    target: str = ""
    owner: str = ""
    outcome: Literal["done", "refused"] = "done"
    credential: str = ""
    remote: str = ""
    request_id: str = ""
    detail: str = ""


def act_of(caller: Caller, at: float, what: str, target: str = "", **more: Any) -> Act:
    """What a caller does, to what is their own unless it is said."""
    told = {"owner": caller.user_id, "credential": caller.credential, "remote": caller.remote}
    return Act(at, caller.user_id, what, target, **{**told, **more})


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: never the secret, only its SHA-256.

    `made_with`: the id of the key that it was made with, and with which it is revoked.
    """

    key_id: str
    user_id: str
    secret_hash: bytes
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    name: str = ""
    scopes: frozenset[Scope] = USUAL_SCOPES
    used_at: float | None = None
    made_with: str = ""

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it was asked for. None: as it comes to whoever asks."""

    name: str = ""
    scopes: frozenset[Scope] | None = None
    expires_at: float | None = None
