"""`shopfloor member`: people and service accounts."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_json, show_list, show_one
from shopfloor.apps.cli.who import given, member_id
from shopfloor.base.errors import InvalidInput

Who = Annotated[str, typer.Argument(metavar="MEMBER", help="E-mail address or id.")]

_COLUMNS: list[Column] = [
    ("name", "name"), ("e-mail", "email"), ("role", "role"), ("status", "status"), ("kind", "kind"), ("id", "id"),
]  # fmt: skip
_ALL: list[Column] = [*_COLUMNS, ("created", "created_at"), ("changed", "updated_at")]
_PLACES: list[Column] = [("project", "project_id"), ("permissions", "permissions")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    member = typer.Typer(help="People and service accounts: who they are, what they may.", no_args_is_help=True)
    member.command("list", help="Oldest first.")(_list)
    member.command("view", help="One member.")(_view)
    member.command("edit", help="Another name or role, at most your own.")(_edit)
    member.command("disable", help="From now on they may nothing; their jobs are cancelled.")(_disable)
    member.command("enable", help="They may again what they might before.")(_enable)
    member.command("setup-link", help="A link with which somebody who gets no mail chooses a new password.")(
        _setup_link
    )
    member.command("remove", help="Somebody without a history; others are disabled.")(_remove)
    member.command("service-account", help="Make an account for programs.")(_service_account)
    member.command("permissions", help="What you may yourself, where, and through what.")(_permissions)
    app.add_typer(member, name="member")


def _list(
    role: Annotated[str | None, typer.Option(help="Only with this role in the organization.")] = None,
    status: Annotated[str | None, typer.Option(help="active or disabled.")] = None,
    kind: Annotated[str | None, typer.Option(help="person or service.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        rows = client.items("members", most=limit, role=role, status=status, kind=kind)
    show_list(rows, _COLUMNS, as_json=as_json, none="There is nobody.")


def _view(member: Who, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"members/{member_id(client, member)}")
    show_one(found, _ALL, as_json=as_json)


def _edit(
    member: Who,
    role: Annotated[str | None, typer.Option(help="`shopfloor role list` shows which there are.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call them.")] = None,
    as_json: AsJson = False,
) -> None:
    change = given(role=role, name=name)
    if not change:
        raise InvalidInput("Name what is to change: --role or --name.")
    with connected() as client:
        changed = client.send("PATCH", f"members/{member_id(client, member)}", body=change)
    done(f"{changed['name']} is {changed['role']}.", changed, as_json=as_json)


def _disable(member: Who, as_json: AsJson = False) -> None:
    with connected() as client:
        changed = client.post(f"members/{member_id(client, member)}/disable")
    done(f"{changed['name']} may nothing any more.", changed, as_json=as_json)


def _enable(member: Who, as_json: AsJson = False) -> None:
    with connected() as client:
        changed = client.post(f"members/{member_id(client, member)}/enable")
    done(f"{changed['name']} is {changed['role']} again.", changed, as_json=as_json)


def _setup_link(member: Who, as_json: AsJson = False) -> None:
    with connected() as client:
        made = client.post(f"members/{member_id(client, member)}/setup-link")
    if not as_json:
        note("Pass this link on; it is shown this once and holds for 72 hours. `shopfloor accept` takes it.")
    done(made["link"], made, as_json=as_json)


def _remove(member: Who, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"members/{member_id(client, member)}")
    done(f"Removed {member}.", {"removed": member}, as_json=as_json)


def _service_account(
    name: Annotated[str, typer.Argument(help="Which program it is for.")],
    role: Annotated[str | None, typer.Option(help="In the organization; default: member, the rest by grants.")] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        made = client.post("service-accounts", {"name": name, **given(role=role)})
    done(made["id"], made, as_json=as_json)


def _permissions(as_json: AsJson = False) -> None:
    with connected() as client:
        mine = client.get("me/permissions")
    if as_json:
        show_json(mine)
        return
    rows = [{"project_id": "everywhere", "permissions": mine["permissions"]}, *mine["projects"]]
    show_list(rows, _PLACES, as_json=False, none="You may nothing.")
