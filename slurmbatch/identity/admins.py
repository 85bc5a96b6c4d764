"""Who is an administrator: by name, or by a group of the system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slurmbatch import journal
from slurmbatch.accounts import Groups
from slurmbatch.errors import AccountsUnreachable

_log = journal.get("slurmbatch.identity")
_groups = Groups()


@dataclass(frozen=True, slots=True)
class Admins:
    """While the system's groups cannot be looked up, only those are that are named."""

    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    is_in_any: Callable[[str, tuple[str, ...]], bool] = _groups.is_in_any

    def is_one(self, user_id: str) -> bool:
        if user_id in self.names:
            return True
        try:
            return self.is_in_any(user_id, self.groups)
        except AccountsUnreachable as error:
            _log.warning("nobody can tell who is in the administrators' groups",
                         user=user_id, error=error.detail)  # fmt: skip
            return False
