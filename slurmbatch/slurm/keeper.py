"""Keeps a helper process with pyslurm in it: starts, asks, and replaces it when it is no good."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from slurmbatch.errors import SlurmUnreachable
from slurmbatch.journal import get

_log = get("pyslurm")
_BLOCK = 1 << 18
_SAID_AT_MOST = 64 * 1024


class HelperLost(SlurmUnreachable):
    """The process with pyslurm in it gave no answer.

    `asked`: the question may have reached it, so it may have been acted on.
    """

    def __init__(self, detail: str, *, asked: bool) -> None:
        self.asked = asked
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `kind` "" is a result; else an error of that class, with libslurm's number.

    `complaints`: the errors that libslurm wrote to standard error meanwhile.
    """

    result: Any = None
    kind: str = ""
    text: str = ""
    number: int | None = None
    complaints: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return "; ".join(dict.fromkeys([*self.complaints, self.text]))


class Keeper:
    """One helper at a time, one question at a time. It is started when it is first needed."""

    def __init__(
        self, name: str, environment: Mapping[str, str], path: Sequence[str], max_calls: int = 1000
    ) -> None:
        """`path` is where the helper imports from; after `max_calls` a new one takes its place."""
        self._name = name
        # Its working directory is another one, so paths have to be absolute.
        places = os.pathsep.join(os.path.abspath(each) for each in path)  # noqa: PTH100
        self._environment = {**environment, "PYTHONPATH": places}
        self._max_calls = max_calls
        self._lock = threading.Lock()
        self._helper: list[_Helper] = []
        self._end_at_exit = weakref.finalize(self, _end, self._helper)

    def ask(self, call: str, timeout: float, **arguments: Any) -> Answer:
        """Raises HelperLost where there is no answer within so many seconds."""
        question = json.dumps({"call": call, "with": arguments}).encode() + b"\n"
        deadline = time.monotonic() + timeout
        with self._alone(timeout):
            helper = self._running(deadline)
            message, said = helper.exchange(question, deadline)
            helper.calls += 1
        lines = self._tell(said)
        complaints = tuple(line.split("error: ", 1)[1] for line in lines if "error: " in line)
        if "error" in message:
            return Answer(**message["error"], complaints=complaints)
        return Answer(message.get("result"), complaints=complaints)

    def version(self, timeout: float) -> str:
        """pyslurm's version. Raises HelperLost where it cannot be imported."""
        with self._alone(timeout):
            return self._running(time.monotonic() + timeout).version

    def close(self) -> None:
        """Ends the helper; the next question starts another."""
        with self._lock:
            _end(self._helper)

    @contextlib.contextmanager
    def _alone(self, timeout: float) -> Any:
        """Whatever goes wrong, a helper that was being spoken to is never spoken to again."""
        if not self._lock.acquire(timeout=timeout):
            raise HelperLost(f"pyslurm: busy for {timeout:g} s", asked=False)
        try:
            yield
        except BaseException as error:
            _end(self._helper)
            if isinstance(error, HelperLost):
                _log.warning("the process with pyslurm is replaced", helper=self._name,
                             why=error.detail)  # fmt: skip
            raise
        finally:
            self._lock.release()

    def _running(self, deadline: float) -> _Helper:
        if self._helper and (self._helper[0].has_ended or self._helper[0].calls >= self._max_calls):
            _log.debug("the process with pyslurm is replaced", helper=self._name,
                       why=f"after {self._helper[0].calls} calls")  # fmt: skip
            _end(self._helper)
        if not self._helper:
            self._helper.append(_Helper(self._environment))
            self._tell(self._helper[0].greet(deadline))
        return self._helper[0]

    def _tell(self, said: str) -> list[str]:
        lines = [line for line in said.splitlines() if line.strip()]
        for line in lines[:50]:
            _log.debug("libslurm says", helper=self._name, line=line.strip())
        return lines


class _Helper:
    """A running process of helper.py, and how to speak with it without ever waiting too long."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.calls = 0
        self.version = ""
        command = [sys.executable, "-P", "-m", "slurmbatch.slurm.helper", str(os.getpid())]
        try:
            # A session of its own: ^C in a terminal is for the daemon, which then finishes.
            self._process = subprocess.Popen(
                command, env=environment, cwd="/", umask=0o077, start_new_session=True, bufsize=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise HelperLost(f"pyslurm: {error.strerror}", asked=False) from error
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        return self._process.pid

    def greet(self, deadline: float) -> str:
        """Waits until pyslurm is imported; gives what was said on standard error meanwhile."""
        try:
            message, said = self.exchange(b"", deadline)
        except HelperLost as error:
            raise HelperLost(f"{error.detail}, on importing it", asked=False) from error
        if "version" not in message:
            raise HelperLost(f"pyslurm: {message.get('absent')}", asked=False)
        self.version = str(message["version"])
        return said

    def exchange(self, question: bytes, deadline: float) -> tuple[dict[str, Any], str]:
        """Sends a line, gives the one that comes back, and what was written to stderr till then."""
        stdin, stdout, stderr = (pipe.fileno() for pipe in self._pipes)
        heard, said, rest = bytearray(), bytearray(), memoryview(question)
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        poll.register(stderr, select.POLLIN)
        if rest:
            poll.register(stdin, select.POLLOUT)
        while not heard.endswith(b"\n"):
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise HelperLost("pyslurm: no answer in time", asked=True)
            for fd, _ in ready:
                if fd == stdin:
                    rest = self._send(stdin, rest)
                    if not rest:
                        poll.unregister(stdin)
                elif not _receive(fd, heard if fd == stdout else said):
                    poll.unregister(fd)
                    if fd == stdout:
                        raise self._lost(said)
            del said[:-_SAID_AT_MOST]
        _receive(stderr, said)
        return self._read(heard), said.decode(errors="replace")

    def end(self) -> None:
        self._process.kill()
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        # A process that hangs in the kernel outlives SIGKILL; subprocess reaps it later.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    @property
    def _pipes(self) -> list[IO[bytes]]:
        process = self._process
        return [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe]

    def _send(self, stdin: int, rest: memoryview) -> memoryview:
        try:
            return rest[os.write(stdin, rest[:65536]) :]
        except BlockingIOError:
            return rest
        except BrokenPipeError as error:
            raise self._lost(bytearray()) from error

    def _lost(self, said: bytearray) -> HelperLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        _receive(self._pipes[2].fileno(), said)
        words = said.decode(errors="replace").strip().splitlines()[-1:]
        why = f"pyslurm: its process ended with {self._process.poll()}"
        return HelperLost("; ".join([why, *words]), asked=True)

    def _read(self, line: bytearray) -> dict[str, Any]:
        try:
            return dict(json.loads(line))
        except ValueError as error:
            raise HelperLost("pyslurm: its process answered nonsense", asked=True) from error


def _receive(fd: int, into: bytearray) -> bool:
    """Reads what is there, which a pipe holds 64 KiB of; False at the end of it."""
    try:
        block = os.read(fd, _BLOCK)
    except BlockingIOError:
        return True
    into += block
    return bool(block)


def _end(helpers: list[_Helper]) -> None:
    while helpers:
        helpers.pop().end()
