"""The account, files, room on disks, versions, and the database."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
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
_RUNS = "what stands there runs as this account"
_FULL = "make room: with none, new batches get a 507"
# The least that we are made for; pip sees to it, unless somebody has gone around it.
_PACKAGES = {"PyJWT": (2, 13), "waitress": (3, 0, 2), "falcon": (4, 4), "peewee": (4, 5)}
_SQLITE = (3, 37)
# Two connections that write and checkpoint at the same moment may damage a database in WAL mode.
_WAL_BUG = ((3, 7, 0), (3, 51, 2))
# Filesystems on which SQLite's locks, or its write-ahead log, do not work.
_SHARED_FILESYSTEMS = re.compile(
    r"nfs4?|cifs|smb3?|smbfs|lustre|gpfs|beegfs|beegfs_nodev|ceph|glusterfs|fuse\.\S+|9p|afs|orangefs"
)


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
    yield from _settings(settings)


def _settings(settings: Settings) -> Iterator[Finding]:
    """Whoever may write them says what runs as this account."""
    files = [settings.source, settings.tools_dir, *sorted(settings.tools_dir.glob("*.toml"))]
    for each in (settings.source.parent, *files):
        with suppress(OSError):
            status = each.stat()
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o002:
                found = f"{each} can be written by anybody (mode {mode:04o})"
                yield wrong("directories", found, f"chmod o-w {each}: {_RUNS}")
            elif status.st_uid not in (0, os.geteuid()):
                found = f"{each} belongs to {_name_of(status.st_uid)}"
                yield warning("directories", found, f"chown root {each}: {_RUNS}")


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
    places = {
        "store.path": settings.store.path.parent,
        "jobs.log_dir": settings.jobs.log_dir,
        "jobs.claims_dir": settings.jobs.claims_dir,
        "TMPDIR": Path(tempfile.gettempdir()),
    }
    for key, path in places.items():
        if path is not None and path.is_dir():
            yield _room(key, path)
    kind = filesystem_of(settings.store.path.parent)
    if _SHARED_FILESYSTEMS.fullmatch(kind):
        yield wrong(
            "disk",
            f"store.path is on {kind}",
            "move it to a local disk: SQLite's locks do not work there, which damages databases",
        )


def _room(key: str, path: Path) -> Finding:
    room, nodes = shutil.disk_usage(path), os.statvfs(path)
    found = f"{key}: {room.free / 1e9:.1f} of {room.total / 1e9:.1f} GB are free"
    # A filesystem that counts no inodes says that it has none.
    if nodes.f_files and nodes.f_favail < _SHARE * nodes.f_files:
        return warning("disk", f"{key}: {nodes.f_favail} of {nodes.f_files} inodes are free", _FULL)
    if room.free < _ROOM or room.free < _SHARE * room.total:
        return warning("disk", found, _FULL)
    return Finding("disk", OK, found)


def filesystem_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Its kind, such as ext4; "" where that is not told."""
    kinds: dict[Path, str] = {}
    with suppress(OSError):
        for line in mounts.read_text().splitlines():
            before, _, after = line.partition(" - ")
            if after:
                kinds[Path(_unescaped(before.split(" ")[4]))] = after.split(" ")[0]
    whole = path.resolve()
    return next((kinds[each] for each in (whole, *whole.parents) if each in kinds), "")


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def versions(_settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "versions",
        OK,
        f"slurmbatch {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}",
    )
    if _WAL_BUG[0] <= sqlite3.sqlite_version_info <= _WAL_BUG[1]:
        yield Finding(
            "versions",
            OK,
            f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug (3.7.0 to 3.51.2), which "
            "slurmbatch keeps clear of: one connection writes and checkpoints. Nothing else may "
            "(Litestream, sqlite3 by hand)",
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
