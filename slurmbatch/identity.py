"""From the Authorization header to the Caller: API keys, and JSON Web Tokens.

Every failure is the same to the caller. What was wrong stands in the log, without the credential.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import jwt

from slurmbatch import journal
from slurmbatch.errors import Unauthenticated
from slurmbatch.model import ApiKey, Caller

USER_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,127}")
_API_KEY = re.compile(r"sbk_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
_MAX_TOKEN = 8192
# What an unknown key is compared with, so that it takes as long as a known one.
_NOBODY = ApiKey(key_id="", user_id="", secret_hash=bytes(32), created_at=0.0)

log = journal.get("slurmbatch.identity")


class Keys(Protocol):
    """The part of the store that knows the API keys."""

    def key(self, key_id: str) -> ApiKey | None: ...


class Issuer(Protocol):
    """Whose tokens are accepted, as the settings say it."""

    @property
    def issuer(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def algorithms(self) -> tuple[str, ...]: ...
    @property
    def key(self) -> str | bytes: ...
    @property
    def user_claim(self) -> str: ...
    @property
    def leeway(self) -> int: ...


class _Refused(Exception):
    """Why credentials were not accepted: for the log only."""


class Identity:
    """Tells who a caller is."""

    def __init__(
        self, store: Keys, issuers: Iterable[Issuer] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._issuers = {each.issuer: each for each in issuers}
        self._clock = clock

    def authenticate(self, header: str | None) -> Caller:
        """The caller that an Authorization header stands for; raises Unauthenticated."""
        try:
            return self._caller(header or "")
        except _Refused as refusal:
            if header:
                log.info("credentials refused", reason=str(refusal))
            raise Unauthenticated from None

    def known(self, header: str | None) -> Caller | None:
        """The same, and None where `authenticate` raises; nothing is logged."""
        try:
            return self._caller(header or "")
        except _Refused:
            return None

    def _caller(self, header: str) -> Caller:
        scheme, _, rest = header.strip(" \t").partition(" ")
        bearer = scheme.lower() == "bearer"
        credential = rest.strip(" \t") if bearer else scheme
        found = _API_KEY.fullmatch(credential)
        if found and (bearer or not rest):
            return self._caller_of_key(found[1], found[2])
        if not bearer:
            raise _Refused("neither an API key nor a Bearer token")
        return self._caller_of_token(credential)

    def _caller_of_key(self, key_id: str, secret: str) -> Caller:
        kept = self._store.key(key_id)
        same = hmac.compare_digest((kept or _NOBODY).secret_hash, _hash(secret))
        if kept is None or not same:
            raise _Refused(f"API key {key_id}: unknown, or the secret is wrong")
        if kept.revoked_at is not None:
            raise _Refused(f"API key {key_id}: revoked")
        if kept.expires_at is not None and kept.expires_at <= self._clock():
            raise _Refused(f"API key {key_id}: expired")
        return Caller(user_id=kept.user_id, credential=f"key {key_id}")

    def _caller_of_token(self, token: str) -> Caller:
        if not token.isascii() or len(token) > _MAX_TOKEN:
            raise _Refused("token: not ASCII, or too long")
        issuer = self._issuer_of(token)
        claims = _verified(token, issuer)
        _check_times(claims, self._clock(), issuer.leeway)
        user = claims[issuer.user_claim]
        if not isinstance(user, str) or not USER_ID.fullmatch(user):
            raise _Refused(f"token: {issuer.user_claim} is no user name")
        return Caller(user_id=user, credential=f"jwt {issuer.issuer}")

    def _issuer_of(self, token: str) -> Issuer:
        """The issuer that the token says it is from; picks one of ours, and proves nothing."""
        try:
            claimed = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _Refused(f"token: {error}") from None
        issuer = self._issuers.get(claimed) if isinstance(claimed, str) else None
        if issuer is None:
            raise _Refused("token: not from an issuer in the settings")
        return issuer


def _verified(token: str, issuer: Issuer) -> Mapping[str, Any]:
    """The claims, once signature, issuer and audience are right; times are checked apart.

    The key and the algorithms are the settings' own: whatever the token's header says of keys
    (kid, jwk, jku, x5u) is not looked at, and an extension that it calls critical is refused.
    """
    try:
        return jwt.decode(
            token,
            issuer.key,
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "iat", "aud", "iss", issuer.user_claim],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise _Refused(f"token of {issuer.issuer}: {error}") from None


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    # Here and not in PyJWT, which knows no clock but the machine's and takes times in strings.
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, now)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Refused(f"token: {name} is no number")
        if not math.isfinite(value):
            raise _Refused(f"token: {name} is no time")
    if claims["exp"] <= now - leeway:
        raise _Refused("token: expired")
    if claims["iat"] > now + leeway or claims.get("nbf", now) > now + leeway:
        raise _Refused("token: not valid yet")


def new_key(user_id: str, expires_at: float | None, now: float) -> tuple[ApiKey, str]:
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
    )
    return kept, f"sbk_{key_id}_{secret}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
