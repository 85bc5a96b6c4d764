"""What a new batch means: its tool, arguments, hardware and options, checked against the settings.

Every mistake is found in one go and told with a JSON pointer to the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from slurmbatch import arguments
from slurmbatch.errors import Fault
from slurmbatch.model import (
    EVENTS,
    ArgValue,
    Filesystem,
    Hardware,
    NewBatch,
    NewRetryPolicy,
    Notify,
    RetryPolicy,
    SlurmLimits,
    SlurmOptions,
    Tool,
)
from slurmbatch.targets import AllowedHost, find

# What a partition, an account or a QOS can be called, where a tool takes any: nothing that could
# be taken for an option, or for more than one line.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+:-]*"
_NAMES = re.compile(rf"{_NAME}(,{_NAME})*")


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be asked for."""

    tools: Mapping[str, Tool]
    filesystems: Mapping[str, Filesystem]
    max_jobs: int
    max_args_bytes: int
    hosts: tuple[AllowedHost, ...] = ()

    def seen_by(self, is_in_any: Callable[[tuple[str, ...]], bool]) -> Offer:
        """What of it somebody may have, by their groups; all else does not exist for them."""
        tools = {name: each for name, each in self.tools.items() if _is_for(each, is_in_any)}
        filesystems = {
            name: each for name, each in self.filesystems.items() if _is_for(each, is_in_any)
        }
        return replace(self, tools=tools, filesystems=filesystems)


