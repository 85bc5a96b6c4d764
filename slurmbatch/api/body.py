"""Request bodies: read with a bound, and parsed more strictly than the standard library does.

A body whose one array may have a million elements is parsed in portions of text, so that memory
does not grow with it. The scanner is the standard library's own, in C, value by value. ijson, on
yajl, takes as long once it has to tell of twin keys, and makes half a pair of surrogates a "?".
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import falcon

from slurmbatch.columns import INT64
from slurmbatch.errors import Malformed, TooLarge, UnsupportedMediaType

MAX_DEPTH = 32
MAX_MEMBERS = 1000
MAX_VALUE = 4 * 1024 * 1024
"""Characters of one value in a body that is read in portions: Slurm takes no larger script."""

_PORTION = 64 * 1024
# Up to here an array is parsed whole, where it has come whole.
_AT_ONCE = 2 * _PORTION
_SPACE = re.compile(r"[ \t\n\r]*").match


class Elements(Protocol):
    """Takes the elements of a long array as they come, each with the length of its text."""

    def append(self, element: Any, size: int) -> None: ...

    def extend(self, elements: list[Any], size: int) -> bool:
        """All there are, if it can; False: they come one by one."""


def read_json(req: falcon.Request, max_bytes: int, empty: object = None) -> object:
    """The value that the body holds, or what no body stands for, where it may be left out.

    Raises UnsupportedMediaType, TooLarge or Malformed.
    """
    if empty is None or req.content_type is not None:
        _check_type(req)
    source = _Source(req, max_bytes)
    raw = b"".join(iter(source.read, b""))
    if empty is not None and not raw:
        return empty
    _check_type(req)
    if not raw:
        raise Malformed(_EMPTY)
    return parse(raw)


def parse(raw: bytes) -> object:
    """Strict JSON (RFC 8259, UTF-8): no twin keys, no NaN, 64-bit integers, bounded depth."""
    try:
        value: object = _decoder.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise Malformed(_NOT_UTF8.format(error.start)) from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    _check_depth(value, MAX_DEPTH + 1)
    return value


def read_long_json(req: falcon.Request, max_bytes: int, member: str, elements: Elements) -> object:
    """The same in portions: where the body is an object whose `member` is an array, that one's
    elements go into `elements`, which then stands for it."""
    _check_type(req)
    return parse_long(_Source(req, max_bytes).read, member, elements)


def parse_long(read: Callable[[], bytes], member: str, elements: Elements) -> object:
    """As `parse`; `read` gives the next portion of the body, and b"" at its end."""
    text = _Text(read)
    try:
        if text.peek() == "{":
            value: object = text.members(member, elements)
        else:
            value = text.value()
            _check_depth(value, MAX_DEPTH + 1)
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    if text.peek():
        text.fail("Extra data")
    return value


class _Source:
    """The bytes of a body, portion by portion, and no more than it may have."""

    def __init__(self, req: falcon.Request, max_bytes: int) -> None:
        self._left = req.content_length
        self._max, self._seen = max_bytes, 0
        if self._left is None:
            # A body in chunks has no length; only some servers say that its end is marked for us.
            terminated = req.env.get("wsgi.input_terminated")
            self._read = req.env["wsgi.input"].read if terminated else lambda _: b""
        elif self._left > max_bytes:
            raise TooLarge(_too_large(max_bytes))
        else:
            self._read = req.bounded_stream.read

    def read(self) -> bytes:
        if self._left is not None:
            return self._rest(self._left)
        raw = bytes(self._read(_PORTION))
        self._seen += len(raw)
        if self._seen > self._max:
            raise TooLarge(_too_large(self._max))
        return raw

    def _rest(self, left: int) -> bytes:
        raw = bytes(self._read(min(left, _PORTION))) if left else b""
        if left and not raw:
            raise Malformed("The body is shorter than its Content-Length.")
        self._left = left - len(raw)
        return raw


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
                _members([*found, (key, elements)])  # twins are told before it is begun
                self._elements(elements)
                found.append((key, elements))
                continue
            found.append((key, self.value()))
            kept += self._size
            if kept > MAX_VALUE:
                raise TooLarge(_TOO_LONG)
            if len(found) > MAX_MEMBERS:
                break
            _check_depth(found[-1][1], MAX_DEPTH)
        return _members(found)

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
        whole = self._at_once(_decoder)
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
        whole = self._at_once(_quick_decoder)
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
            raise Malformed(_EMPTY)
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_whole or not self._may_go_on(error):
                    self.fail(error.msg, error.pos)
            else:
                # A number that ends with the text may go on.
                may_go_on = isinstance(value, int | float) and end > len(self._text) - _CUT
                if self._is_whole or not may_go_on:
                    self._size, self._at = end - self._at, end
                    if self._size > MAX_VALUE:
                        raise TooLarge(_TOO_LONG)
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
            raise TooLarge(_TOO_LONG)
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
            raise Malformed(_NOT_UTF8.format(self._bytes - pending + error.start)) from None
        self._bytes += len(raw)
        return text


def _take(elements: Elements, value: Any, size: int) -> None:
    if type(value) is list or (
        type(value) is dict and not _NESTS.isdisjoint(map(type, value.values()))
    ):
        _check_depth(value, MAX_DEPTH - 1)
    elements.append(value, size)


def _check_type(req: falcon.Request) -> None:
    media_type, options = falcon.parse_header(req.content_type or "")
    charset = options.get("charset", "utf-8").lower()
    if media_type.lower() != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType
    encoding = req.get_header("Content-Encoding") or "identity"
    if encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed or encoded in any other way.")


def _too_large(max_bytes: int) -> str:
    return f"The body is larger than the {max_bytes} bytes that this service accepts."


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise Malformed(f"An object in the body has more than {MAX_MEMBERS} members.")
    members = dict(pairs)
    if len(members) < len(pairs):
        twin = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Malformed(f"The key {json.dumps(twin[:100])} stands twice in one object.")
    return members


def _integer(digits: str) -> int:
    if len(digits) > 20 or (value := int(digits)) not in INT64:
        raise Malformed(f"The number {digits[:30]} does not fit into 64 bits.")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed(f"The number {text[:30]} is too large.")
    return value


def _constant(name: str) -> NoReturn:
    raise Malformed(f"The body is not JSON: {name} is no JSON value.")


def _check_depth(value: object, levels: int) -> None:
    level = [value]
    for _ in range(levels):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Malformed(_TOO_DEEP)


_NESTS = frozenset((dict, list))
# How many characters before the end an error may stand that comes of the end: half of a pair of
# surrogates, written as escapes, is the longest of them.
_CUT = 16
_TOO_LONG = f"One value in the body is longer than {MAX_VALUE} characters."
_EMPTY = "The body is empty; expected a JSON object."
_NOT_UTF8 = "The body is not UTF-8: byte {} cannot be read."
_TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."
# White space between a key and its colon.
_SPACED_KEY = re.compile(r'"\s+:')
# Without a call for each object and each whole number: those are looked at together, afterwards.
_quick_decoder = json.JSONDecoder(parse_float=_float, parse_constant=_constant)
_decoder = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)
