"""Strict JSON that comes in portions, of which only what is looked at is kept."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from slurmbatch.api.body.values import (
    EMPTY,
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_VALUE,
    NOT_UTF8,
    TOO_DEEP,
    TOO_LONG,
    as_object,
    check_depth,
    decoder,
    quick_decoder,
)
from slurmbatch.errors import Malformed, TooLarge

PORTION = 64 * 1024
# Up to here an array is parsed whole, where it has come whole.
_AT_ONCE = 2 * PORTION
_SPACE = re.compile(r"[ \t\n\r]*").match
_NESTS = frozenset((dict, list))
# How many characters before the end an error may stand that comes of the end: half of a pair of
# surrogates, written as escapes, is the longest of them.
_CUT = 16
# White space between a key and its colon.
_SPACED_KEY = re.compile(r'"\s+:')


class Elements(Protocol):
    """Takes the elements of a long array as they come, each with the length of its text."""

    def append(self, element: Any, size: int) -> None: ...

    def extend(self, elements: list[Any], size: int) -> bool:
        """All there are, if it can; False: they come one by one."""


def parse_long(read: Callable[[], bytes], member: str, elements: Elements) -> object:
    """As `parse`; `read` gives the next portion of the body, and b"" at its end."""
    text = _Text(read)
    try:
        if text.peek() == "{":
            value: object = text.members(member, elements)
        else:
            value = text.value()
            check_depth(value, MAX_DEPTH + 1)
    except RecursionError:
        raise Malformed(TOO_DEEP) from None
    if text.peek():
        text.fail("Extra data")
    return value


class _Text:
    """The text of a body, of which only what is looked at is kept."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._bytes = 0
        self.chars = 0  # that are no longer kept; and of those the line ends, and the last of them
        self._lines, self._line_at = 1, 0
        self._text, self._at, self._size, self._is_whole = "", 0, 0, False

    # --- values -----------------------------------------------------------------------------------

    def members(self, member: str, elements: Elements) -> dict[str, Any]:
        """The object that begins here."""
        self._at += 1
        found: list[tuple[str, Any]] = []
        kept = 0
        while not (self._ends("}") if found else self._skip("}")):
            key = self._key()
            kept += self._size
            if key == member and self.peek() == "[":
                as_object([*found, (key, elements)])  # twins are told before it is begun
                self._elements(elements)
                found.append((key, elements))
                continue
            found.append((key, self.value()))
            kept += self._size
            if kept > MAX_VALUE:
                raise TooLarge(TOO_LONG)
            if len(found) > MAX_MEMBERS:
                break
            check_depth(found[-1][1], MAX_DEPTH)
        return as_object(found)

    def _key(self) -> str:
        if self.peek() != '"':
            self.fail("Expecting property name enclosed in double quotes")
        key = str(self.value())
        if not self._skip(":"):
            self.fail("Expecting ':' delimiter")
        return key

    def _elements(self, elements: Elements) -> None:
        if self._are_plain(elements):
            return
        whole = self._at_once(decoder)
        if whole is not None:
            values, size, self._at = whole
            for value in values:
                _take(elements, value, size)
            return
        self._at += 1
        if self._skip("]"):
            return
        while True:
            _take(elements, self.value(), self._size)
            if self._ends("]"):
                return

    def _are_plain(self, elements: Elements) -> bool:
        """Whether the array that begins here has all been read, and `elements` takes it as it is:
        objects alike, of which nothing takes a look at each. That there are no twins among their
        keys can be seen from their number, too, where every quote is one of JSON's own."""
        whole = self._at_once(quick_decoder)
        if whole is None:
            return False
        values, size, end = whole
        if not values or set(map(type, values)) != {dict} or len(values[0]) > MAX_MEMBERS:
            return False
        text = self._text[self._at : end]
        if "\\" in text or _SPACED_KEY.search(text) or text.count('":') != sum(map(len, values)):
            return False
        if not elements.extend(values, size):
            return False
        self._at = end
        return True

    def _at_once(self, decoder: json.JSONDecoder) -> tuple[list[Any], int, int] | None:
        """The elements of the array that begins here, about how long the text of each is, and where
        it ends, if all of it has been read already and is right: in half the time. None: it has to
        be looked at one by one."""
        if len(self._text) - self._at > _AT_ONCE:
            return None
        try:
            values, end = decoder.raw_decode(self._text, self._at)
        except (ValueError, Malformed, RecursionError):
            return None
        return values, (end - self._at) // max(1, len(values)), end

    def value(self) -> object:
        """The value that begins here, whatever it is."""
        if not self.peek() and not self.chars + self._at:
            raise Malformed(EMPTY)
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_whole or not self._may_go_on(error):
                    self.fail(error.msg, error.pos)
            else:
                # A number that ends with the text may go on.
                may_go_on = isinstance(value, int | float) and end > len(self._text) - _CUT
                if self._is_whole or not may_go_on:
                    self._size, self._at = end - self._at, end
                    if self._size > MAX_VALUE:
                        raise TooLarge(TOO_LONG)
                    return value
            self._more()

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether it is only the text that is not all there yet."""
        return error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _CUT

    # --- what stands between them -------------------------------------------------------------

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            self._at = _SPACE(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_whole:
                return ""
            self._more()

    def _skip(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def _ends(self, bracket: str) -> bool:
        """Whether it is over; else there has to be a comma."""
        if self._skip(","):
            return False
        if not self._skip(bracket):
            self.fail("Expecting ',' delimiter")
        return True

    def fail(self, words: str, at: int | None = None) -> NoReturn:
        """As the standard library puts it."""
        at = self._at if at is None else at
        line = self._lines + self._text.count("\n", 0, at)
        begins = self._text.rfind("\n", 0, at)
        column = at - begins if begins >= 0 else self.chars + at - self._line_at + 1
        raise Malformed(
            f"The body is not JSON: {words}: line {line} column {column} (char {self.chars + at})."
        )

    def _more(self) -> None:
        """Drops what has been looked at, and reads on."""
        rest = self._text[self._at :]
        if len(rest) > MAX_VALUE:
            raise TooLarge(TOO_LONG)
        self._drop(self._text[: self._at])
        # Twice as much each time, so that a long value is not begun anew for every portion.
        parts, wanted = [rest], max(1, len(rest))
        while wanted > 0 and not self._is_whole:
            parts.append(self._decode(self._read()))
            wanted -= len(parts[-1])
        self._text, self._at = "".join(parts), 0

    def _drop(self, text: str) -> None:
        if "\n" in text:
            self._lines += text.count("\n")
            self._line_at = self.chars + text.rfind("\n") + 1
        self.chars += len(text)

    def _decode(self, raw: bytes) -> str:
        pending = len(self._utf8.getstate()[0])
        self._is_whole = not raw
        try:
            text = self._utf8.decode(raw, final=self._is_whole)
        except UnicodeDecodeError as error:
            raise Malformed(NOT_UTF8.format(self._bytes - pending + error.start)) from None
        self._bytes += len(raw)
        return text


def _take(elements: Elements, value: Any, size: int) -> None:
    if type(value) is list or (
        type(value) is dict and not _NESTS.isdisjoint(map(type, value.values()))
    ):
        check_depth(value, MAX_DEPTH - 1)
    elements.append(value, size)
