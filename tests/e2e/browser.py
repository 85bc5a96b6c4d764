"""A real browser on the dashboard: Debian's Chromium, driven by Playwright.

One for each module, and gone after it: while Playwright's is up, no other event loop can run in
this thread, and other modules have some.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from slurmbatch.sandbox import Sandbox

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

# Of a machine that is busy with other things. Nothing waits for so long where all is well.
PATIENCE = 90_000
# What the page itself tells of its policy's violations, from its first line on.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}`));
"""
# As root it needs the one, and in a container, whose /dev/shm may be small, the other.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
CHROMIUM = shutil.which("chromium")


@contextmanager
def launched() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            timeout=PATIENCE,
        )
        yield browser
        browser.close()


class Dashboard:
    """A tab with the dashboard in it."""

    def __init__(self, browser: Browser, box: Sandbox, **options: Any) -> None:
        self.box = box
        self.said: list[str] = []
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options}
        )
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(WATCH)
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("dialog", self._asked)
        self.page.on("console", self._told)

    def _asked(self, dialog: Any) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _told(self, message: Any) -> None:
        # Chromium tells of each answer of 400 and more; those are the tests' own.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.said.append(f"console: {message.text}")

    def sign_in(self, key: str | None = None) -> None:
        self.page.get_by_label("API key").fill(key or str(self.box.api_key))
        self.page.get_by_role("button", name="Sign in").click()

    def open(self, place: str = "") -> None:
        """Shows the view that the fragment names, signed in."""
        from playwright.sync_api import expect

        self.page.goto(f"{self.box.url}/ui/#/{place}")
        if not self.page.evaluate("sessionStorage.getItem('slurmbatch.key')"):
            self.sign_in()
        expect(self.main.locator("h1").first).not_to_have_text("Sign in")

    @property
    def main(self) -> Locator:
        return self.page.get_by_role("main")

    def heading(self, text: str) -> None:
        from playwright.sync_api import expect

        exactly = re.compile(rf"^\s*{re.escape(text)}")
        expect(self.main.get_by_role("heading", level=1)).to_have_text(exactly)

    def check(self) -> None:
        """Nothing has gone wrong in it, and nothing was kept out by its policy."""
        assert self.said == []
        if self.page.url.startswith("http"):
            assert self.page.evaluate("window.violations") == []
