"""A real HTTP server that answers what a test has written down."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool = False

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)


class Service(ThreadingHTTPServer):
    """Gives its replies in their order, and notes what it was asked."""

    daemon_threads = True

    def __init__(self, *, listen: bool = True) -> None:
        self.replies: list[Reply] = []
        self.asked: list[Asked] = []
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server_bind()
        if listen:
            self.listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def listen(self) -> None:
        self.server_activate()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def reply_to(self, asked: Asked) -> Reply:
        return self.replies.pop(0)


class Handler(BaseHTTPRequestHandler):
    server: Service

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.asked.append(asked)
        reply = self.server.reply_to(asked)
        if reply.hangs_up:
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.status != 304:
            self.wfile.write(reply.content)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


def batch(batch_id: str = "b1", /, *, name: str = "", **counts: int) -> dict[str, Any]:
    """A batch as the service gives it."""
    counted = {status: counts.get(status, 0) for status in STATUSES}
    ended = counted["SUCCEEDED"] + counted["FAILED"] == sum(counted.values())
    return {
        "batch_id": batch_id,
        "tool_id": "probe",
        "n_jobs": sum(counted.values()),
        "hardware": {"filesystems": [], "memory": 64, "cpu": 1},
        "n_submitted": sum(counted.values()),
        "submitted_jobs": counted,
        "name": name,
        "created_at": "2026-11-23T14:03:07Z",
        "finished_at": "2026-11-23T14:04:07Z" if ended else "",
        "cancelled": False,
        "slurm": {"time_limit": 60, "partition": "", "account": "", "qos": "", "gpus": 0},
        "stale_since": "",
        "reasons": [],
        "usage": {"suggestions": []},
        "expected_end": "",
    }


def reason(text: str, status: str = "FAILED", log: str = "") -> dict[str, Any]:
    """Why jobs of a batch wait or have failed."""
    return {
        "text": text, "status": status, "reason": text, "n_jobs": 1, "node": "", "job_id": "b1-0",
        "log": log,
    }  # fmt: skip


def job(index: int, status: str = "SUCCEEDED", reason: str = "OK: ended", /, **args: Any) -> Any:
    """A job in a list, as the service gives it."""
    ended = status in ("SUCCEEDED", "FAILED")
    return {
        "job_id": f"b1-{index}",
        "log_id": f"b1-{index}.log",
        "args": args,
        "status": status,
        "reason": reason,
        "index": index,
        "create_time": "2026-11-23T14:03:07Z",
        "start_time": "2026-11-23T14:03:09Z" if ended else "",
        "stop_time": "2026-11-23T14:03:11Z" if ended else "",
        "exit_code": {"SUCCEEDED": 0, "FAILED": 3}.get(status),
    }
