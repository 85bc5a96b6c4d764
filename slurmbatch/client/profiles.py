"""Which service to talk to, and with which key: from the environment, or as `login` has stored it.

One JSON file in the user's configuration directory, for nobody else to read.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slurmbatch.client.errors import ClientError

DEFAULT = "default"
URL, KEY, PROFILE = "SLURMBATCH_URL", "SLURMBATCH_API_KEY", "SLURMBATCH_PROFILE"


class NotLoggedIn(ClientError):
    """It is not known which service is meant, or the key to it is missing."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One service, and the key to it; `made_here`: by `slurmbatch login`, for this profile."""

    url: str
    key: str = field(repr=False)
    made_here: bool = False


@dataclass(frozen=True, slots=True)
class Profiles:
    """All that are stored; `current` is the one that is meant when none is named."""

    current: str = DEFAULT
    profiles: dict[str, Profile] = field(default_factory=dict)

    def having(self, name: str, profile: Profile) -> Profiles:
        """With this one, which becomes the current one."""
        return Profiles(name, {**self.profiles, name: profile})

    def without(self, name: str) -> Profiles:
        left = {each: profile for each, profile in self.profiles.items() if each != name}
        current = self.current if self.current in left else next(iter(left), DEFAULT)
        return Profiles(current, left)


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the profiles are, as XDG has it."""
    given = environment.get("XDG_CONFIG_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".config"
    return base / "slurmbatch" / "profiles.json"


def find(name: str | None = None, environment: Mapping[str, str] = os.environ) -> Profile:
    """The profile of this name; else what the environment says; else the current profile."""
    if name is not None:
        return _named(load(path(environment)), name)
    url, key = environment.get(URL), environment.get(KEY)
    if url and key:
        return Profile(url, key)
    stored = load(path(environment))
    if url:
        # A stored key goes only to where it belongs.
        for each in stored.profiles.values():
            if each.url.rstrip("/") == url.rstrip("/"):
                return each
        raise NotLoggedIn(f"{KEY} is not set, and no profile is for {url}: set it, or log in there")
    chosen = _named(stored, environment.get(PROFILE) or stored.current)
    return Profile(chosen.url, key or chosen.key)


def load(file: Path) -> Profiles:
    try:
        with file.open(encoding="utf-8") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise ClientError(f"{file} holds keys, and others may read it: chmod 600 {file}")
            return _read(json.load(opened))
    except FileNotFoundError:
        return Profiles()
    except OSError as error:
        raise ClientError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ClientError(f"{file} is no file of profiles: {error}") from error


def save(file: Path, profiles: Profiles) -> None:
    """Whole or not at all, and at no moment for others to read."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it with mode 0600.
    descriptor, temporary = tempfile.mkstemp(prefix=".profiles-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(asdict(profiles), opened, indent=2)
            opened.write("\n")
            opened.flush()
            os.fsync(descriptor)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(stored: Any) -> Profiles:
    found = {
        name: Profile(each["url"], each["key"], each.get("made_here", False))
        for name, each in stored["profiles"].items()
    }
    return Profiles(stored["current"], found)


def _named(stored: Profiles, name: str) -> Profile:
    try:
        return stored.profiles[name]
    except KeyError:
        pass
    if not stored.profiles:
        raise NotLoggedIn(f"Log in first (slurmbatch login URL), or set {URL} and {KEY}.")
    known = ", ".join(stored.profiles)
    raise NotLoggedIn(f"There is no profile {name!r}; there are: {known}.")
