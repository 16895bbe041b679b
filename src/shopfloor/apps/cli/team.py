"""`shopfloor team`: people who get the same rights in projects together."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_list
from shopfloor.apps.cli.who import given, member_id, path_of
from shopfloor.base.errors import InvalidInput

Name = Annotated[str, typer.Argument(metavar="TEAM", help="Slug or id.")]
Who = Annotated[str, typer.Argument(metavar="MEMBER", help="E-mail address or id.")]
Role = Annotated[str | None, typer.Option(help="Of its members in each project the team owns.")]

_COLUMNS: list[Column] = [
    ("slug", "slug"), ("name", "name"), ("role", "role"), ("description", "description"), ("id", "id"),
]  # fmt: skip
_MEMBERS: list[Column] = [("name", "name"), ("in the team", "team_role"), ("id", "user_id"), ("since", "created_at")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    team = typer.Typer(help="Teams: who is in them, and what that gives.", no_args_is_help=True)
    team.command("list", help="Oldest first.")(_list)
    team.command("create", help="Make a team.")(_create)
    team.command("edit", help="Change a team; what isn't named stays.")(_edit)
    team.command("remove", help="Remove a team that owns no project.")(_remove)
    team.command("members", help="Who is in it.")(_members)
    team.command("add", help="Put somebody into it.")(_add)
    team.command("drop", help="Take somebody out.")(_drop)
    app.add_typer(team, name="team")


def _list(limit: Limit = 50, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("teams", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no teams.")


def _create(
    slug: Annotated[str, typer.Argument(help="Its name in commands and addresses; it never changes.")],
    name: Annotated[str | None, typer.Option(help="What people call it; default: the slug.")] = None,
    role: Role = None,
    description: Annotated[str | None, typer.Option(help="What it does.")] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        made = client.post("teams", {"slug": slug, "name": name or slug, **given(role=role, description=description)})
    done(f"Made the team {made['slug']}.", made, as_json=as_json)


def _edit(
    team: Name,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    role: Role = None,
    description: Annotated[str | None, typer.Option(help="What it does.")] = None,
    as_json: AsJson = False,
) -> None:
    change = given(name=name, role=role, description=description)
    if not change:
        raise InvalidInput("Name what is to change: --name, --role or --description.")
    with connected() as client:
        changed = client.send("PATCH", f"teams/{path_of(team)}", body=change)
    done(f"Changed the team {changed['slug']}.", changed, as_json=as_json)


def _remove(team: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"teams/{path_of(team)}")
    done(f"Removed the team {team}.", {"removed": team}, as_json=as_json)


def _members(team: Name, limit: Limit = 50, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items(f"teams/{path_of(team)}/members", most=limit)
    show_list(rows, _MEMBERS, as_json=as_json, none="There is nobody in it.")


def _add(
    team: Name,
    member: Who,
    lead: Annotated[bool, typer.Option("--lead", help="Manages the projects that the team owns.")] = False,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        body = {"team_role": "lead" if lead else "member"}
        put = client.send("PUT", f"teams/{path_of(team)}/members/{member_id(client, member)}", body=body)
    done(f"{put['name']} is in {team} as {put['team_role']}.", put, as_json=as_json)


def _drop(team: Name, member: Who, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"teams/{path_of(team)}/members/{member_id(client, member)}")
    done(f"{member} is no longer in {team}.", {"team": team, "dropped": member}, as_json=as_json)
