"""The service itself: how it is, and what it can do. Only the whole of it needs credentials."""

from __future__ import annotations

from functools import cache

import falcon

from slurmbatch.api import problems, render, views
from slurmbatch.api.ports import Readiness
from slurmbatch.api.resources import OfBatches, Readable
from slurmbatch.errors import Unavailable


class Health(Readable):
    """/healthz: the process lives."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = render.JSON
        resp.data = render.json_bytes(self._readiness.healthz())


class Ready(Readable):
    """/readyz: the service is able to work; if not, the report comes inside of the problem."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        ready, report = self._readiness.readyz()
        if ready:
            resp.content_type = render.JSON
            resp.data = render.json_bytes(report)
            return
        kind = problems.KINDS[Unavailable]
        problem = problems.problem(req, kind, "The service is not able to work just now.")
        retry = {"Retry-After": str(problems.RETRY_AFTER)}
        problems.send(resp, {**problem, **{k: report[k] for k in report.keys() - problem}}, retry)


class Whole(OfBatches):
    """/service: all of it at one look, for administrators."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        render.send_one(req, resp, views.service(self._batches.overview(req.context.caller)))


class Document(Readable):
    """/openapi.json"""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        render.send_bytes(req, resp, _document())


@cache
def _document() -> bytes:
    """Made when it is first asked for: neither it nor what it is made of delays the start."""
    from slurmbatch.api import openapi

    return render.json_bytes(openapi.document())
