"""POST /batches with bodies that are right, wrong in every way, or hostile."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmbatch.api import shapes
from slurmbatch.api.variable import MAX_FAULTS
from slurmbatch.errors import (
    RefusedBySlurm,
    SlurmbatchError,
    SlurmUnreachable,
    StoreFull,
    StoreUnavailable,
    Unavailable,
)
from slurmbatch.model import MAX_CPU, MAX_GPUS, MAX_MEMORY, MAX_TIME_LIMIT, NewBatch
from tests.api.conftest import MAX_BODY, Api
from tests.api.fakes import FakeBatches

GOOD: dict[str, Any] = {
    "tool_id": "montecarlo-pi",
    "name": "pi, 100 seeds",
    "fixed_args": {"samples": 1000000},
    "variable_args": [{"seed": 1}, {"seed": 2}],
    "hardware": {"filesystems": ["scratch"], "cpu": 1, "memory": 256},
    "slurm": {"time_limit": 30, "partition": "main", "account": "phys", "qos": "normal", "gpus": 0},
}
GONE = object()
LARGEST = {
    "hardware/cpu": MAX_CPU,
    "hardware/memory": MAX_MEMORY,
    "slurm/time_limit": MAX_TIME_LIMIT,
    "slurm/gpus": MAX_GPUS,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good body with the value at this path replaced, added, or (GONE) taken out."""
    body: dict[str, Any] = json.loads(json.dumps(GOOD))
    *above, last = path.split("/")
    at: Any = body
    for name in above:
        at = at[int(name)] if isinstance(at, list) else at[name]
    if value is GONE:
        del at[last]
    elif isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return body


# --- what is right -------------------------------------------------------------------------------


def test_a_batch_is_made(api: Api, batches: FakeBatches) -> None:
    answer = api.post("/batches", GOOD, headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 201
    [batch] = answer.json
    assert answer.headers["location"] == f"/batches/{batch['batch_id']}"
    assert batch["n_jobs"] == 2
    assert batch["submitted_jobs"]["SUBMITTED"] == 2
    assert api.get(answer.headers["location"]).json == answer.json
    assert batches.request_ids == ["mine-1"]
    assert batches.submitted == [
        NewBatch(
            tool_id="montecarlo-pi", name="pi, 100 seeds", fixed_args={"samples": 1000000},
            variable_args=[{"seed": 1}, {"seed": 2}], filesystems=("scratch",), cpu=1, memory=256,
            time_limit=30, partition="main", account="phys", qos="normal", gpus=0,
            args_bytes=len('{"samples":1000000}[{"seed": 1}, {"seed": 2}]'),
        )
    ]  # fmt: skip


def test_the_least_that_is_a_batch(api: Api, batches: FakeBatches) -> None:
    body = {"tool_id": "montecarlo-pi", "hardware": {"cpu": 1}}
    assert api.post("/batches", body).status_code == 201
    assert batches.submitted == [NewBatch(tool_id="montecarlo-pi", cpu=1, variable_args=[])]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", ""),
        ("name", "ünïcode 😀 \u202e $(id) 'x' \"y\""),
        ("name", "x" * 200),
        ("variable_args", []),
        ("variable_args/0", {}),
        ("fixed_args", {}),
        ("fixed_args", {"mode": "line\nbreak\ttab \x1b[0m", "seed": 1.5, "samples": True}),
        ("fixed_args/seed", -(2**63)),
        ("fixed_args/seed", 2**63 - 1),
        ("hardware/filesystems", []),
        ("hardware/memory", GONE),
        ("slurm", {}),
        ("slurm", GONE),
        ("notify", {"url": "https://ci.example.org/"}),
        ("notify", {"url": "https://ci.example.org/", "on": ["first_failure", "finished"]}),
        *LARGEST.items(),
    ],
)
def test_bodies_that_are_right(api: Api, path: str, value: Any) -> None:
    assert api.post("/batches", changed(path, value)).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON; Charset="UTF-8"',
        "application/json;charset=utf8",
    ],
)
def test_types_that_are_right(api: Api, content_type: str) -> None:
    answer = api.post("/batches", GOOD, headers={"Content-Type": content_type})
    assert answer.status_code == 201


