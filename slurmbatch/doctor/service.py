"""The daemon: whether it runs, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import httpx

from slurmbatch import headship
from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning, wrong
from slurmbatch.errors import SlurmbatchError
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.store import open_store

_HINT = "systemctl status slurmbatch; its log says more"


def daemon(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    host = settings.server.host
    where = f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"
    try:
        answer = httpx.get(f"{where}/readyz", timeout=10, trust_env=False)
        told = answer.json()
        ready = answer.status_code == 200
    except (httpx.HTTPError, ValueError) as error:
        yield warning(
            "daemon",
            f"{where} does not answer ({error})",
            "systemctl start slurmbatch; with slurmbatch.socket it may listen elsewhere",
        )
        return
    if ready:
        yield Finding("daemon", OK, f"{where} is ready, and asks Slurm by {told.get('backend')}")
    else:
        down = [name for name in ("database", "slurmctld") if not told.get(name, {}).get("ok")]
        yield warning("daemon", f"{where} is not ready: {', '.join(down) or 'no look yet'}", _HINT)
    yield from _settings(told.get("settings") or {})


def head(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    """Which of several head nodes may act, and whether it is the one with this database."""
    if not settings.store.path.exists():
        return
    try:
        with closing(open_store(settings.store.path, exclusive=False)) as store:
            there = headship.read(headship.path_of(settings.jobs.log_dir, store.instance))
            known = (store.recall(headship.KEY) or "").split()
    except (SlurmbatchError, OSError) as error:
        yield warning("head", str(error), "see the checks of directories and the database")
        return
    if there is None:
        yield Finding("head", OK, "no daemon was started on this database yet")
    elif there.token in known or headship.TAKES_OVER in known:
        yield Finding("head", OK, f"{there.host} is the head, since {there.since}")
    else:
        yield wrong(
            "head",
            f"{there}: no daemon starts on this database, which is an old copy",
            "if that one is down for good: slurmbatch admin take-over",
        )


def _settings(told: dict[str, object]) -> Iterator[Finding]:
    if told.get("ok") is False:
        yield warning(
            "daemon",
            "it could not read its settings anew, and goes on with old ones",
            "slurmbatch check-config, then systemctl reload slurmbatch",
        )
    waiting = told.get("restart_needed")
    if isinstance(waiting, list) and waiting:
        yield warning(
            "daemon",
            f"changed, but not in force: {', '.join(map(str, waiting))}",
            "systemctl restart slurmbatch",
        )
