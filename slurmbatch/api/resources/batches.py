"""Batches: list, make, look at, cancel, delete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

import falcon

from slurmbatch.api import body, query, render, retries, shapes, tags, views
from slurmbatch.api.ports import Batches
from slurmbatch.api.resources import OfBatches
from slurmbatch.api.texts import Texts
from slurmbatch.api.variable import VariableArgs
from slurmbatch.api.waiting import pause_until
from slurmbatch.errors import Fault, Invalid, Malformed
from slurmbatch.model import Batch, NewBatch, Page
from slurmbatch.spool import Spool

_MAX_KEY = 255
# Less than the minute for which proxies wait.
MAX_WAIT = 55


class BatchList(OfBatches):
    """/batches"""

    def __init__(
        self, batches: Batches, max_body_bytes: int, make_spool: Callable[[], Spool]
    ) -> None:
        super().__init__(batches)
        self._max_body_bytes = max_body_bytes
        self._make_spool = make_spool

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = Page(
            limit=query.whole(req, "limit"),
            after=query.text(req, "after"),
            status=query.status(req),
            tool_id=query.text(req, "tool_id"),
            name=query.text(req, "name"),
        )
        user = query.text(req, "user")
        # Before the list is read: a tag that is too old only makes the next answer come in full.
        etag = self._batches.list_etag(req.context.caller, page, user)
        if tags.unchanged(req, resp, etag):
            return
        found, after = self._batches.list(req.context.caller, page, user)
        tags.put(resp, etag)
        if after is not None:
            resp.append_header("Link", query.next_page(req, after))
        render.send_all(req, resp, [views.listed_batch(each) for each in found])

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        key = _idempotency_key(req)
        most = self._batches.max_jobs(req.context.caller, key)
        variable = VariableArgs(self._make_spool, most)
        try:
            value = body.read_long_json(req, self._max_body_bytes, "variable_args", variable)
            self._make(req, resp, value, key)
        finally:
            variable.close()

    def _make(
        self, req: falcon.Request, resp: falcon.Response, value: object, key: str | None
    ) -> None:
        new, faults = shapes.read_batch(value)
        if query.flag(req, "dry_run"):
            self._try_out(req, resp, new, faults)
            return
        # A body whose shape is wrong has never made a batch.
        body_hash = _hash(value) if key is not None and not faults else b""
        if key is not None and not faults:
            earlier = self._batches.earlier(req.context.caller, key, body_hash)
            if earlier is not None:
                _send_made(req, resp, earlier, falcon.HTTP_200)
                return
        self._refuse(req, new, faults)
        batch, created = self._batches.submit(
            req.context.caller,
            new,
            idempotency_key=key,
            body_hash=body_hash,
            request_id=req.context.request_id,
        )
        _send_made(req, resp, batch, falcon.HTTP_201 if created else falcon.HTTP_200)

    def _try_out(
        self, req: falcon.Request, resp: falcon.Response, new: NewBatch, faults: list[Fault]
    ) -> None:
        self._refuse(req, new, faults)
        render.send_one(req, resp, views.trial(self._batches.try_out(req.context.caller, new)))

    def _refuse(self, req: falcon.Request, new: NewBatch, faults: list[Fault]) -> None:
        """Whatever else is wrong is told, too; where nothing is so far, the next step does that."""
        if faults:
            known = {fault.pointer for fault in faults}
            raise Invalid([*faults, *self._batches.check(req.context.caller, new, known)])

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._batches.delete_all(req.context.caller, request_id=req.context.request_id)


class OneBatch(OfBatches):
    """/batches/{batch_id}"""

    def __init__(self, batches: Batches, texts: Texts) -> None:
        super().__init__(batches)
        self._texts = texts

    def on_get(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        wait, known = 0, req.get_header("If-None-Match")
        if req.query_string:
            wait = query.whole(req, "wait", most=MAX_WAIT, least=0) or 0
            known = _known(req)
        if known is not None:
            etag = self._batches.etag(req.context.caller, batch_id)
            if tags.matches(known, etag):
                self._wait(req, batch_id, wait, known)
                resp.status = falcon.HTTP_304
                tags.put(resp, etag)
                return
        batch = self._batches.get(req.context.caller, batch_id)
        tags.put(resp, batch.etag)
        render.send_text(req, resp, self._texts.of(batch))

    def _wait(self, req: falcon.Request, batch_id: str, seconds: int, known: str) -> None:
        caller = req.context.caller
        if seconds and req.method == "GET":
            pause_until(
                req, seconds, lambda: not tags.matches(known, self._batches.etag(caller, batch_id))
            )

    def on_delete(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        self._batches.delete(req.context.caller, batch_id, request_id=req.context.request_id)


class Cancellation:
    """/batches/{batch_id}/cancel"""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def on_post(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        batch = self._batches.cancel(
            req.context.caller, batch_id, request_id=req.context.request_id
        )
        resp.status = falcon.HTTP_202
        render.send_one(req, resp, views.batch(batch))


class Repetition:
    """/batches/{batch_id}/retry"""

    def __init__(self, batches: Batches, max_body_bytes: int) -> None:
        self._batches = batches
        self._max_body_bytes = max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        key = _idempotency_key(req)
        reasons = query.reasons(req)
        value = body.read_json(req, self._max_body_bytes, empty={})
        wanted, faults = retries.read_retry(value, reasons)
        if faults:
            raise Invalid(faults)
        asked = {"retry": batch_id, "reasons": sorted(reasons), "body": value}
        batch = self._batches.retry(
            req.context.caller,
            batch_id,
            wanted,
            idempotency_key=key,
            body_hash=_hash(asked) if key is not None else b"",
            request_id=req.context.request_id,
        )
        resp.status = falcon.HTTP_202
        render.send_one(req, resp, views.batch(batch))


def _send_made(req: falcon.Request, resp: falcon.Response, batch: Batch, status: str) -> None:
    resp.status = status
    resp.location = f"{req.root_path}/batches/{batch.batch_id}"
    render.send_one(req, resp, views.batch(batch))


def _idempotency_key(req: falcon.Request) -> str | None:
    key = req.get_header("Idempotency-Key")
    if key is not None and not (key.isascii() and key.isprintable() and 1 <= len(key) <= _MAX_KEY):
        raise Malformed(f"Idempotency-Key: expected 1 to {_MAX_KEY} printable ASCII characters.")
    return key


def _hash(value: object) -> bytes:
    """Of what the body says: the same for another order of keys, or other white space."""
    digest = hashlib.sha256()
    for part in _canonical(value):
        digest.update(part.encode())
    return digest.digest()


def _canonical(value: object) -> Iterator[str]:
    """As json.dumps has it with `sort_keys` and no white space, but in parts."""
    if isinstance(value, VariableArgs):
        yield "["
        for index, each in enumerate(value.rows):
            yield f"{',' if index else ''}{_sorted(each)}"
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for index, name in enumerate(sorted(value)):
            yield f"{',' if index else ''}{_sorted(name)}:"
            yield from _canonical(value[name])
        yield "}"
    else:
        yield _sorted(value)


_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def _known(req: falcon.Request) -> str | None:
    """The versions that the client knows, in the form of If-None-Match; None: it knows none."""
    since = query.text(req, "since")
    known = [req.get_header("If-None-Match"), None if since is None else f'"{since}"']
    return ",".join(filter(None, known)) or None
