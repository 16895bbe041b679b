"""People, places and deliveries from the command line, on this machine's own database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shopfloor.apps.cli.root import run


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, database_url: str) -> None:
    for name in ("SHOPFLOOR_URL", "SHOPFLOOR_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]):
    def say(*words: str, code: int = 0) -> Any:
        assert run([*words, "--json"]) == code, capsys.readouterr().err
        out, err = capsys.readouterr()
        return json.loads(out) if code == 0 else err

    return say


def test_people_roles_and_teams_from_the_command_line(said):
    account = said("member", "service-account", "ci")["id"]
    assert [each["name"] for each in said("member", "list")] == ["Owner", "ci"]
    assert said("member", "edit", account, "--role", "viewer")["role"] == "viewer"
    assert "last owner" in said("member", "disable", "owner@localhost", code=5)
    assert said("member", "disable", account)["status"] == "disabled"
    assert said("member", "enable", account)["status"] == "active"
    assert "no member" in said("member", "view", "nobody@example.org", code=4)

    assert said("role", "create", "releaser", "--base", "viewer", "-p", "delivery.edit")["built_in"] is False
    assert said("role", "edit", "releaser", "-p", "job.read")["permissions"] == ["job.read"]
    assert "no permission" in said("role", "edit", "releaser", "-p", "job.fly", code=2)
    assert said("role", "view", "auditor")["built_in"] is True
    assert len(said("role", "permissions")) > 30
    said("role", "remove", "releaser")
    assert "releaser" not in [each["name"] for each in said("role", "list")]

    said("team", "create", "web", "--role", "viewer")
    assert said("team", "add", "web", account, "--lead")["team_role"] == "lead"
    assert [each["user_id"] for each in said("team", "members", "web")] == [account]
    assert said("team", "edit", "web", "--name", "Web")["name"] == "Web"
    said("project", "grant", "default", "web", "developer")
    said("project", "grant", "default", account, "viewer")
    assert [each["role"] for each in said("project", "grants", "default")] == ["developer", "viewer"]
    said("project", "revoke", "default", "web")
    said("team", "drop", "web", account)
    said("team", "remove", "web")
    assert said("team", "list") == []
    said("member", "remove", account)
    assert said("member", "permissions")["projects"] == []


def test_a_projects_place_and_organizations_from_the_command_line(said):
    words = ("--owner", "owner@localhost", "--compliance", "gdpr", "--cost-centre", "4711", "--security-level", "high")
    placed = said("project", "place", "default", *words)
    assert (placed["compliance"], placed["cost_centre"], placed["security_level"]) == (["gdpr"], "4711", "high")
    cleared = said("project", "place", "default", "--owner", "-", "--compliance", "-", "--cost-centre", "-")
    assert (cleared["owner_id"], cleared["compliance"], cleared["cost_centre"]) == (None, [], None)
    assert "lock" not in said("project", "place", "default", "--ip-range", "127.0.0.0/8")
    assert "could not touch" in said("project", "place", "default", "--ip-range", "10.0.0.0/8", code=2)
    assert "Name what is to change" in said("project", "place", "default", code=2)

    assert said("organization", "create", "acme", "--owner", "boss@example.org")["slug"] == "acme"
    assert "already" in said("organization", "create", "acme", "--owner", "boss@example.org", code=5)
    assert [each["slug"] for each in said("organization", "list")] == ["default", "acme"]
    assert said("organization", "edit", "--name", "Ours")["name"] == "Ours"
    assert said("organization", "view")["operator"] is True


def test_deliveries_from_the_command_line(said):
    said("environment", "create", "live", "--kind", "production", "--protected")
    assert said("environment", "edit", "live", "--open")["protected"] is False
    said("release", "create", "2.4.0", "--notes", "Checkout")
    assert said("release", "edit", "2.4.0", "--status", "released")["status"] == "released"
    said("sprint", "create", "12", "--starts", "2026-03-02", "--ends", "2026-03-13")
    assert "before it starts" in said("sprint", "edit", "12", "--ends", "2026-03-01", code=2)
    for noun, name in (("environment", "live"), ("release", "2.4.0"), ("sprint", "12")):
        assert said(noun, "jobs", name) == []
        unknown = said(noun, "tie", name, "019a0000-0000-7000-8000-000000000000", code=4)
        assert "no job" in unknown
        said(noun, "untie", name, "019a0000-0000-7000-8000-000000000000", code=4)
        assert [each["name"] for each in said(noun, "list", "--project", "default")] == [name]
        said(noun, "remove", name)
        assert "shows them" in said(noun, "jobs", name, code=4)
