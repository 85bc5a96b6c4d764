"""What was found, as a picture for the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.scale import LARGE, SMALL

OURS, OTHERS, PALE = "#1f6f8b", "#9aa5b1", "#c8d0d8"
_CLIENTS = 8


def draw(found: dict[str, Any], path: Path) -> None:
    """Two panels: who answers how many reads a second, and how ours hold as clients are added."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2))
    _peers(left, found)
    _clients(right, found)
    about = found["machine"]
    figure.text(
        0.01, 0.01, f"{about['cores']} cores shared by clients, servers and Slurm "
        f"{about['slurm']}; one run; load average {found['load_average']['before']} before it",
        fontsize=7, color="#555555",
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _rate(found: dict[str, Any], target: str, jobs: int, clients: int) -> float | None:
    for cell in found["reads"]:
        if (cell["target"], cell["jobs"], cell["clients"]) == (target, jobs, clients):
            return float(cell["requests_per_second"])
    return None


def _bare(found: dict[str, Any], clients: int) -> float:
    names = {cell["target"] for cell in found["reads"] if cell["target"].startswith("bare")}
    return max(_rate(found, name, 0, clients) or 0.0 for name in names)


def _peers(axes: Any, found: dict[str, Any]) -> None:
    rows = [("constant body, bare Falcon", _bare(found, _CLIENTS), PALE)]
    for name, target in (("slurmbatch", "status"), ("fork of squeue", "squeue"),
                         ("fork of sacct", "sacct"), ("slurmrestd", "slurmrestd")):  # fmt: skip
        for jobs in (SMALL, LARGE):
            rate = _rate(found, target, jobs, _CLIENTS)
            if rate is not None:
                colour = OURS if target == "status" else OTHERS
                rows.append((f"{name}, {jobs:,} jobs", rate, colour))
    rows.reverse()
    bars = axes.barh([row[0] for row in rows], [max(row[1], 0.05) for row in rows],
                     color=[row[2] for row in rows])  # fmt: skip
    labels = [f"{row[1]:,.0f}" if row[1] >= 10 else f"{row[1]:.2g}" for row in rows]
    axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(0.05, 60_000)
    axes.set_title(f"Status of a batch: requests/s, {_CLIENTS} clients", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _clients(axes: Any, found: dict[str, Any]) -> None:
    clients = sorted({cell["clients"] for cell in found["reads"] if cell["target"] == "status"})
    most = max(cell["jobs"] for cell in found["reads"] if cell["target"] == "status, stored")
    for name, target, jobs, style in (
        ("slurmbatch, status", "status", SMALL, "o-"),
        ("slurmbatch, status 304", "status 304", SMALL, "s--"),
        ("slurmbatch, one job", "job", SMALL, "^:"),
        (f"slurmbatch, {most:,} jobs stored", "status, stored", most, "d-."),
    ):
        axes.plot(range(len(clients)), [_rate(found, target, jobs, n) for n in clients], style,
                  label=name)  # fmt: skip
    axes.plot(range(len(clients)), [_bare(found, n) for n in clients], "-", color=OTHERS,
              label="constant body, bare Falcon")  # fmt: skip
    axes.set_xticks(range(len(clients)), [str(n) for n in clients])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("clients", fontsize=8)
    axes.set_title("Requests/s as clients are added", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
