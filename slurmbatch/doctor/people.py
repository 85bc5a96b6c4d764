"""Who may use what: the groups that the settings name."""

from __future__ import annotations

import grp
from collections.abc import Iterator

from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning
from slurmbatch.slurm.commands import CommandSlurm


def groups(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    named = {
        **{f"tool {each.id}": each.groups for each in settings.tools.values()},
        **{f"filesystem {each.id}": each.groups for each in settings.filesystems},
        "auth.admin_groups": settings.auth.admin_groups,
    }
    missing = [
        (what, group)
        for what, groups in named.items()
        for group in groups or ()
        if not _is_there(group)
    ]
    for what, group in missing:
        yield warning(
            "groups",
            f"{what}: there is no group {group!r} on this system",
            "mend its name; as long as it is not there, it lets nobody in",
        )
    if not missing and any(named.values()):
        yield Finding("groups", OK, "all that the settings name are there")


def _is_there(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True
