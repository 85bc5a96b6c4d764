"""Log lines: their form, and that nothing a user typed can get out of its quotes."""

from __future__ import annotations

import io
import logging
import re
import unicodedata

import pytest

from slurmbatch import journal


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_line_is_time_level_sentence_and_fields(log: io.StringIO) -> None:
    journal.get("slurmbatch.test").info("batch accepted", batch_id="01J", n_jobs=3, new=True)
    [line] = lines(log)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info "
        r'event="batch accepted" batch_id=01J n_jobs=3 new=true logger=slurmbatch\.test',
        line,
    )


def test_the_time_is_utc() -> None:
    assert journal.line(0.25, "info", "x", {}) == '1970-01-01T00:00:00.250Z info event="x"'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain-1.2/3", "plain-1.2/3"),
        ("two words", '"two words"'),
        ("", '""'),
        (None, "null"),
        (False, "false"),
        (2.5, "2.5"),
        ('say "x\\y"', '"say \\"x\\\\y\\""'),
        ("a\nb\r\tc", '"a\\nb\\r\\tc"'),
        ("grün", '"grün"'),
        ("\x1b]0;t\x07", '"\\u001b]0;t\\u0007"'),
        ("a\u202eb", '"a\\u202eb"'),
        ("a\ud800b", '"a\\ud800b"'),
        ("\U000e0041", '"\\U000e0041"'),
    ],
)
def test_values(value: object, shown: str) -> None:
    assert journal.line(0, "info", "x", {"k": value}).endswith(f" k={shown}")


def test_no_character_breaks_out_of_its_line(log: io.StringIO) -> None:
    speaker = journal.get("t")
    everything = [chr(code) for code in range(0x110000)]
    hostile = [
        character
        for character in everything
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI")
        or unicodedata.bidirectional(character) in ("RLI", "FSI", "PDI")
    ]
    assert len(hostile) > 2048
    for character in hostile[:70] + hostile[-20:]:
        speaker.info(f"event {character} info", **{f"k{character}x": f"v{character}w"})
    text = log.getvalue()
    assert len(text.split("\n")) == 91
    assert not set(hostile) - {"\n"} & set(text)
    assert all(each.count(" info event=") == 1 for each in text.split("\n")[:-1])


def test_a_traceback_stays_on_one_line(log: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        journal.get("t").exception("it broke", request_id="r1")
    [line] = lines(log)
    assert " error event=" in line
    assert "request_id=r1" in line
    assert 'traceback="Traceback (most recent call last):\\n' in line
    assert line.endswith('ValueError: first\\nsecond"')


def test_credentials_are_blotted_out(log: io.StringIO) -> None:
    key = "sbk_abcdefghijkl_" + "Ab-_" * 10 + "xyz"
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    journal.get("t").info(f"saw {key}", where=f"Bearer {token}", authorization="letmein")
    text = log.getvalue()
    assert "sbk_abcdefghijkl[hidden]" in text
    assert "Ab-_" not in text
    assert "eyJ" not in text
    assert "c2ln" not in text
    assert "letmein" not in text


def test_long_values_are_cut(log: io.StringIO) -> None:
    journal.get("t").info("x", k="y" * 100_000)
    assert len(log.getvalue()) < 20_000


def test_levels(log: io.StringIO) -> None:
    speaker = journal.get("t")
    speaker.debug("no")
    journal.configure("debug", log)
    speaker.debug("yes")
    journal.configure("error", log)
    speaker.warning("no")
    speaker.error("yes")
    assert [" debug " in each or " error " in each for each in lines(log)] == [True, True]


def test_the_standard_library_speaks_the_same_form(log: io.StringIO) -> None:
    try:
        raise RuntimeError("a\nb")
    except RuntimeError:
        logging.getLogger("waitress").exception("Exception while serving %s", "/a\nb")
    [line] = lines(log)
    assert ' error event="Exception while serving /a\\nb" logger=waitress traceback="' in line


def test_peewee_statements_are_never_written(log: io.StringIO) -> None:
    journal.configure("debug", log)
    logging.getLogger("peewee").debug(("SELECT ?", ["secret"]))
    assert lines(log) == []


def test_a_closed_stream_fails_nobody() -> None:
    stream = io.StringIO()
    journal.configure("info", stream)
    stream.close()
    journal.get("t").info("x")
    journal.configure("info")
