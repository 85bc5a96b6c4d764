"""What the dashboard does with texts of others, in frames, on a phone, and for who sees less."""

from __future__ import annotations

import gzip
import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed: make ready-dev")

from playwright.sync_api import expect

from slurmbatch.sandbox import Sandbox
from tests.e2e.browser import PATIENCE, Dashboard
from tests.e2e.conftest import Api

# Nothing of it depends on the version of Slurm.
pytestmark = [pytest.mark.slurm, pytest.mark.installed]
HARDWARE = {"cpu": 1, "memory": 64}
AXE = gzip.decompress(Path(__file__).parents[1].joinpath("vendor/axe.min.js.gz").read_bytes())
# Tells of itself wherever it is taken for markup, a script or an address.
EVIL = """"'><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"""
LINK = "javascript:window.hacked=1"
VIEWS = ("grid", "timeline", "curves", "usage", "jobs")


@pytest.fixture
def nasty(api: Api) -> str:
    """The id of a batch with such texts wherever a user may write some."""
    rows = [{"print": f"{EVIL}\x1b[31m{LINK}", "exit_code": 3}, {"print": LINK}]
    name = f"{EVIL} {uuid.uuid4().hex[:8]}"
    batch_id = api.submit(tool_id="probe", name=name, variable_args=rows, hardware=HARDWARE)
    api.ended(batch_id)
    return batch_id


def places(batch_id: str) -> list[str]:
    """Every view there is, by its fragment."""
    ways = [f"batches/{batch_id}?view={view}" for view in VIEWS]
    job = f"batches/{batch_id}/jobs/{batch_id}-0"
    return ["", *ways, job, "new?tool=probe", "new?tool=nasty", "service", "nowhere"]


def shown(dashboard: Dashboard, place: str) -> None:
    """Goes there, and waits until what is to be seen has come."""
    dashboard.open(place)
    expect(dashboard.main.get_by_text(re.compile("^Loading"))).to_have_count(0)
    if "view=curves" in place:
        expect(dashboard.page.locator(".plot canvas")).to_be_visible()
    if place == "service":
        expect(dashboard.main).to_contain_text("Ready")


class TestTextsOfOthers:
    def test_they_stay_texts_in_every_view(self, dashboard: Dashboard, nasty: str) -> None:
        page = dashboard.page
        for place in places(nasty):
            shown(dashboard, place)
            assert page.locator("img[src=x], main script, a[href^='javascript']").count() == 0
        shown(dashboard, "")
        expect(page.get_by_role("link", name=EVIL)).to_be_visible()
        shown(dashboard, f"batches/{nasty}/jobs/{nasty}-0")
        expect(page.get_by_role("region", name="Log")).to_contain_text(f"{EVIL}{LINK}")
        expect(page.locator("table.args")).to_contain_text(EVIL)
        assert page.evaluate("window.hacked") is None

    def test_so_do_those_of_the_address(self, dashboard: Dashboard, nasty: str) -> None:
        from urllib.parse import quote

        evil = quote(EVIL, safe="")
        for place in (
            f"?q={evil}&status={evil}&tool={evil}&limit={evil}",
            f"batches/{evil}",
            f"batches/{nasty}?view={evil}&status={evil}",
            f"batches/{nasty}/jobs/{evil}",
            f"batches/{nasty}/jobs/{nasty}-0?attempt={evil}",
            f"new?tool={evil}",
            f"{evil}/%E0%A4%A",
            "batches/..%2f..%2fkeys",
        ):
            dashboard.open(place)
            expect(dashboard.main.get_by_role("heading", level=1)).to_have_count(1)
            assert dashboard.page.locator("img[src=x], main script").count() == 0
        assert dashboard.page.evaluate("window.hacked") is None

    def test_so_do_those_of_errors_and_of_the_form(self, dashboard: Dashboard) -> None:
        dashboard.open("new?tool=probe")
        page = dashboard.page
        page.get_by_label("print", exact=True).fill(EVIL)
        page.get_by_label("signal", exact=True).fill(EVIL)
        page.get_by_label("Name").fill(EVIL)
        expect(page.get_by_role("region", name="Preview")).to_contain_text(EVIL)
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_role("alert")).to_contain_text("/fixed_args/signal")
        mistake = {"pointer": EVIL, "detail": EVIL}
        problem = {"title": EVIL, "detail": EVIL, "errors": [mistake], "request_id": EVIL}
        page.route(
            "**/tools",
            lambda route: route.fulfill(
                status=500,
                content_type="application/problem+json",
                body=json.dumps(problem),
            ),
        )  # fmt: skip
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text(EVIL)
        assert page.locator("img[src=x], main script").count() == 0
        assert page.evaluate("window.hacked") is None


