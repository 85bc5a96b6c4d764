"""Who may use what, and as whom jobs run."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import PurePath

from slurmbatch.accounts import Account
from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning, wrong
from slurmbatch.errors import SlurmUnreachable
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


def run_as(settings: Settings, slurm: CommandSlurm) -> Iterator[Finding]:
    """Whether jobs can run as persons, where they are to."""
    if settings.slurm.run_as == "service":
        yield Finding("run_as", OK, "all jobs run as the service's own account")
        return
    yield _sudo(slurm) if settings.slurm.run_as == "sudo" else _token(slurm)
    yield _operator(slurm)


def _sudo(slurm: CommandSlurm) -> Finding:
    told = " ".join(slurm.rules_of_sudo().replace("\\", "").split())
    if not told:
        return wrong(
            "run_as",
            "sudo lets this account do nothing without a password",
            "install etc/sudoers.d/slurmbatch; under systemd the drop-in sudo.conf, too",
        )
    sbatch = slurm.program("sbatch")
    if f" {sbatch} (--test-only )?--parsable --hold --job-name=sb-" not in told:
        return wrong(
            "run_as",
            f"none of sudo's rules is for {sbatch}",
            "compare `sudo -l` with etc/sudoers.d/slurmbatch; that very path has to stand there",
        )
    return Finding("run_as", OK, f"sudo lets this account run {sbatch} as others")


def _token(slurm: CommandSlurm) -> Finding:
    try:
        slurm.try_token(_me())
    except SlurmUnreachable as error:
        return wrong(
            "run_as",
            f"slurmctld takes no token: {error.detail}",
            "AuthAltTypes and its parameters in slurm.conf; slurm.jwt_key_file is to be that key",
        )
    return Finding("run_as", OK, "slurmctld takes tokens that are made with slurm.jwt_key_file")


def _operator(slurm: CommandSlurm) -> Finding:
    name = _me().name
    try:
        level = slurm.admin_level(name)
    except SlurmUnreachable as error:
        return warning("run_as", error.detail, "whether it is an Operator could not be told")
    if level not in ("Operator", "Administrator"):
        return wrong(
            "run_as",
            f"{name} is no Operator in Slurm",
            f"sacctmgr modify user {name} set AdminLevel=Operator: else it can neither release nor "
            "cancel what is others', nor see it with PrivateData",
        )
    return Finding("run_as", OK, f"{name} is {level} in Slurm")


def _me() -> Account:
    entry = pwd.getpwuid(os.geteuid())
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, PurePath(entry.pw_dir))
