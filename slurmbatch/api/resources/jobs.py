"""The jobs of a batch."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import falcon

from slurmbatch.api import query, render, tags, views
from slurmbatch.api.ports import Batches
from slurmbatch.api.resources import OfBatches
from slurmbatch.model import Batch, Caller

# Bytes of the texts of batches that somebody watches; about ten a job.
_KEPT_AT_MOST = 8 * 1024 * 1024


class JobList(OfBatches):
    """/batches/{batch_id}/jobs"""

    def on_get(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        limit = query.whole(req, "limit")
        jobs = self._batches.jobs(
            req.context.caller,
            batch_id,
            statuses=query.statuses(req),
            after=query.text(req, "after"),
            # One more than is shown tells whether there is a next page.
            limit=None if limit is None else limit + 1,
        )
        if limit is None:
            render.send_stream(req, resp, map(views.listed_job, jobs))
            return
        found = list(jobs)
        if len(found) > limit:
            resp.append_header("Link", query.next_page(req, found[limit - 1].job_id))
        render.send_all(req, resp, [views.listed_job(each) for each in found[:limit]])


class StatusList(OfBatches):
    """/batches/{batch_id}/statuses"""

    def __init__(self, batches: Batches) -> None:
        super().__init__(batches)
        self._made: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def on_get(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        caller = req.context.caller
        if tags.unchanged(req, resp, self._batches.etag(caller, batch_id)):
            return
        batch = self._batches.get(caller, batch_id)
        text = self._text(caller, batch)
        tags.put(resp, batch.etag)
        render.send_text(req, resp, text)

    def _text(self, caller: Caller, batch: Batch) -> bytes:
        """Made once for all who watch the batch while it is what it is."""
        made = self._made.get(key := (batch.batch_id, batch.etag))
        if made is None:
            made = render.json_bytes(views.statuses(batch, self._batches.brief(caller, key[0])))
            self._keep(key, made)
        return made

    def _keep(self, key: tuple[str, str], made: bytes) -> None:
        with self._lock:
            self._made[key] = made
            while len(self._made) > 1 and sum(map(len, self._made.values())) > _KEPT_AT_MOST:
                self._made.popitem(last=False)


class OneJob(OfBatches):
    """/batches/{batch_id}/jobs/{job_id}"""

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, batch_id: str, job_id: str
    ) -> None:
        found = self._batches.job(req.context.caller, batch_id, job_id)
        text = render.json_bytes(views.job(found))
        etag = hashlib.sha256(text).hexdigest()[:24]
        if not tags.unchanged(req, resp, etag):
            tags.put(resp, etag)
            render.send_text(req, resp, text)
