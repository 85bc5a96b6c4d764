"""What Slurm lets this account see and do."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping

from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning, wrong
from slurmbatch.errors import SlurmUnreachable
from slurmbatch.slurm.commands import CommandSlurm

# What each of them hides of others' jobs from whoever is no operator.
_HIDING = {"jobs": "squeue and sacct", "usage": "sacct's usage"}
_OPERATORS = ("Operator", "Administrator")


def rights(_settings: Settings, slurm: CommandSlurm) -> Iterator[Finding]:
    name = pwd.getpwuid(os.geteuid()).pw_name
    try:
        config = configuration(slurm)
        level = slurm.admin_level(name)
        yield _sight(name, level, _words(config.get("PrivateData", "")))
        if "associations" in _words(config.get("AccountingStorageEnforce", "")):
            yield _association(slurm, name)
    except SlurmUnreachable as error:
        yield warning(
            "rights", error.detail, "sacctmgr should be there, and allowed for this account"
        )


def configuration(slurm: CommandSlurm) -> Mapping[str, str]:
    """slurm.conf, as slurmctld has it."""
    lines = slurm.ask("scontrol", "show", "config").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _words(value: str) -> frozenset[str]:
    """`none`, `(null)`, or words with commas between."""
    return frozenset(each.strip().lower() for each in value.split(","))


def _sight(name: str, level: str, private: frozenset[str]) -> Finding:
    hidden = ", ".join(f"{word} ({what})" for word, what in _HIDING.items() if word in private)
    known = f"AdminLevel {level}" if level else "no user of accounting"
    if level in _OPERATORS:
        return Finding("rights", OK, f"{name} has {known}, and sees all jobs")
    if hidden:
        return warning(
            "rights",
            f"{name} has {known}, and PrivateData hides of others' jobs: {hidden}",
            "no harm while all jobs run as this account (slurm.run_as); else "
            f"sacctmgr modify user {name} set AdminLevel=Operator",
        )
    return Finding("rights", OK, f"{name} has {known}; PrivateData hides no jobs")


def _association(slurm: CommandSlurm, name: str) -> Finding:
    told = slurm.ask(
        "sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={name}",
        "format=Account",
    )  # fmt: skip
    accounts = sorted(set(told.split()))
    if accounts:
        return Finding("rights", OK, f"it may submit for {', '.join(accounts)}")
    return wrong(
        "rights",
        f"AccountingStorageEnforce wants associations, and {name} has none: its jobs are refused",
        f"sacctmgr add user {name} account=ACCOUNT",
    )
