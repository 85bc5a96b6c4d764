"""`depends_on` in the body of a new batch: ids, or objects that say more.

Read by hand, since a union's errors do not name the field that is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slurmbatch.api.variable import escaped, kind
from slurmbatch.errors import Fault
from slurmbatch.model import Dependency, DependencyType

MOST = 100
_FIELDS = ("batch_id", "type")
_LONGEST = 200
_ID = {"type": "string", "maxLength": _LONGEST}
_TYPES = {
    "type": "string",
    "enum": [each.value for each in DependencyType],
    "default": DependencyType.AFTEROK.value,
}
SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": MOST,
    "items": {
        "anyOf": [
            _ID,
            {
                "type": "object",
                "properties": {"batch_id": _ID, "type": _TYPES},
                "required": ["batch_id"],
                "additionalProperties": False,
            },
        ]
    },
}


def read(value: object) -> tuple[list[Dependency], list[Fault]]:
    """Those whose shape is right, and a fault for each part that is not."""
    if not isinstance(value, list):
        return [], [Fault("/depends_on", f"Expected an array, not {kind(value)}.")]
    if len(value) > MOST:
        return [], [Fault("/depends_on", f"Expected at most {MOST} elements.")]
    found: list[Dependency] = []
    faults: list[Fault] = []
    for index, each in enumerate(value):
        read_one = _read(each, f"/depends_on/{index}")
        if isinstance(read_one, Dependency):
            found.append(read_one)
        else:
            faults += read_one
    return found, faults


def _read(value: object, pointer: str) -> Dependency | list[Fault]:
    if isinstance(value, str):
        return _id_fault(value, pointer) or Dependency(value, pointer=pointer)
    if not isinstance(value, dict):
        detail = f"Expected the id of a batch, or an object with it, not {kind(value)}."
        return [Fault(pointer, detail)]
    faults = list(_object_faults(value, pointer))
    if faults:
        return faults
    asked = DependencyType(value.get("type", DependencyType.AFTEROK))
    return Dependency(value["batch_id"], asked, f"{pointer}/batch_id")


def _object_faults(value: Mapping[str, Any], pointer: str) -> Iterator[Fault]:
    for name in value.keys() - set(_FIELDS):
        there = ", ".join(_FIELDS)
        yield Fault(f"{pointer}/{escaped(name)}",
                    f"There is no such field here; there are: {there}.")  # fmt: skip
    if "batch_id" not in value:
        yield Fault(f"{pointer}/batch_id", "This field is required.")
    elif not isinstance(value["batch_id"], str):
        detail = f"Expected a string, not {kind(value['batch_id'])}."
        yield Fault(f"{pointer}/batch_id", detail)
    else:
        yield from _id_fault(value["batch_id"], f"{pointer}/batch_id")
    if "type" in value and value["type"] not in list(DependencyType):
        yield Fault(f"{pointer}/type", f"Expected one of {', '.join(DependencyType)}.")


def _id_fault(text: str, pointer: str) -> list[Fault]:
    if len(text) <= _LONGEST:
        return []
    return [Fault(pointer, f"Expected at most {_LONGEST} characters.")]
