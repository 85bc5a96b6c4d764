"""What one user, or all users of a tool, may take up: jobs and batches that have not ended, bytes,
and requests a minute. What is not said, or 0, is no limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from slurmbatch.errors import AccountsUnreachable

IsInAny = Callable[[str, tuple[str, ...]], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one user's."""

    live_jobs: int | None = None
    live_batches: int | None = None
    stored_bytes: int | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Of jobs and batches of one tool: of all users' together, and of each one's."""

    live_jobs: int | None = None
    live_batches: int | None = None
    live_jobs_of_a_user: int | None = None
    live_batches_of_a_user: int | None = None


@dataclass(frozen=True, slots=True)
class Exempt:
    """Other limits for some users; what it says nothing of stays as for everybody."""

    limits: Limits
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of each user: of several tables the first one that names them counts."""

    everybody: Limits = Limits()
    exempt: tuple[Exempt, ...] = ()

    def of(self, user_id: str, is_in_any: IsInAny) -> Limits:
        """While groups cannot be looked up, nobody is in one."""
        for each in self.exempt:
            if user_id in each.users or (each.groups and _is_in(user_id, each.groups, is_in_any)):
                return _over(each.limits, self.everybody)
        return self.everybody


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit that a new batch has to fit under. `what` is counted: jobs, batches or bytes; of
    this user, of this tool, or of both."""

    name: str
    what: str
    most: int
    user_id: str | None = None
    tool_id: str | None = None


def bounds(
    user: Limits, user_id: str, tool: ToolLimits, tool_id: str, *, stored: bool = True
) -> tuple[Bound, ...]:
    """All that a batch of this user's, with this tool, has to fit under.

    `stored`: what it takes to keep it counts, too.
    """
    return tuple(_bounds(user, user_id, tool, tool_id, stored))


def _bounds(
    user: Limits, user_id: str, tool: ToolLimits, tool_id: str, stored: bool
) -> Iterator[Bound]:
    for what in ("jobs", "batches"):
        if most := getattr(user, f"live_{what}"):
            yield Bound(f"live_{what}", what, most, user_id)
        if most := getattr(tool, f"live_{what}_of_a_user"):
            yield Bound(f"{tool_id}.live_{what}_of_a_user", what, most, user_id, tool_id)
        if most := getattr(tool, f"live_{what}"):
            yield Bound(f"{tool_id}.live_{what}", what, most, None, tool_id)
    if stored and user.stored_bytes:
        yield Bound("stored_bytes", "bytes", user.stored_bytes, user_id)


def _over(some: Limits, rest: Limits) -> Limits:
    return Limits(*(
        getattr(rest if getattr(some, each.name) is None else some, each.name)
        for each in fields(Limits)
    ))  # fmt: skip


def _is_in(user_id: str, groups: tuple[str, ...], is_in_any: IsInAny) -> bool:
    try:
        return is_in_any(user_id, groups)
    except AccountsUnreachable:
        return False
