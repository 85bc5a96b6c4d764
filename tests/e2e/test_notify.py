"""Notifications from the daemon on a real Slurm, over its crash."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
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
        headers = {name.lower(): value for name, value in self.headers.items()}
        (server.taken if server.is_well else server.refused).append((body, headers))
        self.send_response(200 if server.is_well else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver(api: Api) -> Iterator[Any]:
    """Whom the daemon may tell; ill at first."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.taken, server.refused, server.is_well = [], [], False
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


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


def ids(came: list[tuple[bytes, dict[str, str]]]) -> set[str]:
    return {headers["webhook-id"] for _, headers in came}


def test_it_arrives_though_the_daemon_is_killed_in_between(api: Api, receiver: Any) -> None:
    batch_id = api.submit(
        tool_id="probe", fixed_args={"exit_code": 3},
        notify={"url": f"http://127.0.0.1:{receiver.server_port}/hook",
                "on": ["first_failure", "finished"]},
    )  # fmt: skip
    api.ended(batch_id)
    until(lambda: bool(receiver.refused))
    restart(api, signal.SIGKILL)
    receiver.is_well = True
    until(lambda: len(ids(receiver.taken)) == 2)
    events = [Webhook(SECRET).verify(body, headers) for body, headers in receiver.taken]
    assert {each["type"] for each in events} == {"first_failure", "finished"}
    assert {each["data"]["batch_id"] for each in events} == {batch_id}
    assert {each["data"]["submitted_jobs"]["FAILED"] for each in events} == {1}
    # What was refused comes again under the same id.
    assert ids(receiver.refused) <= ids(receiver.taken)


def test_it_is_refused_where_it_may_not_go(api: Api) -> None:
    answer = api.post({"tool_id": "probe", "notify": {"url": "https://example.org/"}})
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/notify"]
