"""A job through the whole protocol: held, found by its name, released, claimed, logged, ended."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slurmbatch import script
from slurmbatch.claims import Claims
from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, wrong
from slurmbatch.errors import SlurmbatchError
from slurmbatch.logs import JobLog, last_bytes
from slurmbatch.model import JobReport, SlurmOptions, Tool
from slurmbatch.places import array_parts, log_parts, log_pattern
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SubmitRequest

_TOOL = Tool("canary", "", script='#!/bin/sh\necho "canary on $(hostname)"\n')
_SENTENCE = b"canary on "
_PAUSE = 1.0


class _Dead(Exception):
    """How far the canary got, and what to do."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found, self.advice = found, advice


def check(seconds: float) -> Callable[[Settings, CommandSlurm], Iterator[Finding]]:
    def checked(settings: Settings, slurm: CommandSlurm) -> Iterator[Finding]:
        canary = _Canary(settings, slurm, seconds)
        try:
            yield Finding("canary", OK, canary.fly())
        except _Dead as dead:
            yield wrong("canary", dead.found, dead.advice)
        except (SlurmbatchError, OSError) as error:
            yield wrong("canary", str(error), "see slurmctld's log")
        finally:
            canary.bury()

    return checked


class _Canary:
    """Under a name that is none of the service's, so that a running daemon leaves it alone."""

    def __init__(self, settings: Settings, slurm: CommandSlurm, seconds: float) -> None:
        self.slurm, self.until = slurm, time.monotonic() + seconds
        self.name = f"slurmbatch-doctor-{secrets.token_hex(8)}"
        self.log_dir = settings.jobs.log_dir
        self.work_dir = settings.jobs.work_dir or Path.home()
        root = settings.jobs.claims_dir
        self.claims = Claims(root) if root else None
        self.job: int | None = None

    def fly(self) -> str:
        began = time.monotonic()
        self._make_directories()
        self.job = self.slurm.submit(self._request()).slurm_job_id
        self._find()
        self.slurm.release(self.job)
        row = self._ended()
        if row.state != "COMPLETED":
            raise _Dead(
                f"job {self.job} ended {row.state} on {row.node_list or 'no node'}",
                f"scontrol show job {self.job}; slurmd's log on that node",
            )
        self._look_at_log(row)
        self._look_at_claim()
        took = time.monotonic() - began
        return f"job {self.job} ran on {row.node_list}, {self._proved()}, in {took:.0f} s"

    def bury(self) -> None:
        if self.job is not None:
            try:
                self.slurm.cancel(self.job)
            except SlurmbatchError:
                return  # it is held, or has a minute to run
        shutil.rmtree(self.log_dir / self.name, ignore_errors=True)
        if self.claims is not None:
            shutil.rmtree(self.claims.root / self.name, ignore_errors=True)

    def _make_directories(self) -> None:
        if self.claims is not None:
            self.claims.prepare(self.name)
        self.log_dir.joinpath(*array_parts(self.name, 0, 1)).mkdir(mode=0o700, parents=True)

    def _request(self) -> SubmitRequest:
        claims = self.claims.root / self.name if self.claims else None
        setting = script.setting_for(_TOOL, self.name, {}, [], self.work_dir, claims)
        tasks = list(script.tasks_for(_TOOL, [(0, {})]))
        return SubmitRequest(
            tag=self.name,
            script=script.render(_TOOL, setting, tasks),
            n_tasks=1,
            cpu=1,
            memory=16,
            output=log_pattern(self.log_dir, self.name, 0, 1),
            work_dir=self.work_dir,
            options=SlurmOptions(time_limit=1),
            comment="slurmbatch admin doctor",
        )

    def _find(self) -> None:
        rows = self.slurm.find(self.name)
        if [row.array_job_id for row in rows] != [self.job]:
            raise _Dead(
                f"job {self.job} is not found by its name",
                "PrivateData in slurm.conf must let the account see its own jobs",
            )

    def _ended(self) -> JobReport:
        why = ""
        while time.monotonic() < self.until:
            rows = self.slurm.find(self.name)
            if rows and rows[0].state not in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"):
                return rows[0]
            why = f"{rows[0].state} {rows[0].reason}".strip() if rows else "not shown"
            time.sleep(_PAUSE)
        raise _Dead(
            f"job {self.job} has not ended in time: {why}",
            "wait longer (--canary SECONDS) on a full cluster; else see its reason",
        )

    def _look_at_log(self, row: JobReport) -> None:
        job_log = JobLog(self.log_dir, log_parts(self.name, 0, 1, 1), os.getuid())
        if not self._comes(lambda: last_bytes(job_log, 200).startswith(_SENTENCE)):
            raise _Dead(
                f"what it printed on {row.node_list} is not in {self.log_dir} here",
                "jobs.log_dir has to be the same directory on all nodes",
            )

    def _look_at_claim(self) -> None:
        claims = self.claims
        if claims is not None and not self._comes(lambda: _code(claims, self.name) == 0):
            raise _Dead(
                f"its claim is not in {claims.root} here",
                "jobs.claims_dir has to be the same directory on all nodes",
            )

    def _comes(self, is_there: Callable[[], bool]) -> bool:
        """What a node wrote may be seen here a few seconds later."""
        until = min(self.until, time.monotonic() + 15.0)
        while not is_there():
            if time.monotonic() > until:
                return False
            time.sleep(_PAUSE / 4)
        return True

    def _proved(self) -> str:
        steps = "was held, found, released and logged"
        return f"{steps}, and made its claim" if self.claims else steps


def _code(claims: Claims, name: str) -> int | None:
    claim = claims.look(name, 1)
    return claim.code if claim is not None else None
