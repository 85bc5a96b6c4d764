"""Named points in the daemon at which it, or a part of Slurm, can be shot.

`arrays.accepted:before` is just before the store's `arrays.accepted` is called, `:after` just after
it has returned. A plan in a file says where to shoot, at the how many-th hit, and whom.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ITSELF = 0
# Called in every tick, and only now and then with anything to do: which argument tells, or that the
# result does.
_IDLE_ARGUMENT = {"arrays.apply": 0, "policy.apply": 1}
_IDLE_RESULT = frozenset({"graves.purge", "policy.due"})


@dataclass(frozen=True, slots=True)
class Plan:
    """One shot: `targets` are pids and signals, delivered in this order."""

    point: str
    hit: int = 1
    targets: Sequence[tuple[int, int]] = ((ITSELF, signal.SIGKILL),)
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)


class Gun:
    """The directory through which a plan reaches the daemon, and the news of it comes back."""

    def __init__(self, directory: Path) -> None:
        self._plan = directory / "plan.json"
        self._fired = directory / "fired"

    def load(self, plan: Plan) -> None:
        new = self._plan.with_suffix(".new")
        new.write_text(json.dumps(asdict(plan)))
        new.replace(self._plan)

    def unload(self) -> None:
        self._plan.unlink(missing_ok=True)

    @property
    def is_loaded(self) -> bool:
        return self._plan.exists()

    def fired(self) -> list[str]:
        """The points at which it has fired so far, in their order."""
        return self._fired.read_text().split() if self._fired.exists() else []

    def plan(self) -> Plan | None:
        try:
            raw = json.loads(self._plan.read_text())
        except FileNotFoundError:
            return None
        return Plan(**{**raw, "targets": [tuple(each) for each in raw["targets"]]})

    def fire(self, plan: Plan) -> None:
        """Takes the plan away first, so that the next daemon lives."""
        self.unload()
        with self._fired.open("a") as news:
            news.write(f"{plan.point}\n")
        for pid, number in plan.targets:
            with suppress(ProcessLookupError):
                os.kill(pid or os.getpid(), number)


class Trigger:
    """The daemon's side: counts hits, and fires when the plan says so."""

    def __init__(self, gun: Gun) -> None:
        self._gun = gun
        self._lock = threading.Lock()
        self._hits: dict[str, int] = {}

    def hit(self, point: str) -> None:
        with self._lock:
            plan = self._gun.plan()
            if plan is None or plan.point != point:
                return
            self._hits[plan.nonce] = self._hits.get(plan.nonce, 0) + 1
            if self._hits[plan.nonce] >= plan.hit:
                self._gun.fire(plan)


class Watched:
    """Stands before an object and tells the trigger of each call, before and after."""

    def __init__(self, name: str, watched: Any, trigger: Trigger) -> None:
        self._name = name
        self._watched = watched
        self._trigger = trigger

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self._watched, method)
        return self._wrap(f"{self._name}.{method}", attribute) if callable(attribute) else attribute

    def _wrap(self, call: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            idle = call in _IDLE_ARGUMENT and not args[_IDLE_ARGUMENT[call]]
            if not idle:
                self._trigger.hit(f"{call}:before")
            result = method(*args, **kwargs)
            if not idle and not (call in _IDLE_RESULT and not result):
                self._trigger.hit(f"{call}:after")
            if call == "arrays.apply" and result.again:
                self._trigger.hit("policy.commit:after")
            return result

        return wrapped
