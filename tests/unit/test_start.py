"""What the daemon does not do before its first answer."""

from __future__ import annotations

import json
import subprocess
import sys

# Each takes a good part of what all others together do, and none is needed for an answer.
NOT_FOR_AN_ANSWER = (
    "rich", "httpx", "anyio", "pandas", "matplotlib", "unittest", "hypothesis", "multiprocessing",
    "slurmbatch.client", "slurmbatch.sandbox", "slurmbatch.doctor",
    "slurmbatch.api.openapi",
)  # fmt: skip
START = """
import inspect, json, sys
from slurmbatch.cli.serve import serve
from slurmbatch.api import create_app
parts = [each.name for each in inspect.signature(create_app).parameters.values()
         if each.default is each.empty]
create_app(**{**dict.fromkeys(parts), "max_body_bytes": 1, "draining": bool})
print(json.dumps(sorted(sys.modules)))
"""


def imported(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout))


def test_serve_imports_nothing_that_it_does_not_need_to_answer() -> None:
    found = imported(START)
    assert "slurmbatch.daemon" in found
    assert found.isdisjoint(NOT_FOR_AN_ANSWER)


def test_what_was_hidden_can_be_imported_afterwards() -> None:
    found = imported("import slurmbatch.journal\nimport rich.console\n" + START)
    assert "rich.console" in found
