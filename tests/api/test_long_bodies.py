"""Bodies of many jobs: parsed in portions, as strictly as in one piece, in flat memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmbatch.api import body
from slurmbatch.api.resources.batches import _hash
from slurmbatch.api.variable import MAX_FAULTS, VariableArgs
from slurmbatch.errors import Invalid, Malformed, SlurmbatchError, StoreFull, TooLarge
from slurmbatch.spool import Spool
from tests.api.conftest import Api
from tests.api.fakes import MAX_JOBS, FakeBatches
from tests.api.test_bodies import GOOD, HOSTILE, changed


class Kept(list[Any]):
    """Elements, all of them in memory."""

    def append(self, element: Any, size: int = 0) -> None:
        super().append(element)
        assert size > 0

    def extend(self, elements: list[Any], size: int) -> bool:  # type: ignore[override]
        return False


def in_portions(raw: bytes, size: int) -> Callable[[], bytes]:
    portions = iter([raw[at : at + size] for at in range(0, len(raw), size)])
    return lambda: next(portions, b"")


def outcome(parse: Callable[[], object]) -> object:
    try:
        return parse()
    except SlurmbatchError as error:
        return type(error), error.detail


def plain(value: object) -> object:
    """With a list in place of the elements, and types told apart (1, 1.0, True)."""
    return repr(value)


def both(raw: bytes, size: int) -> tuple[object, object]:
    whole = outcome(lambda: body.parse(raw))
    long = outcome(lambda: body.parse_long(in_portions(raw, size), "variable_args", Kept()))
    return plain(whole), plain(long)


# --- as strict as in one piece ----------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=True)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner,
                                                               max_size=4),
    max_leaves=8,
)  # fmt: skip
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "variable_args": st.lists(JSON, max_size=6) | JSON, "tool_id": JSON, "fixed_args": JSON
    },
)  # fmt: skip


@given(BODIES | JSON, st.integers(1, 40), st.sampled_from([None, 1, "\t\r\n"]), st.booleans())
def test_the_same_comes_of_it(value: Any, size: int, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    whole, long = both(text.encode(errors="replace"), size)
    assert whole == long


@given(BODIES, st.integers(1, 40), st.data())
@settings(max_examples=400)
def test_the_same_mistake_is_told_at_the_same_place(value: Any, size: int, data: Any) -> None:
    raw = bytearray(json.dumps(value, indent=data.draw(st.sampled_from([None, 1]))).encode())
    at = data.draw(st.integers(1, len(raw)))
    match data.draw(st.sampled_from(["cut", "put", "drop"])):
        case "cut":
            del raw[at:]
        case "put":
            raw[at:at] = data.draw(st.sampled_from([b",", b"}", b"]", b'"', b"\xff", b"\0", b"-",
                                                    b"\\", b"1", b" ", b"\n", b"NaN"]))  # fmt: skip
        case _:
            del raw[at : at + 1]
    whole, long = both(bytes(raw), size)
    assert whole == long


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("size", [7, 65536])
def test_hostile_elements(raw: bytes, size: int) -> None:
    inside = b'{"tool_id": "x", "variable_args": [{"a": 1}, ' + raw + b', {"b": 2}], "name": ""}'
    whole, long = both(inside, size)
    # In one piece the depth is looked at last, in portions with each element.
    assert whole == long or ("nested" in str(whole)) == ("nested" in str(long))


def test_twins_of_the_array_itself() -> None:
    for raw in (b'{"variable_args":[],"variable_args":[]}',
                b'{"variable_args":1,"variable\\u005fargs":[{}]}',
                b'{"variable_args":[],"variable_args":null}'):  # fmt: skip
        whole, long = both(raw, 9)
        assert whole == long
        assert "twice" in str(long)


def test_a_value_has_a_limit_of_its_own_and_so_have_all_but_the_array() -> None:
    longest = "x" * (body.MAX_VALUE - 2)
    for text in (f'{{"name": "{longest}xxxxx"}}', f'{{"variable_args": [{{"a": "{longest}"}}]}}',
                 f'{{"a": "{longest[:-9]}", "b": "{longest}"}}'):  # fmt: skip
        with pytest.raises(TooLarge, match="longer"):
            body.parse_long(in_portions(text.encode() + b" " * 99_999, 65536), "variable_args",
                            Kept())  # fmt: skip


def test_a_mistake_at_the_beginning_is_told_before_the_rest_is_read() -> None:
    portions: Iterator[bytes] = iter(
        [b'{"variable_args": [{"a": 1}, {"a" 1}, ', *[b"{}," * 9999] * 99]
    )
    with pytest.raises(Malformed, match="char 34"):
        body.parse_long(lambda: next(portions, b""), "variable_args", Kept())
    assert len(list(portions)) >= 98


# --- kept in a file ----------------------------------------------------------------------------


def test_many_jobs_are_kept_in_a_file_and_what_is_told_is_the_same(
    api: Api, batches: FakeBatches
) -> None:
    many = [{"seed": n, "mode": "fast"} for n in range(1000)] + [{"mode": "ex\u00e4ct 😀\n"}] * 1500
    value = changed("variable_args", many)
    raw = json.dumps(value).encode()
    variable = VariableArgs(lambda: Spool(None))
    read = body.parse_long(in_portions(raw, 65536), "variable_args", variable)
    assert isinstance(variable.rows, Spool)
    assert list(variable.rows) == many
    assert len(variable.rows) == 2500
    assert [json.loads(text) for text in variable.rows.texts()] == many
    assert _hash(read) == _hash(json.loads(raw))
    variable.close()


def test_two_may_read_a_spool_at_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for n in range(20_000):
        spool.append({"n": n})
    one, two = iter(spool), iter(spool)
    assert [next(one), next(one), next(two)] == [{"n": 0}, {"n": 1}, {"n": 0}]
    assert len(list(two)) == 19_999
    assert sum(1 for _ in one) == 19_998
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
    spool._file = full  # type: ignore[assignment]
    with pytest.raises(StoreFull):
        for n in range(1000):
            spool.append({"n": n})


def test_memory_does_not_grow_with_the_batch() -> None:
    def peak(jobs: int) -> int:
        def portions() -> Iterator[bytes]:
            yield b'{"variable_args": ['
            for first in range(0, jobs, 1000):
                yield b",".join(b'{"seed": %d}' % n for n in range(first, first + 1000)) + b","
            yield b"{}]}"

        raw = portions()
        variable = VariableArgs(lambda: Spool(None))
        tracemalloc.start()
        body.parse_long(lambda: next(raw, b""), "variable_args", variable)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(variable.rows) == jobs + 1
        variable.close()
        return most

    few = peak(5_000)
    assert peak(50_000) < 1.5 * few


def test_a_billion_jobs_are_refused_at_the_first_too_many() -> None:
    def portions() -> Iterator[bytes]:
        yield b'{"tool_id": "x", "variable_args": ['
        for _ in range(10**9 // 10_000):
            yield b"{}," * 10_000

    read, most = 0, 50_000
    raw = portions()

    def portion() -> bytes:
        nonlocal read
        text = next(raw, b"")
        read += len(text)
        return text

    variable = VariableArgs(lambda: Spool(None), most)
    tracemalloc.start()
    with pytest.raises(Invalid) as told:
        body.parse_long(portion, "variable_args", variable)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    variable.close()
    assert told.value.faults[0].pointer == "/variable_args"
    assert read < 2 * len("{},") * most
    assert peak < 16 * 1024 * 1024


def test_mistakes_of_many_jobs_are_told_and_the_good_ones_are_kept() -> None:
    variable = VariableArgs(lambda: Spool(None))
    for n in range(5000):
        variable.append({"a": n, "b": [1]} if n % 100 == 0 else {"a": n}, 10)
    assert [fault.pointer for fault in variable.faults] == [
        f"/variable_args/{n}/b" for n in range(0, 5000, 100)
    ]
    assert list(variable.rows) == [{"a": n} for n in range(5000)]
    for _ in range(200):
        variable.append(1, 1)
    assert len(variable.faults) == MAX_FAULTS


def test_more_jobs_than_allowed_are_refused_before_they_are_read(
    api: Api, batches: FakeBatches
) -> None:
    raw = json.dumps(GOOD).encode()[:-1]
    raw = raw.replace(b'"variable_args": [', b'"variable_args": [' + b"{}," * (MAX_JOBS - 1))
    answer = api.post("/batches", raw[:20_000_000])
    assert answer.status_code in (413, 422)
    assert batches.submitted == []
    variable = VariableArgs(most=2)
    variable.append({})
    variable.append({})
    with pytest.raises(Invalid) as raised:
        variable.append({})
    assert [fault.pointer for fault in raised.value.faults] == ["/variable_args"]


def test_a_key_that_has_made_a_batch_finds_it_under_a_smaller_limit(
    api: Api, batches: FakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "k"}
    first = api.post("/batches", GOOD, headers=key)
    monkeypatch.setattr("tests.api.fakes.MAX_JOBS", 1)
    assert api.post("/batches", GOOD, headers=key).json == first.json
    assert api.post("/batches", GOOD).status_code == 422
