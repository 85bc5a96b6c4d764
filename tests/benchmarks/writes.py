"""A new batch over HTTP beside a bare `sbatch --array` of the very same script.

Both of which Slurm has just accepted the like, and the first of its kind, which waits for it.
"""

from __future__ import annotations

import time
from statistics import median

from slurmbatch import script
from slurmbatch.config import load
from tests.benchmarks.machine import load_average
from tests.benchmarks.site import Site, new_batch, until


def writes(site: Site, sizes: tuple[int, ...], times: int) -> list[dict[str, object]]:
    """Each size `times` times, all three in turns; milliseconds, the median of them."""
    return [_size(site, n_jobs, times) for n_jobs in sizes]


def _size(site: Site, n_jobs: int, times: int) -> dict[str, object]:
    ours: list[float] = []
    firsts: list[float] = []
    bare: list[float] = []
    _post(site, n_jobs)
    for turn in range(times):
        bare.append(_sbatch(site, n_jobs))
        ours.append(_post(site, n_jobs))
        firsts.append(_post(site, n_jobs, memory=65 + turn))
    return {
        "jobs": n_jobs,
        "post_ms": round(median(ours), 1),
        "first_ms": round(median(firsts), 1),
        "sbatch_ms": round(median(bare), 1),
        "posts_ms": _short(ours),
        "firsts_ms": _short(firsts),
        "sbatches_ms": _short(bare),
        "ratio": _ratio(ours, bare),
        "first_ratio": _ratio(firsts, bare),
        "load_average": load_average(),
    }


def _short(found: list[float]) -> list[float]:
    return [round(each, 1) for each in found]


def _ratio(ours: list[float], bare: list[float]) -> float:
    return round(median(one / two for one, two in zip(ours, bare, strict=True)), 2)


def _sbatch(site: Site, n_jobs: int) -> float:
    text = _script(site, n_jobs)
    command = ["sbatch", "--parsable", "--hold", f"--array=1-{n_jobs}", "--output=/dev/null"]
    began = time.monotonic()
    job = site.box.run(command, input=text).stdout.strip()
    took = time.monotonic() - began
    site.box.run(["scancel", job])
    time.sleep(1.0)
    return took * 1000


def _script(site: Site, n_jobs: int) -> str:
    """What we would submit for such a batch."""
    batch = new_batch(n_jobs)
    tool = load(site.box.paths.settings).tools[batch["tool_id"]]
    setting = script.setting_for(
        tool, "0" * 26, batch["fixed_args"], [], site.box.paths.work, claims=None
    )
    tasks = list(script.tasks_for(tool, enumerate(batch["variable_args"])))
    return script.render(tool, setting, tasks)


def _post(site: Site, n_jobs: int, memory: int = 64) -> float:
    began = time.monotonic()
    batch_id = site.service.post(n_jobs, memory)
    took = time.monotonic() - began
    path = f"/batches/{batch_id}"
    until(lambda: site.service.call("GET", path)[1][0]["n_submitted"] == n_jobs)
    site.service.call("DELETE", f"/batches/{batch_id}")
    time.sleep(2.0)  # it is cancelled in Slurm, and purged
    return took * 1000
