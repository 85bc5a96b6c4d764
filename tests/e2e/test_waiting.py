"""Following logs and waiting for changes, on a real Slurm."""

from __future__ import annotations

import queue
import signal
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from .conftest import Api
from .gate import Gate

pytestmark = pytest.mark.slurm
CHATTED = "".join(f"out {n}\nerr {n}\n" for n in (1, 2, 3)) + "no end of line"


def test_a_log_is_followed_from_before_it_is_there_to_the_end_of_its_job(api: Api) -> None:
    batch_id = api.submit(tool_id="chatty")
    with api.http.stream("GET", f"/logs/{batch_id}-0.log?follow=1", timeout=90) as answer:
        came = "".join(answer.iter_text())
    assert came == CHATTED == api.log(batch_id)
    assert api.job(batch_id)["status"] == "SUCCEEDED"


def test_what_is_followed_comes_before_its_job_has_ended(api: Api, gate: Gate) -> None:
    batch_id = api.submit(tool_id="probe", fixed_args={"print": "hello", "trace": str(gate)})
    with api.http.stream("GET", f"/logs/{batch_id}-0.log?follow=1", timeout=90) as answer:
        coming = answer.iter_text()
        assert next(coming) == "hello\n"
        assert not api.batch(batch_id)["finished_at"]
        gate.open()
        assert "".join(coming) == ""
    assert api.job(batch_id)["status"] == "SUCCEEDED"


def test_a_connection_that_broke_is_taken_up_where_it_broke(api: Api) -> None:
    batch_id = api.submit(tool_id="chatty")
    path = f"/logs/{batch_id}-0.log?follow=1"
    with api.http.stream("GET", path, headers={"Accept-Encoding": "identity"}) as answer:
        came = next(answer.iter_bytes())
    headers = {"Range": f"bytes={len(came)}-"}
    with api.http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 206
        assert (came + answer.read()).decode() == CHATTED


def test_a_batch_is_watched_by_waiting_for_its_changes(api: Api, tmp_path: Path) -> None:
    gates = [Gate(tmp_path / name) for name in ("one", "two")]
    waits = [gate.args for gate in gates]
    batch_id = api.submit(tool_id="probe", variable_args=[*waits, {}, {}])
    seen: list[dict[str, Any]] = [api.batch(batch_id)]
    while not seen[-1]["finished_at"]:
        # One after the other, so that there are changes to be seen on the slowest machine.
        if gates and seen[-1]["submitted_jobs"]["SUCCEEDED"] == 4 - len(gates):
            gates.pop().open()
        answer = api.http.get(
            f"/batches/{batch_id}", params={"wait": 30, "since": seen[-1]["version"]}, timeout=60
        )
        assert answer.status_code == 200  # a change, within half a minute
        seen += answer.json()
    assert seen[-1]["submitted_jobs"]["SUCCEEDED"] == 4
    versions = [each["version"] for each in seen]
    assert len(set(versions)) == len(versions) > 2
    # What its jobs used is known some seconds after their ends, and is a change, too.
    last = api.until(batch_id, lambda each: each["usage"]["n_jobs"] == 4)
    same = api.http.get(f"/batches/{batch_id}", params={"wait": 1, "since": last["version"]})
    assert (same.status_code, same.content) == (304, b"")


def port_of(api: Api) -> int:
    return int(str(urlsplit(str(api.box.url)).port))


def connections(port: int) -> int:
    """How many there are to a port of this machine's."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(each[3] == "01" and each[1].endswith(f":{port:04X}") for each in fields)


def test_sigterm_lets_go_of_all_who_wait(api: Api) -> None:
    batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 60, "print": "begun"})
    known = {"wait": 50, "since": api.batch(batch_id)["version"]}
    following, ends = threading.Semaphore(0), queue.Queue[object]()

    def wait() -> None:
        ends.put(httpx.get(
            f"{api.box.url}/batches/{batch_id}", params=known, headers=dict(api.http.headers),
            timeout=60,
        ).status_code)  # fmt: skip

    def follow() -> None:
        address = f"{api.box.url}/logs/{batch_id}-0.log?follow=1"
        headers = dict(api.http.headers)
        with httpx.stream("GET", address, headers=headers, timeout=60) as answer:
            following.release()
            try:
                ends.put(len(answer.read()))
            except httpx.RemoteProtocolError:
                ends.put("cut off")

    threads = [threading.Thread(target=each, daemon=True) for each in (wait, follow) * 5]
    before = connections(port_of(api))
    for each in threads:
        each.start()
    assert all(following.acquire(timeout=30) for _ in range(5))
    deadline = time.monotonic() + 30
    # Whom a change has answered is gone.
    while connections(port_of(api)) - before + ends.qsize() < 10:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # They are accepted in their order.
    assert httpx.get(f"{api.box.url}/healthz", timeout=60).status_code == 200
    try:
        begun = time.monotonic()
        api.box.kill("slurmbatch", signal.SIGTERM)
        assert time.monotonic() - begun < 10
        seen = [ends.get(timeout=30) for _ in threads]
    finally:
        api.box.start_daemon()
    # A long poll may have been answered by a change before, or come when the end had begun.
    assert seen.count("cut off") == 5, seen
    assert {each for each in seen if each != "cut off"} <= {200, 304, 503}
    assert not api.batch(batch_id)["finished_at"]
