"""Settings and tools: what is right is read, what is wrong is told, all of it at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurmbatch import model
from slurmbatch.config import load
from slurmbatch.errors import SettingsError

MINIMAL = '[jobs]\nlog_dir = "/var/log/jobs"\n'
SCRATCH = '[[filesystems]]\nid = "scratch"\npath = "/scratch"\nfeature = "fast"\n'
TOOL = 'description = "A tool"\npath = "/bin/true"\n'


class Site:
    """A directory with settings and tools, and what loading them says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "slurmbatch.toml"
        self.settings(MINIMAL)
        (directory / "tools.d").mkdir()

    def settings(self, text: str) -> None:
        self.file.write_text(text)

    def tool(self, text: str, name: str = "tool.toml") -> None:
        (self.directory / "tools.d" / name).write_text(text)

    def mistakes(self) -> list[str]:
        """The mistakes, without the directory in front of them."""
        with pytest.raises(SettingsError) as caught:
            load(self.file)
        return [each.replace(f"{self.directory}/", "") for each in caught.value.mistakes]

    def mistake(self) -> str:
        mistakes = self.mistakes()
        assert len(mistakes) == 1, mistakes
        return mistakes[0]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_least_settings_give_the_defaults(site: Site) -> None:
    settings = load(site.file)
    assert settings.source == site.file
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8765)
    assert settings.store.path == Path("/var/lib/slurmbatch/slurmbatch.sqlite")
    assert settings.jobs.log_dir == Path("/var/log/jobs")
    assert (settings.slurm.poll_interval, settings.slurm.poll_interval_most) == (1.0, 15.0)
    assert settings.auth.jwt == ()
    assert settings.log.level == "info"
    assert settings.filesystems == ()
    assert settings.tools == {}


def test_a_filesystem_and_a_whole_tool(site: Site) -> None:
    site.settings(MINIMAL + SCRATCH + 'licence = "scratch:2"\ndescription = "Fast"\n')
    site.tool(
        """
        description = "All of it"
        script = "#!/bin/sh -e\\necho hello"
        requeue = true
        [[parameters]]
        name = "seed"
        type = "integer"
        minimum = 1
        maximum = 9223372036854775807
        choices = [1, 2]
        default = 2
        [hardware]
        cpu = 2
        memory = 64
        filesystems = ["scratch"]
        max_cpu = 4
        [slurm]
        time_limit = 5
        partition = "main"
        gpus = 1
        partitions = ["main", "long"]
        accounts = []
        """
    )
    settings = load(site.file)
    assert settings.filesystems == (
        model.Filesystem("scratch", "/scratch", "Fast", "fast", "scratch:2"),
    )
    assert settings.tools["tool"] == model.Tool(
        id="tool",
        description="All of it",
        script="#!/bin/sh -e\necho hello",
        requeue=True,
        parameters=(
            model.Parameter(
                "seed", "integer", default=2, minimum=1, maximum=2**63 - 1, choices=(1, 2)
            ),
        ),
        hardware=model.HardwareLimits(2, 64, ("scratch",), max_cpu=4),
        slurm=model.SlurmLimits(
            model.SlurmOptions(5, "main", gpus=1), ("main", "long"), (), ("*",), max_gpus=1
        ),
    )


