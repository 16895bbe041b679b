"""`shopfloor dead-letter` in this process, on this machine's database."""

from __future__ import annotations

import json
from pathlib import Path

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


def _give_up(database_url: str, number: int) -> None:
    """Letters as the collector writes them."""
    with psycopg.connect(database_url) as connection:
        for task_id in range(number):
            connection.execute(
                "insert into dead_letters (id, organization_id, kind, task, queue, task_id, reason, history, attempts, "
                "payload) select %s, id, 'task', 'mail.send', 'default', %s, "
                """'{"code": "not-recorded", "title": "", "detail": ""}', '[]', 12, """
                "jsonb_build_object('organization_id', id, 'mail_id', %s::text) from organizations limit 1",
                (new_id(), task_id, str(new_id())),
            )


def test_letters_are_listed_viewed_requeued_and_discarded(capsys: pytest.CaptureFixture[str], database_url: str):
    assert run(["dead-letter", "list"]) == 0  # makes the organization
    _give_up(database_url, 4)
    capsys.readouterr()
    assert run(["dead-letter", "list", "--task", "mail.send", "--json"]) == 0
    ids = [row["id"] for row in json.loads(capsys.readouterr().out)]
    assert len(ids) == 4
    assert run(["dead-letter", "view", ids[0]]) == 0
    assert "not-recorded" in capsys.readouterr().out
    assert run(["dead-letter", "requeue", ids[0], "--argument", f"mail_id={new_id()}"]) == 0
    assert run(["dead-letter", "requeue", ids[0]]) == 5
    assert run(["dead-letter", "discard", ids[1]]) == 2  # without a reason
    assert run(["dead-letter", "discard", ids[1], "-r", "nobody there"]) == 0
    assert run(["dead-letter", "discard", ids[0], ids[2], "-r", "two"]) == 5
    assert run(["dead-letter", "requeue"]) == 2
    assert run(["dead-letter", "requeue", "--all", "--task", "mail.send"]) == 0
    capsys.readouterr()
    assert run(["dead-letter", "list"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["dead-letter", "list", "--settled", "--json"]) == 0
    states = [row["state"] for row in json.loads(capsys.readouterr().out)]
    assert sorted(states) == ["discarded", "discarded", "requeued", "requeued"]
    assert run(["dead-letter", "view", str(new_id())]) == 4
