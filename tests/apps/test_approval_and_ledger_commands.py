"""`shopfloor approval` and `shopfloor ledger` in this process, on this machine's database, through the real API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shopfloor.apps.cli.root import run
from shopfloor.base.ids import new_id


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, database_url: str) -> None:
    for name in ("SHOPFLOOR_URL", "SHOPFLOOR_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)
    assert run(["project", "list"]) == 0  # makes the organization


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def asked(database_url: str, number: int = 1) -> tuple[str, str]:
    """A job that waits for an approval, as a worker leaves it; (job, approval)."""
    job, run_id, approval = new_id(), new_id(), new_id()
    with psycopg.connect(database_url, autocommit=True) as owner:
        found = owner.execute("select organization_id, id from projects where slug = 'default'").fetchone()
        assert found is not None
        organization, project = found
        owner.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, "
            "waiting_reason) values (%s, %s, %s, 'coding', 'x', 'mock/x', '{}', %s, 'waiting', 'approval')",
            (job, organization, project, new_id()),
        )
        owner.execute(
            "insert into runs (id, organization_id, job_id, fence, worker, state, ended_at) "
            "values (%s, %s, %s, 1, 'w', 'ended', now())",
            (run_id, organization, job),
        )
        owner.execute(
            "insert into approvals (id, organization_id, project_id, job_id, run_id, kind, scope, turn, key, tool, "
            "arguments, digest, summary, expires_at) values (%s, %s, %s, %s, %s, 'tool', '', %s, 'c', 'shell', "
            """'{"command": "git push\\u001b[2J"}', '', 'shell: git push', now() + interval '1 day')""",
            (approval, organization, project, job, run_id, number),
        )
    return str(job), str(approval)


def test_what_waits_is_listed_shown_and_answered_once(database_url: str, capsys: pytest.CaptureFixture[str]):
    job, approval = asked(database_url)
    assert [each["id"] for each in said(capsys, "approval", "list")] == [approval]
    assert run(["approval", "view", approval]) == 0
    shown = capsys.readouterr().out
    assert "git push" in shown
    assert "\x1b" not in shown, "the model's text is no command to the terminal"
    answer = said(capsys, "approval", "approve", approval, "--reason", "fine")
    assert (answer["state"], answer["reason"], answer["remember"]) == ("approved", "fine", False)
    assert said(capsys, "job", "view", job)["state"] == "queued"
    assert said(capsys, "approval", "list") == []
    assert len(said(capsys, "approval", "list", "--all")) == 1
    assert run(["approval", "reject", approval]) == 5
    assert "already" in capsys.readouterr().err


def test_a_no_lets_the_job_go_on_without_it(database_url: str, capsys: pytest.CaptureFixture[str]):
    job, approval = asked(database_url)
    assert said(capsys, "approval", "reject", approval, "--reason", "no")["state"] == "rejected"
    assert said(capsys, "job", "view", job)["state"] == "queued"


def test_one_that_is_not_there_is_not_found(capsys: pytest.CaptureFixture[str]):
    assert run(["approval", "view", str(new_id())]) == 4
    assert "approval list" in capsys.readouterr().err


def test_books_that_add_up_say_so_and_bent_ones_are_named_with_exit_code_1(
    database_url: str, capsys: pytest.CaptureFixture[str]
):
    job, _ = asked(database_url)
    assert said(capsys, "ledger", "check") == {"adds_up": True, "wrong": []}
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("update jobs set cost_nanos = 5 where id = %s", (job,))
    assert run(["ledger", "check"]) == 1
    assert job in capsys.readouterr().out
