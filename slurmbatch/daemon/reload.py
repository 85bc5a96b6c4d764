"""The settings and tools are read anew on SIGHUP, all or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slurmbatch import journal
from slurmbatch.config import Settings, load, merge
from slurmbatch.errors import SettingsError

_log = journal.get("daemon")


class Replaceable:
    """Stands for something that may be replaced while it is used: a call goes to the one that is
    there when it begins, and stays with it."""

    def __init__(self, first: Any) -> None:
        self.now = first

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


@dataclass(slots=True)
class Loaded:
    """Which settings are in force: since when, and what came of reading them anew after that."""

    loaded_at: float
    failed_at: float | None = None
    trouble: str = ""
    waiting: tuple[str, ...] = ()

    def summary(self) -> str:
        """For whoever looks at the service; "" if there is nothing to say."""
        if self.trouble:
            return f"the new settings have mistakes, the old ones stay: {self.trouble}"
        return f"needs a restart for {', '.join(self.waiting)}" if self.waiting else ""

    def report(self, utc: Callable[[float], str]) -> dict[str, Any]:
        """For /readyz, which anybody may ask: no values, no paths."""
        failed_at = "" if self.failed_at is None else utc(self.failed_at)
        return {"ok": self.failed_at is None, "loaded_at": utc(self.loaded_at),
                "failed_at": failed_at, "restart_needed": list(self.waiting)}  # fmt: skip


class Reloader:
    """Reads the settings anew when told to. `apply` puts settings into force; it may refuse them
    with SettingsError, and has changed nothing then."""

    def __init__(self, settings: Settings, apply: Callable[[Settings], None]) -> None:
        self.settings = settings
        self.loaded = Loaded(time.time())
        self._apply = apply

    def reload(self) -> bool:
        now = time.time()
        try:
            settings, waiting = merge(self.settings, load(self.settings.source))
            self._apply(settings)
        except SettingsError as error:
            first, more = error.mistakes[0], len(error.mistakes) - 1
            self.loaded.failed_at = now
            self.loaded.trouble = first + (f" (and {more} more)" if more else "")
            _log.error("the new settings have mistakes, the old ones stay",
                       mistakes="; ".join(error.mistakes))  # fmt: skip
            return False
        self.settings = settings
        self.loaded.loaded_at, self.loaded.waiting = now, tuple(waiting)
        self.loaded.failed_at, self.loaded.trouble = None, ""
        _log.info("settings read anew", tools=",".join(settings.tools),
                  restart_needed=",".join(waiting))  # fmt: skip
        return True