def test_all_mistakes_of_all_files_are_told_at_once(site: Site) -> None:
    site.settings('[jobs]\nlog_dir = "logs"\nspeed = 9\n[server]\nport = "http"\n')
    site.tool('script = "echo"\npath = "x"\n[hardware]\ncpu = 0\nfilesystems = ["attic"]\n')
    site.tool("description = \n", "other.toml")
    assert site.mistakes() == [
        "slurmbatch.toml: server.port: found 'http', expected an integer",
        "slurmbatch.toml: jobs.log_dir: found 'logs', expected an absolute path",
        "slurmbatch.toml: jobs.speed: found an unknown key, expected one of log_dir, work_dir, "
        "max_jobs_per_batch, max_args_bytes, claims_dir",
        "tools.d/other.toml: line 1, column 15: is not TOML: Invalid value",
        "tools.d/tool.toml: hardware.filesystems[0]: found 'attic', expected one of those in "
        "slurmbatch.toml: none are there",
        "tools.d/tool.toml: script or path: found script and path, expected exactly one of them",
        "tools.d/tool.toml: description: found nothing, but it is required: "
        "What it does, for the users.",
        "tools.d/tool.toml: script: found 'echo', expected a first line of #! and the "
        "interpreter's absolute path",
        "tools.d/tool.toml: path: found 'x', expected an absolute path without control characters",
        "tools.d/tool.toml: hardware.cpu: found 0, expected it to be greater than or equal to 1",
    ]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "jobs: found nothing, but it is required: a table with at least log_dir"),
        ("jobs = 3", "jobs: found 3, expected a table"),
        ("[jobs", "line 1, at its end: is not TOML: Expected ']'"),
        ("[jobs]\nx y", "line 2, column 3: is not TOML: Expected '='"),
        ('[jobs]\nlog_dir = "/x\\u0000y"', "jobs.log_dir: found '/x\\x00y', expected a path w"),
        ('[jobs]\nlog_dir = "/x\\ny"', "jobs.log_dir: found '/x\\ny', expected a path without c"),
        ('[jobs]\nlog_dir = "/x%jy"', "jobs.log_dir: found '/x%jy', expected a path without %"),
        ("[jobs]\nlog_dir = '/x\\y'", "jobs.log_dir: found '/x\\\\y', expected a path without %"),
        ("[jobs]\nlog_dir = 7", "jobs.log_dir: found 7, expected a path as text"),
        (MINIMAL + "max_jobs_per_batch = 0", "jobs.max_jobs_per_batch: found 0, expected it to"),
        (MINIMAL + "max_jobs_per_batch = true", "jobs.max_jobs_per_batch: found true, expected"),
        (MINIMAL + "[server]\nport = 65536", "server.port: found 65536, expected it to be less"),
        (MINIMAL + "[slurm]\npoll_interval = 0", "slurm.poll_interval: found 0, expected it to"),
        (
            MINIMAL + "[slurm]\npoll_interval = 2\npoll_interval_most = 1",
            "slurm.poll_interval_most: found 1.0, expected at least 2.0, poll_interval",
        ),
        (MINIMAL + "[slurm]\npoll_interval = inf", "slurm.poll_interval: found inf, expected"),
        (MINIMAL + '[slurm]\nconf = "/no/such"', "slurm.conf: found '/no/such', expected a file"),
        (MINIMAL + '[slurm]\nbin_dir = "/no"', "slurm.bin_dir: found '/no', expected a directory"),
        (MINIMAL + '[store]\npath = "x.sqlite"', "store.path: found 'x.sqlite', expected an abs"),
        (MINIMAL + '[log]\nlevel = "loud"', "log.level: found 'loud', expected it to be 'debug'"),
        (MINIMAL + '[tools]\ndir = "none"', "tools.dir: found 'none', expected a directory that"),
        (MINIMAL + "[web]", "web: found an unknown key, expected one of server, store, jobs"),
        (MINIMAL + SCRATCH + SCRATCH, "filesystems[1].id: found 'scratch' a second time"),
        (
            MINIMAL + SCRATCH.replace("scratch", "a-b") + SCRATCH.replace("scratch", "a_b"),
            "filesystems[1].id: found 'a_b', expected an id that differs from 'a-b' in more",
        ),
        (
            MINIMAL + SCRATCH.replace('feature = "fast"', ""),
            "filesystems[0].feature or licence: found neither, expected at least one of them",
        ),
        (MINIMAL + SCRATCH.replace("fast", "a&b"), "filesystems[0].feature: found 'a&b'"),
        (MINIMAL + SCRATCH.replace('"scratch"', '"Scratch"'), "filesystems[0].id: found 'Scratch'"),
        (MINIMAL + SCRATCH.replace('"scratch"', '"a\\n"'), "filesystems[0].id: found 'a\\n'"),
        (MINIMAL + SCRATCH + 'licence = "a:0"', "filesystems[0].licence: found 'a:0', expected"),
        (MINIMAL + SCRATCH + 'licence = "a,b"', "filesystems[0].licence: found 'a,b', expected"),
        (MINIMAL + SCRATCH.replace('"/', '"'), "filesystems[0].path: found 'scratch', expected"),
    ],
)
def test_one_mistake_in_the_settings(site: Site, text: str, start: str) -> None:
    site.settings(text)
    assert site.mistake().startswith(f"slurmbatch.toml: {start}")


