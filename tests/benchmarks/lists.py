"""The list of all jobs: how soon it begins, how long it takes, and what memory it needs."""

from __future__ import annotations

import http.client
import time

from tests.benchmarks.machine import CpuWatch, forget_peak, load_average, memory_mib
from tests.benchmarks.site import Service

_PORTION = 1 << 20


def whole_list(service: Service, path: str, n_jobs: int) -> dict[str, object]:
    """Reads `GET {path}/jobs` to its end."""
    forget_peak(service.pid)
    before, watch = memory_mib(service.pid), CpuWatch({"own": service.pid})
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)
    connection.connect()
    began = time.monotonic()
    connection.request("GET", f"{path}/jobs", headers=service.headers)
    answer = connection.getresponse()
    size = len(answer.read(1))
    first = time.monotonic() - began
    while portion := answer.read(_PORTION):
        size += len(portion)
    total = time.monotonic() - began
    connection.close()
    return {
        "jobs": n_jobs,
        "status": answer.status,
        "first_byte_ms": round(first * 1000, 1),
        "total_seconds": round(total, 2),
        "bytes": size,
        "cpu_seconds": watch.used()["own"],
        "memory_before_mib": before,
        "memory_peak_mib": memory_mib(service.pid, "VmHWM"),
        "load_average": load_average(),
    }
