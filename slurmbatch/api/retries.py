"""The shape of a retry: which jobs, and with what."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from slurmbatch.api.shapes import CLOSED, NODES, shape_faults
from slurmbatch.errors import Fault
from slurmbatch.model import MAX_FACTOR, Retry

MAX_NODES = 1000
_Factor = Annotated[float, Field(ge=1, le=MAX_FACTOR, allow_inf_nan=False)]


class RetryBody(TypedDict):
    """Which of the failed jobs are run again, and with what; all of it may be left out."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    indices: NotRequired[
        Annotated[
            list[Annotated[int, Field(ge=0)]],
            Field(description="Only jobs with these indices, as far as they have failed."),
        ]
    ]
    memory_factor: NotRequired[
        Annotated[
            _Factor,
            Field(description="So many times the memory that each had, up to the tool's maximum."),
        ]
    ]
    time_factor: NotRequired[
        Annotated[
            _Factor,
            Field(description="So many times its time limit, up to the tool's maximum."),
        ]
    ]
    exclude_failed_nodes: NotRequired[
        Annotated[bool, Field(description="Not on the nodes on which these jobs have failed.")]
    ]
    exclude_nodes: NotRequired[
        Annotated[
            list[Annotated[str, Field(max_length=200, pattern=NODES)]],
            Field(max_length=MAX_NODES, description="Not on these nodes."),
        ]
    ]


RETRY: TypeAdapter[Any] = TypeAdapter(RetryBody)
_FIELDS = {"": tuple(RetryBody.__annotations__)}


def read_retry(value: object, reasons: frozenset[str]) -> tuple[Retry, list[Fault]]:
    """What is wanted, and a fault for each part of it whose shape is wrong."""
    faults = shape_faults(RETRY, _FIELDS, value)
    if faults:
        return Retry(), faults
    body: RetryBody = value  # type: ignore[assignment]
    indices = body.get("indices")
    return Retry(
        reasons=reasons,
        indices=None if indices is None else frozenset(indices),
        memory_factor=float(body.get("memory_factor", 1)),
        time_factor=float(body.get("time_factor", 1)),
        exclude_failed_nodes=body.get("exclude_failed_nodes", False),
        exclude_nodes=tuple(body.get("exclude_nodes", ())),
    ), []
