"""API keys."""

from __future__ import annotations

from slurmbatch.api.answers import KeyView, NewKeyView
from slurmbatch.api.views.parts import moment
from slurmbatch.model import ApiKey, Caller, Scope


def key(key: ApiKey, caller: Caller) -> KeyView:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": [str(each) for each in Scope if each in key.scopes],
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "last_used_at": moment(key.used_at),
        "revoked_at": moment(key.revoked_at),
        "current": key.key_id == caller.key_id,
    }


def new_key(kept: ApiKey, caller: Caller, secret: str) -> NewKeyView:
    return {**key(kept, caller), "key": secret}
