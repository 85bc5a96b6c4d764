"""Makes the pictures of the dashboard anew: python -m tests.pictures [DIRECTORY]

From the real dashboard in a real browser, on a real Slurm of its own, so that they stay true.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from slurmbatch.sandbox import Sandbox
from tests.e2e.browser import Dashboard, launched
from tests.e2e.conftest import Api

HERE = Path(__file__).parents[1]
AT_MOST = 200_000
HARDWARE = {"cpu": 1, "memory": 64}


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "docs" / "pictures"
    target.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory)
    try:
        box.up()
        box.start_daemon()
        with launched() as browser:
            draw(browser, Api(box), target)
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)
    for each in sorted(target.glob("*.png")):
        size = each.stat().st_size
        print(f"{each.name}: {size} bytes")
        assert size < AT_MOST, each


def rows(n: int, rate: float, seed: int) -> list[dict[str, Any]]:
    """Jobs that take their time, and some that fail after saying why."""
    dice = random.Random(seed)
    found = []
    for _ in range(n):
        row: dict[str, Any] = {"sleep": round(dice.uniform(2, 14), 1)}
        if dice.random() < rate:
            row |= {"print": "step 4 of 9\nno convergence after 500 iterations", "exit_code": 3}
        found.append(row)
    return found


def submit(api: Api, name: str, rows: list[dict[str, Any]], **more: Any) -> str:
    return api.submit(tool_id="probe", name=name, variable_args=rows, hardware=HARDWARE, **more)


def draw(browser: Any, api: Api, target: Path) -> None:
    pi = {"samples": 200_000}
    seeds = [{"seed": each} for each in range(1, 101)]
    ended = api.submit(tool_id="montecarlo-pi", name="pi, 100 seeds", fixed_args=pi,
                       variable_args=seeds, hardware=HARDWARE)  # fmt: skip
    api.ended(ended)
    flow = submit(api, "airfoil, angles of attack", rows(640, 0.05, 7))
    submit(api, "mesh, then solve", rows(40, 0, 3), depends_on=[flow])
    submit(api, "calibration", rows(24, 0, 5))
    api.until(flow, lambda each: each["submitted_jobs"]["SUCCEEDED"] > 280, 300)
    desk = Dashboard(browser, api.box, viewport={"width": 1200, "height": 960})
    night = Dashboard(browser, api.box, viewport={"width": 1200, "height": 960},
                      color_scheme="dark")  # fmt: skip
    phone = Dashboard(browser, api.box, viewport={"width": 390, "height": 760},
                      color_scheme="dark")  # fmt: skip
    take(desk, "", target / "batches.png")
    take(desk, f"batches/{flow}", target / "batch.png", ".picture canvas")
    take(night, f"batches/{flow}?view=timeline", target / "timeline.png", ".picture canvas")
    take(desk, f"batches/{flow}?view=curves", target / "curves.png", ".plot canvas")
    take(phone, "", target / "phone.png")
    failed = api.http.get(f"/batches/{flow}/jobs?status=FAILED&limit=1").json()[0]["job_id"]
    take(night, f"batches/{flow}/jobs/{failed}", target / "job.png", ".log")
    take(desk, f"batches/{ended}?view=usage", target / "usage.png", ".gauge")
    desk.open("new?tool=montecarlo-pi")
    desk.page.get_by_label("vary seed").check()
    desk.page.get_by_label("seed", exact=True).fill("1..100")
    desk.page.get_by_label("Name").fill("pi, 100 seeds")
    desk.page.screenshot(path=target / "new.png")
    desk.open(f"new?tool=probe&after={flow}")
    desk.page.get_by_role("group", name="How it goes").screenshot(path=target / "course.png")
    for each in (desk, night, phone):
        each.check()
        each.context.close()


def take(dashboard: Dashboard, place: str, file: Path, wanted: str = ".bar") -> None:
    dashboard.open(place)
    dashboard.page.locator(wanted).first.wait_for()
    dashboard.page.wait_for_load_state("networkidle")
    dashboard.page.screenshot(path=file, animations="disabled")


if __name__ == "__main__":
    try:
        main()
    except httpx.HTTPError as error:
        sys.exit(f"The service has not answered: {error}")
