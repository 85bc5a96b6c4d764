"""What a caller may ask for. Nothing here asks Slurm: every answer comes from the store."""

from __future__ import annotations

import builtins
import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from slurmbatch import script
from slurmbatch.accounts import Account, Groups, own_home
from slurmbatch.accounts import find as find_account
from slurmbatch.batches import parents
from slurmbatch.batches.others import Others, who
from slurmbatch.batches.overview import overview
from slurmbatch.batches.resolve import Offer, Resolved, resolve
from slurmbatch.batches.retry import plan
from slurmbatch.batches.throttle import shared
from slurmbatch.batches.trial import Trials
from slurmbatch.doorbell import Doorbell
from slurmbatch.drafts import Copy, Drafts
from slurmbatch.errors import (
    Fault,
    Invalid,
    Malformed,
    NotFound,
    RefusedBySlurm,
    SlurmbatchError,
    Unavailable,
)
from slurmbatch.health import Health, late_after
from slurmbatch.journal import get
from slurmbatch.limits import Bound, Quotas, bounds
from slurmbatch.logs import JobLog
from slurmbatch.model import (
    ALL_BATCHES,
    ArgValue,
    Batch,
    Brief,
    Caller,
    Filesystem,
    Gate,
    Job,
    NewBatch,
    Notification,
    Overview,
    Page,
    Retry,
    Status,
    Tool,
    Trial,
    act_of,
    etag,
    parse_job_id,
)
from slurmbatch.places import log_parts
from slurmbatch.precedents import Like, like
from slurmbatch.store import Idempotency, NewArray, Store, is_id, new_id, new_tag

DEFAULT_MAX_ARRAY_SIZE = 1001
# While one of these is down, what is shown may be out of date.
_SOURCES_OF_STATUS = ("slurmctld", "slurmdbd", "poller")
# Stands for a home, of which only the length counts until it is known.
_SOMEBODYS_HOME = Path("/" + 255 * "h")
_log = get("batches")


@dataclass(frozen=True, slots=True)
class Rules:
    """How batches are kept and handed over, from the settings. Times are seconds.

    `persons`: jobs run as the account that has their user's name, and not as the service.
    `poll_late`: once the poller has not come round for so long, what is shown is out of date.
    `precedent`: for how long Slurm's having accepted a batch spares the like the wait for its word.
    """

    log_dir: Path
    work_dir: Path | None
    max_script_bytes: int
    array_size: int | None
    submit_wait: float
    claims_dir: Path | None = None
    persons: bool = False
    poll_late: float = late_after(15.0)
    precedent: float = 0.0
    quotas: Quotas = field(default_factory=Quotas)


