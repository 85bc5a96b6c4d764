"""The WSGI application, put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from slurmbatch.api import middleware, operations, problems
from slurmbatch.api.ports import Batches, Identity, Keyring, Readiness
from slurmbatch.api.rates import Rate
from slurmbatch.api.resources.batches import BatchList, Cancellation, OneBatch, Repetition
from slurmbatch.api.resources.catalogue import FilesystemList, OneTool, ToolList
from slurmbatch.api.resources.jobs import JobList, OneJob, StatusList
from slurmbatch.api.resources.keys import KeyList, OneKey
from slurmbatch.api.resources.logs import LogById, LogOfJob
from slurmbatch.api.resources.notifications import NotificationList
from slurmbatch.api.resources.reasons import ReasonList
from slurmbatch.api.resources.service import Document, Health, Ready, Whole
from slurmbatch.api.resources.static import Index, Parts, WithSlash
from slurmbatch.api.shortcut import App, Shortcut
from slurmbatch.api.texts import Texts
from slurmbatch.model import Caller
from slurmbatch.spool import Spool


def create_app(
    batches: Batches,
    identity: Identity,
    readiness: Readiness,
    *,
    keyring: Keyring,
    max_body_bytes: int,
    draining: Callable[[], bool],
    succeeded: bool = False,
    seen: middleware.Seen | None = None,
    spool_dir: Path | None = None,
    requests_per_minute: Callable[[str], int | None] = lambda _: None,
    refused: Callable[[str], None] | None = None,
) -> App:
    """The whole HTTP side. `spool_dir` is where large bodies wait to be checked.

    `draining` says that the service goes down and lets go of connections. It then takes no new
    requests, unless it is `succeeded`: by a process that gets the connections that come from now
    on, while only this one can answer those that it has. `seen` is told of each answer, `refused`
    of each limit that was reached.
    """

    def forbidden(caller: Caller, what: str, request_id: str) -> None:
        batches.forbidden(caller, what, request_id=request_id)

    around: list[Any] = [
        middleware.RequestLog(seen, refused),
        middleware.Draining(draining, refuses=not succeeded),
        middleware.Authentication(identity, forbidden),
        Rate(requests_per_minute),
        middleware.KnownParameters(operations.query_names()),
    ]
    texts = Texts()
    shortcut = Shortcut(batches, identity, texts, lambda: not draining(), requests_per_minute, seen)
    app = App(shortcut, middleware=around)
    # For bodies without a type of their own, which are the empty ones: no JSON is to be expected.
    app.resp_options.default_media_type = "text/plain; charset=utf-8"
    problems.install(app)
    routes: dict[str, object] = {
        "/batches": BatchList(batches, max_body_bytes, partial(Spool, spool_dir)),
        "/batches/{batch_id}": OneBatch(batches, texts),
        "/batches/{batch_id}/cancel": Cancellation(batches),
        "/batches/{batch_id}/retry": Repetition(batches, max_body_bytes),
        "/batches/{batch_id}/reasons": ReasonList(batches),
        "/batches/{batch_id}/notifications": NotificationList(batches),
        "/batches/{batch_id}/statuses": StatusList(batches),
        "/batches/{batch_id}/jobs": JobList(batches),
        "/batches/{batch_id}/jobs/{job_id}": OneJob(batches),
        "/batches/{batch_id}/jobs/{job_id}/log": LogOfJob(batches),
        "/logs/{log_id}": LogById(batches),
        "/tools": ToolList(batches),
        "/tools/{tool_id}": OneTool(batches),
        "/filesystems": FilesystemList(batches),
        "/keys": KeyList(keyring, max_body_bytes),
        "/keys/{key_id}": OneKey(keyring),
        "/service": Whole(batches),
        "/healthz": Health(readiness),
        "/readyz": Ready(readiness),
        "/openapi.json": Document(),
        "/docs": Index("slurmbatch.api.page"),
        "/docs/{file}": Parts("slurmbatch.api.page"),
        "/ui": WithSlash(),
        "/ui/{file}": Parts("slurmbatch.ui", nameless=True),
    }
    for path, resource in routes.items():
        app.add_route(path, resource)
    return app
