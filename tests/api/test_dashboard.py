"""The files of the dashboard, and what the API has for it."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from importlib import resources
from itertools import combinations
from pathlib import Path

import pytest

from slurmbatch.api.resources import static
from slurmbatch.errors import StoreUnavailable
from slurmbatch.model import Status
from slurmbatch.web.lanes import JOBS, SHORT, lane_of
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches

UI = Path(str(resources.files("slurmbatch.ui")))
PARTS = static.load("slurmbatch.ui")
COMPRESSED_AT_MOST = 300_000
KNOWN = {"If-None-Match": ""}


class TestFiles:
    @pytest.fixture(autouse=True)
    def stranger(self, api: Api) -> None:
        api.user = None

    def test_the_page_is_where_its_name_leads(self, api: Api) -> None:
        led = api.get("/ui")
        # Relative, so that it fits behind a proxy that adds a path before it.
        assert (led.status_code, led.headers["location"]) == (308, "ui/")
        page = api.get("/ui/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for each in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            path = f"/ui/{each}" if not each.startswith("../") else each[2:]
            assert api.get(path).status_code == 200
        assert not re.search(r"https?://", page.text)

    @pytest.mark.parametrize("part", ["", *sorted(PARTS.keys() - {"index.html"})])
    def test_each_file(self, api: Api, part: str) -> None:
        plain = api.get(f"/ui/{part}")
        packed = api.get(f"/ui/{part}", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(packed.content) == plain.content
        again = api.get(f"/ui/{part}", headers={"If-None-Match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        policy = plain.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert plain.headers["x-frame-options"] == "DENY"
        assert plain.headers["referrer-policy"] == "no-referrer"
        kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        wanted = kinds.get(part.rpartition(".")[2], "text/html")
        assert plain.headers["content-type"].startswith(wanted)

    @pytest.mark.parametrize(
        "file",
        ["index.html", "vendor.json", "__init__.py", "LICENSE.htm", "..%2fapp.py", "uplot.js.gz"],
    )
    def test_nothing_else_is_there(self, api: Api, file: str) -> None:
        assert api.get(f"/ui/{file}").status_code == 404

    def test_all_of_it_is_small(self) -> None:
        assert sum(len(each.packed) for each in PARTS.values()) < COMPRESSED_AT_MOST

    def test_modules_name_only_what_is_there(self) -> None:
        for name, part in PARTS.items():
            if name.endswith(".js"):
                text = part.plain.decode()
                named = re.findall(r"""(?:\bfrom\s*|\bimport\s*\(?\s*)["']([^"'\s]+)["']""", text)
                assert {each for each in named if each.removeprefix("./") not in PARTS} == set()

    def test_markup_is_never_made_of_texts(self) -> None:
        ours = [each for each in UI.glob("*.js") if each.name not in vendored()]
        assert len(ours) > 10
        for each in ours:
            text = each.read_text()
            for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(",
                        "new Function", "localStorage", "document.cookie"):  # fmt: skip
                assert way not in text, (each.name, way)
            assert len(text.splitlines()) <= 300

    def test_what_is_not_ours_is_named_with_its_licence(self) -> None:
        listed = json.loads((UI / "vendor.json").read_text())
        for each in listed.values():
            assert re.fullmatch(r"\d+\.\d+\.\d+", each["version"])
            assert any(name.startswith("LICENSE") for name in each["files"].values())
            for name in each["files"].values():
                assert (UI / name).is_file()

    def test_looks_do_not_wait_behind_long_answers(self) -> None:
        assert lane_of("GET", "/ui/app.js") == SHORT
        assert lane_of("GET", "/batches/1/statuses") == JOBS


def vendored() -> set[str]:
    listed = json.loads((UI / "vendor.json").read_text())
    return {name for each in listed.values() for name in each["files"].values()}


# --- colours -------------------------------------------------------------------------------------

# What people see who lack one kind of cones (Machado, Oliveira and Fernandes, 2009).
SEEN_BY = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopes": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
                   (-0.003882, -0.048116, 1.051998)),
    "deuteranopes": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
                     (-0.011820, 0.042940, 0.968881)),
    "tritanopes": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
                   (0.004733, 0.691367, 0.303900)),
}  # fmt: skip
# A difference that is seen at a glance between two patches is about 10.
APART = 10.0


def themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", (UI / "style.css").read_text(), re.DOTALL)
    of = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6,8});", each)) for each in (light, dark)]
    return {"light": of[0], "dark": {**of[0], **of[1]}}


def linear(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]


def lab(rgb: list[float]) -> list[float]:
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    scaled = [sum(a * b for a, b in zip(row, rgb, strict=True)) / w
              for row, w in zip(rows, white, strict=True)]  # fmt: skip
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in scaled)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def seen(colour: str, by: str) -> list[float]:
    rgb = linear(colour)
    return lab([min(1, max(0, sum(a * b for a, b in zip(row, rgb, strict=True))))
                for row in SEEN_BY[by]])  # fmt: skip


def apart(one: str, other: str, by: str) -> float:
    pairs = zip(seen(one, by), seen(other, by), strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs) ** 0.5)


@pytest.mark.parametrize("by", SEEN_BY)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_statuses_can_be_told_apart(theme: str, by: str) -> None:
    colours = {status: themes()[theme][status.value.lower()] for status in Status}
    assert len(set(colours.values())) == len(Status)
    near = {
        (one, other): distance
        for one, other in combinations(Status, 2)
        if (distance := apart(colours[one], colours[other], by)) < APART
    }
    assert near == {}


# --- what the API has for it ---------------------------------------------------------------------


class TestListsThatAreTheSame:
    def test_a_list_has_a_tag_that_changes_with_it(self, api: Api, batches: FakeBatches) -> None:
        batch = batches.add("anna", 2)
        first = api.get("/batches")
        known = {"If-None-Match": first.headers["etag"]}
        again = api.get("/batches", headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        batches.kept[batch.batch_id] = replace(batch, version=2, name="other")
        changed = api.get("/batches", headers=known)
        assert changed.status_code == 200
        assert changed.json[0]["name"] == "other"

    def test_an_error_has_no_tag(self, api: Api, batches: FakeBatches) -> None:
        batches.broken = StoreUnavailable("away")
        assert "etag" not in api.get("/batches", headers={"If-None-Match": '"x"'}).headers

    def test_so_has_a_job(self, api: Api, batches: FakeBatches) -> None:
        batch = batches.add("anna", 1)
        path = f"/batches/{batch.batch_id}/jobs/{batch.batch_id}-0"
        first = api.get(path)
        known = {"If-None-Match": first.headers["etag"]}
        assert api.get(path, headers=known).status_code == 304
        batches.jobs_of[batch.batch_id][0] = replace(
            batches.jobs_of[batch.batch_id][0], status=Status.RUNNING
        )
        changed = api.get(path, headers=known)
        assert (changed.status_code, changed.json[0]["status"]) == (200, "RUNNING")


class TestStatuses:
    def test_all_jobs_in_brief(self, api: Api, batches: FakeBatches) -> None:
        batch = batches.add("anna", 3)
        batches.jobs_of[batch.batch_id][1] = replace(
            batches.jobs_of[batch.batch_id][1], status=Status.FAILED
        )
        (found,) = api.get(f"/batches/{batch.batch_id}/statuses").json
        assert found["statuses"] == "060"
        assert found["started"] == [-1, -1, -1]
        assert (found["n_jobs"], found["version"]) == (3, batch.etag)

    def test_it_is_read_once_for_all_who_watch(self, api: Api, batches: FakeBatches) -> None:
        path = f"/batches/{batches.add('anna', 3).batch_id}/statuses"
        tag = api.get(path).headers["etag"]
        for _ in range(5):
            assert api.get(path).status_code == 200
        assert api.get(path, headers={"If-None-Match": tag}).status_code == 304
        assert batches.calls.count("brief") == 1

    def test_a_strangers_is_not_there(self, api: Api, batches: FakeBatches) -> None:
        path = f"/batches/{batches.add('anna', 3).batch_id}/statuses"
        assert api.get(path).status_code == 200
        api.user = "bob"
        assert api.get(path).status_code == 404
        assert api.get(path, headers={"If-None-Match": "*"}).status_code == 404
