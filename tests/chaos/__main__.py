"""`make chaos`: a long run, with a seed to replay it by.

    make chaos [MINUTES=10] [SEED=...] [CLAIMS=on|off|both|bare]

With claims, slurmctld is killed with -9, too; without them that is more than can be promised, and
it is only stopped, hung and restarted. `both`: one after the other, half of the time each. `bare`:
killed without claims all the same; what Slurm itself then loses or runs again is counted, and only
what slurmbatch does wrong makes the run fail.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from slurmbatch.sandbox import Sandbox
from tests.chaos.campaign import Campaign, Orders, save, summary, table
from tests.chaos.crowd import Habits
from tests.chaos.site import new_sandbox

# Whether with claims, and whether slurmctld is killed with -9.
ON, OFF, BARE = (True, True), (False, False), (False, True)
CLAIMS = {"on": (ON,), "off": (OFF,), "both": (ON, OFF), "bare": (BARE,)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default="")
    parser.add_argument("--claims", choices=CLAIMS, default="both")
    parser.add_argument("--keep", action="store_true", help="keep the directory in any case")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = options.seed or str(random.SystemRandom().randrange(10**6))
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    print(f"SEED={seed} MINUTES={options.minutes:g}, in {root}", flush=True)
    box = new_sandbox(root / "box")
    kinds = CLAIMS[options.claims]
    good = False
    try:
        box.up()
        seconds = options.minutes * 60 / len(kinds)
        went_well = [_run(box, root, seed, *kind, seconds) for kind in kinds]
        good = all(went_well)
    finally:
        _put_away(box, root, keep=options.keep or not good)
    return 0 if good else 1


def _run(box: Sandbox, root: Path, seed: str, claims: bool, crashes: bool, seconds: float) -> bool:
    name = "claims-on" if claims else "bare" if crashes else "claims-off"
    # More than Slurm runs under fire, so that there always is something to lose; but no backlog
    # that takes longer to work off than the fire has lasted.
    habits = Habits(
        most_batches=max(20, int(seconds / 2)), most_jobs=40, longest_nap=2.0,
        depends=0.3, canaries=0.15, throttles=0.2, retries=0.2, policies=0.4,
    )  # fmt: skip
    orders = Orders(seed, seconds, claims=claims, crashes=crashes, habits=habits, pause=(0.3, 2.5))
    campaign = Campaign(box, root / name, orders)
    verdict = campaign.run()
    rows = summary(campaign, verdict)
    save(campaign, verdict, rows)
    print(f"\n{name}\n{table(rows)}", flush=True)
    for text in verdict.failures:
        print(f"FAILED  {text}", flush=True)
    # With claims there should be none of these either; the short form in `make test` lets them be.
    cancelled = verdict.ended_by_slurm if claims else []
    for text in cancelled:
        print(f"FAILED  cancelled by Slurm itself: {text}", flush=True)
    return not verdict.failures and not cancelled


def _put_away(box: Sandbox, root: Path, *, keep: bool) -> None:
    if keep and box.dir.exists():
        shutil.copytree(box.dir / "log", root / "slurm-logs", dirs_exist_ok=True)
    box.down()
    if keep:
        print(f"Everything is kept in {root}", flush=True)
    else:
        shutil.rmtree(root)


if __name__ == "__main__":
    sys.exit(main())
