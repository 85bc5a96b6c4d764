"""The daemon as it is, with a trigger at every call to the store and to Slurm.

python -m tests.chaos.killable --config FILE --gun DIRECTORY [--hide-ended]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import peewee

from slurmbatch import daemon
from slurmbatch.config import Settings, load
from slurmbatch.errors import SlurmbatchError
from slurmbatch.model import JobReport
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.states import ENDS
from slurmbatch.store import Store, changes, policy
from slurmbatch.store.database import Database
from tests.chaos.points import Gun, Trigger, Watched


class KillableDatabase(Database):
    """With a point inside of every transaction, before its commit, and around each sync."""

    def __init__(self, path: Path, trigger: Trigger) -> None:
        self._trigger = trigger
        super().__init__(path, exclusive=True)

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[peewee.SqliteDatabase]:
        with super().write(synced=synced) as db:
            yield db
            self._trigger.hit("database.commit:before")
        self._trigger.hit("database.commit:after")

    def sync(self) -> None:
        self._trigger.hit("database.sync:before")
        super().sync()
        self._trigger.hit("database.sync:after")


class Forgetful:
    """Slurm with a MinJobAge of nothing: what has ended is to be asked of accounting."""

    def __init__(self, slurm: SlurmPort) -> None:
        self._slurm = slurm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slurm, name)

    def live(self) -> Collection[JobReport]:
        return [row for row in self._slurm.live() if row.state not in ENDS]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--gun", type=Path, required=True)
    parser.add_argument("--hide-ended", action="store_true")
    options = parser.parse_args()
    trigger = Trigger(Gun(options.gun))
    # Inside of the transaction in which an end is written.
    vars(changes)["policy"] = Watched("policy", policy, trigger)

    def store(settings: Settings) -> Store:
        made = Store(KillableDatabase(settings.store.path, trigger))
        for name in ("arrays", "graves", "batches", "gates", "retries", "throttles"):
            setattr(made, name, Watched(name, getattr(made, name), trigger))
        return made

    def slurm(settings: Settings) -> SlurmPort:
        real: Any = daemon.command_slurm(settings)
        seen = Forgetful(real) if options.hide_ended else real
        return cast(SlurmPort, Watched("slurm", seen, trigger))

    try:
        return daemon.run(load(options.config), daemon.Parts(store=store, slurm=slurm))
    except SlurmbatchError as error:
        print(error.detail, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
