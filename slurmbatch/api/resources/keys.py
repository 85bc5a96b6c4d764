"""The caller's own API keys."""

from __future__ import annotations

import falcon

from slurmbatch.api import body, newkeys, render, views
from slurmbatch.api.ports import Keyring
from slurmbatch.api.resources import Readable
from slurmbatch.errors import Invalid


class KeyList(Readable):
    """/keys"""

    def __init__(self, keyring: Keyring, max_body_bytes: int) -> None:
        self._keyring = keyring
        self._max_body_bytes = max_body_bytes

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller = req.context.caller
        found = self._keyring.all(caller)
        render.send_all(req, resp, [views.key(each, caller) for each in found])

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        new, faults = newkeys.read_new_key(body.read_json(req, self._max_body_bytes, empty={}))
        if faults:
            raise Invalid(faults)
        kept, secret = self._keyring.create(
            req.context.caller, new, request_id=req.context.request_id
        )
        resp.status = falcon.HTTP_201
        resp.location = f"{req.root_path}/keys/{kept.key_id}"
        render.send_one(req, resp, views.new_key(kept, req.context.caller, secret))


class OneKey(Readable):
    """/keys/{key_id}"""

    # Whoever has a key may give it up, whatever else it is good for.
    scopes_by_itself = ("DELETE",)

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def on_get(self, req: falcon.Request, resp: falcon.Response, key_id: str) -> None:
        found = self._keyring.one(req.context.caller, key_id)
        render.send_one(req, resp, views.key(found, req.context.caller))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, key_id: str) -> None:
        self._keyring.revoke(req.context.caller, key_id, request_id=req.context.request_id)
