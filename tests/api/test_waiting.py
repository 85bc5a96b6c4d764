"""Long polls and followed logs, over real sockets: nobody's thread waits with them."""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.api import following
from slurmbatch.config import Server
from slurmbatch.errors import Unavailable
from slurmbatch.logs import open_log
from slurmbatch.model import Batch, Status
from slurmbatch.web import Waits, Web
from slurmbatch.web import waiting as waits
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches
from tests.ports import free_port

ANNA = {"Authorization": "key anna"}


class Site:
    """The application on the server that it is made for, on the fakes."""

    def __init__(self, api: Api, batches: FakeBatches, **settings: Any) -> None:
        self.port = free_port()
        self.batches = batches
        self.waits = Waits()
        at_once = api.app.shortcut.at_once
        self.web = Web(api.app, Server(port=self.port, **settings), self.waits, at_once=at_once)
        self.web.start()
        self.is_up = True

    def stop(self, seconds: float = 5.0) -> None:
        if self.is_up:
            self.is_up = False
            self.web.stop(time.monotonic() + seconds)

    def change(self, batch: Batch, **changes: Any) -> None:
        """What a commit of the poller's is to the real one."""
        kept = self.batches.kept[batch.batch_id]
        self.batches.kept[batch.batch_id] = replace(kept, version=kept.version + 1, **changes)
        self.web.ring()

    def end(self, batch: Batch, index: int = 0) -> None:
        jobs = self.batches.jobs_of[batch.batch_id]
        jobs[index] = replace(jobs[index], status=Status.SUCCEEDED)
        self.change(batch)

    def connect(self) -> closing[http.client.HTTPConnection]:
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))

    def ask(self, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        with self.connect() as connection:
            connection.request("GET", path, headers={**ANNA, **headers})
            answer = connection.getresponse()
            return answer, answer.read()

    def waiting(self) -> int:
        kinds = self.web._waiting._kinds.values()
        return sum(len(each._parked) for each in kinds)


@pytest.fixture
def site(api: Api, batches: FakeBatches) -> Iterator[Site]:
    site = Site(api, batches)
    yield site
    site.stop()


@pytest.fixture
def batch(batches: FakeBatches) -> Batch:
    return batches.add("anna")


@pytest.fixture
def log(batches: FakeBatches, batch: Batch) -> Path:
    """Where the log is to be; there is none yet."""
    return batches.log_file(batch)


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@contextmanager
def asked(site: Site, path: str, **headers: str) -> Iterator[http.client.HTTPConnection]:
    """Somebody who waits for the answer."""
    before = site.waiting()
    with site.connect() as connection:
        connection.request("GET", path, headers={**ANNA, **headers})
        until(lambda: site.waiting() > before)
        yield connection


def poll(batch: Batch, since: object = 1, wait: int = 50) -> str:
    return f"/batches/{batch.batch_id}?wait={wait}&since={since}"


def follow(batch: Batch, more: str = "") -> str:
    return f"/batches/{batch.batch_id}/jobs/{batch.batch_id}-0/log?follow=1{more}"


def append(log: Path, text: bytes) -> None:
    with log.open("ab") as file:
        file.write(text)


class TestLongPolls:
    def test_it_is_answered_with_the_change(self, site: Site, batch: Batch) -> None:
        with asked(site, poll(batch)) as connection:
            site.change(batch, name="new")
            answer = connection.getresponse()
            (shown,) = json.loads(answer.read())
        assert (answer.status, shown["name"], shown["version"]) == (200, "new", "2")
        assert answer.headers["ETag"] == 'W/"2"'
        assert answer.headers["X-Request-Id"]
        assert site.waiting() == 0

    def test_the_connection_goes_on(self, site: Site, batch: Batch) -> None:
        with asked(site, poll(batch)) as connection:
            for version in (2, 3):
                site.change(batch)
                assert json.loads(connection.getresponse().read())[0]["version"] == str(version)
                connection.request("GET", poll(batch, version), headers=ANNA)
                until(lambda: site.waiting() == 1)

    def test_it_is_a_304_once_the_time_is_up(self, site: Site, batch: Batch) -> None:
        answer, body = site.ask(poll(batch, wait=1))
        assert (answer.status, body, answer.headers["ETag"]) == (304, b"", 'W/"1"')

    @pytest.mark.parametrize(
        ("query", "etag", "status"),
        [
            ("wait=50", "", 200),
            ("wait=50&since=0", "", 200),
            ("wait=50&since=nonsense", "", 200),
            ("wait=50&since=0", '"7"', 200),
            ("wait=0&since=1", "", 304),
            ("since=1", "", 304),
            ("since=2", 'W/"1"', 304),
        ],
    )
    def test_what_does_not_wait(
        self, site: Site, batch: Batch, query: str, etag: str, status: int
    ) -> None:
        headers = {"If-None-Match": etag} if etag else {}
        assert site.ask(f"/batches/{batch.batch_id}?{query}", **headers)[0].status == status

    def test_a_tag_in_the_header_does_as_well(self, site: Site, batch: Batch) -> None:
        path = f"/batches/{batch.batch_id}?wait=50"
        with asked(site, path, **{"If-None-Match": 'W/"1"'}) as connection:
            site.change(batch)
            assert connection.getresponse().status == 200

    def test_what_no_commit_tells_of_is_noticed_too(self, site: Site, batch: Batch) -> None:
        with asked(site, poll(batch)) as connection:
            site.batches.kept[batch.batch_id] = replace(batch, stale_since=99.0)
            assert json.loads(connection.getresponse().read())[0]["stale_since"]

    def test_deleted_it_is_not_found(self, site: Site, batch: Batch) -> None:
        with asked(site, poll(batch)) as connection:
            del site.batches.kept[batch.batch_id]
            site.web.ring()
            assert connection.getresponse().status == 404

    def test_of_somebody_else_it_is_not_found(self, site: Site, batch: Batch) -> None:
        answer, _ = site.ask(poll(batch), Authorization="key berta")
        assert answer.status == 404

    def test_it_keeps_its_own_id(self, site: Site, batch: Batch) -> None:
        with asked(site, poll(batch), **{"X-Request-Id": "mine"}) as connection:
            site.change(batch)
            assert connection.getresponse().headers["X-Request-Id"] == "mine"

    def test_a_change_that_comes_while_it_is_put_aside_is_not_missed(
        self, site: Site, batch: Batch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        park = waits.Waiting.park

        def late(self: Any, sleeper: Any, wait: Any) -> bool:
            site.change(batch)
            return park(self, sleeper, wait)

        monkeypatch.setattr(waits.Waiting, "park", late)
        begun = time.monotonic()
        assert site.ask(poll(batch))[0].status == 200
        assert time.monotonic() - begun < 30

    def test_what_the_client_wants_next_is_answered_afterwards(
        self, site: Site, batch: Batch
    ) -> None:
        with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
            for path in (poll(batch), "/healthz"):
                head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: key anna\r\n\r\n"
                client.sendall(head.encode())
                until(lambda: site.waiting() == 1)
            time.sleep(0.2)
            assert site.waiting() == 1
            site.change(batch)
            got = b""
            while b"alive" not in got and (part := client.recv(10_000)):
                got += part
        assert got.index(b'"version":"2"') < got.index(b"alive")

    def test_only_so_many_of_one_caller_wait(self, api: Api, batches: FakeBatches) -> None:
        batch, others = batches.add("anna"), batches.add("berta")
        site = Site(api, batches, connection_limit=16)
        with asked(site, poll(batch)), asked(site, poll(batch)):
            assert site.ask(poll(batch))[0].status == 304
            answer, _ = site.ask(follow(batch))
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            with asked(site, poll(others), Authorization="key berta"):
                pass
        site.stop()


class TestFollowing:
    def test_who_follows_already_goes_on_though_others_have_come_since(
        self, api: Api, batches: FakeBatches, batch: Batch, log: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        site = Site(api, batches, connection_limit=16)
        other = batches.add("anna")
        with asked(site, follow(batch)) as connection, asked(site, poll(other)):
            # Somebody else takes the place that it had, whenever it has left it.
            monkeypatch.setattr(site.web._waiting, "has_room", lambda _: False)
            answer = connection.getresponse()
            for text in (b"more", b"still more"):
                append(log, text)
                assert answer.read(len(text)) == text
            until(lambda: site.waiting() == 2)
        site.stop()

    def test_it_comes_as_it_is_printed_until_the_job_ends(
        self, site: Site, batch: Batch, log: Path
    ) -> None:
        with asked(site, follow(batch)) as connection:
            answer = connection.getresponse()  # before there is a log
            assert answer.headers["Transfer-Encoding"] == "chunked"
            assert answer.headers["X-Accel-Buffering"] == "no"
            for text in (b"one\n", b"two", b"\xff\x00"):
                append(log, text)
                assert answer.read(len(text)) == text
            append(log, b"last")
            site.end(batch)
            assert answer.read() == b"last"

    def test_by_log_id(self, site: Site, batch: Batch, log: Path) -> None:
        log.write_bytes(b"one\n")
        with asked(site, f"/logs/{batch.batch_id}-0.log?follow=1") as connection:
            answer = connection.getresponse()
            assert answer.read(4) == b"one\n"
            site.end(batch)
            assert answer.read() == b""

    def test_of_a_job_that_has_ended_it_is_the_log(
        self, site: Site, batch: Batch, log: Path
    ) -> None:
        log.write_bytes(b"x" * 300_000)
        site.end(batch)
        answer, body = site.ask(follow(batch))
        assert (answer.status, body) == (200, log.read_bytes())
        answer, body = site.ask(follow(batch), Range="bytes=300000-")
        assert (answer.status, body) == (206, b"")

    def test_only_the_last_lines_and_then_what_comes(
        self, site: Site, batch: Batch, log: Path
    ) -> None:
        log.write_bytes(b"one\ntwo\nthree\n")
        with asked(site, follow(batch, "&tail=1")) as connection:
            append(log, b"four\n")
            site.end(batch)
            assert connection.getresponse().read() == b"three\nfour\n"

    @pytest.mark.parametrize(
        ("wanted", "told", "body"),
        [
            ("bytes=3-", f"bytes 3-{2**63 - 2}/*", b"defghi"),
            ("bytes=6-", f"bytes 6-{2**63 - 2}/*", b"ghi"),
            ("bytes=-2", f"bytes 4-{2**63 - 2}/*", b"efghi"),
            ("bytes=2-7", "bytes 2-7/*", b"cdefgh"),
        ],
    )
    def test_a_range_goes_on_with_what_comes(
        self, site: Site, batch: Batch, log: Path, wanted: str, told: str, body: bytes
    ) -> None:
        log.write_bytes(b"abcdef")
        with asked(site, follow(batch), Range=wanted) as connection:
            answer = connection.getresponse()
            append(log, b"ghi")
            until(lambda: site.waiting() in (0, 1))
            site.end(batch)
            assert (answer.status, answer.headers["Content-Range"]) == (206, told)
            assert answer.read() == body

    def test_a_range_ends_where_it_says_though_the_job_goes_on(
        self, site: Site, batch: Batch, log: Path
    ) -> None:
        log.write_bytes(b"abcdef")
        with asked(site, follow(batch), Range="bytes=2-7") as connection:
            append(log, b"ghijk")
            assert connection.getresponse().read() == b"cdefgh"

    def test_a_range_beyond_what_is_there(self, site: Site, batch: Batch, log: Path) -> None:
        log.write_bytes(b"abc")
        answer, _ = site.ask(follow(batch), Range="bytes=4-")
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */3")

    def test_a_log_that_begins_anew_is_followed_from_its_beginning(
        self, site: Site, batch: Batch, log: Path
    ) -> None:
        log.write_bytes(b"first run\n")
        with asked(site, follow(batch)) as connection:
            answer = connection.getresponse()
            assert answer.read(10) == b"first run\n"
            log.write_bytes(b"again\n")
            assert answer.read(6) == b"again\n"

    def test_as_gzip_it_shows_that_it_lives(
        self, site: Site, batch: Batch, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(following, "BEAT_EVERY", 0.2)
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
        with asked(site, follow(batch), **{"Accept-Encoding": "gzip"}) as connection:
            answer = connection.getresponse()
            assert answer.headers["Content-Encoding"] == "gzip"
            for _ in range(3):  # nothing is printed, and something is sent
                sent = answer.read1(1000)
                assert sent
                assert unpack.decompress(sent) == b""
            append(log, b"hello\n")
            got = b""
            while got != b"hello\n":
                got += unpack.decompress(answer.read1(1000))
            append(log, b"end")
            site.end(batch)
            assert unpack.decompress(answer.read()) == b"end"
            assert unpack.eof

    @pytest.mark.parametrize("what", ["deleted", "replaced"])
    def test_what_can_not_go_on_is_cut_off(
        self, site: Site, batch: Batch, log: Path, what: str
    ) -> None:
        log.write_bytes(b"abc")
        with asked(site, follow(batch)) as connection:
            answer = connection.getresponse()
            assert answer.read(3) == b"abc"
            if what == "deleted":
                del site.batches.kept[batch.batch_id]
            else:
                log.unlink()
                log.symlink_to("/etc/passwd")
            site.web.ring()
            with pytest.raises(http.client.IncompleteRead):
                answer.read()

    def test_a_filesystem_that_is_away_for_a_while_is_waited_for(
        self, site: Site, batch: Batch, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.write_bytes(b"abc")
        looked = threading.Event()

        def away(_: object) -> Any:
            looked.set()
            raise Unavailable

        with asked(site, follow(batch)) as connection:
            answer = connection.getresponse()
            assert answer.read(3) == b"abc"
            with monkeypatch.context() as patch:
                patch.setattr(following, "open_log", away)
                assert looked.wait(10)
            append(log, b"def")
            assert answer.read(3) == b"def"

    def test_a_filesystem_that_hangs_holds_up_none_but_those_who_follow(
        self, site: Site, batch: Batch, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.write_bytes(b"abc")
        hangs, go_on = threading.Event(), threading.Event()
        really = open_log

        def hanging(job_log: Any) -> Any:
            if threading.current_thread().name == "waiting-files":
                hangs.set()
                go_on.wait(20)
            return really(job_log)

        with asked(site, follow(batch)) as follower, asked(site, poll(batch)) as poller:
            answer = follower.getresponse()
            assert answer.read(3) == b"abc"
            monkeypatch.setattr(following, "open_log", hanging)
            assert hangs.wait(10)
            site.change(batch)
            assert poller.getresponse().status == 200
            assert site.ask("/healthz")[0].status == 200
            go_on.set()
            append(log, b"def")
            assert answer.read(3) == b"def"


@pytest.mark.parametrize("path", [poll, follow])
class TestClients:
    def test_one_that_goes_is_forgotten(
        self, site: Site, batch: Batch, path: Callable[[Batch], str]
    ) -> None:
        with asked(site, path(batch)):
            pass
        until(lambda: site.waiting() == 0)
        until(lambda: not site.web._server.active_channels)

    def test_it_is_not_idle_however_long_it_waits(
        self, api: Api, batches: FakeBatches, batch: Batch, path: Callable[[Batch], str]
    ) -> None:
        site = Site(api, batches, channel_timeout=3)
        with asked(site, path(batch)) as connection:
            for _ in range(45):  # each of which has the server look for the idle
                site.ask("/healthz")
                time.sleep(0.1)
            assert site.waiting() == 1
            site.end(batch)
            assert connection.getresponse().status == 200
        site.stop()

    def test_the_end_of_the_service_ends_it_at_once(
        self, site: Site, batch: Batch, path: Callable[[Batch], str]
    ) -> None:
        with asked(site, path(batch)) as connection:
            begun = time.monotonic()
            site.stop(60)
            assert time.monotonic() - begun < 30
            answer = connection.getresponse()
            if path is poll:
                assert (answer.status, answer.read()) == (304, b"")
            else:
                with pytest.raises(http.client.IncompleteRead):
                    answer.read()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_hundreds_who_wait_keep_nobody_from_being_served(api: Api, batches: FakeBatches) -> None:
    site = Site(api, batches, threads=2)
    made = [batches.add("anna") for _ in range(20)]
    for each in made:
        batches.log_file(each).write_bytes(b"begun\n")
    threads, memory = threading.active_count(), resident()
    with ExitStack() as stack:
        followers: list[http.client.HTTPConnection] = []
        pollers: list[http.client.HTTPConnection] = []
        for number in range(200):
            which = made[number % len(made)]
            for path, into in ((follow(which), followers), (poll(which), pollers)):
                connection = stack.enter_context(site.connect())
                connection.request("GET", path, headers=ANNA)
                into.append(connection)
        until(lambda: site.waiting() == 400 == site.waits.aside)
        assert threading.active_count() <= threads
        assert resident() - memory < 60 * 1024 * 1024
        one = made[0].batch_id
        paths = ("/healthz", "/readyz", "/batches", f"/batches/{one}", f"/batches/{one}/jobs")
        for path in (*paths, f"/logs/{one}-0.log"):
            assert site.ask(path)[0].status == 200
        files = len(os.listdir("/proc/self/fd"))
        streams = [each.getresponse() for each in followers]
        assert [each.read(6) for each in streams] == [b"begun\n"] * 200
        for each in made:
            append(batches.log_file(each), b"more\n")
        assert [each.read(5) for each in streams] == [b"more\n"] * 200
        until(lambda: site.waiting() == 400)
        until(lambda: len(os.listdir("/proc/self/fd")) <= files)
        for each in made:
            site.end(each)
        assert [each.getresponse().status for each in pollers] == [200] * 200
        assert [each.read() for each in streams] == [b""] * 200
        assert threading.active_count() <= threads
    until(lambda: site.waiting() == 0 and not site.web._server.active_channels)
    assert site.waits.aside == 0
    site.stop()
