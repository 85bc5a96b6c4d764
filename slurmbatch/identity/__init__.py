"""From the Authorization header to the Caller: API keys, JSON Web Tokens, munge credentials.

Every failure is the same to the caller. What was wrong stands in the log, without the credential.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from slurmbatch import journal
from slurmbatch.errors import Unauthenticated
from slurmbatch.identity import apikeys
from slurmbatch.identity.apikeys import USER_ID, Keys, new_key
from slurmbatch.identity.munge import Munge
from slurmbatch.identity.refusal import Refused
from slurmbatch.identity.tokens import Issuer, KeySource, Tokens
from slurmbatch.identity.uses import Uses
from slurmbatch.model import Caller, Scope

__all__ = ["USER_ID", "Identity", "new_key"]

log = journal.get("slurmbatch.identity")


def _nobody(_user_id: str) -> bool:
    return False


class Identity:
    """Tells who a caller is. `uses` is told which keys are used; `is_admin` says who is one;
    `published` are the keys of the issuers that publish them."""

    def __init__(
        self,
        store: Keys,
        issuers: Iterable[Issuer] = (),
        clock: Callable[[], float] = time.time,
        uses: Uses | None = None,
        is_admin: Callable[[str], bool] = _nobody,
        published: Mapping[str, KeySource] | None = None,
        munge: Munge | None = None,
    ) -> None:
        self._store = store
        self._tokens = Tokens({each.issuer: each for each in issuers}, published or {})
        self._clock = clock
        self._uses = uses
        self._is_admin = is_admin
        self._munge = munge or Munge()

    def authenticate(self, header: str | None) -> Caller:
        """The caller that an Authorization header stands for; raises Unauthenticated."""
        try:
            return self._caller(header or "")
        except Refused as refusal:
            if header:
                log.info("credentials refused", reason=str(refusal))
            raise Unauthenticated from None

    def known(self, header: str | None) -> Caller | None:
        """The same, and None where `authenticate` raises; nothing is logged, nor used up."""
        if header is None or _parts(header)[0] == "munge":
            return None
        try:
            return self._caller(header)
        except Refused:
            return None

    def by_key(self, header: str | None) -> Caller | None:
        """The same for API keys only, and none of an administrator's, whose groups may have to be
        looked up: one read of the database, which nothing has to be waited for."""
        found = _key_in(header or "")
        if found is None:
            return None
        try:
            caller = apikeys.caller_of(self._store, *found, self._clock(), self._uses)
        except Refused:
            return None
        return None if caller.is_admin else caller

    def _caller(self, header: str) -> Caller:
        caller = self._by_credential(header)
        # A credential that is good for it makes nobody an administrator.
        if caller.is_admin and not self._is_admin(caller.user_id):
            return replace(caller, scopes=caller.scopes - {Scope.ADMIN})
        return caller

    def _by_credential(self, header: str) -> Caller:
        found = _key_in(header)
        if found:
            return apikeys.caller_of(self._store, *found, self._clock(), self._uses)
        scheme, credential = _parts(header)
        if scheme == "munge":
            return self._munge.caller_of(credential)
        if scheme != "bearer":
            raise Refused("neither an API key, a Bearer token nor a munge credential")
        return self._tokens.caller_of(credential, self._clock())


def _parts(header: str) -> tuple[str, str]:
    """The scheme, in small letters, and what comes after it."""
    scheme, _, rest = header.strip(" \t").partition(" ")
    return scheme.lower(), rest.strip(" \t")


def _key_in(header: str) -> tuple[str, str] | None:
    """The id and the secret of an API key, which stands alone, or after `Bearer`."""
    scheme, credential = _parts(header)
    return apikeys.parse(credential if scheme == "bearer" else header.strip(" \t"))
