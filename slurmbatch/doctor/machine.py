"""The account, files, room on disks, versions, and the database."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from slurmbatch import __version__
from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning, wrong
from slurmbatch.errors import SlurmbatchError
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.store import upkeep

_ROOM = 1 << 30
_SHARE = 0.05
# The least that we are made for; pip sees to it, unless somebody has gone around it.
_PACKAGES = {"PyJWT": (2, 13), "waitress": (3, 0, 2), "falcon": (4, 4), "peewee": (4, 5)}
_SQLITE = (3, 37)


def account(_settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    user = pwd.getpwuid(os.geteuid())
    if user.pw_uid == 0:
        yield warning(
            "account",
            "this runs as root",
            "run it as the service's account (systemctl show -p User slurmbatch): "
            "what root may, that one perhaps may not",
        )
    else:
        yield Finding("account", OK, f"{user.pw_name}, uid {user.pw_uid}")
    home = Path(user.pw_dir)
    if not home.is_dir():
        yield warning(
            "account",
            f"its home {home} is not there",
            "make it, or set jobs.work_dir: jobs start there",
        )


def directories(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    named = {"store.path": settings.store.path.parent, "jobs.log_dir": settings.jobs.log_dir}
    if settings.jobs.claims_dir is None:
        yield warning(
            "directories",
            "jobs.claims_dir is not set",
            "set it to a directory that all nodes share: without it, what a killed "
            "slurmctld forgets may run twice",
        )
    else:
        named["jobs.claims_dir"] = settings.jobs.claims_dir
    for key, directory in named.items():
        yield _directory(key, directory, is_private=key == "store.path")


def _directory(key: str, directory: Path, *, is_private: bool) -> Finding:
    if not directory.is_dir():
        return wrong(
            "directories",
            f"{key}: {directory} is not there",
            f"install -d -o {_me()} -m 700 {directory}",
        )
    status = directory.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        owner = _name_of(status.st_uid)
        return wrong(
            "directories",
            f"{key}: {directory} belongs to {owner}",
            f"run this as {owner}, or chown {_me()} {directory}",
        )
    if mode & (0o077 if is_private else 0o022):
        return wrong(
            "directories",
            f"{key}: {directory} is open to others (mode {mode:04o})",
            f"chmod {'go=' if is_private else 'go-w'} {directory}",
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        return wrong(
            "directories",
            f"{key}: {directory} cannot be written to",
            "look at its mode, and at the mount (ReadWritePaths= in the unit)",
        )
    return Finding("directories", OK, f"{key}: {directory}, mode {mode:04o}")


def disk(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    for key, path in (
        ("store.path", settings.store.path.parent),
        ("jobs.log_dir", settings.jobs.log_dir),
    ):
        if path.is_dir():
            room = shutil.disk_usage(path)
            found = f"{key}: {room.free / 1e9:.1f} of {room.total / 1e9:.1f} GB are free"
            if room.free < _ROOM or room.free < _SHARE * room.total:
                yield warning("disk", found, "make room: with none, new batches get a 507")
            else:
                yield Finding("disk", OK, found)


def versions(_settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "versions",
        OK,
        f"slurmbatch {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}",
    )
    if sqlite3.sqlite_version_info < _SQLITE:
        yield wrong(
            "versions",
            f"SQLite {sqlite3.sqlite_version} is too old",
            "a Python that is linked against 3.37 or newer is needed",
        )
    for name, least in _PACKAGES.items():
        wanted = ".".join(map(str, least))
        try:
            found = version(name)
        except PackageNotFoundError:
            yield wrong("versions", f"{name} is not installed", "install slurmbatch with pip anew")
            continue
        if tuple(int(part) for part in found.split(".")[:3] if part.isdecimal()) < least:
            yield wrong("versions", f"{name} {found} is too old", f"pip install '{name}>={wanted}'")


def database(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    path = settings.store.path
    if not path.exists():
        yield warning("database", f"{path} is not there", "start the daemon, which makes it")
        return
    try:
        complaints = upkeep.examine(path, thoroughly=False)
        schema, known = (0, 0) if complaints else upkeep.schema_of(path)
    except SlurmbatchError as error:
        yield wrong("database", error.detail, "run the release that made it, or a newer one")
        return
    for complaint in complaints:
        yield wrong("database", complaint, "slurmbatch admin restore, from the last good backup")
    if not complaints:
        size = path.stat().st_size / 1e6
        yield Finding("database", OK, f"{path}: sound, schema {schema} of {known}, {size:.1f} MB")


def _me() -> str:
    return _name_of(os.geteuid())


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
