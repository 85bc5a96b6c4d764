"""Bodies as gzip, for those who take it and where it pays."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

# Below it, the answer fits into one packet as it is.
WORTH_IT = 1400
# Level 3 costs a fifth of what making such an answer costs; more gains little.
_LEVEL = 3
_AS_GZIP = 16 + zlib.MAX_WBITS
_LONGEST = 200


def is_wanted(header: str | None) -> bool:
    """Whether an Accept-Encoding (RFC 9110, 12.5.3) takes gzip, and takes it as gladly as none."""
    return header is not None and len(header) <= _LONGEST and _is_wanted(header)


@lru_cache(maxsize=256)
def _is_wanted(header: str) -> bool:
    weights = dict(_weighed(each) for each in header.lower().split(","))
    weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return weight > 0 and weight >= weights.get("identity", 0.0)


def _weighed(text: str) -> tuple[str, float]:
    coding, _, rest = text.partition(";")
    name, _, value = rest.partition("=")
    if not rest.strip():
        return coding.strip(), 1.0
    try:
        weight = float(value) if name.strip() == "q" else 0.0
    except ValueError:
        weight = 0.0
    return coding.strip(), weight if 0 <= weight <= 1 else 0.0


def whole(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _AS_GZIP)


def parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The body as it comes; what the first chunk holds can be read as soon as it is there."""
    made = zlib.compressobj(_LEVEL, zlib.DEFLATED, _AS_GZIP)
    is_first = True
    for chunk in chunks:
        part = made.compress(chunk)
        if is_first:
            part += made.flush(zlib.Z_SYNC_FLUSH)
            is_first = False
        if part:
            yield part
    yield made.flush()


class Growing:
    """A body that grows, as gzip: what each part holds can be read as soon as it is there."""

    # An empty block, which adds nothing to the body: it only shows that the connection lives.
    BEAT = b"\x00\x00\x00\xff\xff"

    def __init__(self) -> None:
        self._made = zlib.compressobj(_LEVEL, zlib.DEFLATED, _AS_GZIP)

    def part(self, data: bytes) -> bytes:
        return self._made.compress(data) + self._made.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._made.flush()
