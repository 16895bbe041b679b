"""`shopfloor secret` and `shopfloor secrets` in this process, on this machine's database."""

from __future__ import annotations

import io
import json
from pathlib import Path

import psycopg
import pytest

from shopfloor.apps.cli.root import run

VALUE = "visibly-fake-value-0001"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, database_url: str) -> None:
    for name in ("SHOPFLOOR_URL", "SHOPFLOOR_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)
    monkeypatch.setenv("VALUE", VALUE)


def test_a_secret_is_set_changed_listed_and_removed_and_never_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert run(["secret", "set", "forge", "--git-host", "git.example.com", "--value-from", "VALUE"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{VALUE}-new\n"))
    assert run(["secret", "set", "forge", "--value-stdin"]) == 0
    assert run(["secret", "set", "forge", "--git-host", "other.example.com", "--value-from", "VALUE"]) == 2
    assert run(["secret", "set", "own", "--project", "default", "--value-from", "VALUE", "--json"]) == 0
    assert run(["secret", "list", "--json"]) == 0
    said = capsys.readouterr()
    assert [row["version"] for row in json.loads(said.out[said.out.rindex("[\n") :])] == [2, 1]
    assert VALUE not in said.out + said.err
    assert run(["secret", "remove", "own"]) == 4  # in the organization there is none of this name
    assert run(["secret", "remove", "own", "--project", "default"]) == 0
    assert run(["secret", "remove", "forge"]) == 0
    capsys.readouterr()
    assert run(["secret", "list"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["secret", "set", "a", "--value-from", "NOTHING"], "export NOTHING"),
        (["secret", "set", "a"], "--value-from"),
        (["secrets", "rotate-provider", "a"], "--value-from"),
    ],
)
def test_a_value_that_is_not_there_is_asked_for_by_name(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(words) == 2
    assert told in capsys.readouterr().err


def test_master_data_and_provider_keys_are_replaced(
    capsys: pytest.CaptureFixture[str], home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KEY", "sk-visibly-fake-0001")
    assert run(["provider", "add", "openai", "--key-from", "KEY"]) == 0
    before = _sealed(database_url)
    assert run(["secrets", "rotate-master"]) == 0
    assert len((home / "master.key").read_text().split()) == 2
    assert _sealed(database_url) == before  # the values stay; what wraps their key changed
    assert run(["secrets", "rotate-master", "--keep-current", "--json"]) == 0
    capsys.readouterr()
    assert run(["secrets", "rotate-data", "--json"]) == 0
    # The provider's key, and the one that signs the organization's audit log.
    [rotated] = json.loads(capsys.readouterr().out)["rotated"]
    assert (rotated["values"], rotated["broken"], _sealed(database_url) == before) == (2, 0, False)
    assert run(["secrets", "rotate-data", "--all"]) == 0
    assert run(["secrets", "rotate-data", "--organization", rotated["key_id"]]) == 4
    again = _sealed(database_url)
    assert run(["secrets", "rotate-provider", "openai", "--value-from", "VALUE"]) == 0
    assert "Revoke the old one" in capsys.readouterr().out
    assert _sealed(database_url) != again
    assert run(["secrets", "rotate-provider", "nobody", "--value-from", "VALUE"]) == 4


def _sealed(database_url: str) -> list[bytes]:
    with psycopg.connect(database_url) as connection:
        return [bytes(row[0]) for row in connection.execute("select sealed_key from providers")]
