"""What the caller may run, and on what."""

from __future__ import annotations

import falcon

from slurmbatch.api import render, views
from slurmbatch.api.resources import OfBatches


class ToolList(OfBatches):
    """/tools"""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = self._batches.tools(req.context.caller)
        render.send_all(req, resp, [views.tool(each) for each in found])


class OneTool(OfBatches):
    """/tools/{tool_id}"""

    def on_get(self, req: falcon.Request, resp: falcon.Response, tool_id: str) -> None:
        found = self._batches.tool(req.context.caller, tool_id)
        render.send_one(req, resp, views.tool(found))


class FilesystemList(OfBatches):
    """/filesystems"""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = self._batches.filesystems(req.context.caller)
        render.send_all(req, resp, [views.filesystem(each) for each in found])
