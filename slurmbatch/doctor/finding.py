"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, WRONG = "ok", "warning", "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is the check's name; `advice` is empty where there is nothing to do."""

    check: str
    level: str
    found: str
    advice: str = ""


def wrong(check: str, found: str, advice: str) -> Finding:
    return Finding(check, WRONG, found, advice)


def warning(check: str, found: str, advice: str) -> Finding:
    return Finding(check, WARNING, found, advice)
