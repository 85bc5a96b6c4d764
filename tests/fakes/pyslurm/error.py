"""pyslurm.core.error, and libslurm's table of errors as far as tests come by them."""

from __future__ import annotations

ERRORS = {
    11: "Resource temporarily unavailable",
    1800: "Unable to contact slurm controller (connect failure)",
    2000: "Invalid partition name specified",
    2002: "Access/permission denied",
    2005: "More processors requested than permitted",
    2007: "Unable to create job record, try again",
    2010: "Invalid user id",
    2014: "Requested node configuration is not available",
    2017: "Invalid job id specified",
    2021: "Job/step already completing or completed",
    2029: "Invalid feature specification",
    2045: "Invalid account or account/partition combination specified",
    2048: "Invalid license specification",
    2050: "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    2051: "Requested time limit is invalid (missing or exceeds some limit)",
    2066: "Invalid qos specification",
    2072: "Invalid generic resource (gres) specification",
    2081: "Invalid job array specification",
    2090: "Slurm internal error, contact system administrator",
    5004: "Socket timed out on send/recv operation",
}


class PyslurmError(Exception):
    pass


class RPCError(PyslurmError):
    def __init__(self, errno: int = -1, msg: str | None = None) -> None:
        self.errno = errno
        self.msg = msg or ERRORS.get(errno, f"Unknown error {errno}")
        super().__init__(self.msg)


def from_words(words: str) -> RPCError:
    """The error that a command has told in words."""
    numbers = [number for number, text in ERRORS.items() if text in words]
    return RPCError(numbers[0]) if numbers else RPCError(-1, words)
