"""The dashboard in a real browser, on the real daemon and the real Slurm: every view and action."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed: make ready-dev")

from playwright.sync_api import Request, expect

from tests.e2e.browser import Dashboard
from tests.e2e.conftest import Api

# Nothing of it depends on the version of Slurm.
pytestmark = [pytest.mark.slurm, pytest.mark.installed]
HARDWARE = {"cpu": 1, "memory": 64}


# Counts what the page asks for from now on.
COUNT = """
window.asked = [];
const real = window.fetch;
window.fetch = (where, ...how) => { window.asked.push(String(where)); return real(where, ...how); };
0
"""


def named(what: str) -> str:
    return f"{what} {uuid.uuid4().hex[:8]}"


def probe(api: Api, name: str, rows: list[dict[str, Any]], **more: Any) -> str:
    return api.submit(tool_id="probe", name=name, variable_args=rows, hardware=HARDWARE, **more)


class TestSigningIn:
    def test_a_key_that_is_not_good_and_one_that_is(self, dashboard: Dashboard) -> None:
        page = dashboard.page
        page.goto(f"{dashboard.box.url}/ui")
        expect(page).to_have_title("Sign in – slurmbatch")
        dashboard.sign_in("sb_not-a-key")
        expect(page.get_by_role("alert")).to_have_text("The service does not take this key.")
        dashboard.sign_in("ключ")
        expect(page.get_by_role("alert")).to_contain_text("ASCII")
        dashboard.sign_in()
        dashboard.heading("Batches")

    def test_it_is_kept_in_the_tab_alone_and_let_go(self, dashboard: Dashboard) -> None:
        dashboard.open()
        page = dashboard.page
        assert dashboard.context.cookies() == []
        assert page.evaluate("localStorage.length") == 0
        assert str(dashboard.box.api_key) not in page.url
        page.reload()
        dashboard.heading("Batches")
        other = dashboard.context.new_page()  # another tab
        other.goto(f"{dashboard.box.url}/ui/")
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
        other.close()
        page.get_by_role("button", name="Sign out").click()
        dashboard.heading("Sign in")
        assert page.evaluate("sessionStorage.length") == 0


class TestTheList:
    def test_a_batch_appears_and_moves_by_itself(self, dashboard: Dashboard, api: Api) -> None:
        dashboard.open()
        name = named("moves")
        probe(api, name, [{"sleep": 1}, {"exit_code": 3}])
        row = dashboard.main.get_by_role("listitem").filter(has_text=name)
        expect(row).to_contain_text("1 SUCCEEDED, 1 FAILED")
        expect(row.get_by_role("img")).to_have_attribute("aria-label", "1 SUCCEEDED, 1 FAILED")

    def test_search_and_filters_stand_in_the_address(self, dashboard: Dashboard, api: Api) -> None:
        good, bad = named("good"), named("bad")
        api.ended(probe(api, good, [{}]))
        api.ended(probe(api, bad, [{"exit_code": 1}]))
        dashboard.open()
        rows = dashboard.main.get_by_role("listitem")
        expect(rows.filter(has_text=good)).to_be_visible()
        dashboard.page.get_by_label("Search").fill(bad[:10].upper())
        expect(rows.filter(has_text=good)).to_have_count(0)
        expect(rows.filter(has_text=bad)).to_be_visible()
        dashboard.page.get_by_label("Search").fill("")
        dashboard.page.get_by_label("With jobs that are").select_option("SUCCEEDED")
        expect(rows.filter(has_text=bad)).to_have_count(0)
        expect(rows.filter(has_text=good)).to_be_visible()
        dashboard.page.get_by_label("Tool").select_option("montecarlo-pi")
        expect(dashboard.main).to_contain_text("No batch fits.")
        dashboard.open(f"?q={bad.replace(' ', '+')}&status=FAILED&tool=probe")
        expect(rows.filter(has_text=bad)).to_be_visible()
        expect(dashboard.page.get_by_label("Search")).to_have_value(bad)

    def test_it_asks_on_condition_and_not_while_it_is_hidden(self, dashboard: Dashboard) -> None:
        page = dashboard.page
        page.clock.install()
        dashboard.open()
        expect(dashboard.main.get_by_text(re.compile("^Loading"))).to_have_count(0)
        with page.expect_response(lambda answer: answer.status == 304) as same:
            page.clock.run_for(5_000)
        assert same.value.request.headers["if-none-match"].startswith('W/"')
        _hide(dashboard, True)
        page.evaluate(COUNT)
        page.clock.run_for(120_000)
        assert page.evaluate("window.asked") == []
        with page.expect_request("**/batches?*"):
            _hide(dashboard, False)
            page.clock.run_for(20_000)


def _hide(dashboard: Dashboard, is_hidden: bool) -> None:
    dashboard.page.evaluate(
        """(is) => {
            Object.defineProperty(document, "hidden", { value: is, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


class TestABatch:
    def test_the_grid_moves_and_leads_to_each_job(self, dashboard: Dashboard, api: Api) -> None:
        name = named("grid")
        batch_id = probe(api, name, [{"print": "zero"}, {"exit_code": 4, "print": "one"}])
        dashboard.open(f"batches/{batch_id}")
        dashboard.heading(name)
        page = dashboard.page
        expect(page.get_by_role("button", name="FAILED 1")).to_be_visible()
        expect(page.get_by_role("button", name="SUCCEEDED 1")).to_be_visible()
        grid = page.get_by_role("application")
        grid.focus()
        grid.press("ArrowRight")
        expect(page.locator(".tip")).to_contain_text("Job 0: SUCCEEDED")
        grid.press("ArrowRight")
        expect(page.locator(".tip")).to_contain_text("Job 1: FAILED")
        grid.press("Enter")
        dashboard.heading("Job 1")
        page.go_back()
        dashboard.heading(name)
        grid.click(position={"x": 5, "y": 5})
        dashboard.heading("Job 0")

    def test_failures_are_grouped_with_the_end_of_a_log(
        self, dashboard: Dashboard, api: Api
    ) -> None:
        batch_id = probe(api, named("fails"), [{"exit_code": 4, "print": "the last words"}] * 3)
        api.ended(batch_id)
        dashboard.open(f"batches/{batch_id}")
        why = dashboard.page.get_by_role("region", name="Why jobs wait or have failed")
        expect(why).to_contain_text("exit code 4")
        expect(why.locator("pre")).to_have_text(re.compile("the last words"))
        why.get_by_role("link", name="One of them").click()
        dashboard.heading("Job ")

    def test_its_other_ways(self, dashboard: Dashboard, api: Api) -> None:
        batch_id = probe(api, named("ways"), [{"sleep": 1}] * 3 + [{"exit_code": 1}])
        api.until(batch_id, lambda each: each["finished_at"] and each["usage"]["n_jobs"] == 3, 180)
        dashboard.open(f"batches/{batch_id}")
        page, tabs = dashboard.page, dashboard.page.get_by_role("navigation", name="Ways to look")
        tabs.get_by_role("link", name="Timeline").click()
        picture = page.get_by_role("application", name="over time")
        picture.focus()
        picture.press("End")
        expect(page.locator(".tip")).to_contain_text(re.compile(r"Job \d: (SUCCEEDED|FAILED), ran"))
        tabs.get_by_role("link", name="Curves").click()
        expect(page.locator(".plot canvas")).to_be_visible()
        expect(page.locator("figcaption")).to_have_text("4 of 4 jobs have ended, 1 of them failed.")
        tabs.get_by_role("link", name="Asked and used").click()
        expect(dashboard.main).to_contain_text("Asked for 64 MiB")
        tabs.get_by_role("link", name="Table").click()
        rows = page.get_by_role("table").locator("tbody tr")
        expect(rows).to_have_count(4)
        page.get_by_role("button", name="FAILED 1").click()
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("exit code 1")
        assert "view=jobs" in page.url
        assert "status=FAILED" in page.url

    def test_a_large_one_is_paged(self, dashboard: Dashboard, api: Api) -> None:
        rows = [{"print": f"row {each}"} for each in range(120)]
        # Nothing of it has to run: it waits for a batch that is not through yet.
        first = probe(api, named("first"), [{"sleep": 600}])
        batch_id = probe(api, named("large"), rows, depends_on=[first])
        dashboard.open(f"batches/{batch_id}?view=jobs")
        page, table = dashboard.page, dashboard.page.get_by_role("table")
        expect(table).to_contain_text("print=row 0")
        page.get_by_role("button", name="Next").click()
        expect(table).to_contain_text("print=row 50")
        page.get_by_role("button", name="Next").click()
        expect(table).to_contain_text("print=row 119")
        expect(page.get_by_role("button", name="Next")).to_be_disabled()
        page.get_by_role("button", name="Previous").click()
        expect(table).to_contain_text("print=row 50")

    def test_one_that_is_not_there(self, dashboard: Dashboard) -> None:
        dashboard.open("batches/01kas8qzrv7x2m4q0f6h9d3e5b")
        dashboard.heading("There is no such batch")
        dashboard.open("nowhere/at/all")
        dashboard.heading("There is no such page")


class TestAJob:
    def test_its_log_comes_as_it_is_written(self, dashboard: Dashboard, api: Api) -> None:
        batch_id = api.submit(tool_id="chatty", hardware=HARDWARE)
        dashboard.open(f"batches/{batch_id}/jobs/{batch_id}-0")
        log = dashboard.page.get_by_role("region", name="Log")
        expect(log).to_contain_text("out 1")
        expect(log).to_contain_text("err 3\nno end of line")
        expect(dashboard.main.get_by_role("heading", level=1)).to_contain_text("SUCCEEDED")
        expect(dashboard.main).to_contain_text("Exit code")

    def test_arguments_attempts_and_the_log_of_each(self, dashboard: Dashboard, api: Api) -> None:
        batch_id = probe(api, named("twice"), [{"print": "hello  there", "exit_code": 5}])
        api.ended(batch_id)
        dashboard.open(f"batches/{batch_id}")
        page = dashboard.page
        page.get_by_role("button", name="Retry").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("1 failed job runs a second time")
        dialog.get_by_role("button", name="Retry").click()
        expect(dialog).to_have_count(0)
        dashboard.open(f"batches/{batch_id}/jobs/{batch_id}-0")
        attempts = page.get_by_role("region", name="Attempts")
        expect(attempts.locator("tbody tr")).to_have_count(2)
        expect(dashboard.main.get_by_role("heading", level=1)).to_contain_text("FAILED")
        expect(dashboard.main).to_contain_text("EXIT: ended with exit code 5")
        expect(page.locator("table.args")).to_contain_text("hello  there")
        attempts.get_by_role("button", name="Show").first.click()
        expect(page.get_by_role("heading", name="Log of attempt 1")).to_be_visible()
        expect(page.get_by_role("region", name="Log")).to_contain_text("hello  there")

    def test_one_job_is_retried_by_itself(self, dashboard: Dashboard, api: Api) -> None:
        batch_id = probe(api, named("some"), [{"exit_code": 5}] * 2)
        api.ended(batch_id)
        dashboard.open(f"batches/{batch_id}/jobs/{batch_id}-1")
        page = dashboard.page
        expect(page.get_by_role("link", name="‹ job 0")).to_be_visible()
        expect(page.get_by_role("link", name="job 2 ›")).to_have_count(0)
        page.get_by_role("button", name="Retry").click()
        page.get_by_role("dialog").get_by_role("button", name="Retry").click()
        expect(page.get_by_role("region", name="Attempts").locator("tbody tr")).to_have_count(2)
        api.ended(batch_id)
        assert api.job(batch_id, 0)["attempt"] == 1


class TestActions:
    def test_cancelling_tells_what_will_happen(self, dashboard: Dashboard, api: Api) -> None:
        batch_id = probe(api, named("cancelled"), [{"sleep": 600}] * 2)
        dashboard.open(f"batches/{batch_id}")
        page = dashboard.page
        expect(page.get_by_role("button", name="RUNNING 2")).to_be_visible()
        expect(page.get_by_role("button", name="Retry")).to_be_disabled()
        page.get_by_role("button", name="Cancel").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("2 jobs that run are ended in Slurm")
        dialog.get_by_role("button", name="Keep it as it is").click()
        assert api.batch(batch_id)["cancelled"] is False
        page.get_by_role("button", name="Cancel").click()
        dialog.get_by_role("button", name="Cancel 2 jobs").click()
        expect(page.get_by_role("button", name="FAILED 2")).to_be_visible()
        expect(dashboard.main).to_contain_text("This batch has been cancelled.")
        assert api.batch(batch_id)["cancelled"] is True

    def test_deleting_is_for_good(self, dashboard: Dashboard, api: Api) -> None:
        name = named("deleted")
        batch_id = probe(api, name, [{"sleep": 600}])
        dashboard.open(f"batches/{batch_id}")
        dashboard.page.get_by_role("button", name="Delete").click()
        dialog = dashboard.page.get_by_role("dialog")
        expect(dialog).to_contain_text("there is no way back")
        dialog.press("Escape")
        expect(dialog).to_have_count(0)
        dashboard.page.get_by_role("button", name="Delete").click()
        dialog.get_by_role("button", name="Delete 1 job").click()
        dashboard.heading("Batches")
        expect(dashboard.main.get_by_role("listitem").filter(has_text=name)).to_have_count(0)
        assert api.http.get(f"/batches/{batch_id}").status_code == 404


class TestSubmitting:
    def test_from_the_form_of_a_tool(self, dashboard: Dashboard, api: Api) -> None:
        dashboard.open("new?tool=montecarlo-pi")
        page, name = dashboard.page, named("swept")
        page.get_by_label("samples", exact=True).fill("1000")
        page.get_by_label("vary seed").check()
        page.get_by_label("seed", exact=True).fill("1..3, 10..30:10")
        preview = page.get_by_role("region", name="Preview")
        expect(preview).to_contain_text("6 jobs")
        expect(preview.get_by_role("listitem").last).to_have_text("samples=1000 seed=30")
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Check only").click()
        expect(page.get_by_text("Slurm would take it: 6 jobs")).to_be_visible()
        page.get_by_role("button", name="Submit 6 jobs").click()
        dashboard.heading(name)
        (batch,) = [each for each in api.http.get("/batches").json() if each["name"] == name]
        jobs = api.http.get(f"/batches/{batch['batch_id']}/jobs").json()
        assert [each["args"]["seed"] for each in jobs] == [1, 2, 3, 10, 20, 30]
        assert {each["args"]["samples"] for each in jobs} == {1000}

    def test_mistakes_stand_at_their_fields(self, dashboard: Dashboard) -> None:
        dashboard.open("new?tool=montecarlo-pi")
        page = dashboard.page
        seed = page.get_by_label("seed", exact=True)
        seed.fill("one")
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_text('Expected a number, not "one".')).to_be_visible()
        expect(seed).to_have_attribute("aria-invalid", "true")
        seed.fill("-5")  # which only the service knows to be too little
        page.get_by_label("CPUs").fill("7")
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_role("alert")).to_contain_text("/hardware/cpu")
        expect(seed).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label("CPUs")).to_have_attribute("aria-invalid", "true")

    def test_an_answer_that_is_lost_makes_no_second_batch(
        self, dashboard: Dashboard, api: Api
    ) -> None:
        dashboard.open("new?tool=probe")
        page, name, keys = dashboard.page, named("once"), []

        def lose(route: Any, request: Request) -> None:
            if request.method != "POST":
                route.continue_()
                return
            keys.append(request.headers["idempotency-key"])
            if len(keys) == 1:
                route.fetch()  # it arrives, but nobody hears of it
                route.abort()
            else:
                route.continue_()

        page.route("**/batches", lose)
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Submit 1 job").click()
        expect(page.get_by_role("alert")).to_contain_text("can't be reached")
        page.get_by_role("button", name="Submit 1 job").click()
        dashboard.heading(name)
        assert len(set(keys)) == 1
        assert len(keys) == 2
        assert [each["name"] for each in api.http.get("/batches").json()].count(name) == 1

    def test_one_that_waits_for_another_and_how_it_is_to_go(
        self, dashboard: Dashboard, api: Api
    ) -> None:
        first, name = probe(api, named("first"), [{"sleep": 30}]), named("second")
        dashboard.open(f"batches/{first}")
        page = dashboard.page
        page.get_by_role("link", name="Another after it").click()
        dashboard.heading("New batch")
        page.get_by_label("Tool").select_option("probe")
        after = page.get_by_label("After these batches")
        expect(after).to_have_value(first)
        after.fill(f"{first}:afterany")
        page.get_by_label("Name").fill(name)
        page.get_by_label("At once, at most").fill("2")
        page.get_by_label("Runs of a job, at most").fill("3")
        page.get_by_label("A rerun's memory, times").fill("1.5")
        page.get_by_label("Rerun if its node fails").select_option("yes")
        page.get_by_role("button", name="Submit 1 job").click()
        dashboard.heading(name)
        expect(dashboard.main).to_contain_text(f"{first} (afterany)")
        expect(dashboard.main).to_contain_text("1.5 × the memory")
        made = api.batch(page.url.rpartition("/")[2])
        assert made["depends_on"] == [{"batch_id": first, "type": "afterany"}]
        assert made["max_parallel"] == 2
        assert (made["retry"]["max_attempts"], made["retry"]["memory_factor"]) == (3, 1.5)
        assert made["retry"]["node_failures"] is True
        api.http.post(f"/batches/{first}/cancel")

    def test_mistakes_in_how_it_is_to_go(self, dashboard: Dashboard) -> None:
        dashboard.open("new?tool=probe&after=a:b")
        page = dashboard.page
        after, notify = page.get_by_label("After these"), page.get_by_label("Tell this address")
        runs = page.get_by_label("Runs of a job, at most")
        runs.fill("some")
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_text("Expected ids of batches")).to_contain_text('not "a:b"')
        expect(page.get_by_text('Expected a number, not "some".')).to_be_visible()
        after.fill("01jd6xyz7qkq9m2v4h8r5t0w3a")  # what only the service knows to be wrong
        runs.fill("99")
        notify.fill("https://nobody.example.org/hook")
        page.get_by_label("and when its first job fails").check()
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_role("alert")).to_contain_text("/retry/max_attempts")
        expect(runs).to_have_attribute("aria-invalid", "true")
        runs.fill("")
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_role("alert")).to_contain_text("/depends_on")
        for field in (after, notify):
            expect(field).to_have_attribute("aria-invalid", "true")

    @pytest.mark.parametrize(
        ("kind", "text", "values"),
        [
            ("integer", "1..3", [1, 2, 3]),
            ("integer", "3..1", [3, 2, 1]),
            ("number", "0..0.3:0.1", [0, 0.1, 0.2, 0.3]),
            ("number", "1e3, .5", [1000, 0.5]),
            ("string", "a, b\nc", ["a", "b", "c"]),
            ("string", '"a,b",""', ["a,b", ""]),
            ("string", "1..3", ["1..3"]),
            ("boolean", "true,False", [True, False]),
            ("integer", "1.5", None),
            ("integer", "1..3:0", None),
            ("integer", "", None),
            ("string", '"open', None),
        ],
    )
    def test_sweeps_are_read_as_the_command_reads_them(
        self, dashboard: Dashboard, kind: str, text: str, values: list[Any] | None
    ) -> None:
        dashboard.page.goto(f"{dashboard.box.url}/ui/")
        found = dashboard.page.evaluate(
            """async ([type, text]) => {
                const { values, Mistake } = await import("./sweep.js");
                try { return values({ type }, text); } catch (error) {
                    return error instanceof Mistake ? null : String(error);
                }
            }""",
            [kind, text],
        )
        assert json.dumps(found) == json.dumps(values)


