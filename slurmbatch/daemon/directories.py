"""The directories that jobs write to, made and looked at before anything is accepted."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from slurmbatch import acl
from slurmbatch.errors import SettingsError


def prepare(key: str, directory: Path, *, persons: bool) -> None:
    """Raises SettingsError. `persons`: jobs of others are to find their way through it, each into a
    directory of its own, which is what POSIX ACLs are needed for."""
    try:
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            directory.chmod(0o711 if persons else 0o700)
        mode = stat.S_IMODE(directory.stat().st_mode)
    except OSError as error:
        raise SettingsError([f"{key}: {directory}: {error.strerror}"]) from error
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        raise SettingsError([f"{key}: {directory}: is not writable for this account"])
    if persons:
        _check(key, directory, mode)


def _check(key: str, directory: Path, mode: int) -> None:
    if not mode & stat.S_IXOTH:
        raise SettingsError([
            f"{key}: {directory}: found mode {mode:04o}, expected one with which jobs of others "
            f"get through (chmod 711 {directory})"
        ])  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix=".acl-", dir=directory) as probe:
            acl.grant(Path(probe), os.getuid(), acl.ALL, inherited_by=os.getuid())
    except OSError as error:
        raise SettingsError([
            f"{key}: {directory}: has no POSIX ACLs ({error.strerror}), expected a filesystem with "
            "them, or slurm.run_as = 'service'"
        ]) from error  # fmt: skip