def parameter(text: str) -> str:
    return f'{TOOL}[[parameters]]\nname = "a"\n{text}'


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ('description = "x"', "script or path: found neither, expected exactly one of them"),
        ('description = "x"\npath = "true"', "path: found 'true', expected an absolute path"),
        ('description = "x"\nscript = "#!sh"', "script: found '#!sh', expected a first line"),
        ('description = "x"\nscript = "#!/bin/sh\\r\\n"', "script: found '#!/bin/sh\\r\\n', exp"),
        ('description = "x"\nscript = "#!/a\\nx\\ry"', "script: found '#!/a\\nx\\ry', expected a"),
        ('description = "x"\nscript = "#!/a\\n\\u0000"', "script: found '#!/a\\n\\x00', expected"),
        (
            f'description = "x"\nscript = "#!/bin/sh\\n{"y" * 131_072}"',
            "script: found '#!/bin/sh\\nyyy",
        ),
        (parameter(""), "parameters[0].type: found nothing, but it is required"),
        (parameter('type = "text"'), "parameters[0].type: found 'text', expected it to be"),
        (parameter('type = "string"\nminimum = 1'), "parameters[0].minimum: found it on a string"),
        (parameter('type = "boolean"\nmaximum = 1'), "parameters[0].maximum: found it on a bool"),
        (parameter('type = "number"\npattern = "1"'), "parameters[0].pattern: found it on type n"),
        (parameter('type = "integer"\nmax_length = 1'), "parameters[0].max_length: found it on"),
        (parameter('type = "string"\npattern = "("'), "parameters[0].pattern: found '(', expected"),
        (parameter('type = "string"\ndefault = 1'), "parameters[0].default: found 1, expected a s"),
        (parameter('type = "integer"\ndefault = true'), "parameters[0].default: found true, expe"),
        (parameter('type = "integer"\ndefault = 1.0'), "parameters[0].default: found 1.0, expect"),
        (parameter('type = "number"\ndefault = inf'), "parameters[0].default: found inf, expected"),
        (parameter('type = "number"\nminimum = nan'), "parameters[0].minimum: found nan, expected"),
        (
            parameter('type = "integer"\nmaximum = 3\ndefault = 4'),
            "parameters[0].default: found 4, expected at most 3",
        ),
        (
            parameter('type = "integer"\nrequired = true\ndefault = 4'),
            "parameters[0].default: found 4, expected none, as it is required",
        ),
        (
            parameter('type = "integer"\nminimum = 3\nmaximum = 2'),
            "parameters[0].minimum: found 3, expected at most 2, which is the maximum",
        ),
        (
            parameter('type = "string"\nchoices = ["a", "b"]\ndefault = "c"'),
            "parameters[0].default: found 'c', expected one of a, b",
        ),
        (
            parameter('type = "string"\npattern = "[ab]"\nchoices = ["a", "c"]'),
            "parameters[0].choices[1]: found 'c', expected text that matches [ab]",
        ),
        (
            parameter('type = "integer"\nchoices = [1, 1]'),
            "parameters[0].choices[1]: found 1 a second time, expected it once",
        ),
        (
            parameter('type = "string"\n[[parameters]]\nname = "a"\ntype = "string"'),
            "parameters[1].name: found 'a' a second time, expected each name only once",
        ),
        (TOOL + "[hardware]\ncpu = 3\nmax_cpu = 2", "hardware.cpu: found 3, expected at most 2"),
        (TOOL + "[hardware]\nmemory = 3\nmax_memory = 2", "hardware.memory: found 3, expected at"),
        (TOOL + "[slurm]\ntime_limit = 3\nmax_time_limit = 2", "slurm.time_limit: found 3, expec"),
        (TOOL + "[hardware]\ncpu = 65534", "hardware.cpu: found 65534, expected"),
        (TOOL + "[hardware]\nmax_cpu = 65534", "hardware.max_cpu: found 65534, expected"),
        (TOOL + "[hardware]\nmemory = 2147483648", "hardware.memory: found 2147483648, expected"),
        (TOOL + "[slurm]\ntime_limit = 35791394", "slurm.time_limit: found 35791394, expected"),
        (TOOL + "[slurm]\nmax_time_limit = 35791394", "slurm.max_time_limit: found 35791394, exp"),
        (TOOL + "[slurm]\ngpus = 3\nmax_gpus = 2", "slurm.gpus: found 3, expected at most 2"),
        (TOOL + '[slurm]\npartition = "--wrap"', "slurm.partition: found '--wrap', expected it"),
        (TOOL + '[slurm]\npartitions = "main"', "slurm.partitions: found 'main', expected an arr"),
    ],
)
def test_one_mistake_in_a_tool(site: Site, text: str, start: str) -> None:
    site.tool(text)
    assert site.mistake().startswith(f"tools.d/tool.toml: {start}")


