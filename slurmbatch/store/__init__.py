"""SQLite through peewee. Gives and takes model objects, never rows; raises our own errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slurmbatch.store.again import Caps, Plan, Retries
from slurmbatch.store.arrays import Arrays
from slurmbatch.store.audit import COMMAND_LINE, Trail
from slurmbatch.store.batches import Batches
from slurmbatch.store.database import Database
from slurmbatch.store.figures import Figures
from slurmbatch.store.gates import Blocked, Canaries, Decided, Due, Gates, Parent
from slurmbatch.store.graves import Graves, Standing
from slurmbatch.store.holding import NO_SUCH_BATCH
from slurmbatch.store.idempotency import Idempotency
from slurmbatch.store.ids import is_id, new_id, new_tag, tag_like
from slurmbatch.store.inserts import NewArray
from slurmbatch.store.keys import Keys
from slurmbatch.store.models import MetaRow
from slurmbatch.store.operations import Operations
from slurmbatch.store.outbox import Outbox
from slurmbatch.store.queue import Queue
from slurmbatch.store.throttle import Share, Throttles
from slurmbatch.store.upkeep import Upkeep
from slurmbatch.store.usage import Usages

__all__ = [
    "COMMAND_LINE",
    "NO_SUCH_BATCH",
    "Blocked",
    "Canaries",
    "Caps",
    "Decided",
    "Due",
    "Idempotency",
    "NewArray",
    "Parent",
    "Plan",
    "Share",
    "Standing",
    "Store",
    "is_id",
    "new_id",
    "new_tag",
    "open_store",
    "tag_like",
]


class Store:
    """The database, by subject: `keys`, `batches`, `arrays`, `queue` and so on."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.keys = Keys(database)
        self.audit = Trail(database)
        self.batches = Batches(database)
        self.arrays = Arrays(database)
        self.graves = Graves(database)
        self.usage = Usages(database)
        self.outbox = Outbox(database)
        self.gates = Gates(database)
        self.throttles = Throttles(database)
        self.retries = Retries(database)
        self.queue = Queue(database, self.arrays)
        self.figures = Figures(database)
        self.upkeep = Upkeep(database)
        self.operations = Operations(database)

    @property
    def instance(self) -> str:
        """This database's own short id: part of every tag."""
        return self.remember("instance", _new_instance(), keep=True)

    def recall(self, key: str) -> str | None:
        rows = self._db.sql("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def remember(self, key: str, value: str, *, keep: bool = False) -> str:
        """Keeps a small fact under a name; with `keep`, what is there already stays and wins."""
        old = self.recall(key)
        if old == value or (keep and old is not None):
            return old or value
        with self._db.write() as db:
            insert = MetaRow.insert(key=key, value=value)
            (insert.on_conflict_ignore() if keep else insert.on_conflict_replace()).bind(
                db
            ).execute()
        return self.recall(key) or value

    def on_commit(self, call: Callable[[], None]) -> None:
        """Has this called after each transaction, in the thread that wrote; it has to be quick."""
        self._db.on_commit = call

    def check(self) -> None:
        """Raises StoreUnavailable or StoreFull unless the database can be written just now."""
        with self._db.write() as db:
            db.execute_sql("INSERT OR REPLACE INTO meta VALUES ('checked', strftime('%s', 'now'))")

    def sync(self) -> None:
        """Returns when all that was written before is on the disk. Raises StoreUnavailable."""
        self._db.sync()

    def close(self) -> None:
        self._db.close()


def open_store(path: Path, *, exclusive: bool) -> Store:
    """Opens the database, making it if need be.

    `exclusive` is the daemon: it migrates and holds the lock. Raises AlreadyRunning, NewerSchema,
    StoreUnavailable, StoreFull.
    """
    store = Store(Database(path, exclusive=exclusive))
    if exclusive:
        store.batches.forget_staged()
        store.batches.summarise()
        store.remember("instance", _new_instance(), keep=True)  # so that every backup has it
    return store


def _new_instance() -> str:
    return new_id()[-10:]
