"""What could be wrong with an installation: each check says what it found, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slurmbatch.config import Settings, load
from slurmbatch.doctor import canary, login, machine, people, rights, service, slurm
from slurmbatch.doctor.finding import OK, WRONG, Finding, wrong
from slurmbatch.errors import SettingsError
from slurmbatch.slurm.commands import CommandSlurm

__all__ = ["OK", "WRONG", "Finding", "examine"]

Check = Callable[[Settings, CommandSlurm], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    check: Check
    needs: tuple[str, ...] = field(default=())


_CHECKS = (
    _Named("account", machine.account),
    _Named("groups", people.groups),
    _Named("login", login.login),
    _Named("directories", machine.directories),
    _Named("disk", machine.disk),
    _Named("versions", machine.versions),
    _Named("database", machine.database),
    _Named("head", service.head, ("database",)),
    _Named("daemon", service.daemon),
    _Named("commands", slurm.programs),
    _Named("slurmctld", slurm.controller, ("commands",)),
    _Named("accounting", slurm.accounting, ("slurmctld",)),
    _Named("run_as", people.run_as, ("slurmctld",)),
    _Named("rights", rights.rights, ("accounting",)),
    _Named("clocks", slurm.clocks, ("slurmctld",)),
)


def examine(
    path: Path,
    slurm_of: Callable[[Settings], CommandSlurm],
    *,
    with_canary: float | None = None,
    nodes: str | None = None,
) -> Iterator[Finding]:
    """All checks, one after the other; what one depends on comes before it. `with_canary`: a job is
    run too, or one on each of the `nodes`, and waited for so many seconds."""
    try:
        settings = load(path)
    except SettingsError as error:
        for mistake in error.mistakes:
            yield wrong(
                "settings", mistake, "mend the file; slurmbatch check-config tells the same"
            )
        return
    tools = f"{len(settings.tools)} tools, {len(settings.filesystems)} filesystems"
    yield Finding("settings", OK, f"{path}: no mistakes, {tools}")
    commands = slurm_of(settings)
    checks = [*_CHECKS]
    if with_canary is not None:
        checks.append(_Named("canary", canary.check(with_canary, nodes), ("slurmctld",)))
    failed: set[str] = set()
    for each in checks:
        if failed & set(each.needs):
            failed.add(each.name)
            continue
        for finding in each.check(settings, commands):
            if finding.level == WRONG:
                failed.add(each.name)
            yield finding