RESERVED = """
    LD_PRELOAD ld_preload DYLD_X BASH_ENV BASHOPTS ENV env IFS PATH Path HOME USER LOGNAME SHELL
    UID EUID PPID SHELLOPTS PYTHONPATH PERL5LIB SLURM_X SBATCH_X SPANK_X SLURMBATCH_X TMPDIR
    CDPATH GLOBIGNORE PS4 PROMPT_COMMAND GCONV_PATH HOSTALIASES NLSPATH LANG LC_ALL TZ TZDIR
"""


@pytest.mark.parametrize("name", [*RESERVED.split(), "1a", "a-b", "_a", "a\\n", "", "é", "a" * 65])
def test_no_parameter_has_a_name_that_something_else_acts_on(site: Site, name: str) -> None:
    site.tool(f'{TOOL}[[parameters]]\nname = "{name}"\ntype = "string"')
    assert site.mistake().startswith("tools.d/tool.toml: parameters[0].name: found ")


@pytest.mark.parametrize("name", ["envelope", "PATHS", "sleep", "language", "a" * 64])
def test_names_that_only_look_like_them_are_fine(site: Site, name: str) -> None:
    site.tool(f'{TOOL}[[parameters]]\nname = "{name}"\ntype = "string"')
    assert load(site.file).tools["tool"].parameters[0].name == name


@pytest.mark.parametrize("name", ["A.toml", "-a.toml", "a b.toml", f"{'a' * 65}.toml"])
def test_a_tools_file_has_a_name_fit_for_an_id(site: Site, name: str) -> None:
    site.tool(TOOL, name)
    assert site.mistake().startswith(f"tools.d/{name}: the file's name: found ")


def test_other_files_beside_tools_are_left_alone(site: Site) -> None:
    for name in (".tool.toml", "tool.toml~", "README"):
        site.tool("not TOML", name)
    assert load(site.file).tools == {}


def test_a_file_that_is_not_there(site: Site) -> None:
    site.file.unlink()
    assert site.mistake() == (
        "slurmbatch.toml: the whole file: cannot be read: No such file or directory"
    )


def test_a_byte_that_is_not_utf_8(site: Site) -> None:
    site.file.write_bytes(b"# fine\n# \xff\n")
    assert site.mistake() == "slurmbatch.toml: line 2: found a byte that is not UTF-8"


