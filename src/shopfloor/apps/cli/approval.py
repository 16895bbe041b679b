"""`shopfloor approval`: what jobs wait for, and the answers."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_json, show_list
from shopfloor.apps.cli.terminal import printable

Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="Its id.")]
Reason = Annotated[str | None, typer.Option(help="Why; the agent of a rejected call is told.")]

_COLUMNS: list[Column] = [
    ("id", "id"), ("state", "state"), ("what", "summary"), ("job", "job_id"), ("asked", "created_at"),
    ("expires", "expires_at"), ("by", "decided_by_name"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    approval = typer.Typer(help="What jobs may only do once somebody has said yes.", no_args_is_help=True)
    approval.command("list", help="What waits for somebody; with --all everything that was asked.")(_list)
    approval.command("view", help="One of them: the exact call, and the answer.")(_view)
    approval.command("approve", help="Say yes: the job goes on and does it.")(_approve)
    approval.command("reject", help="Say no: the job goes on without it.")(_reject)
    app.add_typer(approval, name="approval")


def _list(
    limit: Limit = 50,
    everything: Annotated[bool, typer.Option("--all", help="The answered ones too.")] = False,
    job: Annotated[str | None, typer.Option(help="Only of this job.")] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        rows = client.items("approvals", most=limit, state=None if everything else "pending", job=job)
    show_list(rows, _COLUMNS, as_json=as_json, none="Nothing waits for anybody.")


def _view(approval: Id, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"approvals/{approval}")
    if as_json:
        show_json(found)
        return
    print(f"{found['state']}: {printable(found['summary'])}")
    print(f"job         {found['job_id']}, turn {found['turn']}")
    for name, value in found["arguments"].items():
        print(f"{name:<11} {printable(str(value))}")
    print(f"expires     {found['expires_at']}")
    if found["decided_at"]:
        print(f"answered    {found['decided_at']} by {printable(found['decided_by_name'] or 'nobody')}")
    if found["reason"]:
        print(f"reason      {printable(found['reason'])}")


def _approve(
    approval: Id,
    remember: Annotated[bool, typer.Option("--remember", help="The same call of this job from now on.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        found = client.post(f"approvals/{approval}/approve", {"remember": remember, "reason": reason})
    done(f"Approved: {found['summary']}", found, as_json=as_json)


def _reject(approval: Id, reason: Reason = None, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.post(f"approvals/{approval}/reject", {"reason": reason})
    done(f"Rejected: {found['summary']}", found, as_json=as_json)
