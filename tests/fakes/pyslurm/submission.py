"""pyslurm.core.job.submission: a description knows its attributes and checks its values."""

from __future__ import annotations

import os
import re
from typing import Any

from .api import LIB

# Those of the real one that may matter to us, of its about eighty.
ATTRIBUTES = frozenset((
    "account", "array", "comment", "constraints", "cpus_per_task", "environment",
    "excluded_nodes", "gres_per_node", "group_id", "is_requeueable", "licenses",
    "log_files_open_mode", "memory_per_cpu", "memory_per_node", "name", "nodes", "ntasks",
    "partitions", "priority", "qos", "script", "standard_error", "standard_in",
    "standard_output", "time_limit", "user_id", "working_directory",
))  # fmt: skip


class JobSubmitDescription:
    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            if name not in ATTRIBUTES:
                raise AttributeError(f"'JobSubmitDescription' object has no attribute '{name}'")
            setattr(self, name, value)

    def submit(self) -> int:
        values = dict(vars(self))
        _check_script(values.get("script") or "")
        environment = values.pop("environment", None)
        if isinstance(environment, dict) and environment:
            given = {name: value for name, value in os.environ.items() if name[:6] == "SLURM_"}
            environment = {**given, **environment}
        else:
            environment = dict(os.environ)
        limit = values.get("time_limit")
        if limit is not None and str(limit).isdigit() and not isinstance(limit, int):
            raise TypeError("an integer is required")
        if limit is not None and not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", str(limit)):
            raise ValueError(f"Invalid Time Specification: {limit}.")
        if values.get("user_id") is not None and values.get("group_id") is None:
            values["group_id"] = 0
        values.setdefault("working_directory", os.getcwd())
        return LIB.submit(values, environment)


def _check_script(script: str) -> None:
    if not script or script.isspace():
        raise ValueError("Batch script is empty or none was provided.")
    if not script.startswith("#!"):
        raise ValueError("Not a valid Batch script. First line must start with '#!'")
    if "\0" in script:
        raise ValueError("The Slurm Controller does not allow scripts that contain a NULL")
    if "\r\n" in script:
        raise ValueError("Batch script contains DOS line breaks (\\r\\n)")
