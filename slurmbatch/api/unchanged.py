"""That a batch is still what it was, told before anything is set up for an answer.

To those who watch a batch that is told again and again. The caller and the version are all that is
looked at for it, with no request or response object around; whatever is out of the ordinary goes
the usual way, and is told there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import falcon

from slurmbatch import journal
from slurmbatch.api import middleware, tags
from slurmbatch.api.ports import Batches, Identity
from slurmbatch.model import Scope

_BATCH = re.compile(r"/batches/([^/]+)")
_ROUTE = "/batches/{batch_id}"
_STATUS = "304 Not Modified"


class App(falcon.App[falcon.Request, falcon.Response]):
    """Falcon's, with that way beside it. `is_usual`: whether requests are taken as ever.

    `seen` is told of what was answered so, as `RequestLog` tells it of the rest.
    """

    def __init__(
        self, batches: Batches, identity: Identity, is_usual: Callable[[], bool],
        seen: middleware.Seen | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self._batches, self._identity, self._is_usual = batches, identity, is_usual
        self._seen = seen

    def __call__(self, env: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" not in env:
            return super().__call__(env, start_response)
        began = time.perf_counter()
        headers = self._unchanged(env)
        if headers is None:
            return super().__call__(env, start_response)
        if self._seen is not None:
            self._seen("GET", _ROUTE, 304, time.perf_counter() - began)
        start_response(_STATUS, headers)
        return []

    def _unchanged(self, env: dict[str, Any]) -> list[tuple[str, str]] | None:
        """The headers of the answer; None: there is something to be told."""
        found = _BATCH.fullmatch(env["PATH_INFO"])
        plain = env["REQUEST_METHOD"] == "GET" and not env.get("QUERY_STRING")
        if found is None or not plain or not self._is_usual() or journal.writes("debug"):
            return None
        try:
            caller = self._identity.known(env.get("HTTP_AUTHORIZATION"))
            # What administrators look at is kept, with the address that it was asked from.
            if caller is None or Scope.READ not in caller.scopes or caller.is_admin:
                return None
            etag = self._batches.etag(caller, found[1])
        except Exception:
            return None  # it will be told the usual way
        if not tags.matches(env["HTTP_IF_NONE_MATCH"], etag):
            return None
        request_id = middleware.new_id(env.get("HTTP_X_REQUEST_ID", ""))
        return [
            ("Cache-Control", tags.CACHE_CONTROL), *tags.headers(etag),
            ("X-Content-Type-Options", "nosniff"), ("X-Request-Id", request_id),
        ]  # fmt: skip