def test_the_service_on_a_page(dashboard: Dashboard) -> None:
    dashboard.open("service")
    expect(dashboard.main).to_contain_text("Ready: all is well.")
    expect(dashboard.main).to_contain_text(re.compile(r"Looks just now\s*[\d.]+ a minute"))
    dashboard.page.get_by_label("The batches of the user").fill("somebody")
    dashboard.page.get_by_role("button", name="Show").click()
    dashboard.heading("Batches of somebody")
    expect(dashboard.page.get_by_role("alert")).to_contain_text("needs the scope admin")


class TestTheServiceForAdministrators:
    def test_what_waits_who_is_busiest_outages_and_the_trail(
        self, dashboard: Dashboard, api: Api, overseer: str
    ) -> None:
        first = probe(api, named("busy"), [{"sleep": 600}] * 3)
        api.until(first, lambda each: each["submitted_jobs"]["RUNNING"] > 0)
        user = api.batch(first)["user"]
        page = dashboard.page
        page.goto(f"{dashboard.box.url}/ui/#/service")
        dashboard.sign_in(overseer)
        dashboard.heading("Service")
        for told in (r"Hand-overs that wait\s*(none|\d+ array)", r"How long they took\s*[\d.]+ s, ",
                     r"Since the start of the service, .*\d"):  # fmt: skip
            expect(dashboard.main).to_contain_text(re.compile(told))
        row = page.get_by_role("region", name="Busiest users").get_by_role("row")
        row = row.filter(has=page.get_by_role("link", name=user, exact=True))
        expect(row).to_contain_text("RUNNING")
        trail = page.get_by_role("region", name="Audit trail")
        made = trail.get_by_role("row").filter(has_text=first)
        expect(made).to_contain_text(re.compile(rf"{user}\s*batch\.create\s*done"))
        row.get_by_role("link").click()
        dashboard.heading(f"Batches of {user}")

    def test_texts_of_others_stay_texts(self, dashboard: Dashboard, overseer: str) -> None:
        evil, page = "<img src=x onerror='window.hacked=1'>", dashboard.page
        report = httpx.get(
            f"{dashboard.box.url}/service",
            headers={"Authorization": overseer, "Accept": "application/vnd.slurmbatch.object+json"},
            timeout=60,
        ).json()
        act = {**dict.fromkeys(report["audit"][0], evil), "at": report["at"]}
        outage = {"source": evil, "began_at": report["at"], "ended_at": "", "error": evil}
        counts = report["submitted_jobs"]
        user = {"user": evil, "live_jobs": 1, "live_batches": 1, "submitted_jobs": counts}
        intents = {"arrays": 2, "jobs": 1, "oldest_age_seconds": 61}
        lists = {"users": [user], "outages": [outage], "audit": [act]}
        report = {**report, "intents": intents, **lists}
        page.route("**/service", lambda route: route.fulfill(json=report))
        page.goto(f"{dashboard.box.url}/ui/#/service")
        dashboard.sign_in(overseer)
        for name in ("Busiest users", "Outages", "Audit trail"):
            expect(page.get_by_role("region", name=name)).to_contain_text(evil)
        expect(page.get_by_role("region", name="Outages")).to_contain_text("goes on")
        expect(dashboard.main).to_contain_text("Hand-overs that wait2 arrays, 1 job")
        expect(dashboard.main).to_contain_text("The oldest of them1 min 1 s")
        assert page.locator("main img").count() == 0
        assert page.evaluate("window.hacked") is None

    def test_others_are_asked_for_once_and_see_nothing_of_it(self, dashboard: Dashboard) -> None:
        page = dashboard.page
        page.clock.install()
        asked: list[int] = []
        page.on("response", lambda answer: asked.append(answer.status)
                if answer.url.endswith("/service") else None)  # fmt: skip
        with page.expect_response("**/service"):
            dashboard.open("service")
        expect(dashboard.main).to_contain_text("Ready: all is well.")
        page.clock.run_for(120_000)
        expect(dashboard.main).to_contain_text(re.compile(r"Looks just now\s*[\d.]+ a minute"))
        assert asked == [403]
        expect(dashboard.main).not_to_contain_text("Audit trail")
        expect(page.get_by_role("alert")).to_have_count(0)


