"""Which settings take effect when they are read anew, and which need a restart."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from slurmbatch.config.load import Settings
from slurmbatch.config.schema import Log
from slurmbatch.config.section import Section

# Whole tables, the tools' files with them; of other tables, these keys.
_TABLES = frozenset((
    "auth", "auth.jwt", "auth.munge", "filesystems", "limits", "limits.exceptions", "log", "tools",
    "webhooks", "webhooks.hosts",
))  # fmt: skip
_KEYS = frozenset((
    "jobs.max_jobs_per_batch", "jobs.max_args_bytes", "server.precedent", "server.submit_wait",
    "slurm.array_size", "slurm.max_script_bytes", "store.audit_rows", "store.keep_days",
))  # fmt: skip


def is_live(table: str, key: str) -> bool:
    """Whether a key of a settings file's table takes effect without a restart."""
    return table in _TABLES or f"{table}.{key}" in _KEYS


def merge(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """What is in force after reading anew, and which keys have changed but need a restart."""
    kept: dict[str, Any] = {}
    waiting: list[str] = []
    for field in fields(Settings):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if not isinstance(after, Section) or isinstance(after, Log):
            continue
        keys = [
            key for key in type(after).model_fields
            if not is_live(field.name, key) and getattr(before, key) != getattr(after, key)
        ]  # fmt: skip
        kept[field.name] = after.model_copy(update={key: getattr(before, key) for key in keys})
        waiting += [f"{field.name}.{key}" for key in keys]
    return replace(new, **kept), waiting
