"""The peers that are a few lines of Falcon on waitress, each a process: KIND PORT THREADS BYTES."""

from __future__ import annotations

import logging
import subprocess
import sys

import falcon
import waitress

COMMANDS = {
    "squeue": ("squeue", "--noheader", "--array", "--format=%i|%T|%r", "--jobs"),
    "sacct": ("sacct", "-X", "-n", "-P", "--format=JobID,State,Reason", "--jobs"),
}


class Constant:
    """A body of the same size as ours, and nothing done for it: what the server costs alone."""

    def __init__(self, size: int) -> None:
        self._body = b'["' + b"x" * (size - 4) + b'"]'

    def on_get(self, _req: falcon.Request, resp: falcon.Response, job: str) -> None:
        resp.content_type = "application/json"
        resp.data = self._body


class Forking:
    """Runs one of Slurm's commands for each request."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command

    def on_get(self, _req: falcon.Request, resp: falcon.Response, job: str) -> None:
        done = subprocess.run([*self._command, job], capture_output=True, timeout=60)
        resp.status = falcon.HTTP_200 if done.returncode == 0 and done.stdout else falcon.HTTP_502
        resp.content_type = "text/plain"
        resp.data = done.stdout


def main(kind: str, port: str, threads: str, size: str) -> None:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    app = falcon.App()
    app.add_route("/{job}", Forking(COMMANDS[kind]) if kind in COMMANDS else Constant(int(size)))
    waitress.serve(
        app, host="127.0.0.1", port=int(port), threads=int(threads), ident=None,
        asyncore_use_poll=True, connection_limit=1000,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
