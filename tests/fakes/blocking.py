"""The asynchronous client, called as if it were the other one: the same tests go for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

from slurmbatch.client import AsyncBatch, AsyncClient, AsyncJob


class Blocking:
    """Runs what has to be awaited to its end, and gives what comes of it the same way."""

    def __init__(self, runner: asyncio.Runner, target: Any) -> None:
        self._runner = runner
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.ismethod(found):
            return found
        return lambda *args, **kwargs: self._plain(found(*args, **kwargs))

    def __getitem__(self, name: str) -> Any:
        return self._target[name]

    def __enter__(self) -> Blocking:
        self._runner.run(self._target.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self._target.__aexit__(*error))

    def _plain(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._plain(self._runner.run(value))
        if isinstance(value, AsyncIterator):
            return self._each(value)
        if isinstance(value, AsyncClient | AsyncBatch | AsyncJob):
            return Blocking(self._runner, value)
        return value

    def _each(self, values: AsyncIterator[Any]) -> Iterator[Any]:
        async def one() -> Any:
            return await anext(values)

        while True:
            try:
                yield self._plain(self._runner.run(one()))
            except StopAsyncIteration:
                return


def plain(value: Any) -> Any:
    """What is inside, to be passed on as an argument."""
    return value._target if isinstance(value, Blocking) else value
