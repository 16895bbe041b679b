"""`shopfloor budget` and `shopfloor notification` in this process, on this machine's database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shopfloor.apps.cli.root import run
from shopfloor.domain.notifications.channels import EVENTS


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, database_url: str) -> None:
    for name in ("SHOPFLOOR_URL", "SHOPFLOOR_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The JSON of a command that succeeds."""
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_budget_is_set_raised_changed_and_removed(capsys: pytest.CaptureFixture[str]):
    made = said(capsys, "budget", "create", "--project", "default", "--limit", "250.00", "--alert-at", "50")
    assert (made["scope"]["name"], made["limit_usd"], made["thresholds"], made["hard"]) == (
        "default",
        "250",
        [50],
        True,
    )
    assert run(["budget", "create", "--project", "default", "--limit", "1"]) == 5
    assert run(["budget", "create", "--project", "default", "--team", "web", "--limit", "1"]) == 2
    assert run(["budget", "create", "--limit", "much"]) == 2
    raised = said(capsys, "budget", "raise", made["id"], "50", "--reason", "Release", "--for", "3d")
    assert said(capsys, "budget", "view", made["id"])["raised_usd"] == "50"
    assert run(["budget", "end-raise", made["id"], raised["id"]]) == 0
    assert [each["id"] for each in said(capsys, "budget", "raises", made["id"])] == [raised["id"]]
    assert said(capsys, "budget", "edit", made["id"], "--limit", "300", "--soft")["left_usd"] == "300"
    assert run(["budget", "edit", made["id"]]) == 2
    assert said(capsys, "budget", "alerts") == said(capsys, "budget", "alerts", made["id"]) == []
    capsys.readouterr()
    assert run(["budget", "view", made["id"]]) == 0
    assert "what to do\t\n" in capsys.readouterr().out
    assert run(["budget", "list", "--scope", "project"]) == 0
    [row] = capsys.readouterr().out.splitlines()
    assert row.split("\t")[:4] == ["project", "default", "month", "300"]
    assert run(["budget", "delete", made["id"]]) == 0
    assert run(["budget", "view", made["id"]]) == 4


def test_a_summary_is_shown_and_written_without_being_mailed(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    page = tmp_path / "summary.html"
    assert run(["budget", "summary", "--weekly", "--preview", "--html", str(page)]) == 0
    told = capsys.readouterr()
    assert "$0.0000 spent in 0 calls" in told.out
    assert "nothing is mailed" in told.err
    assert page.read_text().startswith("<!doctype html>")


def test_a_webhook_is_added_tried_and_removed(capsys: pytest.CaptureFixture[str]):
    assert run(["notification", "channel", "add", "--webhook", "https://hooks.example.org/"]) == 0
    assert capsys.readouterr().out.startswith("whsec_")
    [channel] = said(capsys, "notification", "channel", "list")
    assert channel["events"] == sorted(EVENTS)
    assert run(["notification", "channel", "edit", channel["id"], "--event", "budget.paused", "--off"]) == 0
    test = said(capsys, "notification", "channel", "test", channel["id"])
    [delivery] = said(capsys, "notification", "channel", "deliveries", channel["id"])
    assert (delivery["id"], delivery["state"]) == (test["id"], "pending")
    assert run(["notification", "channel", "redeliver", channel["id"], delivery["id"]]) == 0
    capsys.readouterr()
    assert run(["notification", "channel", "rotate-secret", channel["id"]]) == 0
    assert capsys.readouterr().out.startswith("whsec_")
    assert run(["notification", "channel", "remove", channel["id"]]) == 0
    assert said(capsys, "notification", "list", "--unread") == []
    assert run(["notification", "channel", "add"]) == 2
    assert run(["notification", "channel", "add", "--email", "ops@example.org"]) == 5  # there is no mail server
