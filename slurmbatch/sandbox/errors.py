"""What can go wrong with a sandbox. The message of each is meant to be shown as it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

SHOWN_LINES = 15


class SandboxError(Exception):
    """Something about the sandbox is not as it must be."""


class MissingPrograms(SandboxError):
    """Programs that the sandbox needs are not installed."""

    def __init__(self, packages: Mapping[str, str]) -> None:
        self.packages = dict(packages)
        lines = [f"  {program}: Debian package {package}" for program, package in packages.items()]
        install = " ".join(dict.fromkeys(packages.values()))
        super().__init__(
            "These programs are missing:\n"
            + "\n".join(lines)
            + f"\nInstall them: apt-get install --no-install-recommends {install}"
        )


class ComponentFailed(SandboxError):
    """A part of the sandbox did not come up."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        self.name = name
        self.log = log
        super().__init__("\n".join([f"{name} {what}.", f"Its log is {log}", *_indented(log)]))


def _indented(log: Path) -> Iterable[str]:
    if not log.exists():
        return []
    lines = log.read_text(errors="replace").splitlines()
    return [f"  {line}" for line in lines[-SHOWN_LINES:]]
