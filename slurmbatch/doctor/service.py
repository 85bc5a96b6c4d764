"""The daemon: whether it runs, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning
from slurmbatch.slurm.commands import CommandSlurm

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
