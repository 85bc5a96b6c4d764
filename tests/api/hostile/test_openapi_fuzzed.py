"""Whatever the service's own OpenAPI document allows, and much that it does not, is asked of it.

Schemathesis makes it up from the document, the same each time. `make fuzz` makes up more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from slurmbatch.api import examples, openapi
from tests.api.hostile.site import MARK, OWNER, Site

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
FINE = ["2xx", "304", "308", "400", "403", "404", "409", "422"]
CONFIG = {
    "cache": {"enabled": False},
    "generation": {
        "deterministic": not EXAMPLES,
        "database": "none",
        "max-examples": EXAMPLES or 15,
    },
    "checks": {
        # Whether a tool is there, and what may be asked of it, no schema can tell.
        "positive_data_acceptance": {"expected-statuses": FINE},
        "negative_data_rejection": {
            "expected-statuses": [*FINE[3:], "401", "405", "413", "415"],
        },
    },
}

# Schemathesis asks for gzip, and does not unpack it where there is no network between.
PLAIN = {"Accept-Encoding": "identity"}


class Through:
    """The application of the moment; tests are made of the document before there is one."""

    app: Any = None

    def __call__(self, env: dict[str, Any], start: Any) -> Iterable[bytes]:
        answer: Iterable[bytes] = self.app(env, start)
        return answer


through = Through()
schema = schemathesis.openapi.from_dict(
    openapi.document(), config=SchemathesisConfig.from_dict(CONFIG)
)
schema.app = through


@pytest.fixture(scope="module")
def site(site: Site) -> Site:
    through.app = site.app
    return site


@schema.parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation(case: schemathesis.Case[Any], site: Site) -> None:
    site.renew()
    # The ids of the document's examples stand for those of a batch that is there.
    case.path_parameters = {
        name: str(value).replace(examples.BATCH_ID, site.own)
        for name, value in case.path_parameters.items()
    }
    before = site.state() if case.method not in ("GET", "HEAD") else None
    answer = case.call_and_validate(headers={"Authorization": site.keys[OWNER], **PLAIN})
    assert MARK.encode() not in answer.content
    if before is not None and answer.status_code >= 400:
        assert site.state() == before
