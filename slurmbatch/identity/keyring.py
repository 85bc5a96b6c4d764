"""One's own API keys: what a caller may ask for about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slurmbatch.errors import Conflict, Fault, Forbidden, Invalid, NotFound, Unauthenticated
from slurmbatch.identity.apikeys import new_key
from slurmbatch.journal import get
from slurmbatch.model import ApiKey, Caller, NewKey, Scope, act_of
from slurmbatch.store.keys import Keys

LIVE_AT_MOST = 100
_DAY = 86_400.0
_log = get("slurmbatch.identity")


@dataclass(frozen=True, slots=True)
class Keyring:
    """A key that is made with another one is good for no more, and for no longer, and is revoked
    with it. `days`: how long one lasts at most."""

    keys: Keys
    days: int
    clock: Callable[[], float] = time.time

    def create(self, caller: Caller, new: NewKey, *, request_id: str = "") -> tuple[ApiKey, str]:
        """The key as it is kept, and the key itself. Raises Invalid, Conflict."""
        now = self.clock()
        latest = min(now + self.days * _DAY, caller.expires_at or float("inf"))
        faults = [*_scope_faults(caller, new), *_expiry_faults(new.expires_at, now, latest)]
        if faults:
            raise Invalid(faults)
        kept, secret = new_key(
            caller.user_id, new.expires_at or latest, now, name=new.name,
            scopes=_usual(caller) if new.scopes is None else new.scopes, made_with=caller.key_id,
        )  # fmt: skip
        try:
            act = act_of(caller, now, "key.create", kept.key_id, request_id=request_id,
                         detail=" ".join(sorted(kept.scopes)))  # fmt: skip
            if not self.keys.add_own(kept, LIVE_AT_MOST, act):
                raise Conflict(f"You have {LIVE_AT_MOST} keys that work: revoke one of them first.")
        except LookupError:
            raise Unauthenticated from None
        _log.info("API key made", key=kept.key_id, user=caller.user_id,
                  credential=caller.credential, remote=caller.remote)  # fmt: skip
        return kept, secret

    def all(self, caller: Caller) -> list[ApiKey]:
        """The newest first, also those that work no more."""
        return self.keys.list_keys(caller.user_id)[::-1]

    def one(self, caller: Caller, key_id: str) -> ApiKey:
        found = self.keys.key(key_id)
        if found is None or found.user_id != caller.user_id:
            raise NotFound
        return found

    def revoke(self, caller: Caller, key_id: str, *, request_id: str = "") -> None:
        """With it whatever was made with it; again does no harm. Raises NotFound, Forbidden."""
        self.one(caller, key_id)
        # Whoever has a key may always give it up.
        if key_id != caller.key_id and Scope.SUBMIT not in caller.scopes:
            raise Forbidden(Scope.SUBMIT)
        act = act_of(caller, self.clock(), "key.revoke", key_id, request_id=request_id)
        if self.keys.revoke_key(key_id, act.at, act):
            _log.info("API key revoked", key=key_id, user=caller.user_id,
                      credential=caller.credential, remote=caller.remote)  # fmt: skip


def _usual(caller: Caller) -> frozenset[Scope]:
    """Of what the caller may do, all but the administrators' own, which has to be asked for."""
    return caller.scopes - {Scope.ADMIN} or caller.scopes


def _scope_faults(caller: Caller, new: NewKey) -> Iterator[Fault]:
    more = sorted((new.scopes or frozenset()) - caller.scopes)
    if more:
        yield Fault("/scopes", f"Expected some of {', '.join(sorted(caller.scopes))}, which the "
                    f"credentials have that ask for it; not {', '.join(more)}.")  # fmt: skip


def _expiry_faults(wanted: float | None, now: float, latest: float) -> Iterator[Fault]:
    if wanted is not None and not now < wanted <= latest:
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(latest))
        yield Fault("/expires_at", f"Expected a time that is still to come, at most {until}.")