def test_what_is_away_is_told(dashboard: Dashboard) -> None:
    dashboard.open()
    page = dashboard.page
    page.route("**/batches?*", lambda route: route.abort())
    expect(page.get_by_role("alert")).to_contain_text("can't be reached")
    with page.expect_request("**/batches?*"):
        page.get_by_role("button", name="Try again").click()
    page.unroute("**/batches?*")
    expect(page.get_by_role("alert")).to_have_count(0)
    away = {"ok": False, "down_since": "2026-11-23T14:03:07Z", "error": "no answer"}
    fine = {"ok": True, "down_since": "", "error": ""}
    report = {"detail": "not able to work", "database": fine, "slurmctld": away, "slurmdbd": fine,
              "poll_age_seconds": None, "looks": 3, "backend": "commands",
              "queue": {"waited": 0, "depth": 0}}  # fmt: skip
    page.route("**/readyz", lambda route: route.fulfill(status=503, json=report))
    dashboard.open("service")
    expect(dashboard.main).to_contain_text("Not ready")
    expect(dashboard.main).to_contain_text("no answer")
    expect(dashboard.main).to_contain_text("not looked yet")


def test_what_timeline_and_curves_are_made_of(dashboard: Dashboard) -> None:
    dashboard.page.goto(f"{dashboard.box.url}/ui/")
    found = dashboard.page.evaluate(
        """async () => {
            const { order } = await import("./timeline.js");
            const { series, expected } = await import("./curves.js");
            // One that succeeded, one that failed, one that runs, one that waits.
            const brief = { n_jobs: 4, statuses: "5642", started: [2, 0, 3, -1],
                stopped: [4, 1, -1, -1], created_at: "2026-11-23T14:00:00Z" };
            const begin = Date.parse(brief.created_at) / 1000;
            const made = series(brief, begin + 5);
            const [times, ...curves] = expected(made, 4, begin + 60);
            return { order: [...order(brief)], times: made[0].map((each) => each - begin),
                curves: made.slice(1), last: times.at(-1) - begin, guess: curves.at(-1) };
        }"""
    )
    assert found["order"] == [1, 0, 2, 3]
    assert found["times"] == [0, 1, 2, 3, 4, 5]
    ended, failed, running = found["curves"]
    assert ended == [0, 1, 1, 1, 2, 2]
    assert failed == [0, 1, 1, 1, 1, 1]
    assert running == [1, 0, 1, 2, 1, 1]
    assert found["last"] == 60
    assert found["guess"] == [None, None, None, None, None, 2, 4]


