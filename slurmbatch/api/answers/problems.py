"""What is wrong."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict


class FaultView(TypedDict):
    """One mistake in a body: where, and what was expected."""

    pointer: Annotated[str, Field(description="A JSON pointer (RFC 6901) to the field.")]
    detail: str


class _Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str


class LimitView(TypedDict):
    """A limit that is reached: its name, how much it allows, is in use, and was wanted beside."""

    limit: str
    most: int
    used: int
    wanted: int


class ProblemView(_Problem, total=False):
    """RFC 9457. `errors` names every mistake of a body that is not acceptable, `limits` each limit
    that is reached."""

    errors: list[FaultView]
    limits: list[LimitView]
