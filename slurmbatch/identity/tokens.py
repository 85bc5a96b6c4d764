"""JSON Web Tokens: which issuer's they are, whether they are good, and who they stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import jwt

from slurmbatch.identity.apikeys import USER_ID
from slurmbatch.identity.refusal import Refused
from slurmbatch.model import Caller, Scope

_MAX_TOKEN = 8192


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


def caller_of(issuers: Mapping[str, Issuer], token: str, now: float) -> Caller:
    """Whom the token stands for. Raises Refused."""
    if not token.isascii() or len(token) > _MAX_TOKEN:
        raise Refused("token: not ASCII, or too long")
    issuer = _issuer_of(issuers, token)
    claims = _verified(token, issuer)
    _check_times(claims, now, issuer.leeway)
    user = claims[issuer.user_claim]
    if not isinstance(user, str) or not USER_ID.fullmatch(user):
        raise Refused(f"token: {issuer.user_claim} is no user name")
    return Caller(user_id=user, credential=f"jwt {issuer.issuer}", scopes=frozenset(Scope))


def _issuer_of(issuers: Mapping[str, Issuer], token: str) -> Issuer:
    """The issuer that the token says it is from; picks one of ours, and proves nothing."""
    try:
        claimed = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise Refused(f"token: {error}") from None
    issuer = issuers.get(claimed) if isinstance(claimed, str) else None
    if issuer is None:
        raise Refused("token: not from an issuer in the settings")
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
        raise Refused(f"token of {issuer.issuer}: {error}") from None


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    # Here and not in PyJWT, which knows no clock but the machine's and takes times in strings.
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, now)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(f"token: {name} is no number")
        if not math.isfinite(value):
            raise Refused(f"token: {name} is no time")
    if claims["exp"] <= now - leeway:
        raise Refused("token: expired")
    if claims["iat"] > now + leeway or claims.get("nbf", now) > now + leeway:
        raise Refused("token: not valid yet")
