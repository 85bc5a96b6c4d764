"""Reading files that users can write: only what is plainly the job's own log is read."""

from __future__ import annotations

import io
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from slurmbatch import logs
from slurmbatch.errors import LogUnreadable, Unavailable
from slurmbatch.logs import JobLog, last_bytes, open_log, remove_batch, tail_lines

SECRET = b"root:x:0:0"


@pytest.fixture
def job_log(tmp_path: Path) -> JobLog:
    root = tmp_path / "logs"
    (root / "01" / "batch").mkdir(parents=True)
    return JobLog(root, ("01", "batch", "0.log"), os.getuid())


def path_of(job_log: JobLog) -> Path:
    return job_log.root.joinpath(*job_log.parts)


def content(job_log: JobLog) -> bytes | None:
    opened = open_log(job_log)
    if opened is None:
        return None
    with opened:
        return opened.read_at(0, opened.size)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_plain_file_is_read(job_log: JobLog) -> None:
    path_of(job_log).write_bytes(b"hello\n")
    assert content(job_log) == b"hello\n"


def test_nothing_written_yet(job_log: JobLog) -> None:
    assert open_log(job_log) is None


def test_no_directory_of_the_batch_yet(job_log: JobLog) -> None:
    assert open_log(JobLog(job_log.root, ("02", "other", "0.log"), os.getuid())) is None


