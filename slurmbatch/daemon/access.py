"""Who may come in, put together from the settings, and again when those are read anew; and what is
written down about it aside."""

from __future__ import annotations

from collections.abc import Callable

from slurmbatch import journal
from slurmbatch.accounts import Groups
from slurmbatch.config import Settings
from slurmbatch.daemon.reload import Replaceable
from slurmbatch.health import Health
from slurmbatch.identity import Identity
from slurmbatch.identity.admins import Admins
from slurmbatch.identity.jwks import Remotes
from slurmbatch.identity.keyring import Keyring
from slurmbatch.identity.munge import Munge
from slurmbatch.identity.uses import Uses
from slurmbatch.slurm.unmunge import Unmunge
from slurmbatch.store import COMMAND_LINE, Store
from slurmbatch.worker import Worker

INTERVAL = 10.0
JWKS_INTERVAL = 1.0
_DAY = 86_400.0
_log = journal.get("audit")


class Access:
    """`identity` and `keyring` stand for those of the settings in force; `workers` do what no
    request has to wait for."""

    def __init__(
        self, settings: Settings, store: Store, health: Health,
        seen: Callable[[str, float, bool], None] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._settings = settings
        self._groups = Groups()
        self._uses = Uses(store.keys)
        self._told = store.audit.newest()
        self._remotes = Remotes()
        self._munge = Munge()
        self.identity = Replaceable(self._identity(settings))
        self.keyring = Replaceable(self._keyring(settings))
        self.workers = (
            Worker("records", self.tick, INTERVAL, health, seen=seen),
            Worker("jwks", self._remotes.tick, JWKS_INTERVAL, health, seen=seen),
        )

    def requests_per_minute(self, user_id: str) -> int | None:
        return self._settings.limits.of(user_id, self._groups.is_in_any).requests_per_minute

    def adopt(self, settings: Settings) -> None:
        self.identity.now, self.keyring.now = self._identity(settings), self._keyring(settings)
        self._settings = settings

    def tick(self, now: float) -> float | None:
        """When keys were used, what administrators have done with commands, and the end of what
        the audit trail has kept long enough. Gives how soon there is more to do."""
        self._uses.tick(now)
        self._tell()
        days, most = self._settings.store.keep_days, self._settings.store.audit_rows
        before = None if days is None else now - days * _DAY
        return 0.1 if self._store.audit.forget(before, most) else None

    def _tell(self) -> None:
        """What was done by another process has no line in this one's log yet."""
        for pk, act in self._store.audit.after(self._told, COMMAND_LINE):
            _log.info("act of an administrator", what=act.what, outcome=act.outcome,
                      target=act.target, owner=act.owner, user=act.user_id,
                      credential=act.credential, detail=act.detail)  # fmt: skip
            self._told = pk

    def _identity(self, settings: Settings) -> Identity:
        admins = Admins(settings.auth.admins, settings.auth.admin_groups)
        issuers = settings.auth.jwt
        published = self._remotes.of(
            (each.issuer, each.jwks_url, each.algorithms) for each in issuers if each.jwks_url
        )
        return Identity(
            self._store.keys, issuers, uses=self._uses, is_admin=admins.is_one,
            published=published, munge=self._munge_of(settings),
        )  # fmt: skip

    def _munge_of(self, settings: Settings) -> Munge:
        """The one that there is, as long as the settings say the same: it knows what was used."""
        wanted = settings.auth.munge
        made = Munge(wanted.urls, Unmunge(wanted.socket))
        if (made.urls, made.unmunge) != (self._munge.urls, self._munge.unmunge):
            self._munge = made
        return self._munge

    def _keyring(self, settings: Settings) -> Keyring:
        return Keyring(self._store.keys, settings.auth.key_days)
