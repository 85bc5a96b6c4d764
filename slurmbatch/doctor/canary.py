"""A job through the whole protocol: held, found by its name, released, claimed, logged, ended."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from slurmbatch import script
from slurmbatch.claims import Claims
from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning, wrong
from slurmbatch.errors import SlurmbatchError
from slurmbatch.logs import JobLog, last_bytes
from slurmbatch.model import JobReport, SlurmOptions, Tool
from slurmbatch.places import array_parts, log_parts, log_pattern
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SubmitRequest

_TOOL = Tool("canary", "", script='#!/bin/sh\necho "canary at $(date +%s) on $(hostname)"\n')
_SENTENCE = re.compile(rb"canary at (\d+) on ")
_PAUSE = 1.0
_MOST_SKEW = 5.0


class _Dead(Exception):
    """How far the canary got, and what to do."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found, self.advice = found, advice


def check(
    seconds: float, nodes: str | None = None
) -> Callable[[Settings, CommandSlurm], Iterator[Finding]]:
    """One job wherever Slurm likes; or with `nodes`, a list as Slurm has it (`n[1-4]`) or `all`,
    one on each of these, all at a time."""

    def checked(settings: Settings, slurm: CommandSlurm) -> Iterator[Finding]:
        try:
            names = [""] if nodes is None else _expanded(slurm, nodes)
        except SlurmbatchError as error:
            yield wrong("canary", str(error), "name nodes as sinfo does")
            return
        canaries = [_Canary(settings, slurm, seconds, name) for name in names]
        try:
            flying = []
            for each in canaries:
                if (yield from _told(each, each.send)):
                    flying.append(each)
            for each in flying:
                yield from _told(each, each.land)
        finally:
            for each in canaries:
                each.bury()

    return checked


def _told(canary: _Canary, do: Callable[[], Iterator[Finding]]) -> Generator[Finding, None, bool]:
    try:
        yield from do()
    except _Dead as dead:
        yield wrong("canary", canary.about(dead.found), dead.advice)
        return False
    except (SlurmbatchError, OSError) as error:
        yield wrong("canary", canary.about(str(error)), "see slurmctld's log")
        return False
    return True


def _expanded(slurm: CommandSlurm, nodes: str) -> list[str]:
    if nodes == "all":
        return sorted(set(slurm.ask("sinfo", "--noheader", "--Node", "--format=%N").split()))
    return slurm.ask("scontrol", "show", "hostnames", nodes).split()


class _Canary:
    """Under a name that is none of the service's, so that a running daemon leaves it alone."""

    def __init__(
        self, settings: Settings, slurm: CommandSlurm, seconds: float, node: str = ""
    ) -> None:
        self.slurm, self.node = slurm, node
        self.until, self.began = time.monotonic() + seconds, time.monotonic()
        self.name = f"slurmbatch-doctor-{secrets.token_hex(8)}"
        self.log_dir = settings.jobs.log_dir
        self.work_dir = settings.jobs.work_dir or Path.home()
        root = settings.jobs.claims_dir
        self.claims = Claims(root) if root else None
        self.job: int | None = None
        self.released = 0.0

    def about(self, found: str) -> str:
        return f"{self.node}: {found}" if self.node else found

    def send(self) -> Iterator[Finding]:
        self._make_directories()
        self.job = self.slurm.submit(self._request()).slurm_job_id
        self._find()
        self.released = time.time()
        self.slurm.release(self.job)
        yield from ()

    def land(self) -> Iterator[Finding]:
        row = self._ended()
        if row.state != "COMPLETED":
            raise _Dead(
                f"job {self.job} ended {row.state} on {row.node_list or 'no node'}",
                f"scontrol show job {self.job}; slurmd's log on that node",
            )
        theirs = self._look_at_log(row)
        skew = max(self.released - theirs, theirs - time.time(), 0.0)
        self._look_at_claim()
        took = time.monotonic() - self.began
        found = f"job {self.job} ran on {row.node_list}, {self._proved()}, in {took:.0f} s"
        yield Finding("canary", OK, self.about(found))
        if skew > _MOST_SKEW:
            yield warning("canary", f"the clock of {row.node_list} is off by {skew:.0f} s or more",
                          "run an NTP client there; munge refuses from 300 s on")  # fmt: skip

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
            nodelist=self.node,
        )

    def _find(self) -> None:
        rows = self.slurm.find(self.name)
        if [row.array_job_id for row in rows] != [self.job]:
            raise _Dead(
                f"job {self.job} is not found by its name",
                "PrivateData in slurm.conf must let the account see its own jobs",
            )

    def _ended(self) -> JobReport:
        while True:
            rows = self.slurm.find(self.name)
            if rows and rows[0].state not in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"):
                return rows[0]
            if time.monotonic() >= self.until:
                why = f"{rows[0].state} {rows[0].reason}".strip() if rows else "not shown"
                raise _Dead(
                    f"job {self.job} has not ended in time: {why}",
                    "wait longer (--canary SECONDS) on a full cluster; else see its reason",
                )
            time.sleep(_PAUSE)

    def _look_at_log(self, row: JobReport) -> float:
        """The time by the node's clock."""
        job_log = JobLog(self.log_dir, log_parts(self.name, 0, 1, 1), os.getuid())
        if not self._comes(lambda: _SENTENCE.match(last_bytes(job_log, 200)) is not None):
            raise _Dead(
                f"what it printed on {row.node_list} is not in {self.log_dir} here",
                "jobs.log_dir has to be the same directory on all nodes",
            )
        said = _SENTENCE.match(last_bytes(job_log, 200))
        return float(said[1]) if said else self.released

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
