"""Every exception that slurmbatch raises. The docstring of each is its default message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a request: a JSON pointer (RFC 6901) to the field and what was expected."""

    pointer: str
    detail: str


class SlurmbatchError(Exception):
    """Something went wrong."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        super().__init__(self.detail)


class SettingsError(SlurmbatchError):
    """The settings have mistakes."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(self.mistakes))


class AlreadyRunning(SlurmbatchError):
    """Another slurmbatch daemon holds this database."""


class Superseded(SlurmbatchError):
    """Another daemon has taken over, on a newer copy of this database."""


class NewerSchema(SlurmbatchError):
    """The database was written by a newer slurmbatch; this one will not touch it."""


# --- what a caller did -------------------------------------------------------------------------


class Malformed(SlurmbatchError):
    """The request could not be read."""


class Invalid(SlurmbatchError):
    """The request was understood, but some of its fields are not acceptable."""

    def __init__(self, faults: Sequence[Fault], detail: str | None = None) -> None:
        self.faults = list(faults)
        super().__init__(detail)


class Unauthenticated(SlurmbatchError):
    """Credentials are needed: an API key, or a Bearer token, in the Authorization header."""


class Forbidden(SlurmbatchError):
    """These credentials are good, but not for this."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"These credentials are good, but this needs the scope {scope}.")


class AccountRefused(SlurmbatchError):
    """No jobs run as this account."""


class NotFound(SlurmbatchError):
    """There is nothing here under that id."""


class Conflict(SlurmbatchError):
    """The resource is not in a state that allows this."""


class KeyReused(SlurmbatchError):
    """This Idempotency-Key was used before, with another body."""


class TooLarge(SlurmbatchError):
    """The body is larger than this service accepts."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that was reached: its name, how much it allows, is in use, and was wanted beside."""

    limit: str
    most: int
    used: int
    wanted: int


class OverLimit(SlurmbatchError):
    """A limit of yours is reached for now."""

    def __init__(self, reached: Sequence[Reached], retry_after: int, detail: str) -> None:
        self.reached = list(reached)
        self.retry_after = retry_after
        super().__init__(detail)


class UnsupportedMediaType(SlurmbatchError):
    """The body must be application/json."""


class RangeNotSatisfiable(SlurmbatchError):
    """The requested range lies outside of the log."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__()


class RefusedBySlurm(SlurmbatchError):
    """Slurm refused the batch."""


# --- what the machine did ----------------------------------------------------------------------


class Unavailable(SlurmbatchError):
    """The service cannot answer just now; try again in a moment."""


class AccountsUnreachable(Unavailable):
    """Accounts and groups cannot be looked up just now; try again in a moment."""


class StoreUnavailable(Unavailable):
    """The database cannot be used just now; try again in a moment."""


class StoreFull(SlurmbatchError):
    """The disk that holds the database is full; nothing was accepted."""


class LogUnreadable(SlurmbatchError):
    """The log exists, but is not a plain file of the job's owner, so it is not served."""


class SlurmUnreachable(SlurmbatchError):
    """Slurm gave no answer; what it knows is unknown, which is no verdict."""


class AccountingUnreachable(SlurmUnreachable):
    """Slurm's accounting gave no answer; what it knows is unknown, which is no verdict."""


class SlurmAmbiguous(SlurmbatchError):
    """Slurm may or may not have accepted the submission; it must be looked up.

    `answered`: slurmctld did answer, with an error that is not on our list of refusals.
    """

    def __init__(self, detail: str | None = None, *, answered: bool = False) -> None:
        self.answered = answered
        super().__init__(detail)


class SlurmRefused(SlurmbatchError):
    """Slurm refused for good, in its own words."""


class SlurmBusy(SlurmbatchError):
    """Slurm refused for now: a limit is reached that passes with time."""
