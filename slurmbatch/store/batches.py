"""What is made of batches, and done to them. The owner stands in every WHERE."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from slurmbatch.errors import SlurmbatchError
from slurmbatch.limits import Bound
from slurmbatch.model import Act, ArgValue, Batch, Notify
from slurmbatch.store import audit, holding, outbox, room, staging, summaries
from slurmbatch.store.database import honest_errors
from slurmbatch.store.idempotency import Idempotency, earlier, remember
from slurmbatch.store.inserts import (
    JOBS_A_STATEMENT,
    NewArray,
    in_portions,
    insert_array,
    insert_batch,
    insert_jobs,
    new_jobs,
)
from slurmbatch.store.models import BatchRow, IdempotencyRow
from slurmbatch.store.reads import Reads, visible

# Of one transaction of a new batch: a few hundredths of a second. Between two of them everybody who
# waits for a turn to write is to get it.
_JOBS_A_TRANSACTION = 10_000
_PAUSE = 0.002


class Batches(Reads):
    """Makes, cancels and deletes them, too."""

    def create(
        self,
        batch: Batch,
        *,
        fixed_args: Mapping[str, ArgValue],
        variable_args: Iterable[Mapping[str, ArgValue]],
        arrays: Sequence[NewArray],
        notify: Notify | None = None,
        idempotency: Idempotency | None = None,
        request_id: str = "",
        act: Act | None = None,
        bounds: Sequence[Bound] = (),
        args_bytes: int = 0,
        uid: int | None = None,
    ) -> str | None:
        """Keeps the batch, its arrays as intents, and its jobs: all or nothing, and on the disk
        after the next `sync`. `uid`: as whom they run; None: as the service.

        Gives the id of the batch that the idempotency key made before, and then keeps nothing;
        None if this one is new. Raises KeyReused if that one had another body, OverLimit and
        Invalid where it does not fit under the bounds.
        """
        staged = batch.n_jobs > _JOBS_A_TRANSACTION
        with self._db.write(synced=False) as db:
            if idempotency is not None:
                before = earlier(db, batch.user_id, idempotency)
                if before is not None:
                    return before
            room.require(db, bounds, room.of_batch(batch.n_jobs, args_bytes))
            if idempotency is not None and not staged:
                remember(db, batch.user_id, batch.batch_id, idempotency, batch.created_at)
            n_blocked = sum(each.n_tasks for each in arrays if each.gates)
            pk = insert_batch(db, batch, fixed_args, request_id, n_blocked, args_bytes, uid)
            if n_blocked or batch.max_parallel is not None:
                holding.build(db, pk, batch)
            if notify is not None:
                outbox.keep(db, pk, notify)
            made = [
                insert_array(db, pk, ordinal, array, batch.created_at)
                for ordinal, array in enumerate(arrays)
            ]
            size = min(JOBS_A_STATEMENT, _JOBS_A_TRANSACTION)
            jobs = new_jobs(pk, zip(made, arrays, strict=True), in_portions(variable_args), size)
            if staged:
                staging.hide(db, pk)
            else:
                insert_jobs(db, jobs)
                summaries.refresh(db, [pk])
                audit.write(db, act)
        return self._staged(batch, pk, jobs, idempotency, act) if staged else None

    def _staged(
        self,
        batch: Batch,
        pk: int,
        jobs: Iterator[tuple[int | str, ...]],
        idempotency: Idempotency | None,
        act: Act | None,
    ) -> str | None:
        """The jobs of a large batch, which nobody sees before all of them are there: in portions,
        so that nobody waits long for a turn to write."""
        try:
            at_once = max(1, _JOBS_A_TRANSACTION // JOBS_A_STATEMENT)
            while portions := list(islice(jobs, at_once)):
                with self._db.write() as db:
                    insert_jobs(db, portions)
                time.sleep(_PAUSE)
            with self._db.write() as db:
                if idempotency is not None:
                    before = earlier(db, batch.user_id, idempotency)
                    if before is not None:
                        staging.give_up(db, pk)
                        return before
                    remember(db, batch.user_id, batch.batch_id, idempotency, batch.created_at)
                staging.show(db, pk)
                summaries.refresh(db, [pk])
                holding.ring(db, [pk])
                audit.write(db, act)
        except BaseException:
            with suppress(SlurmbatchError), self._db.write() as db:
                staging.give_up(db, pk)
            raise
        return None

    def summarise(self) -> None:
        """At the start: whatever was kept before batches said anything of their jobs."""
        rows = self._db.sql("SELECT pk FROM batch WHERE summary = ''")
        if rows:
            with self._db.write() as db:
                summaries.refresh(db, [pk for (pk,) in rows])

    def forget_staged(self) -> None:
        """At the start: what an earlier process was making when it ended was never answered."""
        if staging.is_any(self._db):
            with self._db.write() as db:
                staging.give_up(db)

    def withdraw(
        self, batch_id: str, now: float, act: Act | None = None, *, also_accepted: bool = False
    ) -> bool:
        """Takes back a batch whose maker has not been answered, key and all, such as one that Slurm
        has refused.

        It goes the way of a deleted one, so that whatever is under way for it is ended. False, and
        nothing is done, where Slurm has accepted a part of it, unless `also_accepted`.
        """
        with self._db.write() as db:
            row = db.execute_sql(
                "SELECT n_submitted FROM batch WHERE batch_id = ?", (batch_id,)
            ).fetchone()
            if row is not None and row[0] and not also_accepted:
                return False
            IdempotencyRow.delete().where(IdempotencyRow.batch_id == batch_id).bind(db).execute()
            gone = db.execute_sql(
                "UPDATE batch SET deleted_at = coalesce(deleted_at, ?) WHERE batch_id = ?"
                " RETURNING pk",
                (now, batch_id),
            ).fetchall()
            holding.ring(db, [pk for (pk,) in gone])
            audit.write(db, act)
            return True

    def cancel(self, user_id: str, batch_id: str, now: float, act: Act | None = None) -> bool:
        """Puts the tombstone of a cancelled batch; False if the caller has no such batch."""
        with self._db.write() as db:
            mine = visible(user_id, batch_id)
            if not BatchRow.select().where(mine).bind(db).exists():
                return False
            # What has ended has nothing left to cancel, and is not shown as cancelled.
            open_yet = BatchRow.cancelled_at.is_null() & BatchRow.finished_at.is_null()
            update = BatchRow.update(cancelled_at=now, version=BatchRow.version + 1)
            cancelled = update.where(mine & open_yet).returning(BatchRow.pk).bind(db)
            pks = [row.pk for row in cancelled.execute()]
            for pk in pks:
                db.execute_sql(
                    "UPDATE array SET cancelled_at = ? WHERE cancelled_at IS NULL AND batch = ?",
                    (now, pk),
                )
            holding.ring(db, pks)
            audit.write(db, act)
            return True

    def delete(self, user_id: str, batch_id: str | None, now: float, act: Act | None = None) -> int:
        """Hides one batch, or all of the caller's, for good; gives how many."""
        with self._db.write() as db:
            mine = (BatchRow.user_id == user_id) & BatchRow.deleted_at.is_null()
            which = mine if batch_id is None else mine & (BatchRow.batch_id == batch_id)
            update = BatchRow.update(deleted_at=now).where(which).returning(BatchRow.pk)
            deleted = [row.pk for row in update.bind(db).execute()]
            holding.ring(db, deleted)
            if deleted and act is not None:
                told = f"{len(deleted)} batches" if batch_id is None else ""
                audit.write(db, replace(act, detail=told))
            return len(deleted)

    def require_room(self, bounds: Sequence[Bound], n_jobs: int, args_bytes: int) -> None:
        """Raises as `create` does where such a batch would not fit. Nothing is kept."""
        if bounds:
            with honest_errors():
                room.require(self._db.reader, bounds, room.of_batch(n_jobs, args_bytes))
