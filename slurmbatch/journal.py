"""Log lines: one event, one line of logfmt on stderr, made for `journalctl -f`.

    2026-11-23T14:03:07.512Z info event="batch accepted" batch_id=… request_id=…

Nothing that a user typed can start a line of its own, colour the terminal or turn the text around,
and credentials are blotted out wherever they turn up. The standard library's loggers (waitress,
peewee, PyJWT) come out in the same form.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """For what takes this one along wherever it is installed, with no need of ours."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


# rich, for tracebacks in colour, is a fifth of all that the service imports before it can answer.
with _hidden("rich"):
    import structlog
    from structlog.typing import FilteringBoundLogger, WrappedLogger

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_MAX_VALUE = 16_384
# The request that this thread is working for; its id stands in each line. One variable, and not
# structlog's, which cost a read of the database: they are set for every request.
of_request: ContextVar[str] = ContextVar("of_request", default="")

_BARE = re.compile(r"[A-Za-z0-9_./:@+,=~%-]+")
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_.-]")
# C0, DEL, C1, what turns the direction of text, invisible marks, line separators, lone surrogates,
# and the two characters that end or escape a quoted value.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    '\ud800-\udfff\U000e0000-\U000e007f"\\\\]'
)
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SECRET_KEYS = frozenset(("authorization", "token", "secret", "password", "api_key"))
_SECRETS = re.compile(
    r"(?P<key>sbk_[a-z2-7]{12})_[A-Za-z0-9_-]+|eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)+"
    r"|MUNGE:[A-Za-z0-9+/=]+"
)


class _Sink:
    """Where lines go and which levels do; the one piece of state here."""

    def __init__(self) -> None:
        self.level = LEVELS["info"]
        self.stream: TextIO | None = None
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        stream = self.stream or sys.stderr
        with self._lock:
            try:
                stream.write(line + "\n")
                stream.flush()
            except (OSError, ValueError):
                return  # nobody reads our standard error any more; that must fail no request


_sink = _Sink()


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Say from which level on events are written, and where to (default: standard error)."""
    _sink.level = LEVELS[level.lower()]
    _sink.stream = stream
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler(_sink.level))
    root.setLevel(_sink.level)
    # peewee writes every statement with its values at debug.
    logging.getLogger("peewee").setLevel(max(_sink.level, LEVELS["info"]))
    logging.captureWarnings(True)


def writes(level: str) -> bool:
    """Whether events of this level are written: to spare the making of those that are not."""
    return LEVELS[level] >= _sink.level


def get(name: str) -> FilteringBoundLogger:
    """A logger; events are sentences, everything that varies is a keyword."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(),
        processors=[_drop_below_level, _with_request, _render],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    ).bind(logger=name)
    return logger


def line(at: float, level: str, event: str, fields: Mapping[str, object]) -> str:
    """One event as one line, without the newline."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    pairs = [f"{moment[:-6]}Z {level} event={_quoted(event)}"]
    for key, value in fields.items():
        hidden = key.lower() in _SECRET_KEYS
        pairs.append(f"{_NOT_IN_KEY.sub('_', key)}={'[hidden]' if hidden else _value(value)}")
    text = " ".join(pairs)
    if "sbk_" in text or "eyJ" in text or "MUNGE:" in text:
        text = _SECRETS.sub(lambda found: f"{found['key'] or ''}[hidden]", text)
    return text


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and not isinstance(value, str):
        return str(value)
    text = str(value)
    return text if len(text) <= 256 and _BARE.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    if len(text) > _MAX_VALUE:
        text = text[:_MAX_VALUE] + "…"
    return f'"{_UNSAFE.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _drop_below_level(
    _logger: WrappedLogger, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if LEVELS.get(method, LEVELS["error"]) < _sink.level:
        raise structlog.DropEvent
    return event


def _with_request(
    _logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    request_id = of_request.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


def _render(_logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> str:
    sentence = str(event.pop("event", ""))
    name = event.pop("logger", "")
    trace = _traceback(event.pop("exc_info", None))
    fields = {**event, "logger": name}
    if trace:
        fields["traceback"] = trace
    return line(time.time(), "error" if method == "exception" else method, sentence, fields)


def _traceback(exc_info: object) -> str:
    if isinstance(exc_info, BaseException):
        return "".join(traceback.format_exception(exc_info)).rstrip()
    if isinstance(exc_info, tuple):
        return "".join(traceback.format_exception(*exc_info)).rstrip() if exc_info[0] else ""
    return traceback.format_exc().rstrip() if exc_info and sys.exc_info()[0] else ""


class _Lines:
    """What structlog writes to: takes finished lines, whatever the level."""

    def write(self, text: str) -> None:
        _sink.write(text)

    debug = info = warning = error = critical = exception = write


class _Handler(logging.Handler):
    """Brings the events of the standard library's loggers into our form."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, object] = {"logger": record.name}
            trace = _traceback(record.exc_info)
            if trace:
                fields["traceback"] = trace
            level = record.levelname.lower()
            _sink.write(line(record.created, level, record.getMessage(), fields))
        except Exception:
            self.handleError(record)
