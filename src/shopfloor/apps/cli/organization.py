"""`shopfloor organization`: the tenants of an installation."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_list, show_one
from shopfloor.apps.cli.who import given
from shopfloor.base.errors import InvalidInput

_COLUMNS: list[Column] = [
    ("slug", "slug"), ("name", "name"), ("operator", "operator"), ("running jobs", "max_running_jobs"), ("id", "id"),
    ("created", "created_at"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    organization = typer.Typer(help="Organizations: create, list, view, edit.", no_args_is_help=True)
    organization.command("create", help="Make another one; for owners of the operator's organization.")(_create)
    organization.command("list", help="Every one of this installation, oldest first.")(_list)
    organization.command("view", help="Your own.")(_view)
    organization.command("edit", help="Change your own; what isn't named stays.")(_edit)
    app.add_typer(organization, name="organization")


def _create(
    slug: Annotated[str, typer.Argument(help="Its name in addresses; it never changes.")],
    owner: Annotated[str, typer.Option(help="E-mail address of its first owner.")],
    name: Annotated[str | None, typer.Option(help="What people call it; default: the slug.")] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        made = client.post("organizations", {"slug": slug, "name": name or slug, "owner_email": owner})
    done(f"Made the organization {made['slug']} with the owner {made['owner_id']}.", made, as_json=as_json)


def _list(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("organizations", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no organizations.")


def _view(as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get("organizations/current")
    show_one(found, _COLUMNS, as_json=as_json)


def _edit(
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    max_running_jobs: Annotated[int | None, typer.Option(min=1, help="Over all its projects.")] = None,
    as_json: AsJson = False,
) -> None:
    change = given(name=name, max_running_jobs=max_running_jobs)
    if not change:
        raise InvalidInput("Name what is to change: `shopfloor organization edit --help` lists it.")
    with connected() as client:
        changed = client.send("PATCH", "organizations/current", body=change)
    done(f"Changed the organization {changed['slug']}.", changed, as_json=as_json)
