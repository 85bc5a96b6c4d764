"""What has become of the notifications of a batch."""

from __future__ import annotations

import falcon

from slurmbatch.api import render, views
from slurmbatch.api.resources import OfBatches


class NotificationList(OfBatches):
    """/batches/{batch_id}/notifications"""

    def on_get(self, req: falcon.Request, resp: falcon.Response, batch_id: str) -> None:
        found = self._batches.notifications(req.context.caller, batch_id)
        render.send_all(req, resp, [views.notification(each) for each in found])
