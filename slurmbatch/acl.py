"""POSIX ACLs (acl(5)) of directories that somebody else's jobs write to, as the kernel has them.

So a directory of the service's is for one other account and nobody else, and what that one makes
there the service can read and remove, whatever the umask. Neither needs any privilege.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

READ, WRITE, ENTER = 4, 2, 1
ALL = READ | WRITE | ENTER
_VERSION, _NO_ID = 2, 2**32 - 1
_OWNER, _USER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def grant(directory: Path, uid: int, permissions: int, *, inherited_by: int | None = None) -> None:
    """Lets the account do so much there, as the only one beside the owner. Whatever is made in it
    is open to `inherited_by` as well, if that is given. Raises OSError."""
    os.setxattr(directory, _ACCESS, _encoded([(uid, permissions)]))
    if inherited_by is not None:
        os.setxattr(directory, _DEFAULT, _encoded([(inherited_by, ALL)]))


def _encoded(users: Iterable[tuple[int, int]]) -> bytes:
    """As linux/posix_acl_xattr.h has it, in the order that the kernel wants."""
    entries = [
        (_OWNER, ALL, _NO_ID),
        *((_USER, permissions, uid) for uid, permissions in sorted(users)),
        (_GROUP, 0, _NO_ID),
        (_MASK, ALL, _NO_ID),
        (_OTHERS, 0, _NO_ID),
    ]
    packed = (struct.pack("<HHI", *entry) for entry in entries)
    return struct.pack("<I", _VERSION) + b"".join(packed)
