"""The jobs of a batch."""

from __future__ import annotations

import falcon

from slurmbatch.api import query, render, views
from slurmbatch.api.resources import OfBatches


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


class OneJob(OfBatches):
    """/batches/{batch_id}/jobs/{job_id}"""

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, batch_id: str, job_id: str
    ) -> None:
        found = self._batches.job(req.context.caller, batch_id, job_id)
        render.send_one(req, resp, views.job(found))
