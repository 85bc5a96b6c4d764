"""How the commands speak: harmless text, tables that fit, JSON for programs."""

from __future__ import annotations

import codecs
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TextIO

import click
from rich.cells import cell_len, set_cell_size

COLOURS = {
    "SUBMITTED": "bright_black",
    "PENDING": "yellow",
    "RUNNABLE": "cyan",
    "STARTING": "blue",
    "RUNNING": "magenta",
    "SUCCEEDED": "green",
    "FAILED": "red",
}
_BLOCK = 1000
_encode = json.JSONEncoder(default=dict).encode
_NARROWEST = 8
# What colours text, moves the cursor, or sets a title (ECMA-48), whole; then whatever could still
# take hold of a terminal, or turn the direction of the text.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b\n]{0,200})?|\r)\Z")


def harmless(text: str) -> str:
    """Without control codes; lines and tabs stay, a lone carriage return begins a new line."""
    without = _SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", without)


def in_a_line(text: str) -> str:
    # Nearly all text is plain, and there may be a million lines of it.
    is_plain = text.isascii() and text.isprintable()
    return " ".join((text if is_plain else harmless(text)).split())


class LogWriter:
    """Writes what a job printed: to a terminal what is harmless of it, elsewhere as it is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._is_terminal = self._stream.isatty()
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._kept = ""

    def write(self, content: bytes, *, final: bool = False) -> None:
        if not self._is_terminal:
            self._stream.buffer.write(content)
        else:
            text = self._kept + self._decode(content, final)
            # A code whose end has not come yet is not told from text.
            cut = None if final else _UNFINISHED.search(text)
            self._kept = text[cut.start() :] if cut else ""
            self._stream.write(harmless(text[: cut.start()] if cut else text))
        self._stream.flush()


def say(text: str) -> None:
    """To the person, not into what a script reads."""
    click.echo(harmless(text), err=True)


def print_json(value: Any) -> None:
    """ASCII, so that nothing in it can take hold of a terminal."""
    click.echo(json.dumps(value, indent=2, default=dict))


def print_json_array(values: Iterable[Any]) -> None:
    """The same for a list of any length, while it comes."""
    before = "[\n  "
    for each in values:
        click.echo(before + _encode(each), nl=False)
        before = ",\n  "
    click.echo("[]" if before.startswith("[") else "\n]")


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, wrap: bool = False) -> None:
    """Columns under their names. On a terminal the last one is cut, or wrapped, to what fits, and
    statuses have their colours.
    """
    cleaned = (tuple(map(in_a_line, row)) for row in rows)
    first = list(islice(cleaned, _BLOCK))
    widths = [max(map(cell_len, column)) for column in zip(head, *first, strict=True)]
    is_terminal = sys.stdout.isatty()
    if is_terminal:
        widths[-1] = min(widths[-1], _left(sum(widths[:-1]) + 2 * (len(widths) - 1)))
    for *cells, last in chain([tuple(head)], first, cleaned):
        shown = "".join(
            _coloured(text) + " " * (width - cell_len(text) + 2)
            for text, width in zip(cells, widths, strict=False)
        )
        if is_terminal and wrap:
            last = _wrapped(last, widths[-1], sum(widths[:-1]) + 2 * len(cells))
        elif is_terminal and cell_len(last) > widths[-1]:
            last = set_cell_size(last, widths[-1] - 1) + "…"
        click.echo((shown + _coloured(last)).rstrip())


def print_fields(fields: Mapping[str, str]) -> None:
    """A line each, those that are empty left out."""
    shown = {name: in_a_line(text) for name, text in fields.items() if text}
    widest = max(map(len, shown))
    for name, text in shown.items():
        if sys.stdout.isatty():
            text = _wrapped(text, _left(widest + 2), widest + 2)
        click.echo(f"{name.ljust(widest)}  {text}")


def print_text(text: str) -> None:
    """A paragraph."""
    shown = in_a_line(text)
    click.echo(_wrapped(shown, _left(0), 0) if sys.stdout.isatty() else shown)


def _left(taken: int) -> int:
    """What the terminal has beside so many columns."""
    return max(shutil.get_terminal_size().columns - taken, _NARROWEST)


def _wrapped(text: str, width: int, indent: int) -> str:
    # Whole words only, and so that a long one can be copied.
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)


def _coloured(text: str) -> str:
    return click.style(text, fg=COLOURS[text]) if text in COLOURS else text
