"""Records the terminal session of docs/session.md: python -m tests.session docs/session.md

Each command is typed into a terminal of 80 columns (tmux), in a sandbox with a real Slurm, and what
the page shows is what then stood on the screen. Only the address of the service and the home
directory are written as others would see them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from slurmbatch.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
URL = "https://slurmbatch.example.org"
PATIENCE = 120


@dataclass(frozen=True)
class Step:
    """What the page says before it, what is typed, what that asks for, and a picture on the way."""

    says: str
    types: str
    secret: str = ""
    shown_at: str = ""


STEPS = [
    Step(
        "The URL comes from whoever runs the service, and so does the key. It is asked for, and "
        "does not show:",
        "slurmbatch login $SERVICE",
        secret="$KEY",
    ),
    Step("What is there to run?", "slurmbatch tools"),
    Step("", "slurmbatch tools probe"),
    Step(
        "A hundred jobs, one for each seed, watched. This is how it looked on the way:",
        "slurmbatch submit montecarlo-pi -a samples=3e6 --sweep seed=1..100 --watch",
        shown_at=r"[2-9]\d of 100 ended, .* left",
    ),
    Step("What the first of them has printed:", "slurmbatch logs @ 0"),
    Step(
        "Now some that fail: the jobs of all combinations of two parameters.",
        "slurmbatch submit probe --sweep exit_code=0,3 --sweep print=a,b,c",
    ),
    Step("The exit code tells scripts how it went:", "slurmbatch wait @; echo $?"),
    Step("", "slurmbatch show @"),
    Step("", "slurmbatch jobs @ --failed"),
    Step("Those again, under the same ids, with more memory:",
         "slurmbatch retry @ --failed --mem-factor 2; slurmbatch wait @"),
    Step("A mistake, or three. Nothing is submitted:",
         "slurmbatch submit probe -a colour=red -a sleep=long --sweep exit_code=5..1:1"),
    Step("", "slurmbatch ls"),
    Step("For programs:", "slurmbatch ls --limit 1 --json"),
    Step("And away with it:", "slurmbatch rm @"),
]  # fmt: skip


class Screen:
    """A terminal, and somebody who types."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        self._env = env
        self._do("new-session", "-d", "-x", "80", "-y", "40", "bash --norc --noprofile")

    def __enter__(self) -> Self:
        self.type("PS1='$ '; PROMPT_COMMAND='tmux wait-for -S prompt'")
        self.prompted()
        return self

    def __exit__(self, *error: object) -> None:
        self._do("kill-server")

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], env=self._env, check=True, capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip
        return done.stdout

    def type(self, text: str) -> None:
        self._do("send-keys", "-l", text)
        self._do("send-keys", "Enter")

    def clear(self) -> None:
        self._do("send-keys", "C-l")
        self.until(lambda text: text.endswith("$"))
        time.sleep(0.2)  # until the screen is drawn anew; what is older is gone then
        self._do("clear-history")

    def prompted(self) -> None:
        self._do("wait-for", "prompt")

    def text(self) -> str:
        """What stands there, with what has gone off at the top."""
        lines = self._do("capture-pane", "-p", "-J", "-S", "-").splitlines()
        return "\n".join(line.rstrip() for line in lines).strip()

    def until(self, holds: Callable[[str], object]) -> str:
        deadline = time.monotonic() + PATIENCE
        while not holds(text := self.text()):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        return text


def main(page: Path) -> None:
    with service() as (box, home):
        env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home),
            "LANG": "C.UTF-8", "TERM": "screen", "SERVICE": box.url, "KEY": str(box.api_key),
        }  # fmt: skip
        with Screen(home, env) as screen:
            parts = [part for step in STEPS for part in recorded(screen, step, env)]
        told = "\n".join(parts).replace(box.url, URL).replace(str(home), "~")
    page.write_text(f"{HEAD}\n{told}")


def recorded(screen: Screen, step: Step, env: dict[str, str]) -> Iterator[str]:
    screen.clear()
    typed = step.types.replace("$SERVICE", env["SERVICE"])
    screen.type(typed)
    if step.secret:
        screen.until(lambda text: "API key:" in text)
        screen.type(env["KEY"])
    if step.says:
        yield f"{step.says}\n"
    if step.shown_at:
        middle = screen.until(lambda text: re.search(step.shown_at, text))
        yield f"```console\n{middle}\n```\n\nand at its end:\n"
    screen.prompted()
    end = screen.until(lambda text: text.endswith("\n$")).removesuffix("\n$")
    yield f"```console\n{end}\n```\n"


@contextmanager
def service() -> Iterator[tuple[Sandbox, Path]]:
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    home = Path(tempfile.mkdtemp(prefix="home-", dir="/tmp"))
    box = Sandbox(directory / "box")
    try:
        box.up(daemon=True)
        yield box, home
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


HEAD = """# A session at the terminal

What the [commands](commands.md) look like, recorded by `python -m tests.session` on a terminal of
80 columns, with a real Slurm behind. `@` is the newest batch.
"""

if __name__ == "__main__":
    main(Path(sys.argv[1]))
