"""What munged says of a credential, through its own command: who made it, when, and for what."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slurmbatch.errors import Unavailable
from slurmbatch.slurm.commands import SYSTEM_PATH

# munge(3): a mistake of the machine's, of memory, the socket, or the time.
_TROUBLES = frozenset((1, 5, 6, 7))
_KEYS = ("ENCODE_TIME", "DECODE_TIME", "TTL", "UID")


class NoCredential(Exception):
    """munged does not vouch for it: made up, expired, or used before."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Times are seconds since the epoch, by the clocks of who made it and of this machine."""

    uid: int
    made_at: float
    read_at: float
    lasts: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class Unmunge:
    """`socket`: that of munged, where it is not the usual one."""

    socket: Path | None = None
    timeout: float = 5.0

    def __call__(self, credential: str) -> Vouched:
        """munged itself takes each credential once. Raises NoCredential, Unavailable."""
        there = [f"--socket={self.socket}"] if self.socket else []
        done = self._run(
            ["unmunge", "--numeric", f"--keys={','.join(_KEYS)}", *there], credential.encode()
        )
        if done.returncode in _TROUBLES:
            raise Unavailable("munge cannot be asked just now; try again in a moment.")
        if done.returncode:
            raise NoCredential(f"unmunge ends with {done.returncode}")
        return read(done.stdout)

    def try_out(self) -> None:
        """Makes a credential, and reads it. Raises as a call does."""
        there = [f"--socket={self.socket}"] if self.socket else []
        made = self._run(["munge", "--no-input", *there], b"")
        if made.returncode:
            raise Unavailable(made.stderr.decode(errors="replace").strip() or "munge fails")
        self(made.stdout.decode(errors="replace").strip())

    def _run(self, command: list[str], given: bytes) -> subprocess.CompletedProcess[bytes]:
        setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
        wrapper = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        try:
            return subprocess.run(
                [*wrapper, *command], env={"PATH": SYSTEM_PATH, "LC_ALL": "C"}, cwd="/",
                input=given, capture_output=True, timeout=self.timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unavailable("munge gives no answer; try again in a moment.") from None
        except OSError as error:
            raise Unavailable(f"munge cannot be asked: {error.strerror}") from None


def read(output: bytes) -> Vouched:
    """What unmunge prints: lines about the credential, an empty one, and what was in it."""
    head, _, payload = output.partition(b"\n\n")
    found = dict(re.findall(rb"^([A-Z_]+): +(\d{1,20})$", head, re.MULTILINE))
    try:
        made_at, read_at, lasts, uid = (int(found[name.encode()]) for name in _KEYS)
    except KeyError:
        raise NoCredential("unmunge says something else") from None
    return Vouched(uid, made_at, read_at, lasts, payload)
