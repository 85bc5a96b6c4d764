"""The page "Why is my job waiting?", written from the table that the daemon goes by.

python -m slurmbatch.states.page > docs/waiting.md
"""

from __future__ import annotations

from collections.abc import Iterator

from slurmbatch.states.table import ADVICE, OURS, REASON_CLASSES, REASON_SENTENCES, SENTENCES, R

_HEAD = """\
# Why is my job waiting?

Look at its `reason`: a class in capitals, a sentence, and mostly Slurm's own word in brackets. Find
the class here; those of a job that is still `SUBMITTED` are in [http.md](http.md#reasons), and so
is `CANARY`, of one that waits for the first jobs of its batch. This page is written from the same
table as the daemon's answers.
"""
# These come in families, which the table knows by their parts.
_FAMILIES = {
    "LIMIT": "`Assoc…` and `QOS…` with `Grp`, `MaxJobs`, `PerUser` or `PerAccount` in it",
    "MISCONFIGURED": "`Assoc…` and `QOS…` with `PerJob`, `PerNode`, `MaxWall` or `Min` in it",
}
_OTHER = (R, ())


def page() -> str:
    """All of it, in Markdown."""
    classes = {**REASON_CLASSES, "OTHER": _OTHER}
    return _HEAD + "".join(
        "\n" + "\n".join(_section(kind, status, words)) + "\n"
        for kind, (status, words) in classes.items()
    )


def _section(kind: str, status: str, words: tuple[str, ...]) -> Iterator[str]:
    about = SENTENCES.get(kind, "waits for a reason that slurmbatch does not know")
    yield f"## {kind}\n"
    yield f"`{status}`: the job {about}.\n"
    yield f"What to do: {ADVICE[kind]}"
    if kind in OURS:
        yield f"\n{OURS[kind]}"
    if words:
        yield "\n| Slurm says | the job |\n| --- | --- |"
        yield from (f"| `{word}` | {REASON_SENTENCES.get(word, about)} |" for word in words)
    if kind in _FAMILIES:
        yield f"| {_FAMILIES[kind]} | {about} |"


if __name__ == "__main__":
    print(page(), end="")
