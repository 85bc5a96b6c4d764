"""A stand-in for pyslurm 25.11, shaped exactly like it as far as slurmbatch uses it.

Behind it stands the real Slurm that SLURM_CONF names, asked through its commands; or, where a file
of that name and `.fake` lies beside it, what that file says (see `told.py`). It has the habits of
the real one that were measured: it ends the process where there is no slurm.conf, keeps the
interpreter's lock while it hangs, takes 128 off exit codes, shows task 0 as None, and leaves to
standard error which limit was reached.

With this directory's parent on PYTHONPATH it is what `import pyslurm` gives. Standard library only.
"""

from __future__ import annotations

from .api import slurm_init
from .error import PyslurmError, RPCError
from .job import Job, Jobs
from .submission import JobSubmitDescription
from .told import TOLD

__all__ = ["Job", "JobSubmitDescription", "Jobs", "PyslurmError", "RPCError", "slurm_init"]
__version__ = TOLD.get("version", "22.5.0")

slurm_init()
