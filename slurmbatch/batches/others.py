"""Whose batch it is, and the audit trail: of what callers change, and of what administrators see or
do of others'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slurmbatch.errors import Forbidden
from slurmbatch.journal import get
from slurmbatch.model import Act, Caller, Scope, act_of
from slurmbatch.store import Store, is_id

# Who goes on looking at the same thing has looked at it once.
ONCE_IN = 600.0
_KEPT_AT_MOST = 4096
_log = get("audit")


def who(caller: Caller, request_id: str) -> dict[str, Any]:
    """For a line of the log."""
    return {"user": caller.user_id, "credential": caller.credential, "remote": caller.remote,
            "request_id": request_id}  # fmt: skip


class Others:
    """Nobody but an administrator has anything to do with batches of others."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[tuple[str, ...], float] = {}

    def seen(self, caller: Caller, batch_id: str) -> str:
        """Whose batch a caller looks at: somebody else's only for an administrator, and then that
        is kept before anything of it is told."""
        if not caller.is_admin:
            return caller.user_id
        return self._owner(caller, batch_id, "batch.see") or caller.user_id

    def listed(self, caller: Caller, user_id: str | None) -> str:
        """Whose batches a caller lists. Raises Forbidden."""
        if user_id is None or user_id == caller.user_id:
            return caller.user_id
        if not caller.is_admin:
            raise Forbidden(Scope.ADMIN)
        self._note(act_of(caller, self._clock(), "batch.list", owner=user_id))
        return user_id

    def overlooks(self, caller: Caller) -> None:
        """That a caller looks at the service as a whole. Raises Forbidden."""
        if not caller.is_admin:
            raise Forbidden(Scope.ADMIN)
        self._note(act_of(caller, self._clock(), "service.see", owner=""))

    def cancelled(self, caller: Caller, batch_id: str, request_id: str) -> tuple[str, Act]:
        """Whose batch a caller cancels, and what the trail is to keep of it."""
        owner = caller.user_id
        if caller.is_admin and is_id(batch_id):
            owner = self._store.batches.owner(batch_id) or owner
        return owner, act_of(caller, self._clock(), "batch.cancel", batch_id, owner=owner,
                             request_id=request_id)  # fmt: skip

    def refused(self, caller: Caller, what: str, batch_id: str, request_id: str) -> None:
        """What an administrator wanted to do, and may not, or could not."""
        if caller.is_admin and is_id(batch_id):
            owner = self._store.batches.owner(batch_id) or ""
            self._note(act_of(caller, self._clock(), what, batch_id, owner=owner,
                              outcome="refused", request_id=request_id))  # fmt: skip

    def forbidden(self, caller: Caller, what: str, request_id: str) -> None:
        """What the credentials of an administrator are not good for."""
        if caller.is_admin:
            self._note(act_of(caller, self._clock(), "request", owner="", outcome="refused",
                              request_id=request_id, detail=what))  # fmt: skip

    def _owner(self, caller: Caller, batch_id: str, what: str) -> str | None:
        owner = self._store.batches.owner(batch_id) if is_id(batch_id) else None
        if owner is None:
            self.refused(caller, what, batch_id, "")
        elif owner != caller.user_id:
            self._note(act_of(caller, self._clock(), what, batch_id, owner=owner))
        return owner

    def _note(self, act: Act) -> None:
        key = (act.user_id, act.credential, act.what, act.target, act.owner, act.outcome,
               act.detail)  # fmt: skip
        if act.at - self._noted.get(key, float("-inf")) < ONCE_IN:
            return
        self._store.audit.add(act)
        if len(self._noted) >= _KEPT_AT_MOST:
            self._noted.clear()
        self._noted[key] = act.at
        _log.info("act of an administrator", what=act.what, outcome=act.outcome, target=act.target,
                  owner=act.owner, user=act.user_id, credential=act.credential,
                  remote=act.remote, detail=act.detail)  # fmt: skip
