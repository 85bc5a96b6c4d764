"""Who may come in, put together from the settings, and again when those are read anew."""

from __future__ import annotations

from collections.abc import Callable

from slurmbatch.config import Settings
from slurmbatch.daemon.reload import Replaceable
from slurmbatch.health import Health
from slurmbatch.identity import Identity
from slurmbatch.identity.keyring import Keyring
from slurmbatch.identity.uses import Uses
from slurmbatch.store import Store
from slurmbatch.worker import Worker

INTERVAL = 10.0


class Access:
    """`identity` and `keyring` stand for those of the settings in force; `worker` writes down when
    keys were last used."""

    def __init__(
        self, settings: Settings, store: Store, health: Health,
        seen: Callable[[str, float, bool], None] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._uses = Uses(store.keys)
        self.identity = Replaceable(self._identity(settings))
        self.keyring = Replaceable(self._keyring(settings))
        self.worker = Worker("uses", self._uses.tick, INTERVAL, health, seen=seen)

    def adopt(self, settings: Settings) -> None:
        self.identity.now, self.keyring.now = self._identity(settings), self._keyring(settings)

    def _identity(self, settings: Settings) -> Identity:
        return Identity(self._store.keys, settings.auth.jwt, uses=self._uses)

    def _keyring(self, settings: Settings) -> Keyring:
        return Keyring(self._store.keys, settings.auth.key_days)
