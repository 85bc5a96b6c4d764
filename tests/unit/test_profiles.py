"""Where the URL and the key come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurmbatch.client import Client, ClientError, NotLoggedIn, profiles
from slurmbatch.client.profiles import KEY, PROFILE, URL, Profile, Profiles

LAB = Profile("https://lab.example.org", "sbk_lab")
HOME = Profile("http://127.0.0.1:8765", "sbk_home")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    made = {"XDG_CONFIG_HOME": str(tmp_path)}
    stored = Profiles().having("lab", LAB).having("home", HOME)
    profiles.save(profiles.path(made), stored)
    return made


def test_what_is_stored_is_found_again_and_is_for_nobody_else(environment: dict[str, str]) -> None:
    file = profiles.path(environment)
    assert profiles.load(file) == Profiles("home", {"lab": LAB, "home": HOME})
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in file.parent.iterdir()] == ["profiles.json"]


def test_the_current_one_is_meant_unless_another_is_named(environment: dict[str, str]) -> None:
    assert profiles.find(None, environment) == HOME
    assert profiles.find("lab", environment) == LAB
    assert profiles.find(None, {**environment, PROFILE: "lab"}) == LAB


def test_the_environment_wins(environment: dict[str, str]) -> None:
    given = {**environment, URL: "https://other.example.org", KEY: "sbk_other"}
    assert profiles.find(None, given) == Profile("https://other.example.org", "sbk_other")
    assert profiles.find("lab", given) == LAB


def test_a_key_of_the_environment_goes_to_the_current_service(environment: dict[str, str]) -> None:
    assert profiles.find(None, {**environment, KEY: "sbk_other"}) == Profile(HOME.url, "sbk_other")


def test_a_stored_key_never_goes_elsewhere(environment: dict[str, str]) -> None:
    assert profiles.find(None, {**environment, URL: f"{LAB.url}/"}) == LAB
    with pytest.raises(NotLoggedIn, match="SLURMBATCH_API_KEY is not set"):
        profiles.find(None, {**environment, URL: "https://evil.example.org"})


def test_who_is_nowhere_logged_in_is_told_how(tmp_path: Path) -> None:
    with pytest.raises(NotLoggedIn, match=r"slurmbatch login URL.*SLURMBATCH_URL"):
        profiles.find(None, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_profile_that_is_not_there(environment: dict[str, str]) -> None:
    with pytest.raises(NotLoggedIn, match="There is no profile 'x'; there are: lab, home"):
        profiles.find("x", environment)


def test_a_file_that_others_may_read_is_not_used(environment: dict[str, str]) -> None:
    profiles.path(environment).chmod(0o640)
    with pytest.raises(ClientError, match="others may read it: chmod 600"):
        profiles.find(None, environment)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"current": "x", "profiles": {"x": {}}}'])
def test_a_file_that_is_something_else_is_told_of(environment: dict[str, str], text: str) -> None:
    profiles.path(environment).write_text(text)
    with pytest.raises(ClientError, match="is no file of profiles"):
        profiles.find(None, environment)


def test_one_that_is_gone_leaves_another_as_the_current_one(environment: dict[str, str]) -> None:
    stored = profiles.load(profiles.path(environment))
    assert stored.without("home") == Profiles("lab", {"lab": LAB})
    assert stored.without("lab").current == "home"


def test_what_cannot_be_written_leaves_the_old_one(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = profiles.path(environment)
    before = file.read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(OSError, match="No space"):
        profiles.save(file, Profiles())
    assert file.read_text() == before
    assert len(list(file.parent.iterdir())) == 1


def test_a_relative_xdg_directory_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    expected = Path("/home/somebody/.config/slurmbatch/profiles.json")
    assert profiles.path({"XDG_CONFIG_HOME": "here"}) == expected
    assert profiles.path({}) == expected


def test_a_client_takes_it_from_there(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (URL, KEY, PROFILE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", environment["XDG_CONFIG_HOME"])
    with Client() as current, Client(profile="lab") as named:
        assert (current.url, named.url) == (HOME.url, LAB.url)
    with pytest.raises(ClientError, match="expected a URL and a key"):
        Client("https://lab.example.org")


def test_a_key_does_not_show() -> None:
    assert "sbk_lab" not in repr(LAB)