def test_white_space_and_escapes(api: Api, batches: FakeBatches) -> None:
    raw = (
        b' \r\n\t{"tool_id":"montecarlo\\u002dpi","hardware":{"cpu":1},"name":"\\ud83d\\ude00"} \n'
    )
    assert api.post("/batches", raw).status_code == 201
    assert batches.submitted[0].name == "😀"


# --- the same key --------------------------------------------------------------------------------


def test_what_a_batch_depends_on(api: Api, batches: FakeBatches) -> None:
    """An id alone, or an object that says more."""
    body = changed("depends_on", [
        "01a", {"batch_id": "01b"}, {"batch_id": "01c", "type": "afterany"},
        {"type": "aftercorr", "batch_id": "01d"},
    ])  # fmt: skip
    assert api.post("/batches", body).status_code == 201
    found = [(each.batch_id, each.type, each.pointer) for each in batches.submitted[0].depends_on]
    assert found == [
        ("01a", "afterok", "/depends_on/0"), ("01b", "afterok", "/depends_on/1/batch_id"),
        ("01c", "afterany", "/depends_on/2/batch_id"),
        ("01d", "aftercorr", "/depends_on/3/batch_id"),
    ]  # fmt: skip


def test_what_is_wrong_with_each_of_several_it_depends_on(api: Api) -> None:
    answer = api.post("/batches", changed("depends_on", [1, "01a", {"type": "x", "a/b": 1}]))
    assert answer.status_code == 422
    assert {each["pointer"] for each in answer.json["errors"]} == {
        "/depends_on/0", "/depends_on/2/batch_id", "/depends_on/2/type", "/depends_on/2/a~1b",
    }  # fmt: skip


def test_a_dry_run_makes_nothing(api: Api, batches: FakeBatches) -> None:
    answer = api.post("/batches?dry_run=1", GOOD, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert batches.kept == {} and batches.keys == {}
    assert batches.calls == ["try_out", "check"]
    assert api.post("/batches?dry_run=0", GOOD).status_code == 201
    assert api.post("/batches?dry_run=yes", GOOD).status_code == 400


def test_the_mistakes_of_a_dry_run_are_those_of_a_batch(api: Api) -> None:
    body = changed("hardware/cpu", 0)
    dry, wet = api.post("/batches?dry_run=1", body), api.post("/batches", body)
    assert dry.status_code == 422
    assert dry.json["errors"] == wet.json["errors"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (RefusedBySlurm("no"), 422, "refused-by-slurm"),
        (SlurmUnreachable("sbatch gave no answer in time"), 503, "slurm-unreachable"),
        (Unavailable("too many"), 503, "unavailable"),
    ],
)
def test_a_dry_run_that_slurm_does_not_like(
    api: Api, batches: FakeBatches, error: SlurmbatchError, status: int, kind: str
) -> None:
    batches.broken_submit = error
    answer = api.post("/batches?dry_run=1", GOOD)
    assert (answer.status_code, answer.json["type"]) == (status, f"urn:slurmbatch:problem:{kind}")
    assert answer.json["detail"] == error.detail
    assert ("retry-after" in answer.headers) == (status == 503)