def test_a_tools_script_leaves_half_of_a_job_script_to_arguments(site: Site) -> None:
    site.settings(f"{MINIMAL}[slurm]\nmax_script_bytes = 32768\n")
    site.tool(f'description = "x"\nscript = "#!/bin/sh\\n{"y" * 16_384}"')
    assert site.mistake() == (
        "tools.d/tool.toml: script: found 16394 bytes, expected at most 16384, "
        "half of slurm.max_script_bytes"
    )


def test_settings_cannot_be_changed(site: Site) -> None:
    settings = load(site.file)
    with pytest.raises(Exception, match="frozen"):
        settings.server.port = 1
    with pytest.raises(TypeError):
        settings.tools["x"] = None  # type: ignore[index]


def test_a_relative_path_to_the_settings_is_made_absolute(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.directory)
    assert load(Path("slurmbatch.toml")).source == site.file
    assert os.path.isabs(load(Path("slurmbatch.toml")).source)


def test_groups_that_may_use_a_tool_and_a_filesystem(site: Site) -> None:
    site.settings(f'{MINIMAL}{SCRATCH}groups = ["chemistry", "domain users@example.org"]\n')
    site.tool(f'{TOOL}groups = ["chemistry"]\n')
    settings = load(site.file)
    assert settings.filesystems[0].groups == ("chemistry", "domain users@example.org")
    assert settings.tools["tool"].groups == ("chemistry",)
    site.tool(TOOL)
    assert load(site.file).tools["tool"].groups is None


@pytest.mark.parametrize("groups", ["[]", '[""]', '["a:b"]', '["a\\n"]', '"chemistry"', "[0]"])
def test_groups_that_can_be_none(site: Site, groups: str) -> None:
    site.settings(f"{MINIMAL}{SCRATCH}groups = {groups}\n")
    site.tool(f"{TOOL}groups = {groups}\n")
    assert {each.split("groups")[0] for each in site.mistakes()} == {
        "slurmbatch.toml: filesystems[0].",
        "tools.d/tool.toml: ",
    }


@pytest.mark.parametrize(
    ("slurm", "key", "found"),
    [
        ('run_as = "root"', "slurm.run_as", "'root'"),
        ('run_as = "slurm-jwt"', "slurm.jwt_key_file", "found nothing"),
        ('run_as = "sudo"\nbackend = "pyslurm"', "slurm.backend", "run_as = 'sudo'"),
        ('run_as = "slurm-jwt"\njwt_key_file = "gone"', "slurm.jwt_key_file", "cannot be read"),
        ('run_as = "slurm-jwt"\njwt_key_file = "loose"', "slurm.jwt_key_file", "mode 0640"),
        ('run_as = "slurm-jwt"\njwt_key_file = "short"', "slurm.jwt_key_file", "of 31 bytes"),
        ('run_as = "slurm-jwt"\njwt_key_file = "pem"', "slurm.jwt_key_file", "in PEM"),
    ],
)
def test_as_whom_jobs_run(site: Site, slurm: str, key: str, found: str) -> None:
    for name, content, mode in (("loose", b"k" * 32, 0o640), ("short", b"k" * 31, 0o600),
                                ("pem", b"-----BEGIN PRIVATE KEY-----\n" * 2, 0o600)):  # fmt: skip
        (site.directory / name).write_bytes(content)
        (site.directory / name).chmod(mode)
    site.settings(f"{MINIMAL}[slurm]\n{slurm}\n")
    mistake = site.mistake()
    assert mistake.startswith(f"slurmbatch.toml: {key}: ")
    assert found in mistake


def test_the_key_for_tokens_counts_to_its_last_byte(site: Site) -> None:
    content = b"k" * 31 + b"\n"
    (site.directory / "key").write_bytes(content)
    (site.directory / "key").chmod(0o600)
    site.settings(f'{MINIMAL}[slurm]\nrun_as = "slurm-jwt"\njwt_key_file = "key"\n')
    settings = load(site.file)
    assert settings.jwt_key == content
    assert content.decode() not in repr(settings)
