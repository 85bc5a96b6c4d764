"""The shape of a new API key: its name, what it is good for, and until when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from slurmbatch.api.shapes import CLOSED, NO_CONTROLS, shape_faults
from slurmbatch.errors import Fault
from slurmbatch.model import NewKey, Scope

_MAX_NAME = 100
_AT_MOST = 40


class NewKeyBody(TypedDict):
    """A key for yourself; all of it may be left out."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    name: NotRequired[
        Annotated[
            str,
            Field(max_length=_MAX_NAME, pattern=NO_CONTROLS, description="For you to know it by."),
        ]
    ]
    scopes: NotRequired[
        Annotated[
            list[Literal["read", "submit", "admin"]],
            Field(
                min_length=1,
                max_length=3,
                description="What it is good for, as far as what you ask with is; left out: for "
                "all of that but admin.",
            ),
        ]
    ]
    expires_at: NotRequired[
        Annotated[
            str,
            Field(
                max_length=_AT_MOST,
                description="When it stops to work (RFC 3339); left out: as late as may be.",
                json_schema_extra={"format": "date-time"},
            ),
        ]
    ]


NEW_KEY: TypeAdapter[Any] = TypeAdapter(NewKeyBody)
_FIELDS = {"": tuple(NewKeyBody.__annotations__)}


def read_new_key(value: object) -> tuple[NewKey, list[Fault]]:
    """What is wanted, and a fault for each part of it whose shape is wrong."""
    faults = shape_faults(NEW_KEY, _FIELDS, value)
    wanted = value.get("expires_at") if isinstance(value, dict) else None
    until = _moment(wanted) if isinstance(wanted, str) and len(wanted) <= _AT_MOST else None
    if isinstance(wanted, str) and len(wanted) <= _AT_MOST and until is None:
        faults.append(Fault("/expires_at", "Expected a time such as 2027-01-31T12:00:00Z."))
    if faults:
        return NewKey(), faults
    body: NewKeyBody = value  # type: ignore[assignment]
    scopes = body.get("scopes")
    return NewKey(
        name=body.get("name", ""),
        scopes=None if scopes is None else frozenset(map(Scope, scopes)),
        expires_at=until,
    ), []


def _moment(text: str) -> float | None:
    """Seconds since the epoch, of what says all of it: a time without a zone is none."""
    try:
        found = datetime.fromisoformat(text)
        return found.timestamp() if found.tzinfo is not None and "T" in text else None
    except (ValueError, OverflowError):
        return None
