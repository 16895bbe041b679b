"""`shopfloor secret`: values handed in once. A value is never an argument: other users could see it."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated, Any

import typer

from shopfloor.apps.cli.client import Client, Json, connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_list
from shopfloor.apps.cli.terminal import is_terminal
from shopfloor.base.errors import InvalidInput, NotFound

Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called.", show_default=False)]
Project = Annotated[str | None, typer.Option(help="Slug or id; default: the whole organization.")]
ValueFrom = Annotated[str | None, typer.Option(metavar="VARIABLE", help="Take the value from this variable.")]
ValueStdin = Annotated[bool, typer.Option("--value-stdin", help="Read the value from standard input, to its end.")]

_MOST = 10_000
_COLUMNS: list[Column] = [
    ("name", "name"), ("kind", "kind"), ("host", "host"), ("project", "project_id"), ("changed", "updated_at"),
    ("last used", "last_used_at"), ("id", "id"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    secret = typer.Typer(help="Secrets by name: set, list, remove. A value is never shown again.", no_args_is_help=True)
    secret.command("set", help="Hand one in, or give one that is there a new value.")(_set)
    secret.command("list", help="Without their values.")(_list)
    secret.command("remove", help="For good.")(_remove)
    app.add_typer(secret, name="secret")


def _set(
    name: Name,
    git_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The platform fetches and pushes with it on this host.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="For the Git host; default: what goes with a token.")] = None,
    project: Project = None,
    value_from: ValueFrom = None,
    value_stdin: ValueStdin = False,
    as_json: AsJson = False,
) -> None:
    value = value_of(f"Value of {name}", variable=value_from, from_stdin=value_stdin)
    with connected() as client:
        project_id = client.get(f"projects/{project}")["id"] if project else None
        found = _named(client, name, project_id)
        if found is None:
            body: Json = {"name": name, "value": value, "kind": "git" if git_host else "generic"}
            optional = {"host": git_host, "username": username, "project_id": project_id}
            made = client.post("secrets", body | {field: said for field, said in optional.items() if said})
        else:
            if git_host is not None and git_host.lower() != found["host"]:
                raise InvalidInput(f"{name} is for {found['host'] or 'no host'}. Remove it first, or choose a name.")
            body = {"value": value} | ({"username": username} if username else {})
            made = client.send(
                "PATCH", f"secrets/{found['id']}", body=body, headers={"If-Match": f'"{found["version"]}"'}
            )
    done(f"{'Set' if found is None else 'Changed'} {name}.", made, as_json=as_json)


def _list(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("secrets", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no secrets yet: shopfloor secret set NAME")


def _remove(name: Name, project: Project = None, as_json: AsJson = False) -> None:
    with connected() as client:
        project_id = client.get(f"projects/{project}")["id"] if project else None
        found = _named(client, name, project_id)
        if found is None:
            raise NotFound(f"There is no secret {name!r} in this scope. `shopfloor secret list` shows what there is.")
        client.send("DELETE", f"secrets/{found['id']}")
    done(f"Removed {name}.", {"removed": found["id"]}, as_json=as_json)


def _named(client: Client, name: str, project_id: str | None) -> dict[str, Any] | None:
    rows = client.items("secrets", most=_MOST)
    return next((row for row in rows if row["name"] == name and row["project_id"] == project_id), None)


def value_of(asked: str, *, variable: str | None, from_stdin: bool) -> str:
    """The value, from wherever it was said to be. Raises: InvalidInput."""
    if variable is not None:
        value = os.environ.get(variable)
        if not value:
            raise InvalidInput(f"The variable {variable} is not set: export {variable}=... first.")
        return value
    if from_stdin:
        value = sys.stdin.read().rstrip("\r\n")
    elif is_terminal(sys.stdin):
        value = getpass.getpass(f"{asked}: ")
    else:
        raise InvalidInput("Name where the value is: --value-from VARIABLE or --value-stdin.")
    if not value:
        raise InvalidInput("The value is empty, so nothing was changed.")
    return value
