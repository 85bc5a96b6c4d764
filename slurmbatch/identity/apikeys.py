"""API keys: how they look, how they are made, and who somebody is who has one.

256 random bits, so that a plain hash of them is enough.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Protocol

from slurmbatch.identity.refusal import Refused
from slurmbatch.identity.uses import Uses
from slurmbatch.model import USUAL_SCOPES, ApiKey, Caller, Scope

USER_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,127}")
_API_KEY = re.compile(r"sbk_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
# What an unknown key is compared with, so that it takes as long as a known one.
_NOBODY = ApiKey(key_id="", user_id="", secret_hash=bytes(32), created_at=0.0)


class Keys(Protocol):
    """The part of the store that knows the API keys."""

    def key(self, key_id: str) -> ApiKey | None: ...


def parse(text: str) -> tuple[str, str] | None:
    """The id and the secret of what looks like a key; None: it does not."""
    found = _API_KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def caller_of(keys: Keys, key_id: str, secret: str, now: float, uses: Uses | None = None) -> Caller:
    """Whose key it is. Raises Refused."""
    kept = keys.key(key_id)
    same = hmac.compare_digest((kept or _NOBODY).secret_hash, _hash(secret))
    if kept is None or not same:
        raise Refused(f"API key {key_id}: unknown, or the secret is wrong")
    state = kept.state(now)
    if state != "active":
        raise Refused(f"API key {key_id}: {state}")
    if uses is not None:
        uses.note(kept, now)
    return Caller(
        user_id=kept.user_id,
        credential=f"key {key_id}",
        scopes=kept.scopes,
        key_id=key_id,
        expires_at=kept.expires_at,
    )


def new_key(
    user_id: str,
    expires_at: float | None,
    now: float,
    *,
    name: str = "",
    scopes: frozenset[Scope] = USUAL_SCOPES,
    made_with: str = "",
) -> tuple[ApiKey, str]:
    """A new API key: what is kept of it, and the key itself, which nobody can show again."""
    if not USER_ID.fullmatch(user_id):
        raise ValueError(f"not a user name: {user_id!r}")
    key_id = base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    kept = ApiKey(
        key_id=key_id,
        user_id=user_id,
        secret_hash=_hash(secret),
        created_at=now,
        expires_at=expires_at,
        name=name,
        scopes=scopes,
        made_with=made_with,
    )
    return kept, f"sbk_{key_id}_{secret}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
