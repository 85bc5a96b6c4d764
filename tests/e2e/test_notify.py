"""Notifications from the daemon on a real Slurm, over its crash."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

from .conftest import Api

pytestmark = pytest.mark.slurm
SECRET = "whsec_" + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append((body, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(200 if server.is_well else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver(api: Api) -> Iterator[Any]:
    """Whom the daemon may tell; ill at first."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.is_well = [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = api.box.dir / "etc" / "slurmbatch.toml"
    before = file.read_text()
    secret = file.with_name("webhook.secret")
    secret.touch(mode=0o600)
    secret.write_text(SECRET + "\n")
    file.write_text(
        f'{before}\n[webhooks]\nsecret_file = "webhook.secret"\n[[webhooks.hosts]]\n'
        f'name = "127.0.0.1"\nport = {server.server_port}\n'
        "allow_http = true\nallow_private = true\n"
    )
    restart(api, signal.SIGTERM)
    yield server
    file.write_text(before)
    restart(api, signal.SIGTERM)
    server.shutdown()
    server.server_close()


def restart(api: Api, how: signal.Signals) -> None:
    api.box.kill("slurmbatch", how)
    api.box.start_daemon()


def until_told(receiver: Any, n: int) -> None:
    ends = time.monotonic() + 60
    while len(receiver.got) < n:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_it_arrives_though_the_daemon_is_killed_in_between(api: Api, receiver: Any) -> None:
    batch_id = api.submit(
        tool_id="probe", fixed_args={"exit_code": 3},
        notify={"url": f"http://127.0.0.1:{receiver.server_port}/hook",
                "on": ["first_failure", "finished"]},
    )  # fmt: skip
    api.ended(batch_id)
    until_told(receiver, 1)
    restart(api, signal.SIGKILL)
    receiver.is_well = True
    until_told(receiver, 3)
    events = [Webhook(SECRET).verify(body, headers) for body, headers in receiver.got]
    assert {each["type"] for each in events} == {"first_failure", "finished"}
    assert {each["data"]["batch_id"] for each in events} == {batch_id}
    last = json.loads(receiver.got[-1][0])
    assert last["data"]["submitted_jobs"]["FAILED"] == 1
    ids = [headers["webhook-id"] for _, headers in receiver.got]
    assert len(set(ids)) == 2


def test_it_is_refused_where_it_may_not_go(api: Api) -> None:
    answer = api.post({"tool_id": "probe", "notify": {"url": "https://example.org/"}})
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/notify"]