class TestPolicy:
    def test_nothing_inline_runs_even_if_it_got_in(
        self, dashboard: Dashboard, service: Sandbox
    ) -> None:
        page = dashboard.page
        page.goto(f"{service.url}/ui/")
        page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.hacked = 1";
                document.body.append(script);
                const away = document.createElement("img");
                away.src = "http://127.0.0.2:9/";
                document.body.append(away);
            }"""
        )
        page.wait_for_function("window.violations.length >= 2")
        assert page.evaluate("window.hacked") is None
        found = page.evaluate("window.violations.splice(0)")
        assert {each.split(":")[0] for each in found} == {"script-src-elem", "img-src"}
        dashboard.said.clear()  # Chromium tells of both

    def test_no_page_may_frame_it(self, dashboard: Dashboard, service: Sandbox) -> None:
        page = dashboard.page
        # As a page of somebody else's would: at another origin, and reachable.
        other = service.url.replace("127.0.0.1", "localhost")
        page.route(
            f"{other}/frame",
            lambda route: route.fulfill(
                content_type="text/html", body=f"<iframe src='{service.url}/ui/'></iframe>"
            ),
        )
        page.goto(f"{other}/frame")
        page.wait_for_function("window.frames.length === 1")
        frame = page.frames[1]
        deadline = time.monotonic() + PATIENCE / 1000
        while not frame.url.startswith("chrome-error://"):
            assert time.monotonic() < deadline, frame.url
            page.wait_for_timeout(100)
        assert frame.locator("#app").count() == 0
        dashboard.said.clear()  # Chromium tells why


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, browser: Any, service: Sandbox) -> Iterator[Dashboard]:
    each = Dashboard(browser, service, color_scheme=request.param, reduced_motion="reduce")
    yield each
    each.check()
    each.context.close()


def serious(dashboard: Dashboard) -> list[Any]:
    """What axe finds that would keep somebody from using it."""
    if not dashboard.page.evaluate("'axe' in window"):
        dashboard.page.evaluate(AXE.decode())
    found = dashboard.page.evaluate("axe.run(document, {})")
    assert len(found["passes"]) > 5  # it has looked
    return [
        (each["id"], each["help"], [node["html"][:200] for node in each["nodes"]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


class TestAccessibility:
    def test_nothing_serious_in_any_view(self, themed: Dashboard, nasty: str) -> None:
        themed.page.goto(f"{themed.box.url}/ui/")
        expect(themed.page.get_by_role("heading", name="Sign in")).to_be_visible()
        found = {"sign in": serious(themed)}
        for place in places(nasty):
            shown(themed, place)
            found[place] = serious(themed)
        shown(themed, f"batches/{nasty}")
        themed.page.get_by_role("button", name="Retry").click()
        expect(themed.page.get_by_role("dialog")).to_be_visible()
        found["dialog"] = serious(themed)
        themed.page.keyboard.press("Escape")
        assert {place: each for place, each in found.items() if each} == {}

    def test_nor_in_what_administrators_see(
        self, themed: Dashboard, nasty: str, overseer: str
    ) -> None:
        themed.page.goto(f"{themed.box.url}/ui/#/service")
        themed.sign_in(overseer)
        trail = themed.page.get_by_role("region", name="Audit trail")
        expect(trail).to_contain_text(nasty)
        assert serious(themed) == []

    def test_the_keyboard_is_enough(self, dashboard: Dashboard, nasty: str) -> None:
        page = dashboard.page
        page.goto(f"{dashboard.box.url}/ui/")
        expect(page.get_by_label("API key")).to_be_focused()
        page.keyboard.type(str(dashboard.box.api_key))
        page.keyboard.press("Enter")
        dashboard.heading("Batches")
        link = page.get_by_role("link", name=EVIL)
        expect(link).to_be_visible()
        for _ in range(40):
            page.keyboard.press("Tab")
            if link.evaluate("(node) => node === document.activeElement"):
                break
        page.keyboard.press("Enter")
        dashboard.heading(EVIL)
        expect(page.get_by_role("main")).to_be_focused()  # so that Tab goes on from there


def test_a_phone_is_wide_enough(browser: Any, service: Sandbox, nasty: str) -> None:
    phone = Dashboard(browser, service, viewport={"width": 360, "height": 740}, has_touch=True)
    try:
        for place in places(nasty):
            shown(phone, place)
            width = phone.page.evaluate("document.documentElement.scrollWidth")
            assert width <= 360, place
        assert serious(phone) == []
        phone.check()
    finally:
        phone.context.close()