class Batches:
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
        self._store = store
        self._offer = offer
        self._rules = rules
        self._doorbell = doorbell
        self._health = health
        self._clock = clock
        self._began = clock()
        self._trials = trials
        self._groups = groups or Groups()
        self._others = Others(store, clock)
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
            self._doorbell.ring()
            self._make_safe(batch)
            if word is not None:
                what = like(batch.user_id, owner.uid if owner else None, batch.tool_id,
                            batch.hardware, batch.slurm, arrays[0].n_tasks)  # fmt: skip
                self._refused(caller, batch.batch_id, word.wait(self._patience(what)), request_id)
        try:
            return self.get(caller, batch.batch_id), True
        except NotFound:  # deleted by its owner in the meantime; it was made all the same
            return replace(batch, counts={Status.SUBMITTED: batch.n_jobs}), True

    def _patience(self, what: Like) -> float:
        """For how many seconds Slurm's word on a new batch is waited for."""
        if self._health.is_down("slurmctld"):
            return 0.0
        if self._doorbell.precedents.has(what, self._rules.precedent):
            return 0.0
        return self._rules.submit_wait

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
        return batch, resolved, *self._cut(batch, resolved)

    def _cut(self, batch: Batch, resolved: Resolved) -> tuple[list[NewArray], Sequence[str]]:
        jobs = resolved.variable_args
        if isinstance(jobs, list):
            kept: Sequence[str] = script.tasks_of(resolved.tool, jobs)
            made = self._arrays(batch, resolved, kept[: batch.canary], kept[batch.canary :])
        else:
            tasks = Copy(script.tasks_for(resolved.tool, enumerate(jobs)))
            each = iter(tasks)
            made = self._arrays(batch, resolved, islice(each, batch.canary), each)
            kept = tasks.kept
        return list(shared(made, batch.max_parallel)), kept

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

    def _arrays(
        self, batch: Batch, resolved: Resolved, canaries: Iterable[str], others: Iterable[str]
    ) -> list[NewArray]:
        instance = self._store.instance
        gates = (Gate.PARENTS,) if batch.depends_on else ()
        behind = (Gate.CANARY, *gates) if batch.canary else gates
        try:
            return [
                NewArray(new_tag(instance), size, kept)
                for kept, part in ((gates, canaries), (behind, others))
                for size in self._split(resolved.tool, batch, resolved.fixed_args, part)
            ]
        except ValueError as error:
            raise Invalid([Fault("/variable_args", f"{error}.")]) from error

    def _sizes(
        self, tool: Tool, batch: Batch, fixed_args: Mapping[str, ArgValue],
        own: Iterable[tuple[int, Mapping[str, ArgValue]]],
    ) -> list[int]:  # fmt: skip
        """How many of the jobs, each with its index, go into each array. Raises ValueError."""
        return self._split(tool, batch, fixed_args, script.tasks_for(tool, own))

    def _split(
        self, tool: Tool, batch: Batch, fixed_args: Mapping[str, ArgValue], tasks: Iterable[str]
    ) -> list[int]:
        filesystems = [self._offer.filesystems[name] for name in batch.hardware.filesystems]
        rules = self._rules
        # Stands for every array's own: only the length counts here.
        claims = None
        if rules.claims_dir and not tool.requeue:
            claims = rules.claims_dir / new_tag(self._store.instance)
        work_dir = rules.work_dir or (_SOMEBODYS_HOME if rules.persons else own_home())
        umask = 0 if rules.persons else None
        setting = script.setting_for(
            tool, batch.batch_id, fixed_args, filesystems, work_dir, claims, umask
        )
        return list(
            script.split(
                tool, setting, tasks, max_tasks=self._max_tasks(),
                max_bytes=rules.max_script_bytes,
            )
        )  # fmt: skip

    def _max_tasks(self) -> int:
        # Task numbers go from 1 to MaxArraySize - 1. Kept across restarts, in case Slurm is down.
        slurm = int(self._store.recall("max_array_size") or DEFAULT_MAX_ARRAY_SIZE) - 1
        return max(1, min(slurm, self._rules.array_size or slurm))

    # --- what there is --------------------------------------------------------------------------

    def list(
        self, caller: Caller, page: Page = ALL_BATCHES, user: str | None = None
    ) -> tuple[list[Batch], str | None]:
        """The page, and the batch id after which the next one begins, if there is one.

        `user`: those of somebody else, for administrators. Raises Malformed, Forbidden.
        """
        found = self._store.batches.list(*self._seen(caller, page, user))
        marked = [self._marked(batch) for batch in found]
        if page.limit is None or len(marked) <= page.limit:
            return marked, None
        return marked[: page.limit], marked[page.limit - 1].batch_id

    def list_etag(self, caller: Caller, page: Page = ALL_BATCHES, user: str | None = None) -> str:
        """Changes with whatever `list` gives, without reading more than that."""
        found = self._store.batches.versions(*self._seen(caller, page, user))
        stale = self._stale_since()
        told = (f"{one}:{etag(version, None if end else stale)}" for one, version, end in found)
        return hashlib.sha256(" ".join(told).encode()).hexdigest()[:24]

    def _seen(self, caller: Caller, page: Page, user: str | None) -> tuple[str, Page]:
        """Whose batches, and one more than are wanted: it tells whether there is a next page."""
        if page.after is not None and not is_id(page.after):
            raise Malformed("after: expected the id of a batch.")
        more = page if page.limit is None else replace(page, limit=page.limit + 1)
        return self._others.listed(caller, user), more

    def get(self, caller: Caller, batch_id: str) -> Batch:
        return self._of(self._others.seen(caller, batch_id), batch_id)

    def _of(self, user_id: str, batch_id: str) -> Batch:
        batch = self._store.batches.get(user_id, batch_id)
        if batch is None:
            raise NotFound
        return self._marked(batch)

    def _marked(self, batch: Batch) -> Batch:
        since = None if batch.finished_at else self._stale_since()
        return batch if since is None else replace(batch, stale_since=since)

    def _stale_since(self) -> float | None:
        downs = [self._health.source(name).down_since for name in _SOURCES_OF_STATUS]
        polled = self._health.source("poller").ok_at
        if polled is None:
            downs.append(self._began)
        elif self._clock() - polled > self._rules.poll_late:
            downs.append(polled)
        return min((since for since in downs if since is not None), default=None)

    def notifications(self, caller: Caller, batch_id: str) -> builtins.list[Notification]:
        """Those that were made of it so far, newest first."""
        owner = self.get(caller, batch_id).user_id
        return self._store.outbox.of_batch(owner, batch_id)

    def etag(self, caller: Caller, batch_id: str) -> str:
        """What `get` would give as the batch's etag, without reading more than that."""
        found = self._store.batches.version(self._others.seen(caller, batch_id), batch_id)
        if found is None:
            raise NotFound
        version, finished = found
        return etag(version, None if finished else self._stale_since())

    def jobs(
        self,
        caller: Caller,
        batch_id: str,
        *,
        statuses: frozenset[Status] = frozenset(),
        after: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        batch, index = self.get(caller, batch_id), -1
        if after is not None:
            parsed = parse_job_id(after)
            if parsed is None or parsed[0] != batch_id:
                raise Malformed("after: expected the id of a job of this batch.")
            index = parsed[1]
        return self._store.batches.jobs(batch, statuses=statuses, after=index, limit=limit)

    def brief(self, caller: Caller, batch_id: str) -> Brief:
        """All its jobs in brief; of no job where the batch has just been deleted."""
        owner = self._others.seen(caller, batch_id)
        return self._store.batches.brief(owner, batch_id)

    def job(self, caller: Caller, batch_id: str, job_id: str) -> Job:
        parsed = parse_job_id(job_id)
        if parsed is None or parsed[0] != batch_id:
            raise NotFound
        owner = self._others.seen(caller, batch_id)
        job = self._store.batches.job(owner, batch_id, parsed[1])
        if job is None:
            raise NotFound
        return replace(job, as_of=self._clock())

    def log_of(
        self, caller: Caller, batch_id: str, job_id: str, attempt: int | None = None
    ) -> tuple[JobLog, bool]:
        """Where the log of the job's last run, or of this one, is, and whether that has ended."""
        parsed = parse_job_id(job_id)
        if parsed is None or parsed[0] != batch_id:
            raise NotFound
        owner = self._others.seen(caller, batch_id)
        place = self._store.batches.place(owner, *parsed, attempt)
        if place is None:
            raise NotFound
        parts = log_parts(batch_id, place.ordinal, place.generation, place.task)
        owner_uid = os.getuid() if place.uid is None else place.uid
        return JobLog(self._rules.log_dir, parts, owner_uid), place.has_ended

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
            batch, fixed, wanted, self._offered(caller), self._sizes, lambda: new_tag(instance)
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

    def overview(self, caller: Caller) -> Overview:
        """The whole service, for administrators. Raises Forbidden."""
        self._others.overlooks(caller)
        return overview(self._store, self._health, self._clock())

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
