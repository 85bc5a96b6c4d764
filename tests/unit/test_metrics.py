"""Metrics: what is counted, what a scrape reads and does not read, and that the pages know them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from slurmbatch.config import load
from slurmbatch.daemon.figures import Readings
from slurmbatch.errors import SettingsError, SlurmUnreachable, StoreUnavailable
from slurmbatch.health import Health
from slurmbatch.metrics import CONTENT_TYPE, Metrics
from slurmbatch.slurm.observed import CALLS, observed
from slurmbatch.web import Waits, listen
from slurmbatch.web.beside import Beside
from slurmbatch.worker import Worker
from tests.fakes.slurm import FakeSlurm
from tests.ports import free_port

from .world import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/metrics.md").read_text()
MONITORING = ROOT / "docs/monitoring"


def metrics_of(world: World) -> Metrics:
    readings = Readings(world.store.figures, world.health, Waits(), lambda: world.slurm.now)
    return Metrics(readings)


def values(metrics: Metrics) -> dict[str, float]:
    """Each line of a scrape."""
    lines = metrics.render().decode().splitlines()
    pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in pairs}


class TestWhatIsCounted:
    def test_requests_by_route_and_code(self) -> None:
        metrics = Metrics()
        for code in (200, 200, 404):
            metrics.request("GET", "/batches/{batch_id}", code, 0.003)
        found = values(metrics)
        labels = 'code="200",method="GET",route="/batches/{batch_id}"'
        assert found[f"slurmbatch_requests_total{{{labels}}}"] == 2
        count = 'slurmbatch_request_seconds_count{method="GET",route="/batches/{batch_id}"}'
        assert found[count] == 3

    def test_calls_to_slurm_and_what_came_of_them(self) -> None:
        metrics = Metrics()
        seen: list[tuple[str, BaseException | None]] = []

        def told(call: str, seconds: float, error: BaseException | None) -> None:
            seen.append((call, error))
            metrics.call(call, seconds, error)

        slurm = observed(FakeSlurm(), told)
        slurm.live()
        assert seen == [("live", None)]
        failing = observed(Broken(), metrics.call)  # type: ignore[arg-type]
        with pytest.raises(SlurmUnreachable):
            failing.live()
        found = values(metrics)
        assert found['slurmbatch_slurm_call_seconds_count{call="live"}'] == 2
        failures = 'slurmbatch_slurm_call_failures_total{call="live",error="SlurmUnreachable"}'
        assert found[failures] == 1

    def test_all_else_of_the_port_is_passed_on(self) -> None:
        assert {"submit", "find", "live", "ended", "cancel", "release", "facts"} <= CALLS
        wrapped = observed(Broken(), lambda *_: None)  # type: ignore[arg-type]
        assert getattr(wrapped, "backend", None) == "broken"
        assert getattr(wrapped, "nothing", None) is None

    def test_rounds_of_the_workers(self) -> None:
        metrics, health, fails = Metrics(), Health(), True

        def tick(_: float) -> None:
            if fails:
                raise SlurmUnreachable

        worker = Worker("w", tick, 1.0, health, seen=metrics.round)
        worker.run_once(1.0)
        fails = False
        worker.run_once(2.0)
        found = values(metrics)
        for outcome in ("failed", "done"):
            labels = f'outcome="{outcome}",worker="w"'
            assert found[f"slurmbatch_worker_rounds_total{{{labels}}}"] == 1


class Broken:
    backend = "broken"

    def live(self) -> None:
        raise SlurmUnreachable


class TestWhatIsRead:
    def test_batches_on_their_way(self, world: World) -> None:
        metrics = metrics_of(world)
        empty = values(metrics)
        assert empty['slurmbatch_arrays_open_age_seconds{state="INTENT"}'] == 0
        world.post(3)
        world.slurm.now += 50
        waiting = values(metrics)
        assert waiting["slurmbatch_batches_open"] == 1
        assert waiting['slurmbatch_jobs{status="SUBMITTED"}'] == 3
        assert waiting['slurmbatch_arrays_open{state="INTENT"}'] == 1
        assert waiting['slurmbatch_arrays_open_jobs{state="INTENT"}'] == 3
        assert waiting['slurmbatch_arrays_open_age_seconds{state="INTENT"}'] >= 50

    def test_batches_that_have_ended_are_counted_once(self, world: World) -> None:
        metrics = metrics_of(world)
        batch_id = world.post(2)
        with world.store._db.write() as db:
            db.execute_sql(
                "UPDATE batch SET finished_at = 5, n_status_0 = 0, n_status_5 = 2"
                " WHERE batch_id = ?", (batch_id,)
            )  # fmt: skip
        for _ in range(2):
            found = values(metrics)
            assert found["slurmbatch_batches_ended_total"] == 1
            assert found['slurmbatch_jobs_ended_total{status="SUCCEEDED"}'] == 2
            assert found["slurmbatch_batches_open"] == 0

    def test_an_outage(self, world: World) -> None:
        world.health.failed("slurmctld", world.slurm.now, "gone")
        assert values(metrics_of(world))['slurmbatch_source_up{source="slurmctld"}'] == 0

    def test_a_database_that_cannot_be_read(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metrics = metrics_of(world)
        assert values(metrics)["slurmbatch_database_up"] == 1

        def gone(*_: object) -> None:
            raise StoreUnavailable

        monkeypatch.setattr(world.store._db, "sql", gone)
        found = values(metrics)
        assert found["slurmbatch_database_up"] == 0
        assert "slurmbatch_batches_open" not in found

    def test_a_scrape_reads_no_job_and_scans_no_table(self, world: World) -> None:
        world.post(5)
        connection = world.store._db.reader.connection()
        said: list[str] = []
        connection.set_trace_callback(said.append)
        metrics_of(world).render()
        connection.set_trace_callback(None)
        asked = [each for each in said if each.lstrip().startswith("SELECT")]
        assert len(asked) >= 4
        for text in asked:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
            assert not any("job" in step.split() for step in plan), plan
            assert all("INDEX" in step for step in plan if step.startswith(("SCAN", "SEARCH"))), (
                plan
            )


class TestWhoMayAsk:
    @pytest.fixture
    def port(self) -> int:
        return free_port()

    def test_the_page_is_where_it_is_said_to_be(self, port: int) -> None:
        Beside(
            listen("metrics", "127.0.0.1", port), "/metrics", lambda: (CONTENT_TYPE, b"x 1\n")
        ).start()
        url = f"http://127.0.0.1:{port}"
        answer = httpx.get(f"{url}/metrics", timeout=60)
        assert (answer.status_code, answer.text) == (200, "x 1\n")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert httpx.get(f"{url}/").status_code == 404
        assert httpx.post(f"{url}/metrics").status_code == 405

    def test_with_a_token_only_those_who_know_it(self, port: int) -> None:
        Beside(
            listen("metrics", "127.0.0.1", port), "/metrics", lambda: (CONTENT_TYPE, b""),
            b"0123456789abcdef",
        ).start()  # fmt: skip
        url = f"http://127.0.0.1:{port}/metrics"
        assert httpx.get(url, headers={"Authorization": "Bearer 0123456789abcdef"}).is_success
        for wrong in ("Bearer 0123456789abcdeX", "0123456789abcdef", "Bearer", "Basic x"):
            answer = httpx.get(url, headers={"Authorization": wrong})
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert httpx.get(url).status_code == 401

    @pytest.mark.parametrize(
        ("token", "mode", "wrong"),
        [
            ("0123456789abcdef", 0o600, ""),
            ("0123456789abcdef", 0o644, "mode 0644"),
            ("short", 0o600, "at least 16 printable"),
            ("with spaces in it ........", 0o600, "at least 16 printable"),
        ],
    )
    def test_the_token_is_in_a_file(
        self, tmp_path: Path, token: str, mode: int, wrong: str
    ) -> None:
        (tmp_path / "tools.d").mkdir()
        (tmp_path / "token").write_text(token + "\n")
        (tmp_path / "token").chmod(mode)
        file = tmp_path / "slurmbatch.toml"
        file.write_text('[jobs]\nlog_dir = "/l"\n[metrics]\nport = 9\ntoken_file = "token"\n')
        if wrong:
            with pytest.raises(SettingsError, match=wrong):
                load(file)
        else:
            assert load(file).metrics_token == token.encode()
            assert token not in repr(load(file))

    def test_a_token_without_a_port_is_a_mistake(self, tmp_path: Path) -> None:
        (tmp_path / "tools.d").mkdir()
        file = tmp_path / "slurmbatch.toml"
        file.write_text('[jobs]\nlog_dir = "/l"\n[metrics]\ntoken_file = "token"\n')
        with pytest.raises(SettingsError, match=r"metrics\.port: found nothing"):
            load(file)


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b(slurmbatch_[a-z_]+)", text))


def test_notifications_by_what_came_of_them(world: World) -> None:
    metrics = metrics_of(world)
    for outcome in ("failed", "failed", "given_up"):
        metrics.notification(outcome)
    text = metrics.render().decode()
    for outcome, n in (("delivered", 0), ("failed", 2), ("given_up", 1)):
        assert f'slurmbatch_notifications_total{{outcome="{outcome}"}} {n}.0' in text


class TestPages:
    def test_every_metric_is_told_and_none_that_is_not_there(self, world: World) -> None:
        metrics = metrics_of(world)
        metrics.request("GET", "/", 200, 0.1)
        metrics.call("live", 0.1, SlurmUnreachable())
        metrics.round("poller", 0.1, False)
        metrics.notification("given_up")
        families = re.findall(
            r"^# TYPE (slurmbatch_\w+) (\w+)", metrics.render().decode(), re.MULTILINE
        )
        there = {name for name, _ in families if not name.endswith("_created")}
        assert names_in(PAGE) == there
        known = there | {
            f"{name}_{part}" for name, kind in families if kind == "histogram"
            for part in ("bucket", "count", "sum")
        }  # fmt: skip
        for file in ("alerts.yml", "dashboard.json"):
            assert names_in((MONITORING / file).read_text()) <= known

    def test_every_call_to_slurm_is_told(self) -> None:
        (row,) = re.findall(r"^\| `slurmbatch_slurm_call_seconds`.*", PAGE, re.MULTILINE)
        assert {name for name in CALLS if f"`{name}`" not in row} == set()

    def test_the_dashboard_is_one(self) -> None:
        board = json.loads((MONITORING / "dashboard.json").read_text())
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids)) > 10
        for panel in board["panels"]:
            assert all(target["expr"] for target in panel["targets"])

    @pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
    @pytest.mark.parametrize(
        "what", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")]
    )
    def test_prometheus_understands_the_rules(self, what: tuple[str, ...]) -> None:
        done = subprocess.run(
            ["promtool", *what], cwd=MONITORING, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
