"""Unix accounts: whom jobs may run as, and the groups that somebody is in.

The one place that says whether a name is an account that jobs may have: never root, no account of
the system, none that is locked. getpwnam(3) tells what the system's databases know (files, LDAP,
SSSD); that they could not be asked is no verdict, and is told apart from an account that is gone.
"""

from __future__ import annotations

import ctypes
import errno
import grp
import os
import pwd
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import TypeVar

from slurmbatch.errors import AccountRefused, AccountsUnreachable

FIRST_UID = 1000
# What stands for "nobody", and (uid_t) -1.
_NO_ONE = frozenset({65534, 2**32 - 2, 2**32 - 1})
# Digits alone would be taken for a uid by some programs.
_NAME = re.compile(r"(?![0-9]+$)[A-Za-z0-9_][A-Za-z0-9._@-]{0,127}")
_NO_SHELLS = frozenset({"nologin", "false"})
_COULD_NOT_BE_ASKED = frozenset({
    errno.EAGAIN, errno.EINTR, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.ECONNREFUSED, errno.ETIMEDOUT,
})  # fmt: skip
_USUAL_UMASK = 0o022
KEPT_SECONDS = 30.0
KEPT_AT_MOST = 4096
LookUp = Callable[[str], pwd.struct_passwd]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Account:
    """One that jobs may have. `umask`: what a login would have."""

    name: str
    uid: int
    gid: int
    home: PurePath
    umask: int = _USUAL_UMASK


def find(name: str, etc: Path = Path("/etc"), look_up: LookUp = pwd.getpwnam) -> Account:
    """The account of this very name. Raises AccountRefused, and AccountsUnreachable where nobody
    can tell."""
    if not _NAME.fullmatch(name):
        raise AccountRefused(f"{_shown(name)} is no name of an account.")
    entry = _entry(name, look_up)
    # Some databases find an account by another spelling; it is that one's then, not this one's.
    if entry is None or entry.pw_name != name:
        raise AccountRefused(f"There is no account {_shown(name)} on this system (any more).")
    if entry.pw_uid < FIRST_UID or entry.pw_gid == 0 or entry.pw_uid in _NO_ONE:
        raise AccountRefused(f"{_shown(name)} is an account of the system, as which no jobs run.")
    if PurePath(entry.pw_shell).name in _NO_SHELLS or _is_locked(name, etc / "shadow"):
        raise AccountRefused(f"The account {_shown(name)} is locked.")
    umask = _umask(entry, etc / "login.defs")
    return Account(name, entry.pw_uid, entry.pw_gid, PurePath(entry.pw_dir), umask)


@cache
def own_home() -> Path:
    """The home of the service's own account, as it was at first."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:40]}...")


def _entry(name: str, look_up: LookUp) -> pwd.struct_passwd | None:
    try:
        return look_up(name)
    except KeyError:
        trouble = _trouble(name)
        if trouble in _COULD_NOT_BE_ASKED:
            raise AccountsUnreachable(
                f"Accounts cannot be looked up just now ({os.strerror(trouble)})."
            ) from None
        return None


def _trouble(name: str) -> int:
    """The error of getpwnam_r(3), which `pwd` takes for a name that is not there."""
    libc = ctypes.CDLL(None)
    room, found = ctypes.create_string_buffer(65_536), ctypes.c_void_p()
    # struct passwd has 48 bytes; nothing of it is read.
    entry = ctypes.create_string_buffer(256)
    return int(
        libc.getpwnam_r(name.encode(), entry, room, ctypes.c_size_t(len(room)), ctypes.byref(found))
    )


def _is_locked(name: str, shadow: Path) -> bool:
    """By the local passwords, for a service that may read them: expired, or locked by passwd(1),
    which puts a mark before what was a password. (One that never had any is not locked.)"""
    try:
        lines = shadow.read_text().splitlines()
    except OSError:
        return False
    for fields in (line.split(":") for line in lines):
        if fields[0] == name and len(fields) >= 8:
            is_marked = re.match(r"!+[^!*]", fields[1]) is not None
            expires = fields[7]
            return is_marked or (expires.isdigit() and int(expires) * 86400 <= time.time())
    return False


def _umask(entry: pwd.struct_passwd, login_defs: Path) -> int:
    """What pam_umask(8) gives at a login: that of the account, or that of the system."""
    own = re.search(r"(?:^|,)umask=(0?[0-7]{1,3})(?:,|$)", entry.pw_gecos)
    if own:
        return int(own[1], 8)
    defs = _login_defs(login_defs)
    text = defs.get("UMASK", "")
    umask = int(text, 8) if re.fullmatch(r"0?[0-7]{1,3}", text) else _USUAL_UMASK
    if defs.get("USERGROUPS_ENAB", "").lower() == "yes" and _has_own_group(entry):
        umask = (umask & 0o707) | (umask >> 3 & 0o070)
    return umask


def _login_defs(path: Path) -> Mapping[str, str]:
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {each[0]: each[1] for each in words if len(each) >= 2 and not each[0].startswith("#")}


def _has_own_group(entry: pwd.struct_passwd) -> bool:
    try:
        return grp.getgrgid(entry.pw_gid).gr_name == entry.pw_name
    except KeyError:
        return False


@dataclass
class Groups:
    """Who is in which group of the system, remembered for `kept` seconds. From any thread."""

    kept: float = KEPT_SECONDS
    clock: Callable[[], float] = time.monotonic
    groups_of: Callable[[str], frozenset[int]] = field(default=lambda name: _groups_of(name))
    _members: dict[str, tuple[float, frozenset[int]]] = field(default_factory=dict)
    _numbers: dict[str, tuple[float, int | None]] = field(default_factory=dict)

    def is_in_any(self, name: str, groups: tuple[str, ...]) -> bool:
        """Whether the account is in one of the groups. Raises AccountsUnreachable."""
        if not groups:
            return False
        mine = self._remembered(self._members, name, self.groups_of)
        wanted = (self._remembered(self._numbers, group, _number_of) for group in groups)
        return any(number in mine for number in wanted)

    def _remembered(
        self, memory: dict[str, tuple[float, T]], key: str, look_up: Callable[[str], T]
    ) -> T:
        now = self.clock()
        kept = memory.get(key)
        if kept is not None and 0 <= now - kept[0] < self.kept:
            return kept[1]
        if len(memory) >= KEPT_AT_MOST:
            memory.clear()
        found = look_up(key)
        memory[key] = now, found
        return found


def _groups_of(name: str) -> frozenset[int]:
    """None for whoever has no account that jobs may have."""
    try:
        account = find(name)
    except AccountRefused:
        return frozenset()
    return frozenset(os.getgrouplist(account.name, account.gid))


def _number_of(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