def test_the_same_key_gives_the_same_batch(api: Api, batches: FakeBatches) -> None:
    key = {"Idempotency-Key": "k" * 255}
    first = api.post("/batches", GOOD, headers=key)
    reordered = json.dumps(dict(reversed(GOOD.items())), indent=2).encode()
    again = api.post("/batches", reordered, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json == first.json
    assert again.headers["location"] == first.headers["location"]
    assert len(batches.submitted) == 1
    text = json.dumps(GOOD, sort_keys=True, separators=(",", ":"))
    assert batches.keys["anna", "k" * 255][0] == hashlib.sha256(text.encode()).digest()


def test_the_same_key_with_another_body(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    api.post("/batches", GOOD, headers=key)
    answer = api.post("/batches", changed("name", "other"), headers=key)
    assert answer.status_code == 422
    assert answer.json["type"] == "urn:slurmbatch:problem:key-reused"


@pytest.mark.parametrize("key", ["", "k" * 256, "ä", "a\tb"])
def test_keys_that_are_none(api: Api, batches: FakeBatches, key: str) -> None:
    answer = api.post("/batches", GOOD, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json["detail"]
    assert batches.calls == []


# --- what is wrong with a field ------------------------------------------------------------------

NO_STRINGS: list[Any] = [None, 1, 1.5, True, [], {}, ["x"]]
NO_NUMBERS: list[Any] = [None, "1", "", 1.0, 1.5, True, False, [], {}, [1]]
NO_OBJECTS: list[Any] = [None, 1, "x", "", True, [], [{}]]
NO_ARRAYS: list[Any] = [None, 1, "x", True, {}, {"0": {}}]
NO_ARGUMENTS: list[Any] = [None, [], {}, [1], {"a": 1}]
CONTROLS = ["\n", "\0", "\x1b[31m", "\x7f", "\x85", "a\rb"]

FAULTY: list[tuple[str, Any, str]] = [
    *((path, value, f"/{path}") for path in ("tool_id", "name") for value in NO_STRINGS),
    *(("slurm/" + name, value, f"/slurm/{name}")
      for name in ("partition", "account", "qos") for value in NO_STRINGS),
    *(("hardware/" + name, value, f"/hardware/{name}")
      for name in ("cpu", "memory") for value in [*NO_NUMBERS, 0, -1]),
    *(("slurm/time_limit", value, "/slurm/time_limit") for value in [*NO_NUMBERS, 0, -30]),
    *(("slurm/gpus", value, "/slurm/gpus") for value in [*NO_NUMBERS, -1]),
    *((path, value, f"/{path}")
      for path, most in LARGEST.items() for value in (most + 1, 2**32 + 1, 2**63 - 1)),
    *((name, value, f"/{name}")
      for name in ("hardware", "slurm", "fixed_args") for value in NO_OBJECTS),
    *(("variable_args", value, "/variable_args") for value in NO_ARRAYS),
    *(("variable_args/1", value, "/variable_args/1") for value in NO_OBJECTS),
    *(("hardware/filesystems", value, "/hardware/filesystems") for value in NO_ARRAYS),
    *(("hardware/filesystems/0", value, "/hardware/filesystems/0") for value in NO_STRINGS),
    *(("fixed_args/samples", value, "/fixed_args/samples") for value in NO_ARGUMENTS),
    *(("variable_args/1/seed", value, "/variable_args/1/seed") for value in NO_ARGUMENTS),
    *(("name", f"a{mark}", "/name") for mark in CONTROLS),
    *(("slurm/partition", mark, "/slurm/partition") for mark in CONTROLS),
    *(("notify", value, "/notify") for value in NO_OBJECTS),
    *(("notify", {"url": value}, "/notify/url") for value in NO_STRINGS),
    *(("notify", {"url": "https://a/", "on": value}, "/notify/on") for value in (*NO_ARRAYS, [])),
    *(("notify", {"url": "https://a/", "on": [value]}, "/notify/on/0")
      for value in ("", "Finished", 1, None)),
    ("notify", {"url": "https://a/", "on": ["finished"] * 3}, "/notify/on"),
    ("notify", {"url": "https://a/", "secret": "x"}, "/notify/secret"),
    ("notify", {"on": ["finished"]}, "/notify/url"),
    ("tool_id", "x" * 201, "/tool_id"),
    ("name", "x" * 201, "/name"),
    ("hardware/filesystems", ["scratch"] * 65, "/hardware/filesystems"),
    ("fixed_args/mode", "a\0b", "/fixed_args/mode"),
    ("fixed_args/a/b~c", [], "/fixed_args/a~1b~0c"),
    *((f"{place}{name}", 1, f"/{place}{name}")
      for place in ("", "hardware/", "slurm/")
      for name in ("owner", "uid", "user_id", "state", "batch_id", "status", "__proto__",
                   "--uid", "Cpu", "tool_id ")),
    ("tool_id", "rm -rf", "/tool_id"),
    *(("max_parallel", value, "/max_parallel") for value in [*NO_NUMBERS, 0, -1, 2**31]),
    *(("depends_on", value, "/depends_on") for value in [*NO_ARRAYS, ["x"] * 101]),
    *(("depends_on", [value], "/depends_on/0")
      for value in (None, 1, True, 1.5, [], ["x"], "x" * 201)),
    *(("depends_on", [{"batch_id": value}], "/depends_on/0/batch_id")
      for value in [*NO_STRINGS, "x" * 201]),
    ("depends_on", [{}], "/depends_on/0/batch_id"),
    *(("depends_on", [{"batch_id": "01x", "type": value}], "/depends_on/0/type")
      for value in [*NO_STRINGS, "", "after", "AFTEROK"]),
    ("depends_on", [{"batch_id": "01x", "kind": "x"}], "/depends_on/0/kind"),
    ("fixed_args/LD_PRELOAD", "x", "/fixed_args/LD_PRELOAD"),
]  # fmt: skip


def with_slash(path: str, value: Any) -> dict[str, Any]:
    if path == "fixed_args/a/b~c":
        return changed("fixed_args", {"samples": 1, "a/b~c": value})
    return changed(path, value)


@pytest.mark.parametrize(("path", "value", "pointer"), FAULTY)
def test_a_faulty_field_is_named(
    api: Api, batches: FakeBatches, path: str, value: Any, pointer: str
) -> None:
    answer = api.post("/batches", with_slash(path, value))
    assert answer.status_code == 422
    assert answer.json["type"] == "urn:slurmbatch:problem:invalid"
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]
    assert batches.submitted == []


@pytest.mark.parametrize("path", ["tool_id", "hardware/cpu", "hardware"])
def test_a_missing_field_is_named(api: Api, batches: FakeBatches, path: str) -> None:
    answer = api.post("/batches", changed(path, GONE))
    assert answer.status_code == 422
    pointer = "/hardware/cpu" if path == "hardware" else f"/{path}"
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]
    assert batches.submitted == []


@pytest.mark.parametrize("body", [None, [], [GOOD], "text", "", 0, 1.5, True])
def test_what_is_no_object(api: Api, batches: FakeBatches, body: Any) -> None:
    answer = api.post("/batches", body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == ""
    assert batches.submitted == []


def test_all_mistakes_at_once_of_shape_and_of_meaning(api: Api) -> None:
    answer = api.post(
        "/batches",
        {
            "name": 7,
            "fixed_args": {"samples": None, "sampels": 1},
            "variable_args": [{"seed": []}, 3, {"sed": 1}],
            "hardware": {"memory": "much", "disk": 1, "filesystems": ["scratch", 5]},
            "slurm": {"time_limit": 0},
            "retries": 3,
        },
    )
    assert answer.status_code == 422
    found = {each["pointer"]: each["detail"] for each in answer.json["errors"]}
    assert len(found) == len(answer.json["errors"])
    assert found == {
        "/tool_id": "This field is required.",
        "/name": "Expected a string, not 7.",
        "/hardware/filesystems/1": "Expected a string, not 5.",
        "/hardware/memory": "Expected a whole number, not a string.",
        "/hardware/disk": "There is no such field here; there are: filesystems, cpu, memory.",
        "/slurm/time_limit": "Expected at least 1, not 0.",
        "/retries": "There is no such field here; there are: "
        f"{', '.join(shapes.NewBatchBody.__annotations__)}.",
        "/fixed_args/samples": "Expected a string, a number, true or false, not null.",
        "/variable_args/0/seed": "Expected a string, a number, true or false, not an array.",
        "/variable_args/1": "Expected an object, not 3.",
        "/hardware/cpu": "A number of CPUs is needed.",
        "/fixed_args/sampels": "There is no such argument.",
        "/variable_args/2/sed": "There is no such argument.",
    }


def test_very_many_mistakes_are_told_in_part(api: Api, batches: FakeBatches) -> None:
    body = changed("variable_args", [1] * 20_000)
    answer = api.post("/batches", body)
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == MAX_FAULTS + 1
    assert answer.json["errors"][-1]["pointer"] == "/variable_args"
    assert batches.submitted == []


# --- what is no JSON of ours, or no body ----------------------------------------------------------


def deep(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return b'{"tool_id":' + opening * levels + b"1" + closing * levels + b"}"


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "white space": b"  \n",
    "half": b'{"tool_id":',
    "text": b"hello",
    "two values": b"{} {}",
    "a comma too many": b'{"tool_id":"x",}',
    "single quotes": b"{'tool_id':'x'}",
    "a comment": b'{"tool_id":"x"} // hi',
    "no quotes": b'{tool_id:"x"}',
    "a byte order mark": b'\xef\xbb\xbf{"tool_id":"x"}',
    "UTF-16": '{"tool_id":"x"}'.encode("utf-16"),
    "UTF-32": '{"tool_id":"x"}'.encode("utf-32-le"),
    "Latin-1": '{"name":"ü"}'.encode("latin-1"),
    "overlong UTF-8": b'{"name":"\xc0\x80"}',
    "a surrogate in UTF-8": b'{"name":"\xed\xa0\x80"}',
    "a bare NUL": b'{"name":"a\0b"}',
    "a NUL after it": json.dumps(GOOD).encode() + b"\0",
    "a bare newline in a string": b'{"name":"a\nb"}',
    "an escape that is none": b'{"name":"\\x41"}',
    "half an escape": b'{"name":"\\u12"}',
    "NaN": b'{"hardware":{"cpu":NaN}}',
    "Infinity": b'{"hardware":{"cpu":Infinity}}',
    "minus Infinity": b'{"hardware":{"cpu":-Infinity}}',
    "a float beyond all": b'{"fixed_args":{"seed":1e999}}',
    "a float below all": b'{"fixed_args":{"seed":-1e999}}',
    "hexadecimal": b'{"hardware":{"cpu":0x10}}',
    "octal": b'{"hardware":{"cpu":010}}',
    "a plus": b'{"hardware":{"cpu":+1}}',
    "an integer of 65 bits": b'{"hardware":{"cpu":9223372036854775808}}',
    "a negative one": b'{"hardware":{"cpu":-9223372036854775809}}',
    "an integer of 5000 digits": b'{"hardware":{"cpu":' + b"9" * 5000 + b"}}",
    "an integer of 50000 digits": b'{"hardware":{"cpu":' + b"9" * 50_000 + b"}}",
    "twin keys": b'{"tool_id":"montecarlo-pi","tool_id":"montecarlo-pi","hardware":{"cpu":1}}',
    "twin keys, one escaped": b'{"name":"a","n\\u0061me":"b"}',
    "twin keys deep down": b'{"fixed_args":{"seed":1,"seed":1}}',
    "twin keys of one job": b'{"variable_args":[{"seed":1,"seed":2}]}',
    "twin keys with surrogates": b'{"\\ud800":1,"\\ud800":2}',
    "33 levels of arrays": deep(33),
    "1000 levels of arrays": deep(1000),
    "30000 levels of arrays": deep(30_000),
    "33 levels of objects": deep(33, b'{"a":', b"}"),
    "5000 levels of objects": deep(5000, b'{"a":', b"}"),
    "30000 brackets that open": b"[" * 30_000,
    "30000 braces that open": b'{"a":' * 12_000,
    "very many members": json.dumps({f"k{n}": n for n in range(2000)}).encode(),
    "more than is accepted": json.dumps({"name": "x" * MAX_BODY}).encode(),
    "spaces beyond the limit": b" " * MAX_BODY + b"{}",
    "a lone high surrogate": b'{"tool_id":"\\ud800","hardware":{"cpu":1}}',
    "a lone low surrogate": b'{"tool_id":"montecarlo-pi","name":"\\udc00","hardware":{"cpu":1}}',
    "surrogates the wrong way round": b'{"tool_id":"montecarlo-pi","name":"\\udc00\\ud800"}',
    "a surrogate in an argument": b'{"tool_id":"montecarlo-pi","fixed_args":{"mode":"\\ud800"}}',
    "a surrogate in a name": b'{"tool_id":"montecarlo-pi","fixed_args":{"\\ud800":1}}',
    "a surrogate in a field": b'{"tool_id":"montecarlo-pi","\\ud800":1}',
    "an escaped NUL": b'{"tool_id":"montecarlo-pi","hardware":{"cpu":1},"name":"a\\u0000b"}',
    "a NUL in an argument": b'{"tool_id":"montecarlo-pi","fixed_args":{"mode":"\\u0000"}}',
    "a NUL in a name": b'{"tool_id":"montecarlo-pi","fixed_args":{"a\\u0000":1}}',
    **{
        f"broken off at {at}": json.dumps(GOOD).encode()[:at]
        for at in range(1, len(json.dumps(GOOD)), 6)
    },
    **{
        f"byte {byte:#x} put in at {at}": json.dumps(GOOD).encode()[:at]
        + bytes([byte]) + json.dumps(GOOD).encode()[at:]
        for byte in (0, 0x80, 0xFF) for at in (0, 1, 5, 40, 100)
    },
}  # fmt: skip


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bodies(api: Api, batches: FakeBatches, raw: bytes) -> None:
    answer = api.post("/batches", raw)
    assert 400 <= answer.status_code < 500
    assert batches.submitted == []
    assert batches.kept == {}


def test_the_corpus_is_large() -> None:
    assert len(HOSTILE) + len(FAULTY) >= 300


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("nothing", 400, "empty"),
        ("Latin-1", 400, "UTF-8"),
        ("twin keys", 400, '"tool_id"'),
        ("twin keys deep down", 400, '"seed"'),
        ("NaN", 400, "NaN"),
        ("an integer of 65 bits", 400, "64 bits"),
        ("a float beyond all", 400, "1e999"),
        ("33 levels of arrays", 400, "32 levels"),
        ("30000 levels of arrays", 400, "32 levels"),
        ("very many members", 400, "1000 members"),
        ("more than is accepted", 413, str(MAX_BODY)),
        ("a lone low surrogate", 422, "/name"),
        ("an escaped NUL", 422, "/name"),
        ("half", 400, "line 1"),
    ],
)
def test_the_answer_says_what_is_wrong(api: Api, name: str, status: int, words: str) -> None:
    answer = api.post("/batches", HOSTILE[name])
    assert answer.status_code == status
    assert words in answer.text.replace('\\"', '"')


