"""`slurmbatch admin doctor`: each thing that can be wrong is found, and what to do is said."""

from __future__ import annotations

import grp
import json
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slurmbatch.cli import main
from slurmbatch.doctor import machine
from slurmbatch.headship import KEY, Headship
from slurmbatch.store import open_store
from tests.ports import free_port

FACTS = """\
MaxArraySize            = 1001
MaxJobCount             = 10000
MinJobAge               = 300 sec
BOOT_TIME               = 2026-11-23T10:00:00
ClusterName             = test
"""
PROGRAMS = {
    "scontrol": f"""[ "$1" = --version ] && echo 'slurm-wlm 22.05.8' || cat <<'END'\n{FACTS}END""",
    "squeue": "true",
    "sacct": "true",
    "sbatch": "exit 1",
    "scancel": "true",
    "sacctmgr": 'case "$*" in *AdminLevel) echo Operator;; *) echo physics;; esac',
    "sdiag": 'echo "sdiag output at Fri Nov 27 ($(date +%s))"',
}


class Site:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("state", "logs", "claims", "tools.d", "bin"):
            (directory / name).mkdir(mode=0o700)
        for name, text in PROGRAMS.items():
            self.program(name, text)
        self.port = free_port()
        self.settings()
        open_store(directory / "state" / "x.sqlite", exclusive=True).close()

    def program(self, name: str, text: str) -> None:
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def settings(self, slurm: str = "", jobs: str = "") -> None:
        (self.directory / "slurmbatch.toml").write_text(
            f"[server]\nport = {self.port}\n"
            f'[store]\npath = "{self.directory}/state/x.sqlite"\n'
            f'[jobs]\nlog_dir = "{self.directory}/logs"\nclaims_dir = "{self.directory}/claims"\n'
            f"max_jobs_per_batch = 10000\n{jobs}"
            f'[slurm]\nbin_dir = "{self.directory}/bin"\ncommand_timeout = 5\n{slurm}'
        )

    def run(self, *options: str) -> Result:
        file = str(self.directory / "slurmbatch.toml")
        return CliRunner().invoke(main, ["admin", "doctor", *options, "--config", file])

    def findings(self) -> dict[tuple[str, str], list[dict[str, str]]]:
        """By check and level."""
        found: dict[tuple[str, str], list[dict[str, str]]] = {}
        for each in json.loads(self.run("--json").stdout):
            found.setdefault((each["check"], each["level"]), []).append(each)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_where_all_is_well(site: Site) -> None:
    done = site.run()
    assert done.exit_code == 0, done.output
    assert "wrong" not in done.stdout
    found = site.findings()
    for check in (
        "settings",
        "directories",
        "versions",
        "database",
        "commands",
        "slurmctld",
        "accounting",
        "rights",
        "head",
        "clocks",
    ):
        assert (check, "ok") in found
    # No daemon runs here, which is worth a warning and no more.
    assert "does not answer" in found["daemon", "warning"][0]["found"]


def test_settings_with_mistakes_are_told_and_nothing_else(site: Site) -> None:
    file = site.directory / "slurmbatch.toml"
    file.write_text(file.read_text().replace("[server]", "[server]\ncolour = 1\nhost = 5"))
    done = site.run()
    assert done.exit_code == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()[::2]] == [
        ["wrong", "settings"]
    ] * 2


@pytest.mark.parametrize(
    ("break_it", "check", "found", "advice"),
    [
        (
            lambda s: (s.directory / "state").chmod(0o755),
            "directories",
            "open to others",
            "chmod go=",
        ),
        (
            lambda s: (s.directory / "logs").chmod(0o777),
            "directories",
            "open to others",
            "chmod go-w",
        ),
        (lambda s: (s.directory / "logs").rmdir(), "directories", "is not there", "install -d"),
        (lambda s: (s.directory / "bin/sacct").unlink(), "commands", "sacct not found", "bin_dir"),
        (
            lambda s: s.program("scontrol", "echo no >&2; exit 1"),
            "slurmctld",
            "scontrol: no",
            "munge",
        ),
        (lambda s: s.program("squeue", "echo away >&2; exit 1"), "slurmctld", "away", "slurm.conf"),
        (lambda s: s.program("sacct", "exit 1"), "accounting", "sacct: exit 1", "slurmdbd"),
        (lambda s: damage(s, b"no database at all" * 500), "database", "SQLite says", "restore"),
        (lambda s: damage(s, b""), "database", "no database of slurmbatch", "restore"),
        (lambda s: newer(s), "database", "has schema 9999", "newer"),
    ],
)
def test_what_is_wrong(site: Site, break_it, check: str, found: str, advice: str) -> None:  # type: ignore[no-untyped-def]
    break_it(site)
    told = site.findings()
    assert any(found in each["found"] and advice in each["advice"] for each in told[check, "wrong"])
    assert site.run().exit_code == 1


def damage(site: Site, content: bytes) -> None:
    (site.directory / "state" / "x.sqlite").write_bytes(content)


