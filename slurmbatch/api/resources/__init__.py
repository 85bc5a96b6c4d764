"""One module a subject; a responder reads the request, asks, and renders."""

from __future__ import annotations

from typing import Any

import falcon

from slurmbatch.api.ports import Batches


class Readable:
    """A resource that can be got, and so asked for with HEAD."""

    def on_head(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        get: Any = self.on_get  # type: ignore[attr-defined]
        get(req, resp, **path)


class OfBatches(Readable):
    """A resource that asks `Batches`."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
