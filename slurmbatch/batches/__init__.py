"""What a caller may ask for. Nothing here asks Slurm: every answer comes from the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from slurmbatch.accounts import Account, Groups
from slurmbatch.accounts import find as find_account
from slurmbatch.batches import parents
from slurmbatch.batches.cut import Cutter, most_tasks
from slurmbatch.batches.looks import Looks
from slurmbatch.batches.others import who
from slurmbatch.batches.resolve import Offer, Resolved, resolve
from slurmbatch.batches.retry import plan
from slurmbatch.batches.rules import Rules
from slurmbatch.batches.trial import Trials
from slurmbatch.doorbell import Doorbell
from slurmbatch.drafts import Drafts
from slurmbatch.errors import (
    Fault,
    Invalid,
    NotFound,
    RefusedBySlurm,
    SlurmbatchError,
    Unavailable,
)
from slurmbatch.health import Health
from slurmbatch.journal import get
from slurmbatch.limits import Bound, bounds
from slurmbatch.model import (
    Batch,
    Caller,
    Filesystem,
    NewBatch,
    Retry,
    Status,
    Tool,
    Trial,
    act_of,
)
from slurmbatch.precedents import like
from slurmbatch.store import Idempotency, NewArray, Store, new_id, new_tag

__all__ = ["Batches", "Rules"]

_log = get("batches")


class Batches(Looks):
    """Raises the errors of `slurmbatch.errors`; whatever belongs to others is NotFound."""

    def __init__(
        self,
        store: Store,
        offer: Offer,
        rules: Rules,
        doorbell: Doorbell,
        health: Health,
        clock: Callable[[], float] = time.time,
        trials: Trials | None = None,
        groups: Groups | None = None,
        account: Callable[[str], Account] = find_account,
    ) -> None:
        super().__init__(store, rules, health, clock)
        self._offer = offer
        self._doorbell = doorbell
        self._trials = trials
        self._groups = groups or Groups()
        self._account = account

    # --- what is offered ------------------------------------------------------------------------

    def tools(self, caller: Caller) -> list[Tool]:
        return list(self._offered(caller).tools.values())

    def tool(self, caller: Caller, tool_id: str) -> Tool:
        tool = self._offered(caller).tools.get(tool_id)
        if tool is None:
            raise NotFound
        return tool

    def filesystems(self, caller: Caller) -> list[Filesystem]:
        return list(self._offered(caller).filesystems.values())

    def _offered(self, caller: Caller) -> Offer:
        return self._offer.seen_by(lambda groups: self._groups.is_in_any(caller.user_id, groups))

    # --- a new batch ----------------------------------------------------------------------------

    def earlier(self, caller: Caller, idempotency_key: str, body_hash: bytes) -> Batch | None:
        """The batch that this key and body made before, whatever is offered now.

        Raises KeyReused, Conflict (the batch is deleted).
        """
        key = Idempotency(idempotency_key, body_hash)
        batch_id = self._store.batches.earlier(caller.user_id, key)
        return self._made_before(caller, batch_id) if batch_id is not None else None

    def max_jobs(self, caller: Caller, idempotency_key: str | None) -> int | None:
        """How many jobs a new batch may have; None where the key has made one already, whatever
        the limit was then."""
        made = idempotency_key is not None and self._store.batches.has_made(
            caller.user_id, idempotency_key
        )
        return None if made else self._offer.max_jobs

    def check(self, caller: Caller, new: NewBatch, known: Collection[str] = ()) -> list[Fault]:
        """The faults in what the batch means, but for fields in `known`, which have some anyway."""
        return self._resolve(caller, new, known)[1]

    def _resolve(
        self, caller: Caller, new: NewBatch, known: Collection[str] = ()
    ) -> tuple[Resolved | None, list[Fault]]:
        resolved, faults = resolve(new, self._offered(caller), known)
        faults = [*faults, *parents.faults(self._store, caller, new, known)]
        return None if faults else resolved, faults

    def submit(
        self,
        caller: Caller,
        new: NewBatch,
        *,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
        request_id: str = "",
    ) -> tuple[Batch, bool]:
        """Keeps the batch, and hears for a moment what Slurm says; False: it was there before.

        Raises Invalid, KeyReused, Conflict (the key's batch is deleted), RefusedBySlurm,
        AccountRefused, Unavailable (no new ones are accepted).
        """
        if not self._has_made(caller, idempotency_key):
            self._refuse_while_drained()
        owner = self._owner(caller)
        batch, resolved, arrays, tasks = self._made(caller, new)
        room = self._bounds(caller, resolved.tool)
        idempotency = Idempotency(idempotency_key, body_hash) if idempotency_key else None
        with self._doorbell.expect(batch.batch_id) as word:
            # Before the batch is there: the submitter may come round in the very next moment.
            _keep(self._doorbell.drafts, resolved.tool, arrays, tasks)
            earlier = self._store.batches.create(
                batch,
                fixed_args=resolved.fixed_args,
                variable_args=resolved.variable_args,
                arrays=arrays,
                notify=resolved.notify,
                idempotency=idempotency,
                request_id=request_id,
                act=act_of(caller, batch.created_at, "batch.create", batch.batch_id,
                           request_id=request_id, detail=batch.tool_id),
                bounds=room,
                args_bytes=new.args_bytes,
                uid=owner.uid if owner else None,
            )  # fmt: skip
            if earlier is not None:
                return self._made_before(caller, earlier, request_id), False
            _log.info("batch accepted", batch_id=batch.batch_id, tool=batch.tool_id,
                      n_jobs=batch.n_jobs, **who(caller, request_id))  # fmt: skip
            patience = 0.0 if word is None else self._patience(batch, owner, arrays[0])
            if patience:
                self._doorbell.ring()  # Slurm gets it while the disk is waited for
            self._make_safe(batch)
            if word is not None:
                self._refused(caller, batch.batch_id, word.wait(patience), request_id)
        made = self._as_made(caller, batch)
        if not patience:
            self._doorbell.ring()  # not before: the submitter would take turns with the answer
        return made, True

    def _as_made(self, caller: Caller, batch: Batch) -> Batch:
        try:
            return self.get(caller, batch.batch_id)
        except NotFound:  # deleted by its owner in the meantime; it was made all the same
            return replace(batch, counts={Status.SUBMITTED: batch.n_jobs})

    def _patience(self, batch: Batch, owner: Account | None, first: NewArray) -> float:
        """For how many seconds Slurm's word on a new batch is waited for; where it is not asked
        yet, the submitter's on what it waits for, which comes at once."""
        what = like(batch.user_id, owner.uid if owner else None, batch.tool_id, batch.hardware,
                    batch.slurm, first.n_tasks)  # fmt: skip
        known = not first.gates and self._doorbell.precedents.has(what, self._rules.precedent)
        return 0.0 if known or self._health.is_down("slurmctld") else self._rules.submit_wait

    def _make_safe(self, batch: Batch) -> None:
        """Returns when the batch survives a power cut, for which it is waited while Slurm gets it,
        held. Raises StoreUnavailable, StoreFull: then it is taken back."""
        try:
            self._store.sync()
        except SlurmbatchError:
            with suppress(SlurmbatchError):
                self._store.batches.withdraw(batch.batch_id, self._clock(), also_accepted=True)
                self._doorbell.ring()
            raise

    def _has_made(self, caller: Caller, key: str | None) -> bool:
        return key is not None and self._store.batches.has_made(caller.user_id, key)

    def _bounds(self, caller: Caller, tool: Tool) -> tuple[Bound, ...]:
        limits = self._rules.quotas.of(caller.user_id, self._groups.is_in_any)
        return bounds(limits, caller.user_id, tool.limits, tool.id)

    def _owner(self, caller: Caller) -> Account | None:
        """As whom the caller's jobs run; None: as the service. Raises AccountRefused,
        AccountsUnreachable."""
        return self._account(caller.user_id) if self._rules.persons else None

    def _refuse_while_drained(self) -> None:
        drained = self._store.operations.drained()
        if drained is not None:
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(drained[0]))
            raise Unavailable(f"Nothing new is accepted since {since}: {drained[1]}")

    def try_out(self, caller: Caller, new: NewBatch) -> Trial:
        """All that is checked of a new batch, and what Slurm would say of it; nothing is kept.

        Raises Invalid, AccountRefused, RefusedBySlurm, Unavailable, SlurmUnreachable.
        """
        if self._trials is None:
            raise Unavailable("There is no dry run here.")
        owner = self._owner(caller)
        batch, resolved, arrays, _ = self._made(caller, new)
        room = self._bounds(caller, resolved.tool)
        self._store.batches.require_room(room, batch.n_jobs, new.args_bytes)
        return self._trials.of(
            batch, resolved, arrays, self._offer.filesystems, self._rules.claims_dir, owner
        )

    def _made(
        self, caller: Caller, new: NewBatch
    ) -> tuple[Batch, Resolved, list[NewArray], Sequence[str]]:
        """What is to be kept, and its tasks; no tasks where they are too many. Raises Invalid."""
        resolved, faults = self._resolve(caller, new)
        if resolved is None:
            raise Invalid(faults)
        batch = replace(
            self._batch(caller, resolved), depends_on=new.depends_on, max_parallel=new.max_parallel
        )
        return batch, resolved, *self._cutter().arrays(batch, resolved)

    def _cutter(self) -> Cutter:
        rules, store = self._rules, self._store
        return Cutter(rules, self._offer.filesystems, store.instance, most_tasks(store, rules))

    def _made_before(self, caller: Caller, batch_id: str, request_id: str = "") -> Batch:
        """The batch of an earlier request, which may wait for Slurm's word on it still: what that
        one is answered holds for this one, too."""
        self._store.sync()
        with self._doorbell.overhear(batch_id) as word:
            if word is not None:
                refusal = word.wait(self._rules.submit_wait)
                self._refused(caller, batch_id, refusal, request_id)
            elif self._doorbell.is_expected(batch_id):
                raise Unavailable("The same request is being answered; try again in a moment.")
        return self.get(caller, batch_id)

    def _refused(self, caller: Caller, batch_id: str, refusal: str, request_id: str) -> None:
        now = self._clock()
        act = act_of(caller, now, "batch.create", batch_id, outcome="refused",
                     request_id=request_id, detail=f"by Slurm: {refusal[:200]}")  # fmt: skip
        if refusal and self._store.batches.withdraw(batch_id, now, act):
            self._doorbell.ring()
            _log.info("batch withdrawn, Slurm refused it", batch_id=batch_id, refusal=refusal,
                      **who(caller, request_id))  # fmt: skip
            raise RefusedBySlurm(f"Slurm refused the batch: {refusal}")

    def _batch(self, caller: Caller, resolved: Resolved) -> Batch:
        return Batch(
            batch_id=new_id(),
            user_id=caller.user_id,
            tool_id=resolved.tool.id,
            name=resolved.name,
            n_jobs=len(resolved.variable_args),
            hardware=resolved.hardware,
            slurm=resolved.slurm,
            created_at=self._clock(),
            version=1,
            n_submitted=0,
            counts={},
            canary=resolved.canary,
            retry=resolved.retry,
        )

    # --- once more ------------------------------------------------------------------------------

    def retry(
        self,
        caller: Caller,
        batch_id: str,
        wanted: Retry,
        *,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
        request_id: str = "",
    ) -> Batch:
        """Runs failed jobs again. That they will be is on the disk when this returns.

        Raises Invalid, KeyReused, AccountRefused, Conflict (none of them has failed, its tool is
        gone), Unavailable (nothing new is accepted).
        """
        batch = self._own(caller, batch_id, "batch.retry", request_id)
        if not self._has_made(caller, idempotency_key):
            self._refuse_while_drained()
            self._owner(caller)
        fixed = self._store.batches.fixed_args(caller.user_id, batch_id)
        instance = self._store.instance
        how = plan(
            batch,
            fixed,
            wanted,
            self._offered(caller),
            self._cutter().sizes,
            lambda: new_tag(instance),
        )
        key = Idempotency(idempotency_key, body_hash) if idempotency_key else None
        now = self._clock()
        act = act_of(caller, now, "batch.retry", batch_id, request_id=request_id)
        done = self._store.retries.retry(caller.user_id, batch_id, wanted, how, now, key, act,
            self._bounds(caller, self._offer.tools[batch.tool_id]),
        )  # fmt: skip
        if done is None:
            raise NotFound
        self._doorbell.ring()
        _log.info("jobs will be run again, by request", batch_id=batch_id, n_jobs=done,
                  **who(caller, request_id))  # fmt: skip
        return self._of(caller.user_id, batch_id)

    def _own(self, caller: Caller, batch_id: str, what: str, request_id: str) -> Batch:
        """One's own only, also for administrators."""
        try:
            return self._of(caller.user_id, batch_id)
        except NotFound:
            self._others.refused(caller, what, batch_id, request_id)
            raise

    def forbidden(self, caller: Caller, what: str, *, request_id: str = "") -> None:
        """Keeps that a request was refused for want of a scope, if an administrator asked."""
        self._others.forbidden(caller, what, request_id)

    # --- the end of it --------------------------------------------------------------------------

    def cancel(self, caller: Caller, batch_id: str, *, request_id: str = "") -> Batch:
        """Ends what has not ended. The tombstone is on the disk when this returns."""
        owner, act = self._others.cancelled(caller, batch_id, request_id)
        if not self._store.batches.cancel(owner, batch_id, act.at, act):
            self._others.refused(caller, act.what, batch_id, request_id)
            raise NotFound
        self._doorbell.ring()
        _log.info("batch cancelled", batch_id=batch_id, owner=owner, **who(caller, request_id))
        return self._of(owner, batch_id)

    def delete(self, caller: Caller, batch_id: str, *, request_id: str = "") -> None:
        """Hides the batch for good; its jobs are ended, and then the records go."""
        act = act_of(caller, self._clock(), "batch.delete", batch_id, request_id=request_id)
        if not self._store.batches.delete(caller.user_id, batch_id, act.at, act):
            self._others.refused(caller, act.what, batch_id, request_id)
            raise NotFound
        self._doorbell.ring()
        _log.info("batch deleted", batch_id=batch_id, **who(caller, request_id))

    def delete_all(self, caller: Caller, *, request_id: str = "") -> int:
        act = act_of(caller, self._clock(), "batch.delete", request_id=request_id)
        count = self._store.batches.delete(caller.user_id, None, act.at, act)
        self._doorbell.ring()
        _log.info("all batches deleted", n_batches=count, **who(caller, request_id))
        return count


def _keep(drafts: Drafts, tool: Tool, arrays: Iterable[NewArray], tasks: Sequence[str]) -> None:
    """For what is handed over at once, and so not for what waits at a gate."""
    at = 0
    for array in arrays:
        own = tasks[at : at + array.n_tasks]
        at += array.n_tasks
        if own and not array.gates:
            drafts.keep(array.tag, tool, own)
