"""The helper processes with pyslurm in them: kept, replaced, and never left behind."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from slurmbatch import journal
from slurmbatch.errors import SlurmAmbiguous, SlurmUnreachable
from slurmbatch.slurm.keeper import Keeper
from tests.unit.slurm_site import FAKES, ME, ROOT, Site, children, record, request


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.slurm.close()


def keeper(site: Site, max_calls: int = 1000) -> Keeper:
    return Keeper("a test's", site.commands.environment(), FAKES, max_calls)


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def gone(pid: int, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}/stat").exists():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class TestKeeping:
    def test_it_is_replaced_after_so_many_calls(self, site: Site) -> None:
        kept = keeper(site, max_calls=2)
        for _ in range(5):
            kept.ask("live", 10.0, uid=ME)
        first, second, third = (site.helpers()[at : at + 2] for at in (0, 2, 4))
        assert first[0] == first[1] != second[0] == second[1] != third[0]
        assert gone(first[0]) and gone(second[0])
        kept.close()
        assert gone(third[0])

    def test_one_that_hangs_is_replaced_in_time(self, site: Site) -> None:
        site.slurm.live()
        site.tell(load={"hang": True})
        started = time.monotonic()
        with pytest.raises(SlurmUnreachable, match="no answer in time"):
            site.impatient(0.5).live()
        assert 0.4 < time.monotonic() - started < 8  # the patient one waits for 10
        site.tell(jobs=[record(1)])
        assert len(site.slurm.live()) == 1
        hung, *_, fresh = site.helpers()
        assert hung != fresh
        assert gone(hung)

    def test_one_that_dies_in_mid_call_is_replaced(self, site: Site) -> None:
        site.tell(load={"die": True, "stderr": "error: munge is away"})
        with pytest.raises(SlurmUnreachable, match="ended with -9; error: munge is away"):
            site.slurm.live()
        site.tell()
        assert site.slurm.live() == []

    def test_one_that_died_between_calls_is_not_noticed_by_anybody(self, site: Site) -> None:
        site.slurm.live()
        os.kill(site.helpers()[0], signal.SIGKILL)
        assert gone(site.helpers()[0])
        assert site.slurm.live() == []

    def test_one_that_hangs_keeps_the_other_from_nothing(self, site: Site) -> None:
        site.slurm.find("warm-up")
        site.tell(submit={"hang": True})
        with pytest.raises(SlurmAmbiguous):
            site.impatient(0.5).submit(request())
        assert site.impatient(5.0).live() == []

    def test_chatter_becomes_lines_of_the_log_and_nothing_else(
        self, site: Site, log: io.StringIO
    ) -> None:
        journal.configure("debug", log)
        site.tell(chatter="libslurm: something\nand more", jobs=[record(1)])
        assert len(site.slurm.live()) == 1
        said = [line for line in log.getvalue().splitlines() if "libslurm says" in line]
        assert len(said) == 4  # both lines, written to standard error and to standard output
        assert 'line="and more"' in said[1]

    def test_a_signal_to_all_of_the_service_is_the_parents_to_obey(self, site: Site) -> None:
        site.slurm.live()
        os.kill(site.helpers()[0], signal.SIGTERM)
        site.slurm.live()
        assert len(set(site.helpers())) == 1

    def test_two_hundred_restarts_leave_nothing_behind(self, site: Site) -> None:
        kept = keeper(site, max_calls=1)
        kept.ask("live", 10.0, uid=ME)
        gc.collect()  # so that what earlier tests have left open is not closed in between
        before = fds(), len(children())
        for number in range(200):
            if number % 4 == 3:
                # Mostly too short a time, and cut off wherever it has come to.
                with suppress(SlurmUnreachable):
                    kept.ask("live", 0.001 * (number % 8), uid=ME)
            else:
                kept.ask("live", 10.0, uid=ME)
        kept.ask("live", 10.0, uid=ME)
        assert (fds(), len(children())) == before
        kept.close()
        assert len(children()) == before[1] - 1
        assert len(set(site.helpers())) == len(site.helpers()) >= 150

    @pytest.mark.parametrize("busy", [False, True])
    def test_it_does_not_outlive_its_parent(self, site: Site, busy: bool) -> None:
        program = (
            "import sys; from pathlib import Path\n"
            "from slurmbatch.slurm.commands import CommandSlurm\n"
            "from slurmbatch.slurm.choose import bind\n"
            "slurm = bind(CommandSlurm(Path(sys.argv[1]), timeout=60), sys.argv[2:])\n"
            "slurm.live(); print('here', flush=True); slurm.live(); sys.stdin.read()"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program, str(site.conf), *FAKES],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        with parent:
            assert parent.stdout and parent.stdout.readline() == b"here\n"
            if busy:
                site.tell(load={"hang": True})
            while len(site.helpers()) < 2:
                time.sleep(0.01)
            parent.kill()
        assert gone(site.helpers()[0])
