"""`shopfloor role`: what may be allowed, and the roles that hold it."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, done, show_list, show_one
from shopfloor.apps.cli.who import given, path_of
from shopfloor.base.errors import InvalidInput

Name = Annotated[str, typer.Argument(metavar="ROLE", help="Its name.")]
Permissions = Annotated[
    list[str] | None,
    typer.Option("--permission", "-p", help="`shopfloor role permissions` lists them; may be repeated."),
]

_COLUMNS: list[Column] = [("name", "name"), ("built in", "built_in"), ("description", "description")]
_ALL: list[Column] = [*_COLUMNS, ("base", "base"), ("permissions", "permissions")]
_TABLE: list[Column] = [("permission", "name"), ("where", "scope"), ("what it allows", "description")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    role = typer.Typer(help="Roles: built-in ones, and your organization's own.", no_args_is_help=True)
    role.command("list", help="Every role that can be given.")(_list)
    role.command("view", help="One role with its permissions.")(_view)
    role.command("permissions", help="Every permission, and what it allows.")(_permissions)
    role.command("create", help="A role of your organization's own, at most with what you may.")(_create)
    role.command("edit", help="Change one of your own, for all who have it.")(_edit)
    role.command("remove", help="Remove one that nobody has.")(_remove)
    app.add_typer(role, name="role")


def _list(as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.get("roles")["items"]
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no roles.")


def _view(role: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"roles/{path_of(role)}")
    show_one(found, _ALL, as_json=as_json)


def _permissions(as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.get("roles/permissions")["items"]
    show_list(rows, _TABLE, as_json=as_json, none="There are no permissions.")


def _create(
    name: Annotated[str, typer.Argument(help="It never changes.")],
    base: Annotated[str | None, typer.Option(help="A built-in role whose permissions it starts with.")] = None,
    permission: Permissions = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    body = {"name": name, **given(base=base, permissions=permission, description=description)}
    with connected() as client:
        made = client.post("roles", body)
    done(f"Made the role {made['name']}.", made, as_json=as_json)


def _edit(
    role: Name,
    permission: Permissions = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    change = given(permissions=permission, description=description)
    if not change:
        raise InvalidInput("Name what is to change: --permission (all it is to hold) or --description.")
    path = f"roles/{path_of(role)}"
    with connected() as client:
        found = client.get(path)
        changed = client.send("PATCH", path, body=change, headers={"If-Match": f'"{found["version"]}"'})
    done(f"Changed the role {changed['name']}.", changed, as_json=as_json)


def _remove(role: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"roles/{path_of(role)}")
    done(f"Removed the role {role}.", {"removed": role}, as_json=as_json)
