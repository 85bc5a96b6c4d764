"""JSON Web Tokens: which issuer's they are, whether they are good, and who they stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from slurmbatch.identity.apikeys import USER_ID
from slurmbatch.identity.refusal import Refused
from slurmbatch.model import Caller, Scope

_MAX_TOKEN = 8192
_MAX_CLAIM = 256


class KeySource(Protocol):
    """Keys by their ids."""

    def find(self, kid: object) -> Any: ...


class Issuer(Protocol):
    """Whose tokens are accepted, as the settings say it."""

    @property
    def issuer(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def algorithms(self) -> tuple[str, ...]: ...
    @property
    def key(self) -> str | bytes | KeySource: ...
    @property
    def user_claim(self) -> str: ...
    @property
    def leeway(self) -> int: ...
    @property
    def user_pattern(self) -> str: ...
    @property
    def users(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """The issuers by their names; of those that publish their keys, where these are kept."""

    issuers: Mapping[str, Issuer]
    published: Mapping[str, KeySource]

    def caller_of(self, token: str, now: float) -> Caller:
        """Whom the token stands for. Raises Refused, and Unavailable where that cannot be told."""
        if not token.isascii() or len(token) > _MAX_TOKEN:
            raise Refused("token: not ASCII, or too long")
        issuer = _issuer_of(self.issuers, token)
        claims = _verified(token, issuer, self._key(token, issuer))
        _check_times(claims, now, issuer.leeway)
        user = _user_of(issuer, claims[issuer.user_claim])
        if user is None or not USER_ID.fullmatch(user):
            raise Refused(f"token: {issuer.user_claim} is no user name, or nobody's")
        return Caller(user_id=user, credential=f"jwt {issuer.issuer}", scopes=frozenset(Scope))

    def _key(self, token: str, issuer: Issuer) -> Any:
        """The settings' own, or the one of those that are known whose id the token names."""
        source = self.published.get(issuer.issuer, issuer.key)
        if isinstance(source, str | bytes):
            return source
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Refused(f"token: {error}") from None
        found = source.find(kid)
        if found is None:
            raise Refused(f"token of {issuer.issuer}: there is no such key")
        return found


def _user_of(issuer: Issuer, claim: object) -> str | None:
    """By the map, or by the pattern, of which all has to match, or the claim as it is."""
    if not isinstance(claim, str) or len(claim) > _MAX_CLAIM:
        return None
    if issuer.users:
        return issuer.users.get(claim)
    if not issuer.user_pattern:
        return claim
    found = re.fullmatch(issuer.user_pattern, claim)
    return found[1] if found else None


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


def _verified(token: str, issuer: Issuer, key: Any) -> Mapping[str, Any]:
    """The claims, once signature, issuer and audience are right; times are checked apart.

    The algorithms are the settings' own, and so is the key, or the issuer's: whatever the token's
    header holds of keys (jwk, jku, x5u) is not looked at, and an extension that it calls critical
    is refused.
    """
    try:
        return jwt.decode(
            token,
            key,
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "iat", "aud", "iss", "sub", issuer.user_claim],
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
