"""How sbatch is run as the person whose job it is; everything else the service does by itself.

Both ways need an account of the service that is an Operator in Slurm, so that it sees, releases and
cancels what is others'.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import jwt

from slurmbatch.accounts import Account
from slurmbatch.slurm import quirks

# How much longer than the command it takes a token to expire: for a slurmctld that is busy.
_SPARE = 60.0


class Way(Protocol):
    """`is_killable`: whether the service may send the process a signal. If not, it ends itself."""

    @property
    def is_killable(self) -> bool: ...

    def command(self, owner: Account, sbatch: Sequence[str], seconds: float) -> list[str]:
        """What runs sbatch as this account, for so many seconds at most."""

    def environment(self, owner: Account, seconds: float) -> Mapping[str, str]:
        """What it needs beside what all of Slurm's commands get."""


@dataclass(frozen=True)
class Sudo:
    """By one rule of sudo's, for this very command (etc/sudoers). Who is root cannot be killed by
    us, nor dies with us, so timeout(1) ends sbatch."""

    is_killable: bool = False

    def command(self, owner: Account, sbatch: Sequence[str], seconds: float) -> list[str]:
        # By the number, which is what was looked at.
        as_whom = ("sudo", "-n", "-u", f"#{owner.uid}", "--")
        return [*as_whom, "/usr/bin/timeout", "--signal=KILL", f"{math.ceil(seconds)}", *sbatch]

    def environment(self, owner: Account, seconds: float) -> Mapping[str, str]:
        return {}


@dataclass(frozen=True)
class Tokens:
    """With a token that Slurm's auth/jwt takes for this account, for a minute or two.

    `version` asks for that of Slurm's commands; an older sbatch says itself whose job it is, and
    is believed only within a user namespace in which it is that account.
    """

    key: bytes = field(repr=False)
    version: Callable[[], str]
    clock: Callable[[], float] = time.time
    is_killable: bool = True
    _versions: list[str] = field(default_factory=list, repr=False)

    def command(self, owner: Account, sbatch: Sequence[str], seconds: float) -> list[str]:
        if not self._versions:
            self._versions.append(self.version())
        if not quirks.says_whose_job(self._versions[0]):
            return [*sbatch]
        mapped = (f"--map-user={owner.uid}", f"--map-group={owner.gid}")
        return ["unshare", "--user", *mapped, "--", *sbatch]

    def environment(self, owner: Account, seconds: float) -> Mapping[str, str]:
        now = int(self.clock())
        claims = {"iat": now, "exp": now + math.ceil(seconds + _SPARE), "sun": owner.name}
        return {"SLURM_JWT": jwt.encode(claims, self.key, algorithm="HS256")}
