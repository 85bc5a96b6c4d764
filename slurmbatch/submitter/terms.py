"""With what arrays are submitted, and what an sbatch of one is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slurmbatch import acl, script
from slurmbatch.accounts import Account, Groups, own_home
from slurmbatch.accounts import find as find_account
from slurmbatch.claims import Claims
from slurmbatch.drafts import Drafts
from slurmbatch.errors import AccountRefused
from slurmbatch.model import ArraySpec, Filesystem, Tool
from slurmbatch.places import array_parts, log_pattern
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.slurm.request import Wanted, request_for
from slurmbatch.store import Store


@dataclass(frozen=True, slots=True)
class Terms:
    """What arrays are submitted with, and how patient we are. Times are seconds.

    `settle`: how long a submission of unknown fate may still turn up in Slurm. `repeat`: after it
    a release or a cancellation that shows no effect is repeated.
    """

    tools: Mapping[str, Tool]
    filesystems: Mapping[str, Filesystem]
    log_dir: Path
    work_dir: Path | None
    claims: Claims | None = None
    absence_grace: float = 60.0
    settle: float = 10.0
    repeat: float = 10.0
    longest_backoff: float = 120.0
    keep_days: int | None = None
    groups: Groups = field(default_factory=Groups)
    account: Callable[[str], Account] = find_account

    def request(self, array: ArraySpec, store: Store, drafts: Drafts) -> SubmitRequest | None:
        """What is to be submitted; None where its tool or a filesystem is no longer offered to
        its user. Raises AccountRefused, AccountsUnreachable."""
        offered = self._offered(array)
        if offered is None:
            return None
        tool, filesystems = offered
        owner = self.owner(array)
        tasks = drafts.take(array.tag, tool, array.n_tasks)
        if tasks is None:
            fixed, own = store.arrays.arguments(array.pk)
            tasks = list(script.tasks_for(tool, own))
        else:
            fixed = store.arrays.fixed_args(array.pk)
        wanted = Wanted(
            batch_id=array.batch_id,
            user_id=array.user_id,
            tag=array.tag,
            hardware=array.hardware,
            options=array.slurm,
            fixed_args=fixed,
            output=log_pattern(self.log_dir, array.batch_id, array.ordinal, array.generation),
            work_dir=self.work_dir or (owner.home if owner else own_home()),
            owner=owner,
            # A tool that is safe to run again needs no fence.
            claims=self.claims.root / array.tag if self.claims and not tool.requeue else None,
            exclude=array.exclude,
            throttle=array.throttle,
        )
        return request_for(tool, filesystems, wanted, tasks)

    def _offered(self, array: ArraySpec) -> tuple[Tool, list[Filesystem]] | None:
        names = array.hardware.filesystems
        tool = self.tools.get(array.tool_id)
        filesystems = [self.filesystems[name] for name in names if name in self.filesystems]
        if tool is None or len(filesystems) < len(names):
            return None
        limits = [tool.groups, *(each.groups for each in filesystems)]
        is_for = all(
            groups is None or self.groups.is_in_any(array.user_id, groups) for groups in limits
        )
        return (tool, filesystems) if is_for else None

    def owner(self, array: ArraySpec) -> Account | None:
        """As whom it runs, looked at again: the account may be locked by now, or another person's.
        None: as the service. Raises AccountRefused, AccountsUnreachable."""
        if array.uid is None:
            return None
        account = self.account(array.user_id)
        if account.uid != array.uid:
            raise AccountRefused(
                f"The account {account.name!r} is another one now: its uid is {account.uid}, and "
                f"was {array.uid} when the batch was accepted."
            )
        return account

    def make_directories(self, array: ArraySpec) -> None:
        """For the array's logs and claims; what a person's jobs write to is for that one and the
        service alone. Raises OSError."""
        if self.claims is not None:
            tool = self.tools.get(array.tool_id)
            self.claims.prepare(array.tag, fenced=tool is None or not tool.requeue,
                                uid=array.uid)  # fmt: skip
        directory = self.log_dir
        for part in array_parts(array.batch_id, array.ordinal, array.generation):
            directory = directory / part
            directory.mkdir(mode=0o700, exist_ok=True)
            if array.uid is not None:
                acl.grant(directory, array.uid, acl.ENTER)
        if array.uid is not None:
            acl.grant(directory, array.uid, acl.ALL, inherited_by=os.getuid())