def test_each_of_a_hundred_thousand_cells_has_its_colour(dashboard: Dashboard) -> None:
    dashboard.page.goto(f"{dashboard.box.url}/ui/")
    drawn = dashboard.page.evaluate(
        """async () => {
            const { Grid, layout } = await import("./grid.js");
            const { html } = await import("./html.js");
            const { render } = await import("./preact.js");
            const n_jobs = 100000;
            const of = Array.from({ length: n_jobs }, (_, at) => at % 7);
            const brief = { statuses: of.join(""), n_jobs, version: "1", started: of, stopped: of };
            const place = document.createElement("div");
            document.body.append(place);
            const show = (version) => render(
                html`<${Grid} brief=${{ ...brief, version }} onOpen=${() => {}} />`, place);
            show("1");
            const canvas = place.querySelector("canvas");
            while (canvas.height === 150) await new Promise(requestAnimationFrame);
            const { size, columns } = layout(n_jobs, canvas.clientWidth);
            const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const pixels = new Uint32Array(image.data.buffer);
            const at = (index) => pixels[
                Math.floor(index / columns) * size * canvas.width + (index % columns) * size];
            return { colours: new Set([0, 1, 2, 3, 4, 5, 6].map(at)).size,
                     same: at(99994) === at(99994 % 7) };
        }"""
    )
    assert drawn["colours"] == 7
    assert drawn["same"]
