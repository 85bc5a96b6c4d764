"""Pages that are typed word by word, and what comes compared with what they show."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path


def steps(page: str) -> Iterator[tuple[str, str]]:
    """Each command with the lines that go on with it, and what the page shows to come of it."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed: list[str] = []
            shown: list[str] = []
            for number, line in enumerate(step.splitlines()):
                if number == 0 or (line.startswith("> ") and not shown):
                    typed.append(line.removeprefix("> ") if number else line)
                else:
                    shown.append(line)
            yield "\n".join(typed), "\n".join(shown)


def fits(shown: str, came: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.split("…"))
    return re.fullmatch(pattern, came.strip("\n"), re.DOTALL) is not None


class Terminal:
    """A bash that is told one thing after the other."""

    def __init__(self, *around: str, env: dict[str, str], place: Path) -> None:
        """`around`: a command that runs the bash, where it is to be elsewhere."""
        self._bash = subprocess.Popen(
            [*around, "bash", "--norc"], env=env, cwd=place, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, text: str) -> str:
        """What comes of it."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        end = secrets.token_hex(8)
        self._bash.stdin.write(f"{text}\nprintf '\\n{end}\\n'\n")
        self._bash.stdin.flush()
        came: list[str] = []
        for line in self._bash.stdout:
            if line == f"{end}\n":
                return "".join(came).removesuffix("\n")
            came.append(line)
        raise AssertionError("".join(came))

    def goes_through(self, page: str) -> int:
        """Types all of it; so many commands there were."""
        done = 0
        for typed, shown in steps(page):
            came = self.type(typed)
            assert fits(shown, came), f"$ {typed}\n--- expected:\n{shown}\n--- came:\n{came}"
            done += 1
        return done

    def close(self) -> None:
        self._bash.kill()
        self._bash.communicate()