def test_a_missing_root_says_nothing_about_the_log(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        open_log(JobLog(tmp_path / "unmounted", ("a", "b"), os.getuid()))


def test_a_symbolic_link_is_not_followed(job_log: JobLog, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(SECRET)
    path_of(job_log).symlink_to(target)
    with pytest.raises(LogUnreadable):
        open_log(job_log)


def test_a_dangling_symbolic_link_is_not_followed(job_log: JobLog) -> None:
    path_of(job_log).symlink_to("nowhere")
    with pytest.raises(LogUnreadable):
        open_log(job_log)


@pytest.mark.parametrize(
    "what", ["self/environ", "self/fd/{fd}", "self/root/etc/passwd", "self/exe"]
)
def test_what_proc_shows(job_log: JobLog, tmp_path: Path, what: str) -> None:
    (tmp_path / "target").write_bytes(SECRET)
    with (tmp_path / "target").open() as file:
        place = Path("/proc", what.format(fd=file.fileno()))
        assert place.exists()
        path_of(job_log).symlink_to(place)
        with pytest.raises(LogUnreadable):
            open_log(job_log)
        path_of(job_log).parent.rename(tmp_path / "aside")
        path_of(job_log).parent.symlink_to(place.parent)
        with pytest.raises(LogUnreadable):
            open_log(replace(job_log, parts=(*job_log.parts[:-1], place.name)))


@pytest.mark.parametrize("depth", [0, 1])
def test_a_directory_that_is_a_symbolic_link(job_log: JobLog, tmp_path: Path, depth: int) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.joinpath(*job_log.parts[depth + 1 : -1]).mkdir(parents=True)
    elsewhere.joinpath(*job_log.parts[depth + 1 :]).write_bytes(SECRET)
    swapped = job_log.root.joinpath(*job_log.parts[: depth + 1])
    swapped.rename(tmp_path / "aside")
    swapped.symlink_to(elsewhere)
    with pytest.raises(LogUnreadable):
        open_log(job_log)


def test_a_directory_swapped_while_it_is_read(job_log: JobLog, tmp_path: Path) -> None:
    path_of(job_log).write_bytes(b"mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / job_log.parts[-1]).write_bytes(SECRET)
    directory, aside = path_of(job_log).parent, tmp_path / "aside"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            directory.rename(aside)
            directory.symlink_to(elsewhere)
            directory.unlink()
            aside.rename(directory)
            stop.wait(0.0002)  # so that whoever reads meets it in its place now and then, too

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[bytes | None] = set()
    try:
        for _ in range(3000):
            try:
                seen.add(content(job_log))
            except LogUnreadable:
                seen.add(b"refused")
    finally:
        stop.set()
        thread.join()
    assert SECRET not in seen
    assert seen <= {b"mine", b"refused", None}
    assert b"mine" in seen


def test_a_fifo_does_not_hang(job_log: JobLog) -> None:
    os.mkfifo(path_of(job_log))
    with pytest.raises(LogUnreadable):
        open_log(job_log)


def test_a_socket(job_log: JobLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path_of(job_log).parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(job_log.parts[-1])
        with pytest.raises(LogUnreadable):
            open_log(job_log)


def test_a_directory_in_its_place(job_log: JobLog) -> None:
    path_of(job_log).mkdir()
    with pytest.raises(LogUnreadable):
        open_log(job_log)


def test_a_file_in_place_of_a_directory(job_log: JobLog) -> None:
    path_of(job_log).parent.rmdir()
    path_of(job_log).parent.write_bytes(b"")
    with pytest.raises(LogUnreadable):
        open_log(job_log)


def test_a_hard_link(job_log: JobLog, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(SECRET)
    os.link(target, path_of(job_log))
    with pytest.raises(LogUnreadable):
        open_log(job_log)


def test_somebody_elses_file(job_log: JobLog) -> None:
    path_of(job_log).write_bytes(SECRET)
    with pytest.raises(LogUnreadable):
        open_log(JobLog(job_log.root, job_log.parts, os.getuid() + 1))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_that_was_given_away(job_log: JobLog) -> None:
    path_of(job_log).write_bytes(SECRET)
    os.chown(path_of(job_log), 12345, 12345)
    with pytest.raises(LogUnreadable):
        open_log(job_log)


@pytest.mark.parametrize(
    "parts",
    [(), ("",), (".",), ("..", "x"), ("a/b",), ("/etc/passwd",), ("a", ".."), ("a\0b",)],
)
def test_parts_that_are_no_names(job_log: JobLog, parts: tuple[str, ...]) -> None:
    with pytest.raises(LogUnreadable):
        open_log(JobLog(job_log.root, parts, os.getuid()))


def test_no_descriptor_is_left_open(job_log: JobLog) -> None:
    before = open_files()
    assert open_log(job_log) is None
    os.mkfifo(path_of(job_log))
    with pytest.raises(LogUnreadable):
        open_log(job_log)
    path_of(job_log).unlink()
    path_of(job_log).write_bytes(b"x")
    assert content(job_log) == b"x"
    assert open_files() == before


def test_a_growing_file_is_read_as_long_as_it_was(job_log: JobLog) -> None:
    path_of(job_log).write_bytes(b"one\n")
    opened = open_log(job_log)
    assert opened is not None
    with opened:
        with path_of(job_log).open("ab") as file:
            file.write(b"two\n")
        assert opened.size == 4


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        (b"", 3, b""),
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\nc\n", 3, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 99, b"a\nb\nc\n"),
        (b"\n\n\n", 2, b"\n\n"),
        (b"no end", 1, b"no end"),
        (b"a\nb\n", 0, b""),
    ],
)
def test_the_last_lines(job_log: JobLog, text: bytes, n: int, expected: bytes) -> None:
    path_of(job_log).write_bytes(text)
    opened = open_log(job_log)
    assert opened is not None
    with opened:
        at = tail_lines(opened.fd, opened.size, n)
        assert opened.read_at(at, opened.size - at) == expected


def test_the_last_lines_over_many_blocks(job_log: JobLog) -> None:
    lines = [b"%d %s\n" % (number, b"x" * (number % 97)) for number in range(20_000)]
    path_of(job_log).write_bytes(b"".join(lines))
    opened = open_log(job_log)
    assert opened is not None
    with opened:
        for n in (1, 1000, 10_000, 19_999):
            at = tail_lines(opened.fd, opened.size, n)
            assert os.pread(opened.fd, opened.size, at) == b"".join(lines[-n:])


def test_a_sparse_terabyte_costs_no_more_than_the_bound(job_log: JobLog) -> None:
    with path_of(job_log).open("wb") as file:
        file.truncate(1 << 40)
    opened = open_log(job_log)
    assert opened is not None
    with opened:
        assert opened.size == 1 << 40
        assert tail_lines(opened.fd, opened.size, 10) == (1 << 40) - logs.TAIL_BYTES
    assert last_bytes(job_log, 100) == bytes(100)


def test_the_last_bytes(job_log: JobLog) -> None:
    path_of(job_log).write_bytes(b"0123456789")
    assert last_bytes(job_log, 4) == b"6789"
    assert last_bytes(job_log, 99) == b"0123456789"


def test_the_last_bytes_of_what_is_not_readable(job_log: JobLog) -> None:
    assert last_bytes(job_log, 10) == b""
    path_of(job_log).symlink_to("/etc/passwd")
    assert last_bytes(job_log, 10) == b""


class TestRemoving:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """Logs of two batches, and something beside them that is nobody's business."""
        for name in ("logs/one/0.0", "logs/two/0.0", "home"):
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "1.log").write_text("x")
        return tmp_path / "logs"

    def test_one_batch_and_no_other(self, root: Path) -> None:
        before = open_files()
        remove_batch(root, "one")
        assert {each.name for each in root.iterdir()} == {"two"}
        assert (root / "two" / "0.0" / "1.log").exists()
        assert open_files() == before

    def test_of_one_that_never_printed(self, root: Path, log: io.StringIO) -> None:
        remove_batch(root, "three")
        assert log.getvalue() == ""

    @pytest.mark.parametrize("at", ["logs/one/0.0/2.log", "logs/one/1.0"])
    def test_a_link_is_removed_and_not_what_it_leads_to(self, root: Path, at: str) -> None:
        (root.parent / at).symlink_to(root.parent / "home")
        remove_batch(root, "one")
        assert not (root / "one").exists()
        assert (root.parent / "home" / "1.log").exists()

    def test_a_link_in_its_place_is_left_and_said(self, root: Path, log: io.StringIO) -> None:
        (root / "three").symlink_to(root.parent / "home")
        remove_batch(root, "three")
        assert (root.parent / "home" / "1.log").exists()
        assert "logs of a deleted batch stay" in log.getvalue()
        assert "batch_id=three" in log.getvalue()

    def test_a_root_that_is_away_is_said(self, root: Path, log: io.StringIO) -> None:
        remove_batch(root.parent / "unmounted", "one")
        assert "logs of a deleted batch stay" in log.getvalue()

    @pytest.mark.parametrize("name", ["", ".", "..", "one/0.0", "/", "a\0b"])
    def test_a_name_that_is_none(self, root: Path, name: str) -> None:
        with pytest.raises(ValueError, match="not the name"):
            remove_batch(root, name)
        assert (root / "one" / "0.0" / "1.log").exists()
