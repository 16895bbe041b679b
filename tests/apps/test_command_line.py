"""The command line in this process: words, errors, exit codes, tables."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from shopfloor import __version__
from shopfloor.apps.cli.root import run

KEY = "sf_live_000000000000_00000000000000000000000000000000000000"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path) -> None:
    for name in ("SHOPFLOOR_URL", "SHOPFLOOR_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """Commands ask this database themselves."""
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)


def test_the_version_needs_nothing_but_python(capsys: pytest.CaptureFixture[str]):
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "shopfloor", "--version"], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == f"shopfloor {__version__}\n"
    assert not any(name in loaded.stderr for name in ("typer", "pydantic", "rich", "fastapi"))
    assert run(["version"]) == 0
    assert capsys.readouterr().out == f"shopfloor {__version__}\n"


def test_what_only_some_use_is_loaded_by_no_start():
    some = ("webauthn", "OpenSSL", "redis", "limits", "boto3", "hvac", "openai", "anthropic", "mcp")
    code = f"import sys, shopfloor.apps.up\nprint(*[name for name in ('fastapi', *{some!r}) if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert loaded.stdout.split() == ["fastapi"]


@pytest.mark.parametrize(
    "words", [["nonsense"], ["job", "nonsense"], ["run", "--turns", "many", "x"], ["up", "--port", "99999"], ["run"]]
)
def test_words_that_make_no_sense_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(words) == 2
    assert capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]):
    assert run(["--help"]) == 0
    listed = capsys.readouterr().out
    for word in (
        "run", "demo", "up", "api", "worker", "migrate", "doctor", "image", "mock-provider", "login", "account", "job",
        "project",
        "organization", "member", "team", "role", "environment", "release", "sprint", "key", "provider", "model",
        "price", "usage", "agent", "artifact", "audit", "version",
    ):  # fmt: skip
        assert f"\n  {word} " in listed, word


def test_without_a_key_for_a_server_it_is_not_signed_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
):
    monkeypatch.setenv("SHOPFLOOR_URL", "https://shopfloor.example.com")
    (home / "admin.key").write_text(KEY)  # this machine's key goes to no other machine
    assert run(["job", "list"]) == 3
    assert "shopfloor login" in capsys.readouterr().err


def test_a_server_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("SHOPFLOOR_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("SHOPFLOOR_API_KEY", KEY)
    assert run(["job", "list"]) == 1
    assert "shopfloor up" in capsys.readouterr().err


def test_a_setting_that_is_none_stops_every_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("SHOPFLOOR_JOBS__SLOTZ", "1")
    for word in ("up", "api", "worker", "migrate"):
        assert run([word]) == 2
        assert "SHOPFLOOR_JOBS__SLOTZ: there is no such setting" in capsys.readouterr().err


def test_a_taken_port_is_said_so(capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["up", "--port", str(taken.getsockname()[1])]) == 2
    assert "--port" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_without_a_server_commands_work_on_this_machines_database(capsys: pytest.CaptureFixture[str]):
    assert run(["project", "create", "shop", "--name", "Läden 店"]) == 0
    assert run(["project", "create", "shop"]) == 5
    assert run(["project", "edit", "shop", "--status", "paused", "--check", "pytest -q"]) == 0
    capsys.readouterr()
    assert run(["project", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows] == [["default", "Default", "active"], ["shop", "Läden 店", "paused"]]
    assert run(["project", "view", "shop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["checks"] == ["pytest -q"]
    assert run(["project", "view", "nowhere"]) == 4


@pytest.mark.usefixtures("here")
def test_keys_are_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]):
    assert run(["key", "create", "ci", "-p", "job.read", "--expires", "7d"]) == 0
    made = capsys.readouterr().out.strip()
    assert made.startswith("sf_live_")
    assert run(["key", "list", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["ci"]["permissions"] == ["job.read"]
    assert made not in json.dumps(listed)
    assert run(["key", "revoke", listed["ci"]["id"]]) == 0
    assert run(["key", "create", "greedy", "-p", "no.such"]) == 2
    assert run(["key", "revoke", "nonsense"]) == 2


@pytest.mark.usefixtures("here")
def test_a_provider_s_key_comes_from_a_variable_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MY_KEY", "sk-ant-EXAMPLE-0123456789")
    assert run(["provider", "add", "anthropic", "--key-from", "MY_KEY"]) == 0
    assert run(["provider", "add", "anthropic", "--key-from", "MY_KEY"]) == 5
    assert run(["provider", "add", "openai", "--key-from", "NOT_SET"]) == 2
    assert run(["provider", "add", "house", "--key-from", "MY_KEY"]) == 2
    assert run(["price", "set", "anthropic/house-model", "--input", "1.50", "--output", "7"]) == 0
    assert run(["price", "set", "nonsense", "--input", "1"]) == 2
    assert run(["price", "list", "--json"]) == 0
    assert run(["prices", "set", "anthropic/house-model", "--times", "1.1", "--region", "eu"]) == 0
    assert run(["prices", "set", "anthropic/house-model"]) == 2
    assert run(["prices", "check"]) == 0
    assert run(["prices", "rerate", "--from", "2026-11-01T00:00:00Z", "--to", "2026-11-02T00:00:00Z"]) == 0
    assert run(["prices", "rerate", "--from", "2026-11-02T00:00:00Z", "--to", "2026-11-01T00:00:00Z"]) == 2
    assert run(["provider", "remove", "anthropic"]) == 0
    assert run(["provider", "remove", "anthropic"]) == 4
    said = capsys.readouterr()
    assert "sk-ant" not in said.out + said.err


@pytest.mark.usefixtures("here")
def test_usage_is_reported_exported_estimated_and_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert run(["usage", "report", "--by", "project,model", "--from", "2026-11-01", "--to", "2026-11-30"]) == 0
    assert "0 calls" in capsys.readouterr().err
    assert run(["usage", "report", "--by", "colour"]) == 2
    assert run(["usage", "estimate", "--agent", "coding", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["level"] == "none"
    assert run(["usage", "check"]) == 0
    assert run(["usage", "rebuild"]) == 0
    file = tmp_path / "usage.csv"
    assert run(["usage", "export", str(file), "--format", "focus"]) == 0
    assert file.read_text().startswith("BilledCost,")
    assert run(["usage", "export", str(file)]) == 5
    assert run(["usage", "export", str(tmp_path / "other"), "--format", "xlsx"]) == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["job", "view", "nonsense"], 2),
        (["job", "view", "019a0000-0000-7000-8000-000000000000"], 4),
        (["job", "cancel", "../../me"], 4),
        (["job", "submit", "", "--model", "a/b"], 2),
        (["job", "submit", "x", "--model", "nowhere/x"], 2),
        (["job", "submit", "x", "--label", "nonsense"], 2),
        (["job", "submit", "x", "--repo", "file:///etc"], 2),
        (["artifact", "download", "019a0000-0000-7000-8000-000000000000"], 4),
        (["agent", "view", "nobody"], 4),
    ],
)
def test_what_is_not_there_or_makes_no_sense_has_its_exit_code(
    words: list[str], code: int, capsys: pytest.CaptureFixture[str]
):
    assert run(words) == code
    assert capsys.readouterr().err.startswith("error: ")


def test_a_spec_of_ones_own_is_checked_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("name: mine\ndescription: Mine.\ninstructions: Do it.\ntools: [read_file]\n")
    bad.write_text("name: mine\ndescription: Mine.\ninstructions: Do it.\ntools: [fly]\n")
    assert run(["agent", "check", str(good)]) == 0
    assert run(["agent", "check", str(bad)]) == 2
    assert "unknown: fly" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_settings_are_merged_into_what_a_project_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The example of docs/how-to/environments.md, and what stays beside it."""
    setup = {"setup": ["pip install -e .[test]"], "lock_files": ["pyproject.toml", "requirements.txt"]}
    given = {"environment": setup, "network": ["packages.example.com:443"]}
    (tmp_path / "more.json").write_text('{"environment": {"lock_files": ["uv.lock"]}, "network": null}')
    assert run(["project", "edit", "default", "--check", "pytest -q"]) == 0
    assert run(["project", "edit", "default", "--settings", json.dumps(given)]) == 0
    assert _settings_of_default(capsys) == {
        "checks": ["pytest -q"], "environment": setup | {"image": None}, "network": ["packages.example.com:443"],
    }  # fmt: skip
    assert run(["project", "view", "default"]) == 0
    shown = capsys.readouterr().out
    assert "packages.example.com:443" in shown
    assert "pip install -e .[test]" in shown
    assert run(["project", "edit", "default", "--settings", f"@{tmp_path / 'more.json'}"]) == 0
    assert _settings_of_default(capsys) == {
        "checks": ["pytest -q"], "environment": setup | {"image": None, "lock_files": ["uv.lock"]}, "network": [],
    }  # fmt: skip


