"""`shopfloor organization`: the tenants of an installation."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list, show_one
from shopfloor.apps.cli.who import given
from shopfloor.base.errors import InvalidInput, NotFound

_COLUMNS: list[Column] = [
    ("slug", "slug"), ("name", "name"), ("operator", "operator"), ("running jobs", "max_running_jobs"),
    ("time zone", "time_zone"), ("id", "id"),
    ("created", "created_at"),
]  # fmt: skip

_MOST = 10_000


def register(app: typer.Typer) -> None:
    """Add the noun."""
    organization = typer.Typer(help="Organizations: create, list, view, edit.", no_args_is_help=True)
    organization.command("create", help="Make another one; for owners of the operator's organization.")(_create)
    organization.command("setup-link", help="A new link for its owner, where nobody has signed in yet.")(_setup_link)
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
        made |= client.post("organizations/setup-link", {"organization_id": made["id"]})
    if not as_json:
        note(f"Made the organization {slug}. Pass this link on to its owner; it is shown once and holds for 72 hours.")
    done(made["link"], made, as_json=as_json)


def _setup_link(organization: Annotated[str, typer.Argument(help="Its slug or id.")], as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("organizations", most=_MOST)
        found = next((each["id"] for each in rows if organization in {each["slug"], each["id"]}), None)
        if found is None:
            raise NotFound(f"There is no organization {organization!r}: `shopfloor organization list` shows them.")
        made = client.post("organizations/setup-link", {"organization_id": found})
    done(made["link"], made, as_json=as_json)


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
    time_zone: Annotated[str | None, typer.Option(help="Where its days begin, e.g. Europe/Berlin.")] = None,
    as_json: AsJson = False,
) -> None:
    change = given(name=name, max_running_jobs=max_running_jobs, time_zone=time_zone)
    if not change:
        raise InvalidInput("Name what is to change: `shopfloor organization edit --help` lists it.")
    with connected() as client:
        changed = client.send("PATCH", "organizations/current", body=change)
    done(f"Changed the organization {changed['slug']}.", changed, as_json=as_json)
