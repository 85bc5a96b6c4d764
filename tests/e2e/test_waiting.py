"""Following logs and waiting for changes, on a real Slurm."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import httpx
import pytest

from .conftest import Api

pytestmark = pytest.mark.slurm
CHATTED = "".join(f"out {n}\nerr {n}\n" for n in (1, 2, 3)) + "no end of line"


def test_a_log_is_followed_from_before_it_is_there_to_the_end_of_its_job(api: Api) -> None:
    batch_id = api.submit(tool_id="chatty")
    came, before_the_end = "", 0
    with api.http.stream("GET", f"/logs/{batch_id}-0.log?follow=1") as answer:
        for text in answer.iter_text():
            came += text
            before_the_end += not api.batch(batch_id)["finished_at"]
    assert came == CHATTED == api.log(batch_id)
    assert before_the_end >= 2
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


def test_a_batch_is_watched_by_waiting_for_its_changes(api: Api) -> None:
    batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 1}, variable_args=[{}] * 4)
    seen: list[dict[str, Any]] = [api.batch(batch_id)]
    while not seen[-1]["finished_at"]:
        answer = api.http.get(
            f"/batches/{batch_id}", params={"wait": 30, "since": seen[-1]["version"]}, timeout=60
        )
        assert answer.status_code == 200  # a change, within half a minute
        seen += answer.json()
    assert seen[-1]["submitted_jobs"]["SUCCEEDED"] == 4
    versions = [each["version"] for each in seen]
    assert len(set(versions)) == len(versions) > 2
    same = api.http.get(f"/batches/{batch_id}", params={"wait": 1, "since": versions[-1]})
    assert (same.status_code, same.content) == (304, b"")


def test_sigterm_lets_go_of_all_who_wait(api: Api) -> None:
    batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 3})
    ends: list[object] = []

    def wait() -> None:
        try:
            ends.append(httpx.get(
                f"{api.box.url}/batches/{batch_id}",
                params={"wait": 50, "since": api.batch(batch_id)["version"]},
                headers=dict(api.http.headers), timeout=60,
            ).status_code)  # fmt: skip
        except httpx.HTTPError as error:
            ends.append(error)

    def follow() -> None:
        try:
            httpx.get(f"{api.box.url}/logs/{batch_id}-0.log?follow=1",
                      headers=dict(api.http.headers), timeout=60)  # fmt: skip
        except httpx.HTTPError as error:
            ends.append(error)

    threads = [threading.Thread(target=each) for each in (wait, follow) * 5]
    for each in threads:
        each.start()
    time.sleep(0.5)
    begun = time.monotonic()
    api.box.kill("slurmbatch", signal.SIGTERM)
    assert time.monotonic() - begun < 10
    for each in threads:
        each.join(10)
    cut = [each for each in ends if isinstance(each, httpx.RemoteProtocolError)]
    assert len(cut) == 5, ends
    assert all(each in (200, 304) for each in ends if each not in cut)
    assert len(ends) == 10
    api.box.start_daemon()
    assert api.ended(batch_id) == {"SUCCEEDED": 1}