def _settings_of_default(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert run(["project", "view", "default", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    return {name: settings[name] for name in ("checks", "environment", "network")}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("settings", ["nonsense", "[]", '{"netwrok": []}', '{"network": ["https://x"]}', "@/none"])
def test_settings_that_do_not_hold_change_nothing(settings: str, capsys: pytest.CaptureFixture[str]):
    assert run(["project", "edit", "default", "--settings", settings]) in {1, 2}
    assert capsys.readouterr().err.startswith("error: ")
    assert run(["project", "view", "default", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1


@pytest.mark.usefixtures("here")
def test_a_provider_s_limits_are_set_and_taken_away_and_its_health_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_KEY", "sk-ant-EXAMPLE-0000")
    assert run(["provider", "add", "anthropic", "--key-from", "MY_KEY"]) == 0
    assert run(["provider", "limits", "anthropic", "--concurrency", "3", "--requests", "60"]) == 0
    assert run(["provider", "limits", "anthropic", "--requests", "0"]) == 0
    capsys.readouterr()
    assert run(["provider", "limits", "anthropic", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "concurrency": 3, "requests_per_minute": None, "tokens_per_minute": None,
    }  # fmt: skip
    assert run(["provider", "health", "anthropic", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "ok"
    assert run(["provider", "health", "nobody"]) == 4


@pytest.mark.usefixtures("here")
def test_a_provider_that_the_environment_made_is_taken_over_by_one_that_is_added(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-EXAMPLE-0123456789")
    assert run(["provider", "list"]) == 0
    assert capsys.readouterr().out.split("\t")[4] == "environment"
    assert run(["provider", "add", "anthropic", "--key-from", "ANTHROPIC_API_KEY"]) == 0
    capsys.readouterr()
    assert run(["provider", "list"]) == 0
    assert [line.split("\t")[4] for line in capsys.readouterr().out.splitlines()] == ["api"]
    assert run(["provider", "add", "anthropic", "--key-from", "ANTHROPIC_API_KEY"]) == 5


@pytest.mark.usefixtures("here")
def test_a_model_on_this_machine_can_be_priced_before_anything_was_set_up(capsys: pytest.CaptureFixture[str]):
    assert run(["price", "set", "ollama/qwen3-coder:30b", "--input", "0", "--output", "0"]) == 0
    assert run(["price", "set", "nowhere/x", "--input", "0", "--output", "0"]) == 2
    assert "provider add nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["error", "debug"])
def test_what_nobody_foresaw_is_one_sentence_and_a_traceback_only_on_demand(
    level: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(words: list[str]) -> None:
        raise KeyError(f"no such part: {words}\x1b[2J")

    monkeypatch.setenv("SHOPFLOOR_LOG__LEVEL", level)
    monkeypatch.setattr("shopfloor.apps.cli.root.application", broken)
    assert run(["job", "list"]) == 1
    said = capsys.readouterr().err
    assert "This is a defect of Shopfloor" in said
    assert "SHOPFLOOR_LOG__LEVEL=debug" in said
    assert ("Traceback" in said) is (level == "debug")
    assert "\x1b" not in said


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("level", [None, "debug"])
def test_what_nobody_foresaw_behind_the_api_shows_no_traceback_either(
    level: str | None, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if level:
        monkeypatch.setenv("SHOPFLOOR_LOG__LEVEL", level)
    assert run(["project", "list"]) == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("alter table projects rename column settings to broken")
    capsys.readouterr()
    assert run(["project", "list"]) == 1
    said = capsys.readouterr().err
    assert "This is a defect of Shopfloor" in said
    assert "UndefinedColumn" in said, "what happened is told"
    assert ("Traceback" in said) is (level == "debug")


@pytest.mark.usefixtures("here")
def test_the_audit_log_is_listed_exported_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["project", "create", "shop", "--name", "Shop"]) == 0
    assert run(["audit", "key"]) == 0
    key = capsys.readouterr().out.splitlines()[-1]
    assert run(["audit", "list", "--action", "project.", "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)
    assert entry["action"] == "project.created"
    assert run(["audit", "view", entry["id"]]) == 0
    assert "project.created" in capsys.readouterr().out

    file = tmp_path / "audit.jsonl"
    assert run(["audit", "export", str(file)]) == 0
    assert run(["audit", "export", str(file)]) == 5
    assert run(["audit", "note-restore", "a disk was replaced", "--size", "1"]) == 0
    capsys.readouterr()
    assert run(["audit", "verify", str(file), "--key", key]) == 0
    assert capsys.readouterr().out.startswith("Good: ")
    file.write_bytes(file.read_bytes().replace(b"Shop", b"Shed"))
    assert run(["audit", "verify", str(file), "--key", key]) == 1
    assert capsys.readouterr().out.startswith("BAD: changed")
    assert run(["audit", "verify", str(tmp_path / "none"), "--key", key]) == 1
