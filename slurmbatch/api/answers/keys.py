"""API keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict


class KeyView(TypedDict):
    """An API key of yours, without its secret."""

    key_id: str
    name: str
    scopes: Annotated[list[str], Field(description="Some of read, submit and admin.")]
    created_at: str
    expires_at: str
    last_used_at: Annotated[str, Field(description="As of a minute ago.")]
    revoked_at: str
    current: Annotated[bool, Field(description="Whether it is the one that asks.")]


class NewKeyView(KeyView):
    """A new one, with all of it: that is shown this once."""

    key: Annotated[str, Field(description="What to send in the Authorization header.")]
