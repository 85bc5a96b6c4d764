"""Why the jobs of a batch wait or have failed, with what one of those that failed printed last."""

from __future__ import annotations

from contextlib import suppress

import falcon

from slurmbatch.api import render, views
from slurmbatch.api.answers import ReasonView
from slurmbatch.api.resources import OfBatches
from slurmbatch.errors import NotFound
from slurmbatch.logs import last_bytes
from slurmbatch.model import Caller

LINES = 20
_BYTES = 4096


class ReasonList(OfBatches):
    """/batches/{batch_id}/reasons"""

    def on_get(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        caller = req.context.caller
        reasons = views.reasons(self._batches.get(caller, batch_id))
        render.send_all(
            req, resp, [{**each, "log": self._log(caller, batch_id, each)} for each in reasons]
        )

    def _log(self, caller: Caller, batch_id: str, reason: ReasonView) -> str:
        # Whatever has been deleted meanwhile has no log, and the others have theirs.
        with suppress(NotFound):
            if reason["job_id"]:
                log, _ = self._batches.log_of(caller, batch_id, reason["job_id"], None)
                return last_lines(last_bytes(log, _BYTES))
        return ""


def last_lines(data: bytes) -> str:
    """The last lines of the end of a log; of one that is longer the first may be cut."""
    whole = data if len(data) < _BYTES else data.partition(b"\n")[2] or data
    return "\n".join(whole.decode(errors="replace").rstrip("\n").split("\n")[-LINES:])