def newer(site: Site) -> None:
    with closing(sqlite3.connect(site.directory / "state" / "x.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 9999")


@pytest.mark.parametrize(
    ("slurm", "jobs", "facts", "found"),
    [
        ("array_size = 5000\n", "", "", "MaxArraySize allows 1000"),
        ("poll_interval_most = 200\n", "", "", "MinJobAge is 300"),
        ("", "", "s/MaxJobCount.*/MaxJobCount = 500/", "MaxJobCount is 500"),
    ],
)
def test_limits_that_do_not_go_together(
    site: Site, slurm: str, jobs: str, facts: str, found: str
) -> None:
    site.settings(slurm, jobs)
    if facts:
        site.program("scontrol", f"( {PROGRAMS['scontrol']}\n) | sed '{facts}'")
    assert any(found in each["found"] for each in site.findings()["slurmctld", "warning"])
    assert site.run().exit_code == 0


@pytest.mark.parametrize(
    ("facts", "level", "accounts", "found"),
    [
        ("PrivateData = jobs,usage", "None", "a", ("warning", "hides of others' jobs: jobs")),
        ("PrivateData = none", "None", "a", ("ok", "hides no jobs")),
        ("PrivateData = cloud", "", "a", ("ok", "no user of accounting; PrivateData hides no")),
        ("PrivateData = jobs", "Administrator", "a", ("ok", "sees all jobs")),
        ("AccountingStorageEnforce = associations,limits", "None", "", ("wrong", "has none")),
        ("AccountingStorageEnforce = associations", "None", "physics\nchem",
         ("ok", "may submit for chem, physics")),
    ],
)  # fmt: skip
def test_what_the_account_may_see_and_do(
    site: Site, facts: str, level: str, accounts: str, found: tuple[str, str]
) -> None:
    site.program("scontrol", PROGRAMS["scontrol"].replace("MaxArray", f"{facts}\nMaxArray", 1))
    answers = f"case \"$*\" in *AdminLevel) echo '{level}';; *) echo '{accounts}';; esac"
    site.program("sacctmgr", answers)
    told = site.findings()["rights", found[0]]
    assert any(found[1] in each["found"] for each in told), told


def test_without_sacctmgr_it_says_so(site: Site) -> None:
    site.program("sacctmgr", "echo 'slurmdbd is away' >&2; exit 1")
    (told,) = site.findings()["rights", "warning"]
    assert "slurmdbd is away" in told["found"]


def test_a_credential_of_another_time_is_a_matter_of_clocks(site: Site) -> None:
    site.program(
        "sacct", "echo 'sacct: error: Munge decode failed: Expired credential' >&2; exit 1"
    )
    (told,) = site.findings()["accounting", "wrong"]
    assert "NTP" in told["advice"]


def test_who_may_write_the_settings_says_what_runs(site: Site) -> None:
    tool = site.directory / "tools.d/x.toml"
    tool.write_text('description = "x"\nscript = "#!/bin/sh\\n"\n[hardware]\ncpu = 1\nmemory = 1\n')
    tool.chmod(0o666)
    (told,) = site.findings()["directories", "wrong"]
    assert str(tool) in told["found"]
    assert f"chmod o-w {tool}" in told["advice"]


def test_the_bug_of_this_sqlite_is_told_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, is_told in (((3, 51, 2), True), ((3, 51, 3), False), ((3, 40, 1), True)):
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        found = site.findings()["versions", "ok"]
        assert any("WAL-reset bug" in each["found"] for each in found) is is_told


MOUNTS = r"""
22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/my\040data rw - nfs4 head:/data rw
31 30 8:2 / /srv/my\040data/local rw - xfs /dev/sdb rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x", "ext4"),
        ("/srv/my data/deep/er", "nfs4"),
        ("/srv/my data/local", "xfs"),
        ("/srv/my data/local/x", "xfs"),
    ],
)
def test_which_filesystem_a_path_is_on(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "mounts").write_text(MOUNTS.replace("\\\\", "\\"))
    assert machine.filesystem_of(Path(path), tmp_path / "mounts") == kind
    assert machine.filesystem_of(Path(path), tmp_path / "none") == ""


def test_a_database_on_a_shared_filesystem_is_wrong(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, is_wrong in (("nfs4", True), ("lustre", True), ("ext4", False), ("zfs", False)):
        monkeypatch.setattr(machine, "filesystem_of", lambda *_, kind=kind: kind)
        told = site.findings().get(("disk", "wrong"), [])
        assert [each["found"] for each in told] == (
            [f"store.path is on {kind}"] if is_wrong else []
        )


def test_an_old_copy_of_the_database_is_told_of(site: Site) -> None:
    database = site.directory / "state/x.sqlite"
    with closing(open_store(database, exclusive=True)) as store:
        made = [Headship(site.directory / "logs", store.instance, store.recall, store.remember)
                for _ in range(2)]  # fmt: skip
        made[0].take()
        assert "is the head, since" in site.findings()["head", "ok"][0]["found"]
        old = store.recall(KEY)
        made[1].take()
        store.remember(KEY, str(old))
    (told,) = site.findings()["head", "wrong"]
    assert "has taken over" in told["found"]
    assert "take-over" in told["advice"]


def test_nodes_are_for_the_canary(site: Site) -> None:
    assert site.run("--nodes", "n1").exit_code == 2
    site.program(
        "scontrol",
        f"""[ "$1$2" = showhostnames ] && {{ echo 'bad list' >&2; exit 1; }}
        {PROGRAMS["scontrol"]}""",
    )
    (told,) = json.loads(site.run("--json", "--canary", "5", "--nodes", "n[").stdout)[-1:]
    assert (told["check"], told["level"]) == ("canary", "wrong")
    assert "bad list" in told["found"]


def test_clocks_that_differ(site: Site) -> None:
    site.program("sdiag", 'echo "sdiag output at Fri Nov 27 ($(($(date +%s) - 90)))"')
    (told,) = site.findings()["clocks", "warning"]
    assert "off by" in told["found"]


def test_without_claims_it_says_what_that_means(site: Site) -> None:
    file = site.directory / "slurmbatch.toml"
    lines = [line for line in file.read_text().splitlines() if "claims_dir" not in line]
    file.write_text("\n".join(lines) + "\n")
    (told,) = site.findings()["directories", "warning"]
    assert "may run twice" in told["advice"]


def test_a_canary_that_slurm_refuses_leaves_nothing(site: Site) -> None:
    site.program(
        "sbatch",
        "echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1",
    )
    done = site.run("--canary", "5")
    assert done.exit_code == 1
    assert "Invalid qos specification" in done.stdout
    assert os.listdir(site.directory / "logs") == os.listdir(site.directory / "claims") == []


def test_groups_that_are_not_there_are_told(site: Site) -> None:
    tool = site.directory / "tools.d" / "t.toml"
    head = 'description = "t"\npath = "/bin/true"\ngroups = ["{}"]\n'
    tool.write_text(head.format(grp.getgrgid(0).gr_name))
    assert ("groups", "ok") in site.findings()
    tool.write_text(head.format("no-such-group-here"))
    (told,) = site.findings()["groups", "warning"]
    assert told["found"] == "tool t: there is no group 'no-such-group-here' on this system"


def test_how_users_log_in(site: Site) -> None:
    """What issuers publish, and munge: here there is neither."""
    assert not [each for each in site.findings() if each[0] == "login"]
    file = site.directory / "slurmbatch.toml"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/certs"
        file.write_text(
            f'{file.read_text()}\n[auth]\nadmin_groups = ["sb-no-such-group"]\n'
            f'[auth.munge]\nurls = ["https://a"]\nsocket = "{site.directory}/none"\n'
            '[[auth.jwt]]\nissuer = "https://a"\naudience = "us"\nalgorithms = ["RS256"]\n'
            f'jwks_url = "{address}"\njwks_http = true\n'
        )
        found = site.findings()
    issuer, munge = found["login", "warning"]
    assert f"cannot be had from {address}" in issuer["found"]
    assert "nobody can log in by munge" in munge["found"]
    (group,) = found["groups", "warning"]
    assert "auth.admin_groups: there is no group 'sb-no-such-group'" in group["found"]


class TestAsWhomJobsRun:
    def findings(self, site: Site, way: str, more: str = "") -> dict[str, list[str]]:
        site.settings(slurm=f'run_as = "{way}"\n{more}')
        found: dict[str, list[str]] = {}
        for (check, level), told in site.findings().items():
            if check == "run_as":
                found[level] = [each["found"] for each in told]
        return found

    @pytest.mark.parametrize(
        ("level", "is_operator"),
        [("Operator", True), ("Administrator", True), ("None", False), ("", False)],
    )
    def test_it_has_to_be_an_operator(self, site: Site, level: str, is_operator: bool) -> None:
        site.program("sacctmgr", f"echo '{level}'")
        key = site.directory / "key"
        key.write_bytes(b"k" * 32)
        key.chmod(0o600)
        found = self.findings(site, "slurm-jwt", f'jwt_key_file = "{key}"\n')
        assert ("wrong" not in found) == is_operator
        assert "slurmctld takes tokens" in found["ok"][0]
        site.program(
            "squeue", '[ -z "$SLURM_JWT" ] || { echo "error: Protocol error" >&2; exit 1; }'
        )
        found = self.findings(site, "slurm-jwt", f'jwt_key_file = "{key}"\n')
        assert found["wrong"][0] == "slurmctld takes no token: Protocol error"

    def test_without_a_rule_of_sudos(self, site: Site) -> None:
        site.program("sacctmgr", "echo Operator")
        # Whether sudo is there at all or not: no rule is for the sbatch of this test.
        (wrong,) = self.findings(site, "sudo")["wrong"]
        assert "sudo" in wrong