def _is_for(offered: Tool | Filesystem, is_in_any: Callable[[tuple[str, ...]], bool]) -> bool:
    return offered.groups is None or is_in_any(offered.groups)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A batch that can be kept. `variable_args` has one element a job."""

    tool: Tool
    name: str
    fixed_args: Mapping[str, ArgValue]
    variable_args: Collection[Mapping[str, ArgValue]]
    hardware: Hardware
    slurm: SlurmOptions
    canary: int
    retry: RetryPolicy
    notify: Notify | None = None


def resolve(
    new: NewBatch, offer: Offer, known: Collection[str] = ()
) -> tuple[Resolved | None, list[Fault]]:
    """The batch with all defaults filled in, or every fault that is not in `known` already."""
    faults = _Faults(known)
    tool = offer.tools.get(new.tool_id) if new.tool_id is not None else None
    filesystems = _filesystems(new, tool, offer, faults)
    if len(new.variable_args) > offer.max_jobs:
        faults.add("/variable_args", f"Expected at most {offer.max_jobs} jobs in one batch.")
    if tool is None:
        offered = ", ".join(sorted(offer.tools)) or "none"
        faults.add("/tool_id", f"There is no such tool here; there are: {offered}.")
        return None, faults.found
    hardware = Hardware(filesystems, *_cpu_and_memory(new, tool, faults))
    options = _options(new, tool.slurm, faults)
    notify = _notify(new, offer, faults)
    canary = _canary(new, faults)
    retry = _retry(new.retry, tool, options, faults)
    if len(new.variable_args) > offer.max_jobs:
        return None, faults.found
    checked = arguments.check(tool, new.fixed_args, new.variable_args, offer.max_args_bytes)
    faults.extend(checked.faults)
    if faults.found or faults.known:
        return None, faults.found
    resolved = Resolved(
        tool, new.name, checked.fixed, checked.variable, hardware, options, canary, retry, notify
    )
    return resolved, []


class _Faults:
    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self.found: list[Fault] = []

    def add(self, pointer: str, detail: str) -> None:
        """Unless the field, or what it stands in, has a fault already."""
        if not any(pointer == at or pointer.startswith(f"{at}/") for at in self.known):
            self.found.append(Fault(pointer, detail))

    def extend(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.add(fault.pointer, fault.detail)


def _notify(new: NewBatch, offer: Offer, faults: _Faults) -> Notify | None:
    if new.notify_url is None:
        return None
    if not offer.hosts:
        faults.add("/notify", "Notifications are not switched on here.")
        return None
    try:
        target = find(new.notify_url, offer.hosts)
    except ValueError as error:
        faults.add("/notify/url", str(error))
        return None
    return Notify(new.notify_url, target.origin, new.notify_on or EVENTS[:1])


def _filesystems(
    new: NewBatch, tool: Tool | None, offer: Offer, faults: _Faults
) -> tuple[str, ...]:
    asked = new.filesystems
    if asked is None:
        asked = tool.hardware.filesystems if tool else ()
    offered = ", ".join(sorted(offer.filesystems)) or "none"
    for position, name in enumerate(asked):
        if name not in offer.filesystems:
            detail = f"There is no such filesystem here; there are: {offered}."
            faults.add(f"/hardware/filesystems/{position}", detail)
    return tuple(dict.fromkeys(asked))


def _cpu_and_memory(new: NewBatch, tool: Tool, faults: _Faults) -> tuple[int, int]:
    limits = tool.hardware
    return (
        _amount("/hardware/cpu", new.cpu, limits.cpu, limits.max_cpu, "CPUs", faults),
        _amount("/hardware/memory", new.memory, limits.memory, limits.max_memory, "MiB", faults),
    )


def _retry(
    asked: NewRetryPolicy, tool: Tool, options: SlurmOptions, faults: _Faults
) -> RetryPolicy:
    """What the batch says, and else what its tool does."""
    given = {name: value for name, value in asdict(asked).items() if value is not None}
    policy = replace(
        tool.retry, **given,
        max_memory=tool.hardware.max_memory, max_time_limit=tool.slurm.max_time_limit,
    )  # fmt: skip
    grows = asked.memory_factor is not None or asked.time_factor is not None
    if grows and policy.max_attempts < 2:
        faults.add("/retry/max_attempts", "Expected at least 2 beside a factor.")
    if policy.max_attempts > 1 and policy.memory_factor is policy.time_factor is None:
        detail = "Expected a memory_factor or a time_factor beside it, for what is tried again."
        faults.add("/retry/max_attempts", detail)
    if asked.time_factor is not None and options.time_limit is None:
        detail = "Expected none, as there is no time limit that could be multiplied."
        faults.add("/retry/time_factor", detail)
    return policy


def _canary(new: NewBatch, faults: _Faults) -> int:
    n_jobs = max(1, len(new.variable_args))
    if new.canary is not None and new.canary >= n_jobs:
        detail = f"Expected fewer than all jobs of the batch, of which there are {n_jobs}."
        faults.add("/canary", detail)
    return new.canary or 0


def _amount(
    pointer: str, asked: int | None, default: int | None, most: int | None, unit: str,
    faults: _Faults,
) -> int:  # fmt: skip
    value = default if asked is None else asked
    if value is None:
        faults.add(pointer, f"Expected a number of {unit}: this tool has no default for it.")
        return 0
    if most is not None and value > most:
        faults.add(pointer, f"Expected at most {most} {unit} with this tool, not {value}.")
    return value


def _options(new: NewBatch, limits: SlurmLimits, faults: _Faults) -> SlurmOptions:
    default = limits.default
    time_limit = default.time_limit if new.time_limit is None else new.time_limit
    most = limits.max_time_limit
    if most is not None and time_limit is not None and time_limit > most:
        detail = f"Expected at most {most} minutes with this tool, not {time_limit}."
        faults.add("/slurm/time_limit", detail)
    gpus = default.gpus if new.gpus is None else new.gpus
    if gpus > max(limits.max_gpus, default.gpus):
        faults.add("/slurm/gpus", f"Expected at most {limits.max_gpus} with this tool, not {gpus}.")
    return SlurmOptions(
        time_limit if time_limit is not None else most,
        _choice("partition", new.partition, default.partition, limits.partitions, faults),
        _choice("account", new.account, default.account, limits.accounts, faults),
        _choice("qos", new.qos, default.qos, limits.qos, faults),
        gpus,
    )


def _choice(
    name: str, asked: str | None, default: str, allowed: tuple[str, ...], faults: _Faults
) -> str:
    if asked is None or asked == default:
        return default
    if "*" not in allowed and asked not in allowed:
        choices = ", ".join(_distinct((default, *allowed))) or "none"
        faults.add(f"/slurm/{name}", f"Not allowed with this tool; allowed: {choices}.")
    elif (asked == "*" or asked not in allowed) and not _NAMES.fullmatch(asked):
        detail = (
            "Expected a name of letters, digits and any of _ . @ + : -, or several with commas."
        )
        faults.add(f"/slurm/{name}", detail)
    return asked


def _distinct(names: Iterable[str]) -> Iterator[str]:
    return (name for name in dict.fromkeys(names) if name)
