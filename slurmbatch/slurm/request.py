"""What an array of a batch is submitted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from slurmbatch import script
from slurmbatch.accounts import Account
from slurmbatch.model import ArgValue, Filesystem, Hardware, SlurmOptions, Tool
from slurmbatch.slurm.port import SubmitRequest


@dataclass(frozen=True, slots=True)
class Wanted:
    """An array: of which batch and whose, its name in Slurm, and what its jobs have in common.

    `owner` is as whom they run, None: as the service. `output` is where they print to; `claims`
    where they make their claims, None: nowhere.
    """

    batch_id: str
    user_id: str
    tag: str
    hardware: Hardware
    options: SlurmOptions
    fixed_args: Mapping[str, ArgValue]
    output: PurePath
    work_dir: PurePath
    claims: PurePath | None
    exclude: str = ""
    throttle: int | None = None
    owner: Account | None = None


def request_for(
    tool: Tool,
    filesystems: Sequence[Filesystem],
    wanted: Wanted,
    tasks: Sequence[str],
) -> SubmitRequest:
    """`tasks`: as `script.tasks_for` makes them."""
    setting = script.setting_for(
        tool, wanted.batch_id, wanted.fixed_args, filesystems, wanted.work_dir, wanted.claims,
        wanted.owner.umask if wanted.owner else None,
    )  # fmt: skip
    return SubmitRequest(
        tag=wanted.tag,
        script=script.render(tool, setting, tasks),
        n_tasks=len(tasks),
        cpu=wanted.hardware.cpu,
        memory=wanted.hardware.memory,
        output=wanted.output,
        work_dir=wanted.work_dir,
        options=wanted.options,
        features=tuple(each.feature for each in filesystems if each.feature),
        licences=tuple(each.licence for each in filesystems if each.licence),
        requeue=tool.requeue,
        exclude=wanted.exclude,
        throttle=wanted.throttle,
        owner=wanted.owner,
        comment=f"slurmbatch batch={wanted.batch_id} user={wanted.user_id}",
    )
