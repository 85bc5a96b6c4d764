"""What a test has told this library to be like, in a JSON file beside slurm.conf.

`version`; `import`: "end", "hang" or "fail"; `jobs`: the records; `next_id`; `chatter`: a line for
standard error and one for standard output at each call; and for a call (`load`, `submit`, `kill`,
`update`): `{"hang": true}`, `{"die": true}` (both after `{"take": true}`, if the job is taken all
the same) or `{"errno": 2000, "stderr": "error: …"}`. Every call is a line in a file `.calls`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from .error import RPCError

CONF = Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf"))
FILE = Path(f"{CONF}.fake")
TOLD: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}


def hang() -> None:
    """As libslurm does: without letting go of the interpreter's lock."""
    ctypes.PyDLL(None).sleep(3600)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fresh() -> dict[str, Any]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def note(call: str, **fields: Any) -> None:
    with Path(f"{CONF}.calls").open("a") as calls:
        calls.write(json.dumps({"call": call, "pid": os.getpid(), **fields}) + "\n")


def misbehave(call: str) -> None:
    """Does what the test has told it to do at this call instead of answering."""
    told = fresh()
    if "chatter" in told:
        print(told["chatter"], file=sys.stderr, flush=True)
        print(told["chatter"], flush=True)
    way = told.get(call, {})
    if "stderr" in way:
        print(way["stderr"], file=sys.stderr, flush=True)
    if way.get("hang"):
        hang()
    if way.get("die"):
        die()
    if "errno" in way:
        raise RPCError(way["errno"])
    if "raise" in way:
        raise TypeError(way["raise"])
