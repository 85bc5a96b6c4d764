"""Bodies of those who mean no good: what is no JSON, no batch, or more than may be asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.api.hostile.written import GOOD, OWN, THEIRS, post, request
from tests.api.test_bodies import FAULTY, HOSTILE, with_slash

_NOT_TO_BE_SET = (
    "user_id", "owner", "user", "uid", "gid", "batch_id", "status", "n_jobs", "n_submitted",
    "submitted_jobs",
    "created_at", "finished_at", "version", "cancelled", "deleted_at", "pk", "script", "command",
    "state",
    "log_dir", "work_dir", "environment", "env", "admin", "scopes", "__class__", "__proto__",
    "constructor", "$schema",
)  # fmt: skip
_OF_SBATCH = (
    "--uid=0", "--wrap=id", "-o/etc/x", "--output=/etc/x", "--export=ALL", "--get-user-env",
    "--chdir=/root",
    "main --uid=0", "main\n#SBATCH --uid=0", "main;id", "main,,other", "$(id)", "`id`", "main\x00",
    "*", "../main",
    "-p main", "--", "-", "main|id", "main&", "a" * 5000, "\u202emain", "\x1b[31m", "ma in",
)  # fmt: skip
_VARIABLES = (
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV", "ENV", "IFS", "PATH", "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME", "SLURM_JOB_ID", "SLURM_CONF", "SBATCH_PARTITION", "SBATCH_UID", "SPANK_X",
    "HOME", "USER", "SHELL",
    "PS4", "PROMPT_COMMAND", "SHELLOPTS", "BASHOPTS", "GCONV_PATH", "PERL5OPT", "RUBYOPT",
    "NODE_OPTIONS", "TMPDIR",
    "SLURMBATCH_JOB_ID", "BASH_FUNC_ls%%", "a b", "a=b", "", "1", "a-b", "a\nb", "a;b", "$(id)",
    "prınt", "print\u0000",
)  # fmt: skip
_PARTS_OF_RETRIES: tuple[dict[str, Any], ...] = (
    {"indices": [-1]}, {"indices": [2]}, {"indices": [10**18]}, {"indices": ["0"]},
    {"indices": [0.5]},
    {"indices": [True]}, {"indices": {}}, {"indices": list(range(20_000))}, {"memory_factor": 0},
    {"memory_factor": -1},
    {"memory_factor": 1e308}, {"memory_factor": "2"}, {"time_factor": 1e9},
    {"time_factor": None, "x": 1},
    {"exclude_nodes": ["-w x"]}, {"exclude_nodes": ["a b"]}, {"exclude_nodes": ["n1\n--uid=0"]},
    {"exclude_nodes": ["$(id)"]}, {"exclude_nodes": [""]}, {"exclude_nodes": "n1"},
    {"user_id": "victor"},
    {"status": "SUCCEEDED"}, {"reason": ["x"]}, {"hardware": {"cpu": 99}}, {"batch_id": THEIRS},
)  # fmt: skip
_KEYS: tuple[Any, ...] = (
    {"user_id": "victor"}, {"name": "x", "user": "victor"}, {"scopes": ["admin"]},
    {"scopes": ["read", "admin"]},
    {"scopes": ["root"]}, {"scopes": []}, {"scopes": "read"}, {"scopes": {}}, {"scopes": [None]},
    {"scopes": ["read"] * 9000},
    {"expires_at": "9999-12-31T00:00:00Z"}, {"expires_at": "2000-01-01T00:00:00Z"},
    {"expires_at": "tomorrow"},
    {"expires_at": 10**18}, {"expires_at": "2026-13-45T99:99:99Z"}, {"expires_at": None, "x": 1},
    {"name": "x" * 5000},
    {"name": "a\nb"},
    {"name": "\u001b]0;x"}, {"name": ["x"]}, {"key": "sbk_x"}, {"key_id": "@their-key@"},
    {"secret_hash": "00"}, {"made_with": ""}, [], "x", 1, [{"scopes": ["admin"]}],
)  # fmt: skip
_DEPENDENCIES: tuple[Any, ...] = (
    [THEIRS], [{"batch_id": THEIRS}], ["x"], [""], [OWN, OWN], [None], [[OWN]], {"batch_id": OWN},
    "x",
    ["../x"], [OWN + "\u0000"], ["x"] * 5000, [{"batch_id": OWN, "type": "afterparty"}],
    [{"batch_id": OWN, "x": 1}],
)  # fmt: skip
_URLS = (
    "http://a.example/x", "https://127.0.0.1/", "https://169.254.169.254/latest/", "https://[::1]/",
    "https://[::ffff:127.0.0.1]/", "https://localhost/", "https://0/", "https://0x7f000001/",
    "https://2130706433/",
    "https://a.example@evil.example/", "https://evil.example#a.example",
    "https://a.example.evil.example/",
    "https://a.example:22/", "https://u:p@a.example/", "file:///etc/passwd", "gopher://a.example/",
    "javascript:1",
    "//a.example/", "https:a.example", "https://a.example\\@evil.example/",
    "https://a.example/\r\nX: y",
    "https://\uff41.example/", "https://a.example." + "x" * 5000, "https://", "", "unix:/run/x",
)  # fmt: skip


def bodies() -> Iterator[tuple[str, bytes]]:
    for name, raw in HOSTILE.items():
        yield f"body: {name}", post(raw)
        if raw:
            yield f"body of a retry: {name}", post(raw, "/batches/@own@/retry")
    for path, value, _ in FAULTY:
        yield f"field: {path}: {str(value)[:60]}", post(with_slash(path, value))
    for name in _NOT_TO_BE_SET:
        yield f"not to be set: {name}", post({**GOOD, name: "victor"})
        hardware = {**GOOD["hardware"], name: 1}
        yield f"not to be set: hardware/{name}", post({**GOOD, "hardware": hardware})
    for value in _OF_SBATCH:
        for option in ("partition", "account", "qos", "time_limit", "gpus"):
            yield f"option: {option}={value[:40]!r}", post({**GOOD, "slurm": {option: value}})
        yield (
            f"option: filesystem {value[:40]!r}",
            post({**GOOD, "hardware": {"cpu": 1, "memory": 64, "filesystems": [value]}}),
        )
        yield (
            f"option: node {value[:40]!r}",
            post({"exclude_nodes": [f"{value},x y"]}, "/batches/@own@/retry"),
        )
    for name in _VARIABLES:
        yield f"variable: {name!r}", post({**GOOD, "fixed_args": {name: "x"}})
        yield f"variable of a job: {name!r}", post({**GOOD, "variable_args": [{name: "x"}]})
    for part in _PARTS_OF_RETRIES:
        yield f"retry: {json.dumps(part)[:60]}", post(part, "/batches/@own@/retry")
    for wanted in _KEYS:
        yield f"key: {json.dumps(wanted)[:60]}", post(wanted, "/keys")
    for parents in _DEPENDENCIES:
        yield f"depends on {str(parents)[:60]}", post({**GOOD, "depends_on": parents})
    for url in _URLS:
        yield f"url: {url[:60]!r}", post({**GOOD, "notify": {"url": url}})


def giants() -> Iterator[tuple[str, bytes]]:
    """That are to be refused before anything is made of them."""
    for field, value in (
        ("canary", 10**9), ("canary", -1), ("max_parallel", 0), ("max_parallel", -(10**9)),
        ("hardware", {"cpu": 10**9, "memory": 64}), ("hardware", {"cpu": 1, "memory": 2**62}),
        ("variable_args", [{}] * 1001), ("variable_args", [{}] * 20_000), ("name", "x" * 50_000),
        ("variable_args", [{"sleep": 1e308}, {"sleep": -1}]), ("variable_args", 10**9),
        ("variable_args", {"length": 10**9}), ("fixed_args", {"print": "x" * 16_001}),
    ):  # fmt: skip
        yield f"giant: {field} {str(value)[:50]}", post({**GOOD, field: value})
    yield (
        "giant: a length of 10^12",
        request("POST", "/batches", {"Content-Length": str(10**12)}, b"{"),
    )
