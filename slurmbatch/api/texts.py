"""The texts of batches that many watch, of some hundred bytes each."""

from __future__ import annotations

from slurmbatch.api import render, views
from slurmbatch.model import Batch

_KEPT_AT_MOST = 1024


class Texts:
    """Each made once for as long as the store gives the very same batch."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Batch, bytes]] = {}

    def of(self, batch: Batch) -> bytes:
        made = self._made.get(batch.batch_id)
        if made is None or made[0] is not batch:
            if len(self._made) >= _KEPT_AT_MOST:
                self._made.clear()
            made = self._made[batch.batch_id] = batch, render.json_bytes(views.batch(batch))
        return made[1]