def test_the_deepest_that_is_read(api: Api) -> None:
    answer = api.post("/batches", deep(31))
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/tool_id"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "text/json"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json, text/plain"},
        {"Content-Type": ";;;=="},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "deflate, gzip"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "made-up"},
    ],
)
def test_types_that_are_not_read(api: Api, batches: FakeBatches, headers: dict[str, str]) -> None:
    answer = api.post("/batches", GOOD, headers=headers)
    assert answer.status_code == 415
    assert batches.calls == []


@pytest.mark.parametrize(
    ("length", "status"), [("99999999999", 413), (str(MAX_BODY + 1), 413), ("500", 400)]
)
def test_lengths_that_lie(api: Api, batches: FakeBatches, length: str, status: int) -> None:
    answer = api.post("/batches", b'{"tool_id":"x"}', headers={"Content-Length": length})
    assert answer.status_code == status
    assert batches.calls == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below),
    max_leaves=12,
)
NAMES = st.sampled_from([*GOOD, "cpu", "memory", "filesystems", "x"])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(NAMES, JSON_VALUES) | JSON_VALUES)
def test_whatever_comes_is_answered(api: Api, batches: FakeBatches, value: Any) -> None:
    answer = api.post("/batches", value)
    assert 400 <= answer.status_code < 500
    assert batches.submitted == []


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_answered(api: Api, batches: FakeBatches, raw: bytes) -> None:
    assert 400 <= api.post("/batches", raw).status_code < 500
    assert batches.submitted == []


# --- what goes wrong behind it -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefusedBySlurm("Slurm refused the batch: Invalid account"), 422),
        (StoreFull(), 507),
        (StoreUnavailable(), 503),
        (SlurmUnreachable(), 503),
    ],
)
def test_trouble_while_submitting(api: Api, batches: FakeBatches, error: Any, status: int) -> None:
    batches.broken_submit = error
    answer = api.post("/batches", GOOD)
    assert answer.status_code == status
    assert answer.json["detail"] == error.detail
    assert ("retry-after" in answer.headers) is (status == 503)
