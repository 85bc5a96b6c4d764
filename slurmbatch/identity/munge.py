"""Whoever has an account on the cluster can prove it with munge, once for each credential.

For that the credential has to be new, and made for this service: in it stands the address that its
maker was about to send it to, so that no other service that is given one can come here with it.
"""

from __future__ import annotations

import hashlib
import pwd
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from slurmbatch import accounts
from slurmbatch.errors import AccountRefused, Unavailable
from slurmbatch.identity.refusal import Refused
from slurmbatch.model import Caller, Scope
from slurmbatch.slurm.unmunge import NoCredential, Unmunge, Vouched

LASTS_AT_MOST = 300.0
AT_ONCE = 4
_CREDENTIAL = re.compile(r"MUNGE:[A-Za-z0-9+/=]{1,8000}:")
_FOR = b"slurmbatch:"
BUSY = "Too many munge credentials are being looked at; try again in a moment."


@dataclass
class Munge:
    """`urls`: the addresses of this service; without any nobody comes in like this."""

    urls: tuple[str, ...] = ()
    unmunge: Callable[[str], Vouched] = field(default_factory=Unmunge)
    name_of: Callable[[int], str] = field(default=lambda uid: pwd.getpwuid(uid).pw_name)
    account: Callable[[str], object] = accounts.find
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._used: dict[bytes, float] = {}
        self._began = self.clock()

    def caller_of(self, credential: str) -> Caller:
        """Who has made it. Raises Refused, and Unavailable where that cannot be told."""
        if not self.urls or not _CREDENTIAL.fullmatch(credential):
            raise Refused("munge: no credential, or not switched on")
        vouched = self._vouched(credential)
        self._check(vouched)
        self._use_up(credential, vouched)
        name = self._name(vouched.uid)
        return Caller(name, f"munge uid {vouched.uid}", frozenset(Scope), once=True)

    def _vouched(self, credential: str) -> Vouched:
        if not self._turns.acquire(blocking=False):
            raise Unavailable(BUSY)
        try:
            return self.unmunge(credential)
        except NoCredential as error:
            raise Refused(f"munge: {error}") from None
        finally:
            self._turns.release()

    def _check(self, vouched: Vouched) -> None:
        wanted = [_FOR + url.rstrip("/").encode() for url in self.urls]
        if vouched.payload.rstrip(b"\n") not in wanted:
            raise Refused("munge: the credential is for something else")
        if not 0 < vouched.lasts <= LASTS_AT_MOST:
            raise Refused("munge: the credential lasts too long")
        if abs(vouched.read_at - vouched.made_at) > LASTS_AT_MOST:
            raise Refused("munge: the credential is too old")
        # What was used in the life of an earlier process nobody here remembers, but munged, which
        # may have been started anew as well.
        if vouched.made_at < int(self._began):
            raise Refused("munge: the credential is from before the start of this service")

    def _use_up(self, credential: str, vouched: Vouched) -> None:
        """munged takes each only once, too; it may be started anew, and this is not."""
        now, mark = self.clock(), hashlib.sha256(credential.encode()).digest()
        with self._lock:
            # They stand in the order of their use, and so of their end.
            while self._used and next(iter(self._used.values())) <= now:
                del self._used[next(iter(self._used))]
            if mark in self._used:
                raise Refused("munge: the credential was used before")
            self._used[mark] = now + 2 * LASTS_AT_MOST

    def _name(self, uid: int) -> str:
        try:
            name = self.name_of(uid)
            self.account(name)
        except KeyError:
            raise Refused(f"munge: uid {uid} has no account here") from None
        except AccountRefused as error:
            raise Refused(f"munge: {error.detail}") from None
        return name
