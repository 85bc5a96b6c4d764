"""`python -m tests.benchmarks [--quick] [--out DIR]`"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from tests.benchmarks.page import page
from tests.benchmarks.picture import draw
from tests.benchmarks.processes import ROOT
from tests.benchmarks.report import table
from tests.benchmarks.run import run
from tests.benchmarks.scale import FULL, QUICK


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: under 90 s")
    parser.add_argument("--out", type=Path, help="where the JSON and the picture go")
    parser.add_argument("--draw", type=Path, help="only draw and print what this JSON holds")
    options = parser.parse_args()
    # A full run is what the docs show; a quick one must not take its place.
    out = options.out or (ROOT / (".cache/bench" if options.quick else "docs/bench"))
    if options.draw:
        found = json.loads(options.draw.read_text())
    else:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        found = run(QUICK if options.quick else FULL, _say)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, out / "results.png")
    if not options.quick and options.out is None:
        (ROOT / "docs/speed.md").write_text(page(found))
    print(table(found))
    print(f"\nIn {out}: results.json, results.png")


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
