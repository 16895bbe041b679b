"""`login`, `logout`, `invite`, `session`, `setup-link`, `key`: against a real server, as somebody types them."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from shopfloor.apps.api import create_app
from shopfloor.apps.cli.place import DEFAULT_URL, login_file
from shopfloor.apps.cli.root import run
from shopfloor.apps.only_one import only_one
from shopfloor.apps.serving import listen_on, serving, url_of
from shopfloor.apps.wiring import Parts
from shopfloor.domain.accounts.set_up import new_setup_token
from shopfloor.infra.telemetry import LogSettings, configure_logging
from shopfloor.infra.tx import begin_system

PASSWORD = "a fake sentence for tests only"
EMAIL = "first@example.org"

Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def server(parts: Parts, home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """With an owner who has a password, and nobody signed in on this machine."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home / "elsewhere"))
    for name in ("SHOPFLOOR_URL", "SHOPFLOOR_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    configure_logging(LogSettings(level="error"))  # it writes where the commands do
    listener = listen_on("127.0.0.1", 0)
    async with serving(create_app(parts), listener, on_stop=[parts.live.close]):
        url = url_of(listener)
        body = {"token": await new_setup_token(parts.store), "name": "First", "email": EMAIL, "password": PASSWORD}
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.post(f"{url}/api/v1/auth/setup", json=body)).status_code == 200
        yield url


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    async def typed(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = await asyncio.to_thread(run, list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return typed


async def _signed_in(command: Command, url: str) -> None:
    words = ("login", "--url", url, "--email", EMAIL, "--password-stdin")
    code, _, err = await command(*words, stdin=f"{PASSWORD}\n")
    assert code == 0, err


async def test_a_person_signs_in_works_and_signs_out(server: str, command: Command):
    await _signed_in(command, server)
    assert login_file().stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in login_file().read_text()
    code, out, _ = await command("session", "list", "--json")
    rows = json.loads(out)
    assert (code, [row["kind"] for row in rows if row["current"]]) == (0, ["token"])
    kept = json.loads(login_file().read_text())
    assert (await command("logout"))[0] == 0
    assert not login_file().exists()
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{server}/api/v1/me", headers={"Authorization": f"Bearer {kept['access_token']}"})
    assert answer.status_code == 401
    assert (await command("logout"))[0] == 3


async def test_a_wrong_password_says_what_to_do_and_keeps_nothing(server: str, command: Command):
    words = ("login", "--url", server, "--email", EMAIL, "--password-stdin")
    code, _, err = await command(*words, stdin="wrong\n")
    assert code == 3
    assert "ask an admin" in err
    assert not login_file().exists()


async def test_commands_refresh_by_themselves_also_two_at_once(server: str, command: Command):
    await _signed_in(command, server)
    kept = json.loads(login_file().read_text())
    login_file().write_text(json.dumps(kept | {"access_until": 0}))
    codes = await asyncio.gather(*(asyncio.to_thread(run, ["project", "list", "--json"]) for _ in range(3)))
    assert codes == [0, 0, 0]
    now = json.loads(login_file().read_text())
    assert now["refresh_token"] != kept["refresh_token"]
    assert now["access_until"] > 0


async def test_a_session_that_was_ended_elsewhere_says_so(server: str, command: Command, parts: Parts):
    await _signed_in(command, server)
    async with begin_system(parts.store) as tx:
        await tx.execute("update sessions set revoked_at = now()")
    code, _, err = await command("project", "list")
    assert code == 3
    assert "sign" in err.lower()


async def test_ending_all_sessions_ends_this_one_too(server: str, command: Command):
    await _signed_in(command, server)
    code, out, _ = await command("session", "revoke", "--all", "--json")
    assert (code, json.loads(out)) == (0, {"ended": 2})  # the set-up's and this
    assert (await command("session", "list"))[0] == 3
    assert (await command("session", "revoke"))[0] == 2


async def test_somebody_is_invited_with_a_link_to_pass_on(server: str, command: Command):
    await _signed_in(command, server)
    code, out, err = await command("invite", "new@example.org", "--role", "viewer")
    assert code == 0
    assert out.startswith(f"{server}/invitation#")
    assert "shown this once" in err
    code, _, err = await command("invite", "first@example.org")
    assert (code, "already" in err) == (5, True)


async def test_somebody_is_invited_into_a_team(server: str, command: Command):
    await _signed_in(command, server)
    assert (await command("team", "create", "web"))[0] == 0
    code, out, err = await command("invite", "new@example.org", "--team", "web", "--json")
    assert code == 0, err
    _, teams, _ = await command("team", "list", "--json")
    assert json.loads(out)["team_ids"] == [each["id"] for each in json.loads(teams)]


async def test_ones_own_password_is_changed_in_the_terminal(server: str, command: Command):
    await _signed_in(command, server)
    other = f"{PASSWORD}, and another"
    code, _, err = await command("account", "password", "--password-stdin", stdin=f"wrong\n{other}\n")
    assert (code, "present password is wrong" in err) == (3, True)
    assert (await command("account", "password", "--password-stdin", stdin=f"{PASSWORD}\n{other}\n"))[0] == 0
    words = ("login", "--url", server, "--email", EMAIL, "--password-stdin")
    assert (await command(*words, stdin=f"{PASSWORD}\n"))[0] == 3
    assert (await command(*words, stdin=f"{other}\n"))[0] == 0


async def test_a_failed_login_says_what_commands_still_use(server: str, command: Command, home: Path):
    words = ("login", "--url", server, "--email", EMAIL, "--password-stdin")
    _, _, err = await command(*words, stdin="wrong\n")
    assert "still use" not in err
    key = home / "elsewhere" / "admin.key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("sf_live_000000000000_00000000000000000000000000000000000000")
    _, _, err = await command(*words, stdin="wrong\n")
    assert f"commands still use the first owner's key in {key}" in err


async def test_a_key_that_is_worth_nothing_leads_to_login(
    server: str, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOPFLOOR_URL", server)
    monkeypatch.setenv("SHOPFLOOR_API_KEY", "sf_live_000000000000_00000000000000000000000000000000000000")
    code, _, err = await command("project", "list")
    assert (code, "shopfloor login" in err) == (3, True)


async def test_a_key_for_ci_is_made_used_and_rotated(server: str, command: Command, monkeypatch: pytest.MonkeyPatch):
    await _signed_in(command, server)
    permissions = ("--permission", "job.submit", "--permission", "job.read")
    code, key, _ = await command("key", "create", "ci", *permissions, "--expires", "30d")
    assert code == 0
    _, out, _ = await command("key", "list", "--json")
    [made] = [row for row in json.loads(out) if row["name"] == "ci"]
    assert made["permissions"] == ["job.read", "job.submit"]
    code, fresh, err = await command("key", "rotate", made["id"], "--overlap", "1h")
    assert (code, fresh.split("_")[2]) == (0, key.split("_")[2])
    assert "good until" in err
    for text in (key, fresh):
        monkeypatch.setenv("SHOPFLOOR_URL", server)
        monkeypatch.setenv("SHOPFLOOR_API_KEY", text.strip())
        assert (await command("job", "list"))[0] == 0
        assert (await command("project", "list"))[0] == 3  # project.read is not among its two


async def test_a_length_of_time_that_is_none_is_refused(server: str, command: Command):
    await _signed_in(command, server)
    code, _, err = await command("key", "create", "ci", "--expires", "soon")
    assert (code, "30d" in err) == (2, True)


async def test_a_key_is_kept_as_before(server: str, command: Command, parts: Parts):
    code, out, err = await command("login", "--url", server, "--key-stdin", stdin=f"{parts.new_key}\n")
    assert (code, "key first" in out) == (0, True), err
    assert (await command("project", "list"))[0] == 0
    assert (await command("login", "--forget"))[0] == 0
    assert not login_file().exists()


async def test_the_owner_of_this_machine_gets_another_set_up_link(
    server: str, command: Command, parts: Parts, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)
    monkeypatch.setenv("SHOPFLOOR_SECRETS__MASTER_KEY", (parts.settings.home / "master.key").read_text().strip())
    code, out, err = await command("setup-link")
    assert (code, "72 hours" in err) == (0, True), err
    body = {"token": out.strip().partition("#")[2], "name": "Again", "email": EMAIL, "password": f"{PASSWORD} too"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.post(f"{server}/api/v1/auth/setup", json=body)).status_code == 200
        assert (await http.post(f"{server}/api/v1/auth/setup", json=body)).status_code == 422


async def test_without_an_address_login_means_the_named_server_or_the_one_of_this_folder(
    server: str, command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ("login", "--email", EMAIL, "--password-stdin")
    folder = home / "elsewhere"
    folder.mkdir()
    with only_one(folder, url=server):
        code, _, err = await command(*words, stdin=f"{PASSWORD}\n")
        assert code == 0, err
    monkeypatch.setenv("SHOPFLOOR_URL", "http://127.0.0.1:1")
    code, _, err = await command(*words, stdin=f"{PASSWORD}\n")
    assert (code, "http://127.0.0.1:1" in err) == (1, True)


async def test_a_link_made_without_a_server_leads_to_where_one_will_be(
    server: str, command: Command, home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home))
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)
    code, out, err = await command("invite", "new@example.org", "--role", "viewer")
    assert code == 0, err
    assert out.startswith(f"{DEFAULT_URL}/invitation#")


async def test_whoever_is_invited_accepts_in_the_terminal_and_is_signed_in(server: str, command: Command):
    await _signed_in(command, server)
    _, link, _ = await command("invite", "new@example.org", "--role", "viewer")
    words = ("accept", "--name", "New", "--password-stdin")
    code, _, err = await command(*words, stdin=f"{link.strip()}\npassword1\n")
    assert (code, "guessed first" in err) == (2, True)
    code, out, err = await command(*words, stdin=f"{link.strip()}\n{PASSWORD}\n")
    assert (code, out.startswith(f"Signed in to {server} as New")) == (0, True), err
    code, _, err = await command("job", "cancel", "01a00000-0000-7000-8000-000000000000")
    assert (code, "'job.cancel' is missing" in err) == (3, True)
    code, _, err = await command(*words, stdin=f"{link.strip()}\n{PASSWORD}\n")
    assert (code, "was used" in err) == (2, True)


async def test_a_set_up_link_is_taken_in_the_terminal(server: str, command: Command, parts: Parts):
    link = f"{server}/setup#{await new_setup_token(parts.store)}"
    words = ("accept", "--name", "Again", "--email", EMAIL, "--password-stdin")
    code, out, err = await command(*words, stdin=f"{link}\n{PASSWORD} too\n")
    assert (code, out.startswith(f"Signed in to {server} as Again")) == (0, True), err
    assert (await command("member", "list"))[0] == 0


@pytest.mark.parametrize("link", ["nonsense", "https://shopfloor.example.com/", "ftp://127.0.0.1/setup#x", "/setup#x"])
async def test_what_is_no_link_of_ours_is_refused(command: Command, link: str):
    code, _, err = await command("accept", "--name", "New", "--password-stdin", stdin=f"{link}\n{PASSWORD}\n")
    assert (code, "https://shopfloor.example.com" in err) == (2, True), err
